//! Every operation, called without a token, with a refresh token, as a user, and as a superuser. A test compares the
//! table with openapi.yaml, so that no operation is missing.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{PASSWORD, Request, Server, operations};

/// An operation with the status for each caller: no token, a refresh token, a user, a superuser.
type Row = (&'static str, &'static str, fn(Request) -> Request, [u16; 4]);

const OPEN: [u16; 4] = [200; 4];

fn plain(request: Request) -> Request {
    request
}

/// An id in a path is the id of another user's session. A superuser's token gives no more access to such sessions than
/// a user's token.
static TABLE: [Row; 85] = [
    ("POST", "/auth/register", |r| r.json(&json!({ "email": "x", "password": "x" })), [422; 4]),
    ("POST", "/auth/jwt/login", |r| r.form(&[("username", "x"), ("password", "x")]), [400; 4]),
    ("POST", "/auth/jwt/refresh", plain, [401, 200, 401, 401]),
    ("POST", "/auth/jwt/logout", plain, [401, 204, 204, 204]),
    ("POST", "/auth/jwt/logout-all", plain, [401, 204, 204, 204]),
    (
        "POST",
        "/auth/jwt/fresh",
        |r| r.json(&json!({ "password": "neither" })),
        [401, 401, 400, 400],
    ),
    ("GET", "/auth/sessions", plain, [401, 401, 200, 200]),
    ("DELETE", "/auth/sessions", plain, [401, 401, 204, 204]),
    ("DELETE", "/auth/sessions/{id}", plain, [401, 401, 404, 404]),
    ("POST", "/auth/cookie/login", |r| r.form(&[("username", "x"), ("password", "x")]), [400; 4]),
    // This operation needs a cookie, and none is sent here.
    ("POST", "/auth/cookie/logout", plain, [401; 4]),
    ("POST", "/auth/request-verify-token", |r| r.json(&json!({ "email": "x" })), [422; 4]),
    ("POST", "/auth/forgot-password", |r| r.json(&json!({ "email": "x" })), [422; 4]),
    ("POST", "/auth/verify", |r| r.json(&json!({ "token": "x" })), [400; 4]),
    (
        "POST",
        "/auth/reset-password",
        |r| r.json(&json!({ "token": "x", "password": "x" })),
        [400; 4],
    ),
    ("POST", "/auth/restore-email", |r| r.json(&json!({ "token": "x" })), [400; 4]),
    (
        "POST",
        "/auth/accept-invitation",
        |r| r.json(&json!({ "token": "x", "password": "x" })),
        [400; 4],
    ),
    ("GET", "/auth/{provider}/authorize", plain, [404; 4]),
    ("GET", "/auth/{provider}/callback", plain, [404; 4]),
    ("GET", "/auth/associate/{provider}/authorize", plain, [401, 401, 404, 404]),
    ("GET", "/auth/associate/{provider}/callback", plain, [401, 401, 404, 404]),
    ("POST", "/auth/{provider}/backchannel-logout", |r| r.form(&[("logout_token", "x")]), [404; 4]),
    ("GET", "/admin/upstreams", plain, [401, 401, 403, 200]),
    ("POST", "/admin/upstreams/{name}/check", plain, [401, 401, 403, 404]),
    ("GET", "/admin/upstream-refusals", plain, [401, 401, 403, 200]),
    ("POST", "/auth/revoke", |r| r.form(&[("token", "x")]), OPEN),
    (
        "POST",
        "/admin/revocations",
        |r| r.json(&json!({ "kind": "jti", "subject": uuid::Uuid::nil(), "why": "test" })),
        [401, 401, 403, 204],
    ),
    ("POST", "/admin/tokens/explain", |r| r.json(&json!({ "token": "x" })), [401, 401, 403, 200]),
    ("GET", "/admin/revocations", plain, [401, 401, 403, 200]),
    ("DELETE", "/admin/revocations/{seq}", plain, [401, 401, 403, 404]),
    // Only API tokens can read the feed.
    ("GET", "/auth/revocations", plain, [401; 4]),
    ("GET", "/auth/revocations/stream", plain, [401; 4]),
    ("GET", "/auth/revocations/snapshot", plain, [401; 4]),
    ("GET", "/admin/feed", plain, [401, 401, 403, 200]),
    ("POST", "/admin/feed/reset", plain, [401, 401, 403, 200]),
    ("POST", "/auth/tokens", |r| r.json(&json!({})), [401, 401, 201, 201]),
    ("GET", "/auth/tokens", plain, [401, 401, 200, 200]),
    ("DELETE", "/auth/tokens", plain, [401, 401, 400, 400]),
    ("DELETE", "/auth/tokens/{id}", plain, [401, 401, 200, 200]),
    ("POST", "/auth/tokens/check", |r| r.json(&json!({ "token": "x" })), [401, 401, 403, 200]),
    ("POST", "/auth/introspect", |r| r.form(&[("token", "x")]), [401, 401, 403, 200]),
    ("POST", "/admin/services", |r| r.json(&json!({ "name": "a" })), [401, 401, 403, 201]),
    ("POST", "/admin/import", |r| r.json(&json!({ "users": [] })), [401, 401, 403, 200]),
    ("GET", "/admin/audit", plain, [401, 401, 403, 200]),
    ("GET", "/admin/replicas", plain, [401, 401, 403, 200]),
    ("GET", "/admin/sessions", plain, [401, 401, 403, 422]),
    (
        "POST",
        "/admin/sessions/end",
        |r| r.json(&json!({ "username": "nobody@user.com", "why": "test" })),
        [401, 401, 403, 404],
    ),
    ("GET", "/.well-known/jwks.json", plain, OPEN),
    ("GET", "/admin/keys", plain, [401, 401, 403, 200]),
    ("POST", "/admin/keys", |r| r.json(&json!({})), [401, 401, 403, 422]),
    ("DELETE", "/admin/keys/{kid}", plain, [401, 401, 403, 404]),
    ("GET", "/admin/services", plain, [401, 401, 403, 200]),
    ("DELETE", "/admin/services/{name}", plain, [401, 401, 403, 404]),
    (
        "POST",
        "/admin/clients",
        |r| r.json(&json!({ "client_id": "a-client", "redirect_uris": ["https://a.example/cb"] })),
        [401, 401, 403, 201],
    ),
    ("GET", "/admin/clients", plain, [401, 401, 403, 200]),
    ("POST", "/admin/clients-document", |r| r.json(&json!({})), [401, 401, 403, 200]),
    ("GET", "/admin/clients/{client_id}", plain, [401, 401, 403, 404]),
    ("PATCH", "/admin/clients/{client_id}", |r| r.json(&json!({})), [401, 401, 403, 404]),
    ("POST", "/admin/clients/{client_id}/secrets", |r| r.json(&json!({})), [401, 401, 403, 404]),
    ("GET", "/admin/clients/{client_id}/claims", plain, [401, 401, 403, 422]),
    ("DELETE", "/admin/clients/{client_id}", plain, [401, 401, 403, 404]),
    (
        "POST",
        "/admin/resources",
        |r| r.json(&json!({ "uri": "https://api.example.com" })),
        [401, 401, 403, 201],
    ),
    ("GET", "/admin/refusals", plain, [401, 401, 403, 200]),
    (
        "POST",
        "/admin/authorization-checks",
        |r| r.json(&json!({ "url": "client_id=x" })),
        [401, 401, 403, 200],
    ),
    ("GET", "/admin/resources", plain, [401, 401, 403, 200]),
    ("DELETE", "/admin/resources", plain, [401, 401, 403, 422]),
    ("GET", "/users/me", plain, [401, 401, 200, 200]),
    ("PATCH", "/users/me", |r| r.json(&json!({ "password": "a new one" })), [401, 401, 200, 200]),
    ("DELETE", "/users/me/pending-email", plain, [401, 401, 404, 404]),
    ("DELETE", "/users/me/previous-emails", plain, [401, 401, 404, 404]),
    ("POST", "/users/me/export", plain, [401, 401, 200, 200]),
    ("GET", "/users", plain, [401, 401, 403, 200]),
    ("POST", "/users", |r| r.json(&json!({ "email": "x" })), [401, 401, 403, 422]),
    ("POST", "/users/export", plain, [401, 401, 403, 200]),
    ("GET", "/admin/invitations", plain, [401, 401, 403, 200]),
    ("POST", "/admin/invitations/{id}/resend", plain, [401, 401, 403, 404]),
    ("DELETE", "/admin/invitations/{id}", plain, [401, 401, 403, 404]),
    ("GET", "/users/{id}", plain, [401, 401, 403, 404]),
    ("POST", "/users/{id}/export", plain, [401, 401, 403, 404]),
    ("PATCH", "/users/{id}", |r| r.json(&json!({})), [401, 401, 403, 404]),
    ("DELETE", "/users/{id}", plain, [401, 401, 403, 404]),
    ("GET", "/health/live", plain, OPEN),
    ("GET", "/health/ready", plain, OPEN),
    ("GET", "/version", plain, OPEN),
    // This is the last one, because it deletes the user. The only superuser stays.
    ("DELETE", "/users/me", plain, [401, 401, 204, 409]),
];

