//! The commands of the guide work. `once::blocks` checks that none is left out.

use std::path::Path;
use std::time::Duration;

use super::readme::{DevServer, type_in};
use crate::once::{block, tool};

/// A block of the guide, and how it is run.
pub(crate) struct Case {
    pub(crate) page: &'static str,
    pub(crate) name: &'static str,
    /// The commands that give the reader what the block needs.
    before: &'static str,
    /// Parts that stand for values of the reader, with values.
    replaced: &'static [(&'static str, &'static str)],
    after: &'static str,
    /// Texts that are printed.
    printed: &'static [&'static str],
}

const PLAIN: Case = Case { page: "", name: "", before: "", replaced: &[], after: "", printed: &[] };

/// The database of another program.
const FASTAPI_USERS: &str = "sqlite3 fastapi-users.db <<'END'
create table user (id char(36) primary key, email varchar(320), hashed_password varchar(1024),
    is_active boolean, is_superuser boolean, is_verified boolean);
insert into user values ('29a2fb1d-4673-42f1-9dad-c64a3caf62a7', 'old@user.com',
    '$2b$04$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW', 1, 0, 0);
END
";

/// The blocks that run as they are, in the order in which a reader could run them. `$token` is a superuser's.
pub(crate) const BLOCKS: &[Case] = &[
    Case {
        page: "docs/guide/api-tokens.md",
        name: "make",
        printed: &["201 Created", "\"token\": \"tsr_"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/api-tokens.md",
        name: "service",
        printed: &["\"name\": \"billing\"", "\"token\": \"tsr_"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/api-tokens.md",
        name: "introspect",
        before: "api_token=$(http POST :8000/auth/tokens username=billing --auth-type=jwt --auth=$token | jq -r .token)\n",
        printed: &["\"active\": true"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/audit.md",
        name: "read",
        printed: &["token-create", "The audit has"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/audit.md",
        name: "expect",
        before: "position=$(tessera audit verify | grep -oE '[0-9]+:[0-9a-f]{64}')\n",
        replaced: &[("1234:9f86d081…", "$position")],
        printed: &["The audit has"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/revocation.md",
        name: "token",
        printed: &["reports", "tsr_"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/import.md",
        name: "import",
        before: FASTAPI_USERS,
        printed: &["1 would be created", "1 created"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/import.md",
        name: "own",
        before: "printf 'mail,pw\\nown@user.com,\\n' > people.csv\n",
        printed: &["1 read: 1 created", "1 created without a password"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/import.md",
        name: "two",
        before: "echo '[{\"id\": 1, \"email\": \"shop@user.com\"}]' > shop.json\n\
                 echo '[{\"id\": 1, \"email\": \"blog@user.com\"}]' > blog.json\n",
        printed: &["1 read: 1 created"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/django.md",
        name: "import",
        before: concat!(
            "cp ",
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/fixtures/imports/django-dumpdata.json users.json\nset +e\n"
        ),
        after: "true\n",
        printed: &["11 read: 10 would be created", "1 created as superuser: dj.root@user.com"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/keycloak.md",
        name: "import",
        before: concat!(
            "cp ",
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/fixtures/imports/keycloak-realm.json realm.json\n"
        ),
        printed: &["3 read: 3 created"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/mail.md",
        name: "production",
        after: "export MAIL_URL MAIL_FROM PUBLIC_URL\nAPP_SECRET_FILE=tessera.secret tessera config check\n",
        printed: &["The settings are valid"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/passwords.md",
        name: "filter",
        before: "printf 'password\\nletmein\\n' > passwords.txt\n",
        replaced: &[("tessera serve", "tessera config check --dev")],
        printed: &["breach.filter contains 2 passwords", "The settings are valid"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/verifying.md",
        name: "derive",
        before: "export JWT_AUDIENCES=billing\n",
        ..PLAIN
    },
    Case {
        page: "docs/guide/verifying.md",
        name: "export",
        before: "export JWT_AUDIENCES=billing\ntessera keys rotate --algorithm ES256 --now\n",
        printed: &["-----BEGIN PUBLIC KEY-----", "\"keys\"", "\"kty\":\"oct\""],
        ..PLAIN
    },
    Case {
        page: "docs/guide/backup.md",
        name: "backup",
        printed: &["backed up: users-2026-11-29.db", "Without APP_SECRET"],
        ..PLAIN
    },
    Case {
        page: "docs/guide/backup.md",
        name: "try",
        before: "export APP_SECRET=$(cat tessera.secret)\n",
        printed: &["restored: ./trial.db", "Ended: ", "first@user.com"],
        ..PLAIN
    },
    // Not run by the loop: its second line needs the code of a mail.
    Case { page: "docs/guide/mail.md", name: "code", ..PLAIN },
];

/// Makes the superuser who has `$token`.
const READER: &str = "http --check-status POST :8000/auth/register email=first@user.com password=blurp
sqlite3 tessera.db \"update user set is_superuser=1 where email='first@user.com'\"
sleep 1
token=$(http --form POST :8000/auth/jwt/login username=first@user.com password=blurp | jq --raw-output '.access_token')
echo \"$token\" > token
";

#[test]
fn the_commands_of_the_guide_work() {
    let folder = tempfile::tempdir().unwrap();
    tool("http");
    let server = DevServer::start(folder.path());
    type_in(folder.path(), READER);
    let (code, others) = BLOCKS.split_last().unwrap();
    for Case { page, name, before, replaced, after, printed } in others {
        let lines = replaced.iter().fold(block(page, name), |lines, (from, to)| {
            assert!(lines.contains(from), "{page} {name}: {from}");
            lines.replace(from, to)
        });
        let said = type_in(folder.path(), &format!("token=$(cat token)\n{before}{lines}{after}"));
        for expected in *printed {
            assert!(said.contains(expected), "{page} {name}: {expected}: {said}");
        }
    }
    // It ends the sessions of the reader.
    choose_password(folder.path(), &block(code.page, code.name));
    drop(server);
    // It needs a server that has stopped.
    let restore = block("docs/guide/backup.md", "restore");
    let secret = "export APP_SECRET=$(cat tessera.secret)\n";
    let said = type_in(folder.path(), &format!("{secret}{restore}"));
    assert!(said.contains("The previous database is ./tessera.db.before-restore-"), "{said}");
}

/// Types the two lines that choose a new password with the code of a mail.
fn choose_password(folder: &Path, lines: &str) {
    let (ask, choose) = lines.split_once('\n').unwrap();
    let asked = type_in(folder, ask);
    let (_, rest) = asked.split_once("x-code-binding: ").unwrap_or_else(|| panic!("{asked}"));
    let binding: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let code = (0..2000).find_map(|_| {
        // A server looks the request up and writes the mail within a few seconds, and this test is not asynchronous.
        std::thread::sleep(Duration::from_millis(50));
        code_in(folder)
    });
    let code = code.expect("a mail with a code is written");
    for part in ["4pQ…", "123456", "password=…"] {
        assert!(choose.contains(part), "{part}: {choose}");
    }
    let choose = choose
        .replace("4pQ…", &binding)
        .replace("123456", &code)
        .replace("password=…", "password='a password of the guide'");
    let said = type_in(folder, &choose);
    assert!(said.contains("200 OK"), "{said}");
}

/// Returns the code in the mail for a new password, if there is one.
fn code_in(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder.join("outbox")).ok()?;
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let is_reset = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("reset-password"))
    };
    let texts =
        paths.filter(|path| is_reset(path)).filter_map(|path| std::fs::read_to_string(path).ok());
    texts.into_iter().find_map(|text| Some(text.split_once("the code ")?.1.get(..6)?.to_owned()))
}
