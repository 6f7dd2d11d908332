//! Moving in: users of other systems, with the hashes that those made.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Browser, Kind, SECRET, Server};
use crate::terminal::{fault, json_of, out, remotely, tessera};

/// The password of everybody in the fixtures.
pub(crate) const PASSWORD: &str = "Imported-Passw0rd-7";

/// A hash of that password.
pub(crate) const HASH: &str = "$2b$04$yaOcqffnEl7KaJJ/gUnkruHJVabw.xgH./iNZ8iLl4T0qrr0NSBde";

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/imports").join(name)
}

impl Server {
    /// Imports a file and returns the report, which must account for every user.
    pub(crate) fn moved(&self, file: &Path, arguments: &[&str]) -> Value {
        let file = file.to_str().unwrap();
        let output =
            tessera(self, &[&["import", file, "--output", "json"][..], arguments].concat());
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{file}: {}{}", out(&output), fault(&output)));
        let refused = said["refused"].as_array().unwrap().len();
        assert_eq!(output.status.success(), refused == 0, "{file}: {}", fault(&output));
        assert_eq!(fault(&output), "", "{file}");
        let number = |name: &str| usize::try_from(said[name].as_u64().unwrap()).unwrap();
        assert_eq!(number("read"), number("created") + number("known") + refused, "{said}");
        assert!(!out(&output).contains('$'), "the report must contain no hash: {said}");
        said
    }

    /// Imports a text.
    pub(crate) fn moved_text(
        &self,
        name: &str,
        text: impl AsRef<[u8]>,
        arguments: &[&str],
    ) -> Value {
        let file = self.folder().join(name);
        std::fs::write(&file, text).unwrap();
        self.moved(&file, arguments)
    }

    /// Signs users in, a few at once, and returns the hashes before and after.
    async fn signed_in(&self, emails: &[String]) -> Vec<(String, String)> {
        let mut hashes = Vec::new();
        for some in emails.chunks(3) {
            hashes.extend(
                join_all(some.iter().map(async |email| {
                    let before = self.stored_hash(email).await;
                    let answer = self.login(email, PASSWORD).await;
                    assert_eq!(answer.status, 200, "{email}: {}", answer.body);
                    (before, self.stored_hash(email).await)
                }))
                .await,
            );
        }
        hashes
    }

    async fn stored_hash(&self, email: &str) -> String {
        let sql = format!("select hashed_password from \"user\" where email = '{email}'");
        self.database.column::<String>(&sql).await.remove(0)
    }

    async fn user_named(&self, token: &str, text: &str) -> Value {
        let found = self.get(&format!("/users?q={text}")).bearer(token).send().await;
        let found = found.expect_status(200).json["items"].as_array().unwrap().clone();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found[0].clone()
    }
}

pub(crate) fn counts(said: &Value) -> [u64; 3] {
    let refused = said["refused"].as_array().unwrap().len();
    [said["created"].as_u64().unwrap(), said["known"].as_u64().unwrap(), refused as u64]
}

