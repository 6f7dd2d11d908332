//! Services that verify Tessera's tokens: the example, and the code of the guide.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::node_program;
use crate::once::{block, project, tool};
use crate::support::{Forgery, SECRET, Server, claims_of, eventually, free_port, kid_of};

/// A service that runs on a port of this machine.
pub(super) struct Service {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    pub(super) async fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        // Frameworks close connections that were idle for five seconds, also while a request is on its way.
        let client = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(2));
        let mut service = Self { child, url, client: client.build().unwrap() };
        eventually(&format!("{command:?} answers"), async || {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("{command:?} ended: {status}");
            }
            service.client.get(&service.url).send().await.is_ok()
        })
        .await;
        service
    }

    /// Sends a request with a token. Returns the status, the body and the challenge.
    pub(super) async fn ask(&self, path: &str, token: Option<&str>) -> (u16, Value, String) {
        let mut request = self.client.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let challenge = answer.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        (status, answer.json().await.unwrap_or_default(), challenge.unwrap_or_default())
    }

    /// The number of the process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn text(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    pub(super) async fn status(&self, path: &str, token: Option<&str>) -> u16 {
        self.ask(path, token).await.0
    }

    /// The status of an answer, if there is one. A service that stood still can close connections.
    pub(super) async fn status_if_any(&self, path: &str, token: &str) -> Option<u16> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(token);
        Some(request.send().await.ok()?.status().as_u16())
    }
}

async fn example(folder: &Path, arguments: &[&str]) -> Service {
    build("poem-service");
    let port = free_port();
    // Not by `cargo run`: it would wait for other tests that build something.
    let mut command = Command::new(built().join("poem-service"));
    command.arg(format!("--listen=127.0.0.1:{port}")).args(arguments);
    Service::start(command.current_dir(folder), port).await
}

/// Builds an example, because that can take long: its dependencies have fewer features than those of the tests.
pub(super) fn build(package: &str) {
    let made = cargo(package).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The folder of the programs that were built.
pub(super) fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tessera")).parent().unwrap()
}

fn cargo(package: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", package, "--manifest-path"]);
    command.arg(project().join("Cargo.toml"));
    command
}

