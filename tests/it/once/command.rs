//! The command line.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use super::{run, text};
use crate::support::{SECRET, Server, command, free_port};

fn tessera(folder: &Path, arguments: &[&str]) -> Output {
    run(command(folder).args(arguments))
}

/// Runs a command with a line on standard input.
fn tessera_reading(folder: &Path, arguments: &[&str], line: &str) -> Output {
    let mut child = command(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(line.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn an_operator_can_make_a_superuser_who_can_sign_in() {
    let server = Server::start().await;
    let url = server.database.url();
    let arguments = ["user", "create", "root@user.com", "--superuser", "--database-url", url];
    let made =
        tessera_reading(server.folder(), &[&arguments[..], &["--dev"]].concat(), "a password\n");
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("root@user.com"));
    let (access, _) = server.sign_in("root@user.com", "a password").await;
    assert_eq!(server.me(&access).await.json["is_superuser"], true);

    let again = tessera_reading(server.folder(), &[&arguments[..], &["--dev"]].concat(), "x\n");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists"), "{}", text(&again.stderr));
    let short = ["user", "create", "short@user.com", "--database-url", url, "--app-secret", SECRET];
    let short = tessera_reading(server.folder(), &short, "short\n");
    assert_eq!(short.status.code(), Some(1));
    assert!(text(&short.stderr).contains("at least 8 characters"), "{}", text(&short.stderr));
    let bad = ["user", "create", "nobody", "--database-url", url];
    let bad = tessera_reading(server.folder(), &bad, "a password\n");
    assert!(text(&bad.stderr).contains("@-sign"), "{}", text(&bad.stderr));
}

#[tokio::test]
async fn an_operator_can_promote_a_user_whose_token_stays_valid() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let url = server.database.url();
    let promoted =
        tessera(server.folder(), &["user", "promote", "FIRST@user.com", "--database-url", url]);
    assert!(promoted.status.success(), "{}", text(&promoted.stderr));
    server.advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(server.me(&person.access).await.json["is_superuser"], true);
    let nobody =
        tessera(server.folder(), &["user", "promote", "nobody@user.com", "--database-url", url]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("tessera user list"), "{}", text(&nobody.stderr));
}

#[tokio::test]
async fn the_exit_status_of_health_shows_whether_a_server_can_answer() {
    // Nothing else listens there after the server has ended.
    let port = free_port().to_string();
    let server = Server::setup().set("PORT", &port).start().await;
    let ready = tessera(server.folder(), &["health", "--port", &port]);
    assert!(ready.status.success(), "{}", text(&ready.stderr));
    let folder = server.folder().to_owned();
    std::mem::drop(server);
    let _ = std::fs::create_dir_all(&folder);
    let gone = tessera(&folder, &["health", "--port", &port]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("is it running?"), "{}", text(&gone.stderr));
}

#[test]
fn migrations_are_applied_once_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let status = tessera(folder.path(), &["migrate", "status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stdout).contains("pending  m20261121_000001"), "{}", text(&status.stdout));
    for _ in 0..2 {
        let up = tessera(folder.path(), &["migrate", "up"]);
        assert!(up.status.success(), "{}", text(&up.stderr));
        assert!(text(&up.stdout).contains("applied  m20261121_000001"), "{}", text(&up.stdout));
    }
    let status = tessera(folder.path(), &["migrate", "status"]);
    assert!(status.status.success(), "{}", text(&status.stderr));
}

#[test]
fn settings_are_printed_with_their_origin_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        "JWT_AUDIENCE=from-file\nPORT=1\nHOST=127.0.0.2\nAPP_SECRET_PREVIOUS=hush2\n",
    )
    .unwrap();
    let output =
        run(command(folder.path()).args(["config", "print", "--origin", "--port", "3"]).envs([
            ("PORT", "2"),
            ("HOST", "127.0.0.3"),
            ("APP_SECRET", "hush1"),
            ("DATABASE_URL", "postgres://user:hush3@host/database"),
        ]));
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = |name: &str| {
        let line = printed.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}: {printed}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(line("PORT"), ["PORT", "flag", "3"]);
    assert_eq!(line("HOST"), ["HOST", "environment", "127.0.0.3"]);
    assert_eq!(line("JWT_AUDIENCE"), ["JWT_AUDIENCE", ".env", "from-file"]);
    assert_eq!(line("BCRYPT_COST"), ["BCRYPT_COST", "default", "12"]);
    assert_eq!(line("APP_SECRET"), ["APP_SECRET", "environment", "(secret)"]);
    assert_eq!(line("APP_SECRET_PREVIOUS"), ["APP_SECRET_PREVIOUS", ".env", "(secret)"]);
    assert_eq!(line("DATABASE_URL")[2], "postgres://user:(secret)@host:5432/database");
    assert!(!printed.contains("hush"), "{printed}");
}

