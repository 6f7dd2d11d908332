//! Backups: what they contain, and what a restore ends.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::following::{REVOKED, Scene};
use crate::once::{run, text};
use crate::support::{Kind, PASSWORD, SECRET, Server, TestDatabase, command, eventually};

/// Runs a command on a database.
pub(crate) fn tessera(database: &TestDatabase, arguments: &[&str]) -> Output {
    run(on(database).args(arguments))
}

pub(crate) fn on(database: &TestDatabase) -> Command {
    let mut command = command(Path::new("/tmp"));
    command
        .env("DATABASE_URL", database.url())
        .env("APP_SECRET", SECRET)
        .env("TESSERA_DEV", "true");
    command.env("TESSERA_CLOCK_FILE", database.clock().path());
    command
}

/// Runs a line that a command printed for PostgreSQL.
pub(crate) fn line(printed: &Output) {
    let done = run(Command::new("sh").args(["-c", &text(&printed.stdout)]));
    assert!(done.status.success(), "{}: {}", text(&printed.stdout), text(&done.stderr));
}

/// Backs a database up, as the guide says.
pub(crate) fn back_up(database: &TestDatabase, file: &Path) {
    let done = tessera(database, &["backup", file.to_str().unwrap()]);
    match database.kind() {
        Kind::Sqlite => assert!(done.status.success(), "{}", text(&done.stderr)),
        Kind::Postgres => line(&done),
    }
}

/// Restores a backup, as the guide says, and returns what the command printed.
pub(crate) fn restore(database: &TestDatabase, file: &Path, options: &[&str]) -> String {
    let name = file.to_str().unwrap();
    let done = match database.kind() {
        Kind::Sqlite => tessera(database, &[&["restore", name], options].concat()),
        Kind::Postgres => {
            line(&tessera(database, &["restore", name]));
            tessera(database, &[&["restore", "--after"], options].concat())
        }
    };
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
}

/// A folder, and the name of a new file in it.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a backup.db");
    (folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_everything_that_was_acknowledged_before_it() {
    let server = Arc::new(Server::start().await);
    let (_folder, file) = place();
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut done = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let person = server.person(&format!("w{worker}n{}", done.len())).await;
                    server.logout(&person.access).await.expect_status(204);
                    done.push(person.email);
                }
                done
            })
        })
        .collect();
    let count = async || server.database.count("\"user\"").await;
    eventually("the load is there", async || count().await > 8).await;
    let before = server.database.column::<String>("select email from \"user\"").await;
    back_up(&server.database, &file);
    let during = count().await;
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let database = Arc::into_inner(server).unwrap().kill();
    restore(&database, &file, &[]);
    let after = database.column::<String>("select email from \"user\"").await;
    assert!(before.iter().all(|email| after.contains(email)), "{before:?} {after:?}");
    assert!(i64::try_from(after.len()).unwrap() <= during);
    let server = Server::setup().on(database).start().await;
    server.sign_in(&before[0], PASSWORD).await;
    // Users are found through an index of its own.
    let found = format!("user_search where text like '%{}%'", before[0]);
    assert_eq!(server.database.count(&found).await, 1);
}

