//! Swagger UI and the pages in a real browser.

use std::process::Command;

use serde_json::json;

use super::node_folder;
use crate::once::{project, run, text, tool};
use crate::support::{PASSWORD, Server};

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_can_authorize_with_a_password_an_access_token_and_an_api_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let token = server.api_token(&person.access, &json!({})).await;
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/swagger.py"))
        .args([&server.url("/docs"), "first@user.com", PASSWORD, &person.access, &token]));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("200"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_in_a_browser_with_and_without_scripts() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let app = format!("http://localhost:{}", super::free_port());
    let redirect = format!("{app}/callback");
    let client = crate::provider::Client { redirect: &redirect, ..Default::default() };
    client.insert(&server.database).await;
    for (id, settings) in
        [("ledger", json!({ "only": ["staff"] })), ("archive", json!({ "verified_email": true }))]
    {
        let client =
            crate::provider::Client { id, redirect: &redirect, settings, ..Default::default() };
        client.insert(&server.database).await;
    }
    // The other server must find no mail to write before its folder leads to this one.
    server.database.wait_until_no_job_is_left().await;
    // Another server on the same database, on which a password is fresh for one second.
    let stale = Server::setup().set("FRESH_TOKEN_EXPIRES", 1).on(server.database.clone());
    let stale = stale.start().await;
    // Both servers write their mails to the same folder.
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
        .env("APP_URL", app)
        .env("STALE_URL", stale.url("")));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.contains("pages were checked"), "{said}");
    let output = run(Command::new("node")
        .current_dir(node_folder())
        .arg(project().join("tests/tools/validate.mjs"))
        .arg(html.path()));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
