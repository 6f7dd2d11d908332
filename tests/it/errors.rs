//! All errors have one format, and no request causes an internal error.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, operations};

#[tokio::test]
async fn refusals_of_the_framework_have_our_format() {
    let server = Server::start().await;
    for path in ["/nope", "/authentication", "/auth/jwt", "//users/me", "/docs/x", "/%00", "/é"] {
        let answer = server.get(path).send().await.expect_refusal(404, "Not Found");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
    for path in ["/%FF", "/users/%FF", "/users/me/%C3%28"] {
        let stream =
            server.raw(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(stream.starts_with("HTTP/1.1 404"), "{stream}");
        assert!(stream.ends_with(r#"{"detail":"Not Found"}"#), "{stream}");
    }
    let methods = [
        ("PUT", "/auth/register", "POST"),
        ("GET", "/auth/register", "POST"),
        ("POST", "/users/me", "DELETE, GET, PATCH"),
        ("DELETE", "/health/live", "GET"),
        ("POST", "/docs", "GET"),
        ("POST", "/openapi.json", "GET"),
    ];
    for (method, path, allowed) in methods {
        let answer = server.request(method, path).send().await;
        assert_eq!(answer.json, json!({ "detail": "Method Not Allowed" }), "{method} {path}");
        assert_eq!((answer.status, answer.header("allow").as_str()), (405, allowed));
    }
    let text = server.post("/auth/register").body("text/plain", "{}").send().await;
    text.expect_refusal(415, "UNSUPPORTED_MEDIA_TYPE");
    let form = server.post("/auth/register").form(&[("email", "a@b.com")]).send().await;
    assert_eq!(form.expect_status(422).json["detail"][0]["type"], "model_attributes_type");
    let large = json!({ "email": "a@user.com", "password": "x".repeat(70_000) });
    let large = server.post("/auth/register").json(&large).send().await;
    large.expect_refusal(413, "CONTENT_TOO_LARGE");
}

#[tokio::test]
async fn a_head_request_is_a_get_without_its_body() {
    let server = Server::start().await;
    let answer = server.request("HEAD", "/health/live").send().await.expect_status(200);
    assert_eq!(answer.body, "");
}

/// Bodies that attackers send, and bodies that clients send by mistake.
#[tokio::test]
async fn no_body_causes_an_internal_error() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let multipart = "multipart/form-data; boundary=x";
    let deep = |open: &str, count: usize| open.repeat(count).into_bytes();
    let part = "--x\r\nContent-Disposition: form-data; name=\"username\"";
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        (json, b"".to_vec()),
        (json, b"{".to_vec()),
        (json, b"nul".to_vec()),
        (json, b"\xff\xfe\xfd".to_vec()),
        (json, b"{\"email\":\"\xff\"}".to_vec()),
        (json, b"{\"email\":\"\\ud800\",\"password\":\"x\"}".to_vec()),
        (json, b"{\"email\":\"a@user.com\",\"email\":\"b@user.com\",\"password\":\"x\"}".to_vec()),
        (json, b"{\"refresh_token\":\"a\",\"refresh_token\":\"b\"}".to_vec()),
        (json, deep("[", 60_000)),
        (json, deep("{\"a\":", 12_000)),
        (json, [deep("[", 120), deep("]", 120)].concat()),
        (json, b"1e400".to_vec()),
        (json, b"{\"email\":1e400,\"password\":2}".to_vec()),
        (json, b"{\"email\":{},\"password\":[]}".to_vec()),
        (json, b"\"email\"".to_vec()),
        (json, b"true".to_vec()),
        (json, b"{\"email\":\"a@user.com\",\"password\":\"x\"} trailing".to_vec()),
        ("application/json; charset=utf-16", b"{}".to_vec()),
        ("application/problem+json", b"{}".to_vec()),
        ("APPLICATION/JSON", b"{}".to_vec()),
        (";;;", b"{}".to_vec()),
        ("text/html", b"<p>".to_vec()),
        (form, b"%".to_vec()),
        (form, b"%ff=%ff".to_vec()),
        (form, b"username=%00&password=%00".to_vec()),
        (form, b"username=a&username=b&password=c".to_vec()),
        (form, b"&&&===".to_vec()),
        (form, "a=&".repeat(20_000).into_bytes()),
        (form, vec![0; 1000]),
        (multipart, b"".to_vec()),
        (multipart, b"--x--".to_vec()),
        (multipart, b"--x".to_vec()),
        (multipart, format!("{part}\r\n\r\na").into_bytes()),
        (multipart, format!("{part}\r\n\r\na\r\n{part}\r\n\r\nb\r\n--x--\r\n").into_bytes()),
        (multipart, b"--x\r\n\r\nnameless\r\n--x--\r\n".to_vec()),
        (multipart, [part.as_bytes(), b"\r\n\r\n\xff\xfe\r\n--x--\r\n"].concat()),
        ("multipart/form-data", b"--x--".to_vec()),
        ("multipart/form-data; boundary=", b"--x--".to_vec()),
    ];
    let mut statuses = std::collections::BTreeSet::new();
    for (method, path, _) in operations() {
        for (content_type, body) in &bodies {
            // These operations would end the caller's session or account.
            if path.contains("logout") || method == "DELETE" && path == "/users/me" {
                continue;
            }
            let request = server.request(&method, &path).bearer(&person.access);
            let answer = request.body(content_type, body.clone()).send().await;
            assert!(answer.status < 500, "{method} {path} {content_type}: {}", answer.body);
            if answer.status >= 400 {
                assert!(!answer.code().is_empty(), "{method} {path}: {}", answer.body);
            }
            statuses.insert(answer.status);
        }
    }
    assert!(statuses.is_superset(&[200, 401, 415, 422].into()), "{statuses:?}");
    server.login(&person.email, PASSWORD).await.expect_status(200);
    assert_eq!(server.database.count("\"user\"").await, 1);
}

#[tokio::test]
async fn a_duplicate_field_is_refused_by_name() {
    let server = Server::start().await;
    let body = r#"{"email":"a@user.com","password":"one","password":"two"}"#;
    let answer = server.post("/auth/register").body("application/json", body).send().await;
    let expected = json!({ "detail": [{
        "type": "duplicate", "loc": ["body", "password"], "msg": "Field given twice",
    }] });
    assert_eq!(answer.expect_status(422).json, expected);
}

#[tokio::test]
async fn no_header_causes_an_internal_error() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let values = ["\u{e9}", "'\"<script>", "%00%0a", "../../etc/passwd", &"x".repeat(4000)];
    for name in [
        "authorization",
        "user-agent",
        "x-request-id",
        "origin",
        "accept",
        "cookie",
        "x-forwarded-for",
        "forwarded",
        "if-none-match",
        "content-type",
        "x-real-ip",
    ] {
        for value in values {
            for path in ["/users/me", "/docs", "/openapi.json"] {
                let answer = server.get(path).header(name, value).send().await;
                assert!(answer.status < 500, "{name}: {value}");
            }
        }
    }
    let long_agent = "A".repeat(5000);
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    let login = server.post("/auth/jwt/login").header("user-agent", &long_agent).form(&form);
    login.send().await.expect_status(200);
    // `X-Forwarded-For` from an untrusted caller is ignored.
    let login = server.post("/auth/jwt/login").header("x-forwarded-for", "6.6.6.6").form(&form);
    login.send().await.expect_status(200);
    assert_eq!(server.database.count("session where ip = '6.6.6.6'").await, 0);
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_a_plain_word() {
    let server = Server::start().await;
    let live = || server.get("/health/live");
    let kept = live().header("x-request-id", "Trace-1_a.b").send().await;
    assert_eq!(kept.header("x-request-id"), "Trace-1_a.b");
    for odd in ["a b", "a\"b", "{}", &"a".repeat(65), ""] {
        let answer = live().header("x-request-id", odd).send().await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{odd}");
    }
    let line = |line: &Value| line["request.id"] == "Trace-1_a.b" && line["http.status"] == 200;
    server.log.wait_for_line("Trace-1_a.b", line).await;
}

/// The cause of an internal error is in the log, with the id of its request, and in no answer.
#[tokio::test]
async fn the_cause_of_an_internal_error_is_logged_with_the_id_of_its_request() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("drop table api_token").await;
    let answer = server.get("/auth/tokens").bearer(&person.access).send().await;
    let answer = answer.expect_status(500);
    assert!(!answer.body.contains("api_token"), "{}", answer.body);
    let id = answer.header("x-request-id");
    let failed = |line: &Value| line["message"] == "a request failed";
    let told = server.log.wait_for_line("a request failed", failed).await;
    assert_eq!(told["request.id"], id.as_str());
    assert!(told["error.cause"].as_str().unwrap().contains("api_token"), "{told}");
}

/// The framework comes with an XML reader that has known vulnerabilities (RUSTSEC-2026-0194 and -0195).
#[tokio::test]
async fn no_operation_reads_xml() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let bomb = concat!(
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"b\"><!ENTITY c \"&b;&b;\">]>",
        "<a><email>&c;</email><password>&c;</password></a>"
    );
    let kinds = [
        "application/xml",
        "text/xml",
        "APPLICATION/XML; charset=utf-8",
        "application/soap+xml",
        "application/json+xml",
        "application/xml, application/json",
    ];
    let mut with_body = 0;
    for (method, path, operation) in operations() {
        let takes_body = !operation["requestBody"].is_null();
        let is_required = operation["requestBody"]["required"] == true;
        for kind in kinds {
            if !takes_body
                && (path.contains("logout") || method == "DELETE" || path.ends_with("end"))
            {
                continue;
            }
            let answer = server.request(&method, &path).bearer(&root.access);
            let answer = answer.body(kind, bomb).send().await;
            if is_required {
                let oauth = answer.code() == "invalid_request";
                assert!(answer.status == 415 || oauth, "{method} {path} {kind}: {}", answer.body);
            }
            assert!(answer.status < 500, "{method} {path} {kind}: {}", answer.body);
        }
        with_body += usize::from(is_required);
    }
    assert!(with_body > 10, "{with_body} operations require a body");
    // Code that is never called is not linked. Mangled names of functions contain the crate's name with its length.
    let binary = std::fs::read(env!("CARGO_BIN_EXE_tessera")).unwrap();
    let has = |name: &[u8]| binary.windows(name.len()).any(|bytes| bytes == name);
    assert!(
        has(b"10serde_json"),
        "the functions in the binary have no names: build it with symbols"
    );
    assert!(!has(b"9quick_xml"), "the XML reader is in the binary");
}
