//! Settings: their files, their errors, and the command that checks them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{read, run, text};
use crate::support::{SECRET, command};

/// Files `.env`, each with the value of BRAND_NAME in it. A test in `foreign` compares them with python-dotenv, for which
/// OUTSIDE is set in the environment. The empty text counts as not set.
pub(crate) const ENV_FILES: &[(&str, &str)] = &[
    ("BRAND_NAME=plain", "plain"),
    ("BRAND_NAME = spaced out  ", "spaced out"),
    ("  export BRAND_NAME=exported\n", "exported"),
    ("export\tBRAND_NAME=exported\n", "exported"),
    ("exportBRAND_NAME=no\n", ""),
    ("BRAND_NAME=", ""),
    ("BRAND_NAME=\"\"", ""),
    ("BRAND_NAME", ""),
    ("'BRAND_NAME'=quoted name", "quoted name"),
    ("BRAND_NAME=one\nBRAND_NAME=two", "two"),
    ("BRAND_NAME=one\nBRAND_NAME", ""),
    ("BRAND_NAME=a # comment", "a"),
    ("BRAND_NAME=a#no comment", "a#no comment"),
    ("BRAND_NAME=a\t#comment", "a"),
    ("BRAND_NAME=#first", "#first"),
    ("BRAND_NAME= #first", ""),
    ("#BRAND_NAME=no", ""),
    ("BRAND_NAME='single'", "single"),
    ("BRAND_NAME=\"double\" # comment", "double"),
    ("BRAND_NAME=\"double\"#comment", "double"),
    ("BRAND_NAME=\"double\" more", ""),
    ("BRAND_NAME='a \\' b'", "a ' b"),
    ("BRAND_NAME='a \\n b'", "a \\n b"),
    ("BRAND_NAME='a \\\\ b'", "a \\ b"),
    ("BRAND_NAME='a \" b'", "a \" b"),
    ("BRAND_NAME='a\\\\'", "a\\"),
    ("BRAND_NAME=\"a \\\" b\"", "a \" b"),
    ("BRAND_NAME=\"a\\\\\" # comment", "a\\"),
    ("BRAND_NAME=\"a\\tb\\nc\\\\d\\x\\'\"", "a\tb\nc\\d\\x'"),
    ("BRAND_NAME=\"two\nlines\"", "two\nlines"),
    ("BRAND_NAME='two\nlines'\n", "two\nlines"),
    ("BRAND_NAME=\"open\nPORT=1", ""),
    ("BRAND_NAME=\"open\\\"\nPORT=1\n", ""),
    ("BRAND_NAME=it's", "it's"),
    ("BRAND_NAME=a \"b\" c", "a \"b\" c"),
    ("BRAND_NAME=a\\nb\\", "a\\nb\\"),
    ("BRAND_NAME=0123$tail_of_it", "0123$tail_of_it"),
    ("BRAND_NAME=\"0123$tail_of_it\"", "0123$tail_of_it"),
    ("BRAND_NAME=${OUTSIDE}!", "from outside!"),
    ("BRAND_NAME='${OUTSIDE}'", "from outside"),
    ("BRAND_NAME=a${NOWHERE}b", "ab"),
    ("BRAND_NAME=${NOWHERE:-a default}", "a default"),
    ("BRAND_NAME=${OUTSIDE:-a default}", "from outside"),
    ("BRAND_NAME=${NOWHERE:-}x", "x"),
    ("BRAND_NAME=${NOWHERE:x}", "${NOWHERE:x}"),
    ("BRAND_NAME=${NOWHERE", "${NOWHERE"),
    ("BRAND_NAME=$${OUTSIDE}$", "$from outside$"),
    ("BRAND_NAME=${}x", "x"),
    ("BRAND_NAME=${ ${OUTSIDE}", ""),
    ("FIRST=one\nBRAND_NAME=${FIRST} two", "one two"),
    ("BRAND_NAME=${LATER}x\nLATER=one", "x"),
    ("OUTSIDE=inside\nBRAND_NAME=${OUTSIDE}", "from outside"),
    ("FIRST\nBRAND_NAME=x${FIRST:-y}", "x"),
    ("PORT=1\r\nBRAND_NAME=windows\r\n", "windows"),
    ("PORT=1\rBRAND_NAME=old mac\r", "old mac"),
    ("\n\n \t\nBRAND_NAME=after blank lines", "after blank lines"),
    ("not a pair\nBRAND_NAME=after a fault", "after a fault"),
    ("=nothing\nBRAND_NAME=after a fault", "after a fault"),
    ("A='open\nBRAND_NAME=inside", "inside"),
    ("BRAND_NAME=Ünïcödé ☃", "Ünïcödé ☃"),
    ("BRAND_NAME=\u{a0}x\u{a0}", "x"),
    ("BRAND_NAME=x\u{1f}#y", "x"),
    ("\u{feff}BRAND_NAME=after a mark", "after a mark"),
    ("BRAND_NAME: colon", ""),
];