/// The exports, each with its format, the users that are created, known and refused, and those without a password.
const EXPORTS: [(&str, &str, [u64; 3], u64); 20] = [
    ("django-dumpdata.json", "django", [10, 0, 1], 2),
    ("django-dumpdata.jsonl", "django", [0, 10, 1], 0),
    ("django-sqlite3-json.json", "django", [0, 10, 1], 0),
    ("django-auth_user.csv", "django", [0, 10, 1], 0),
    ("fastapi-users-uuid.db", "fastapi-users", [3, 0, 1], 0),
    ("fastapi-users-int.db", "fastapi-users", [3, 0, 0], 0),
    ("fastapi-users-extra-columns.db", "fastapi-users", [3, 0, 0], 0),
    ("keycloak-realm.json", "keycloak", [3, 0, 0], 0),
    ("auth0.ndjson", "auth0", [1, 0, 0], 0),
    ("supabase-auth.users.csv", "supabase", [1, 0, 0], 0),
    ("okta.csv", "okta", [1, 0, 0], 0),
    ("okta-api.json", "okta", [2, 0, 0], 1),
    ("laravel-users.json", "laravel", [1, 0, 0], 0),
    ("firebase.json", "firebase", [1, 0, 0], 1),
    ("htpasswd", "htpasswd", [3, 0, 0], 1),
    ("shape-array.json", "jsonl", [1, 0, 0], 0),
    ("shape-pretty.json", "jsonl", [1, 0, 0], 0),
    ("shape-blank-lines.jsonl", "jsonl", [1, 0, 0], 0),
    ("shape-crlf.jsonl", "jsonl", [1, 0, 0], 0),
    ("shape-bom.jsonl", "jsonl", [1, 0, 0], 0),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_export_is_recognised_and_its_users_sign_in_with_their_passwords() {
    let server = Server::setup().set("RATE_LIMIT", false).start().await;
    let root = server.superuser("root").await;
    for (file, format, expected, without) in EXPORTS {
        let file = fixture(file);
        let mut tried = server.moved(&file, &["--dry-run"]);
        tried["dry_run"] = false.into();
        let said = server.moved(&file, &[]);
        assert_eq!(tried, said, "a dry run must say what happens");
        assert_eq!((said["format"].as_str(), &said["guessed"]), (Some(format), &json!(true)));
        assert_eq!(
            (counts(&said), said["without_password"].as_u64()),
            (expected, Some(without)),
            "{said}"
        );
        let users = server.database.count("\"user\"").await;
        let again = server.moved(&file, &[]);
        assert_eq!(counts(&again), [0, expected[0] + expected[1], expected[2]], "{again}");
        assert_eq!(server.database.count("\"user\"").await, users);
    }
    let emails = server.database.column::<String>(
        "select email from \"user\" where email not in ('root@user.com', 'dj.md5@user.com', \
         'dj.unusable@user.com', 'fire@user.com', 'ht.sha@user.com', 'okta.none@user.com') order by email",
    );
    let emails = emails.await;
    assert_eq!(emails.len(), 32);
    server.signed_in(&emails).await;
    for email in ["dj.md5@user.com", "dj.unusable@user.com", "fire@user.com", "ht.sha@user.com"] {
        server.login(email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    }
    // The values of each system are where they belong.
    for (email, expected) in [
        (
            "dj.pbkdf2sha256@user.com",
            json!({ "name": "Åsa", "surname": "Öberg", "external_id": "1", "created": 1_795_872_003, "is_superuser": false }),
        ),
        ("dj.root@user.com", json!({ "is_superuser": true, "external_id": "11" })),
        ("fauint1@user.com", json!({ "external_id": "2", "is_verified": false })),
        ("fauint0@user.com", json!({ "external_id": "1", "is_verified": true })),
        (
            "fauuuid0@user.com",
            json!({ "id": "e563f956-95bb-4c73-8560-be2a4308e463", "external_id": null }),
        ),
        (
            "kc0@user.com",
            json!({ "id": "39b2e391-69c8-4021-bf6d-f88d2acf3229", "name": "Åsa", "is_verified": true, "created": 1_700_000_000 }),
        ),
        (
            "auth0@user.com",
            json!({ "external_id": "auth0|60425dc43519d90068f82973", "is_verified": true }),
        ),
        (
            "supa@user.com",
            json!({ "id": "b7cab0d0-0230-40a7-a765-7a964af97ad8", "name": "Åsa", "is_verified": true, "created": 1_704_067_200 }),
        ),
        ("laravel@user.com", json!({ "name": "Å", "is_verified": true, "external_id": "1" })),
        ("fire@user.com", json!({ "name": "Å", "is_verified": true, "external_id": "abc123" })),
        ("okta@user.com", json!({ "name": "A", "surname": "B" })),
        (
            "okta.hash@user.com",
            json!({ "external_id": "00ub0oNGTSWTBKOLGLNR", "name": "Åsa", "language": "de", "created": 1_704_067_200, "is_active": true }),
        ),
        ("okta.none@user.com", json!({ "surname": "Berg", "is_active": false })),
    ] {
        let user = server.user_named(&root.access, email).await;
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&user[name], value, "{email}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_hash_is_checked_at_a_sign_in_and_replaced() {
    let cost = 10;
    let setup = Server::setup().set("RATE_LIMIT", false).set("BCRYPT_COST", cost);
    let server = setup.start().await;
    let hashes: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("hashes.json")).unwrap()).unwrap();
    let hashes = hashes.as_object().unwrap();
    let email = |place: usize| format!("hash{place}@user.com");
    let users = hashes.values().enumerate();
    let lines = users
        .map(|(place, hash)| json!({ "email": email(place), "hashed_password": hash }).to_string());
    let said = server.moved_text("users.jsonl", lines.collect::<Vec<_>>().join("\n"), &[]);
    let count = hashes.len();
    assert_eq!(counts(&said), [count as u64, 0, 0], "{said}");
    assert_eq!(said["without_password"], 0, "{said}");
    for place in [0, count / 2, count - 1] {
        let wrong = server.login(&email(place), "Imported-Passw0rd-8").await;
        wrong.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    }
    let emails: Vec<_> = (0..count).map(email).collect();
    let stored = server.signed_in(&emails).await;
    for ((name, hash), (before, after)) in hashes.iter().zip(&stored) {
        assert_eq!(before, hash.as_str().unwrap(), "{name}");
        let text = before.as_str();
        // bcrypt at this cost or a higher one is as good as Tessera's own.
        let is_kept = ["$2a$10", "$2y$10", "$2b$10", "$2b$12", "$2b$14", "$bcrypt-sha256$v=2"]
            .iter()
            .any(|begin| text.starts_with(begin));
        assert_eq!(before == after, is_kept, "{name}: {after}");
        let own = format!("$2b${cost}$");
        assert!(is_kept || after.starts_with(&own), "{name}: {after}");
    }
    server.signed_in(&emails[..6]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_unsafe_or_too_much_work_is_named_and_its_user_has_no_password() {
    let server = Server::start().await;
    let salt = "$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4eWSbGqjGNvRFmtw";
    let unsafe_hashes = [
        ("md5$salt$bc21dc7d5b39cd947594b3be4fa324f8".to_owned(), "md5 (Django)"),
        ("sha1$salt$bc21dc7d5b39cd947594b3be4fa324f8bc21dc7d".to_owned(), "sha1 (Django)"),
        ("bc21dc7d5b39cd947594b3be4fa324f8".to_owned(), "md5 without salt"),
        ("{SHA}Qns9BXOkJKSVxrGjJPkqrhdwpdM=".to_owned(), "sha1 without salt"),
        ("hunter2 hunter2".to_owned(), "unknown, or plain text"),
        ("ab01FAX.bQRSU".to_owned(), "unknown, or plain text"),
        (format!("$argon2id$v=19$m=4194304,t=3,p=1{salt}"), "argon2, damaged or too much work"),
        (
            format!("$argon2id$v=19$m=65536,t=4000000000,p=1{salt}"),
            "argon2, damaged or too much work",
        ),
        (format!("$scrypt$ln=30,r=8,p=1{salt}"), "scrypt, damaged or too much work"),
        (format!("pbkdf2_sha256$4000000000{salt}"), "PBKDF2, damaged or too much work"),
        (HASH.replace("$04$", "$31$"), "bcrypt, damaged or too much work"),
        (HASH[..40].to_owned(), "bcrypt, damaged or too much work"),
        ("$6$rounds=999999999$salt$hash".to_owned(), "sha512_crypt, damaged or too much work"),
    ];
    let users = unsafe_hashes.iter().enumerate();
    let lines = users.map(|(place, (hash, _))| {
        json!({ "email": format!("u{place}@user.com"), "hashed_password": hash }).to_string()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    let said = server.moved_text("users.jsonl", &lines, &[]);
    let count = unsafe_hashes.len() as u64;
    assert_eq!(
        (counts(&said), &said["without_password"]),
        ([count, 0, 0], &json!(count)),
        "{said}"
    );
    for (hash, kind) in &unsafe_hashes {
        assert!(said["unusable"][kind].as_u64() >= Some(1), "{kind}: {said}");
        assert!(!said.to_string().contains(hash.as_str()), "{said}");
    }
    for password in ["hunter2 hunter2", &unsafe_hashes[2].0] {
        server.login("u4@user.com", password).await.expect_status(400);
    }
    let output = tessera(&server, &["import", "users.jsonl"]);
    assert!(out(&output).contains("13 already exist"), "{}", out(&output));
    assert!(!server.log_so_far().await.contains("hunter2"));
    // The operation itself refuses such a hash, so that its caller knows.
    let root = server.superuser("root").await;
    let body = json!({ "users": [{ "email": "x@user.com", "hashed_password": "hunter2" }] });
    let answer = server.post("/admin/import").bearer(&root.access).json(&body).send().await;
    assert_eq!(answer.expect_status(200).json["outcomes"][0]["outcome"], "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_database_are_read_in_place() {
    let server = Server::start().await;
    let make = [
        "create table auth_user (id integer primary key, password text, is_superuser boolean, username text, \
         first_name text, email text, is_active boolean, date_joined text, photo XX)",
        &format!("insert into auth_user values (7, '{HASH}', true, 'x', 'Ada', 'seven@user.com', true, '2024-01-01 00:00:00', YY)"),
        &format!("insert into auth_user values (8, '{HASH}', false, 'eight@user.com', 'A', '', false, null, null)"),
        "insert into auth_user values (9, null, false, 'nobody', 'A', '', true, null, null)",
        "create table people (mail text, pass text, nick text)",
        &format!("insert into people values ('mapped@user.com', '{HASH}', 'Ada')"),
    ]
    .join(";\n");
    let place = if server.database.kind() == Kind::Postgres {
        let make = make.replace("XX", "bytea").replace("YY", "'\\x00ff'");
        for statement in make.split(";\n") {
            server.database.execute(statement).await;
        }
        server.database.url().to_owned()
    } else {
        let make = make.replace("XX", "blob").replace("YY", "x'00ff'");
        let made = std::process::Command::new("sqlite3")
            .current_dir(server.folder())
            .args(["other.db", &make])
            .status();
        assert!(made.unwrap().success());
        server.folder().join("other.db").to_str().unwrap().to_owned()
    };
    let said = server.moved(Path::new(&place), &[]);
    assert_eq!((counts(&said), &said["format"]), ([2, 0, 1], &json!("django")), "{said}");
    assert_eq!(said["refused"][0]["place"], "row 3");
    assert_eq!(said["superusers"], json!(["seven@user.com"]));
    assert!(said["ignored"]["photo"].is_u64(), "{said}");
    server.sign_in("seven@user.com", PASSWORD).await;
    server.login("eight@user.com", PASSWORD).await.expect_status(400);
    let own = [
        "--format",
        "csv",
        "--table",
        "people",
        "--map",
        "mail=email",
        "--map",
        "pass=hashed_password",
        "--map",
        "nick=name",
    ];
    let said = server.moved(Path::new(&place), &own);
    assert_eq!((counts(&said), &said["ignored"]), ([1, 0, 0], &json!({})), "{said}");
    let (access, _) = server.sign_in("mapped@user.com", PASSWORD).await;
    assert_eq!(server.me(&access).await.text("name"), "Ada");
    let output = tessera(&server, &["import", &place, "--format", "laravel"]);
    assert!(!output.status.success() && fault(&output).contains("--table"), "{}", fault(&output));
    let output = tessera(&server, &["import", "postgres://me:Geheim123@127.0.0.1:1/x"]);
    assert!(
        !output.status.success() && !fault(&output).contains("Geheim123"),
        "{}",
        fault(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_ones_own_are_mapped_to_fields() {
    let server = Server::start().await;
    let text = format!(
        "Kennung;Mail;Kennwort;Vorname;Sprache;aktiv;Rechte;seit;Telefon\r\n\
         a-1;first@user.com;{HASH};Åsa;de_AT;ja;admin reports;2020-02-03;1\r\n\
         a-2;second@user.com;{HASH};\"Öberg; \"\"Ö\"\"\";german;0;;;2\r\n\
         a-3;third@user.com;;x;;1;;;\r\n"
    );
    let map = [
        "Kennung=id",
        "Mail=email",
        "Kennwort=hashed_password",
        "Vorname=name",
        "Sprache=language",
        "aktiv=is_active",
        "Rechte=scopes",
        "seit=created",
    ];
    let arguments: Vec<_> =
        map.iter().flat_map(|map| ["--map", map]).chain(["--format", "csv"]).collect();
    let said = server.moved_text("people.csv", text.replace(";ja;", ";1;"), &arguments);
    assert_eq!(counts(&said), [3, 0, 0], "{said}");
    assert_eq!(said["ignored"], json!({ "Telefon": 2, "a language that is no tag": 1 }));
    let root = server.superuser("root").await;
    let first = server.user_named(&root.access, "a-1").await;
    assert_eq!(first["language"], "de-AT");
    assert_eq!((&first["name"], &first["scopes"]), (&json!("Åsa"), &json!(["admin", "reports"])));
    assert_eq!(first["created"], 1_580_688_000);
    assert_eq!(server.user_named(&root.access, "second").await["name"], "Öberg; \"Ö\"");
    server.login("second@user.com", PASSWORD).await.expect_status(400);
    let said = server.moved_text("people.csv", text, &arguments);
    assert_eq!(said["refused"][0]["reason"], "aktiv: this must be true or false");
    let nested =
        json!({ "m": { "to": "nested@user.com" }, "attributes": { "locale": ["fr"] } }).to_string();
    let said = server.moved_text(
        "n.jsonl",
        nested,
        &["--format", "jsonl", "--map", "m.to=email", "--map", "attributes.locale=language"],
    );
    assert_eq!(counts(&said), [1, 0, 0], "{said}");
    assert_eq!(server.user_named(&root.access, "nested").await["language"], "fr");
    for map in ["email", "x=y", "=email"] {
        let output = tessera(&server, &["import", "people.csv", "--map", map]);
        assert_eq!(output.status.code(), Some(2), "{map}: {}", fault(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_id_of_a_user_is_shown_to_administrators_only() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let line = |id: Value, email: &str| {
        json!({ "id": id, "email": email, "hashed_password": HASH }).to_string()
    };
    let text =
        [line(json!(4711), "number@user.com"), line(json!("Kq-x"), "text@user.com")].join("\n");
    server.moved_text("users.jsonl", &text, &["--source", "shop"]);
    for (id, email) in [("4711", "number@user.com"), ("Kq-x", "text@user.com")] {
        let user = server.user_named(&root.access, id).await;
        assert_eq!((&user["external_id"], &user["email"]), (&json!(id), &json!(email)));
        let path = format!("/users/{}", user["id"].as_str().unwrap());
        let read = server.get(&path).bearer(&root.access).send().await.expect_status(200);
        assert_eq!(read.text("external_id"), id);
        let listed = tessera(&server, &["user", "list", "--query", id, "--output", "csv"]);
        assert!(out(&listed).trim_end().ends_with(id), "{}", out(&listed));
        let mut browser = Browser::of(&server);
        browser.sign_in(&root.email, crate::support::PASSWORD).await;
        let page = browser.open(&format!("/admin{path}")).await.expect_status(200);
        assert!(page.body.contains(&format!("<code>{id}</code>")), "{}", page.body);
        assert!(browser.open(&format!("/admin/users?q={id}")).await.body.contains(email));
    }
    let (access, _) = server.sign_in("number@user.com", PASSWORD).await;
    assert_eq!(server.me(&access).await.json["external_id"], Value::Null);
    // Another system can have the same ids, and a record is known by its id and address after the user has moved on.
    let other = [line(json!(4711), "other@user.com")].join("\n");
    let said = server.moved_text("users.jsonl", &other, &["--source", "shop"]);
    assert_eq!(counts(&said), [0, 0, 1], "{said}");
    assert_eq!(counts(&server.moved_text("users.jsonl", &other, &["--source", "blog"])), [1, 0, 0]);
    let gone = "update \"user\" set email = 'new@user.com' where email = 'text@user.com'";
    server.database.execute(gone).await;
    assert_eq!(counts(&server.moved_text("users.jsonl", &text, &["--source", "shop"])), [0, 2, 0]);
    assert_eq!(server.database.count("\"user\" where email = 'text@user.com'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_without_a_password_are_asked_for_one_only_if_the_operator_says_so() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let text = [
        json!({ "email": "none@user.com", "language": "de" }).to_string(),
        json!({ "email": "weak@user.com", "hashed_password": "hunter2" }).to_string(),
        json!({ "email": "asleep@user.com", "is_active": false }).to_string(),
        json!({ "email": "has@user.com", "hashed_password": HASH }).to_string(),
    ]
    .join("\n");
    let secret = |arguments: &[&str]| {
        let output = server
            .beside()
            .env("APP_SECRET", SECRET)
            .args([&["import", "users.jsonl", "--output", "json"], arguments].concat())
            .output();
        json_of(&output.unwrap())
    };
    assert_eq!(server.moved_text("users.jsonl", &text, &[])["invited"], 0);
    let tried = secret(&["--invite", "--dry-run"]);
    assert_eq!((&tried["invited"], counts(&tried)), (&json!(2), [0, 4, 0]), "{tried}");
    assert_eq!(secret(&["--invite"])["invited"], 2);
    assert_eq!(secret(&["--invite"])["invited"], 0, "nobody is asked twice");
    let letter = server.letter("none@user.com", "Wählen Sie ein Passwort für Ihr Konto", 1).await;
    assert!(
        letter.text.contains("eine Woche") || letter.text.contains("7 Tage"),
        "{}",
        letter.text
    );
    let letter = server.letter("weak@user.com", "Choose a password for your account", 1).await;
    let reset = json!({ "token": letter.token(), "password": "new password of mine" });
    server.post("/auth/reset-password").json(&reset).send().await.expect_status(200);
    server.sign_in("weak@user.com", "new password of mine").await;
    assert!(
        server
            .outbox()
            .iter()
            .all(|letter| !letter.to.contains("asleep") && !letter.to.contains("has@"))
    );
}

/// A user who was locked out on purpose must not get in through an import.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_okta_is_active_only_in_a_known_state_in_which_people_can_sign_in() {
    let server = Server::start().await;
    let active = ["ACTIVE", "active", "Provisioned", "STAGED", "PASSWORD_EXPIRED", "LOCKED_OUT"];
    let inactive = ["SUSPENDED", "Suspended", "deprovisioned", "DELETED", "another state"];
    let mut text = "login,email,status\n".to_owned();
    for (at, state) in active.iter().chain(&inactive).enumerate() {
        text.push_str(&format!("u{at}@user.com,u{at}@user.com,{state}\n"));
    }
    let said = server.moved_text("okta.csv", text, &["--format", "okta"]);
    assert_eq!(counts(&said), [11, 0, 0], "{said}");
    for (at, state) in active.iter().chain(&inactive).enumerate() {
        let one = format!("\"user\" where email = 'u{at}@user.com' and is_active");
        let is_active = server.database.count(&one).await == 1;
        assert_eq!(is_active, at < active.len(), "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_the_id_of_another_user_is_refused_and_not_counted_as_known() {
    let server = Server::start().await;
    let id = "11111111-1111-4111-8111-111111111111";
    let line = |email: &str| json!({ "id": id, "email": email }).to_string();
    assert_eq!(counts(&server.moved_text("a.jsonl", line("one@user.com"), &[])), [1, 0, 0]);
    let said = server.moved_text("b.jsonl", line("two@user.com"), &[]);
    assert_eq!(counts(&said), [0, 0, 1], "{said}");
    let both = format!("{}\n{}", line("ONE@user.com"), line("two@user.com"));
    let said = server.moved_text("c.jsonl", both, &[]);
    assert_eq!((said["created"].as_u64(), said["known"].as_u64()), (Some(0), Some(1)), "{said}");
}

/// The work of some hashes grows with the password, and the caller chooses the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_password_does_not_occupy_a_thread_although_the_hash_is_of_a_kind_that_grows_with_it()
 {
    let server = Server::start().await;
    let hash = "$6$rounds=50000$saltsalt$gMgmpB5vJeEcZwoAK.oBWemFhmunx1texmUNGdSUf7Zh2wFqvTSYmVFxR2ScPvzAbcm2xRvGYjMzS0Ao8.Pqo0";
    let line = json!({ "email": "crypt@user.com", "hashed_password": hash }).to_string();
    assert_eq!(counts(&server.moved_text("a.jsonl", line, &[])), [1, 0, 0]);
    let spent = async |password: String| {
        let before = server.cpu_ticks();
        server.login("crypt@user.com", &password).await.expect_status(400);
        server.cpu_ticks() - before
    };
    let (longest, longer) = (spent("x".repeat(128)).await, spent("x".repeat(60_000)).await);
    // Without a bound, the second one takes four hundred times as long.
    assert!(longer <= 3 * longest + 20, "{longer} and {longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_how_many_users_it_could_not_ask_because_of_the_limit_of_mails() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let root = server.superuser("root").await;
    let lines = (0..130).map(|at| json!({ "email": format!("m{at}@user.com") }).to_string());
    let lines = lines.collect::<Vec<_>>().join("\n");
    std::fs::write(server.folder().join("users.jsonl"), lines).unwrap();
    let import = |arguments: &[&str]| {
        remotely(&server, &root.access, &[&["import", "users.jsonl"], arguments].concat())
    };
    let output = import(&["--invite", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", fault(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| said[name].as_u64().unwrap();
    assert_eq!((number("created"), number("invited") + number("not_invited")), (130, 130));
    assert!(number("not_invited") > 0, "{said}");
    // Without --invite, nothing is left to do.
    assert!(import(&[]).status.success());
    let output = import(&["--invite"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("not asked by mail"), "{}", out(&output));
    // An hour later, one more invitation is allowed, and after days all are.
    server.database.execute("delete from attempt").await;
    let output = import(&["--invite", "--output", "json"]);
    let rest = json_of(&output);
    assert_eq!((&rest["invited"], &rest["not_invited"]), (&said["not_invited"], &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_supabase_is_inactive_only_while_the_ban_lasts() {
    let server = Server::start().await;
    let bans = [
        ("", true),
        ("2024-01-01 00:00:00+00", true),
        ("2999-01-01 00:00:00+00", false),
        ("infinity", false),
    ];
    let mut text = "id,email,encrypted_password,email_confirmed_at,banned_until\n".to_owned();
    for (at, (until, _)) in bans.iter().enumerate() {
        text.push_str(&format!(",u{at}@user.com,{HASH},2024-01-01 00:00:00+00,{until}\n"));
    }
    let said = server.moved_text("users.csv", text, &["--format", "supabase"]);
    assert_eq!(counts(&said), [4, 0, 0], "{said}");
    for (at, (until, is_active)) in bans.into_iter().enumerate() {
        let answer = server.login(&format!("u{at}@user.com"), PASSWORD).await;
        assert_eq!(answer.status == 200, is_active, "{until}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_the_digest_of_a_hash_of_okta_that_is_not_used() {
    let server = Server::start().await;
    let digests = [
        ("MD5", "md5 (Okta)"),
        ("SHA-1", "sha1 (Okta)"),
        ("SHA-256", "sha256 (Okta)"),
        ("SHA-512", "sha512 (Okta)"),
        ("another", "unknown, or plain text"),
    ];
    let users = digests.iter().enumerate().map(|(at, (algorithm, _))| {
        let hash = json!({ "algorithm": algorithm, "salt": "c2FsdA==", "saltOrder": "PREFIX", "value": "aGFzaA==" });
        let mail = format!("u{at}@user.com");
        json!({ "profile": { "login": mail, "email": mail }, "credentials": { "password": { "hash": hash } } })
    });
    let text = Value::Array(users.collect()).to_string();
    let said = server.moved_text("okta.json", text, &[]);
    assert_eq!((counts(&said), &said["format"]), ([5, 0, 0], &json!("okta")), "{said}");
    let expected: serde_json::Map<_, _> =
        digests.iter().map(|(_, kind)| ((*kind).to_owned(), json!(1))).collect();
    assert_eq!(said["unusable"], Value::Object(expected), "{said}");
}

/// `script` runs a command at a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_how_far_an_import_is_and_nothing_of_it_stays() {
    let server = Server::start().await;
    let users = (0..2000).map(|at| json!({ "email": format!("u{at}@user.com") }).to_string());
    let file = server.folder().join("users.jsonl");
    std::fs::write(&file, users.collect::<Vec<_>>().join("\n")).unwrap();
    let import = format!("stty cols 80; {} import users.jsonl", env!("CARGO_BIN_EXE_tessera"));
    let (beside, mut command) = (server.beside(), std::process::Command::new("script"));
    command.args(["-qec", &import, "/dev/null"]).current_dir(server.folder()).env_clear();
    command.envs(beside.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    let printed = out(&output);
    assert!(output.status.success() && printed.contains("2000 created"), "{printed}");
    let is_bar = |part: &&str| part.contains("KiB of ") && part.ends_with(" left");
    assert!(printed.split(['\r', '\u{1b}']).filter(is_bar).count() > 1, "{printed:?}");
    let (_, after) = printed.rsplit_once(" left").unwrap();
    assert!(after.contains("\u{1b}[2K"), "the bar must be removed: {after:?}");
}
