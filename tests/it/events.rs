//! The page of the audit: people and programs by name, ids on demand, and filters.

use serde_json::json;

use crate::support::{Browser, PASSWORD, Server};
use crate::terminal::tessera;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_page_names_people_and_programs_and_has_the_ids_behind_them() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    server.service(&root, "billing", &["tokens:introspect"]).await;
    let wanted = json!({ "name": "<b>robot", "scopes": ["super"] });
    let strong = server.api_token(&root.access, &wanted).await;
    let made = server.post("/admin/services").bearer(&strong);
    made.json(&json!({ "name": "shop" })).send().await.expect_status(201);
    server.login("nobody@user.com", "wrong password").await.expect_status(400);
    assert!(tessera(&server, &["user", "promote", &person.email]).status.success());
    let revoke = json!({ "kind": "sub", "subject": person.id, "why": "<i>stolen" });
    let revoke = server.post("/admin/revocations").bearer(&root.access).json(&revoke).send();
    revoke.await.expect_status(204);

    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let page = browser.open("/admin/events").await.expect_status(200);
    for words in [
        &*format!("<a href=\"../admin/users/{}\">{}</a>", person.id, person.email),
        "Service billing",
        "Service shop",
        "root@user.com, with the API token &lt;b&gt;robot",
        "Somebody who is not signed in",
        "An operator at the terminal",
        "The same account",
        "Reason: &lt;i&gt;stolen",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    // The ids are there for those who ask for them.
    let (_, details) = page.body.split_once("<details class=\"ids\">").unwrap();
    assert!(details.contains(&format!("user:{}", person.id)), "{details}");
    let rows: Vec<_> = page.body.split("<tr>").skip(2).collect();
    let visible = |row: &str| {
        let (before, rest) = row.split_once("<details").unwrap();
        before.to_owned() + rest.split_once("</details>").unwrap().1
    };
    assert!(rows.iter().all(|row| !visible(row).contains("api_token:")), "{}", page.body);
    assert!(!page.body.contains("<b>robot") && !page.body.contains("<i>stolen"));

    // Somebody who was deleted has no name any more.
    let gone = server.request("DELETE", &format!("/users/{}", person.id)).bearer(&root.access);
    gone.send().await.expect_status(204);
    let page = browser.open("/admin/events").await.expect_status(200);
    assert!(page.body.contains("A deleted user"), "{}", page.body);
    browser.language = "de".to_owned();
    let page = browser.open("/admin/events").await.expect_status(200);
    assert!(page.body.contains("Ein gelöschtes Konto"), "{}", page.body);
    assert!(page.body.contains("Jemand am Terminal des Servers"), "{}", page.body);
}

#[tokio::test]
async fn the_audit_page_filters_by_kind_person_program_and_time() {
    let server = Server::start().await;
    let (root, person) = (server.superuser("root").await, server.person("first").await);
    server.service(&root, "billing", &["tokens:introspect"]).await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&root.email, PASSWORD).await;
    let mut found = async |query: &str| {
        let page = browser.open(&format!("/admin/events?{query}")).await.expect_status(200);
        (page.body.matches("class=\"ids\"").count(), page.body)
    };
    let (all, page) = found("").await;
    assert!(all > 4 && page.contains("<optgroup label=\"Signing in and out\">"), "{page}");
    let (some, page) = found("act=service-create").await;
    assert!(some == 1 && page.contains("Service billing"), "{page}");
    let (some, _) = found(&format!("actor={}", person.email)).await;
    assert!((1..all).contains(&some), "{some}");
    // The name of a service is enough.
    assert_eq!(found("subject=billing").await.0, found("subject=service:billing").await.0);
    assert!(found("subject=billing").await.0 >= 1);
    for query in ["subject=nobody@user.com", "actor=%00", "since=2999-01-01", "until=2001-01-01"] {
        assert_eq!(found(query).await.0, 0, "{query}");
    }
    assert_eq!(found("since=2001-01-01&until=2999-01-01").await.0, found("").await.0);
    for query in ["since=yesterday", "until=x", "since=2001-01-01&until=31.12.2026"] {
        let (some, page) = found(query).await;
        assert!(some == 0 && page.contains("This is not a date"), "{query}: {page}");
    }
}