fn settings_of(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    run(command(folder).args(arguments).envs(variables.iter().copied()))
}

#[test]
fn an_environment_file_is_read_as_python_dotenv_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in ENV_FILES {
        std::fs::write(folder.path().join(".env"), content).unwrap();
        let output =
            settings_of(folder.path(), &["config", "print"], &[("OUTSIDE", "from outside")]);
        let printed = text(&output.stdout);
        let (_, rest) = printed.split_once("BRAND_NAME=").unwrap_or_else(|| {
            panic!("{content:?}: {}", text(&output.stderr));
        });
        let value = rest.split_once("\nBRAND_LOGO=").unwrap().0;
        let expected = if expected.is_empty() { "Tessera" } else { expected };
        assert_eq!(value, expected, "{content:?}");
    }
    for (content, said) in [(&b"PORT=\xff"[..], "UTF-8"), (b"BRAND_NAME=a\0b", "NUL")] {
        std::fs::write(folder.path().join(".env"), content).unwrap();
        let output = settings_of(folder.path(), &["config", "print"], &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

/// The variables of the settings that the guide lists, with their defaults.
fn of_the_guide() -> Vec<(String, String)> {
    let page = read("docs/guide/settings.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<_> =
            line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
        let default = if cells[2] == "none" { "" } else { cells[2] };
        (cells[0].to_owned(), default.to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn the_settings_of_the_guide_are_those_that_a_server_takes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = of_the_guide();
    assert!(settings.len() > 40, "{}", settings.len());
    // Its defaults are valid, and every name is known. An empty value counts as not set, for each of them.
    for own_dev in ["false", "true"] {
        let lines = settings.iter().map(|(name, default)| match name.as_str() {
            "TESSERA_DEV" => format!("TESSERA_DEV={own_dev}\n"),
            "APP_SECRET" => format!("APP_SECRET={SECRET}\n"),
            _ => format!("{name}={default}\n"),
        });
        std::fs::write(folder.path().join(".env"), lines.collect::<String>()).unwrap();
        let output = settings_of(folder.path(), &["config", "check"], &[]);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        assert!(!said.contains(".env"), "{said}");
    }
    std::fs::remove_file(folder.path().join(".env")).unwrap();
    let empty: Vec<_> = settings.iter().map(|(name, _)| (name.as_str(), "")).collect();
    let output = settings_of(folder.path(), &["config", "print", "--origin"], &empty);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!printed.contains("environment"), "{printed}");
}

#[test]
fn a_secret_that_a_file_contains_has_the_file_as_its_source_and_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let variables = [("APP_SECRET_FILE", file.to_str().unwrap()), ("APP_SECRET", "")];
    let output = settings_of(folder.path(), &["config", "print", "--origin"], &variables);
    let printed = text(&output.stdout);
    let line = |name: &str| {
        let mut lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|words| words[0] == name).unwrap_or_else(|| panic!("{name}: {printed}"))
    };
    assert_eq!(line("APP_SECRET"), ["APP_SECRET", "file", "(secret)"]);
    assert_eq!(line("APP_SECRET_FILE")[1], "environment");
    assert_eq!(line("DATABASE_URL")[1], "default");
    assert!(!printed.contains(SECRET), "{printed}");
}

#[test]
fn all_faults_of_settings_are_listed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        "MAIL_FORM=accounts@example.com\nOTHER_PROGRAMS_KEY=x\nnot a pair\nBRAND_LOGO=nowhere.svg\n",
    )
    .unwrap();
    let variables = [
        ("PUBLIC_URL", "foo"),
        ("ACCESS_TOKEN_EXPIRES", "15 minutes"),
        ("PORT", "http"),
        ("CORS_ORIGINS", "https://app.example.com,*"),
        ("TRUSTED_PROXIES", "nginx"),
        ("REGISTRATION", "sometimes"),
        ("RATE_LIMIT", "maybe"),
        ("DATABASE_URL", "postgres://user:hush@host/db?frobnicate=1"),
        ("APP_SECRET", "short-hush"),
        ("BCRYPT_COST", "4"),
        ("MAIL_URL", "smtp://user:hush@host"),
        ("RUST_LOG", "a=b=c"),
        ("ACCESS_TOKEN_EXPIRE", "900"),
    ];
    let said = [
        r#"PUBLIC_URL is "foo": it must be an http or https URL, such as https://id.example.com"#,
        r#"ACCESS_TOKEN_EXPIRES is "15 minutes": it must be a time from 1 to 86400 seconds (1d)"#,
        r#"PORT is "http": it must be a number from 0 to 65535, such as 8000"#,
        r#"CORS_ORIGINS is "*": it must name each origin"#,
        r#"TRUSTED_PROXIES is "nginx": it must be IP addresses and networks"#,
        r#"REGISTRATION is "sometimes": it must be open"#,
        r#"RATE_LIMIT is "maybe": it must be true or false"#,
        "DATABASE_URL must not have the parameter frobnicate",
        "APP_SECRET is shorter than 32 bytes",
        "BCRYPT_COST is below 10",
        "MAIL_URL is set, but MAIL_FROM is not",
        "RUST_LOG is",
        "BRAND_LOGO",
        "line 3 of .env is not of the form NAME=value",
        ".env sets MAIL_FORM, which is not a setting of Tessera: did you mean MAIL_FROM?",
        "the environment sets ACCESS_TOKEN_EXPIRE, which is not a setting of Tessera: did you mean ACCESS_TOKEN_EXPIRES?",
        "OTHER_PROGRAMS_KEY",
        "13 faults, 3 warnings.",
    ];
    let output = settings_of(folder.path(), &["config", "check"], &variables);
    let listed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{listed}{}", text(&output.stderr));
    for said in said {
        assert!(listed.contains(said), "{said}: {listed}");
    }
    assert!(!listed.contains("hush"), "{listed}");

    let json = settings_of(folder.path(), &["config", "check", "--json"], &variables);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["ok"], false);
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.iter().filter(|finding| finding["level"] == "fault").count(), 13);

    // Every other command names all faulty values, too.
    let output = settings_of(folder.path(), &["migrate", "status"], &variables);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 8, "{errors}");
    // Printing needs no valid combination of settings.
    let output = settings_of(folder.path(), &["config", "print", "--port", "9"], &[("PORT", "8")]);
    assert!(text(&output.stdout).contains("PORT=9\n"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("BRAND_LOGO=nowhere.svg"));
}

