//! The audit: each action is recorded once, in its transaction, in a chain.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server};
use crate::terminal::{json_of, out, remotely, strong_token, tessera};

impl Server {
    /// Returns every row, the oldest first.
    async fn audit(&self, token: &str, query: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/admin/audit?oldest=true&limit=7&{query}{after}");
            let page = self.get(&path).bearer(token).send().await.expect_status(200);
            items.extend(page.json["items"].as_array().unwrap().clone());
            let Some(next) = page.json["next"].as_i64() else { return items };
            after = format!("&after={next}");
        }
    }
}

fn acts(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["act"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_audit_records_each_action_with_its_actor_subject_address_and_request() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let subject = format!("user:{}", person.id);
    server.login(&person.email, "wrong").await.expect_status(400);
    let letter = server.letter(&person.email, "Verify", 1).await;
    let token = json!({ "token": letter.token() });
    server.post("/auth/verify").json(&token).send().await.expect_status(200);
    let fresh = json!({ "password": PASSWORD });
    server.post("/auth/jwt/fresh").bearer(&person.access).json(&fresh).send().await;
    let secret = server.api_token(&person.access, &json!({ "name": "ci" })).await;
    let chosen = json!({ "token": secret });
    let deleted = server.request("DELETE", "/auth/tokens").bearer(&person.access).json(&chosen);
    deleted.send().await.expect_status(200);
    let change = json!({ "password": "battery staple correct" });
    server.change_me(&person.access, &change).await.expect_status(200);
    let other = server.sign_in(&person.email, "battery staple correct").await;
    server.refresh(&other.1).await.expect_status(200);
    server.database.execute("update session set rotated_at = 0").await;
    server.refresh(&other.1).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    let (access, _) = server.sign_in(&person.email, "battery staple correct").await;
    server.change_me(&access, &json!({ "email": "moved@user.com" })).await.expect_status(200);
    let (path, root) = (format!("/users/{}", person.id), root.access);
    let change =
        json!({ "is_superuser": true, "is_active": true, "scopes": ["authenticated", "admin"] });
    server.patch(&path).bearer(&root).json(&change).send().await.expect_status(200);
    server.export_me(&access).await.expect_status(200);
    let logged_out = server.logout(&access).await.expect_status(204);
    let deleted = server.request("DELETE", &path).bearer(&root).send().await.expect_status(204);

    let items = server.audit(&root, &format!("subject={subject}")).await;
    let told = [
        ("register", &*subject),
        ("login", &subject),
        ("login-refused", "anybody"),
        ("email-verify", "anybody"),
        ("freshen", &subject),
        ("token-create", &subject),
        ("token-delete", &subject),
        ("password-change", &subject),
        ("login", &subject),
        ("refresh-reuse", "anybody"),
        ("login", &subject),
        ("email-change", &subject),
        ("flags-change", "root"),
        ("scopes-change", "root"),
        ("user-export", &subject),
        ("logout", &subject),
        ("user-delete", "root"),
    ];
    let expected: Vec<_> = told.iter().map(|(act, _)| *act).collect();
    assert_eq!(acts(&items), expected, "{items:#?}");
    for (item, (act, actor)) in items.iter().zip(told) {
        assert_eq!(item["ip"], "127.0.0.1", "{item}");
        let by = item["actor"].as_str().unwrap();
        let expected =
            if actor == "root" { by.starts_with("user:") && by != subject } else { by == actor };
        assert!(expected, "{act} by {by}");
    }
    let flags = items.iter().find(|item| item["act"] == "flags-change").unwrap();
    assert_eq!(
        flags["detail"], r#"{"is_superuser":true}"#,
        "a flag that stays the same is not recorded"
    );
    for (act, answer) in [("logout", logged_out), ("user-delete", deleted)] {
        let item = items.iter().find(|item| item["act"] == act).unwrap();
        assert_eq!(item["request"], answer.header("x-request-id"));
    }
    // The rows contain no secret, no e-mail address and no input.
    let rows = server.audit(&root, "").await;
    let text = json!(rows).to_string();
    for secret in [PASSWORD, "wrong", &secret, &access, &letter.token(), "@user.com"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(json_of(&tessera(&server, &["audit", "verify", "--output", "json"]))["whole"] == true);
}

#[tokio::test]
async fn the_audit_does_not_store_unknown_user_names() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    server.login("my secret passphrase", "x").await.expect_status(400);
    let items = server.audit(&root.access, "act=login-refused").await;
    assert_eq!((items.len(), &items[0]["subject"]), (1, &Value::Null));
    assert!(!json!(items).to_string().contains("passphrase"));
}

#[tokio::test]
async fn the_audit_records_each_committed_action_once_and_no_other() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let before = server.audit(&root.access, "").await.len();
    server.register("root@user.com", PASSWORD).await.expect_status(400);
    server.change_me(&root.access, &json!({ "name": "Ada" })).await.expect_status(200);
    server.refresh(&root.refresh).await.expect_status(200);
    server.me(&root.access).await.expect_status(200);
    server.post("/auth/revoke").form(&[("token", "unknown")]).send().await.expect_status(200);
    let superuser = json!({ "is_superuser": false });
    let path = format!("/users/{}", root.id);
    let last = server.patch(&path).bearer(&root.access).json(&superuser).send().await;
    last.expect_refusal(409, "LAST_SUPERUSER");
    let after = server.audit(&root.access, "").await;
    assert_eq!(
        acts(&after[before..]),
        ["register-refused"],
        "the refusal is recorded, and no registration"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_of_the_audit_names_the_first_altered_row() {
    let server = Server::start().await;
    let (_, token) = strong_token(&server).await;
    for turn in 0..4 {
        server.login("nobody@user.com", &format!("{turn}")).await.expect_status(400);
    }
    let verify = || tessera(&server, &["audit", "verify", "--output", "json"]);
    let whole = json_of(&verify());
    let (seq, head) =
        (whole["seq"].as_i64().unwrap(), whole["digest"].as_str().unwrap().to_owned());
    let printed = out(&tessera(&server, &["audit", "verify"]));
    assert!(printed.contains(&format!("{seq}:{head}")), "{printed}");
    let keep = "create table kept as select * from audit";
    server.database.execute(keep).await;
    let broken = |expected: i64, words: &str| {
        let output = verify();
        assert_eq!(output.status.code(), Some(1), "{}", out(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&said["whole"], said["seq"].as_i64()),
            (&json!(false), Some(expected)),
            "{said}"
        );
        assert!(said["fault"].as_str().unwrap().contains(words), "{said}");
        // A command that asks the server prints the same.
        let output = remotely(&server, &token, &["audit", "verify"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(out(&output).contains(&format!("row {expected}")), "{}", out(&output));
    };
    let digest = "0".repeat(64);
    for (column, value) in [
        ("at", "at + 1"),
        ("act", "'logout'"),
        ("actor", "'operator'"),
        ("subject", "'user:x'"),
        ("ip", "null"),
        ("request", "'x'"),
        ("detail", "'{}'"),
        ("digest", &format!("'{digest}'")),
    ] {
        let sql = format!("update audit set {column} = {value} where seq = {}", seq - 2);
        assert_eq!(server.database.execute(&sql).await, 1, "{sql}");
        broken(seq - 2, "altered");
        server.database.execute("delete from audit").await;
        server.database.execute("insert into audit select * from kept").await;
    }
    server.database.execute(&format!("delete from audit where seq = {}", seq - 1)).await;
    broken(seq - 1, "missing");
    server.database.execute("delete from audit").await;
    server.database.execute("insert into audit select * from kept").await;

    // An attacker who deletes the last rows leaves a whole chain, but it does not have the expected position.
    let expect = format!("{seq}:{head}");
    let held = || tessera(&server, &["audit", "verify", "--expect", &expect]);
    assert!(held().status.success(), "{}", out(&held()));
    server.login("nobody@user.com", "x").await.expect_status(400);
    assert!(held().status.success(), "the chain continues from the expected position");
    server.database.execute(&format!("delete from audit where seq >= {seq}")).await;
    assert!(verify().status.success());
    assert_eq!(held().status.code(), Some(1));
    server.login("nobody@user.com", "x").await.expect_status(400);
    assert_eq!(held().status.code(), Some(1), "{}", out(&held()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_can_be_listed_at_the_terminal() {
    let server = Server::start().await;
    let (root, token) = strong_token(&server).await;
    let person = server.person("first").await;
    let changed = tessera(&server, &["user", "promote", &person.email, "--output", "json"]);
    json_of(&changed);
    let listed =
        json_of(&tessera(&server, &["audit", "list", "--user", &person.email, "--output", "json"]));
    let listed = listed.as_array().unwrap();
    assert_eq!(acts(listed), ["flags-change", "login", "register"]);
    assert_eq!((&listed[0]["actor"], &listed[0]["ip"]), (&json!("operator"), &Value::Null));
    let by = ["audit", "list", "--by", &root.email, "--act", "token-create", "--output", "json"];
    assert_eq!(json_of(&remotely(&server, &token, &by)).as_array().unwrap().len(), 1);
    let later = ["audit", "list", "--since", "2100-01-01"];
    assert_eq!(out(&tessera(&server, &later)).trim(), "none");
    let table = out(&tessera(&server, &["audit", "list", "--limit", "2"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    let nonsense = tessera(&server, &["audit", "list", "--act", "nonsense"]);
    assert_eq!(nonsense.status.code(), Some(2));
    // A deleted user can be found by their id.
    let delete = ["user", "delete", "--yes", &person.email];
    assert!(tessera(&server, &delete).status.success());
    let listed = tessera(&server, &["audit", "list", "--user", &person.id]);
    assert!(out(&listed).contains("user-delete"), "{}", out(&listed));
}
