//! Applications get no more than the user permitted and the operator still allows: attacks on both.

use serde_json::{Value, json};

use crate::provider::{
    SECRET, accept, basic, code, exchange, refresh, reply, request, server, userinfo, value,
    with_code,
};
use crate::support::{Browser, PASSWORD, Server, eventually};
use crate::terminal::{fault, json_of, out, tessera};

/// Registers an API.
pub(crate) async fn resource(server: &Server, uri: &str) {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, uri.as_bytes());
    let made = tessera(server, &["resource", "create", uri]);
    assert!(made.status.success(), "{id} {}", fault(&made));
}

/// Asks without a page. Returns the code, or the error.
pub(crate) async fn silently(
    browser: &mut Browser<'_>,
    changes: &[(&str, &str)],
) -> Result<String, String> {
    let changes = [&[("prompt", "none")], changes].concat();
    let answer = browser.open(&request(&changes)).await.expect_status(303);
    let pairs = reply(&answer);
    match pairs.iter().any(|(name, _)| name == "code") {
        true => Ok(value(&pairs, "code")),
        false => Err(value(&pairs, "error")),
    }
}

#[tokio::test]
async fn a_claim_that_is_asked_for_by_name_requires_consent_to_its_scope() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    code(&mut browser, &[("scope", "openid")]).await;
    let names = [
        r#"{"userinfo":{"email":null}}"#,
        r#"{"id_token":{"email":{"essential":true}}}"#,
        r#"{"userinfo":{"email_verified":null}}"#,
        r#"{"userinfo":{"name":null}}"#,
    ];
    for claims in names {
        let refused = silently(&mut browser, &[("scope", "openid"), ("claims", claims)]).await;
        assert_eq!(refused, Err("consent_required".to_owned()), "{claims}");
    }
    let asked = [("scope", "openid"), ("claims", names[0])];
    let page = browser.open(&request(&asked)).await.expect_status(200);
    assert!(page.body.contains("e-mail address"), "{}", page.body);
    let permitted = accept(&mut browser, page).await;
    let tokens = exchange(&server, "app", &with_code(&permitted)).await.expect_status(200);
    assert_eq!(tokens.text("scope"), "email openid");
    let claims = userinfo(&server, &tokens.text("access_token")).await.expect_status(200);
    assert_eq!(claims.json["email"], "ada@user.com");
    // A token without the scope does not bring the claim, although the grant asked for it.
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.text("refresh_token")),
        ("scope", "openid"),
    ];
    let narrow = exchange(&server, "app", &fields).await.expect_status(200);
    let claims = userinfo(&server, &narrow.text("access_token")).await.expect_status(200);
    assert_eq!(claims.json["email"], Value::Null);
}

#[tokio::test]
async fn a_scope_is_permitted_for_the_resources_it_was_asked_with_and_no_other() {
    let server = server().await;
    let (one, other) = ("https://a.example.com", "https://b.example.com");
    for uri in [one, other] {
        resource(&server, uri).await;
    }
    let both = format!("{one},{other}");
    let allowed =
        ["client", "update", "app", "--resource", &both, "--scope", "openid,api:read,api:write"];
    assert!(tessera(&server, &allowed).status.success());
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let known = async || {
        let asked = [("scope", "openid api:read"), ("resource", one)];
        server.get(&request(&asked)).send().await.status != 303
            || !server.get(&request(&asked)).send().await.header("location").contains("invalid")
    };
    eventually("the server knows the resources", known).await;
    code(&mut browser, &[("scope", "openid api:read"), ("resource", one)]).await;
    code(&mut browser, &[("scope", "openid api:write"), ("resource", other)]).await;
    for (asked, is_permitted) in [
        (vec![("scope", "openid api:read"), ("resource", one)], true),
        (vec![("scope", "api:write"), ("resource", other)], true),
        (vec![("scope", "openid")], true),
        (vec![("scope", "openid api:write"), ("resource", one)], false),
        (vec![("scope", "openid api:read"), ("resource", other)], false),
        (vec![("scope", "api:read"), ("resource", one), ("resource", other)], false),
        (vec![("scope", "openid api:read")], false),
    ] {
        let answered = silently(&mut browser, &asked).await;
        assert_eq!(answered.is_ok(), is_permitted, "{asked:?}: {answered:?}");
    }
}

