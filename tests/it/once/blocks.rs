//! Every block of commands and every program in the README and the guide is run or compiled by a test, or has a reason
//! why not. If nothing equal is tried either, the page says so.

use std::path::PathBuf;

use super::{project, read};
use crate::foreign::guide::BLOCKS;

/// The reason why no test runs a block as it is.
enum Why {
    /// A test tries the same thing in another form.
    Elsewhere(&'static str),
    /// Nothing of it is tried, which the page says below the block.
    NotTried(&'static str),
}

use Why::{Elsewhere, NotTried};

/// The beginning of the line below a block that is not tried.
const MARK: &str = "Not tried here: ";

/// Blocks that no test runs as they are: the page, the name, the content and the reason. With another content, somebody
/// must judge the block again.
const NOT_RUN: &[(&str, &str, &str, Why)] = &[
    (
        "docs/guide/backup.md",
        "dump",
        "(umask 077; pg_dump --format=custom --no-owner --no-privileges --file=users.dump \
         --dbname=postgresql://tessera@db.example.com:5432/tessera)\n",
        Elsewhere("the module backups runs the same line, for a database of its own"),
    ),
    (
        "docs/guide/backup.md",
        "after",
        "psql --quiet --single-transaction --set=ON_ERROR_STOP=1 \
         '--command=alter schema public rename to public_before_restore_20261129_164500' \
         '--command=create schema public' \
         --dbname=postgresql://tessera@db.example.com:5432/tessera &&\n\
         pg_restore --clean --if-exists --no-owner --no-privileges --single-transaction \
         --dbname=postgresql://tessera@db.example.com:5432/tessera users.dump\ntessera restore --after\n",
        Elsewhere(
            "the modules backups and restores run the same lines, for databases of their own",
        ),
    ),
    (
        "README.md",
        "start",
        "cargo run --release -- serve --dev\n",
        Elsewhere(
            "it builds a release, which takes minutes; the tests start the same command of their own build",
        ),
    ),
    (
        "README.md",
        "tests",
        "scripts/test\n",
        Elsewhere("it runs the tests, and so would run itself"),
    ),
    (
        "docs/guide/verifying.md",
        "example",
        "cargo run --package poem-service\nhttp :8001/protected --auth-type=jwt --auth=$token\n",
        Elsewhere(
            "foreign::guards runs the same program and sends the same request, on another port",
        ),
    ),
    (
        "docs/guide/verifying.md",
        "frameworks",
        "examples/run fastapi\nhttp :8001/protected --auth-type=jwt --auth=$token\n",
        Elsewhere("foreign::sdk runs the same example and sends the same request, on another port"),
    ),
    (
        "docs/guide/import.md",
        "postgres",
        "PGPASSWORD=… tessera import postgres://reader@db.example.com/shop\n",
        NotTried(
            "it needs another database; moving::tables_of_a_database_are_read_in_place imports from one",
        ),
    ),
    (
        "docs/guide/import.md",
        "invite",
        "tessera import users.jsonl --invite\n",
        Elsewhere("moving:: runs it and reads the mails"),
    ),
    (
        "docs/guide/django.md",
        "export",
        "python manage.py dumpdata auth.user --output users.json\n",
        NotTried("it runs in a project of Django; moving:: imports such a file"),
    ),
    (
        "docs/guide/keycloak.md",
        "export",
        "bin/kc.sh export --realm myrealm --users same_file --file realm.json\n",
        NotTried("it runs beside a Keycloak; moving:: imports such a file"),
    ),
    (
        "docs/guide/install.md",
        "systemd",
        "install -m 755 target/dist/tessera /usr/local/bin/
install -d /etc/tessera
(umask 077; tessera secret generate > /etc/tessera/app_secret)
echo 'PUBLIC_URL=https://id.example.com' > /etc/tessera/.env
install -m 644 deploy/tessera.service /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now tessera
systemctl status tessera
",
        NotTried(
            "it changes the machine, which may not even run systemd; foreign::deployment checks the unit",
        ),
    ),
    (
        "docs/guide/install.md",
        "systemd-command",
        "cd /etc/tessera
APP_SECRET_FILE=app_secret DATABASE_URL=sqlite:////var/lib/private/tessera/tessera.db tessera doctor
",
        NotTried("it needs the service of the block before; once::doctor runs the command"),
    ),
    (
        "docs/guide/install.md",
        "container",
        "docker build --file deploy/Dockerfile --tag tessera .
docker build --file deploy/Dockerfile --tag tessera --build-arg PROFILE=release .
openssl rand -hex 32 > deploy/app_secret && chmod 644 deploy/app_secret
docker compose --file deploy/compose.yaml up --detach
",
        NotTried(
            "it needs Docker and its registry; foreign::deployment builds and runs the image without them",
        ),
    ),
    (
        "docs/guide/install.md",
        "first",
        "tessera user create first@user.com --superuser
",
        Elsewhere(
            "it asks for a password at the terminal; foreign::readme and terminal.rs run the command",
        ),
    ),
    (
        "docs/guide/sessions.md",
        "csrf",
        "const csrf = document.cookie.match(/tessera-csrf=([^;]+)/)[1];\n\
         await fetch(\"/users/me\", { method: \"PATCH\", headers: { \"X-CSRF-Token\": csrf, \
         \"Content-Type\": \"application/json\" }, body });\n",
        Elsewhere("the module cookies sends the same header without a browser"),
    ),
    ("docs/guide/verifying.md", "go", GO, NotTried("it needs a compiler for Go")),
];

const GO: &str = r#"func user(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, err := request.ParseFromRequest(r, request.AuthorizationHeaderExtractor,
			func(*jwt.Token) (any, error) { return []byte(os.Getenv("APP_SECRET")), nil },
			request.WithClaims(jwt.MapClaims{}), request.WithParser(jwt.NewParser(
				jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(),
				jwt.WithAudience("tessera"), jwt.WithIssuer("http://localhost:8000"))))
		if err != nil || token.Claims.(jwt.MapClaims)["type"] != "access" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, `{"detail":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}
"#;

/// Blocks with the code of a file that is compiled or run: the page, the name and the file.
const SAME: &[(&str, &str, &str)] = &[
    // `cargo test --examples` compiles it.
    ("README.md", "service in Rust", "examples/axum/examples/reports.rs"),
    ("docs/guide/revocation.md", "service in Rust", "examples/axum/examples/reports.rs"),
    // `foreign::sdk` runs the blocks of the README, and the packages run those of theirs.
    ("docs/guide/verifying.md", "service in Python", "sdk/python/README.md"),
    ("README.md", "service in Python", "sdk/python/README.md"),
    ("docs/guide/verifying.md", "service in Node", "sdk/node/README.md"),
    ("README.md", "service in Node", "sdk/node/README.md"),
    // `cargo test --doc` runs them.
    ("docs/guide/revocation.md", "issuer", "verify/src/testing.rs"),
    ("docs/guide/verifying.md", "guard", "verify/src/guard.rs"),
];

/// The gateways of the guide whose configurations no test runs.
const GATEWAYS: [(&str, &str); 4] =
    [("Traefik", "traefik"), ("Envoy", "envoy"), ("Kong", "kong"), ("APISIX", "apisix")];

const SHELLS: [&str; 5] = ["sh", "bash", "shell", "console", "zsh"];
const PROGRAMS: [&str; 5] = ["python", "rust", "js", "ts", "go"];

/// A page whose blocks a test makes by running the commands in them.
const GENERATED: &str = "docs/guide/terminal.md";

/// A block of commands or a program: its page, the comment before it, its content, and the next line with text.
struct Block {
    page: String,
    name: Option<String>,
    content: String,
    after: String,
}

fn pages() -> Vec<String> {
    let mut folders = vec![project().join("docs/guide")];
    let mut pages = vec!["README.md".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                let path = path.strip_prefix(project()).unwrap();
                pages.push(path.display().to_string());
            }
        }
    }
    pages
}

/// The blocks of a page in these languages.
fn blocks_of(page: &str, languages: &[&str]) -> Vec<Block> {
    let text = read(page);
    let (mut blocks, mut name, mut fence): (Vec<Block>, Option<String>, Option<bool>) =
        (Vec::new(), None, None);
    for line in text.lines() {
        let trimmed = line.trim_start();
        match (trimmed.strip_prefix("```"), fence) {
            (Some(language), None) => {
                let language = language.split([' ', ',']).next().unwrap_or_default();
                let counts = languages.contains(&language);
                if counts {
                    let (page, content) = (page.to_owned(), String::new());
                    blocks.push(Block { page, name: name.take(), content, after: String::new() });
                }
                fence = Some(counts);
            }
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => {
                let block = blocks.last_mut().unwrap();
                block.content += line;
                block.content.push('\n');
            }
            (None, Some(false)) => {}
            (None, None) => {
                if let Some(block) = blocks.last_mut().filter(|block| block.after.is_empty()) {
                    block.after += trimmed;
                }
                let comment =
                    trimmed.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                name = comment.map(str::to_owned);
            }
        }
    }
    assert_eq!(fence, None, "{page}: a block does not end");
    blocks
}

