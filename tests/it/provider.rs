//! The provider: applications that sign people in with OAuth 2 and OpenID Connect, and attacks on that.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, PASSWORD, Server, TestDatabase, claims_of, eventually, header_of,
};

const CALLBACK: &str = "https://app.example.com/callback";
const SECRET: &str = "a-secret-of-a-client-that-only-tests-use-1234";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

/// A client in the table, as `tessera client create` makes it.
struct Client<'a> {
    id: &'a str,
    native: bool,
    public: bool,
    redirect: &'a str,
    settings: Value,
}

impl Default for Client<'_> {
    fn default() -> Self {
        Self { id: "app", native: false, public: false, redirect: CALLBACK, settings: json!({}) }
    }
}

impl Client<'_> {
    async fn insert(&self, database: &TestDatabase) {
        let Self { id, native, public, redirect, settings } = self;
        let row = uuid::Uuid::new_v4();
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
            let secret = uuid::Uuid::new_v4();
            let sql = format!(
                "insert into client_secret (id, client_id, prefix, digest, created_at) values \
                 ('{secret}', '{row}', 'tsr_cs_', '{digest}', 0)"
            );
            database.execute(&sql).await;
        }
    }
}

fn basic(id: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{SECRET}{id}")))
}

/// The parameters of a good request, with changes. A parameter with an empty value is left out.
fn request(changes: &[(&str, &str)]) -> String {
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
fn reply(answer: &Answer) -> Vec<(String, String)> {
    let location = answer.header("location");
    let url =
        reqwest::Url::parse(&location).unwrap_or_else(|_| panic!("{location} {}", answer.body));
    url.query_pairs().into_owned().collect()
}

fn value(pairs: &[(String, String)], name: &str) -> String {
    let found: Vec<_> = pairs.iter().filter(|(known, _)| known == name).collect();
    assert_eq!(found.len(), 1, "{name} in {pairs:?}");
    found[0].1.clone()
}

/// The sealed request in the form of the consent page.
fn sealed(page: &Answer) -> String {
    let (_, rest) = page
        .body
        .split_once("name=\"request\" value=\"")
        .unwrap_or_else(|| panic!("{}", page.body));
    rest.split('"').next().unwrap().to_owned()
}

/// Opens a place that an answer redirects to within this server.
async fn follow(browser: &mut Browser<'_>, from: &str, answer: Answer) -> Answer {
    let base = reqwest::Url::parse("http://host").unwrap().join(from).unwrap();
    let place = base.join(&answer.expect_status(303).header("location")).unwrap();
    let query = place.query().map(|query| format!("?{query}")).unwrap_or_default();
    browser.open(&format!("{}{query}", place.path())).await
}

/// Accepts on the consent page, and returns the code.
async fn accept(browser: &mut Browser<'_>, page: Answer) -> String {
    let sealed = sealed(&page.expect_status(200));
    let fields = [("request", sealed.as_str()), ("decision", "accept")];
    let answer = browser.press("/oauth2/consent", &fields).await.expect_status(303);
    value(&reply(&answer), "code")
}

/// Gets a code for a user who is signed in. The user is asked for consent the first time.
async fn code(browser: &mut Browser<'_>, changes: &[(&str, &str)]) -> String {
    let answer = browser.open(&request(changes)).await;
    match answer.status {
        303 => value(&reply(&answer), "code"),
        _ => accept(browser, answer).await,
    }
}

async fn exchange(server: &Server, client: &str, fields: &[(&str, &str)]) -> Answer {
    let request = server.post("/oauth2/token").header("authorization", &basic(client));
    request.form(fields).send().await
}

fn with_code(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

async fn refresh(server: &Server, token: &str) -> Answer {
    exchange(server, "app", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

async fn userinfo(server: &Server, token: &str) -> Answer {
    server.get("/oauth2/userinfo").bearer(token).send().await
}

/// A server with the client `app`, and a user.
async fn server() -> Server {
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
async fn each_fault_of_a_request_has_its_own_refusal() {
    let server = server().await;
    Client { id: "other", redirect: "https://other.example.com/cb", ..Client::default() }
        .insert(&server.database)
        .await;
    let mut browser = Browser::of(&server);
    // On a page, because nobody knows where the client is.
    let uris = [
        "https://app.example.com/callback/",
        "https://app.example.com/Callback",
        "https://app.example.com",
        "https://app.example.com/callback?x=1",
        "https://app.example.com/callback#",
        "https://app.example.com/callback#x",
        "http://app.example.com/callback",
        "HTTPS://app.example.com/callback",
        "https://APP.example.com/callback",
        "https://app.example.com:443/callback",
        "https://app.example.com:8443/callback",
        "https://app.example.com./callback",
        "https://app.example.com.evil.com/callback",
        "https://evil.com/https://app.example.com/callback",
        "https://app.example.com@evil.com/callback",
        "https://user@app.example.com/callback",
        "https://app.example.com\\@evil.com/callback",
        "https://app.example.com/callback/../callback",
        "https://app.example.com/./callback",
        "https://app.example.com//callback",
        "https://app.example.com/%63allback",
        "https://app.example.com/callback%20",
        " https://app.example.com/callback",
        "https://app.example.com/callback ",
        "//app.example.com/callback",
        "/callback",
        "callback",
        "javascript:alert(1)//https://app.example.com/callback",
        "data:text/html,x",
        "https://sub.app.example.com/callback",
        "https://other.example.com/cb",
        "https://*.example.com/callback",
        "https://app.example.com/callback\u{e4}",
        "https://app.example.com/callback\r\nx: y",
    ];
    for uri in uris {
        let page = browser.open(&request(&[("redirect_uri", uri)])).await;
        assert_eq!(page.status, 400, "{uri}");
        assert!(
            page.headers.get("location").is_none()
                && page.body.contains("redirect_uri.not_registered"),
            "{uri}"
        );
    }
    let twice = |name: &str| format!("{}&{name}=x", request(&[]));
    for (path, name) in [
        (request(&[("client_id", "")]), "client.missing"),
        (request(&[("client_id", "nobody")]), "client.unknown"),
        (request(&[("redirect_uri", "")]), "redirect_uri.missing"),
        (twice("client_id"), "parameters.repeated"),
        (twice("redirect_uri"), "parameters.repeated"),
        (twice("state"), "parameters.repeated"),
        (twice("scope"), "parameters.repeated"),
        (format!("{}%00", request(&[])), "parameters.null"),
        (request(&[("login_hint", &"a".repeat(7000))]), "parameters.too_long"),
        ("/oauth2/authorize?continue=AAAA".to_owned(), "flow.unreadable"),
        ("/oauth2/authorize".to_owned(), "client.missing"),
    ] {
        let page = browser.open(&path).await;
        assert_eq!((page.status, page.body.contains(name)), (400, true), "{name}: {}", page.body);
        assert!(page.body.contains(&page.header("x-request-id")), "{name}");
    }
    // To the client.
    for (changes, error, name) in [
        (vec![("response_type", "")], "invalid_request", "response_type.missing"),
        (
            vec![("response_type", "token")],
            "unsupported_response_type",
            "response_type.unsupported",
        ),
        (
            vec![("response_type", "code id_token")],
            "unsupported_response_type",
            "response_type.unsupported",
        ),
        (vec![("response_mode", "fragment")], "invalid_request", "response_mode.unsupported"),
        (vec![("request", "e30.e30.")], "request_not_supported", "unsupported.request"),
        (
            vec![("request_uri", "https://evil.com/r")],
            "request_uri_not_supported",
            "unsupported.request_uri",
        ),
        (vec![("registration", "{}")], "registration_not_supported", "unsupported.registration"),
        (
            vec![("code_challenge", ""), ("code_challenge_method", "")],
            "invalid_request",
            "pkce.missing",
        ),
        (vec![("code_challenge", "")], "invalid_request", "pkce.challenge_missing"),
        (vec![("code_challenge_method", "")], "invalid_request", "pkce.method"),
        (vec![("code_challenge_method", "plain")], "invalid_request", "pkce.method"),
        (vec![("code_challenge", "short")], "invalid_request", "pkce.challenge"),
        (vec![("scope", "")], "invalid_scope", "scope.none_allowed"),
        (vec![("scope", "super admin")], "invalid_scope", "scope.none_allowed"),
        (vec![("resource", "https://api.example.com")], "invalid_target", "resource.not_allowed"),
        (vec![("prompt", "nonsense")], "invalid_request", "prompt.unsupported"),
        (vec![("prompt", "none login")], "invalid_request", "prompt.contradictory"),
        (vec![("max_age", "-1")], "invalid_request", "max_age.malformed"),
        (vec![("max_age", "1e3")], "invalid_request", "max_age.malformed"),
        (vec![("claims", "[]")], "invalid_request", "claims.malformed"),
        (vec![("id_token_hint", "a.b.c")], "invalid_request", "hint.invalid"),
        (vec![("prompt", "none")], "login_required", "authentication.required"),
        (
            vec![("claims", r#"{"id_token":{"acr":{"essential":true,"values":["mfa"]}}}"#)],
            "unmet_authentication_requirements",
            "authentication.acr",
        ),
        (vec![("nonce", &"n".repeat(3000))], "invalid_request", "flow.too_long"),
    ] {
        let answer = browser.open(&request(&changes)).await;
        assert_eq!(answer.status, 303, "{name}: {}", answer.body);
        let pairs = reply(&answer);
        assert_eq!(value(&pairs, "error"), error, "{name}");
        assert!(value(&pairs, "error_description").contains(name), "{name} {pairs:?}");
        assert_eq!(
            (value(&pairs, "state"), value(&pairs, "iss").is_empty()),
            ("st&te=".into(), false)
        );
        assert!(!pairs.iter().any(|(known, _)| known == "code"));
    }
    // A POST is led to the same request in a URL; one of a page with a fault is refused as in a GET.
    let posted = server.post("/oauth2/authorize").body(
        "application/x-www-form-urlencoded",
        request(&[]).split_once('?').unwrap().1.to_owned(),
    );
    let answer = posted.send().await.expect_status(303);
    assert!(
        answer.header("location").starts_with("../oauth2/authorize?continue="),
        "{}",
        answer.header("location")
    );
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
    server.advance(Duration::from_secs(30));
    exchange(&server, "other", &with_code(&first)).await.expect_refusal(400, "invalid_grant");
    let kept = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    // Later, the grant ends with all its tokens.
    exchange(&server, "app", &with_code(&first)).await.expect_refusal(400, "invalid_grant");
    userinfo(&server, &kept.text("access_token")).await.expect_reason("token_revoked");
    refresh(&server, &kept.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
    // A code lives for a minute.
    let late = code(&mut browser, &[]).await;
    server.advance(Duration::from_secs(61));
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
    server.advance(Duration::from_secs(30));
    // An old copy ends the grant.
    let copy = refresh(&server, &first).await.expect_refusal(400, "invalid_grant");
    assert!(copy.body.contains("refresh_token.reused"));
    refresh(&server, &third.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
    userinfo(&server, &third.text("access_token")).await.expect_reason("token_revoked");
}

#[tokio::test]
async fn a_client_acts_for_itself_and_asks_about_tokens() {
    let server = server().await;
    Client { id: "other", ..Client::default() }.insert(&server.database).await;
    Client { id: "page", public: true, ..Client::default() }.insert(&server.database).await;
    let own = [("grant_type", "client_credentials"), ("scope", "api:read openid")];
    let issued = exchange(&server, "app", &own).await.expect_status(200);
    assert_eq!((issued.text("scope"), issued.json.get("refresh_token")), ("api:read".into(), None));
    let token = issued.text("access_token");
    assert_eq!(claims_of(&token)["sub"], "app");
    userinfo(&server, &token).await.expect_status(403);
    server.me(&token).await.expect_status(401);
    let page = [("grant_type", "client_credentials"), ("client_id", "page")];
    server
        .post("/oauth2/token")
        .form(&page)
        .send()
        .await
        .expect_refusal(400, "unauthorized_client");

    let ask = async |client: &str, token: &str| {
        let request = server.post("/oauth2/introspect").header("authorization", &basic(client));
        request.form(&[("token", token)]).send().await.expect_status(200).json
    };
    let answer = ask("app", &token).await;
    assert_eq!((&answer["active"], &answer["client_id"]), (&json!(true), &json!("app")));
    for inactive in [ask("other", &token).await, ask("app", "nonsense").await] {
        assert_eq!(inactive, json!({ "active": false }));
    }
    server
        .post("/oauth2/introspect")
        .form(&[("token", &token)])
        .send()
        .await
        .expect_refusal(401, "invalid_client");
    // Another client's token is untouched.
    let revoke = async |client: &str| {
        let request = server.post("/oauth2/revoke").header("authorization", &basic(client));
        request.form(&[("token", &token)]).send().await.expect_status(200);
    };
    revoke("other").await;
    assert_eq!(ask("app", &token).await["active"], true);
    revoke("app").await;
    assert_eq!(ask("app", &token).await, json!({ "active": false }));
    // Parameters given twice, wrong secrets and other grant types.
    let twice = "grant_type=client_credentials&grant_type=client_credentials";
    let request = server.post("/oauth2/token").header("authorization", &basic("app"));
    request
        .body("application/x-www-form-urlencoded", twice)
        .send()
        .await
        .expect_refusal(400, "invalid_request");
    let wrong = format!("Basic {}", STANDARD.encode("app:wrong"));
    let request = server.post("/oauth2/token").header("authorization", &wrong);
    let refused = request.form(&own).send().await.expect_refusal(401, "invalid_client");
    assert!(refused.header("www-authenticate").starts_with("Basic"));
    for grant_type in ["password", "implicit", "urn:ietf:params:oauth:grant-type:device_code"] {
        let fields = [("grant_type", grant_type)];
        exchange(&server, "app", &fields).await.expect_refusal(400, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn the_discovery_document_announces_only_what_exists() {
    let server = server().await;
    let document = server.get("/.well-known/openid-configuration").send().await.expect_status(200);
    let same =
        server.get("/.well-known/oauth-authorization-server").send().await.expect_status(200);
    assert_eq!(document.body, same.body);
    assert_eq!(document.header("cache-control"), "public, max-age=300");
    assert_eq!(document.header("access-control-allow-origin"), "*");
    assert!(document.headers.get("access-control-allow-credentials").is_none());
    let tag = document.header("etag");
    let known = server.get("/.well-known/openid-configuration").header("if-none-match", &tag);
    known.send().await.expect_status(304);
    let issuer = document.text("issuer");
    let endpoints: Vec<_> = document
        .json
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .collect();
    assert_eq!(endpoints.len(), 6);
    for (name, url) in endpoints {
        let path = url.as_str().unwrap().strip_prefix(&issuer).unwrap();
        let found = server
            .request("OPTIONS", path)
            .header("origin", "https://page.example.com")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,mcp-protocol-version")
            .send()
            .await;
        let is_open =
            !["authorization_endpoint", "introspection_endpoint"].contains(&name.as_str());
        assert_eq!(found.status == 204, is_open, "{name}");
        if is_open {
            assert_eq!(
                found.header("access-control-allow-headers"),
                "authorization,mcp-protocol-version"
            );
        }
        assert_ne!(server.get(path).send().await.status, 404, "{name}");
    }
    for grant_type in document.json["grant_types_supported"].as_array().unwrap() {
        let fields = [("grant_type", grant_type.as_str().unwrap())];
        let answer = exchange(&server, "app", &fields).await;
        assert_ne!(answer.code(), "unsupported_grant_type", "{grant_type}");
    }
    for absent in [
        "registration_endpoint",
        "pushed_authorization_request_endpoint",
        "end_session_endpoint",
        "device_authorization_endpoint",
    ] {
        assert_eq!(document.json.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn pages_that_a_request_requires_are_shown_and_others_are_not() {
    let server = server().await;
    let trusted = json!({ "trusted": true });
    Client { id: "trusted", settings: trusted, ..Client::default() }.insert(&server.database).await;
    Client {
        id: "native",
        native: true,
        public: true,
        redirect: "http://127.0.0.1/cb",
        ..Client::default()
    }
    .insert(&server.database)
    .await;
    let only = json!({ "only": ["staff"], "trusted": true });
    Client { id: "staff", settings: only, ..Client::default() }.insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let ask = |changes: &[(&'static str, &'static str)]| request(changes);
    // A trusted client needs no consent; another one does, and more scopes need another.
    browser.open(&ask(&[("client_id", "trusted"), ("prompt", "none")])).await.expect_status(303);
    let refused = browser.open(&ask(&[("prompt", "none")])).await.expect_status(303);
    assert_eq!(value(&reply(&refused), "error"), "consent_required");
    code(&mut browser, &[]).await;
    browser.open(&ask(&[])).await.expect_status(303);
    browser.open(&ask(&[("scope", "openid email profile")])).await.expect_status(200);
    browser.open(&ask(&[("prompt", "consent")])).await.expect_status(200);
    // A program on a port of this machine can be anybody, so its consent is never remembered.
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:4567/cb")];
    for _ in 0..2 {
        let page = browser.open(&ask(&native)).await.expect_status(200);
        accept(&mut browser, page).await;
    }
    // A denial goes back; a stale form asks again; a form without the page of this browser does nothing.
    let page = browser.open(&ask(&[("prompt", "consent")])).await.expect_status(200);
    let sealed = sealed(&page);
    let denied =
        browser.press("/oauth2/consent", &[("request", &sealed), ("decision", "deny")]).await;
    assert_eq!(value(&reply(&denied.expect_status(303)), "error"), "access_denied");
    let csrf = std::mem::take(&mut browser.csrf);
    let accept = [("request", sealed.as_str()), ("decision", "accept")];
    let stale = browser.press("/oauth2/consent", &accept).await.expect_status(200);
    assert!(stale.body.contains("name=\"decision\""));
    browser.csrf = csrf;
    // A sign-in that is required although somebody is signed in.
    let old = ask(&[("max_age", "0"), ("client_id", "trusted")]);
    for path in [ask(&[("prompt", "login"), ("client_id", "trusted")]), old] {
        let led = browser.open(&path).await.expect_status(303);
        assert!(led.header("location").contains("login?again=1"), "{}", led.header("location"));
        let login = follow(&mut browser, "/oauth2/authorize", led).await.expect_status(200);
        let (_, next) = login.body.split_once("name=\"next\" value=\"").unwrap();
        let next = next.split('"').next().unwrap().replace("&#x2f;", "/");
        let typed =
            [("email", "ada@user.com"), ("password", PASSWORD), ("next", &next), ("again", "1")];
        let signed_in = browser.press("/login", &typed).await;
        let answer = follow(&mut browser, "/login", signed_in).await.expect_status(303);
        assert_eq!(value(&reply(&answer), "code").len(), 43);
    }
    // The answer in a form.
    let form = browser
        .open(&ask(&[("response_mode", "form_post"), ("client_id", "trusted")]))
        .await
        .expect_status(200);
    assert!(
        form.body.contains("action=\"https:&#x2f;&#x2f;app.example.com")
            || form.body.contains(&format!("action=\"{CALLBACK}\""))
    );
    assert!(form.body.contains("name=\"code\"") && form.body.contains("name=\"iss\""));
    let policy = form.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' https://app.example.com;")
            && policy.contains("script-src 'self'")
    );
    // A user who cannot use the client sees why, and can go back.
    let page = browser.open(&ask(&[("client_id", "staff")])).await.expect_status(403);
    let sealed = super::provider::sealed(&page);
    let back =
        browser.press("/oauth2/consent", &[("request", &sealed), ("decision", "deny")]).await;
    assert_eq!(value(&reply(&back.expect_status(303)), "error"), "access_denied");
    let accepted =
        browser.press("/oauth2/consent", &[("request", &sealed), ("decision", "accept")]).await;
    assert_eq!(accepted.status, 403);
    // In the language that the application asks for.
    let page = browser
        .open(&ask(&[("prompt", "consent"), ("ui_locales", "fr de-AT en")]))
        .await
        .expect_status(200);
    assert!(page.body.contains("bittet um Zugriff"), "{}", page.body);
}
