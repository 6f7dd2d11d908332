//! Imports of users with their passwords.

use std::process::Command;

use serde_json::{Value, json};

use crate::once::tool;
use crate::support::{PASSWORD, Server};
use crate::terminal::{fault, json_of, out, remotely, strong_token, tessera};

/// Makes a database with FastAPI Users. Returns the ids and addresses in it.
fn fastapi_users(file: &std::path::Path) -> Vec<(String, String)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/fastapi_users_database.py");
    let made = Command::new(tool("python")).arg(script).arg(file).output().unwrap();
    assert!(made.status.success(), "{}", fault(&made));
    let text = out(&made);
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    pairs.map(|(id, email)| (id.to_owned(), email.to_owned())).collect()
}

impl Server {
    async fn hash_of(&self, email: &str) -> String {
        let sql = format!("select hashed_password from \"user\" where email = '{email}'");
        self.database.column::<String>(&sql).await.remove(0)
    }

    fn import(&self, file: &str, arguments: &[&str]) -> Value {
        json_of(&tessera(self, &[&["import", file, "--output", "json"], arguments].concat()))
    }
}

fn counts(said: &Value) -> [u64; 3] {
    let refused = said["refused"].as_array().unwrap().len();
    [said["created"].as_u64().unwrap(), said["known"].as_u64().unwrap(), refused as u64]
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_fastapi_users_database_can_sign_in_after_an_import() {
    let server = Server::start().await;
    let file = server.folder().join("users.db");
    let people = fastapi_users(&file);
    let before = std::fs::read(&file).unwrap();
    assert_eq!(counts(&server.import("users.db", &["--dry-run"])), [4, 0, 0]);
    assert_eq!(server.database.count("\"user\"").await, 0, "a dry run must change nothing");
    assert_eq!(server.database.count("audit").await, 0);
    assert_eq!(counts(&server.import("users.db", &[])), [4, 0, 0]);
    assert_eq!(server.database.count("audit").await, 4);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    for (id, email) in people.iter().filter(|(_, email)| email != "inactive@user.com") {
        let was = server.hash_of(email).await;
        server.login(email, "another password").await.expect_status(400);
        assert_eq!(server.hash_of(email).await, was);
        let (access, _) = server.sign_in(email, &format!("password of {email}")).await;
        let me = server.me(&access).await.expect_status(200);
        assert_eq!((me.text("id"), me.text("email")), (id.clone(), email.clone()));
        assert_eq!(me.json["is_superuser"], email == "root@user.com");
        assert_eq!(me.json["is_verified"], email == "bcrypt@user.com");
        // The first sign-in replaces the hash with one of Tessera's own.
        let now = server.hash_of(email).await;
        assert!(now.starts_with("$2b$04$"), "{now}");
        server.sign_in(email, &format!("password of {email}")).await;
    }
    let inactive = server.login("inactive@user.com", "password of inactive@user.com").await;
    inactive.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    let hashes = server.database.column::<String>("select hashed_password from \"user\"").await;
    assert_eq!(counts(&server.import("users.db", &[])), [0, 4, 0]);
    let again = server.database.column::<String>("select hashed_password from \"user\"").await;
    assert_eq!(hashes, again, "another import must change nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_of_every_kind_can_be_imported_and_are_replaced_at_the_first_sign_in() {
    let server = Server::start().await;
    let script = r#"
import base64, hashlib, json
from argon2 import PasswordHasher
from passlib.hash import bcrypt, bcrypt_sha256, pbkdf2_sha256, scrypt
P = "correct horse battery"
salt = bytes(range(200, 232))
raw = hashlib.pbkdf2_hmac("sha256", P.encode(), salt, 100000)
django = hashlib.pbkdf2_hmac("sha256", P.encode(), b"saltysalt", 2000)
say = lambda **members: print(json.dumps(members))
for name, hash in [
    ("argon2", PasswordHasher(memory_cost=1024).hash(P)),
    ("bcrypt", bcrypt.using(rounds=4).hash(P)),
    ("bcrypt-sha256", bcrypt_sha256.using(rounds=4).hash(P)),
    ("passlib", pbkdf2_sha256.using(rounds=1000).hash(P)),
    ("scrypt", scrypt.using(rounds=8).hash(P)),
]:
    say(email=name + "@user.com", hashed_password=hash, name="Ada", scopes=["authenticated", "admin"])
open("django.jsonl", "w").write(json.dumps(dict(id=7, username="django@user.com", email="", is_staff=True, first_name="Ada",
    password="pbkdf2_sha256$2000$saltysalt$" + base64.b64encode(django).decode(), is_active=True, is_superuser=False)))
open("session.jsonl", "w").write("\n".join(json.dumps(user) for user in [
    dict(email="hex@user.com", salt=salt.hex(), hash=raw.hex()),
    dict(username="base64@user.com", salt=base64.b64encode(salt).decode(), password_hash=base64.b64encode(raw).decode()),
    dict(email="rounds@user.com", salt=salt.hex(), rounds=10, hash=hashlib.pbkdf2_hmac("sha256", P.encode(), salt, 10).hex()),
]))
"#;
    let mut python = Command::new(tool("python"));
    let made = python.current_dir(server.folder()).args(["-c", script]).output().unwrap();
    assert!(made.status.success(), "{}", fault(&made));
    std::fs::write(server.folder().join("users.jsonl"), &made.stdout).unwrap();
    assert_eq!(counts(&server.import("users.jsonl", &[])), [5, 0, 0]);
    assert_eq!(counts(&server.import("django.jsonl", &["--format", "django"])), [1, 0, 0]);
    assert_eq!(counts(&server.import("session.jsonl", &["--format", "session"])), [3, 0, 0]);
    let names = [
        "argon2",
        "bcrypt",
        "bcrypt-sha256",
        "passlib",
        "scrypt",
        "django",
        "hex",
        "base64",
        "rounds",
    ];
    for name in names {
        let email = format!("{name}@user.com");
        server.login(&email, "correct horse batterz").await.expect_status(400);
        server.login(&email, "").await.expect_status(400);
        let (access, _) = server.sign_in(&email, PASSWORD).await;
        let hash = server.hash_of(&email).await;
        // Tessera itself makes bcrypt_sha256 hashes for long passwords.
        assert!(hash.starts_with("$2b$04$") || name == "bcrypt-sha256", "{name}: {hash}");
        server.sign_in(&email, PASSWORD).await;
        if ["argon2", "django"].contains(&name) {
            assert_eq!(server.me(&access).await.text("name"), "Ada");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_the_records_that_it_refuses_and_imports_the_others() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let hash = "$2b$04$dV2KvrjfXEgp6Cy7S2hxIOLFFJA2bkpgm/3Df9/dAUGLioAxrGYYy";
    let lines = [
        json!({ "email": "good@user.com", "hashed_password": hash }).to_string(),
        json!({ "email": "FIRST@user.com", "hashed_password": hash }).to_string(),
        json!({ "id": person.id, "email": "other@user.com", "hashed_password": hash }).to_string(),
        json!({ "email": "no address", "hashed_password": hash }).to_string(),
        json!({ "email": "md5@user.com", "hashed_password": "5f4dcc3b5aa765d61d83" }).to_string(),
        json!({ "email": "dear@user.com", "hashed_password": hash.replace("$04$", "$31$") })
            .to_string(),
        json!({ "email": "cut@user.com", "hashed_password": &hash[..50] }).to_string(),
        json!({ "hashed_password": hash }).to_string(),
        json!({ "id": uuid::Uuid::nil(), "email": "nil@user.com", "hashed_password": hash }).to_string(),
        json!({ "email": "salt@user.com", "hashed_password": "pbkdf2_sha256$9$a\0b$BVALGMmC/K/8ELErc5VgJw==" }).to_string(),
        json!({ "email": "deep@user.com", "hashed_password": hash.replace("$2b$04", "bcrypt$$2b$31") }).to_string(),
        json!({ "email": "wide@user.com", "hashed_password": format!("pbkdf2_sha256$9${}$BVALGMmC/K/8ELErc5VgJw==", "x".repeat(1024)) }).to_string(),
        "no JSON".to_owned(),
        json!({ "email": "super@user.com", "hashed_password": hash, "scopes": ["super"] })
            .to_string(),
        json!({ "email": "null@user.com", "hashed_password": "a\0b" }).to_string(),
        json!({ "email": "long@user.com", "hashed_password": "x".repeat(60_000) }).to_string(),
        json!({ "email": "last@user.com", "hashed_password": hash }).to_string(),
    ];
    std::fs::write(server.folder().join("users.jsonl"), lines.join("\n")).unwrap();
    let output = tessera(&server, &["import", "users.jsonl", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "some records were refused");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts(&said), [10, 1, 6], "{said}");
    assert_eq!(said["without_password"], 8, "{said}");
    let refused = said["refused"].as_array().unwrap();
    let places: Vec<_> = refused.iter().map(|one| one["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["line 3", "line 4", "line 8", "line 9", "line 13", "line 14"], "{said}");
    assert!(!out(&output).contains("5f4dcc3b"), "the output must contain no hash");
    // Existing users were not changed.
    server.sign_in(&person.email, PASSWORD).await;
    assert_eq!(server.me(&person.access).await.text("email"), person.email);

    let output = tessera(&server, &["import", "users.jsonl", "--dry-run"]);
    assert!(out(&output).contains("0 would be created, 11 already exist"), "{}", out(&output));
    assert!(fault(&output).contains("line 4: An email address must have"), "{}", fault(&output));
    for (file, words) in [("nothing.db", "nothing.db"), ("test.db", "not a database of FastAPI")] {
        if file == "test.db" {
            let sqlite = Command::new("sqlite3")
                .current_dir(server.folder())
                .args([file, "create table t (x)"])
                .status();
            assert!(sqlite.unwrap().success());
        }
        let output = tessera(&server, &["import", file]);
        assert!(!output.status.success() && fault(&output).contains(words), "{}", fault(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_can_import_users_through_a_running_server() {
    let server = Server::start().await;
    let (_, token) = strong_token(&server).await;
    let person = server.person("first").await;
    let hash = "$2b$04$dV2KvrjfXEgp6Cy7S2hxIOLFFJA2bkpgm/3Df9/dAUGLioAxrGYYy";
    let lines: Vec<_> = (0..450)
        .map(|turn| {
            let email = format!("user{turn}@user.com");
            json!({ "email": email, "hashed_password": hash }).to_string()
        })
        .collect();
    std::fs::write(server.folder().join("users.jsonl"), lines.join("\r\n")).unwrap();
    let import = ["import", "users.jsonl", "--output", "json"];
    assert_eq!(counts(&json_of(&remotely(&server, &token, &import))), [450, 0, 0]);
    let weak = server.api_token(&person.access, &json!({})).await;
    assert!(!remotely(&server, &weak, &import).status.success());
    server.sign_in("user449@user.com", PASSWORD).await;
    let too_many = vec![json!({ "email": "x@user.com", "hashed_password": hash }); 501];
    let body = json!({ "users": too_many });
    let refused = server.post("/admin/import").bearer(&token).json(&body).send().await;
    assert_eq!(refused.expect_status(422).json["detail"][0]["loc"], json!(["body", "users"]));
    for bad in [json!(null), json!({}), json!([1]), json!([{ "email": 1 }]), json!("x")] {
        let body = json!({ "users": bad });
        let answer = server.post("/admin/import").bearer(&token).json(&body).send().await;
        answer.expect_status(422);
    }
    let body = json!({ "users": [{ "email": "x@user.com", "hashed_password": 5 }] });
    let refused = server.post("/admin/import").bearer(&token).json(&body).send().await;
    let place = json!(["body", "users", 0, "hashed_password"]);
    assert_eq!(refused.expect_status(422).json["detail"][0]["loc"], place);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_filter_refuses_stolen_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let list = "correct horse battery staple\nhunter2 hunter2 hunter2\r\n\
                8843D7F92416211DE9EBB963FF4CE28125932878:3\n";
    std::fs::write(folder.path().join("passwords.txt"), list).unwrap();
    let build = |list: &str| {
        let mut command = crate::support::command(folder.path());
        command.args(["breach", "build", list, "--output", "stolen.filter"]).output().unwrap()
    };
    let made = build("passwords.txt");
    assert!(made.status.success(), "{}", fault(&made));
    assert!(out(&made).contains("stolen.filter contains 3 passwords"), "{}", out(&made));
    std::fs::write(folder.path().join("empty.txt"), "\n").unwrap();
    assert!(fault(&build("empty.txt")).contains("no password"));

    let filter = folder.path().join("stolen.filter");
    let server = Server::setup()
        .production()
        .set("PUBLIC_URL", "https://id.example.com")
        .set("BREACH_FILTER", filter.display())
        .set("PASSWORD_MIN_SCORE", 0)
        .start()
        .await;
    // The list has only the digest of the last one.
    for stolen in ["correct horse battery staple", "hunter2 hunter2 hunter2", "foobar"] {
        let refused = server.register("first@user.com", stolen).await;
        let refused = refused.expect_refusal(400, "REGISTER_INVALID_PASSWORD");
        let reason = refused.json["detail"]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("stolen") || stolen.len() < 8, "{reason}");
    }
    server.register("first@user.com", "correct horse battery stapler").await.expect_status(201);
    let (access, _) = server.sign_in("first@user.com", "correct horse battery stapler").await;
    let change = json!({ "password": "hunter2 hunter2 hunter2" });
    let refused = server.change_me(&access, &change).await;
    refused.expect_refusal(400, "UPDATE_USER_INVALID_PASSWORD");

    // Commands that set no password do not read the filter. It can be large, or exist only on the server.
    let beside = |arguments: &[&str]| {
        let mut command = crate::support::command(folder.path());
        command.args(arguments).env("DATABASE_URL", server.database.url());
        command.env("BREACH_FILTER", "nowhere.filter").stdin(std::process::Stdio::null());
        command.output().unwrap()
    };
    assert!(beside(&["user", "list"]).status.success());
    let dev = Server::setup().set("BREACH_FILTER", filter.display()).start().await;
    dev.register("first@user.com", "hunter2 hunter2 hunter2").await.expect_status(201);
    dev.log.wait_for("BREACH_FILTER").await;
    assert!(!dev.log_so_far().await.contains("hunter2"));
}