#[test]
fn each_fault_is_listed_once_and_shows_an_example_of_its_own_kind() {
    let folder = tempfile::tempdir().unwrap();
    for (variables, said, not_said) in [
        // A fault of MAIL_URL does not wait for MAIL_FROM.
        (
            vec![("MAIL_URL", "http://mail.example.com")],
            vec!["MAIL_URL is not a URL", "MAIL_FROM is not"],
            "",
        ),
        (
            vec![("MAIL_URL", "smtp://mail.example.com?tls=never")],
            vec!["MAIL_URL is not a URL", "?tls=none", "MAIL_FROM is not"],
            "",
        ),
        (vec![("DATABASE_URL", "postgres:/x")], vec!["postgres://user:password@host"], "sqlite"),
        (vec![("DATABASE_URL", "postgresql://u:p@h:port/d")], vec!["postgres://"], "sqlite"),
        (vec![("DATABASE_URL", "\"postgres://h/d\"")], vec!["must not be in quotation marks"], ""),
        (
            vec![("MAIL_FROM", "Example"), ("MAIL_URL", "smtp://h?tls=none")],
            vec!["MAIL_FROM is \"Example\""],
            "MAIL_FROM is not",
        ),
        (vec![("DATABASE_URL", "mysql://h/d")], vec!["sqlite:///./tessera.db"], ""),
        (
            vec![("COOKIE_NAME", "__Host-tessera"), ("TESSERA_DEV", "true")],
            vec!["COOKIE_NAME is \"__Host-tessera\""],
            "",
        ),
    ] {
        let output = settings_of(folder.path(), &["config", "check"], &variables);
        let listed = text(&output.stdout) + &text(&output.stderr);
        assert!(!output.status.success(), "{variables:?}: {listed}");
        for said in said {
            assert_eq!(listed.matches(said).count(), 1, "{said}: {listed}");
        }
        assert!(not_said.is_empty() || !listed.contains(not_said), "{variables:?}: {listed}");
    }
}

