//! The commands of the README work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::once::{run, text, tool, tools};
use crate::support::command;

/// A development server on the port that the README uses.
pub(super) struct DevServer {
    child: Child,
    _port: MutexGuard<'static, ()>,
}

/// Held while a test uses the port of the README.
static PORT: Mutex<()> = Mutex::new(());

impl DevServer {
    pub(super) fn start(folder: &Path) -> Self {
        let port = PORT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = command(folder)
            .args(["serve", "--dev", "--log-format=json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = lines.any(|line| line.unwrap().contains("\"listening\""));
        let server = Self { child, _port: port };
        assert!(listens, "the walk-through needs port 8000, but another program uses it");
        std::thread::spawn(move || lines.for_each(drop));
        server
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn block(name: &str) -> String {
    crate::once::block("README.md", name)
}

/// Types a block into a terminal, and returns the output.
pub(super) fn type_in(folder: &Path, block: &str) -> String {
    let script = folder.join("typed.sh");
    std::fs::write(&script, format!("set -e\n{block}")).unwrap();
    // `cargo install` puts the command into the path.
    let binary = Path::new(env!("CARGO_BIN_EXE_tessera")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", tools().display(), binary.display());
    let typed = run(Command::new("script")
        .args(["-qec", "bash typed.sh", "/dev/null"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("TERM", "dumb")
        .stdin(Stdio::null()));
    let printed = without_colours(&text(&typed.stdout));
    assert!(typed.status.success(), "{printed}");
    printed
}

/// Removes the escape sequences of the terminal, each of which ends with a letter.
fn without_colours(printed: &str) -> String {
    let mut parts = printed.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain
            + part.split_once(|char: char| char.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

/// All blocks run against one server with one database, on the port that the README uses.
#[test]
fn the_walk_through_of_the_readme_works() {
    let folder = tempfile::tempdir().unwrap();
    tool("http");
    let server = DevServer::start(folder.path());

    let printed = type_in(folder.path(), &block("first token"));
    assert!(printed.contains("me@example.com") && printed.contains("access_token"), "{printed}");
    // The database is elsewhere, so the server is not started.
    let production = block("production").replace("tessera serve", "tessera config check");
    let printed = type_in(folder.path(), &production);
    assert!(printed.contains("The settings are valid"), "{printed}");

    let contract = "http POST :8000/auth/register email=first@user.com password=blurp
http --form POST :8000/auth/jwt/login username=first@user.com password=blurp
token=$(http --form POST :8000/auth/jwt/login username=first@user.com password=blurp | jq --raw-output '.access_token')
http :8000/users/me --auth-type=jwt --auth=$token
";
    assert_eq!(
        block("walk-through"),
        contract,
        "the commands of the README must be those of the contract"
    );
    let printed = type_in(folder.path(), &(block("walk-through") + "echo \"$token\" > token\n"));
    for expected in ["201 Created", "\"access_token\"", "200 OK", "first@user.com"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(printed.contains("\"is_superuser\": false") || printed.contains("is_superuser"));

    let printed = type_in(folder.path(), &block("table"));
    let row = printed.lines().find(|line| line.contains("first@user.com")).unwrap();
    assert!(row.contains("|first@user.com|$2b$12$") && row.trim_end().ends_with("|1|0|0"), "{row}");

    let printed =
        type_in(folder.path(), &("token=$(cat token)\n".to_owned() + &block("superuser")));
    assert!(printed.contains("\"is_superuser\": true"), "{printed}");

    let printed = type_in(folder.path(), &block("terminal"));
    for expected in ["tsr_", "last used", "refreshed", "--username*"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }

    let verify = folder.path().join("verify.py");
    std::fs::write(&verify, block("verify")).unwrap();
    let secret = std::fs::read_to_string(folder.path().join("tessera.secret")).unwrap();
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
    let verified = run(Command::new(tool("python"))
        .arg(&verify)
        .env("APP_SECRET", secret.trim())
        .env("TOKEN", token.trim()));
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert_eq!(text(&verified.stdout).trim().len(), 36);
    drop(server);
}