#[test]
fn no_command_shows_the_password_of_a_database_url() {
    let folder = tempfile::tempdir().unwrap();
    let urls = [
        "postgres://user:hush@host/database?password=hush",
        "postgres:///database?host=/run&user=x&password=hush",
        "postgresql+asyncpg:user:hush@host/database",
        "postgres://user:hush@host:99999/database",
        "postgres://user:hush@/database",
        "postgres://user:hush@host/database?sslmode=hush",
        "postgres://user:hush@host/database?pasword=hush",
    ];
    for url in urls {
        let print = ["config", "print", "--origin"];
        for arguments in [&print[..], &["migrate", "status"], &["serve", "--port=0", "--dev"]] {
            if arguments[0] == "serve" && url == urls[1] {
                continue;
            }
            let output = run(command(folder.path())
                .args(arguments)
                .env("DATABASE_URL", url)
                .env("RUST_LOG", "trace"));
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(!said.contains("hush"), "{url}: {said}");
        }
    }
}

#[test]
fn generated_secrets_are_long_and_different_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let one = text(&tessera(folder.path(), &["secret", "generate"]).stdout);
    let other = text(&tessera(folder.path(), &["secret", "generate"]).stdout);
    assert_eq!(one.trim().len(), 64);
    assert!(one.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(one, other);
}

#[test]
fn an_invalid_command_line_exits_with_2_and_help_with_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["fly"][..], &["serve", "--wings"], &["user"], &["user", "create"], &[]] {
        let output = tessera(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("Usage"), "{}", text(&output.stderr));
    }
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"], &["help", "user"]] {
        let output = tessera(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!text(&output.stdout).is_empty());
    }
}

#[test]
fn help_never_shows_values_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["serve", "--help"], ["help", "serve"], ["help", "settings"]] {
        let output = run(command(folder.path()).args(arguments).env("APP_SECRET", "hush"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("hush"), "{arguments:?}");
    }
}

/// The settings are options of every command, but only one page lists them.
#[test]
fn the_help_of_every_command_fits_a_screen_and_names_the_page_of_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (mut waiting, mut count) = (vec![Vec::<String>::new()], 0);
    while let Some(words) = waiting.pop() {
        let help = |flag| {
            let arguments = words.iter().map(String::as_str).chain([flag]).collect::<Vec<_>>();
            text(&tessera(folder.path(), &arguments).stdout)
        };
        let (long, short) = (help("--help"), help("-h"));
        // A client has more options than a screen has lines: its short help shows those that most clients need.
        let most = if words.first().is_some_and(|word| word == "client") { 140 } else { 50 };
        for (help, most) in [(&long, most), (&short, 45)] {
            let lines = help.lines().count();
            assert!((5..=most).contains(&lines), "{words:?} has {lines} lines:\n{help}");
            assert!(
                help.contains("Settings are also options: see `tessera help settings`."),
                "{words:?}:\n{help}"
            );
            assert!(!help.contains("--database-url"), "{words:?}:\n{help}");
        }
        let listed = long.split("\nCommands:\n").nth(1).unwrap_or_default();
        let listed = listed.lines().take_while(|line| !line.is_empty());
        let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        // The rest of a description that takes several lines is indented further.
        for name in names.filter(|name| !name.is_empty()) {
            waiting.push([&words[..], &[name.to_owned()]].concat());
        }
        count += 1;
    }
    assert!(count > 40, "only {count} commands were found");
}

