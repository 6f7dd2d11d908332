//! The SDKs in the examples of this repository, beside a real server: the packages for Python and Node that `scripts/sdk`
//! built and installed, and the crate for Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::free_port;
use super::guards::{Service, attacks, build, built};
use crate::once::{block, project, run, text, tools};
use crate::support::{SECRET, Server, awaited, eventually, process};

/// Each example, and the algorithm with which the server signs.
const EXAMPLES: [(&str, &str); 6] = [
    ("fastapi", "EdDSA"),
    ("flask", "HS256"),
    ("express", "ES256"),
    ("fastify", "RS256"),
    ("axum", "EdDSA"),
    ("poem", "HS256"),
];

/// A path in the folder of `scripts/sdk`.
fn installed(path: &str) -> PathBuf {
    let path = tools().join("../../sdk").join(path);
    assert!(path.exists(), "{} is missing: run scripts/sdk", path.display());
    path
}

/// A server that services on this machine reach by its issuer's URL.
async fn server(algorithm: &str) -> (Server, String) {
    let port = free_port();
    let server = Server::setup().set("PORT", port).set("JWT_ALGORITHM", algorithm).start().await;
    (server, format!("http://localhost:{port}"))
}

/// Makes an API token for the feed with the command of the guide.
fn feed_token(name: &str, server: &Server) -> String {
    let made = run(server
        .beside()
        .args(["token", "create", "--username", name, "--create-service"])
        .args(["--scope", "revocations:read"]));
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout).lines().next().unwrap().to_owned()
}

/// An example, with an API token for the feed that the command of the guide makes.
async fn example(name: &str, algorithm: &str, server: &Server, issuer: &str) -> Service {
    let token = feed_token(name, server);
    let port = free_port();
    let mut command = Command::new(project().join("examples/run"));
    command.arg(name).current_dir(server.folder()).env("PORT", port.to_string());
    command.env("TESSERA_ISSUER", issuer).env("TESSERA_FEED_TOKEN", token);
    if algorithm == "HS256" {
        command.env("TESSERA_SECRET", SECRET);
    }
    command.env("EXAMPLE_PYTHON", installed("wheel/bin/python"));
    command.env("EXAMPLE_NODE", installed("clean-node"));
    if ["axum", "poem"].contains(&name) {
        // A build can take longer than a start.
        build(&format!("{name}-service"));
        command.env("EXAMPLE_RUST", built());
    }
    Service::start(&mut command, port).await
}