#[tokio::test]
async fn a_refresh_gets_nothing_that_the_operator_has_taken_back() {
    let server = server().await;
    let uri = "https://api.example.com";
    resource(&server, uri).await;
    let scopes = "openid,email,api:read,offline_access";
    let update = |options: &[&str]| {
        let arguments = [&["client", "update", "app"], options].concat();
        assert!(tessera(&server, &arguments).status.success(), "{options:?}");
    };
    update(&["--resource", uri, "--scope", scopes]);
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let asked = [("scope", "openid email api:read offline_access"), ("resource", uri)];
    let known = async || browser_sees(&server, &asked).await;
    eventually("the server knows the resource", known).await;
    let first = code(&mut browser, &asked).await;
    let mut tokens = exchange(&server, "app", &with_code(&first)).await.expect_status(200);
    assert_eq!(tokens.text("scope"), "api:read email offline_access openid");

    // Fewer scopes of the client.
    update(&["--scope", "openid,api:read,offline_access"]);
    let narrowed = async || {
        tokens = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
        tokens.text("scope") == "api:read offline_access openid"
    };
    eventually("a refresh has the scopes that are left", narrowed).await;

    // A user who may not use the client any more, in two ways. Nothing is spent meanwhile.
    for (take, give) in [
        (["--only", "staff"], ["--only", ""]),
        (["--verified-email", ""], ["--verified-email=false", ""]),
    ] {
        let take: Vec<_> = take.into_iter().filter(|word| !word.is_empty()).collect();
        update(&take);
        let is_refused = async || {
            let answer = refresh(&server, &tokens.text("refresh_token")).await;
            if answer.status == 200 {
                tokens = answer;
                return false;
            }
            answer.expect_refusal(400, "invalid_grant");
            true
        };
        eventually("the refresh is refused", is_refused).await;
        let give: Vec<_> =
            give.into_iter().filter(|word| give[0] == "--only" || !word.is_empty()).collect();
        update(&give);
        let is_back = async || {
            let answer = refresh(&server, &tokens.text("refresh_token")).await;
            let is_back = answer.status == 200;
            if is_back {
                tokens = answer;
            }
            is_back
        };
        eventually("the refresh is accepted again", is_back).await;
    }

    // A resource that is gone.
    assert!(tessera(&server, &["resource", "delete", uri]).status.success());
    let is_refused = async || {
        let answer = refresh(&server, &tokens.text("refresh_token")).await;
        if answer.status == 200 {
            tokens = answer;
            return false;
        }
        answer.expect_refusal(400, "invalid_grant").body.contains("grant.nothing_left")
    };
    eventually("the refresh for a deleted resource is refused", is_refused).await;
}

/// Returns true if a request is not refused before somebody signs in.
async fn browser_sees(server: &Server, asked: &[(&str, &str)]) -> bool {
    let answer = server.get(&request(asked)).send().await;
    answer.status == 303 && answer.header("location").contains("login")
}

#[tokio::test]
async fn a_secret_that_is_sent_as_the_client_id_is_recorded_nowhere() {
    let server = server().await;
    let secret = format!("{SECRET}app");
    let swapped = basic("app");
    let fields = [("grant_type", "client_credentials"), ("client_id", &secret)];
    server.post("/oauth2/token").form(&fields).send().await.expect_refusal(401, "invalid_client");
    server
        .post("/oauth2/token")
        .header("authorization", &swapped)
        .form(&[("grant_type", "client_credentials"), ("client_id", "other")])
        .send()
        .await
        .expect_refusal(400, "invalid_request");
    server.get(&request(&[("client_id", &secret)])).send().await.expect_status(400);
    let explained = || out(&tessera(&server, &["client", "explain", "--output", "json"]));
    let is_recorded = |text: &str| text.contains("authorize") && text.contains("token");
    eventually("both are recorded", async || is_recorded(&explained())).await;
    assert!(!explained().contains(&secret), "{}", explained());
    assert!(!server.log_so_far().await.contains(&secret));
}

