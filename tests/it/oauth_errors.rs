//! Errors of the endpoints that applications call: they have the form of OAuth, whatever refuses the request.

use serde_json::json;

use crate::provider::{Client, basic, code, exchange, server, with_code};
use crate::support::{Answer, Browser, PASSWORD, Server};

/// Asserts the status and the form of an error of OAuth (RFC 6749, section 5.2).
#[track_caller]
fn expect(answer: Answer, status: u16, error: &str) -> Answer {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json["error"], error, "{}", answer.body);
    let told = answer.text("error_description");
    assert!(told.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte)));
    assert_eq!(answer.json.as_object().unwrap().len(), 2, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

const ENDPOINTS: [(&str, &str); 4] = [
    ("/oauth2/token", "POST"),
    ("/oauth2/revoke", "POST"),
    ("/oauth2/introspect", "POST"),
    ("/oauth2/userinfo", "GET, POST"),
];

#[tokio::test]
async fn what_does_not_reach_an_endpoint_is_refused_in_the_form_of_oauth() {
    let server = server().await;
    for (path, methods) in ENDPOINTS {
        // A browser that opens it by mistake gets no page either.
        let delete = server.request("DELETE", path).header("accept", "text/html");
        let refused = expect(delete.send().await, 405, "invalid_request");
        assert_eq!(refused.header("allow"), methods);
        let large = "a".repeat(65 * 1024);
        let form = "application/x-www-form-urlencoded";
        let large = server.post(path).header("authorization", &basic("app")).body(form, large);
        expect(large.send().await, 413, "invalid_request");
    }
    for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"] {
        let json = server.post(path).header("authorization", &basic("app"));
        expect(json.json(&json!({ "token": "x" })).send().await, 400, "invalid_request");
    }
    // Our own operations keep their form.
    let own = server.request("DELETE", "/auth/introspect").send().await;
    own.expect_refusal(405, "Method Not Allowed");
}

#[tokio::test]
async fn refused_tokens_have_the_form_of_oauth_and_a_challenge() {
    let server = server().await;
    let root = server.superuser("root").await;
    let mut browser = Browser::of(&server);
    browser.sign_in("ada@user.com", PASSWORD).await;
    let code = code(&mut browser, &[("scope", "email")]).await;
    let tokens = exchange(&server, "app", &with_code(&code)).await.expect_status(200);
    let userinfo = |token: &str| server.get("/oauth2/userinfo").bearer(token).send();
    let none = expect(server.get("/oauth2/userinfo").send().await, 401, "invalid_token");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let wrong = expect(userinfo("a.b.c").await, 401, "invalid_token");
    assert!(wrong.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
    let own = expect(userinfo(&root.access).await, 401, "invalid_token");
    assert!(own.header("www-authenticate").contains("reason="));
    let narrow = expect(userinfo(&tokens.text("access_token")).await, 403, "insufficient_scope");
    assert_eq!(
        narrow.header("www-authenticate"),
        "Bearer error=\"insufficient_scope\", scope=\"openid\""
    );
    let ask = |token: &str| {
        server.post("/oauth2/introspect").bearer(token).form(&[("token", "x")]).send()
    };
    let unknown = expect(ask("tsr_unknown").await, 401, "invalid_token");
    assert!(unknown.header("www-authenticate").starts_with("Bearer error="));
    let weak = server.service(&root, "weak", &["tokens:check"]).await;
    expect(ask(&weak).await, 403, "insufficient_scope");
}

#[tokio::test]
async fn wrong_secrets_of_clients_are_limited_for_each_address_and_the_right_one_is_accepted() {
    let server = Server::setup().set("BCRYPT_COST", 4).set("RATE_LIMIT", "on");
    let server = server.set("TRUSTED_PROXIES", "127.0.0.0/8,::1").start().await;
    Client::default().insert(&server.database).await;
    let own = ("grant_type", "client_credentials");
    let ask = async |from: &str, authorization: &str| {
        let request = server.post("/oauth2/token").header("authorization", authorization);
        request.header("x-forwarded-for", from).form(&[own]).send().await
    };
    ask("198.51.100.7", &basic("app")).await.expect_status(200);
    let mut guesses = 0;
    let refused = loop {
        let post = server.post("/oauth2/token").header("x-forwarded-for", "198.51.100.7");
        let secret = format!("guess-{guesses}");
        let form = [own, ("client_id", "app"), ("client_secret", secret.as_str())];
        let answer = post.form(&form).send().await;
        if answer.status != 401 {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 200);
    };
    let refused = expect(refused, 429, "temporarily_unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(guesses >= 100, "{guesses}");
    // A client that was there before is not locked out, and neither is one at another address.
    ask("198.51.100.7", &basic("app")).await.expect_status(200);
    ask("198.51.100.8", &basic("app")).await.expect_status(200);
}