/// Sends a request with a token when the service knows enough for it. What it knows can be too old for a moment if this
/// machine is busy.
async fn ask(service: &Service, path: &str, token: Option<&str>) -> (u16, Value, String) {
    awaited("the service knows enough", async || {
        Some(service.ask(path, token).await).filter(|(status, ..)| *status != 503)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_refuses_a_token_after_its_logout() {
    for (name, algorithm) in EXAMPLES {
        let (server, issuer) = server(algorithm).await;
        let service = example(name, algorithm, &server, &issuer).await;
        let person = server.person("first").await;
        let user = json!({ "user": person.id });
        for path in ["/protected", "/partially-protected", "/protected-fresh"] {
            let (status, body, _) = ask(&service, path, Some(&person.access)).await;
            assert_eq!((status, &body), (200, &user), "{name} {path}");
        }
        assert_eq!(service.ask("/protected", None).await.2, "Bearer", "{name}");
        let anybody = ask(&service, "/partially-protected", None).await;
        assert_eq!((anybody.0, anybody.1), (200, json!({ "user": null })), "{name}");
        let (status, body, challenge) = ask(&service, "/reports", Some(&person.access)).await;
        assert_eq!((status, body), (403, json!({ "detail": "INSUFFICIENT_SCOPE" })), "{name}");
        assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"reports\"");
        let refreshed = server.refresh(&person.refresh).await.text("access_token");
        let (status, body, _) = ask(&service, "/protected-fresh", Some(&refreshed)).await;
        assert_eq!((status, body), (401, json!({ "detail": "FRESH_TOKEN_REQUIRED" })), "{name}");
        for attack in attacks(&person.access, &person.refresh) {
            let (status, body, challenge) = ask(&service, "/protected", Some(&attack)).await;
            assert_eq!((status, body), (401, json!({ "detail": "Unauthorized" })), "{name}");
            assert!(challenge.contains("reason=\""), "{name} {attack} {challenge}");
        }

        let other = server.person("other").await;
        let logout = server.post("/auth/jwt/logout").bearer(&person.access);
        logout.send().await.expect_status(204);
        for token in [&person.access, &refreshed] {
            eventually(&format!("{name} refuses the token"), async || {
                let (_, _, challenge) = service.ask("/protected", Some(token)).await;
                challenge.contains("reason=\"token_revoked\"")
            })
            .await;
        }
        assert_eq!(ask(&service, "/protected", Some(&other.access)).await.0, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_example_answers_503_while_the_server_does_not_and_recovers_by_itself() {
    for (name, algorithm) in EXAMPLES {
        let (server, issuer) = server(algorithm).await;
        let service = example(name, algorithm, &server, &issuer).await;
        let (person, gone) = (server.person("first").await, server.person("gone").await);
        let status = async |token: &str| service.status("/protected", Some(token)).await;
        assert_eq!(ask(&service, "/protected", Some(&person.access)).await.0, 200, "{name}");
        server.post("/auth/jwt/logout").bearer(&gone.access).send().await.expect_status(204);
        eventually("the logout arrives", async || status(&gone.access).await == 401).await;
        server.freeze();
        eventually("the feed is too old", async || status(&person.access).await == 503).await;
        // What is known to be over stays over.
        assert_eq!(status(&gone.access).await, 401, "{name}");
        server.thaw();
        eventually("the feed is fresh again", async || status(&person.access).await == 200).await;
    }
}

/// Its clocks go on while it stands still, so what it knew is too old when it continues.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_answers_of_a_service_that_stood_still_are_503_or_right() {
    let mut asked = Vec::new();
    for (name, algorithm) in EXAMPLES {
        let (server, issuer) = server(algorithm).await;
        let service = example(name, algorithm, &server, &issuer).await;
        let person = server.person("first").await;
        assert_eq!(ask(&service, "/protected", Some(&person.access)).await.0, 200, "{name}");
        process::freeze(service.process());
        server.post("/auth/jwt/logout").bearer(&person.access).send().await.expect_status(204);
        asked.push((name, server, service, person));
    }
    // Longer than `max_age`: nothing says when that is over.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (name, _server, service, person) in &asked {
        process::thaw(service.process());
        for _ in 0..20 {
            let status = service.status_if_any("/protected", &person.access).await;
            assert!([None, Some(401), Some(503)].contains(&status), "{name}: {status:?}");
        }
        eventually("it knows the logout", async || {
            service.status_if_any("/protected", &person.access).await == Some(401)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_keep_what_they_know_when_the_feed_begins_anew() {
    for (name, algorithm) in EXAMPLES {
        let (server, issuer) = server(algorithm).await;
        let service = example(name, algorithm, &server, &issuer).await;
        let (before, after) = (server.person("before").await, server.person("after").await);
        let status = async |token: &str| service.status("/protected", Some(token)).await;
        server.post("/auth/jwt/logout").bearer(&before.access).send().await.expect_status(204);
        eventually("the logout arrives", async || status(&before.access).await == 401).await;
        let reset = run(server.beside().args(["feed", "reset"]));
        assert!(reset.status.success(), "{}", text(&reset.stderr));
        eventually("the service takes a snapshot", async || {
            let metrics = service.text("/metrics").await;
            metrics.contains("resyncs_total{why=\"gone\"} 1")
        })
        .await;
        assert_eq!(status(&before.access).await, 401, "{name}");
        eventually("the feed is fresh", async || status(&after.access).await == 200).await;
        server.post("/auth/jwt/logout").bearer(&after.access).send().await.expect_status(204);
        eventually("the next logout arrives", async || status(&after.access).await == 401).await;
    }
}

/// A program of the README, which uses the packages that `scripts/sdk` installed.
fn service_of_the_readme(name: &str, folder: &Path, port: u16) -> Command {
    let code = block("README.md", name).replace("8001", &port.to_string());
    if name == "service in Node" {
        let file = installed("clean-node").join("service-of-the-readme.mjs");
        std::fs::write(&file, code).unwrap();
        let mut node = Command::new("node");
        node.arg(file);
        return node;
    }
    std::fs::write(folder.join("service.py"), code).unwrap();
    let mut python = Command::new(installed("wheel/bin/python"));
    python.args(["-m", "uvicorn", "service:app", "--log-level=critical", "--port"]);
    python.arg(port.to_string());
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_the_readme_refuse_a_token_after_its_logout() {
    for name in ["service in Python", "service in Node"] {
        let (server, issuer) = server("EdDSA").await;
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = service_of_the_readme(name, folder.path(), port);
        command.current_dir(folder.path()).env("TESSERA_ISSUER", issuer);
        command.env("TESSERA_AUDIENCE", "tessera");
        command.env("TESSERA_FEED_TOKEN", feed_token("reports", &server));
        let service = Service::start(&mut command, port).await;
        let (person, other) = (server.person("first").await, server.person("other").await);
        let answer = ask(&service, "/reports", Some(&person.access)).await;
        assert_eq!((answer.0, answer.1), (200, json!({ "user": person.id })), "{name}");
        assert_eq!(service.status("/reports", None).await, 401, "{name}");
        server.logout(&person.access).await.expect_status(204);
        eventually(&format!("the {name} refuses the token"), async || {
            service.status("/reports", Some(&person.access)).await == 401
        })
        .await;
        assert_eq!(ask(&service, "/reports", Some(&other.access)).await.0, 200, "{name}");
    }
}