/// A service follows the revocations before and after.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_nothing_back_to_life_and_services_forget_nothing() {
    let scene = Scene::start(Server::setup()).await;
    let (server, (_folder, file)) = (&scene.server, place());
    let [gone, kept, changed] =
        [server.person("a").await, server.person("b").await, server.person("c").await];
    let service = scene.service().await;
    back_up(&server.database, &file);
    // All of this is unknown to the backup.
    service.knows(server.logout(&gone.access).await).await;
    let rotated = server.refresh(&kept.refresh).await.expect_status(200);
    let change = json!({ "password": "another horse battery" });
    server.change_me(&changed.access, &change).await.expect_status(200);
    let late = server.person("late").await;
    service.verdict(&late.access).await.unwrap();
    let setup = scene.setup_again();
    let (_proxy, database) = scene.stop();
    let printed = restore(&database, &file, &[]);
    // The superuser is one of the four.
    for said in ["Ended: 4 sessions", "for 4 users", "Still valid: 1 API token"] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
    let server = setup.on(database).start().await;
    for (token, reason) in [
        (&gone.access, "token_revoked"),
        (&kept.access, "token_revoked"),
        (&rotated.text("access_token"), "token_revoked"),
        (&changed.access, "token_revoked"),
    ] {
        server.me(token).await.expect_reason(reason);
    }
    // Her account is gone with the rows of the time after the backup.
    server.me(&late.access).await.expect_status(401);
    for token in [&gone.refresh, &kept.refresh, &rotated.text("refresh_token"), &late.refresh] {
        server.refresh(token).await.expect_status(401);
    }
    service.took_a_snapshot_again().await;
    assert_eq!(service.judge(&gone.access), Err(REVOKED));
    eventually("the cut of everybody arrives", async || {
        service.judge(&kept.access) == Err(REVOKED)
    })
    .await;
    // The password is the one of the backup.
    server.login(&changed.email, "another horse battery").await.expect_status(400);
    let (access, _) = server.sign_in(&changed.email, PASSWORD).await;
    server.me(&access).await.expect_status(200);
    service.verdict(&access).await.unwrap();
    service.knows(server.logout(&access).await).await;
    assert_eq!(service.judge(&access), Err(REVOKED));
    let acts = "select count(*) from audit where act = 'restore'";
    eventually("the audit has it", async || server.database.column::<i64>(acts).await[0] == 1)
        .await;
}