#[test]
fn values_are_accepted_in_the_spellings_that_people_use() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, flag) in [
        ("HOST", "localhost", "--host=localhost"),
        ("HOST", "[::]", "--host=[::]"),
        ("TRUSTED_PROXIES", "[::1],10.0.0.0/8", "--trusted-proxies=[2001:db8::1]"),
        ("ACCESS_TOKEN_EXPIRES", "15m", "--access-token-expires=15m"),
        ("REFRESH_TOKEN_EXPIRES", "30d", "--refresh-token-expires=30d"),
        ("SESSION_EXPIRES", "52w", "--session-expires=52w"),
        ("JWT_LEEWAY", "2s", "--jwt-leeway=2s"),
        (
            "DATABASE_URL",
            "postgres://u@[::1]/d?sslmode=require&channel_binding=require",
            "--port=1",
        ),
        ("RATE_LIMIT", "off", "--rate-limit=no"),
        ("RATE_LIMIT", "TRUE", "--rate-limit=On"),
        ("REGISTRATION", "Open", "--registration=INVITE"),
        ("MIGRATE", "AUTO", "--migrate=Check"),
        ("LOG_FORMAT", "JSON", "--log-format=Pretty"),
        ("SQLITE_SYNCHRONOUS", "FULL", "--sqlite-synchronous=Normal"),
        ("JWT_ALGORITHM", "hs256", "--jwt-algorithm=EDDSA"),
        ("JWT_ALGORITHM", "es256", "--jwt-algorithm=Rs256"),
        ("CSRF_CHECK", "Origin", "--csrf-check=TOKEN"),
    ] {
        let output =
            settings_of(folder.path(), &["config", "check", "--dev", flag], &[(name, value)]);
        assert!(output.status.success(), "{name}={value}: {}", text(&output.stdout));
    }
    // In development, the default of PUBLIC_URL follows the port.
    let url = |arguments: &[&str], variables: &[(&str, &str)]| {
        let words = [&["config", "print"], arguments].concat();
        let printed = text(&settings_of(folder.path(), &words, variables).stdout);
        printed
            .lines()
            .find_map(|line| line.strip_prefix("PUBLIC_URL=").map(str::to_owned))
            .unwrap()
    };
    assert_eq!(url(&["--dev"], &[("PORT", "9000")]), "http://localhost:9000");
    assert_eq!(url(&["--dev", "--port=0"], &[]), "http://localhost:8000");
    assert_eq!(url(&[], &[("PORT", "9000")]), "http://localhost:8000");
    let own = [("PORT", "9000"), ("PUBLIC_URL", "http://localhost:8000")];
    assert_eq!(url(&["--dev"], &own), "http://localhost:8000");
}

#[test]
fn the_error_for_a_sqlite_file_has_the_path_that_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    let tried = |url: &str| {
        text(&settings_of(folder.path(), &["migrate", "up"], &[("DATABASE_URL", url)]).stderr)
    };
    // A command that only looks creates no database, and explains the slashes too.
    let looked =
        settings_of(folder.path(), &["user", "list"], &[("DATABASE_URL", "sqlite:///tmp/x.db")]);
    let looked = text(&looked.stderr);
    let file = folder.path().join("tmp/x.db");
    assert!(
        looked.contains(file.to_str().unwrap()) && looked.contains("sqlite:////tmp/x.db"),
        "{looked}"
    );
    let relative = tried("sqlite:///tmp/x.db");
    let path = folder.path().join("tmp/x.db");
    assert!(relative.contains(path.to_str().unwrap()), "{relative}");
    assert!(relative.contains("does not exist"), "{relative}");
    assert!(relative.contains("four an absolute path, such as sqlite:////tmp/x.db"), "{relative}");
    let absolute = tried("sqlite:////nowhere/x.db");
    assert!(absolute.contains("/nowhere/x.db") && !absolute.contains("three"), "{absolute}");
}

