//! The release before this one. Its binary is built from the commit that `RELEASES` names last, and works beside this
//! release on one database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use crate::once::{project, read, run, text};
use crate::provider::{self, Client};
use crate::recovery::NEW_PASSWORD;
use crate::support::{
    Browser, Kind, PASSWORD, Person, Server, TestDatabase, claims_of, eventually,
};
use crate::terminal::{json_of, tessera};

/// The commit of the last release.
fn commit() -> String {
    let releases = read("RELEASES");
    let last = releases.lines().rfind(|line| !line.starts_with('#') && !line.is_empty());
    last.and_then(|line| line.split_whitespace().nth(1))
        .expect("RELEASES names a commit")
        .to_owned()
}

/// Runs a command of the build. Panics with its output if it fails.
fn done(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

/// The folder `target/debug`, in which this test runs.
fn debug_folder() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// Links what Cargo built of the dependencies into the folder of another build, because they are mostly the same.
fn share_dependencies(target: &Path) {
    if target.join("debug").exists() {
        return;
    }
    std::fs::create_dir_all(target.join("debug")).unwrap();
    // Cargo writes into its fingerprints, so these are copies.
    for (part, how) in [("deps", "-al"), ("build", "-al"), (".fingerprint", "-a")] {
        let mut copy = Command::new("cp");
        done(copy.arg(how).arg(debug_folder().join(part)).arg(target.join("debug")));
    }
}

/// The binary of the previous release. The first test that needs it builds it.
fn previous_release() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let commit = commit();
        let folder = debug_folder().join("../previous-release");
        let (source, target) = (folder.join(&commit), folder.join("target"));
        if !source.exists() {
            std::fs::create_dir_all(&source).unwrap();
            let archive = folder.join("source.tar");
            let mut git = Command::new("git");
            git.current_dir(project()).args(["archive", "--output"]).arg(&archive);
            // A clone that is not complete lacks the commit: fetch the whole history.
            done(git.arg(&commit));
            done(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&source));
        }
        share_dependencies(&target);
        // The one in the path also chooses the compiler.
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target);
        // A benchmark has the same dependencies as tests, so Cargo uses what it built for them.
        done(cargo.args(["build", "--quiet", "--locked", "--bin=tessera", "--bench=timing"]));
        target.join("debug/tessera")
    });
    built.clone()
}

/// A server of the previous release, which applies its migrations to an empty database.
async fn previous(database: &TestDatabase) -> Server {
    Server::setup().binary(previous_release()).on(database.clone()).start().await
}

/// Waits until a server refuses the access token of a session, and checks that it refuses the refresh token too.
async fn refuses(server: &Server, person: &Person) {
    server.wait_until_refused(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_status(401);
}

#[tokio::test]
async fn both_releases_accept_and_revoke_the_tokens_of_each_other() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let old = previous(&database).await;
    let new = Server::setup().on(database.clone()).start().await;
    for (one, other, name) in [(&old, &new, "first"), (&new, &old, "second")] {
        // Sessions.
        let person = one.person(name).await;
        other.me(&person.access).await.expect_status(200);
        let next = other.refresh(&person.refresh).await.expect_status(200);
        let again = one.refresh(&next.text("refresh_token")).await.expect_status(200);
        let (access, refresh) = (again.text("access_token"), again.text("refresh_token"));
        assert_eq!(claims_of(&access)["sub"], person.id.as_str());
        other.logout(&access).await.expect_status(204);
        refuses(one, &Person { access, refresh, ..person.clone() }).await;
        // A password, which ends the sessions.
        let (access, _) = one.sign_in(&person.email, PASSWORD).await;
        let (fresh, _) = other.sign_in(&person.email, PASSWORD).await;
        let changed = json!({ "password": NEW_PASSWORD });
        other.change_me(&fresh, &changed).await.expect_status(200);
        one.wait_until_refused(&access).await.expect_reason("token_revoked");
        one.sign_in(&person.email, NEW_PASSWORD).await;
        // API tokens.
        let (access, _) = one.sign_in(&person.email, NEW_PASSWORD).await;
        let made = one.make_api_token(&access, &json!({ "name": "ci" })).await.expect_status(201);
        let token = made.text("token");
        other.me(&token).await.expect_status(200);
        let path = format!("/auth/tokens/{}", made.text("id"));
        other.request("DELETE", &path).bearer(&access).send().await.expect_status(200);
        one.wait_until_refused(&token).await;
        // Pages.
        let mut browser = Browser::of(one);
        browser.sign_in(&person.email, NEW_PASSWORD).await;
        let mut moved = Browser::of(other);
        moved.cookies = browser.cookies.clone();
        moved.open("/account").await.expect_status(200);
    }
    // Both read and write one audit.
    let verified = json_of(&tessera(&new, &["audit", "verify", "--output", "json"]));
    assert_eq!(verified["whole"], true, "{verified}");
    for server in [&old, &new] {
        server.wait_until_ready().await;
    }
}

