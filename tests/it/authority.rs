//! Permissions at the moment of an action: they come from the database, not from the memory of a replica.

use serde_json::json;

use crate::support::{Browser, PASSWORD, Server};

/// Tries the operations by which a superuser acts on others.
#[tokio::test]
async fn a_superuser_who_has_just_been_demoted_can_change_nothing_of_others() {
    let server = Server::setup().set("JWT_ALGORITHM", "EdDSA").start().await;
    let (root, victim) = (server.superuser("root").await, server.person("first").await);
    let wanted = json!({ "name": "theirs" });
    let token = server.make_api_token(&victim.access, &wanted).await.expect_status(201).text("id");
    server
        .post("/admin/services")
        .bearer(&root.access)
        .json(&json!({ "name": "shop" }))
        .send()
        .await;
    let jti = json!({ "kind": "jti", "subject": victim.id, "why": "left" });
    let lifted = server.post("/admin/revocations").bearer(&root.access).json(&jti).send().await;
    lifted.expect_status(204);
    let seq = server.database.column::<i64>("select max(seq) from revocation").await[0];
    let keys = server.get("/admin/keys").bearer(&root.access).send().await.expect_status(200);
    let kid = keys.json["items"][0]["kid"].as_str().unwrap().to_owned();
    let sql = format!("select id from session where user_id = '{}'", victim.id);
    let sid = server.database.column::<String>(&sql).await.remove(0);
    let revoke =
        |kind: &str, subject: &str| json!({ "kind": kind, "subject": subject, "why": "left" });
    let scopes = json!({ "scopes": ["authenticated", "super"] });
    let secret = server.api_token(&root.access, &scopes).await;
    let before = server.database.count("audit").await;
    for (method, path, body) in [
        ("POST", "/admin/revocations", revoke("sub", &victim.id)),
        ("POST", "/admin/revocations", revoke("sid", &sid)),
        ("POST", "/admin/revocations", revoke("jti", &victim.id)),
        ("DELETE", &format!("/admin/revocations/{seq}"), json!(null)),
        ("POST", "/admin/sessions/end", json!({ "username": victim.email, "why": "left" })),
        ("POST", "/admin/services", json!({ "name": "another" })),
        ("DELETE", "/admin/services/shop", json!(null)),
        ("POST", "/admin/keys", json!({})),
        ("DELETE", &format!("/admin/keys/{kid}?force=true"), json!(null)),
        ("DELETE", &format!("/auth/tokens/{token}"), json!(null)),
        ("DELETE", &format!("/users/{}", victim.id), json!(null)),
        ("POST", &format!("/users/{}/export", victim.id), json!(null)),
        ("POST", "/admin/import", json!({ "users": [] })),
        ("POST", "/auth/tokens", json!({ "username": victim.email })),
        ("DELETE", &format!("/auth/tokens?username={}", victim.email), json!(null)),
    ] {
        let flag =
            |is: bool| format!("update \"user\" set is_superuser = {is} where id = '{}'", root.id);
        server.database.execute(&flag(true)).await;
        server.advance(std::time::Duration::from_secs(1)).await;
        server.get("/admin/keys").bearer(&root.access).send().await.expect_status(200);
        server.get("/admin/keys").bearer(&secret).send().await.expect_status(200);
        // Another replica could do this. This one learns of it within a second.
        server.database.execute(&flag(false)).await;
        for token in [&root.access, &secret] {
            let request = server.request(method, path).bearer(token);
            let request = if body.is_null() { request } else { request.json(&body) };
            let refused = request.send().await;
            // A user whom the server already knows as demoted finds no API token of others.
            let none = refused.status == 200 && refused.json["removed"] == 0;
            assert!(refused.status == 403 || none, "{method} {path}: {}", refused.body);
        }
    }
    server.me(&victim.access).await.expect_status(200);
    assert_eq!(server.database.count("audit").await, before);
    assert_eq!(server.database.count("api_token").await, 2);
    assert_eq!(server.database.count("service").await, 1);
}

