//! A start is safe or it is refused. The error has the name of the setting and never its value.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{run, text};
use crate::support::{Kind, PASSWORD, SECRET, Server, TestDatabase, awaited, command};

/// Starts a server whose start must be refused, and returns its error.
pub(crate) fn refused(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = command(folder);
    command.args(["serve", "--port=0"]).args(arguments).envs(settings.iter().copied());
    let output = run(Command::new("timeout")
        .arg("20")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(settings.iter().copied()));
    let said = text(&output.stderr);
    assert_ne!(output.status.code(), Some(124), "the server started, or took too long: {said}");
    assert!([Some(1), Some(2)].contains(&output.status.code()), "{:?}: {said}", output.status);
    said
}

#[test]
fn production_refuses_a_missing_weak_or_known_secret_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "short").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[], "APP_SECRET is not set"),
        (&[("APP_SECRET", "")], "APP_SECRET is not set"),
        (&[("APP_SECRET", "secret")], "APP_SECRET is shorter than 32 bytes"),
        (&[("APP_SECRET", &SECRET[..31])], "APP_SECRET is shorter than 32 bytes"),
        (&[("APP_SECRET_FILE", file)], "APP_SECRET is shorter than 32 bytes"),
        (
            &[("APP_SECRET", api::base::config::EXAMPLE_SECRET)],
            "APP_SECRET is the one in .env.example, which everybody knows",
        ),
        (
            &[("APP_SECRET", SECRET), ("APP_SECRET_PREVIOUS", "ok,secret")],
            "APP_SECRET_PREVIOUS is shorter than 32 bytes",
        ),
    ];
    for (settings, expected) in cases {
        let said = refused(folder.path(), settings, &[]);
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("openssl rand -hex 32"), "{said}");
    }
    // The file takes precedence over the variable.
    let both = [("APP_SECRET", SECRET), ("APP_SECRET_FILE", file)];
    let said = refused(folder.path(), &both, &[]);
    assert!(said.contains("APP_SECRET is shorter than 32 bytes"), "{said}");
    assert!(!folder.path().join("tessera.db").exists(), "a refused start must leave no database");
}

/// Secrets that are long enough but easy to guess.
fn easy_secrets() -> Vec<(String, &'static str)> {
    vec![
        ("h".repeat(64), "fewer than 8 different characters"),
        (" ".repeat(64), "contains only white space"),
        ("hush".repeat(16), "fewer than 8 different characters"),
        ("hush-0123456789-".repeat(4), "repeats a pattern of fewer than 32 bytes"),
        (format!(" {SECRET}"), "begins or ends with white space"),
        (format!("{SECRET}\t"), "begins or ends with white space"),
        ("abcdefghijklmnopqrstuvwxyz0123456789".to_owned(), "neighbouring characters"),
        ("hush-ChangeMe-before-going-live-0417".to_owned(), "a placeholder word"),
    ]
}

#[test]
fn production_refuses_a_long_secret_that_is_easy_to_guess() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for (secret, expected) in easy_secrets() {
        let said = refused(folder.path(), &[("APP_SECRET", &secret)], &[]);
        assert!(said.contains("APP_SECRET ") && said.contains(expected), "{said}");
        assert!(said.contains("openssl rand -hex 32"), "{said}");
        assert!(!said.contains(&secret) && !said.contains("hush"), "{said}");
        // The line break at the end of the file is not a part of the secret.
        std::fs::write(&file, format!("{secret}\r\n")).unwrap();
        let said = refused(folder.path(), &[("APP_SECRET_FILE", file.to_str().unwrap())], &[]);
        assert!(said.contains(expected), "{said}");
    }
    assert!(!folder.path().join("tessera.db").exists(), "a refused start must leave no database");
}

