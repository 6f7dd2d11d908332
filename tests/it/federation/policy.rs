//! The rules of an entry for the people of its domains: who must sign in there, and which words its groups give.

use serde_json::json;

use super::{ADA, corp, with};
use crate::support::upstream::Upstream;
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

async fn make_superuser(server: &Server, email: &str) {
    let sql = format!("update \"user\" set is_superuser = true where email = '{email}'");
    server.database.execute(&sql).await;
    server.advance(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn people_of_an_exclusive_provider_sign_in_there_alone() {
    let upstream = Upstream::start().await;
    let entry = |exclusive: bool| [upstream.entry(&json!({ "exclusive": exclusive }))];
    let open = with(&entry(false)).start().await;
    let person = open.verified_at(ADA).await;
    open.verified_at("root@corp.example").await;
    make_superuser(&open, "root@corp.example").await;
    open.register("first@user.com", PASSWORD).await.expect_status(201);
    // Somebody with an address of the provider who never came from there.
    open.verified_at("bob@corp.example").await;
    Browser::of(&open).sign_in_with(&upstream).await.expect_status(303);
    open.sign_in(ADA, PASSWORD).await;
    let clock = open.database.clock().clone();
    let server = with(&entry(true)).clock(&clock).on(open.kill()).start().await;
    // Every door with a password is closed to them, and open to the others.
    let refused = server.login(ADA, PASSWORD).await;
    refused.expect_refusal(400, "LOGIN_WITH_PROVIDER");
    let form = [("username", ADA), ("password", PASSWORD)];
    let refused = server.post("/auth/cookie/login").form(&form).send().await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let mut browser = Browser::of(&server);
    browser.open("/login").await;
    let page = browser.press("/login", &[("email", ADA), ("password", PASSWORD)]).await;
    assert!(page.status >= 400 && !browser.is_signed_in().await, "{}", page.status);
    // A reset opens no session and no door.
    let letters = server.outbox().len();
    let body = json!({ "email": ADA });
    server.post("/auth/forgot-password").json(&body).send().await.expect_status(202);
    server.database.wait_until_no_job_is_left().await;
    if server.outbox().len() > letters {
        let letter = server.letter(ADA, crate::recovery::RESET, 1).await;
        server.reset(&letter.token(), crate::recovery::NEW_PASSWORD).await;
        assert_eq!(server.login(ADA, crate::recovery::NEW_PASSWORD).await.status, 400);
    }
    server.login("bob@corp.example", PASSWORD).await.expect_refusal(400, "LOGIN_WITH_PROVIDER");
    server.sign_in("root@corp.example", PASSWORD).await;
    server.sign_in("first@user.com", PASSWORD).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
    drop(person);
}

/// The answer for somebody who must sign in at a provider is the answer for a wrong password, unless the password is
/// right.
#[tokio::test]
async fn an_exclusive_provider_does_not_tell_who_exists() {
    let (upstream, server) = corp(&json!({ "exclusive": true })).await;
    Browser::of(&server).sign_in_with(&upstream).await.expect_status(303);
    let said = async |email: &str| {
        let answer: Answer = server.login(email, "a guess").await;
        (answer.status, answer.body)
    };
    assert_eq!(said(ADA).await, said("nobody@corp.example").await);
    assert_eq!(said(ADA).await, said("nobody@user.com").await);
}

#[tokio::test]
async fn groups_of_a_provider_give_words_and_take_them_and_never_super() {
    let (upstream, server) = corp(&json!({
        "words": { "groups": { "deployers": ["deploy"], "auditors": ["audit:read", "deploy"] } },
    }))
    .await;
    for (groups, expected) in [
        (json!(["deployers", "unknown"]), &["deploy"][..]),
        (json!(["auditors"]), &["audit:read", "deploy"]),
        (json!("deployers"), &["deploy"]),
        (json!(["Deployers"]), &[]),
        (json!({ "deployers": true }), &[]),
        (json!(["super", "authenticated super"]), &[]),
        (json!(null), &[]),
    ] {
        upstream.person(&json!({ "groups": groups }));
        let tokens = super::fastapi::sign_in(&server, &upstream).await;
        let claims = claims_of(&tokens.text("access_token"));
        let scope = claims["scope"].as_str().unwrap();
        let mut words: Vec<_> = scope.split(' ').filter(|word| *word != "authenticated").collect();
        words.sort_unstable();
        assert_eq!(words, expected, "{groups}: {scope}");
        let me = server.me(&tokens.text("access_token")).await;
        assert_eq!(me.json["is_superuser"], false);
    }
}

#[tokio::test]
async fn claims_fill_what_is_empty_and_overwrite_nothing() {
    let claims = json!({ "name": "given_name", "surname": "family_name" });
    let (upstream, server) = corp(&json!({ "claims": claims })).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let page = browser.account().await;
    assert!(page.body.contains("Lovelace"), "{}", page.body);
    upstream.person(&json!({ "given_name": "Eve", "family_name": "Other" }));
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let page = browser.account().await;
    assert!(page.body.contains("Lovelace") && !page.body.contains("Other"), "{}", page.body);
}

#[tokio::test]
async fn attempts_with_a_provider_are_limited_and_cannot_tell_who_exists_without_limit() {
    let upstream = Upstream::start().await;
    let server = with(&[upstream.entry(&json!({}))]).set("RATE_LIMIT", "on").start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    assert!(browser.account().await.body.contains(ADA));
    // The page that asks for an address says if it is taken. Nobody can ask without limit.
    upstream.person(&json!({ "sub": "anonymous", "email": null }));
    let mut browser = Browser::of(&server);
    let page = browser.sign_in_with(&upstream).await.expect_status(200);
    let (action, hidden) = super::person::form_of(&page);
    let arrival = hidden.iter().find(|(name, _)| name == "arrival").unwrap().1.clone();
    let mut refused = 0;
    for turn in 0..200 {
        let email = if turn % 2 == 0 { "first@user.com" } else { ADA };
        let fields = [("arrival", arrival.as_str()), ("email", email)];
        let answer = browser.press(&action, &fields).await;
        assert!(answer.status >= 400, "{}", answer.header("location"));
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0, "200 addresses were looked up for one answer of a provider");
}