/// Tokens that no service may accept as access tokens.
pub(super) fn attacks(access: &str, refresh: &str) -> Vec<String> {
    let forgery = Forgery::of(access);
    let past = claims_of(access)["iat"].as_u64().unwrap() - 1000;
    vec![
        refresh.to_owned(),
        forgery.clone().with("exp", past + 10).with("iat", past).sign(),
        forgery.clone().with("aud", "elsewhere").sign(),
        forgery.clone().with("iss", "https://elsewhere.example").sign(),
        forgery.clone().without("exp").sign(),
        forgery.clone().secret(b"somebody else's secret of many bytes").sign(),
        forgery.clone().with_header("alg", "none").unsigned(),
        forgery.unsigned(),
        "x".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_service_accepts_only_valid_tokens() {
    let folder = tempfile::tempdir().unwrap();
    // A development server writes this file.
    std::fs::write(folder.path().join("tessera.secret"), SECRET).unwrap();
    let service = example(folder.path(), &[]).await;
    let server = Server::start().await;
    let person = server.person("first").await;
    let refreshed = server.refresh(&person.refresh).await.text("access_token");
    let user = json!({ "user": person.id });
    let (status, body, _) = service.ask("/protected", Some(&person.access)).await;
    assert_eq!((status, body), (200, user.clone()));
    let (status, body, _) = service.ask("/partially-protected", Some(&person.access)).await;
    assert_eq!((status, body), (200, user.clone()));
    let (status, body, _) = service.ask("/partially-protected", None).await;
    assert_eq!((status, body), (200, json!({ "user": null })));
    assert_eq!(service.ask("/protected-fresh", Some(&person.access)).await.1, user);
    let (status, body, challenge) = service.ask("/protected-fresh", Some(&refreshed)).await;
    assert_eq!((status, &body["detail"]), (401, &json!("FRESH_TOKEN_REQUIRED")));
    assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
    let raw = service.ask("/get-raw-jwt", Some(&person.access)).await.1;
    assert_eq!(raw["token"], claims_of(&person.access));
    let jti = service.ask("/get-jti", Some(&person.access)).await.1;
    assert_eq!(jti["access_jti"], claims_of(&person.access)["jti"]);
    assert_eq!(service.status("/refresh-token", Some(&person.refresh)).await, 200);
    let raw = Forgery::of(&person.refresh).secret(SECRET.as_bytes());
    let renamed = raw.clone().with_header("kid", kid_of(SECRET.as_bytes()));
    let as_before = renamed.clone().with_header("typ", "JWT").with("aud", "tessera");
    for other in [person.access.clone(), raw.sign(), renamed.sign(), as_before.sign()] {
        assert_eq!(service.status("/refresh-token", Some(&other)).await, 401, "{other}");
    }

    let (status, body, challenge) = service.ask("/reports", Some(&person.access)).await;
    assert_eq!((status, &body["detail"]), (403, &json!("INSUFFICIENT_SCOPE")));
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"reports\"");
    let scoped = Forgery::of(&person.access).with("scope", "authenticated reports").sign();
    assert_eq!(service.status("/reports", Some(&scoped)).await, 200);
    let near = Forgery::of(&person.access).with("scope", "reports2 xreports").sign();
    assert_eq!(service.status("/reports", Some(&near)).await, 403);

    let (status, body, challenge) = service.ask("/protected", None).await;
    assert_eq!((status, body), (401, json!({ "detail": "Unauthorized" })));
    assert_eq!(challenge, "Bearer");
    for attack in attacks(&person.access, &person.refresh) {
        let paths =
            ["/protected", "/partially-protected", "/protected-fresh", "/get-raw-jwt", "/reports"];
        for path in paths {
            let (status, _, challenge) = service.ask(path, Some(&attack)).await;
            assert_eq!(status, 401, "{path} {attack}");
            assert!(challenge.contains("reason=\""), "{challenge}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_service_can_use_published_keys() {
    let server = Server::setup().set("JWT_ALGORITHM", "EdDSA").start().await;
    let folder = tempfile::tempdir().unwrap();
    let tessera = format!("--tessera={}", server.url(""));
    let service = example(folder.path(), &[&tessera]).await;
    let person = server.person("first").await;
    assert_eq!(service.status("/protected", Some(&person.access)).await, 200);
    for attack in attacks(&person.access, &person.refresh) {
        assert_eq!(service.status("/protected", Some(&attack)).await, 401, "{attack}");
    }
    // The secret cannot be used to make tokens for this service.
    let forged = Forgery::of(&person.access).with_header("alg", "HS256").sign();
    assert_eq!(service.status("/protected", Some(&forged)).await, 401);
}

async fn guards_as_the_guide_says(service: &Service, server: &Server) {
    let person = server.person("first").await;
    let (status, body, _) = service.ask("/protected", Some(&person.access)).await;
    assert_eq!((status, body), (200, json!({ "user": person.id })));
    let (status, _, challenge) = service.ask("/protected", None).await;
    assert_eq!((status, challenge.as_str()), (401, "Bearer"));
    for attack in attacks(&person.access, &person.refresh) {
        assert_eq!(service.status("/protected", Some(&attack)).await, 401, "{attack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fastapi_service_of_the_guide_accepts_only_valid_tokens() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let code = block("docs/guide/verifying.md", "fastapi");
    std::fs::write(folder.path().join("service.py"), code).unwrap();
    let port = free_port();
    let mut command = Command::new(tool("python"));
    command.args(["-m", "uvicorn", "service:app", "--log-level=critical", "--port"]);
    command.arg(port.to_string()).current_dir(folder.path()).env("APP_SECRET", SECRET);
    guards_as_the_guide_says(&Service::start(&mut command, port).await, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_express_service_of_the_guide_accepts_only_valid_tokens() {
    let server = Server::start().await;
    let code = block("docs/guide/verifying.md", "express");
    let program = node_program(&code);
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(program.path());
    command.env("APP_SECRET", SECRET).env("PORT", port.to_string());
    guards_as_the_guide_says(&Service::start(&mut command, port).await, &server).await;
}
