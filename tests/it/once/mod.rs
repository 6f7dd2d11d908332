//! What is the same on every database, or needs one of its own: `scripts/test` runs it once.

mod appearance;
pub(crate) mod away;
mod command;
mod generated;
mod hidden;
mod schema;
mod source;
mod start;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, Output};

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `scripts/test` installed: Python, HTTPie.
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

/// The fenced block of a page behind the comment `<!-- name -->`.
pub(crate) fn block(page: &str, name: &str) -> String {
    let text = read(page);
    let (_, rest) = text
        .split_once(&format!("<!-- {name} -->"))
        .unwrap_or_else(|| panic!("{page} has no block {name}"));
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs a command to its end; what it wrote, and whether it did well.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