#[tokio::test]
async fn superusers_and_applications_work_at_both_releases() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let old = previous(&database).await;
    let new = Server::setup().on(database.clone()).start().await;
    let (root, person) = (old.superuser("root").await, new.person("ada").await);
    // A change by a superuser at one release reaches the other.
    for (one, other) in [(&old, &new), (&new, &old)] {
        let path = format!("/users/{}", person.id);
        for is_active in [false, true] {
            let change = json!({ "is_active": is_active });
            one.patch(&path).bearer(&root.access).json(&change).send().await.expect_status(200);
            let expected = if is_active { 200 } else { 400 };
            let applied = async || other.login(&person.email, PASSWORD).await.status == expected;
            eventually("the other release applied the change", applied).await;
        }
    }
    // An application gets a code at one release and exchanges it at the other.
    Client::default().insert(&database).await;
    for (one, other) in [(&old, &new), (&new, &old)] {
        let mut browser = Browser::of(one);
        browser.sign_in(&person.email, PASSWORD).await;
        let code = provider::code(&mut browser, &[]).await;
        let form = provider::with_code(&code);
        let tokens = provider::exchange(other, "app", &form).await.expect_status(200);
        // The first token made the key that signs it, which the other server reads within a second.
        let accepted =
            async || provider::userinfo(one, &tokens.text("access_token")).await.status == 200;
        eventually("the other release accepts the token", accepted).await;
        let next = provider::refresh(one, &tokens.text("refresh_token")).await.expect_status(200);
        provider::userinfo(other, &next.text("access_token")).await.expect_status(200);
        let revoked = other.post("/oauth2/revoke").header("authorization", &provider::basic("app"));
        let token = next.text("refresh_token");
        revoked.form(&[("token", &token)]).send().await.expect_status(200);
        let refused =
            async || provider::userinfo(one, &next.text("access_token")).await.status == 401;
        eventually("the other release refuses the token", refused).await;
    }
}

#[tokio::test]
async fn the_previous_release_starts_again_on_a_database_that_this_one_migrated() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = TestDatabase::create(kind).await;
        let old = previous(&database).await;
        let person = old.person("first").await;
        let token = old.api_token(&person.access, &json!({ "name": "ci" })).await;
        old.kill();
        // An upgrade keeps sessions, API tokens and users.
        let new = Server::setup().on(database.clone()).start().await;
        new.me(&person.access).await.expect_status(200);
        new.me(&token).await.expect_status(200);
        let next = new.refresh(&person.refresh).await.expect_status(200);
        let later = new.person("second").await;
        new.kill();
        // The way back.
        let old = previous(&database).await;
        old.me(&later.access).await.expect_status(200);
        old.refresh(&next.text("refresh_token")).await.expect_status(200);
        old.sign_in("second@user.com", PASSWORD).await;
    }
}
