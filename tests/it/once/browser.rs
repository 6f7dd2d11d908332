//! Swagger UI in a real browser.

use std::process::Command;

use super::{project, run, text, tool};
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
