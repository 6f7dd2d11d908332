//! Limits, deadlines, headers, the log, and the stop of a server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::support::{PASSWORD, Server, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn request_heads_are_limited_in_size_and_number() {
    let server = Server::start().await;
    let large =
        format!("GET /health/live HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(server.raw(&large).starts_with("HTTP/1.1 431"));
    let many = format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert!(server.raw(&many).starts_with("HTTP/1.1 431"));
    let fits = format!(
        "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n",
        "x".repeat(12_000)
    );
    assert!(server.raw(&fits).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_off() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 0x4000;
    }
    assert!(sent < 32 << 20, "the server did not stop reading");
    let announced = "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                     Connection: close\r\nContent-Length: 99999999999\r\n\r\n";
    let answer = server.raw(announced);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with(r#"{"detail":"CONTENT_TOO_LARGE"}"#), "{answer}");
}

/// Sends the beginning of a large request, and the rest when the server has refused it. Reads the answer then.
fn send_all_of_a_refused_request(server: &Server, begin: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(begin.as_bytes())?;
    // The server has refused the request.
    stream.peek(&mut [0])?;
    for _ in 0..15 {
        stream.write_all(&[b'x'; 60_000])?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A client that sends everything before it reads the answer must be able to. The server takes the rest for two seconds, so
/// on a busy machine one of several clients must be quick enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_large_request_is_answered_before_the_connection_is_closed() {
    let server = Server::start().await;
    let post = "POST /auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for (begin, status) in [
        (format!("{post}Content-Length: 1000000\r\n\r\n"), 413),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\nF4240\r\n{}", "x".repeat(70_000)), 413),
        (format!("GET /health/live HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(20_000)), 431),
    ] {
        let mut errors = Vec::new();
        let answer = loop {
            match send_all_of_a_refused_request(&server, &begin) {
                Ok(answer) => break answer,
                Err(error) => errors.push(error),
            }
            assert!(errors.len() < 5, "{status}: the clients could not send: {errors:?}");
        };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn answers_have_security_headers() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let me = server.me(&person.access).await;
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        assert_eq!(me.header(name), value);
    }
    assert!(me.headers.get("strict-transport-security").is_none());
    assert!(me.headers.get("server").is_none());
    let docs = server.get("/docs").send().await;
    assert!(docs.header("content-security-policy").contains("script-src 'self';"));
    let https = Server::setup().set("PUBLIC_URL", "https://id.example.com/").start().await;
    let live = https.get("/health/live").send().await;
    assert_eq!(live.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn only_listed_origins_may_call() {
    let server = Server::start().await;
    let preflight = |server: &Server, origin: &str| {
        server
            .request("OPTIONS", "/auth/jwt/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let refused = preflight(&server, "https://app.example.com").send().await;
    assert_eq!(refused.status, 405);
    assert!(refused.headers.get("access-control-allow-origin").is_none());

    let origins = "https://app.example.com,http://localhost:3000";
    let server = Server::setup().set("CORS_ORIGINS", origins).start().await;
    for origin in origins.split(',') {
        let answer = preflight(&server, origin).send().await.expect_status(204);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("access-control-allow-headers").contains("authorization"));
        let answer = server.get("/health/live").header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("vary"), "Origin");
    }
    for origin in ["https://app.example.com.attacker.example", "null", "https://app.example.com/"] {
        let answer = preflight(&server, origin).send().await;
        assert_eq!(answer.status, 405, "{origin}");
        let answer = server.get("/health/live").header("origin", origin).send().await;
        assert!(answer.headers.get("access-control-allow-origin").is_none(), "{origin}");
    }
    // The server's own pages send an `Origin` header with every POST.
    let own = server.url("");
    let form = [("username", "nobody@user.com"), ("password", "x")];
    let login = server.post("/auth/jwt/login").header("origin", &own).form(&form).send().await;
    login.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_only_for_requests_in_progress() {
    let mut server = Server::setup().set("METRICS_LISTEN", "127.0.0.1:0").start().await;
    let person = server.person("first").await;
    let _idle: Vec<_> = (0..50).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut half = TcpStream::connect(server.address).unwrap();
    half.write_all(b"GET /health/live HTTP/1.1\r\nHo").unwrap();
    // The sign-out waits for those who write.
    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    held.execute_unprepared("update session set cuts = cuts + 1").await.unwrap();
    let sign_out = || {
        let (began, asked) = (Instant::now(), server.post("/auth/jwt/logout"));
        let answer = asked.bearer(&person.access).send();
        tokio::spawn(async move { (answer.await, began.elapsed()) })
    };
    let mut in_flight = sign_out();
    eventually("the server processes the request", async || {
        if in_flight.is_finished() {
            // It waited for too long, and got 503.
            in_flight = sign_out();
        }
        server.metric("http_server_active_requests").await > 0.0
    })
    .await;
    server.terminate();
    server.log.wait_for("stopping").await;
    held.rollback().await.unwrap();
    // It is answered in any case. On a busy machine, it can have waited for the writer for too long, which are four seconds.
    let (answer, took) = in_flight.await.unwrap();
    let waited_for_too_long = answer.status == 503 && took >= Duration::from_secs(4);
    assert!(answer.status == 204 || waited_for_too_long, "{took:?}: {}", answer.body);
    let ended = tokio::time::timeout(Duration::from_secs(20), server.ended()).await;
    assert!(ended.expect("the server waited for another connection").success());
    assert!(TcpStream::connect(server.address).is_err());
    server.log.wait_for("stopped").await;
}

/// Checks the log at its most detailed level.
#[tokio::test]
async fn the_log_contains_no_secret() {
    let server = Server::setup().set("RUST_LOG", "trace").start().await;
    let person = server.person("first").await;
    let next = server.refresh(&person.refresh).await.expect_status(200);
    server.login(&person.email, "a wrong password").await.expect_status(400);
    server.get(&format!("/users/{}", person.access)).send().await.expect_status(401);
    server.get(&format!("/nothing/{}", person.access)).send().await.expect_status(404);
    server.get(&format!("/users/me?token={}", person.access)).send().await.expect_status(401);
    let change = serde_json::json!({ "password": "a new password" });
    server.change_me(&person.access, &change).await.expect_status(200);
    server.logout(&next.text("refresh_token")).await.expect_status(204);
    let hashes = server.database.column::<String>("select hashed_password from \"user\"").await;
    let log = server.log_so_far().await;
    assert!(log.lines().count() > 8, "{log}");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let next = (next.text("access_token"), next.text("refresh_token"));
    let secrets = [
        PASSWORD,
        "a wrong password",
        "a new password",
        crate::support::SECRET,
        &hashes[0],
        &signature(&person.access),
        &signature(&person.refresh),
        &signature(&next.0),
        &signature(&next.1),
        &person.email,
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "the log contains {secret}:\n{log}");
    }
}

#[tokio::test]
async fn health_checks_and_the_version_are_reported() {
    let server = Server::start().await;
    let live = server.get("/health/live").send().await.expect_status(200);
    assert_eq!(live.json, serde_json::json!({ "status": "ok" }));
    let ready = server.get("/health/ready").send().await.expect_status(200);
    let expected = serde_json::json!({
        "status": "ok", "database": "ok", "revocations": "ok", "keys": "ok", "audit": "ok",
    });
    assert_eq!(ready.json, expected);
    let version = server.get("/version").send().await.expect_status(200);
    assert_eq!(version.text("version"), env!("CARGO_PKG_VERSION"));
}

/// A request must name its host once, in a spelling that all programs read alike (RFC 9112, section 3.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_exactly_one_valid_host_is_refused() {
    let server = Server::start().await;
    let asks = |target: &str, version: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        server.raw(&format!("GET {target} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n"))
    };
    let path = "/health/live";
    let good = [
        "x",
        "X.Example",
        "id.example.com.",
        "a_b-c~1",
        "x%2Dy",
        "x:",
        "x:8000",
        "127.0.0.1:65535",
        "[::1]",
        "[2001:db8::1]:443",
        " x ",
    ];
    for host in good {
        for version in ["1.1", "1.0"] {
            let answer = asks(path, version, &[host]);
            assert!(answer.starts_with(&format!("HTTP/{version} 200")), "{host:?}: {answer}");
        }
    }
    let bad: [&[&str]; 29] = [
        &["x", "x"],
        &["x", "y"],
        &["x", ""],
        &["", "x"],
        &[""],
        &[" "],
        &[":80"],
        &["x y"],
        &["x\ty"],
        &["x,y"],
        &["x, x"],
        &["u@x"],
        &["u:p@x"],
        &["x/"],
        &["x/y"],
        &["http://x"],
        &["x?y"],
        &["x#y"],
        &["x\\y"],
        &["x:port"],
        &["x:80:80"],
        &["x:-1"],
        &["x:65536"],
        &["::1"],
        &["[::1"],
        &["[::1]x"],
        &["[x]"],
        &["x%zz"],
        &["\u{fc}"],
    ];
    for hosts in bad {
        for version in ["1.1", "1.0"] {
            for target in [path, "/nowhere", "/users/me"] {
                let answer = asks(target, version, hosts);
                assert!(answer.starts_with(&format!("HTTP/{version} 400")), "{hosts:?}: {answer}");
                assert!(answer.ends_with(r#"{"detail":"HOST_INVALID"}"#), "{hosts:?}: {answer}");
                assert!(answer.contains("x-request-id: "), "{hosts:?}: {answer}");
            }
        }
    }
    // HTTP/1.0 can leave the host out; HTTP/1.1 cannot.
    assert!(asks(path, "1.0", &[]).starts_with("HTTP/1.0 200"));
    let none = asks(path, "1.1", &[]);
    assert!(none.starts_with("HTTP/1.1 400") && none.contains("HOST_INVALID"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_target_with_another_host_than_the_header_is_refused() {
    let server = Server::start().await;
    let asks = |target: &str, host: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.raw(&head)
    };
    for (target, host) in [
        ("http://x/health/live", "x"),
        ("http://X:80/health/live", "x:80"),
        ("http://[::1]/health/live", "[::1]"),
    ] {
        let answer = asks(target, host);
        assert!(answer.starts_with("HTTP/1.1 200"), "{target} {host}: {answer}");
    }
    for (target, host) in [
        ("http://x/health/live", "y"),
        ("http://x/health/live", "x:81"),
        ("http://x:81/health/live", "x"),
        ("http://y@x/health/live", "x"),
        ("http://x@y/health/live", "x"),
        ("https://evil.example/health/live", "x"),
    ] {
        let answer = asks(target, host);
        assert!(answer.starts_with("HTTP/1.1 400"), "{target} {host}: {answer}");
    }
    // The same is true of preflight requests and pages.
    for head in [
        "OPTIONS /users/me HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n",
        "GET /login HTTP/1.1\r\nAccept: text/html\r\nHost: a, b\r\n",
        "POST /auth/jwt/login HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\nHost: b\r\n",
    ] {
        let answer = server.raw(&format!("{head}Connection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn requests_run_before_hashes() {
    let server = Server::start().await;
    // A thread has set its priority when it has hashed.
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut found = std::collections::BTreeSet::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", server.process())).unwrap() {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, fields)) = stat.rsplit_once(')') else { continue };
        let nice: i32 = fields.split_whitespace().nth(16).unwrap().parse().unwrap();
        let kind = if name.ends_with("(hasher") { "hasher" } else { "other" };
        found.insert((kind, nice));
    }
    let own = |kind| found.iter().filter(move |(its, _)| *its == kind).map(|(_, nice)| *nice);
    // The tests can run with a priority of their own.
    let [others] = Vec::from_iter(own("other"))[..] else { panic!("{found:?}") };
    assert!(own("hasher").any(|nice| nice == (others + 5).min(19)), "{found:?}");
}