#[test]
fn the_page_of_settings_names_every_setting_once_and_in_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let page = text(&tessera(folder.path(), &["help", "settings"]).stdout);
    let groups = page.lines().filter(|line| line.ends_with(':') && !line.starts_with(' '));
    assert_eq!(groups.count(), 13, "{page}");
    let definitions = api::base::config::definitions();
    for setting in definitions.get_arguments().filter(|setting| !setting.is_hide_set()) {
        let Some(variable) = setting.get_env() else { continue };
        let begin = format!("\n  {}  (--{}", variable.display(), setting.get_long().unwrap());
        assert_eq!(page.matches(&begin).count(), 1, "{begin}:\n{page}");
        let default = setting.get_default_values().first();
        let default = default.map_or("none".into(), |default| default.to_string_lossy());
        let (_, after) = page.split_once(&begin).unwrap();
        let end = format!(", default: {default})");
        assert!(after.lines().next().unwrap().ends_with(&end), "{begin}{end}:\n{page}");
    }
    assert!(page.find("\nServer:\n") < page.find("\n  TESSERA_DEV "), "{page}");
}

#[test]
fn a_command_succeeds_if_its_reader_closes_the_pipe() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in ["openapi", "config print"] {
        let script = format!("\"$0\" {arguments} | head -1; exit ${{PIPESTATUS[0]}}");
        let output = run(std::process::Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_tessera")])
            .current_dir(folder.path()));
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout).lines().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_works_in_a_terminal() {
    let server = Server::start().await;
    server.person("first").await;
    let typed = run(std::process::Command::new(super::tool("python"))
        .arg(super::project().join("tests/tools/prompt.py"))
        .args([env!("CARGO_BIN_EXE_tessera"), server.database.url()])
        .arg(server.folder()));
    assert!(typed.status.success(), "{}{}", text(&typed.stdout), text(&typed.stderr));
    assert_eq!(text(&typed.stdout), "typed\n");
    server.me("x").await.expect_status(401);
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tessera(folder.path(), &["completions", shell]);
        assert!(script.status.success() && text(&script.stdout).contains("revocation"), "{shell}");
    }
    let script = folder.path().join("completions.bash");
    std::fs::write(&script, tessera(folder.path(), &["completions", "bash"]).stdout).unwrap();
    let asked = "source completions.bash; COMP_WORDS=(tessera token cr); COMP_CWORD=2; \
                 _tessera tessera cr token; echo \"${COMPREPLY[*]}\"";
    let bash =
        run(std::process::Command::new("bash").args(["-c", asked]).current_dir(folder.path()));
    assert_eq!(text(&bash.stdout), "create\n", "{}", text(&bash.stderr));

    let page = text(&tessera(folder.path(), &["man"]).stdout);
    assert!(page.contains(".TH tessera 1"), "{page}");
    let written = tessera(folder.path(), &["man", "pages"]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let page = std::fs::read_to_string(folder.path().join("pages/tessera-token-create.1")).unwrap();
    assert!(page.contains("username"), "{page}");
}

/// Making a user needs no secret, because nothing is signed.
#[test]
fn an_operator_can_make_a_verified_user_without_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let made = tessera_reading(
        folder.path(),
        &["user", "create", "op@user.com"],
        "correct horse battery\n",
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let rows = run(std::process::Command::new("sqlite3")
        .current_dir(folder.path())
        .args(["tessera.db", "select is_active, is_superuser, is_verified from user"]));
    assert_eq!(text(&rows.stdout), "1|0|1\n");
}

#[test]
fn the_status_of_migrations_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tessera(folder.path(), &["migrate", "status"]).status.code(), Some(1));
    let tables = run(std::process::Command::new("sqlite3")
        .current_dir(folder.path())
        .args(["tessera.db", ".tables"]));
    assert_eq!(text(&tables.stdout), "");
}

#[tokio::test]
async fn a_command_explains_a_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let explain = |token: &str| {
        let url = server.database.url();
        run(command(server.folder()).args([
            "token",
            "explain",
            token,
            "--database-url",
            url,
            "--app-secret",
            SECRET,
        ]))
    };
    let accepted = explain(&person.access);
    assert!(accepted.status.success(), "{}", text(&accepted.stderr));
    assert!(text(&accepted.stdout).starts_with("accepted: an access token of user "));
    server.logout(&person.access).await.expect_status(204);
    let refused = explain(&person.access);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("refused (token_revoked)"), "{}", text(&refused.stderr));
    assert!(!text(&refused.stderr).contains(&person.access));
}
