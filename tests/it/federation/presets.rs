//! The particulars of providers: whose addresses Google and Entra own, which tenants are listed, and GitHub, which is no
//! OpenID provider. The provider is one of the test, and the preset is the real one.

use serde_json::{Value, json};

use super::{check_of, ids_of, tessera, with};
use crate::support::upstream::{Instead, TOKEN_PREFIX, Upstream, Wrong};
use crate::support::{Answer, Browser, Server};
use crate::terminal::json_of;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const OTHER_TENANT: &str = "11111111-2b34-4da1-9baa-8bc8c9d6a490";

/// A server with a preset whose provider is this one.
async fn preset(preset: &str, changes: Value) -> (Upstream, Server) {
    let upstream = Upstream::start().await;
    let mut members = json!({ "preset": preset, "name": null, "domains": null });
    members.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let server = with(&[upstream.entry(&members)]).start().await;
    (upstream, server)
}

/// Signs in as a person, and returns whether the account with the address is verified. `None` if the person is refused.
async fn is_owned(
    name: &str,
    claims: &Value,
    upstream: &Upstream,
    server: &Server,
) -> Option<bool> {
    upstream.person(claims);
    let answer = Browser::of(server).sign_in_at(name, upstream).await;
    (answer.status == 303).then_some(())?;
    let found = server.user_of(claims["email"].as_str().unwrap()).await;
    Some(found == json!(["verified"]))
}

#[tokio::test]
async fn google_owns_gmail_and_the_domain_that_it_hosts() {
    let (upstream, server) = preset("google", json!({})).await;
    for (turn, (email, hosted, expected)) in [
        ("ada@gmail.com", Value::Null, true),
        ("ada@hosted.example", json!("hosted.example"), true),
        ("bob@hosted.example", Value::Null, false),
        ("bob@other.example", json!("hosted.example"), false),
        ("bob@sub.hosted.example", json!("hosted.example"), false),
        ("bob@gmail.com.example", Value::Null, false),
        ("bob@googlemail.example", json!(""), false),
        ("eve@victim.example", json!(["victim.example"]), false),
    ]
    .into_iter()
    .enumerate()
    {
        let claims = json!({ "sub": format!("1{turn}"), "email": email, "hd": hosted });
        let owned = is_owned("google", &claims, &upstream, &server).await;
        assert_eq!(owned, Some(expected), "{claims}");
    }
}

/// Entra lets the administrator of any tenant write any address into `email` (nOAuth).
#[tokio::test]
async fn entra_owns_an_address_only_if_it_says_that_the_domain_is_the_tenants() {
    let issuer = |upstream: &Upstream| format!("{}/{{tenantid}}/v2.0", upstream.issuer());
    let upstream = Upstream::start().await;
    upstream.be_tenant(TENANT, TENANT);
    let entry = json!({
        "preset": "entra", "name": null, "domains": ["listed.example"], "tenants": [TENANT],
        "issuer": issuer(&upstream),
    });
    let server = with(&[upstream.entry(&entry)]).start().await;
    let victim = server.verified_at("victim@victim.example").await;
    for (turn, (email, edov, expected)) in [
        ("ada@listed.example", Value::Null, Some(true)),
        ("ada@edov.example", json!(true), Some(true)),
        ("bob@edov.example", json!("1"), Some(true)),
        ("cat@edov.example", json!(false), Some(false)),
        ("dan@edov.example", json!("0"), Some(false)),
        ("eve@edov.example", Value::Null, Some(false)),
        ("victim@victim.example", Value::Null, None),
        ("victim@victim.example", json!(false), None),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = uuid::Uuid::from_u128(turn as u128).to_string();
        let claims = json!({
            "sub": format!("pairwise-{turn}"), "oid": subject, "tid": TENANT, "email": email,
            "email_verified": true, "xms_edov": edov,
        });
        let owned = is_owned("entra", &claims, &upstream, &server).await;
        assert_eq!(owned, expected, "{claims}");
    }
    server.me(&victim.access).await.expect_status(200);
    // The subject is the id of the object, which is the same for all applications of the tenant.
    let subjects = server.database.column::<String>("select subject from federated_identity").await;
    assert!(subjects.iter().all(|subject| subject.contains("00000000-")), "{subjects:?}");
}