#[tokio::test]
async fn an_easy_secret_causes_only_a_warning_in_development_and_as_a_previous_secret() {
    for (secret, expected) in easy_secrets().into_iter().take(2) {
        let server = Server::setup().set("APP_SECRET", &secret).start().await;
        let log = server.log.wait_for(expected).await;
        assert!(log.contains("good enough for development only") && !log.contains(&secret));
    }
    let former = "h".repeat(64);
    let setup = Server::setup().production().set("APP_SECRET_PREVIOUS", &former);
    let server = setup.start().await;
    let log = server.log.wait_for("APP_SECRET_PREVIOUS has fewer than 8 different").await;
    assert!(log.contains("remove it as soon as you can") && !log.contains(&former));
    // The last line break of a file is not a part of the secret.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let person = server.person("first").await;
    let setup = Server::setup().on(server.kill()).set("APP_SECRET", "");
    let server = setup.set("APP_SECRET_FILE", file.to_str().unwrap()).start().await;
    server.me(&person.access).await.expect_status(200);
}

#[test]
fn the_error_for_an_invalid_setting_has_its_name_its_value_and_what_it_must_be() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("PORT", "77777-hush"),
        ("HOST", "hush"),
        ("PUBLIC_URL", "hush"),
        ("PUBLIC_URL", "ftp://hush"),
        ("DATABASE_URL", "mysql://root:hush@localhost/x"),
        ("DATABASE_URL", "hush"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("ACCESS_TOKEN_EXPIRES", "hush"),
        ("ACCESS_TOKEN_EXPIRES", "0"),
        ("ACCESS_TOKEN_EXPIRES", "-1"),
        ("REFRESH_TOKEN_EXPIRES", "99999999999"),
        ("JWT_LEEWAY", "61"),
        ("BCRYPT_COST", "3"),
        ("BCRYPT_COST", "32"),
        ("PASSWORD_MIN_LENGTH", "0"),
        ("REGISTRATION", "hush"),
        ("MIGRATE", "hush"),
        ("TESSERA_DEV", "hush"),
        ("BLACKLIST_ENABLED", "hush"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "hush"),
        ("LOG_FORMAT", "hush"),
        ("JWT_AUDIENCE", " "),
        ("PUBLIC_URL", "http://user:hush@host"),
        ("PUBLIC_URL", "http://host/#hush"),
        ("PUBLIC_URL", "https://hush@host"),
        ("PUBLIC_URL", "https://@hush"),
        ("PUBLIC_URL", "https:///hush"),
        ("PUBLIC_URL", "https:/hush"),
        ("PUBLIC_URL", "https:hush"),
        ("PUBLIC_URL", "https:\\\\hush"),
        ("PUBLIC_URL", "https://hush\\x"),
        ("PUBLIC_URL", "https://hu\tsh"),
        ("PUBLIC_URL", "https://hush/a b"),
        ("PUBLIC_URL", "https://hush?"),
        ("PUBLIC_URL", "https://hush/#"),
        ("PUBLIC_URL", "https://hush."),
        ("PUBLIC_URL", "https://*.hush"),
        ("PUBLIC_URL", "https://hush:0"),
        ("PUBLIC_URL", "https://hush:65536"),
        ("PUBLIC_URL", "https://hu%00sh"),
        ("PUBLIC_URL", "https://[hush]"),
        ("PUBLIC_URL", "https://"),
        ("CORS_ORIGINS", "javascript://hush"),
        ("CORS_ORIGINS", "https://hush/path"),
        ("CORS_ORIGINS", "https://*.hush"),
        ("CORS_ORIGINS", "https://hush."),
        ("CORS_ORIGINS", "https://user@hush"),
        ("CORS_ORIGINS", "https://hush?"),
        ("CORS_ORIGINS", "null"),
        ("RUST_LOG", "a=hush=b"),
    ];
    for (name, value) in cases {
        let said = refused(folder.path(), &[("APP_SECRET", SECRET), (name, value)], &[]);
        assert!(said.contains(name) && said.contains("must "), "{name}={value}: {said}");
        // The value is shown, unless it can contain a secret.
        let is_secret = name == "DATABASE_URL" || value.contains('@');
        assert_eq!(said.contains("hush"), value.contains("hush") && !is_secret, "{name}: {said}");
    }
    // A secret in the wrong place.
    for value in ["f3bbbd66a63d4bf1747940578ec3d0103530e21d", "tsr_hush", "eyJhush", "a:hush@b"] {
        let said = refused(folder.path(), &[("APP_SECRET", SECRET), ("PORT", value)], &[]);
        assert!(said.contains("PORT") && !said.contains(value) && said.contains("8000"), "{said}");
    }
    let said = refused(folder.path(), &[("APP_SECRET", SECRET), ("BCRYPT_COST", "9")], &[]);
    assert!(said.contains("BCRYPT_COST is below 10"), "{said}");
}

