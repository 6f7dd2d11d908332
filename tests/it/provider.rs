//! The provider: applications that sign people in with OAuth 2 and OpenID Connect, and attacks on that.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, PASSWORD, Server, TestDatabase, claims_of, eventually, header_of,
};

pub(crate) const CALLBACK: &str = "https://app.example.com/callback";
pub(crate) const SECRET: &str = "a-secret-of-a-client-that-only-tests-use-1234";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

/// A client in the table, as `tessera client create` makes it.
pub(crate) struct Client<'a> {
    pub(crate) id: &'a str,
    pub(crate) native: bool,
    pub(crate) public: bool,
    pub(crate) redirect: &'a str,
    pub(crate) settings: Value,
}

impl Default for Client<'_> {
    fn default() -> Self {
        Self { id: "app", native: false, public: false, redirect: CALLBACK, settings: json!({}) }
    }
}

impl Client<'_> {
    pub(crate) async fn insert(&self, database: &TestDatabase) {
        let Self { id, native, public, redirect, settings } = self;
        let row = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, id.as_bytes());
        let kind = if *native { "native" } else { "web" };
        let auth = if *public { "none" } else { "client_secret" };
        let uris = json!([redirect]);
        let scopes = "openid profile email groups offline_access api:read";
        let grants = "authorization_code refresh_token client_credentials";
        let sql = format!(
            "insert into client (id, client_id, name, origin, application_type, auth_method, redirect_uris, \
             post_logout_uris, grant_types, scopes, settings, is_active, created_at, updated_at) values \
             ('{row}', '{id}', 'The {id}', 'operator', '{kind}', '{auth}', '{uris}', '[]', '{grants}', \
             '{scopes}', '{settings}', true, 0, 0)"
        );
        database.execute(&sql).await;
        if !public {
            // Each client has a secret of its own.
            let digest = hex(digest(&SHA256, format!("{SECRET}{id}").as_bytes()));
            let secret = uuid::Uuid::new_v5(&row, b"secret");
            let sql = format!(
                "insert into client_secret (id, client_id, prefix, digest, created_at) values \
                 ('{secret}', '{row}', 'tsr_cs_', '{digest}', 0)"
            );
            database.execute(&sql).await;
        }
    }
}

pub(crate) fn basic(id: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{SECRET}{id}")))
}