#[tokio::test]
async fn people_of_a_tenant_that_is_not_listed_are_refused() {
    let upstream = Upstream::start().await;
    let entry = json!({
        "preset": "entra", "name": null, "domains": ["corp.example"], "tenants": [TENANT, OTHER_TENANT],
        "issuer": format!("{}/{{tenantid}}/v2.0", upstream.issuer()),
    });
    let server = with(&[upstream.entry(&entry)]).start().await;
    let foreign = "99999999-2b34-4da1-9baa-8bc8c9d6a490";
    let object = "00000000-0000-0000-0000-000000000001";
    for (issuer, tenant, expected) in [
        (foreign, foreign, false),
        // The token and its issuer disagree.
        (foreign, TENANT, false),
        (TENANT, OTHER_TENANT, false),
        (TENANT, TENANT, true),
        (OTHER_TENANT, OTHER_TENANT, true),
    ] {
        upstream.be_tenant(issuer, "{tenantid}");
        // The id of an account is its own in each tenant.
        upstream.person(&json!({
            "tid": tenant, "oid": format!("{object}-{tenant}"), "email": format!("{tenant}@corp.example"),
        }));
        let answer = Browser::of(&server).sign_in_at("entra", &upstream).await;
        assert_eq!(answer.status == 303, expected, "{issuer} {tenant}: {}", answer.body);
    }
    // The answer in the URL is of a tenant that is not listed.
    upstream.person(&json!({ "tid": TENANT }));
    upstream.be_tenant(TENANT, "{tenantid}");
    let iss = Some(format!("{}/{foreign}/v2.0", upstream.issuer()));
    upstream.make(Wrong { reply: vec![("iss", iss)], ..Wrong::default() });
    let page = Browser::of(&server).sign_in_at("entra", &upstream).await;
    assert_eq!(check_of(&server, &page).await, "iss.other");
    upstream.make(Wrong::default());
    upstream.person(&json!({ "tid": null }));
    let page = Browser::of(&server).sign_in_at("entra", &upstream).await;
    assert!(check_of(&server, &page).await.starts_with("id_token."), "{}", page.body);
}

/// A server with GitHub, which this provider plays.
async fn github() -> (Upstream, Server) {
    let upstream = Upstream::start().await;
    let url = upstream.issuer();
    let entry = upstream.entry(&json!({
        "preset": "github", "name": null, "domains": null,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/user"),
        "emails_endpoint": format!("{url}/user/emails"),
    }));
    let server = with(&[entry]).start().await;
    upstream.person(&json!({
        "id": 583_231, "login": "octocat", "name": "Mona", "sub": null, "email": "public@github.example",
        "email_verified": null,
    }));
    // GitHub gives no ID token and names no issuer.
    upstream.make(as_github(Vec::new(), Vec::new()));
    (upstream, server)
}

