//! Files that an import must survive: each broken record is named, and no other is lost.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::moving::{HASH, PASSWORD, counts, fixture};
use crate::support::Server;
use crate::terminal::{fault, out, tessera};

fn places(said: &Value) -> Vec<String> {
    let refused = said["refused"].as_array().unwrap().iter();
    refused.map(|one| one["place"].as_str().unwrap().to_owned()).collect()
}

fn reason<'a>(said: &'a Value, place: &str) -> &'a str {
    let refused = said["refused"].as_array().unwrap().iter();
    let found = refused.into_iter().find(|one| one["place"] == place);
    found.unwrap_or_else(|| panic!("{place}: {said}"))["reason"].as_str().unwrap()
}

fn line(email: &str) -> String {
    json!({ "email": email, "hashed_password": HASH }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_record_is_named_with_its_line_and_no_other_is_lost() {
    let server = Server::start().await;
    let long = json!({ "email": "long@user.com", "x": "x".repeat(3 << 20) }).to_string();
    let lines = [
        &line("a@user.com")[..],
        "",
        "not JSON",
        "[1, 2",
        "]",
        "{\"email\": \"cut@user.com",
        &line("b@user.com"),
        "{\"email\": \"nul\0@user.com\"}",
        "{\"email\": \"nul\\u0000@user.com\"}",
        &long,
        &line("A@USER.com"),
        &line("nobody@localhost"),
        "{\"email\": 7}",
        "{\"email\": [\"c@user.com\"], \"is_active\": \"perhaps\"}",
        &json!({ "email": "name@user.com", "name": "a\nb" }).to_string(),
        &json!({ "email": "id@user.com", "id": "x".repeat(300) }).to_string(),
        &json!({ "email": "super@user.com", "scopes": ["super"] }).to_string(),
        &line("c@user.com"),
        "{\"email\": \"d@user.com\", \"hashed",
    ];
    let text = lines.join("\n");
    let said = server.moved_text("users.jsonl", &text, &["--format", "jsonl"]);
    let created =
        server.database.column::<String>("select email from \"user\" order by email").await;
    assert_eq!(created, ["a@user.com", "b@user.com", "c@user.com"], "{said}");
    for (line, words) in [
        ("line 3", "not a JSON object"),
        ("line 6", "not valid JSON"),
        ("line 8", "not valid JSON"),
        ("line 9", "not valid"),
        ("line 10", "longer than"),
        ("line 11", "line 1 has the same value"),
        ("line 12", "period"),
        ("line 13", "@-sign"),
        ("line 14", "is_active"),
        ("line 15", "one line"),
        ("line 16", "id:"),
        ("line 17", "scope super"),
        ("line 19", "not complete"),
    ] {
        assert!(reason(&said, line).contains(words), "{line}: {said}");
    }
    // The file is whole the second time, so what was missing is added.
    let text = text.replace("{\"email\": \"d@user.com\", \"hashed", &line("d@user.com"));
    assert_eq!(
        counts(&server.moved_text("users.jsonl", &text, &["--format", "jsonl"]))[..2],
        [1, 3]
    );
    server.sign_in("d@user.com", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_formulas_and_open_quotes_loses_only_those_lines() {
    let server = Server::start().await;
    let row = |email: &str, name: &str| format!("{email},{HASH},{name}\n").into_bytes();
    let text = [
        b"email,hashed_password,name\n".to_vec(),
        row("a@user.com", "=HYPERLINK(1)"),
        row("b@user.com", "+49"),
        row("c@user.com", "'=right"),
        row("=d@user.com", "x"),
        row("e@user.com", "\"open"),
        row("f@user.com", "\"two\nlines\""),
        row("g@user.com", "plain"),
        [b"h@user.com,x,\xff\n".as_slice()].concat(),
        b"i@user.com\n".to_vec(),
        row("G@user.com", "again"),
        [b"j".to_vec(), b"j".repeat(2 << 20), b"\n".to_vec()].concat(),
        row("k@user.com", "5\" disk"),
        row("l@user.com", "last\0"),
        row("m@user.com", "last"),
    ]
    .concat();
    let said = server.moved_text("people.csv", &text, &[]);
    let found = places(&said);
    assert_eq!(
        found,
        [
            "line 2", "line 3", "line 5", "line 6", "line 7", "line 10", "line 11", "line 12",
            "line 13", "line 15"
        ],
        "{said}"
    );
    assert!(reason(&said, "line 2").contains("formula"), "{said}");
    assert!(reason(&said, "line 12").contains("line 9 has the same value"), "{said}");
    let mut names = server.database.column::<String>("select name from profile").await;
    names.sort();
    assert_eq!(names, ["5\" disk", "=right", "last", "plain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_export_is_refused_as_a_whole() {
    let server = Server::start().await;
    let zip = [b"PK\x03\x04".as_slice(), &[0; 64]].concat();
    let utf16: Vec<u8> =
        "\u{feff}{\"email\": \"a@user.com\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let sqlite = std::fs::read(fixture("fastapi-users-int.db")).unwrap();
    let realm = std::fs::read(fixture("keycloak-realm.json")).unwrap();
    for (content, arguments, words) in [
        (&b""[..], &[][..], "is empty"),
        (b"\n\n", &[], "no line"),
        (b"[]", &[], "no users"),
        (b"{\"realm\": \"x\", \"users\": []}", &["--format", "keycloak"], "no users"),
        (&zip, &[], "compressed"),
        (&utf16, &[], "UTF-16"),
        (&[0; 4096], &[], "no text"),
        (b"\x7fELF\x02\x01\x01\0\0\0", &[], "no text"),
        (&sqlite[..5000], &[], "damaged"),
        (b"SQLite format 3\0", &[], "damaged"),
        (b"<html>\n<body>", &[], "not clear"),
        (b"{\"a\": 1}\n{\"b\": 2}", &[], "not clear"),
        (b"a@user.com,x\n", &[], "names of the columns"),
        (b"email,email\n", &[], "two columns"),
        (b"email\na@user.com\n", &["--format", "keycloak"], "but this is comma-separated values"),
        (&realm, &["--format", "csv"], "but this is JSON"),
        (&sqlite, &["--format", "firebase"], "but this is a SQLite database"),
        (&sqlite, &["--format", "django"], "--table"),
        (&sqlite, &["--format", "django", "--table", "us\"er"], "no table"),
    ] {
        std::fs::write(server.folder().join("file"), content).unwrap();
        let output = tessera(&server, &[&["import", "file"], arguments].concat());
        let said = fault(&output);
        assert_eq!(output.status.code(), Some(1), "{words}: {}{said}", out(&output));
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(server.database.count("\"user\"").await, 0);
    // A realm that was cut gives its whole users, and says that it is not complete.
    for (cut, expected) in [(realm.len() - 6, [3, 0, 1]), (2000, [1, 2, 1]), (1500, [0, 1, 1])] {
        let said = server.moved_text("cut.json", &realm[..cut], &["--format", "keycloak"]);
        let [created, known, refused] = counts(&said);
        assert_eq!(refused, expected[2], "{cut}: {said}");
        assert!(created + known >= 1 && said.to_string().contains("complete"), "{cut}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_of_one_file_at_once_create_each_user_once() {
    let server = Server::start().await;
    let lines: Vec<_> = (0..900)
        .map(|at| json!({ "id": at, "email": format!("U{at}@user.com"), "hashed_password": HASH, "name": "Ö" }).to_string())
        .collect();
    std::fs::write(server.folder().join("one.jsonl"), lines.join("\n")).unwrap();
    let turned: Vec<_> = lines.iter().rev().cloned().collect();
    std::fs::write(server.folder().join("two.jsonl"), turned.join("\n")).unwrap();
    let begin = |file: &str| {
        let mut command = server.beside();
        command.args(["import", file, "--output", "json", "--source", "x"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [begin("one.jsonl"), begin("two.jsonl")];
    let mut created = 0;
    for one in both {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{}{}", out(&output), fault(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [new, known, refused] = counts(&said);
        assert_eq!((new + known, refused), (900, 0), "{said}");
        created += new;
    }
    assert_eq!(created, 900);
    assert_eq!(server.database.count("\"user\"").await, 900);
    assert_eq!(server.database.count("imported_user").await, 900);
    assert_eq!(server.database.count("user_search where text like '%ö%'").await, 900);
    let audited = "select count(distinct subject) from (select subject, act from audit union all \
                   select subject, act from audit_pending) as acts where act = 'user-import'";
    assert_eq!(server.database.column::<i64>(audited).await, [900]);
}
