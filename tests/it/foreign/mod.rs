//! Third-party programs: a browser, proxies, gateways, systemd, a builder of images, PgBouncer, PostgreSQL servers of a
//! test's own, libraries that verify tokens, frameworks, also with the SDKs, applications that sign people in, and the
//! commands of the README and the guide.
//! `scripts/test --all` installs them and runs these tests once.

mod browser;
mod clients;
mod deployment;
mod dotenv;
mod forwarded;
mod gateways;
mod guards;
pub(crate) mod guide;
mod openssl;
mod pgbouncer;
mod postgres;
mod previous_release;
mod providers;
mod readme;
mod relying_parties;
mod reverse_proxies;
mod sdk;
mod verifiers;

use std::path::PathBuf;

use crate::once::tools;
use crate::support::free_port;

/// The folder in which `scripts/test` installed the packages of Node.
fn node_folder() -> PathBuf {
    let folder = tools().join("../../node");
    assert!(folder.join("node_modules/jose").exists(), "jose is missing: run scripts/test --all");
    folder
}

/// A program in the folder of Node's packages, where a module finds them. Each test has a copy of its own.
fn node_program(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".mjs").tempfile_in(node_folder()).unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Returns true if the tests run as root, as which some programs refuse to run.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
