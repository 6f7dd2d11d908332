//! Exports: everything that Tessera stores about a user.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Browser, PASSWORD, Person, Server};

impl Server {
    /// Requests the export of the user that a token belongs to.
    pub(crate) async fn export_me(&self, token: &str) -> Answer {
        self.post("/users/me/export").bearer(token).send().await
    }

    /// Writes rows into the audit, about actions of a user on their own account.
    pub(crate) async fn fill_audit(&self, person: &Person, rows: u32) {
        // The server numbers the entries that it has not sealed yet. The count waits until there are none.
        assert!(self.database.count("audit").await > 0);
        let (name, digest) = (format!("user:{}", person.id), "0".repeat(64));
        let insert = format!(
            "with recursive s(n) as (select 1 union all select n + 1 from s where n < {rows}) \
             insert into audit (seq, at, act, actor, subject, ip, request, detail, digest) \
             select (select max(seq) from audit) + n, n, 'token-create', '{name}', '{name}', \
             '192.0.2.7', null, '{{\"api_token\":\"56df201e-2a0c-4b3a-9c6c-0f3ad7a6c1d2\"}}', \
             '{digest}' from s"
        );
        assert_eq!(self.database.execute(&insert).await, u64::from(rows));
    }
}

#[tokio::test]
async fn an_export_requires_a_fresh_password_in_every_interface() {
    let server = Server::setup().set("FRESH_TOKEN_EXPIRES", 200).start().await;
    let person = server.person("first").await;
    let secret = server.api_token(&person.access, &json!({})).await;
    server.export_me(&secret).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.export_me(&person.access).await.expect_status(200);
    let refreshed = server.refresh(&person.refresh).await.text("access_token");
    server.export_me(&refreshed).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    server.advance(Duration::from_secs(310)).await;
    server.export_me(&person.access).await.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    let fresh = server.post("/auth/jwt/fresh").bearer(&person.access);
    let fresh = fresh.json(&json!({ "password": PASSWORD })).send().await.text("access_token");
    server.export_me(&fresh).await.expect_status(200);

    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    for fields in [&[][..], &[("current", "wrong")]] {
        let page = browser.press("/account/export", fields).await;
        assert!([400, 403].contains(&page.status), "{}", page.status);
        assert!(page.header("content-type").starts_with("text/html"), "{}", page.body);
        assert!(page.header("content-disposition").is_empty());
        assert!(page.body.contains("assword"), "{}", page.body);
    }
    let export = browser.press("/account/export", &[("current", PASSWORD)]).await;
    assert_eq!(export.expect_status(200).json["user"]["email"], person.email.as_str());
}

#[tokio::test]
async fn a_session_that_ended_on_another_replica_exports_nothing() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    // Another replica may not have read the revocation yet, so the server reads the tables.
    other.export_me(&person.access).await.expect_status(401);
    assert_eq!(server.database.count("audit where act = 'user-export'").await, 0);
}

#[tokio::test]
async fn an_export_accepts_only_post() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    for path in ["/users/me/export", &format!("/users/{}/export", root.id)] {
        let get = server.get(path).bearer(&root.access).send().await.expect_status(405);
        assert_eq!(get.header("allow"), "POST");
        server.post(path).bearer(&root.access).send().await.expect_status(200);
    }
}

/// There is more than one page of each kind of row, and some rows name other users.
#[tokio::test]
async fn an_export_contains_every_row_once_in_order() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    for turn in 0..130 {
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        if turn % 2 == 0 {
            server.logout(&access).await.expect_status(204);
        }
    }
    let insert = format!(
        "with recursive s(n) as (select 1 union all select n + 1 from s where n < 250) \
         insert into api_token (id, user_id, name, prefix, digest, scopes, created_at) \
         select {}, user_id, 'of many', 'tsr_0000', 'digest ' || n, 'authenticated', n / 3 \
         from s, (select user_id from session where user_id = '{}' limit 1) as one",
        match server.database.kind() {
            crate::support::Kind::Sqlite => "'00000000-0000-0000-0000-' || printf('%012d', n)",
            crate::support::Kind::Postgres => {
                "('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid"
            }
        },
        person.id
    );
    server.database.execute(&insert).await;
    server.fill_audit(&person, 1200).await;
    let path = format!("/users/{}", person.id);
    // An action of another user on this user, and an action of this user.
    let flags = json!({ "is_verified": true });
    server.patch(&path).bearer(&root.access).json(&flags).send().await.expect_status(200);
    let (access, _) = server.sign_in(&person.email, PASSWORD).await;

    let export = server.export_me(&access).await.expect_status(200);
    let count = |list: &str| export.json[list].as_array().unwrap().len();
    assert_eq!((count("sessions"), count("api_tokens")), (132, 250));
    let acts = export.json["audit"].as_array().unwrap();
    // One registration, 132 sign-ins, 65 sign-outs, the 1,200 rows, the change of the flag, the export itself.
    assert_eq!(acts.len(), 1 + 132 + 65 + 1200 + 1 + 1);
    assert_eq!(acts[0]["act"], "register");
    assert_eq!(acts[acts.len() - 1]["act"], "user-export");
    let flags: Vec<_> = acts.iter().filter(|act| act["act"] == "flags-change").collect();
    assert_eq!((flags.len(), &flags[0]["actor"]), (1, &json!("somebody else")));
    let mut ids: Vec<_> = export.json["sessions"].as_array().unwrap().iter().collect();
    ids.extend(export.json["api_tokens"].as_array().unwrap());
    let mut ids: Vec<_> = ids.iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 132 + 250);
    let ended = |session: &Value| !session["ended"].is_null();
    let sessions = export.json["sessions"].as_array().unwrap();
    assert!(sessions[..67].iter().all(|session| !ended(session)));
    assert!(sessions[67..].iter().all(ended));

    let same = server.post(&format!("{path}/export")).bearer(&root.access).send().await;
    let ids = |export: &Answer| {
        let tokens = export.json["api_tokens"].as_array().unwrap().iter();
        tokens.map(|token| token["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(ids(&same.expect_status(200)) == ids(&export));
}

#[tokio::test]
async fn an_account_can_export_four_times_an_hour_on_all_replicas_together() {
    let setup = || Server::setup().set("RATE_LIMIT", "on");
    let server = setup().start().await;
    let other = setup().on(server.database.clone()).start().await;
    let (person, stranger) = (server.person("first").await, server.person("other").await);
    let mut granted = 0;
    let refused = loop {
        let asked = if granted % 2 == 0 { &server } else { &other };
        let answer = asked.export_me(&person.access).await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect_status(200);
        granted += 1;
        assert!(granted < 20, "exports are not limited");
    };
    assert_eq!(granted, 4);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((800..=900).contains(&wait), "{wait}");
    server.export_me(&stranger.access).await.expect_status(200);
}

/// The account page shows every API token that is valid, whatever was made later.
#[tokio::test]
async fn expired_api_tokens_do_not_hide_valid_ones_on_the_account_page() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.api_token(&person.access, &json!({ "name": "the first" })).await;
    server.database.execute("update api_token set created_at = 1").await;
    for _ in 0..3 {
        server.api_token(&person.access, &json!({ "name": "short-lived", "expire": 1 })).await;
    }
    server.database.execute("update api_token set expires_at = 1 where name = 'short-lived'").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&person.email, PASSWORD).await;
    let page = browser.open("/account/tokens").await.expect_status(200);
    assert!(page.body.contains("the first"));
    assert!(!page.body.contains("short-lived"));
}
