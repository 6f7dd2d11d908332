//! Restores after an upgrade, beside servers that start, and with clocks that differ.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use sea_orm::{ConnectionTrait, Database};

use crate::backups::{back_up, line, on, place, restore, stopped, tessera};
use crate::once::{run, text};
use crate::support::{Kind, PASSWORD, Server, TestDatabase, eventually};

/// Runs a command on a database at another URL.
fn at(url: &str, database: &TestDatabase, arguments: &[&str]) -> Output {
    run(on(database).env("DATABASE_URL", url).args(arguments))
}

/// Goes back to a backup by the commands, or by the lines that they print.
async fn goes_back(schema: &str) {
    let mut database = TestDatabase::prepared(Kind::from_environment()).await;
    let is_postgres = database.kind() == Kind::Postgres;
    let (mut url, mut own) = (database.url().to_owned(), String::new());
    if schema != "public" {
        database.execute(&format!("create schema {schema}")).await;
        (url, own) = (format!("{url}?schema={schema}"), format!("{schema}."));
    }
    let start =
        async |database| Server::setup().reach_database_at(url.clone()).on(database).start().await;
    let server = start(database).await;
    server.person("first").await;
    database = server.kill();
    let (_folder, file) = place();
    let name = file.to_str().unwrap();
    // The second dump is one of a database that was restored.
    for round in 1..=2 {
        let _ = std::fs::remove_file(&file);
        let saved = at(&url, &database, &["backup", name]);
        if is_postgres {
            line(&saved)
        } else {
            assert!(saved.status.success())
        }
        // A later release has a table that refers to users.
        let later =
            format!("create table {own}later (user_id varchar(36) references {own}\"user\" (id))");
        database.execute(&later).await;
        database.execute(&format!("insert into {own}later select id from {own}\"user\"")).await;
        let done = at(&url, &database, &["restore", name]);
        if is_postgres {
            line(&done);
            let said = text(&done.stderr);
            let aside = format!("into the schema {schema}_before_restore_");
            assert!(said.contains(&aside) && said.contains("Nothing is deleted"), "{said}");
            let after = at(&url, &database, &["restore", "--after"]);
            assert!(after.status.success(), "{}", text(&after.stderr));
            let aside = format!("schemaname like '{schema}_before_restore_%'");
            let kept = format!("pg_tables where tablename = 'later' and {aside}");
            assert_eq!(database.count(&kept).await, round);
        } else {
            assert!(done.status.success(), "{}", text(&done.stderr));
        }
        let server = start(database).await;
        server.sign_in("first@user.com", PASSWORD).await;
        let again = format!("create table {own}later (a integer); drop table {own}later");
        server.database.execute(&again).await;
        database = server.kill();
    }
}

/// pg_restore drops only what the dump has.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_before_an_upgrade_replaces_the_tables_of_the_later_release() {
    goes_back("public").await;
    if Kind::from_environment() == Kind::Postgres {
        goes_back("ids").await;
    }
}

/// A restore that goes wrong in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_dump_deletes_nothing() {
    let server = Server::start().await;
    server.person("first").await;
    if server.database.kind() == Kind::Sqlite {
        // There, the module backups restores damaged files.
        return;
    }
    let (_folder, file) = place();
    back_up(&server.database, &file);
    let database = server.kill();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let printed = tessera(&database, &["restore", file.to_str().unwrap()]);
    let failed = run(Command::new("sh").args(["-c", &text(&printed.stdout)]));
    assert!(!failed.status.success());
    let aside = "select schemaname::text from pg_tables where tablename = 'user'";
    let aside = database.column::<String>(aside).await.remove(0);
    assert!(aside.starts_with("public_before_restore_"), "{aside}");
    assert_eq!(database.count(&format!("{aside}.\"user\"")).await, 1);
}

/// Waits until a process has a lock of a kind, such as `FLOCK`.
async fn has_lock(process: &Child, kind: &str) {
    let process = format!(" {} ", process.id());
    eventually("the process has the lock", async || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains(kind) && lock.contains(&process))
    })
    .await;
}

/// Reads lines until one contains a text.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, expected: &str) {
    let mut read = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        if line.contains(expected) {
            return;
        }
        read.push(line);
    }
    panic!("{expected}: {read:?}");
}