fn as_github(
    tokens: Vec<(&'static str, Option<Value>)>,
    instead: Vec<(&'static str, Instead)>,
) -> Wrong {
    let tokens = [("id_token", None)].into_iter().chain(tokens).collect();
    Wrong { tokens, instead, reply: vec![("iss", None)], ..Wrong::default() }
}

fn addresses() -> Value {
    json!([
        { "email": "old@octo.example", "verified": true, "primary": false, "visibility": null },
        { "email": "mona@octo.example", "verified": true, "primary": true, "visibility": "public" },
        { "email": "victim@octo.example", "verified": false, "primary": false, "visibility": null },
    ])
}

async fn arrive(server: &Server, upstream: &Upstream) -> Answer {
    Browser::of(server).sign_in_at("github", upstream).await
}

#[tokio::test]
async fn github_signs_people_in_by_their_number_and_owns_no_address() {
    let (upstream, server) = github().await;
    upstream.emails(addresses());
    let mut browser = Browser::of(&server);
    let place = browser.leave("github").await;
    let scope = super::parameter(&place, "scope").unwrap();
    assert!(scope.split(' ').any(|word| word == "user:email"), "{scope}");
    browser.open(&super::path_of(&upstream.come_back(&place))).await.expect_status(303);
    assert!(browser.account().await.body.contains("mona@octo.example"));
    assert_eq!(server.user_of("mona@octo.example").await, json!(["unverified"]));
    let subjects = server.database.column::<String>("select subject from federated_identity").await;
    assert_eq!(subjects, ["583231"]);
    // The name of a user of GitHub can be taken by another user. Only the number counts.
    upstream.person(&json!({ "id": 583_232 }));
    upstream.emails(json!([{ "email": "thief@octo.example", "verified": true, "primary": true }]));
    arrive(&server, &upstream).await.expect_status(303);
    assert_eq!(server.identities().await, 2);
    assert_ne!(
        ids_of(&server, "mona@octo.example").await,
        ids_of(&server, "thief@octo.example").await
    );
}

#[tokio::test]
async fn answers_of_github_that_are_wrong_are_refused() {
    let (upstream, server) = github().await;
    upstream.emails(addresses());
    let error = json!({ "error": "bad_verification_code", "error_description": "expired" });
    for (case, wrong) in [
        // GitHub answers its errors with 200.
        ("an error", as_github(Vec::new(), vec![("/token", Instead::Json(200, error))])),
        (
            "a form",
            as_github(
                Vec::new(),
                vec![(
                    "/token",
                    Instead::Text(200, "text/plain", "access_token=a&token_type=bearer".to_owned()),
                )],
            ),
        ),
        ("no user", as_github(Vec::new(), vec![("/user", Instead::Json(401, json!({})))])),
        (
            "a user without a number",
            as_github(
                Vec::new(),
                vec![("/user", Instead::Json(200, json!({ "login": "octocat" })))],
            ),
        ),
        (
            "a user with a text",
            as_github(Vec::new(), vec![("/user", Instead::Json(200, json!({ "id": "583231" })))]),
        ),
        (
            "a broken number",
            as_github(Vec::new(), vec![("/user", Instead::Json(200, json!({ "id": 1.5 })))]),
        ),
        (
            "addresses that are no list",
            as_github(Vec::new(), vec![("/user/emails", Instead::Json(200, json!({})))]),
        ),
        ("another type of token", as_github(vec![("token_type", Some(json!("mac")))], Vec::new())),
    ] {
        upstream.make(wrong);
        let page = arrive(&server, &upstream).await;
        assert!(page.status >= 400, "{case}: {} {}", page.status, page.header("location"));
        assert!(!page.body.contains(TOKEN_PREFIX), "{case}");
        assert_eq!(server.database.count("\"user\"").await, 0, "{case}");
    }
}

#[tokio::test]
async fn an_unverified_address_at_github_is_used_for_nothing() {
    let (upstream, server) = github().await;
    for emails in [
        json!([]),
        json!([{ "email": "victim@octo.example", "verified": false, "primary": true }]),
        json!([{ "email": "old@octo.example", "verified": true, "primary": false }]),
        json!([{ "email": "victim@octo.example", "verified": "true", "primary": true }]),
    ] {
        upstream.emails(emails.clone());
        let answer = arrive(&server, &upstream).await;
        // A page asks for an address, because GitHub says none that counts.
        assert_eq!(server.database.count("\"user\"").await, 0, "{emails}");
        assert_ne!(answer.header("location"), "../../../", "{emails}: {}", answer.body);
    }
}

#[tokio::test]
async fn each_preset_is_listed_with_its_redirect_uri() {
    let upstream = Upstream::start().await;
    let at = |preset: &str| upstream.entry(&json!({ "preset": preset, "name": null }));
    let mut entra = at("entra");
    entra["tenants"] = json!([TENANT]);
    let entries = [
        at("google"),
        at("github"),
        entra,
        at("okta"),
        at("keycloak"),
        at("authentik"),
        at("oidc"),
    ];
    let server = with(&entries).start().await;
    let listed = json_of(&tessera(&server, &["upstream", "list", "--output", "json"]));
    let page = Browser::of(&server).open("/login").await;
    for (place, preset) in
        ["google", "github", "entra", "okta", "keycloak", "authentik", "oidc"].iter().enumerate()
    {
        let uri = format!("http://localhost:8000/login/with/{preset}/callback");
        assert_eq!(listed[place]["redirect_uri"], uri, "{listed}");
        assert!(page.body.contains(&format!("login/with/{preset}")), "{preset}");
    }
}

/// With several tenants, Entra signs for all of them with the same keys.
#[tokio::test]
async fn a_tenant_ends_no_session_of_another_tenant() {
    let upstream = Upstream::start().await;
    let entry = json!({
        "preset": "entra", "name": null, "domains": null, "tenants": [TENANT, OTHER_TENANT],
        "issuer": format!("{}/{{tenantid}}/v2.0", upstream.issuer()),
    });
    let server = with(&[upstream.entry(&entry)]).start().await;
    upstream.be_tenant(TENANT, "{tenantid}");
    let object = "00000000-0000-0000-0000-000000000001";
    upstream.person(&json!({ "tid": TENANT, "oid": object, "sid": "of-ada" }));
    let mut browser = Browser::of(&server);
    browser.sign_in_at("entra", &upstream).await.expect_status(303);
    let issuer = |tenant: &str| json!(format!("{}/{tenant}/v2.0", upstream.issuer()));
    let foreign = "99999999-2b34-4da1-9baa-8bc8c9d6a490";
    let (oid, sid) = (("oid", Some(json!(object))), ("sid", Some(json!("of-ada"))));
    let nobody = ("sub", None);
    for (issued_by, tenant, about, is_good) in [
        (OTHER_TENANT, Some(OTHER_TENANT), vec![oid.clone()], false),
        (OTHER_TENANT, Some(OTHER_TENANT), vec![nobody.clone(), sid.clone()], false),
        (OTHER_TENANT, Some(OTHER_TENANT), vec![oid.clone(), sid.clone()], false),
        (TENANT, Some(OTHER_TENANT), vec![oid.clone()], false),
        (OTHER_TENANT, Some(TENANT), vec![oid.clone()], false),
        (foreign, Some(foreign), vec![oid.clone()], false),
        (foreign, Some(foreign), vec![nobody.clone(), sid.clone()], false),
        (TENANT, None, vec![oid.clone()], false),
        (TENANT, Some(TENANT), vec![nobody, sid], true),
    ] {
        let named = [("iss", Some(issuer(issued_by))), ("tid", tenant.map(|tenant| json!(tenant)))];
        let claims = about.into_iter().chain(named).collect();
        let token = upstream.logout_token(&Wrong { claims, ..Wrong::default() });
        let request = server.post("/auth/entra/backchannel-logout");
        let answer = request.form(&[("logout_token", &token)]).send().await;
        let case = format!("{issued_by} {tenant:?}: {} {}", answer.status, answer.body);
        assert_eq!(browser.is_signed_in().await, !is_good, "{case}");
        let is_of_listed = tenant == Some(issued_by) && issued_by != foreign;
        assert_eq!(answer.status / 100 == 2, is_of_listed, "{case}");
    }
}

/// GitHub says no time, so a sign-in with it is no fresh proof, and a repeated one is refused with another way.
#[tokio::test]
async fn github_proves_nothing_about_this_moment() {
    let (upstream, server) = github().await;
    upstream.emails(addresses());
    let mut browser = Browser::of(&server);
    browser.sign_in_at("github", &upstream).await.expect_status(303);
    let page = browser.section("data").await;
    assert!(page.body.contains("forgot-password"), "{}", page.body);
    assert!(!page.body.contains("login/with/github?again"), "{}", page.body);
    browser.press("/account", &[("act", "delete")]).await;
    assert_eq!(server.database.count("\"user\"").await, 1);
    let page = browser.prove_again("github", &upstream).await.expect_status(502);
    assert_eq!(check_of(&server, &page).await, "id_token.auth_time");
}