/// The parameters of a good request, with changes. A parameter with an empty value is left out.
pub(crate) fn request(changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut pairs = vec![
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("state", "st&te="),
        ("nonce", "n-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    let url = reqwest::Url::parse_with_params("http://host/oauth2/authorize", &pairs).unwrap();
    format!("/oauth2/authorize?{}", url.query().unwrap())
}

/// The parameters of the answer to the client.
pub(crate) fn reply(answer: &Answer) -> Vec<(String, String)> {
    let location = answer.header("location");
    let url =
        reqwest::Url::parse(&location).unwrap_or_else(|_| panic!("{location} {}", answer.body));
    url.query_pairs().into_owned().collect()
}

pub(crate) fn value(pairs: &[(String, String)], name: &str) -> String {
    let found: Vec<_> = pairs.iter().filter(|(known, _)| known == name).collect();
    assert_eq!(found.len(), 1, "{name} in {pairs:?}");
    found[0].1.clone()
}

/// The sealed request in the form of the consent page.
pub(crate) fn sealed(page: &Answer) -> String {
    let (_, rest) = page
        .body
        .split_once("name=\"request\" value=\"")
        .unwrap_or_else(|| panic!("{}", page.body));
    rest.split('"').next().unwrap().to_owned()
}

/// Opens a place that an answer redirects to within this server.
pub(crate) async fn follow(browser: &mut Browser<'_>, from: &str, answer: Answer) -> Answer {
    let base = reqwest::Url::parse("http://host").unwrap().join(from).unwrap();
    let place = base.join(&answer.expect_status(303).header("location")).unwrap();
    let query = place.query().map(|query| format!("?{query}")).unwrap_or_default();
    browser.open(&format!("{}{query}", place.path())).await
}

/// Accepts on the consent page, and returns the code.
pub(crate) async fn accept(browser: &mut Browser<'_>, page: Answer) -> String {
    let sealed = sealed(&page.expect_status(200));
    let fields = [("request", sealed.as_str()), ("decision", "accept")];
    let answer = browser.press("/oauth2/consent", &fields).await.expect_status(303);
    value(&reply(&answer), "code")
}

/// Gets a code for a user who is signed in. The user is asked for consent the first time.
pub(crate) async fn code(browser: &mut Browser<'_>, changes: &[(&str, &str)]) -> String {
    let answer = browser.open(&request(changes)).await;
    match answer.status {
        303 => value(&reply(&answer), "code"),
        _ => accept(browser, answer).await,
    }
}

pub(crate) async fn exchange(server: &Server, client: &str, fields: &[(&str, &str)]) -> Answer {
    let request = server.post("/oauth2/token").header("authorization", &basic(client));
    request.form(fields).send().await
}

pub(crate) fn with_code(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

pub(crate) async fn refresh(server: &Server, token: &str) -> Answer {
    exchange(server, "app", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

pub(crate) async fn userinfo(server: &Server, token: &str) -> Answer {
    server.get("/oauth2/userinfo").bearer(token).send().await
}

/// A server with the client `app`, and a user.
pub(crate) async fn server() -> Server {
    let server = Server::setup().set("BCRYPT_COST", 4).start().await;
    Client::default().insert(&server.database).await;
    server.register("ada@user.com", PASSWORD).await.expect_status(201);
    server
}

#[tokio::test]
async fn an_application_signs_a_user_in_from_the_first_page_to_the_revocation() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    // Nobody is signed in: the sign-in page leads back to the request.
    let asked = browser.open(&request(&[])).await;
    let login = follow(&mut browser, "/oauth2/authorize", asked).await.expect_status(200);
    assert!(
        login
            .header("content-security-policy")
            .contains("form-action 'self' https://app.example.com;")
    );
    assert_eq!(login.header("referrer-policy"), "strict-origin");
    let (_, next) = login.body.split_once("name=\"next\" value=\"").unwrap();
    let next = next.split('"').next().unwrap().replace("&#x2f;", "/");
    let typed = [("email", "ada@user.com"), ("password", PASSWORD), ("next", next.as_str())];
    let signed_in = browser.press("/login", &typed).await;
    let page = follow(&mut browser, "/login", signed_in).await.expect_status(200);
    assert!(page.body.contains("The app asks for access") && page.body.contains("ada@user.com"));
    assert!(page.body.contains("app.example.com") && page.body.contains("see your e-mail address"));
    let sealed = sealed(&page);
    let fields = [("request", sealed.as_str()), ("decision", "accept")];
    let answer = browser.press("/oauth2/consent", &fields).await.expect_status(303);
    assert!(answer.header("location").starts_with(&format!("{CALLBACK}?")));
    let pairs = reply(&answer);
    assert_eq!(value(&pairs, "state"), "st&te=");
    let issuer = value(&pairs, "iss");
    let code = value(&pairs, "code");
    assert_eq!(code.len(), 43);

    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    assert_eq!(tokens.header("cache-control"), "no-store");
    assert_eq!(
        (tokens.text("token_type"), tokens.text("scope")),
        ("Bearer".into(), "email openid".into())
    );
    let (access, id) = (tokens.text("access_token"), claims_of(&tokens.text("id_token")));
    assert_eq!(header_of(&access)["typ"], "at+jwt");
    assert_eq!(header_of(&tokens.text("id_token"))["alg"], "RS256");
    for (name, expected) in [
        ("iss", json!(issuer)),
        ("aud", json!("app")),
        ("nonce", json!("n-1")),
        ("email", json!("ada@user.com")),
        ("email_verified", json!(false)),
        ("amr", json!(["pwd"])),
    ] {
        assert_eq!(id[name], expected, "{name}");
    }
    let half = &digest(&SHA256, access.as_bytes()).as_ref()[..16].to_vec();
    assert_eq!(id["at_hash"], URL_SAFE_NO_PAD.encode(half));
    let claims = claims_of(&access);
    assert_eq!((&claims["client_id"], &claims["aud"]), (&json!("app"), &json!(issuer)));
    assert_eq!((&claims["sub"], claims.get("type")), (&id["sub"], None));

    let user = userinfo(&server, &access).await.expect_status(200);
    assert_eq!(
        (user.text("sub"), user.text("email")),
        (id["sub"].as_str().unwrap().into(), "ada@user.com".into())
    );
    // Our own operations accept no token of a client, and userinfo none of a session.
    server.me(&access).await.expect_status(401);
    let (own, _) = server.sign_in("ada@user.com", PASSWORD).await;
    userinfo(&server, &own).await.expect_status(401);

    let next = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    let refreshed = claims_of(&next.text("id_token"));
    assert_eq!((refreshed.get("nonce"), &refreshed["sid"]), (None, &id["sid"]));
    assert_eq!(refreshed["auth_time"], id["auth_time"]);
    // The token endpoint repeats an answer that was lost.
    let again = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    assert_eq!(again.text("refresh_token"), next.text("refresh_token"));

    // The second sign-in asks nothing.
    let silent = browser.open(&request(&[("prompt", "none")])).await.expect_status(303);
    assert_eq!(value(&reply(&silent), "code").len(), 43);
    let apps = browser.open("/account/apps").await.expect_status(200);
    assert!(apps.body.contains("The app"), "{}", apps.body);

    let revoked = server.post("/oauth2/revoke").header("authorization", &basic("app"));
    revoked.form(&[("token", &next.text("refresh_token"))]).send().await.expect_status(200);
    refresh(&server, &next.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
    for token in [&access, &next.text("access_token")] {
        userinfo(&server, token).await.expect_reason("token_revoked");
    }
}

#[tokio::test]
async fn a_code_works_once_for_its_own_client_and_with_its_own_bindings() {
    let server = server().await;
    Client { id: "other", ..Client::default() }.insert(&server.database).await;
    let optional = json!({ "pkce": "optional" });
    Client { id: "plain", settings: optional, ..Client::default() }.insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let first = code(&mut browser, &[]).await;
    let changed = |name: &'static str, value: &'static str| {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(
            with_code(&first).map(|(known, own)| (known, if known == name { value } else { own })),
        );
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
    };
    // A mismatch spends nothing.
    let other_verifier = "another-verifier-of-at-least-43-characters-xx";
    for (fields, name) in [
        (
            changed("redirect_uri", "https://app.example.com/callback/"),
            "code.redirect_uri_mismatch",
        ),
        (changed("redirect_uri", ""), "code.redirect_uri_mismatch"),
        (changed("code_verifier", other_verifier), "pkce.verifier_mismatch"),
        (changed("code_verifier", ""), "pkce.verifier_missing"),
        (changed("code", "unknown"), "code.unknown"),
    ] {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = exchange(&server, "app", &fields).await.expect_refusal(400, "invalid_grant");
        assert!(answer.text("error_description").contains(name), "{name}: {}", answer.body);
    }
    let stolen = exchange(&server, "other", &with_code(&first)).await;
    assert!(stolen.expect_refusal(400, "invalid_grant").body.contains("code.of_another_client"));
    let tokens = exchange(&server, "app", &with_code(&first)).await.expect_status(200);
    // Within the leeway, a second use is refused and ends nothing.
    exchange(&server, "app", &with_code(&first)).await.expect_refusal(400, "invalid_grant");
    userinfo(&server, &tokens.text("access_token")).await.expect_status(200);
    // Wrong bindings end nothing, however late.
    server.advance(Duration::from_secs(30)).await;
    exchange(&server, "other", &with_code(&first)).await.expect_refusal(400, "invalid_grant");
    let kept = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    // Later, the grant ends with all its tokens.
    exchange(&server, "app", &with_code(&first)).await.expect_refusal(400, "invalid_grant");
    userinfo(&server, &kept.text("access_token")).await.expect_reason("token_revoked");
    refresh(&server, &kept.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
    // A code lives for a minute.
    let late = code(&mut browser, &[]).await;
    server.advance(Duration::from_secs(61)).await;
    let answer =
        exchange(&server, "app", &with_code(&late)).await.expect_refusal(400, "invalid_grant");
    assert!(answer.body.contains("code.expired"));
    // A downgrade of PKCE: a verifier without a challenge.
    let plain = code(
        &mut browser,
        &[("client_id", "plain"), ("code_challenge", ""), ("code_challenge_method", "")],
    )
    .await;
    let answer =
        exchange(&server, "plain", &with_code(&plain)).await.expect_refusal(400, "invalid_grant");
    assert!(answer.body.contains("pkce.without_challenge"));
    exchange(&server, "plain", &with_code(&plain)[..3]).await.expect_status(200);
}

#[tokio::test]
async fn one_of_eight_uses_of_a_code_wins_and_keeps_its_grant() {
    let server = server().await;
    let postgres = server.database.kind() == crate::support::Kind::Postgres;
    let mut others = Vec::new();
    for _ in 0..if postgres { 2 } else { 0 } {
        others
            .push(Server::setup().set("BCRYPT_COST", 4).on(server.database.clone()).start().await);
    }
    let replicas: Vec<_> = others.iter().chain([&server]).collect();
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    for _ in 0..3 {
        let code = code(&mut browser, &[]).await;
        let fields = with_code(&code);
        let uses = (0..8).map(|turn| exchange(replicas[turn % replicas.len()], "app", &fields));
        let answers = futures_util::future::join_all(uses).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 7));
        assert!(
            lost.iter().all(|answer| answer.status == 400 && answer.code() == "invalid_grant"),
            "{lost:?}"
        );
        let access = won[0].text("access_token");
        for replica in &replicas {
            eventually("the replica has the key", async || {
                userinfo(replica, &access).await.status == 200
            })
            .await;
        }
        refresh(replicas[0], &won[0].text("refresh_token")).await.expect_status(200);
    }
}

#[tokio::test]
async fn grants_end_with_what_they_belong_to() {
    let server = server().await;
    let scope = ("scope", "openid offline_access");
    // Each act, and whether it ends the grant of the session and the one that outlives it.
    for (act, ends_offline) in [
        ("sign out", false),
        ("end the access", true),
        ("new password", true),
        ("deactivation", true),
    ] {
        let mut browser = Browser::of(&server);
        server.database.execute("update \"user\" set is_active = true").await;
        browser.sign_in("ada@user.com", PASSWORD).await;
        let mut grants = Vec::new();
        for changes in [&[][..], &[scope][..]] {
            let code = code(&mut browser, changes).await;
            let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
            grants.push((tokens.text("access_token"), tokens.text("refresh_token")));
        }
        let other = server.sign_in("ada@user.com", PASSWORD).await.0;
        match act {
            "sign out" => {
                browser.open("/account").await.expect_status(200);
                browser.press("/logout", &[]).await.expect_status(303);
            }
            "end the access" => {
                let page = browser.open("/account/apps").await.expect_status(200);
                let (_, id) = page.body.split_once("name=\"client\" value=\"").unwrap();
                let id = id.split('"').next().unwrap().to_owned();
                browser.press("/account/apps", &[("client", &id)]).await.expect_status(303);
                let page = browser.open("/account/apps").await.expect_status(200);
                assert!(!page.body.contains("name=\"client\""));
            }
            "new password" => {
                let changes =
                    json!({ "password": "another horse battery", "current_password": PASSWORD });
                server.change_me(&other, &changes).await.expect_status(200);
                let (token, _) = server.sign_in("ada@user.com", "another horse battery").await;
                let changes = json!({ "password": PASSWORD });
                server.change_me(&token, &changes).await.expect_status(200);
            }
            _ => {
                server.database.execute("update \"user\" set is_active = false").await;
            }
        }
        for (place, (access, token)) in grants.iter().enumerate() {
            let ends = place == 0 || ends_offline;
            if act != "deactivation" {
                let status = if ends { 401 } else { 200 };
                eventually("userinfo knows", async || {
                    userinfo(&server, access).await.status == status
                })
                .await;
            }
            let status = if ends { 400 } else { 200 };
            assert_eq!(refresh(&server, token).await.status, status, "{act} {place}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_has_one_successor_and_a_copy_ends_the_grant() {
    let server = server().await;
    Client { id: "other", ..Client::default() }.insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code = code(&mut browser, &[]).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    let first = tokens.text("refresh_token");
    assert!(first.starts_with("tsr_gr_") && first.len() == 55, "{first}");
    // Another client, a wider scope or another resource spends nothing.
    let fields = [("grant_type", "refresh_token"), ("refresh_token", first.as_str())];
    exchange(&server, "other", &fields).await.expect_refusal(400, "invalid_grant");
    let wide = [fields[0], fields[1], ("scope", "openid profile")];
    exchange(&server, "app", &wide).await.expect_refusal(400, "invalid_scope");
    let other = [fields[0], fields[1], ("resource", "https://api.example.com")];
    exchange(&server, "app", &other).await.expect_refusal(400, "invalid_target");
    for (place, letter) in [(10, "A"), (30, "B"), (54, "A")] {
        let mut forged = first.clone();
        let letter = if &first[place..=place] == letter { "C" } else { letter };
        forged.replace_range(place..=place, letter);
        let fields = [("grant_type", "refresh_token"), ("refresh_token", forged.as_str())];
        exchange(&server, "app", &fields).await.expect_refusal(400, "invalid_grant");
    }
    let narrow = [fields[0], fields[1], ("scope", "openid")];
    let second = exchange(&server, "app", &narrow).await.expect_status(200);
    assert_eq!(second.text("scope"), "openid");
    let third = refresh(&server, &second.text("refresh_token")).await.expect_status(200);
    assert_eq!(third.text("scope"), "email openid");
    server.advance(Duration::from_secs(30)).await;
    // An old copy ends the grant.
    let copy = refresh(&server, &first).await.expect_refusal(400, "invalid_grant");
    assert!(copy.body.contains("refresh_token.reused"));
    refresh(&server, &third.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
    userinfo(&server, &third.text("access_token")).await.expect_reason("token_revoked");
}