/// The guide says to stop the servers. If one runs, it must not accept what the restore ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_during_a_restore_refuses_what_it_ended() {
    let scene = Scene::start(Server::setup()).await;
    let server = &scene.server;
    if server.database.kind() == Kind::Sqlite {
        // There the restore is refused.
        return;
    }
    let [gone, kept] = [server.person("a").await, server.person("b").await];
    let service = scene.service().await;
    let (_folder, file) = place();
    back_up(&server.database, &file);
    service.knows(server.logout(&gone.access).await).await;
    restore(&server.database, &file, &[]);
    for person in [&gone, &kept] {
        server.wait_until_refused(&person.access).await.expect_reason("token_revoked");
        server.refresh(&person.refresh).await.expect_status(401);
    }
    service.took_a_snapshot_again().await;
    assert_eq!(service.judge(&gone.access), Err(REVOKED));
    let (access, _) = server.sign_in(&kept.email, PASSWORD).await;
    service.verdict(&access).await.unwrap();
    service.knows(server.logout(&access).await).await;
    assert_eq!(service.judge(&access), Err(REVOKED));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_mails_are_kept_if_an_operator_says_so() {
    let mail = crate::support::free_port();
    let server = Server::setup()
        .set("MAIL_URL", format!("smtp://127.0.0.1:{mail}?tls=none"))
        .set("MAIL_FROM", "accounts@example.com")
        .start()
        .await;
    let person = server.person("first").await;
    eventually("a mail waits", async || server.database.count("job").await > 0).await;
    let (_folder, file) = place();
    back_up(&server.database, &file);
    let database = server.kill();
    let printed = restore(&database, &file, &["--keep-sessions", "--keep-mails"]);
    assert!(printed.contains("were kept"), "{printed}");
    assert!(database.count("job").await > 0);
    assert_eq!(database.count("confirmation").await, 0);
    let server = Server::setup().on(database).start().await;
    server.me(&person.access).await.expect_status(200);
    server.refresh(&person.refresh).await.expect_status(200);
    let database = server.kill();
    let printed = restore(&database, &file, &[]);
    assert!(printed.contains("Ended: 1 session and"), "{printed}");
    assert_eq!(database.count("job").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_with_another_secret_changes_nothing_and_says_which_one_is_needed() {
    let server = Server::setup().set("JWT_ALGORITHM", "EdDSA").start().await;
    server.person("first").await;
    let (_folder, file) = place();
    back_up(&server.database, &file);
    let database = server.kill();
    let name = file.to_str().unwrap();
    let arguments: &[&str] = match database.kind() {
        Kind::Sqlite => &["restore", name],
        Kind::Postgres => &["restore", "--after"],
    };
    let other = "another-secret-of-at-least-32-bytes-7f3a9c";
    let refused = run(on(&database).env("APP_SECRET", other).args(arguments));
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("APP_SECRET_PREVIOUS") && !said.contains(other), "{said}");
    assert_eq!(database.count("session where ended_at is not null").await, 0);
    let previous = [("APP_SECRET", other), ("APP_SECRET_PREVIOUS", SECRET)];
    let done = run(on(&database).envs(previous).args(arguments));
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[tokio::test]
async fn every_command_refuses_a_database_of_a_release_that_is_too_new() {
    let server = Server::start().await;
    let database = server.kill();
    let newer = "update installation set release = '99.2.0', oldest = '99.1.0'";
    assert_eq!(database.execute(newer).await, 1);
    for arguments in [
        &["serve", "--port=0"][..],
        &["user", "list"],
        &["migrate", "up"],
        &["migrate", "status"],
        &["keys", "list"],
        &["feed", "status"],
        &["restore", "--after"],
        &["doctor"],
    ] {
        let refused = tessera(&database, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = text(&refused.stderr) + &text(&refused.stdout);
        for word in ["Tessera 99.2.0", "run Tessera 99.1.0 or a later release"] {
            assert!(said.contains(word), "{arguments:?}: {said}");
        }
    }
    // The next release works beside this one.
    database.execute("update installation set release = '99.2.0', oldest = '0.2.0'").await;
    let server = Server::setup().on(database).start().await;
    server.person("first").await;
    let row = "select release from installation";
    assert_eq!(server.database.column::<String>(row).await, ["99.2.0"]);
}

/// A SQLite database with a server that has stopped, and a backup of it.
pub(crate) async fn stopped() -> (TestDatabase, tempfile::TempDir, PathBuf) {
    let server = Server::setup().on(TestDatabase::create(Kind::Sqlite).await).start().await;
    server.person("first").await;
    let (folder, file) = place();
    back_up(&server.database, &file);
    (server.kill(), folder, file)
}

fn sqlite3(file: &Path, sql: &str) {
    let done = run(Command::new("sqlite3").arg(file).arg(sql));
    assert!(done.status.success(), "{}", text(&done.stderr));
}

#[tokio::test]
async fn files_that_cannot_be_restored_are_refused_with_the_reason_and_change_nothing() {
    let (database, folder, file) = stopped().await;
    let named = |name: &str| folder.path().join(name);
    std::fs::write(named("text"), "no database").unwrap();
    std::fs::write(named("empty"), "").unwrap();
    sqlite3(&named("other"), "create table a (b); insert into a values (1)");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(named("half"), &bytes[..bytes.len() / 2]).unwrap();
    let mut damaged = bytes.clone();
    damaged[4096 * 3..4096 * 6].fill(0xA5);
    std::fs::write(named("damaged"), damaged).unwrap();
    std::fs::copy(&file, named("newer")).unwrap();
    sqlite3(&named("newer"), "insert into seaql_migrations values ('m20990101_000001_later', 1)");
    let before = std::fs::read(database.file()).unwrap();
    let own = database.file();
    for (name, reason) in [
        (named("missing"), "cannot be read"),
        (named("text"), "is not a SQLite database"),
        (named("empty"), "is not a SQLite database"),
        (named("other"), "of another program"),
        (named("half"), "is damaged"),
        (named("damaged"), "is damaged"),
        (named("newer"), "m20990101_000001_later"),
        (own, "is the database itself"),
    ] {
        let refused = tessera(&database, &["restore", name.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name:?}: {said}");
        assert!(said.contains(reason), "{name:?}: {said}");
        assert_eq!(std::fs::read(database.file()).unwrap(), before, "{name:?}");
    }
    let left = std::fs::read_dir(database.file().parent().unwrap()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("restoring")), "{names:?}");
}

#[tokio::test]
async fn a_restore_is_refused_while_a_server_uses_the_database_and_keeps_the_previous_one() {
    let (database, _folder, file) = stopped().await;
    let server = Server::setup().on(database).start().await;
    let person = server.person("second").await;
    let name = file.to_str().unwrap();
    let refused = tessera(&server.database, &["restore", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("stop it"), "{}", text(&refused.stderr));
    server.me(&person.access).await.expect_status(200);
    // Killed: its last writes are in the write-ahead log.
    let database = server.kill();
    let printed = restore(&database, &file, &[]);
    let (_, previous) = printed.split_once("The previous database is ").unwrap();
    let previous = previous.lines().next().unwrap().trim_end_matches('.');
    for file in [Path::new(previous), &database.file()] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    let users = run(Command::new("sqlite3").args([previous, "select count(*) from user"]));
    assert_eq!(text(&users.stdout), "2\n");
    assert_eq!(database.count("user").await, 1);
}

#[tokio::test]
async fn a_restored_database_keeps_its_owner_and_stays_where_a_link_leads() {
    let (database, folder, file) = stopped().await;
    let link = folder.path().join("link.db");
    symlink(database.file(), &link).unwrap();
    // Only root can give files away. Other users restore files of their own.
    let owner = chown(database.file(), Some(12345), Some(12345)).map_or(None, |()| Some(12345));
    let url = format!("sqlite:///{}", link.display());
    let restored =
        run(on(&database).args(["restore", file.to_str().unwrap(), "--database-url", &url]));
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(link.is_symlink());
    assert_eq!(database.count("session where ended_at is null").await, 0);
    let found = database.file().metadata().unwrap().uid();
    assert!(owner.is_none_or(|owner| found == owner), "{found}");
}

#[tokio::test]
async fn a_damaged_database_can_be_replaced() {
    let (database, _folder, file) = stopped().await;
    std::fs::write(database.file(), "not a database any more").unwrap();
    restore(&database, &file, &[]);
    assert_eq!(database.count("user").await, 1);
    // A copy that SQLite's own program made, with users of its own.
    let other = file.with_file_name("other.db");
    sqlite3(&database.file(), &format!(".backup '{}'", other.display()));
    database.execute("delete from user").await;
    restore(&database, &other, &[]);
    assert_eq!(database.count("user").await, 1);
    // One that is gone as well.
    std::fs::remove_file(database.file()).unwrap();
    let printed = restore(&database, &file, &[]);
    assert!(!printed.contains("previous"), "{printed}");
    let server = Server::setup().on(database).start().await;
    server.sign_in("first@user.com", PASSWORD).await;
}

#[tokio::test]
async fn a_backup_replaces_no_file_unless_it_is_told_to() {
    let (database, _folder, file) = stopped().await;
    let name = file.to_str().unwrap();
    let before = std::fs::read(&file).unwrap();
    database.execute("delete from user").await;
    let refused = tessera(&database, &["backup", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let done = tessera(&database, &["backup", "--force", name]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("APP_SECRET"), "{}", text(&done.stdout));
    assert_ne!(std::fs::read(&file).unwrap(), before);
    let own = database.file();
    for (other, reason) in [
        (own.to_str().unwrap(), "is the database itself"),
        ("/nowhere/backup.db", "cannot be created"),
    ] {
        let refused = tessera(&database, &["backup", "--force", other]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(reason), "{}", text(&refused.stderr));
    }
    assert_eq!(database.count("user").await, 0);
}

#[test]
fn for_postgresql_the_commands_are_printed_without_the_password_and_nothing_counts_as_done() {
    let url = "postgres://one:hush@db.example.com:6432/users?sslmode=verify-full&schema=ids";
    for (arguments, said) in [
        (["backup", "users.dump"], "(umask 077; pg_dump --format=custom"),
        (["restore", "users.dump"], "psql --quiet --single-transaction"),
    ] {
        let mut command = command(Path::new("/tmp"));
        let printed = run(command.args(arguments).env("DATABASE_URL", url));
        let all = text(&printed.stdout) + &text(&printed.stderr);
        assert_eq!(printed.status.code(), Some(1), "{all}");
        assert!(text(&printed.stdout).starts_with(said), "{all}");
        assert!(
            text(&printed.stdout).contains("one@db.example.com:6432/users?sslmode=verify-full")
        );
        assert!(!all.contains("hush") && all.contains("APP_SECRET"), "{all}");
    }
}

#[test]
fn the_oldest_release_that_can_work_with_the_tables_is_the_last_one() {
    let releases = crate::once::read("RELEASES");
    let last = releases.lines().rfind(|line| !line.starts_with('#')).unwrap();
    assert_eq!(last.split(' ').next(), Some(migration::release::OLDEST));
}