/// The lines of examples in documentation comments, without those that readers do not see.
fn shown_examples(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| line.strip_prefix("//!").or(line.strip_prefix("///")));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let shown = lines.filter(|line| *line != "#" && !line.starts_with("# "));
    shown.map(|line| format!("{line}\n")).collect()
}

#[test]
fn programs_of_the_guide_are_those_of_files_that_are_compiled_or_run() {
    for (page, name, file) in SAME {
        let (block, text) = (super::block(page, name), read(file));
        let is_same = match file {
            file if file.ends_with(".md") => text.contains(&format!("\n{block}```\n")),
            file if file.starts_with("examples/") => text.ends_with(&format!("\n\n{block}")),
            _ => shown_examples(&text).contains(&format!("```\n{block}```\n")),
        };
        assert!(is_same, "{page} {name} and {file} differ:\n{block}");
    }
}

#[test]
fn each_gateway_that_is_not_tried_has_a_configuration_and_says_so() {
    let page = read("docs/guide/gateways.md");
    for (name, label) in GATEWAYS {
        let (before, _) = page.split_once(&format!("<!-- {label} -->\n```yaml\n")).unwrap();
        let heading = before.rsplit("\n### ").next().unwrap();
        assert!(heading.starts_with(&format!("{name}\n\n{MARK}")), "{name}: {heading}");
        let block = super::block("docs/guide/gateways.md", label);
        let read = serde_yaml::from_str::<serde_json::Value>(&block);
        assert!(read.is_ok_and(|read| read.is_object()), "{name}");
        for part in ["/auth/forward", "127.0.0.1:8000"] {
            assert!(block.contains(part), "{name} {part}");
        }
    }
}

