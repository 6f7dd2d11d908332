//! `POST /auth/jwt/refresh`

use std::time::Duration;

use serde_json::json;

use crate::support::{Forgery, PASSWORD, Server, claims_of};

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let answer = server.refresh(&person.refresh).await.expect_status(200);
    let access = claims_of(&answer.text("access_token"));
    assert_eq!(access["fresh"], false);
    assert_eq!(access["auth_time"], claims_of(&person.access)["auth_time"]);
    assert_eq!(access["sid"], claims_of(&person.access)["sid"]);
    assert_ne!(access["jti"], claims_of(&person.access)["jti"]);
    let refresh = claims_of(&answer.text("refresh_token"));
    assert_eq!(refresh["gen"], 1);
    server.me(&answer.text("access_token")).await.expect_status(200);
    server.refresh(&answer.text("refresh_token")).await.expect_status(200);
    // The access token of before lives until it expires.
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn the_token_may_be_in_the_header_in_json_or_in_a_form() {
    let server = Server::start().await;
    let mut token = server.person("first").await.refresh;
    let refresh = || server.post("/auth/jwt/refresh");
    let old_access = server.sign_in("first@user.com", PASSWORD).await.0;
    for turn in 0..5 {
        let body = json!({ "refresh_token": token });
        let request = match turn {
            0 => refresh().bearer(&token),
            1 => refresh().json(&body),
            2 => refresh().form(&[("refresh_token", &token), ("grant_type", "refresh_token")]),
            // Clients that add the header to every request add it here too.
            3 => refresh().bearer(&old_access).json(&body),
            _ => refresh().bearer(&token).body("application/json", ""),
        };
        token = request.send().await.expect_status(200).text("refresh_token");
    }
    let none = refresh().send().await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let two = refresh().form(&[("refresh_token", &token), ("refresh_token", "x")]);
    two.send().await.expect_status(422);
    refresh().body("text/plain", token.clone()).send().await.expect_status(415);
    refresh().json(&json!({ "refresh_token": 1 })).send().await.expect_status(422);
    server.refresh(&token).await.expect_status(200);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_byte_for_byte() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let first = server.refresh(&person.refresh).await.expect_status(200);
    for _ in 0..3 {
        let again = server.refresh(&person.refresh).await.expect_status(200);
        assert_eq!(again.text("refresh_token"), first.text("refresh_token"));
        server.me(&again.text("access_token")).await.expect_status(200);
    }
    server.refresh(&first.text("refresh_token")).await.expect_status(200);
}

#[tokio::test]
async fn a_token_spent_long_ago_ends_the_session() {
    let server = Server::setup().set("REFRESH_REUSE_LEEWAY", 1).start().await;
    let person = server.person("first").await;
    let next = server.refresh(&person.refresh).await.expect_status(200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    server.refresh(&next.text("refresh_token")).await.expect_refusal(401, "SESSION_ENDED");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.me(&next.text("access_token")).await.expect_reason("token_revoked");
    server.me(&person.access).await.expect_reason("token_revoked");
    let why = server.database.column::<String>("select ended_why from session").await;
    assert_eq!(why, ["reuse"]);
    // Their other sessions, and other people's, go on.
    server.login(&person.email, PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_token_two_generations_old_ends_the_session_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let second = server.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    let third = server.refresh(&second).await.expect_status(200).text("refresh_token");
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    server.refresh(&third).await.expect_refusal(401, "SESSION_ENDED");
}

#[tokio::test]
async fn a_generation_that_is_yet_to_come_is_invalid_and_ends_nothing() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for generation in [json!(1), json!(7), json!(i64::MAX), json!(u64::MAX)] {
        let forged = Forgery::of(&person.refresh).with("gen", generation).sign();
        server.refresh(&forged).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    }
    server.refresh(&person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn one_kind_of_token_is_never_taken_for_the_other() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.refresh(&person.access).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.refresh(&person.access).await.expect_reason("type_mismatch");
    server.me(&person.refresh).await.expect_reason("type_mismatch");
    let change = json!({ "email": "other@user.com" });
    server.change_me(&person.refresh, &change).await.expect_reason("type_mismatch");
    let forged = Forgery::of(&person.refresh).with("type", "access").sign();
    server.me(&forged).await.expect_reason("claims_invalid");
}

#[tokio::test]
async fn a_session_is_its_users_alone() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let sid = claims_of(&second.refresh)["sid"].clone();
    let forged = Forgery::of(&first.refresh).with("sid", sid).sign();
    server.refresh(&forged).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.refresh(&second.refresh).await.expect_status(200);
}

#[tokio::test]
async fn an_expired_token_says_so() {
    let server = Server::setup().set("REFRESH_TOKEN_EXPIRES", 1).start().await;
    let person = server.person("first").await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_EXPIRED");
}

#[tokio::test]
async fn an_inactive_user_cannot_stay_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("update \"user\" set is_active = false").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.database.execute("update \"user\" set is_active = true").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn a_deleted_user_cannot_stay_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("delete from session").await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.database.execute("delete from \"user\"").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_status(401);
    server.me(&person.access).await.expect_status(401);
}

#[tokio::test]
async fn a_refresh_token_outlives_a_change_of_the_secret_while_the_old_one_is_known() {
    let old = Server::start().await;
    let person = old.person("first").await;
    let database = old.kill();
    let new = "f".repeat(64);
    let rotated = Server::setup()
        .on(database)
        .set("APP_SECRET", &new)
        .set("APP_SECRET_PREVIOUS", crate::support::SECRET)
        .start()
        .await;
    rotated.me(&person.access).await.expect_status(200);
    let next = rotated.refresh(&person.refresh).await.expect_status(200);
    let database = rotated.kill();

    let forgotten = Server::setup().on(database).set("APP_SECRET", &new).start().await;
    forgotten.me(&person.access).await.expect_reason("key_unknown");
    forgotten.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    forgotten.me(&next.text("access_token")).await.expect_status(200);
    forgotten.refresh(&next.text("refresh_token")).await.expect_status(200);
    forgotten.login(&person.email, PASSWORD).await.expect_status(200);
}
