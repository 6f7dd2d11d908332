//! Other people's programs: a browser, libraries that verify tokens, frameworks, and what a newcomer types.
//! `scripts/test --all` installs and runs them, once.

mod browser;
mod guards;
mod readme;
mod verifiers;

use std::path::PathBuf;

use crate::once::tools;

/// Where Node finds what `scripts/test` installed.
fn node_folder() -> PathBuf {
    let folder = tools().join("../../node");
    assert!(folder.join("node_modules/jose").exists(), "jose is missing: run scripts/test --all");
    folder
}
