//! Log lines: the caller of a request, and refused sign-ins.

use serde_json::{Value, json};

use crate::support::{Server, claims_of};

/// Waits for the line of a request, by the id in its answer.
async fn line_of(server: &Server, request: &str) -> Value {
    let is_its =
        |line: &Value| line["message"] == "answered a request" && line["request.id"] == request;
    server.log.wait_for_line("the line of the request", is_its).await
}

#[tokio::test]
async fn the_line_of_a_request_names_its_caller() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let claims = claims_of(&person.access);

    let answer = server.me(&person.access).await.expect_status(200);
    let line = line_of(&server, &answer.header("x-request-id")).await;
    assert_eq!(line["user.id"], claims["sub"], "{line}");
    assert_eq!(line["session.id"], claims["sid"], "{line}");
    assert_eq!(line["token.id"], claims["jti"], "{line}");

    let secret = server.api_token(&person.access, &json!({})).await;
    let answer = server.me(&secret).await.expect_status(200);
    let line = line_of(&server, &answer.header("x-request-id")).await;
    assert_eq!(line["user.id"], claims["sub"], "{line}");
    assert!(line["session.id"].is_null() && line["token.id"].is_string(), "{line}");

    let answer = server.me("nonsense").await.expect_status(401);
    let line = line_of(&server, &answer.header("x-request-id")).await;
    assert!(line["user.id"].is_null() && line["token.id"].is_null(), "{line}");

    // The id of a refresh token is not logged, because it could be used with the secret to forge the token.
    let answer = server.logout(&person.refresh).await.expect_status(204);
    let line = line_of(&server, &answer.header("x-request-id")).await;
    assert_eq!(line["session.id"], claims["sid"], "{line}");
    assert!(line["token.id"].is_null(), "{line}");
}

/// Programs that block IP addresses read these lines. The guide shows their format.
#[tokio::test]
async fn a_refused_sign_in_writes_one_line_with_its_reason_and_ip_address() {
    let server = Server::setup().set("TRUSTED_PROXIES", "127.0.0.1").start().await;
    let person = server.person("first").await;
    for (name, from) in
        [(person.email.as_str(), "203.0.113.9"), ("nobody@user.com", "203.0.113.10")]
    {
        let form = [("username", name), ("password", "a wrong password")];
        let login = server.post("/auth/jwt/login").header("x-forwarded-for", from).form(&form);
        let answer = login.send().await.expect_status(400);
        let request = answer.header("x-request-id");
        let is_its = |line: &Value| {
            line["message"] == "a sign-in was refused" && line["client.address"] == from
        };
        let line = server.log.wait_for_line("the refused sign-in", is_its).await;
        assert_eq!(line["refusal.reason"], "LOGIN_BAD_CREDENTIALS", "{line}");
        assert_eq!(line["request.id"], request.as_str(), "{line}");
        let log = server.log_so_far().await;
        let refused = log.lines().filter(|line| line.contains("a sign-in was refused"));
        let of_it: Vec<_> = refused.filter(|line| line.contains(from)).collect();
        assert_eq!(of_it.len(), 1, "{log}");
        assert!(!of_it[0].contains(name), "{}", of_it[0]);
        // The order must be the one in the fail2ban pattern of the guide.
        let place = |text: &str| of_it[0].find(text).unwrap();
        let places = [place("a sign-in was refused"), place(from), place("LOGIN_BAD_CREDENTIALS")];
        assert!(places.is_sorted(), "{}", of_it[0]);
    }
}

#[tokio::test]
async fn the_log_level_debug_shows_how_a_request_was_answered() {
    let server = Server::setup().set("RUST_LOG", "debug").start().await;
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    server.me("nonsense").await.expect_status(401);
    let log = server.log_so_far().await;
    for said in ["a token was accepted", "a unit of work was committed", "a request is refused"] {
        assert!(log.contains(said), "{said} is missing:\n{log}");
    }
}
