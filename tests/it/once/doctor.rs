//! `tessera doctor` on servers that are healthy, and on some that are not.

use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{run, text};
use crate::support::{Kind, MailServer, SECRET, TestDatabase, awaited, command, free_port};

/// A development server on a port that is known before it starts, as `PUBLIC_URL` must be.
struct Running(Child);

impl Running {
    async fn start(folder: &Path, port: &str, settings: &[(&str, &str)]) -> Self {
        let child = command(folder)
            .args(["serve", "--dev", "--port", port])
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self(child);
        awaited("the server is ready", async || {
            run(command(folder).args(["health", "--port", port])).status.success().then_some(())
        })
        .await;
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the command. Returns its exit status and what it prints.
fn doctor(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(command(folder).arg("doctor").args(arguments).envs(settings.iter().copied()));
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test]
async fn a_healthy_server_has_no_fault_and_another_server_at_its_url_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let mails = MailServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}?tls=none", mails.port);
    let settings = [
        ("APP_SECRET", SECRET),
        ("BCRYPT_COST", "4"),
        ("MAIL_URL", url.as_str()),
        ("MAIL_FROM", "accounts@example.com"),
    ];
    let running = Running::start(folder.path(), &port, &settings).await;
    let arguments = ["--dev", "--port", &port, "--mail", "admin@example.com"];
    let (status, said) = doctor(folder.path(), &arguments, &settings);
    assert_eq!(status, Some(0), "{said}");
    for expected in [
        "ok       the database is SQLite 3.",
        "the encoding of the database is UTF-8",
        "the database can be read and written",
        "all migrations are applied",
        "accepted a test message to admin@example.com",
        "leads to Tessera",
        "has these keys and settings",
        "MiB are free in",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("fault"), "{said}");
    assert_eq!(mails.letter("admin@example.com").await.subject, "Test message of Tessera");

    // The server at PUBLIC_URL has another secret, another audience, or is another program.
    let arguments = ["--dev", "--port", &port, "--json"];
    for (name, value, expected) in [
        ("APP_SECRET", "another-0123456789-secret-of-good-length", "signs with other keys"),
        ("JWT_AUDIENCE", "another", "has another JWT_AUDIENCE"),
        ("PUBLIC_URL", "http://127.0.0.1:1", "cannot be reached from here"),
        ("MAIL_URL", "smtp://127.0.0.1:1?tls=none", "no mail can be sent"),
    ] {
        let mut changed = settings.to_vec();
        changed.retain(|(known, _)| *known != name);
        changed.push((name, value));
        let (status, said) = doctor(folder.path(), &arguments, &changed);
        assert!(said.contains(expected), "{name}: {said}");
        let json: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        let is_fine = name == "PUBLIC_URL";
        assert_eq!((json["ok"].as_bool(), status), (Some(is_fine), Some(i32::from(!is_fine))));
    }
    std::mem::drop(running);
}

