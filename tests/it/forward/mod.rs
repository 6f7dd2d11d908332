//! `/auth/forward`: what a gateway asks about, what it gets, and where browsers are led.

mod leading;
mod sign_in;

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Forgery, PASSWORD, Request, Server, Setup};

const ID: &str = "https://id.example.com";
const APP: &str = "app.example.com";
const FILES: &str = "files.example.com:8443";

/// A server behind gateways on this machine, for two hosts.
fn setup() -> Setup {
    let setup = Server::setup().set("PUBLIC_URL", ID).set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    setup.set("FORWARD_HOSTS", format!("{APP},{FILES}")).set("JWT_AUDIENCES", "billing")
}

/// A request of a gateway about another request.
fn ask(server: &Server, query: &str) -> Request {
    server.get(&format!("/auth/forward{query}"))
}

/// A request of a gateway about a page of a host that a browser opens.
fn about(server: &Server, host: &str, uri: &str) -> Request {
    let asked = ask(server, "").header("accept", "text/html,*/*;q=0.8");
    let asked = asked.header("x-forwarded-host", host).header("x-forwarded-uri", uri);
    asked.header("x-forwarded-proto", "https").header("x-forwarded-method", "GET")
}

/// The values of the four headers.
fn told(answer: &Answer) -> [String; 4] {
    ["user", "email", "email-verified", "scopes"].map(|name| {
        let value = answer.headers.get(format!("x-auth-{name}"));
        value.unwrap_or_else(|| panic!("no X-Auth-{name}")).to_str().unwrap().to_owned()
    })
}

#[tokio::test]
async fn a_request_with_any_method_passes_with_its_user_in_four_headers() {
    let server = setup().start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    // Somebody else may have registered with this address.
    let own = [&*person.id, "", "false", "authenticated"];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND"] {
        let request = server.request(method, "/auth/forward").bearer(&person.access);
        // The caller's own headers count nowhere.
        let request = request.header("x-auth-user", &root.id).header("X_Auth_User", &root.id);
        assert_eq!(told(&request.send().await.expect_status(200)), own, "{method}");
        let refused = server.request(method, "/auth/forward").send().await;
        assert_eq!((refused.status, &*refused.header("www-authenticate")), (401, "Bearer"));
    }
    let body = json!({ "scopes": ["authenticated"] });
    let token = server.api_token(&root.access, &body).await;
    let answer = ask(&server, "").header("x-api-key", &token).send().await;
    assert_eq!(told(&answer.expect_status(200)), [&*root.id, "", "false", "authenticated"]);
    // A service has no address, and the headers are there.
    let service = server.service(&root, "reports", &["tokens:check"]).await;
    let [user, email, verified, scopes] =
        told(&ask(&server, "").bearer(&service).send().await.expect_status(200));
    assert!(user.parse::<uuid::Uuid>().is_ok(), "{user}");
    assert_eq!((&*email, &*verified, &*scopes), ("", "", "tokens:check"));
    let change = json!({ "is_verified": true });
    let path = format!("/users/{}", person.id);
    server.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
    let answer = ask(&server, "").bearer(&person.access).send().await;
    assert_eq!(told(&answer), [&*person.id, &*person.email, "true", "authenticated"]);
}

#[tokio::test]
async fn what_is_no_valid_access_token_is_refused_like_everywhere() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let forged = Forgery::of(&person.access);
    for (token, reason) in [
        (person.refresh.clone(), "type_mismatch"),
        (
            forged.clone().secret(b"somebody else's secret of many bytes").sign(),
            "signature_invalid",
        ),
        (forged.clone().with("aud", "elsewhere").sign(), "audience_mismatch"),
        ("tsr_x".to_owned(), "api_token_malformed"),
        ("tsr_cs_x".to_owned(), "client_secret"),
    ] {
        let refused = ask(&server, "").bearer(&token).send().await;
        assert_eq!(refused.status, 401, "{token}");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.contains(reason), "{token}: {challenge}");
        assert!(!refused.headers.contains_key("x-auth-user"), "{token}");
    }
    ask(&server, "").header("authorization", "Basic eDp4").send().await.expect_status(401);
    server.logout(&person.access).await.expect_status(204);
    ask(&server, "").bearer(&person.access).send().await.expect_reason("token_revoked");
}

