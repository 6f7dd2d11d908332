//! The endpoints and pages of the provider: parameters, refusals, discovery and what clients do for themselves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::provider::{
    CALLBACK, Client, accept, basic, code, exchange, follow, reply, request, sealed, server,
    userinfo, value,
};
use crate::support::{Browser, PASSWORD, claims_of};

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
    let sealed = self::sealed(&page);
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
