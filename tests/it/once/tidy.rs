//! The rules of the house, as far as a program can see them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{project, run, text};

pub(super) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let listed = run(Command::new("git").current_dir(project()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        folder,
    ]));
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let files: Vec<_> = text(&listed.stdout)
        .lines()
        .map(PathBuf::from)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| project().join(path).exists())
        .map(|path| (path.clone(), std::fs::read_to_string(project().join(&path)).unwrap()))
        .collect();
    assert!(!files.is_empty(), "no source in {folder}");
    files
}

fn everything() -> Vec<(PathBuf, String)> {
    ["src", "api", "entity", "migration", "verify", "tests"].into_iter().flat_map(sources).collect()
}

/// Wings whose folders are features.
const WINGS: [&str; 5] = ["platform", "identity", "access", "self_service", "admin"];

/// `platform/audit/chain.rs` is a file of the feature `audit`.
fn is_of_a_feature(path: &Path) -> bool {
    WINGS.iter().any(|wing| path.starts_with(format!("api/src/{wing}")))
        && path.components().count() == 5
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, source) in everything() {
        assert!(source.starts_with("//!"), "{} does not begin with //!", path.display());
    }
}

#[test]
fn no_file_is_over_600_lines() {
    for (path, source) in everything() {
        let lines = source.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

/// `entity::session::Model` does, `entity::SessionId` and `crate::identity::` do not.
fn names_a_table(source: &str) -> bool {
    source.match_indices("entity::").any(|(place, found)| {
        let before = source[..place].chars().next_back();
        let after = source[place + found.len()..].chars().next();
        !before.is_some_and(char::is_alphabetic) && after.is_some_and(char::is_lowercase)
    })
}

#[test]
fn rules_know_neither_http_nor_queries() {
    for (path, source) in sources("api/src") {
        let feature = is_of_a_feature(&path);
        if feature && name(&path) == "mod.rs" {
            for banned in ["use poem", "poem::", "EntityTrait", "QueryFilter", "sea_query"] {
                assert!(!source.contains(banned), "{} has {banned}", path.display());
            }
        }
        if feature && name(&path) == "http.rs" {
            assert!(!source.contains("sea_orm"), "{} has sea_orm", path.display());
            assert!(!names_a_table(&source), "{} names a table", path.display());
        }
        if name(&path) == "store.rs" {
            for banned in ["poem", "crate::app"] {
                assert!(!source.contains(banned), "{} has {banned}", path.display());
            }
        }
    }
}

#[test]
fn a_feature_has_files_with_known_names_only() {
    let known = ["mod.rs", "store.rs", "http.rs", "pages.rs", "jobs.rs"];
    for (path, _) in sources("api/src") {
        let feature = is_of_a_feature(&path);
        // A factor's kinds stand side by side in its folder; of a session, what its tokens say and how
        // they are got and spent and how it ends are pages of their own; of revocations, what memory
        // has and how long tokens live; of API tokens, what a secret is; of callers,
        // what of them is locked, their narrower forms and those who ask for pages;
        // of limits, those of mails and of what accounts do; of mails, their words and the ways they leave; of users, the addresses they had
        // and whether their account is claimed; of the audit, its chain.
        let pages = [
            "account/download.rs",
            "account/export.rs",
            "audit/chain.rs",
            "account/email.rs",
            "job/purge.rs",
            "rate_limit/acts.rs",
            "rate_limit/mail.rs",
            "mail/template.rs",
            "mail/transport.rs",
            "caller/page.rs",
            "session/live.rs",
            "session/browser.rs",
            "platform/unit_of_work.rs",
            "caller/lock.rs",
            "caller/narrow.rs",
            "revocation/life.rs",
            "revocation/memory.rs",
            "session/claims.rs",
            "session/end.rs",
            "session/list.rs",
            "session/open.rs",
            "session/refresh.rs",
            "verification/client.rs",
            "api_token/guess.rs",
            "api_token/secret.rs",
            "user/claim.rs",
            "user/former.rs",
            "user/pending.rs",
        ];
        let more = path.starts_with("api/src/identity/factor")
            || path.starts_with("api/src/admin/pages")
            || pages.iter().any(|page| path.ends_with(page));
        if feature && !more {
            assert!(known.contains(&name(&path)), "{}", path.display());
        }
    }
}

/// A machine may have been suspended, while the monotonic clock stood still: `clock::Stopwatch` knows.
#[test]
fn nothing_but_the_cost_of_work_is_measured_by_the_monotonic_clock_alone() {
    let allowed =
        ["api/src/base/clock.rs", "api/src/identity/factor/hasher.rs", "api/src/http/layers.rs"];
    for (path, source) in sources("api/src") {
        let is_allowed = allowed.iter().any(|known| path.ends_with(known));
        assert!(
            is_allowed || !source.contains("Instant::now"),
            "{} has Instant::now",
            path.display()
        );
    }
}

#[test]
fn the_crates_below_know_nothing_of_those_above() {
    let banned = [
        ("entity", ["api::", "migration::", "tessera_verify", "serde", "poem"]),
        ("migration", ["api::", "::entity::", "tessera_verify", "serde", "poem"]),
        ("verify", ["api::", "migration::", "sea_orm", "entity::", "tokio"]),
    ];
    for (folder, banned) in banned {
        for (path, source) in sources(folder) {
            let code: String =
                source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            for word in banned {
                let own = word == "entity::" && code.contains("sea_orm::entity::");
                assert!(own || !code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_nothing_is_left_to_do() {
    for (path, source) in everything() {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for banned in ["#[allow(", "#![allow(", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"] {
            assert!(!source.contains(banned), "{} has {banned}", path.display());
        }
    }
}

/// Tests wait for an event or move the clock of their server; where neither will do, a comment says why.
#[test]
fn a_test_that_sleeps_says_why() {
    for (path, source) in sources("tests") {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (before, line) in source.lines().zip(source.lines().skip(1)) {
            let says_why = before.trim_start().starts_with("//");
            assert!(says_why || !line.contains("sleep("), "{} sleeps: {line}", path.display());
        }
    }
}
