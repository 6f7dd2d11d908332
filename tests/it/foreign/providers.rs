//! Providers of other people's code, and another Tessera: people sign in with them in a real browser.

use std::process::Command;

use serde_json::{Value, json};

use super::relying_parties::App;
use super::{free_port, node_folder, node_program};
use crate::federation::{self, guide};
use crate::once::{block, project, read, run, text, tool};
use crate::support::{PASSWORD, Server};
use crate::terminal::{json_of, out, tessera};

/// A secret that is encoded in a header (RFC 6749, section 2.3.1).
const SECRET: &str = "a-secret/of+tessera%41:at~its&provider=5f1d";

/// The URL of a server. Its host is not the one of the provider, because cookies belong to a host with all its ports.
fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Starts a server at its URL, with the provider `corp` at another port of this machine.
async fn server(port: u16, provider: u16, changes: &Value) -> Server {
    let mut entry = json!({
        "name": "corp", "issuer": format!("http://localhost:{provider}"), "client_id": "tessera",
        "client_secret": SECRET, "domains": ["corp.example"], "private": true,
    });
    entry.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    federation::with(&[entry]).set("PORT", port).set("PUBLIC_URL", url(port)).start().await
}

/// Lets people sign in with the provider in a browser, and checks the pages that they see.
fn walk(server: &Server, kind: &str) {
    let html = tempfile::tempdir().unwrap();
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/providers.py"))
        .arg(url(server.address.port()))
        .arg(server.folder().join("outbox"))
        .arg(node_folder().join("node_modules/axe-core/axe.min.js"))
        .arg(html.path())
        .arg(kind));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.contains("pages were checked"), "{said}");
    let output = run(Command::new("node")
        .current_dir(node_folder())
        .arg(project().join("tests/tools/validate.mjs"))
        .arg(html.path()));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Starts oidc-provider for a server that will be at a port.
async fn oidc_provider(provider: u16, port: u16, file: &std::path::Path) -> App {
    let mut command = Command::new("node");
    let url = url(port);
    command.arg(file).args([&provider.to_string(), "tessera", SECRET, &url, "corp"]);
    App::start(command, provider).await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_oidc_provider_in_a_browser() {
    let (provider, port) = (free_port(), free_port());
    let file = node_program(&read("tests/relying_parties/oidc_provider.mjs"));
    let _app = oidc_provider(provider, port, file.path()).await;
    let server = server(port, provider, &json!({ "logout": "upstream" })).await;
    let checked = federation::tessera(&server, &["upstream", "check", "corp"]);
    assert!(checked.status.success(), "{}", out(&checked));
    walk(&server, "oidc-provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_another_tessera_in_a_browser() {
    let (provider, port) = (free_port(), free_port());
    let other = Server::setup().set("PORT", provider).start().await;
    // The command of the guide, for the port and the name of this test.
    let create = block(guide::PAGE, "another tessera");
    let create = create.replace("https://id.example.com", &url(port));
    let create = create.replace("/with/head/", "/with/corp/");
    let arguments: Vec<_> = create.trim().split(' ').skip(1).chain(["--output", "json"]).collect();
    let made = json_of(&tessera(&other, &arguments));
    for name in ["ada0", "ada1", "eve0", "eve1"] {
        other.register(&format!("{name}@corp.example"), PASSWORD).await.expect_status(201);
    }
    other.database.execute("update \"user\" set is_verified = true").await;
    let client = json!({ "client_id": "branch", "client_secret": made["client_secret"] });
    let server = server(port, provider, &client).await;
    walk(&server, "tessera");
}
