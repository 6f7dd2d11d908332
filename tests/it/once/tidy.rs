//! Rules of the code that a test can check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{project, run, source, text};

pub(crate) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
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

/// A file of `api`: its path below `api/src`, its module, and its code.
struct File {
    path: PathBuf,
    module: Vec<String>,
    code: String,
}

impl File {
    /// Returns true if only routes and other leaves import the file: operations, pages, background work, and the
    /// arguments of their handlers.
    fn is_leaf(&self) -> bool {
        let names = ["http", "pages", "jobs"];
        self.module.iter().any(|name| names.contains(&name.as_str()))
            || WIRE.iter().any(|path| self.path.ends_with(path))
    }
}

/// Files, other than `http.rs`, with arguments and answers of handlers.
const WIRE: [&str; 6] = [
    "caller/page.rs",
    "verification/client.rs",
    "account/download.rs",
    "client/wire.rs",
    "client/explained.rs",
    "feed/stream.rs",
];

fn api() -> Vec<File> {
    let file = |(path, source): (PathBuf, String)| {
        let path = path.strip_prefix("api/src").unwrap().to_owned();
        let (module, code) = (source::module_of(&path), source::code(&source));
        File { path, module, code }
    };
    sources("api/src").into_iter().map(file).collect()
}

/// Returns the names on a line of a module's documentation, in order: `a ← b ← {c, d}`. Names in braces have one place.
fn line_of(file: &str, begin: &str) -> Vec<(String, usize)> {
    let source = super::read(file);
    let lines: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("//!")).collect();
    let docs = lines.join(" ");
    let (_, line) = docs.split_once(begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    let line = line.split('.').next().unwrap();
    let names = line.split('←').enumerate().flat_map(|(place, names)| {
        let names = names.split([',', '{', '}', '`']).map(str::trim);
        names.filter(|name| !name.is_empty()).map(move |name| (name.to_owned(), place))
    });
    names.collect()
}

/// A wing and its features, in the order in which they may import each other.
struct Wing {
    name: String,
    place: usize,
    features: Vec<(String, usize)>,
}

/// Reads the wings from the documentation. The first two have no features, and the last is `routes`.
fn wings() -> Vec<Wing> {
    let line = line_of("api/src/lib.rs", "Each wing imports those before it:");
    let routes = line.last().unwrap().1;
    let wing = |(name, place): (String, usize)| {
        let has_features = !["base", "http", "routes"].contains(&name.as_str());
        let file = format!("api/src/{name}/mod.rs");
        let features = has_features.then(|| line_of(&file, "Within this wing:"));
        Wing { name, place, features: features.unwrap_or_default() }
    };
    let wings: Vec<_> = line.into_iter().map(wing).collect();
    assert_eq!(wings.iter().find(|wing| wing.name == "routes").unwrap().place, routes);
    wings
}

/// Returns the wing of a module, and its feature if it belongs to one.
fn place_of<'a>(
    wings: &'a [Wing],
    module: &[String],
) -> Option<(&'a Wing, Option<&'a (String, usize)>)> {
    let wing = wings.iter().find(|wing| Some(&wing.name) == module.first())?;
    let feature = wing.features.iter().find(|(name, _)| Some(name) == module.get(1));
    Some((wing, feature))
}

/// Returns the reason why a file may not use a path of the crate, or `None` if it may.
fn fault_of(wings: &[Wing], file: &File, path: &[String]) -> Option<&'static str> {
    let root = path.first().map(String::as_str).unwrap_or_default();
    let own = place_of(wings, &file.module);
    if file.module.first().is_none_or(|name| ["routes", "local"].contains(&name.as_str())) {
        return None;
    }
    if root == "local" || root == "routes" {
        return Some("no file may import it");
    }
    if root == "app" {
        let is_base = own.is_some_and(|(wing, _)| wing.name == "base");
        return is_base.then_some("base must not use App");
    }
    let (wing, feature) = place_of(wings, path)?;
    let Some((own_wing, own_feature)) = own else {
        // `app.rs`.
        let is_state = path.contains(&"State".to_owned());
        let is_module = path.len() <= 2;
        let is_feature = !["base", "http"].contains(&wing.name.as_str());
        return (is_feature && !is_state && !is_module)
            .then_some("App may use only the State of a feature");
    };
    if wing.name != own_wing.name {
        return (wing.place >= own_wing.place).then_some("its wing is a later one");
    }
    let ((feature, place), (own_feature, own_place)) = (feature?, own_feature?);
    if feature == own_feature || file.is_leaf() {
        return None;
    }
    (place >= own_place).then_some("its feature is a later one")
}