#[test]
fn a_start_without_a_database_fails_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    // A listener that sends nothing, a port without a listener, a folder that does not exist.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://user:hush@{}/x", silent.local_addr().unwrap());
    let urls =
        [silent.as_str(), "postgres://user:hush@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"];
    for url in urls {
        let said = refused(folder.path(), &[("APP_SECRET", SECRET), ("DATABASE_URL", url)], &[]);
        assert!(said.contains("DATABASE_URL"), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn the_error_for_a_port_in_use_names_the_port() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = server.address.port().to_string();
    let output = run(command(folder.path())
        .args(["serve", "--dev", "--port", &port])
        .stdout(Stdio::piped()));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("PORT") && said.contains(&port), "{said}");
}

#[tokio::test]
async fn a_development_server_makes_a_private_secret_once() {
    let server = Server::setup()
        .on(TestDatabase::create(Kind::Sqlite).await)
        .set("APP_SECRET", "")
        .start()
        .await;
    let person = server.person("first").await;
    let file = server.database.file().with_extension("secret");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(secret.len() >= 32);
    let again = Server::setup().on(server.kill()).set("APP_SECRET", "").start().await;
    again.me(&person.access).await.expect_status(200);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
}

/// Two settings that tutorials use.
#[tokio::test]
async fn settings_of_tutorials_work_in_development_with_a_warning() {
    let server = Server::setup()
        .on(TestDatabase::create(Kind::Sqlite).await)
        .set("APP_SECRET", "secret")
        .set("DATABASE_URL", "sqlite:///./test.db")
        .start()
        .await;
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    server.log.wait_for("APP_SECRET is shorter than 32 bytes").await;
    assert!(server.folder().join("test.db").exists());
    let rows = run(Command::new("sqlite3")
        .current_dir(server.folder())
        .args(["test.db", "select * from user"]));
    let rows = text(&rows.stdout);
    let fields: Vec<_> = rows.trim_end().split('|').collect();
    assert_eq!(fields.len(), 6, "{rows}");
    assert_eq!((fields[0], fields[1]), (person.id.as_str(), "first@user.com"));
    assert!(fields[2].starts_with("$2b$04$"), "{rows}");
    assert_eq!(fields[3..], ["1", "0", "0"]);
}

#[tokio::test]
async fn database_urls_of_sqlalchemy_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let absolute = folder.path().join("absolute.db");
    let spellings = [
        ("sqlite:///./one.db".to_owned(), "one.db"),
        ("sqlite:///two.db".to_owned(), "two.db"),
        ("sqlite://three.db".to_owned(), "three.db"),
        ("sqlite:four.db".to_owned(), "four.db"),
        ("sqlite+aiosqlite:///./five.db".to_owned(), "five.db"),
        (format!("sqlite:///{}", absolute.display()), absolute.to_str().unwrap()),
    ];
    for (url, file) in spellings {
        let output = run(command(folder.path()).args(["migrate", "up", "--database-url", &url]));
        assert!(output.status.success(), "{url}: {}", text(&output.stderr));
        assert!(folder.path().join(file).exists(), "{url}");
    }
    let database = TestDatabase::create(Kind::Postgres).await;
    for scheme in ["postgres:", "postgresql:", "postgresql+asyncpg:"] {
        let url = database.url().replacen("postgres:", scheme, 1);
        let output = run(command(folder.path()).args(["migrate", "up", "--database-url", &url]));
        assert!(output.status.success(), "{scheme}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_server_can_start_with_the_example_environment() {
    let folder = tempfile::tempdir().unwrap();
    let example = super::read(".env.example");
    std::fs::write(folder.path().join(".env"), example + "\nPORT=0\nBCRYPT_COST=4\n").unwrap();
    let mut child = command(folder.path())
        .arg("serve")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let warned = lines.any(|line| line.unwrap().contains("APP_SECRET is the one in .env.example"));
    let listens = lines.any(|line| line.unwrap().contains("listening"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(warned && listens);
}

#[tokio::test]
async fn a_start_that_checks_migrations_refuses_an_old_schema() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("APP_SECRET", SECRET)];
    let said = refused(folder.path(), &settings, &["--migrate", "check"]);
    assert!(said.contains("tessera migrate up"), "{said}");
    let up = run(command(folder.path()).args(["migrate", "up"]));
    assert!(up.status.success(), "{}", text(&up.stderr));
    let url = format!("sqlite:///{}/tessera.db", folder.path().display());
    let server = Server::setup().set("DATABASE_URL", url).set("MIGRATE", "check").start().await;
    server.get("/health/ready").send().await.expect_status(200);
}

/// During a rolling deployment, the previous release runs beside the new one.
#[tokio::test]
async fn a_server_can_start_on_a_newer_schema() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let server = Server::setup().on(TestDatabase::create(kind).await).start().await;
        let newer = "insert into seaql_migrations values ('m20991231_000001_newer', 1)";
        server.database.execute(newer).await;
        let again = Server::setup().on(server.kill()).start().await;
        again.person("first").await;
    }
}

