//! The OpenAPI document, as programs of others read it: a validator, generators of clients, and a program that tries
//! what the document allows.

use std::path::Path;
use std::process::Command;

use super::node_folder;
use crate::once::{project, run, text, tool, tools};
use crate::support::Server;

/// Operations after which the signed-in caller could not be tried any further.
const LAST: [&str; 7] = [
    "logout",
    "logout_all",
    "cookie_logout",
    "delete_me",
    "end_session",
    "end_sessions_of_user",
    "update_me",
];

/// The results that Schemathesis must not find. It does not check whether the server accepts all that the schema
/// allows, because the schema does not describe passwords, addresses and tokens.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      negative_data_rejection,unsupported_method,ignored_auth";

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Runs a program of PyPI that may itself run programs of PyPI.
fn python_tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool(name));
    let path = format!("{}:/usr/bin:/bin", tools().display());
    command.current_dir(folder).env("PATH", path);
    command
}

fn node_tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(node_folder().join("node_modules/.bin").join(name)).current_dir(folder);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_clients_do_the_walk_through() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let document = server.get("/openapi.json").send().await.expect_status(200).body;
    std::fs::write(folder.join("openapi.json"), document).unwrap();
    succeed(python_tool("openapi-spec-validator", folder).arg("openapi.json"));

    // This generator must be told that the snapshot of revocations is binary.
    let binary = "content_type_overrides:\n  application/vnd.tessera.revocations: application/octet-stream\n";
    std::fs::write(folder.join("generator.yaml"), binary).unwrap();
    let mut generator = python_tool("openapi-python-client", folder);
    generator.args(["generate", "--path=openapi.json", "--meta=none", "--fail-on-warning"]);
    generator.arg("--config=generator.yaml");
    succeed(generator.arg("--output-path=tessera_client"));
    let mut walk = python_tool("python", folder);
    walk.arg(project().join("tests/tools/walk_through.py")).arg(server.url(""));
    assert_eq!(succeed(&mut walk), "python@user.com\n");

    // TypeScript looks for the packages in the folders above the program.
    let place = tempfile::tempdir_in(node_folder()).unwrap();
    let place = place.path();
    std::fs::write(place.join("package.json"), r#"{ "type": "module" }"#).unwrap();
    std::fs::copy(project().join("tests/tools/walk_through.ts"), place.join("walk_through.ts"))
        .unwrap();
    let document = folder.join("openapi.json");
    succeed(node_tool("openapi-typescript", place).arg(document).args(["-o", "schema.d.ts"]));
    let mut compiler = node_tool("tsc", place);
    compiler.args(["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node"]);
    succeed(compiler.arg("walk_through.ts"));
    let mut walk = Command::new("node");
    walk.current_dir(place).arg("walk_through.js").arg(server.url(""));
    assert_eq!(succeed(&mut walk), "typescript@user.com\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_is_not_documented() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let folder = tempfile::tempdir().unwrap();
    for bearer in [None, Some(&person.access), Some(&root.access)] {
        let mut program = python_tool("schemathesis", folder.path());
        program.args(["run", &server.url("/openapi.json"), "--no-color", "--continue-on-failure"]);
        program.args(["--phases=examples,coverage,fuzzing", "--max-examples=4"]);
        program.args(["--generation-deterministic", "--checks", CHECKS]);
        if let Some(bearer) = bearer {
            program.args(["--header", &format!("Authorization: Bearer {bearer}")]);
            program.args(LAST.iter().flat_map(|id| ["--exclude-operation-id", id]));
        }
        let said = succeed(&mut program);
        assert!(said.contains("No issues found") || said.contains("passed"), "{said}");
        // The operations were reached: the token was still accepted at the end.
        if let Some(bearer) = bearer {
            server.me(bearer).await.expect_status(200);
        }
    }
}
