//! Refusals of the authorization endpoint, the token endpoint and its neighbours, each by the name that operators read.

use std::time::Duration;

use serde_json::json;

use crate::provider::{
    CALLBACK, Client, basic, code, exchange, refresh, reply, request, server, value, with_code,
};
use crate::support::{Answer, Browser, PASSWORD, Person, Request, Server};

const OWN: (&str, &str) = ("grant_type", "client_credentials");

/// Asserts that an answer is refused with an error, and that operators read a name for it.
async fn expect(server: &Server, root: &Person, answer: Answer, error: &str, name: &str) {
    let status = if error == "invalid_client" { 401 } else { 400 };
    let answer = answer.expect_refusal(status, error);
    let told = answer.text("error_description");
    // What is about the client says nobody else the reason.
    let shown = if status == 401 { "client.not_authenticated" } else { name };
    assert!(told.contains(&format!("({shown},")), "{name}: {told}");
    let path = format!("/admin/refusals?reference={}", answer.header("x-request-id"));
    let found = server.get(&path).bearer(&root.access).send().await.expect_status(200);
    assert_eq!(found.json["items"][0]["name"], name, "{}", found.body);
}

async fn with_clients() -> (Server, Person) {
    let server = server().await;
    Client { id: "other", ..Client::default() }.insert(&server.database).await;
    Client { id: "page", public: true, ..Client::default() }.insert(&server.database).await;
    for (id, change) in [
        ("disabled", "is_active = false"),
        ("robot", "grant_types = 'client_credentials'"),
        ("sign-in", "grant_types = 'authorization_code'"),
    ] {
        Client { id, ..Client::default() }.insert(&server.database).await;
        let sql = format!("update client set {change} where client_id = '{id}'");
        server.database.execute(&sql).await;
    }
    let root = server.superuser("root").await;
    (server, root)
}

fn token(server: &Server, authorization: Option<&str>) -> Request {
    let request = server.post("/oauth2/token");
    match authorization {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    }
}

#[tokio::test]
async fn each_refusal_of_a_client_and_its_form_is_named() {
    let (server, root) = with_clients().await;
    let app = basic("app");
    let body = |request: Request, fields: &[(&str, &str)]| request.form(fields).send();
    let public = [OWN, ("client_id", "page")];
    let two_ways = [OWN, ("client_secret", "x")];
    let other = [OWN, ("client_id", "other")];
    for (answer, error, name) in [
        (body(token(&server, None), &[OWN]).await, "invalid_client", "client_auth.missing"),
        (
            body(token(&server, Some("Basic ???")), &[OWN]).await,
            "invalid_client",
            "client_auth.basic_malformed",
        ),
        (
            body(token(&server, Some(&app)), &two_ways).await,
            "invalid_request",
            "client_auth.two_methods",
        ),
        (
            body(token(&server, Some(&app)), &other).await,
            "invalid_request",
            "client_auth.two_clients",
        ),
        (
            body(token(&server, Some(&basic("disabled"))), &[OWN]).await,
            "invalid_client",
            "client.disabled",
        ),
        (body(token(&server, Some(&app)), &[]).await, "invalid_request", "parameters.missing"),
        (
            token(&server, Some(&app)).json(&json!({ "grant_type": "refresh_token" })).send().await,
            "invalid_request",
            "parameters.not_a_form",
        ),
        (
            body(token(&server, Some(&app)), &[("grant_type", "password")]).await,
            "unsupported_grant_type",
            "grant_type.unsupported",
        ),
        (
            body(token(&server, Some(&basic("sign-in"))), &[OWN]).await,
            "unauthorized_client",
            "grant_type.not_allowed",
        ),
        (
            body(token(&server, None), &public).await,
            "unauthorized_client",
            "grant_type.public_client",
        ),
        (
            server
                .post("/oauth2/introspect")
                .form(&[("token", "x"), ("client_id", "page")])
                .send()
                .await,
            "invalid_client",
            "introspection.public_client",
        ),
    ] {
        expect(&server, &root, answer, error, name).await;
    }
    let uris: Vec<String> = (0..9).map(|number| format!("https://{number}.example.com")).collect();
    let many: Vec<_> =
        std::iter::once(OWN).chain(uris.iter().map(|uri| ("resource", uri.as_str()))).collect();
    let answer = token(&server, Some(&app)).form(&many).send().await;
    expect(&server, &root, answer, "invalid_request", "parameters.resources").await;
}