/// A change of a large table can take longer than a request. Other starts wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_another_migration_and_can_be_stopped() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let other = database.connect().await;
    let migrating = other.begin().await.unwrap();
    let lock = format!("select pg_advisory_xact_lock({})", 0x7465_7373_0001_i64);
    migrating.execute_unprepared(&lock).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut stopped = command(folder.path())
        .args(["serve", "--port=0", "--dev", "--database-url", database.url()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    database.wait_for_a_blocked_statement().await;
    run(Command::new("kill").arg(stopped.id().to_string()));
    let ended =
        awaited("the server ends after SIGTERM", async || stopped.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended:?}");

    let waiting = tokio::spawn(Server::setup().on(database.clone()).start());
    database.wait_for_a_blocked_statement().await;
    // Longer than any statement of a request can take. The test cannot move PostgreSQL's clock.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!waiting.is_finished());
    migrating.rollback().await.unwrap();
    waiting.await.unwrap().person("first").await;
}

#[tokio::test]
async fn only_the_owner_can_read_a_database_file() {
    let server = Server::setup().on(TestDatabase::create(Kind::Sqlite).await).start().await;
    server.person("first").await;
    for suffix in ["", "-wal", "-shm", "-lock"] {
        let file = format!("{}{suffix}", server.database.file().display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

/// A new secret ends every token and no password.
#[tokio::test]
async fn a_new_secret_ends_tokens_and_not_passwords() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let server = Server::setup().on(server.kill()).set("APP_SECRET", "e".repeat(64)).start().await;
    server.me(&person.access).await.expect_reason("key_unknown");
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.login(&person.email, PASSWORD).await.expect_status(200);
}

#[test]
fn the_error_for_an_invalid_mail_setting_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("own/verify")).unwrap();
    let own = folder.path().join("own/verify/text.txt");
    std::fs::write(&own, "Hello {{ nmae }}").unwrap();
    let url = |url: &'static str| vec![("MAIL_URL", url), ("MAIL_FROM", "a@example.com")];
    std::fs::create_dir_all(folder.path().join("strange/verfy")).unwrap();
    std::fs::write(folder.path().join("strange/verfy/text.txt"), "").unwrap();
    for (settings, said) in [
        (vec![("MAIL_URL", "smtp://localhost")], "MAIL_FROM"),
        (vec![("MAIL_FROM", "nobody")], "MAIL_FROM"),
        (url("http://s3cret@localhost"), "MAIL_URL"),
        (url("smtp://s3cret@localhost?tls=never"), "MAIL_URL"),
        (url("localhost:25"), "MAIL_URL"),
        (vec![("MAIL_TEMPLATES", "nowhere")], "MAIL_TEMPLATES"),
        (vec![("BREACH_FILTER", "own/verify/text.txt")], "BREACH_FILTER"),
        (vec![("MAIL_TEMPLATES", "own")], "verify/text.txt"),
        (vec![("MAIL_TEMPLATES", "strange")], "verfy/text.txt"),
        (vec![("VERIFY_TOKEN_EXPIRES", "59")], "VERIFY_TOKEN_EXPIRES"),
    ] {
        let error = refused(folder.path(), &settings, &["--dev"]);
        assert!(error.contains(said), "{settings:?}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