#[test]
fn no_file_imports_a_later_wing_or_feature() {
    let wings = wings();
    let mut found = BTreeSet::new();
    for file in api() {
        for path in source::paths(&file.code, &file.module) {
            if let Some(fault) = fault_of(&wings, &file, &path) {
                let path = path[..path.len().min(3)].join("::");
                found.insert((file.path.display().to_string(), path, fault));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Files that run single statements outside of units of work.
const STATEMENTS: [&str; 2] = ["access/session/refresh.rs", "platform/key/mod.rs"];

#[test]
fn only_units_of_work_commit() {
    let own = [
        "platform/unit_of_work.rs",
        "base/database.rs",
        "base/database/group_commit.rs",
        "base/database/reader.rs",
    ];
    for file in api().iter().filter(|file| !own.iter().any(|own| file.path.ends_with(own))) {
        for banned in ["database.begin(", "database.writer(", "transaction.commit("] {
            assert!(!file.code.contains(banned), "{} has {banned}", file.path.display());
        }
        let is_known = STATEMENTS.iter().any(|known| file.path.ends_with(known));
        let calls = file.code.contains("statement(app, ");
        assert_eq!(calls, is_known, "{}", file.path.display());
        let ends_at_once = file.code.contains("revoke_at_once(app, ");
        assert_eq!(ends_at_once, file.path.ends_with("access/session/end.rs"));
    }
}

#[test]
fn rules_import_no_operations_pages_or_background_work() {
    let wings = wings();
    for file in api().iter().filter(|file| !file.is_leaf() && file.module.len() > 1) {
        for path in source::paths(&file.code, &file.module) {
            let is_other = path.get(1) != file.module.get(1);
            let is_of_a_feature =
                place_of(&wings, &path).is_some_and(|(_, feature)| feature.is_some());
            let is_leaf =
                path.get(2).is_some_and(|name| ["http", "pages", "jobs"].contains(&name.as_str()));
            let fault = is_of_a_feature && is_other && is_leaf;
            assert!(!fault, "{} imports {}", file.path.display(), path.join("::"));
        }
    }
}

#[test]
fn every_module_is_in_an_import_order() {
    let wings = wings();
    let mut modules = BTreeSet::new();
    let mut features = BTreeSet::new();
    for file in api() {
        let mut names = file.module.into_iter();
        let Some(wing) = names.next().filter(|name| !["app", "local"].contains(&name.as_str()))
        else {
            continue;
        };
        let has_features = !["base", "http", "routes"].contains(&wing.as_str());
        features
            .extend(names.next().filter(|_| has_features).map(|feature| (wing.clone(), feature)));
        modules.insert(wing);
    }
    let on_line = wings.iter().map(|wing| wing.name.clone()).collect();
    assert_eq!(modules, on_line);
    let on_lines = wings.iter().flat_map(|wing| {
        wing.features.iter().map(|(feature, _)| (wing.name.clone(), feature.clone()))
    });
    assert_eq!(features, on_lines.collect());
}

/// Functions of more than 50 lines. This list may only get shorter.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("api/src/access/caller/http.rs", "register_schemes"),
    ("api/src/base/error/code.rs", "row"),
    ("api/src/http/body.rs", "deserialize"),
    ("src/keys.rs", "run"),
    ("src/shell.rs", "run"),
    ("src/token.rs", "run"),
    ("src/user.rs", "run"),
    ("verify/src/jwk.rs", "into_key"),
];

#[test]
fn no_function_is_over_50_lines() {
    let mut found = BTreeSet::new();
    for (path, source) in ["src", "api/src", "verify/src"].into_iter().flat_map(sources) {
        let functions = source::functions(&source::code(&source)).into_iter();
        let long = functions.filter(|(_, length)| *length > 50);
        found.extend(long.map(|(name, _)| (path.display().to_string(), name)));
    }
    let known = LONG_FUNCTIONS.iter().map(|(path, name)| ((*path).to_owned(), (*name).to_owned()));
    assert_eq!(found, known.collect());
}

/// `platform/audit/chain.rs` is a file of the feature `audit`, and so are files in folders below it.
fn is_of_a_feature(path: &Path) -> bool {
    let wing = path.iter().next().and_then(|name| name.to_str());
    path.components().count() > 2 && wing.is_some_and(|wing| !["base", "http"].contains(&wing))
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_file_begins_with_a_doc_comment() {
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

/// Returns true for `entity::session::Model`, and false for `entity::SessionId` and `crate::identity::`.
fn names_a_table(source: &str) -> bool {
    source.match_indices("entity::").any(|(place, found)| {
        let before = source[..place].chars().next_back();
        let after = source[place + found.len()..].chars().next();
        !before.is_some_and(char::is_alphabetic) && after.is_some_and(char::is_lowercase)
    })
}

#[test]
fn rules_use_neither_http_nor_queries() {
    for file in api().iter().filter(|file| is_of_a_feature(&file.path)) {
        let is = |file_name: &str| name(&file.path) == file_name;
        let banned: &[&str] = match file.is_leaf() {
            _ if is("store.rs") => &["poem", "crate::app"],
            false => &["poem::", "EntityTrait", "QueryFilter", "sea_query"],
            true if is("http.rs") => &["sea_orm"],
            true => &["EntityTrait", "QueryFilter", "sea_query"],
        };
        for banned in banned {
            assert!(!file.code.contains(banned), "{} has {banned}", file.path.display());
        }
        let names_a_table = is("http.rs") && names_a_table(&file.code);
        assert!(!names_a_table, "{} names a table", file.path.display());
    }
}

#[test]
fn a_feature_has_files_with_known_names_only() {
    let known = ["mod.rs", "store.rs", "http.rs", "pages.rs", "jobs.rs"];
    for File { path, .. } in api() {
        let feature = is_of_a_feature(&path);
        // Files with names of their own. In `identity/factor`, `admin/pages`, `provider/authorization`,
        // `provider/exchange` and the features of `federation`, files can have any name.
        let pages = [
            "account/download.rs",
            "account/export.rs",
            "audit/chain.rs",
            "account/email.rs",
            "account/ways.rs",
            "account/pages/form.rs",
            "account/pages/values.rs",
            "fetch/address.rs",
            "job/purge.rs",
            "rate_limit/acts.rs",
            "rate_limit/mail.rs",
            "mail/template.rs",
            "mail/transport.rs",
            "caller/page.rs",
            "session/live.rs",
            "session/browser.rs",
            "caller/lock.rs",
            "caller/narrow.rs",
            "revocation/life.rs",
            "revocation/memory.rs",
            "revocation/place.rs",
            "revocation/ring.rs",
            "feed/snapshot.rs",
            "feed/stream.rs",
            "session/claims.rs",
            "session/end.rs",
            "session/list.rs",
            "session/open.rs",
            "session/refresh.rs",
            "verification/client.rs",
            "verification/code.rs",
            "api_token/guess.rs",
            "api_token/secret.rs",
            "feed/room.rs",
            "forward/ticket.rs",
            "grant/client.rs",
            "revocation/packed.rs",
            "key/clients.rs",
            "key/secret.rs",
            "client/allowed.rs",
            "client/apart.rs",
            "client/authenticate.rs",
            "client/claims.rs",
            "client/apply.rs",
            "client/document.rs",
            "client/wire.rs",
            "client/explained.rs",
            "client/definition.rs",
            "client/write.rs",
            "client/recorded.rs",
            "client/redirect.rs",
            "client/refusal.rs",
            "client/resource.rs",
            "client/secret.rs",
            "client/settings.rs",
            "user/claim.rs",
            "user/source.rs",
            "user/email.rs",
            "user/language.rs",
            "user/password_hash.rs",
            "user/profile.rs",
            "user/previous_email.rs",
            "user/search.rs",
            "user/pending.rs",
            "user/table.rs",
            "user/website.rs",
        ];
        let more = path.starts_with("identity/factor")
            || path.starts_with("admin/pages")
            || path.starts_with("federation/upstream")
            || path.starts_with("federation/federated_identity")
            || path.starts_with("provider/authorization")
            || path.starts_with("provider/exchange")
            || pages.iter().any(|page| path.ends_with(page));
        if feature && !more {
            assert!(known.contains(&name(&path)), "{}", path.display());
        }
    }
}

/// A session requires an `Authentication`. Only the factors know how the identity was proved.
#[test]
fn sessions_do_not_use_passwords() {
    for (path, source) in sources("api/src/access/session") {
        let asks = ["http.rs", "pages.rs"].contains(&name(&path));
        for banned in ["Password", "hasher", "rate_limit::sign_in"] {
            assert!(asks || !source.contains(banned), "{} has {banned}", path.display());
        }
    }
}

/// The monotonic clock stops while a machine is suspended. `clock::Stopwatch` takes this into account. It is enough to
/// measure work, and to compare the waits of connections, whose clients stand still for the server meanwhile.
#[test]
fn only_work_and_waits_of_connections_are_measured_with_the_monotonic_clock_alone() {
    let allowed = [
        "api/src/base/clock.rs",
        "api/src/identity/factor/hasher.rs",
        "api/src/http/layers.rs",
        "api/src/http/places.rs",
    ];
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
fn lower_crates_do_not_use_higher_crates() {
    let banned = [
        ("entity", ["api::", "migration::", "tessera_verify", "serde", "poem"]),
        ("migration", ["api::", "::entity::", "tessera_verify", "serde", "poem"]),
        // Only its sources, because its tests use tokio.
        ("verify/src", ["api::", "migration::", "sea_orm", "entity::", "tokio"]),
    ];
    for (folder, banned) in banned {
        for (path, source) in sources(folder) {
            // The client of the feed is the only part that sends requests.
            let banned = banned.into_iter();
            let is_client = path.starts_with("verify/src/client");
            let banned = banned.filter(|word| !(is_client && *word == "tokio"));
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
fn exceptions_from_lints_have_a_reason_and_no_code_is_unfinished() {
    for (path, source) in everything() {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for banned in ["#[allow(", "#![allow(", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"] {
            assert!(!source.contains(banned), "{} has {banned}", path.display());
        }
    }
}

/// Tests wait for an event or move the clock of their server. If they must sleep, a comment says why.
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