#[tokio::test]
async fn each_refusal_of_a_code_and_of_a_refresh_token_is_named() {
    let (server, root) = with_clients().await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let first = code(&mut browser, &[]).await;
    let fields = [&with_code(&first)[..], &[("resource", "https://api.example.com")]].concat();
    let answer = exchange(&server, "app", &fields).await;
    expect(&server, &root, answer, "invalid_target", "resource.not_granted").await;
    let tokens = exchange(&server, "app", &with_code(&first)).await.expect_status(200);
    let own = tokens.text("refresh_token");
    let with = |more: (&'static str, &'static str)| {
        let fields = vec![("grant_type", "refresh_token"), ("refresh_token", own.as_str()), more];
        let server = &server;
        async move { exchange(server, "app", &fields).await }
    };
    let answer = with(("scope", "openid profile")).await;
    expect(&server, &root, answer, "invalid_scope", "scope.not_granted").await;
    let answer = with(("resource", "https://api.example.com")).await;
    expect(&server, &root, answer, "invalid_target", "resource.not_granted").await;
    let answer = refresh(&server, "tsr_gr_nonsense").await;
    expect(&server, &root, answer, "invalid_grant", "refresh_token.unknown").await;
    let fields = [("grant_type", "refresh_token"), ("refresh_token", own.as_str())];
    let answer = exchange(&server, "other", &fields).await;
    expect(&server, &root, answer, "invalid_grant", "refresh_token.unknown").await;

    let late = code(&mut browser, &[]).await;
    browser.open("/").await.expect_status(200);
    browser.press("/logout", &[]).await.expect_status(303);
    let answer = exchange(&server, "app", &with_code(&late)).await;
    expect(&server, &root, answer, "invalid_grant", "code.session_ended").await;
    let answer = refresh(&server, &own).await;
    expect(&server, &root, answer, "invalid_grant", "refresh_token.ended").await;
    browser.sign_in("ada@user.com", PASSWORD).await;
    let again = code(&mut browser, &[]).await;
    let tokens = exchange(&server, "app", &with_code(&again)).await.expect_status(200);
    server.advance(Duration::from_secs(400 * 86_400)).await;
    let (access, refreshed) = server.sign_in(&root.email, PASSWORD).await;
    let root = Person { access, refresh: refreshed, ..root };
    let answer = refresh(&server, &tokens.text("refresh_token")).await;
    expect(&server, &root, answer, "invalid_grant", "refresh_token.expired").await;
}

#[tokio::test]
async fn an_application_that_is_disabled_or_only_acts_for_itself_signs_nobody_in() {
    let (server, _) = with_clients().await;
    let mut browser = Browser::of(&server);
    let page = browser.open(&request(&[("client_id", "disabled")])).await.expect_status(400);
    assert!(page.body.contains("client.disabled"), "{}", page.body);
    let answer = browser.open(&request(&[("client_id", "robot")])).await.expect_status(303);
    let pairs = reply(&answer);
    assert_eq!(value(&pairs, "error"), "unauthorized_client");
    assert!(value(&pairs, "error_description").contains("response_type.not_allowed"));
}

#[tokio::test]
async fn an_application_that_requires_a_verified_address_gets_no_other_user() {
    let (server, root) = with_clients().await;
    let settings = json!({ "verified_email": true });
    Client { id: "strict", settings, ..Client::default() }.insert(&server.database).await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let strict = ("client_id", "strict");
    // The page says it, and leads on to the application.
    let page = browser.open(&request(&[strict])).await.expect_status(403);
    assert!(page.body.contains("requires a verified e-mail address"), "{}", page.body);
    let deny = [("request", &*crate::provider::sealed(&page)), ("decision", "deny")];
    let led = browser.press("/oauth2/consent", &deny).await.expect_status(303);
    let silent = browser.open(&request(&[strict, ("prompt", "none")])).await.expect_status(303);
    for answer in [led, silent] {
        assert!(answer.header("location").starts_with(CALLBACK));
        let pairs = reply(&answer);
        assert_eq!(value(&pairs, "error"), "access_denied");
        let told = value(&pairs, "error_description");
        assert!(told.contains("user.not_verified"), "{told}");
    }
    // The address of a user can lose its proof before the code is exchanged.
    let verify = async |is_verified: bool| {
        let sql =
            format!("update \"user\" set is_verified = {is_verified} where email like 'ada%'");
        server.database.execute(&sql).await;
        server.advance(Duration::from_secs(1)).await;
    };
    verify(true).await;
    let first = code(&mut browser, &[strict]).await;
    verify(false).await;
    let answer = exchange(&server, "strict", &with_code(&first)).await;
    expect(&server, &root, answer, "invalid_grant", "user.not_verified").await;
}