#[tokio::test]
async fn faults_are_found_before_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let production = [("APP_SECRET", SECRET), ("PUBLIC_URL", "https://127.0.0.1:1")];
    let (status, said) = doctor(folder.path(), &["--mail", "admin@example.com"], &production);
    assert_eq!(status, Some(1), "{said}");
    for expected in [
        "ok       sqlite:///./tessera.db does not exist yet",
        "fault    PUBLIC_URL https://127.0.0.1:1 cannot be reached",
        "warning  MAIL_URL is not set",
        "fault    the test message was not sent",
        "TRUSTED_PROXIES is not set",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // It only looks.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let (status, said) = doctor(folder.path(), &[], &[("PORT", "x"), ("HOST", "y")]);
    assert_eq!(status, Some(2));
    assert!(said.contains("PORT is") && said.contains("HOST is"), "{said}");

    let database = TestDatabase::create(Kind::Postgres).await;
    let url = [("APP_SECRET", SECRET), ("DATABASE_URL", database.url())];
    let (_, said) = doctor(folder.path(), &["--dev"], &url);
    for expected in [
        "the database is PostgreSQL",
        "the encoding of the database is UTF8",
        "agree within a second",
        "migrations are pending: the next start applies them",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (status, said) = doctor(folder.path(), &["--dev", "--migrate", "check"], &url);
    assert!(status == Some(1) && said.contains("run `tessera migrate up`"), "{said}");
    let gone = [("APP_SECRET", SECRET), ("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/x")];
    let (status, said) = doctor(folder.path(), &["--dev"], &gone);
    assert!(status == Some(1) && said.contains("fault    the database of DATABASE_URL"), "{said}");
    assert!(!said.contains("hush"), "{said}");
}

/// PostgreSQL passes over a schema that does not exist. The tables would be in another one, or the first statement fails.
#[tokio::test]
async fn a_schema_that_does_not_exist_is_named_with_the_statement_that_creates_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create(Kind::Postgres).await;
    for (query, name, quoted) in [
        ("schema=tenant_a", "tenant_a", "tenant_a"),
        ("currentSchema=tenant_a", "tenant_a", "tenant_a"),
        ("search_path=tenant_a,public", "tenant_a", "tenant_a"),
        ("schema=%22Tenant-B%22", "Tenant-B", "\"Tenant-B\""),
        ("options=-csearch_path%3Dtenant_a", "tenant_a", "tenant_a"),
    ] {
        let url = format!("{}?{query}", database.url());
        let settings = [("APP_SECRET", SECRET), ("DATABASE_URL", url.as_str())];
        let (status, said) = doctor(folder.path(), &["--dev"], &settings);
        let created = format!("CREATE SCHEMA {quoted} AUTHORIZATION postgres;");
        assert_eq!(status, Some(1), "{query}: {said}");
        for words in [&format!("fault    the database has no schema {name},"), &created] {
            assert!(said.contains(words.as_str()), "{query}: {said}");
        }
        for arguments in [&["serve", "--dev", "--port", "0"][..], &["migrate", "up"]] {
            let output = run(command(folder.path()).args(arguments).envs(settings));
            let error = text(&output.stderr) + &text(&output.stdout);
            assert!(!output.status.success() && error.contains(&created), "{query}: {error}");
        }
    }
    // Nothing was made in another schema, and the statement helps.
    assert_eq!(database.count("information_schema.tables where table_name = 'user'").await, 0);
    database.execute("create schema tenant_a authorization postgres").await;
    database.execute("create schema \"Tenant-B\" authorization postgres").await;
    for query in ["search_path=tenant_a,public", "schema=%22Tenant-B%22"] {
        let url = format!("{}?{query}", database.url());
        let settings = [("APP_SECRET", SECRET), ("DATABASE_URL", url.as_str())];
        let output = run(command(folder.path()).args(["migrate", "up"]).envs(settings));
        assert!(output.status.success(), "{query}: {}", text(&output.stderr));
    }
    let tables = "select table_schema::text from information_schema.tables where table_name = 'user' order by 1";
    assert_eq!(database.column::<String>(tables).await, ["Tenant-B", "tenant_a"]);
}

/// Since PostgreSQL 15, ordinary users may create nothing in the schema `public`.
#[tokio::test]
async fn a_user_who_may_not_use_a_schema_is_told_which_right_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create(Kind::Postgres).await;
    let user = format!("u{}", database.name());
    database.execute("create schema closed").await;
    database.execute("revoke create on schema public from public").await;
    database.execute(&format!("create role {user} login")).await;
    let own = database.url().replace("//postgres@", &format!("//{user}@"));
    for (query, words) in [
        ("schema=closed", format!("GRANT USAGE, CREATE ON SCHEMA closed TO {user};")),
        ("sslmode=prefer", "GRANT USAGE, CREATE ON SCHEMA public TO".to_owned()),
    ] {
        let url = format!("{own}?{query}");
        let settings = [("APP_SECRET", SECRET), ("DATABASE_URL", url.as_str())];
        let output =
            run(command(folder.path()).args(["serve", "--dev", "--port", "0"]).envs(settings));
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!output.status.success() && said.contains(&words), "{query}: {said}");
    }
    database.execute(&format!("drop role {user}")).await;
}