#[tokio::test]
async fn a_session_that_has_just_ended_cannot_end_the_session_that_ended_it() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let owner = server.person("first").await;
    let sessions = "select id from session where ended_at is null order by created_at";
    for _ in 0..5 {
        let (thief, _) = server.sign_in(&owner.email, PASSWORD).await;
        other.me(&thief).await.expect_status(200);
        let ids = server.database.column::<String>(sessions).await;
        assert_eq!(ids.len(), 2);
        let out = server.request("DELETE", "/auth/sessions").bearer(&owner.access).send();
        out.await.expect_status(204);
        let end = other.request("DELETE", &format!("/auth/sessions/{}", ids[0])).bearer(&thief);
        end.send().await.expect_status(401);
        assert_eq!(server.database.column::<String>(sessions).await, ids[..1]);
    }
    server.me(&owner.access).await.expect_status(200);
}

/// The account page acts only on the account of the signed-in user.
#[tokio::test]
async fn a_superuser_cannot_delete_api_tokens_of_others_on_the_account_page() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    let made = server.make_api_token(&person.access, &json!({})).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    browser.open("/account").await.expect_status(200);
    let delete = [("act", "delete-token"), ("id", &*made.text("id"))];
    browser.press("/account", &delete).await.expect_status(404);
    assert_eq!(server.database.count("api_token").await, 1);
}

#[tokio::test]
async fn two_superusers_who_change_scopes_at_once_do_not_undo_each_others_change() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let (one, two) = (server.superuser("one").await, server.superuser("two").await);
    let person = server.person("first").await;
    let page = format!("/admin/users/{}", person.id);
    let (mut first, mut second) = (Browser::of(&server), Browser::of(&other));
    first.sign_in(&one.email, PASSWORD).await;
    second.sign_in(&two.email, PASSWORD).await;
    let (was, path) = ("authenticated admin", format!("/users/{}", person.id));
    for _ in 0..8 {
        let scopes = json!({ "scopes": ["authenticated", "admin"] });
        let set = server.patch(&path).bearer(&one.access).json(&scopes).send();
        set.await.expect_status(200);
        first.open(&page).await.expect_status(200);
        second.open(&page).await.expect_status(200);
        let form = |scopes| {
            [
                ("act", "change"),
                ("was_scopes", was),
                ("scopes", scopes),
                ("was_active", "on"),
                ("is_active", "on"),
            ]
        };
        let (takes, adds) = (form("authenticated"), form("authenticated admin billing"));
        let (taken, added) = tokio::join!(first.press(&page, &takes), second.press(&page, &adds));
        taken.expect_status(303);
        added.expect_status(303);
        let now = server.get(&path).bearer(&one.access).send().await;
        assert_eq!(now.json["scopes"], json!(["authenticated", "billing"]));
    }
}

/// Each request locks its own token and then needs the other one.
#[tokio::test]
async fn api_tokens_that_delete_each_other_do_not_deadlock() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let service = json!({ "name": "shop" });
    server
        .post("/admin/services")
        .bearer(&root.access)
        .json(&service)
        .send()
        .await
        .expect_status(201);
    for _ in 0..12 {
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let made = server.make_api_token(&root.access, &json!({ "username": "shop" })).await;
            let made = made.expect_status(201);
            tokens.push((made.text("id"), made.text("token")));
        }
        let delete = |by: &str, of: &str| {
            server.request("DELETE", &format!("/auth/tokens/{of}")).bearer(by).send()
        };
        let [(one, first), (two, second)] = &tokens[..] else { unreachable!() };
        let (a, b) = tokio::join!(delete(first, two), delete(second, one));
        // The token of the second request is already deleted.
        for answer in [&a, &b] {
            assert!([200, 401, 404].contains(&answer.status), "{}", answer.body);
        }
        let all = server.request("DELETE", "/auth/tokens?username=shop").bearer(&root.access);
        all.send().await;
    }
}