/// The restore has begun, and waits for somebody who writes the backup. Without the lock, the server would open the old
/// file and write it later, with the log of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_during_a_restore_waits_and_opens_the_restored_file() {
    let (database, _folder, file) = stopped().await;
    database.execute("delete from \"user\"").await;
    let backup = Database::connect(format!("sqlite://{}", file.display())).await.unwrap();
    backup.execute_unprepared("pragma locking_mode = exclusive; begin exclusive").await.unwrap();
    let mut restoring = on(&database);
    restoring.args(["restore", file.to_str().unwrap()]).stdout(Stdio::piped());
    let restoring = restoring.stderr(Stdio::piped()).spawn().unwrap();
    has_lock(&restoring, "FLOCK").await;
    let mut server = on(&database);
    server.args(["serve", "--port=0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    read_until(&mut lines, "a restore replaces the database");
    backup.execute_unprepared("rollback; pragma locking_mode = normal").await.unwrap();
    backup.close().await.unwrap();
    let restored = restoring.wait_with_output().unwrap();
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    read_until(&mut lines, "listening");
    let opened = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap();
    let opened = opened.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    let opened: Vec<_> = opened.map(|file| file.display().to_string()).collect();
    let own = database.file().display().to_string();
    assert!(opened.contains(&own), "{opened:?}");
    assert!(!opened.iter().any(|file| file.contains("before-restore")), "{opened:?}");
    assert_eq!(database.count("\"user\"").await, 1);
    server.kill().unwrap();
    server.wait().unwrap();
}

/// It has opened the file of the lock, and not yet the database.
#[tokio::test]
async fn a_restore_is_refused_while_something_is_about_to_open_the_database() {
    let (database, _folder, file) = stopped().await;
    let name = format!("{}-lock", database.file().display());
    let lock = File::open(name).unwrap();
    lock.lock_shared().unwrap();
    let name = file.to_str().unwrap();
    let refused = tessera(&database, &["restore", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("stop it"), "{}", text(&refused.stderr));
    // Commands share the lock.
    assert!(tessera(&database, &["user", "list"]).status.success());
    drop(lock);
    restore(&database, &file, &[]);
    let folder = std::fs::read_dir(database.file().parent().unwrap()).unwrap();
    let mut names: Vec<_> = folder.map(|file| file.unwrap().file_name()).collect();
    names.retain(|name| name.to_string_lossy().ends_with("-lock"));
    assert_eq!(names, ["test.db-lock"]);
}

/// Another server issued them, and its clock was ahead of this one.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_clock_that_was_ahead_are_refused_after_a_restore() {
    let hour = 3_600_000;
    let server = Server::start().await;
    let late = server.person("late").await;
    server.database.clock().set(hour);
    server.wait_until_ready().await;
    let known = server.person("known").await;
    server.database.clock().set(0);
    let (_folder, file) = place();
    back_up(&server.database, &file);
    // The backup does not know this session. Its clock is ahead by as much as clocks may differ.
    server.database.clock().set(1_900);
    server.wait_until_ready().await;
    let (unknown, _) = server.sign_in(&late.email, PASSWORD).await;
    let database = server.kill();
    database.clock().set(0);
    restore(&database, &file, &[]);
    database.clock().set(1_900);
    let server = Server::setup().on(database).start().await;
    for token in [&late.access, &unknown] {
        server.me(token).await.expect_reason("token_revoked");
    }
    // New sessions begin after the cut-off.
    let (access, refresh) = server.sign_in(&known.email, PASSWORD).await;
    server.me(&access).await.expect_status(200);
    server.refresh(&refresh).await.expect_status(200);
    server.database.clock().set(hour + 2_000);
    server.wait_until_ready().await;
    server.me(&known.access).await.expect_reason("token_revoked");
    let (access, _) = server.sign_in(&known.email, PASSWORD).await;
    server.me(&access).await.expect_status(200);
}

/// It replaced the text that only the right secret opens.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_opens_a_key_is_right_even_if_a_server_was_started_with_another_one() {
    let eddsa = || Server::setup().set("JWT_ALGORITHM", "EdDSA");
    let server = eddsa().start().await;
    server.person("first").await;
    let other = "another-secret-of-at-least-32-bytes-7f3a9c";
    let server = eddsa().set("APP_SECRET", other).on(server.kill()).start().await;
    let (_folder, file) = place();
    back_up(&server.database, &file);
    let database = server.kill();
    restore(&database, &file, &[]);
    let wrong = "a-third-secret-of-at-least-32-bytes-1b5d8e";
    let name = file.to_str().unwrap();
    let arguments: &[&str] = match database.kind() {
        Kind::Sqlite => &["restore", name],
        Kind::Postgres => &["restore", "--after"],
    };
    let refused = run(on(&database).env("APP_SECRET", wrong).args(arguments));
    assert_eq!(refused.status.code(), Some(1));
    let done = run(on(&database).env("APP_SECRET", other).args(arguments));
    assert!(done.status.success(), "{}", text(&done.stderr));
}