#[tokio::test]
async fn the_gateway_chooses_audience_scope_and_freshness_and_a_caller_cannot() {
    let server = setup().start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let form = [("username", &*person.email), ("password", PASSWORD), ("audience", "billing")];
    let login = server.post("/auth/jwt/login").form(&form).send().await.expect_status(200);
    let billing = login.text("access_token");
    let refreshed = server.refresh(&person.refresh).await.text("access_token");
    let key = server.api_token(&root.access, &json!({ "scopes": ["super"] })).await;
    let (boss, _) = server.sign_in(&root.email, PASSWORD).await;
    // Signed with the secret that the service has, for a session that never was.
    let derived = tessera_verify::derive(
        crate::support::SECRET.as_bytes(),
        &[&b"tessera audience "[..], b"billing"],
    );
    let secret: String = derived.iter().map(|byte| format!("{byte:02x}")).collect();
    let sid = uuid::Uuid::from_u128(7).to_string();
    let kid = crate::support::kid_of(secret.as_bytes());
    let made = Forgery::of(&billing).with("sid", sid).with_header("kid", kid);
    let made = made.secret(secret.as_bytes()).sign();
    for (query, token, status, says) in [
        ("?aud=tessera", &person.access, 200, ""),
        ("?aud=billing", &billing, 200, ""),
        ("", &billing, 401, "audience_mismatch"),
        ("?aud=billing", &person.access, 401, "audience_mismatch"),
        ("?aud=billing", &person.refresh, 401, "type_mismatch"),
        ("?aud=billing", &made, 401, "Bearer"),
        ("?aud=elsewhere", &person.access, 422, ""),
        ("?aud=billing&scope=", &key, 200, ""),
        ("?scope=authenticated", &person.access, 200, ""),
        ("?scope=authenticated+reports", &person.access, 403, "scope=\"reports\""),
        ("?scope=authenticated%20super", &person.access, 403, "scope=\"super\""),
        // The scopes are those in the token that its user still has.
        ("?scope=reports", &root.access, 403, "scope=\"reports\""),
        ("?scope=reports", &boss, 200, ""),
        ("?scope=a%22b", &root.access, 422, ""),
        ("?fresh=900", &person.access, 200, ""),
        ("?fresh=900", &refreshed, 401, "max_age=\"900\""),
        ("?fresh=900", &key, 401, "insufficient_user_authentication"),
        ("?fresh=0", &person.access, 422, ""),
        ("?fresh=86401", &person.access, 422, ""),
        ("?fresh=x", &person.access, 422, ""),
        ("?redirect=x", &person.access, 422, ""),
        // A gateway that passes on the query of its caller would let the caller choose.
        ("?scope=super&scope=", &person.access, 422, ""),
        ("?scope=&next=x", &person.access, 422, ""),
    ] {
        let answer = ask(&server, query).bearer(token).send().await;
        assert_eq!(answer.status, status, "{query} {token}: {}", answer.body);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains(says), "{query} {token}: {challenge}");
    }
    server.advance(Duration::from_secs(30)).await;
    let answer = ask(&server, "?fresh=20").bearer(&person.access).send().await;
    answer.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
}

#[tokio::test]
async fn for_gateways_that_append_the_path_the_path_chooses_and_no_query_counts() {
    let server = setup().start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let (boss, _) = server.sign_in(&root.email, PASSWORD).await;
    for (path, status) in [
        ("/-/-", 200),
        ("/-/-/", 200),
        ("/-/-/reports/a", 200),
        ("/-/-//evil.example/..%2f%00%ff", 200),
        ("/tessera/authenticated/reports?scope=super&aud=billing&x", 200),
        ("/-/authenticated%20reports/x", 403),
        ("/-/super/x?scope=", 403),
        ("/-/super/../-/x", 403),
        ("/billing/-/x", 401),
        ("/elsewhere/-/x", 422),
        ("/-/%22/x", 422),
        ("/-", 404),
        ("/", 404),
        ("//-/x", 404),
        ("/-//x", 404),
    ] {
        for method in ["GET", "POST", "PROPFIND"] {
            let raw = format!(
                "{method} /auth/forward/for{path} HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 0\r\n\
                 Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
                person.access
            );
            let answer = server.raw(&raw);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{method} {path}: {answer}");
            let passes = answer.contains(&format!("x-auth-user: {}\r\n", person.id));
            assert_eq!(passes, status == 200, "{method} {path}: {answer}");
        }
    }
    let admitted = server.get("/auth/forward/for/-/super/x").bearer(&boss).send().await;
    admitted.expect_status(200);
    // The original is the host of the request and the rest of its path.
    let raw = format!(
        "GET /auth/forward/for/-/-/a/b?c=1&d=2 HTTP/1.1\r\nHost: {APP}\r\nAccept: text/html\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = server.raw(&raw);
    assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
    let to = format!("https://{APP}/a/b?c=1&d=2");
    assert!(answer.contains(&format!("location: {}\r\n", leading::sign_in(&to))), "{answer}");
}

#[tokio::test]
async fn text_that_cannot_be_a_header_is_left_out_and_the_header_is_there() {
    let server = setup().start().await;
    let person = server.person("first").await;
    let sql = format!("update \"user\" set is_verified = true where id = '{}'", person.id);
    server.database.execute(&sql).await;
    crate::support::eventually("the address is told", async || {
        told(&ask(&server, "").bearer(&person.access).send().await)[1] == person.email
    })
    .await;
    for email in [
        "j\u{fc}rgen@user.com",
        "a\r\nX-Auth-Scopes: super@user.com",
        "a\tb@user.com",
        "\u{7f}@user.com",
    ] {
        let sql = email.replace('\r', "'||char(13)||'").replace('\n', "'||char(10)||'");
        let sql = match server.database.kind() {
            crate::support::Kind::Postgres => sql.replace("char(", "chr("),
            crate::support::Kind::Sqlite => sql,
        };
        let sql = format!("update \"user\" set email = '{sql}' where id = '{}'", person.id);
        server.database.execute(&sql).await;
        crate::support::eventually("the header is empty", async || {
            let answer = ask(&server, "").bearer(&person.access).send().await.expect_status(200);
            let found = told(&answer);
            assert_eq!((&*found[0], &*found[3]), (&*person.id, "authenticated"));
            found[1].is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn a_preflight_that_a_gateway_asks_about_is_no_permission() {
    let origin = "https://page.example.com";
    let server = setup().set("CORS_ORIGINS", origin).start().await;
    for path in ["/auth/forward", "/auth/forward/for/-/-/x", "/auth/forward/for/-/-/caf%E9"] {
        let asked = server.request("OPTIONS", path).header("origin", origin);
        let asked = asked.header("access-control-request-method", "GET");
        asked.send().await.expect_status(401);
    }
}
