//! `/users/me`

use std::time::Duration;

use serde_json::json;

use crate::support::{Forgery, PASSWORD, Server};

#[tokio::test]
async fn a_flag_changed_in_sql_takes_effect_within_a_second_for_old_tokens() {
    let server = Server::start().await;
    let person = server.person("first").await;
    assert_eq!(server.me(&person.access).await.json["is_superuser"], false);
    let set = |flag: &str, value: bool| {
        format!("update \"user\" set {flag} = {value} where id = '{}'", person.id)
    };
    assert_eq!(server.database.execute(&set("is_superuser", true)).await, 1);
    server.advance(Duration::from_secs(1)).await;
    assert_eq!(server.me(&person.access).await.json["is_superuser"], true);
    server.database.execute(&set("is_active", false)).await;
    server.advance(Duration::from_secs(1)).await;
    server.me(&person.access).await.expect_refusal(401, "Unauthorized");
    server.database.execute(&set("is_active", true)).await;
    server.advance(Duration::from_secs(1)).await;
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn flags_in_a_token_are_ignored() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let forged = Forgery::of(&person.access).with("is_superuser", true).with("is_active", true);
    assert_eq!(server.me(&forged.sign()).await.expect_status(200).json["is_superuser"], false);
}

#[tokio::test]
async fn a_change_of_the_user_is_visible_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.me(&person.access).await.expect_status(200);
    let changed = server.change_me(&person.access, &json!({ "email": "New@User.com" })).await;
    assert_eq!(changed.expect_status(200).text("email"), "New@user.com");
    let me = server.me(&person.access).await.expect_status(200);
    assert_eq!(me.text("email"), "New@user.com");
    server.login("new@user.com", PASSWORD).await.expect_status(200);
    server.login(&person.email, PASSWORD).await.expect_status(400);
}

#[tokio::test]
async fn a_new_address_is_not_verified_and_the_same_address_changes_nothing() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("update \"user\" set is_verified = true").await;
    let same = server.change_me(&person.access, &json!({ "email": person.email })).await;
    assert_eq!(same.expect_status(200).json["is_verified"], true);
    let new = server.change_me(&person.access, &json!({ "email": "new@user.com" })).await;
    assert_eq!(new.expect_status(200).json["is_verified"], false);
}

#[tokio::test]
async fn the_address_of_another_user_is_refused_in_upper_and_lower_case() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.person("second").await;
    for email in ["second@user.com", "SECOND@user.com"] {
        server
            .change_me(&person.access, &json!({ "email": email, "password": "another password" }))
            .await
            .expect_refusal(400, "UPDATE_USER_EMAIL_ALREADY_EXISTS");
    }
    // A refused change changes nothing.
    server.me(&person.access).await.expect_status(200);
    server.login(&person.email, PASSWORD).await.expect_status(200);
    // Users can change the case of their own address.
    server
        .change_me(&person.access, &json!({ "email": "FIRST@user.com" }))
        .await
        .expect_status(200);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_every_access_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    let stranger = server.person("stranger").await;
    let changed = server.change_me(&person.access, &json!({ "password": "a new one" })).await;
    changed.expect_status(200);
    for access in [&person.access, &other.0] {
        server.me(access).await.expect_reason("token_revoked");
    }
    server.refresh(&other.1).await.expect_refusal(401, "SESSION_ENDED");
    // The session that changed it continues, also in the same second.
    let next = server.refresh(&person.refresh).await.expect_status(200);
    server.me(&next.text("access_token")).await.expect_status(200);
    server.login(&person.email, PASSWORD).await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    let tokens = server.sign_in(&person.email, "a new one").await;
    server.me(&tokens.0).await.expect_status(200);
    server.me(&stranger.access).await.expect_status(200);
}

#[tokio::test]
async fn changing_the_address_or_the_password_requires_a_fresh_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let stale = server.refresh(&person.refresh).await.text("access_token");
    for change in [json!({ "email": "new@user.com" }), json!({ "password": "a new one" })] {
        let refused = server.change_me(&stale, &change).await;
        refused.expect_refusal(401, "FRESH_TOKEN_REQUIRED");
    }
    for nothing in [json!({}), json!({ "password": null, "email": null }), json!({ "extra": 1 })] {
        server.change_me(&stale, &nothing).await.expect_status(200);
    }
    server.login(&person.email, PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn users_cannot_change_their_flags_or_ids() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let body = json!({
        "is_superuser": true, "is_verified": true, "is_active": false, "id": "x",
        "hashed_password": "x", "email": "new@user.com",
    });
    let changed = server.change_me(&person.access, &body).await.expect_status(200);
    assert_eq!(changed.json["is_superuser"], false);
    assert_eq!(changed.json["is_verified"], false);
    assert_eq!(changed.json["is_active"], true);
    assert_eq!(changed.text("id"), person.id);
    server.login("new@user.com", PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn an_invalid_change_is_refused_with_the_reason() {
    let server = Server::setup().production().set("BCRYPT_COST", 10).start().await;
    let person = server.person("first").await;
    let short = server.change_me(&person.access, &json!({ "password": "short" })).await;
    let short = short.expect_refusal(400, "UPDATE_USER_INVALID_PASSWORD");
    assert_eq!(short.json["detail"]["reason"], "Password should be at least 8 characters");
    server.change_me(&person.access, &json!({ "email": "bad" })).await.expect_status(422);
    server.change_me(&person.access, &json!({ "email": 1 })).await.expect_status(422);
    server.me(&person.access).await.expect_status(200);
}
