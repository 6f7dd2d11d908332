//! Swagger UI in a real browser.

use std::process::Command;

use super::{project, run, text, tool};
use crate::support::{PASSWORD, Server};

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_signs_in_and_asks_who_i_am() {
    let server = Server::start().await;
    server.person("first").await;
    let output = run(Command::new(tool("python"))
        .arg(project().join("tests/browser/swagger.py"))
        .args([&server.url("/docs"), "first@user.com", PASSWORD]));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("200"), "{said}");
}