#[test]
fn a_list_of_another_kind_makes_no_filter_of_stolen_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("ntlm.txt");
    let lines: String = (0..50).map(|number| format!("{number:032X}:7\n")).collect();
    std::fs::write(&list, lines).unwrap();
    let built = run(Command::new(env!("CARGO_BIN_EXE_tessera"))
        .current_dir(folder.path())
        .args(["breach", "build", "ntlm.txt"]));
    let said = text(&built.stderr);
    assert_eq!(built.status.code(), Some(1), "{said}");
    assert!(said.contains("NTLM") && said.contains("SHA-1") && said.contains("ntlm.txt"), "{said}");
    assert!(!folder.path().join("breach.filter").exists());

    let utf_16 = |mark: &[u8], text: &str| {
        let pairs = text.encode_utf16().flat_map(u16::to_le_bytes);
        mark.iter().copied().chain(pairs).collect::<Vec<_>>()
    };
    let lines = |line: &str| format!("{line}\n").repeat(40).into_bytes();
    for (content, words) in [
        (lines("W6ph5Mm5Pz8GgiULbPgzG37mj9g="), "SHA-1 digests in base64"),
        (lines("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), "LDAP"),
        (lines("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"), "MySQL"),
        (lines("ada@user.com:correct horse"), "leave only the passwords"),
        (utf_16(b"\xff\xfe", "password\r\nletmein\r\n"), "iconv"),
        (utf_16(b"", &"password\r\nletmein\r\n".repeat(9)), "iconv"),
        (b"\x1f\x8b\x08\0".to_vec(), "gzip"),
        (b"PK\x03\x04".to_vec(), "zip archive"),
        (b"<!DOCTYPE html>\n<html>\n".to_vec(), "web page"),
        (Vec::new(), "contains no password"),
    ] {
        std::fs::write(&list, content).unwrap();
        let built = run(Command::new(env!("CARGO_BIN_EXE_tessera"))
            .current_dir(folder.path())
            .args(["breach", "build", "ntlm.txt"]));
        let said = text(&built.stderr);
        assert!(built.status.code() == Some(1) && said.contains(words), "{words}: {said}");
        assert!(!folder.path().join("breach.filter").exists());
    }
}

/// The client for a mail server needs a runtime, which a command that only reads settings may not have.
#[test]
fn a_check_accepts_what_a_server_accepts_and_refuses_what_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let check = |variables: &[(&str, &str)]| {
        let own = [("APP_SECRET", crate::support::SECRET)];
        let output =
            settings_of(folder.path(), &["config", "check"], &[&own[..], variables].concat());
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    for url in ["smtp://127.0.0.1:2525?tls=none", "smtps://user:password@mail.example.com"] {
        let (status, said) = check(&[("MAIL_URL", url), ("MAIL_FROM", "a@example.com")]);
        assert_eq!(status, Some(0), "{url}: {said}");
    }
    for (name, value, words) in [
        ("CLIENTS_FILE", "/nowhere.yaml", "CLIENTS_FILE is \"/nowhere.yaml\""),
        ("CLIENTS", "foo", "CLIENTS: line 1"),
        ("CLIENTS", "clients:\n- client_ID: a\n", "line 2"),
        ("ACCESS_TOKEN_CLAIMS", "foo", "ACCESS_TOKEN_CLAIMS"),
        ("ACCESS_TOKEN_CLAIMS", "sub=email", "ACCESS_TOKEN_CLAIMS"),
    ] {
        let (status, said) = check(&[(name, value)]);
        assert!(status == Some(1) && said.contains(words), "{name}={value}: {said}");
    }
}

#[test]
fn a_folder_that_does_not_exist_is_named_before_the_secret_that_would_be_in_it() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["sqlite:///tmp/x.db", "sqlite:///./a/b/x.db"] {
        let output = settings_of(folder.path(), &["serve", "--dev"], &[("DATABASE_URL", url)]);
        let said = text(&output.stderr);
        assert!(said.contains("does not exist") && said.contains("four"), "{url}: {said}");
        assert!(said.contains(folder.path().to_str().unwrap()), "{url}: {said}");
    }
}