#[tokio::test]
async fn names_of_clients_audiences_and_services_are_apart() {
    let server = Server::start().await;
    let create = |arguments: &[&str]| {
        tessera(
            &server,
            &[&["client", "create"], arguments, &["--grant", "client_credentials"]].concat(),
        )
    };
    assert!(create(&["mailer"]).status.success());
    assert!(create(&["feed", "--audience", "future"]).status.success());
    for (arguments, word) in [
        (&["self", "--audience", "self"][..], "audience"),
        (&["thief", "--audience", "mailer"], "mailer"),
        (&["future"], "future"),
        (&["5ddc4615-abe8-4a81-9695-ac8a71ee71ca"], "UUID"),
    ] {
        let refused = create(arguments);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(fault(&refused).contains(word), "{}", fault(&refused));
    }
    let changed = tessera(&server, &["client", "update", "feed", "--audience", "mailer"]);
    assert!(fault(&changed).contains("mailer"), "{}", fault(&changed));
    let service = tessera(&server, &["service", "create", "mailer"]);
    assert!(!service.status.success(), "{}", out(&service));
}

#[tokio::test]
async fn a_request_authenticates_once_asks_for_few_resources_and_gets_no_code_by_head() {
    let server = server().await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    code(&mut browser, &[]).await;
    let before = server.database.count("authorization_code").await;
    let cookies = browser.cookies.iter().map(|(name, value)| format!("{name}={value}"));
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    let ask = async |method: &str| {
        server.request(method, &request(&[])).header("cookie", &cookies).send().await
    };
    ask("HEAD").await.expect_status(200);
    assert_eq!(server.database.count("authorization_code").await, before);
    ask("GET").await.expect_status(303);
    assert_eq!(server.database.count("authorization_code").await, before + 1);
    let own = [("grant_type", "client_credentials")];
    let token =
        |server: &Server| server.post("/oauth2/token").header("authorization", &basic("app"));
    let twice = token(&server).header("authorization", &basic("other")).form(&own).send().await;
    assert_ne!(twice.status, 200, "{}", twice.body);
    let assertion =
        [own[0], ("client_assertion", "x"), ("client_secret", "y"), ("client_id", "app")];
    let answer = server.post("/oauth2/token").form(&assertion).send().await;
    answer.expect_refusal(400, "invalid_request");
    let uris: Vec<String> = (0..9).map(|number| format!("https://{number}.example.com")).collect();
    let many = std::iter::once(own[0]).chain(uris.iter().map(|uri| ("resource", uri.as_str())));
    let answer = token(&server).form(&many.collect::<Vec<_>>()).send().await;
    assert!(answer.expect_refusal(400, "invalid_request").body.contains("more than 8 resources"));
    let odd = [own[0], ("a\"\\\u{e9}\n", "1"), ("a\"\\\u{e9}\n", "2")];
    let answer = token(&server).form(&odd).send().await.expect_refusal(400, "invalid_request");
    let told = answer.text("error_description");
    assert!(told.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_of_an_application_is_explained_by_its_checks() {
    let server = server().await;
    let url =
        format!("https://id.example.com{}", request(&[("redirect_uri", "https://x.example/")]));
    let told = out(&tessera(&server, &["client", "explain", "app", "--url", &url]));
    assert!(told.contains("redirect_uri.not_registered"), "{told}");
    let nothing = out(&tessera(&server, &["client", "explain", "nope"]));
    assert!(nothing.contains("no client nope"), "{nothing}");
    let listed = json_of(&tessera(&server, &["client", "explain", "app", "--output", "json"]));
    assert_eq!(listed, json!([]));
}