/// Returns true if a test names this block where it runs or reads it.
fn is_run(page: &str, name: &str) -> bool {
    if BLOCKS.iter().any(|case| (case.page, case.name) == (page, name))
        || SAME.iter().any(|(of, known, _)| (*of, *known) == (page, name))
    {
        return true;
    }
    let own = |file: &str, call: String| read(file).contains(&call);
    match page {
        "README.md" => own("tests/it/foreign/readme.rs", format!("block(\"{name}\")")),
        _ => [
            "front_end",
            "foreign/guide",
            "foreign/guards",
            "foreign/postgres",
            "foreign/verifiers",
            "foreign/relying_parties",
        ]
        .into_iter()
        .any(|file| own(&format!("tests/it/{file}.rs"), format!("block(\"{page}\", \"{name}\")"))),
    }
}

/// Checks a block, and that the page says so if it is not tried.
fn check(Block { page, name, content, after }: Block) -> (String, String) {
    let Some(name) = name else { panic!("{page} has a block without a name before it: {content}") };
    let reason = NOT_RUN.iter().find(|(of, known, ..)| (*of, *known) == (&page, &name));
    match reason {
        Some((.., known, Elsewhere(reason) | NotTried(reason))) => {
            assert_eq!(content, *known, "{page} {name}: is this still true: {reason}?");
            assert!(!is_run(&page, &name), "{page} {name} is run, and needs no reason");
        }
        None => assert!(is_run(&page, &name), "{page} {name}: no test runs this block"),
    }
    let is_tried = !matches!(reason, Some((.., NotTried(_))));
    assert_eq!(after.starts_with(MARK), !is_tried, "{page} {name}: what the page says below it");
    (page, name)
}

#[test]
fn every_block_of_commands_and_every_program_is_run_or_has_a_reason_why_not() {
    let languages = [&SHELLS[..], &PROGRAMS].concat();
    let pages = pages();
    let pages = pages.iter().filter(|page| *page != GENERATED);
    let seen: Vec<_> = pages.flat_map(|page| blocks_of(page, &languages)).map(check).collect();
    let is_there =
        |page: &str, name: &str| seen.iter().any(|(of, known)| of == page && known == name);
    for (page, name) in BLOCKS.iter().map(|case| (case.page, case.name)) {
        assert!(is_there(page, name), "{page} has no block {name}");
    }
    for (page, name, ..) in NOT_RUN {
        assert!(is_there(page, name), "{page} has no block {name}");
    }
    // The check would also pass if it found nothing.
    assert!(seen.len() >= 30, "{}", seen.len());
    assert!(blocks_of(GENERATED, &SHELLS).len() >= 15);
}

#[test]
fn the_gallery_shows_each_picture_of_a_page_once() {
    let gallery = read("docs/guide/gallery.md");
    let folder = std::fs::read_dir(project().join("docs/guide/pages")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names {
        assert_eq!(gallery.matches(&format!("(pages/{name})")).count(), 1, "{name}");
    }
    for place in gallery.split("(pages/").skip(1) {
        let name = place.split(')').next().unwrap();
        assert!(project().join("docs/guide/pages").join(name).exists(), "{name}");
    }
}
