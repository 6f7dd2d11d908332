//! Third-party programs: a browser, libraries that verify tokens, frameworks, and the commands of the README.
//! `scripts/test --all` installs them and runs these tests once.

mod browser;
mod guards;
mod readme;
mod verifiers;

use std::path::PathBuf;

use crate::once::tools;

/// The folder in which `scripts/test` installed the packages of Node.
fn node_folder() -> PathBuf {
    let folder = tools().join("../../node");
    assert!(folder.join("node_modules/jose").exists(), "jose is missing: run scripts/test --all");
    folder
}
