//! Tests that do not depend on `TEST_DATABASE`. `scripts/test` runs them once.

mod appearance;
mod attacks;
pub(crate) mod away;
mod blocks;
mod command;
mod doctor;
mod generated;
mod hidden;
mod refusals;
mod releases;
mod schema;
pub(crate) mod settings;
mod source;
pub(crate) mod start;
mod tidy;
mod words;

use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) use tidy::sources;

/// The folder of the project.
pub(crate) fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file of the project.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The path of a program that `scripts/test` installed, such as Python or HTTPie.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tool = tools().join(name);
    assert!(tool.exists(), "{} is missing: run scripts/test, which installs it", tool.display());
    tool
}

#[expect(clippy::disallowed_methods, reason = "tests have settings too")]
pub(crate) fn tools() -> PathBuf {
    std::env::var_os("TEST_TOOLS")
        .map_or_else(|| project().join("target/test-tools/venv/bin"), PathBuf::from)
}

/// Returns the fenced block of a page after the comment `<!-- name -->`.
pub(crate) fn block(page: &str, name: &str) -> String {
    let text = read(page);
    let (_, rest) = text
        .split_once(&format!("<!-- {name} -->"))
        .unwrap_or_else(|| panic!("{page} has no block {name}"));
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs a command to its end. Returns its output and its status.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