#[test]
fn every_operation_is_in_the_table() {
    let table: BTreeSet<_> =
        TABLE.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    let documented: BTreeSet<_> =
        operations().into_iter().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(table, documented);
}

#[test]
fn the_document_requires_a_token_exactly_where_an_operation_needs_one() {
    for (method, path, operation) in operations() {
        let row = TABLE.iter().find(|row| row.0 == method && row.1 == path).unwrap();
        let secured = row.3[0] == 401;
        assert_eq!(!operation["security"].is_null(), secured, "{method} {path}");
    }
}

#[tokio::test]
async fn every_caller_gets_the_answer_of_the_table() {
    let server = Server::start().await;
    let root = server.person("root").await;
    let user = server.person("first").await;
    let promote = format!("update \"user\" set is_superuser = true where id = '{}'", root.id);
    server.database.execute(&promote).await;
    let stranger = server.person("stranger").await;
    let sid = crate::support::claims_of(&stranger.access)["sid"].as_str().unwrap().to_owned();
    for (method, path, prepare, expected) in &TABLE {
        let path = path.replace("{id}", &sid).replace("{seq}", "9999");
        let people = [&user.email, &user.email, &root.email];
        for (kind, expected) in expected.iter().copied().enumerate() {
            let mut request = prepare(server.request(method, &path));
            if kind > 0 {
                let email = people[kind - 1];
                let password = if server.login(email, PASSWORD).await.status == 200 {
                    PASSWORD
                } else {
                    "a new one"
                };
                let (access, refresh) = server.sign_in(email, password).await;
                request = request.bearer(if kind == 1 { &refresh } else { &access });
            }
            let answer = request.send().await;
            assert_eq!(answer.status, expected, "{method} {path}, caller {kind}: {}", answer.body);
        }
    }
    server.me(&stranger.access).await.expect_status(200);
}
