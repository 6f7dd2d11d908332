//! Swagger UI and the pages in a real browser.

use std::process::Command;

use super::node_folder;
use crate::once::{project, run, text, tool};
use crate::support::{PASSWORD, Server};

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_asks_who_i_am_with_a_password_a_token_and_an_api_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let token = server.api_token(&person.access, &serde_json::json!({})).await;
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/swagger.py"))
        .args([&server.url("/docs"), "first@user.com", PASSWORD, &person.access, &token]));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("200"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_an_account_is_lived_on_pages_with_scripts_and_without() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    // Another server of the same database, on which a password counts as fresh for a second.
    let stale = Server::setup().set("FRESH_TOKEN_EXPIRES", 1).on(server.database.clone());
    let stale = stale.start().await;
    // Whichever server sends a mail, it is kept in one place.
    let outbox = server.folder().join("outbox");
    std::fs::create_dir_all(&outbox).unwrap();
    std::os::unix::fs::symlink(&outbox, stale.folder().join("outbox")).unwrap();
    let html = tempfile::tempdir().unwrap();
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/pages.py"))
        .arg(server.url(""))
        .arg(server.folder().join("outbox"))
        .arg(node_folder().join("node_modules/axe-core/axe.min.js"))
        .arg(html.path())
        .arg(&root.email)
        .env("STALE_URL", stale.url("")));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.contains("pages were looked at"), "{said}");
    let output = run(Command::new("node")
        .current_dir(node_folder())
        .arg(project().join("tests/tools/validate.mjs"))
        .arg(html.path()));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
