//! Applications with `offline_access`: they outlive the session, but not the proof of a provider that bounds it, and not
//! the identity that gave the proof.

use std::time::Duration;

use serde_json::json;

use super::linking::two;
use super::{ADA, corp};
use crate::provider::{self, Client, exchange, refresh, with_code};
use crate::support::upstream::Wrong;
use crate::support::{Answer, Browser, PASSWORD, Server, claims_of};

const HOUR: u64 = 3600;
const OFFLINE: [(&str, &str); 1] = [("scope", "openid offline_access")];

/// The refresh token that an application gets in a browser that is signed in.
async fn granted(server: &Server, browser: &mut Browser<'_>, changes: &[(&str, &str)]) -> Answer {
    let code = provider::code(browser, changes).await;
    exchange(server, "app", &with_code(&code)).await.expect_status(200)
}

async fn application(server: &Server) {
    Client::default().insert(&server.database).await;
}

async fn hours(server: &Server, hours: u64) {
    server.advance(Duration::from_secs(hours * HOUR)).await;
}

#[tokio::test]
async fn offline_access_ends_with_the_time_that_a_sign_in_at_the_provider_is_worth() {
    let (upstream, server) = corp(&json!({ "session": "8h" })).await;
    application(&server).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let mut tokens = granted(&server, &mut browser, &OFFLINE).await;
    for _ in 0..7 {
        hours(&server, 1).await;
        tokens = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    }
    // The browser's session ended long ago, because nobody used it. The last token ends with the proof.
    assert!(!browser.is_signed_in().await);
    server.advance(Duration::from_secs(50 * 60)).await;
    tokens = refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
    let claims = claims_of(&tokens.text("access_token"));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!(life <= 11 * 60, "an access token of {life} seconds");
    server.advance(Duration::from_secs(11 * 60)).await;
    let late = refresh(&server, &tokens.text("refresh_token")).await;
    assert!(late.expect_refusal(400, "invalid_grant").body.contains("refresh_token.expired"));
    // Without a bound, it lasts.
    let (upstream, server) = corp(&json!({})).await;
    application(&server).await;
    let mut browser = Browser::of(&server);
    browser.sign_in_with(&upstream).await.expect_status(303);
    let tokens = granted(&server, &mut browser, &OFFLINE).await;
    hours(&server, 9).await;
    refresh(&server, &tokens.text("refresh_token")).await.expect_status(200);
}

/// The user signs out of the browser, and later unlinks the identity that let the application in.
#[tokio::test]
async fn offline_access_ends_when_an_identity_that_proved_its_session_is_unlinked() {
    // The first proof of the session, a later one, and one whose session is gone.
    for case in ["first", "later", "deleted session"] {
        let (one, other, server) = two().await;
        application(&server).await;
        other.person(&json!({ "sub": "second", "email": "ada@second.example" }));
        let mut own = Browser::of(&server);
        own.sign_in_at("corp", &one).await.expect_status(303);
        own.link("second", &other).await.expect_status(303);
        let mut proved = Browser::of(&server);
        if case == "later" {
            proved.sign_in_at("corp", &one).await.expect_status(303);
            proved.prove_again("second", &other).await.expect_status(303);
        } else {
            proved.sign_in_at("second", &other).await.expect_status(303);
        }
        let lost = granted(&server, &mut proved, &OFFLINE).await;
        let kept = granted(&server, &mut own, &OFFLINE).await;
        proved.open("/").await.expect_status(200);
        proved.press("/logout", &[]).await.expect_status(303);
        let lost = refresh(&server, &lost.text("refresh_token")).await.expect_status(200);
        if case == "deleted session" {
            server.database.execute("delete from session where ended_at is not null").await;
        }
        own.unlink("second", "").await.unwrap().expect_status(303);
        let refused = refresh(&server, &lost.text("refresh_token")).await;
        let refused = refused.expect_refusal(400, "invalid_grant");
        assert!(refused.body.contains("refresh_token.ended"), "{case}: {}", refused.body);
        let user = provider::userinfo(&server, &lost.text("access_token")).await;
        user.expect_reason("token_revoked");
        // What another identity proved stays.
        refresh(&server, &kept.text("refresh_token")).await.expect_status(200);
        server.letter(ADA, "was unlinked", 1).await;
    }
}

/// OpenID Connect Back-Channel Logout 1.0, section 2.7.
#[tokio::test]
async fn a_logout_at_the_provider_ends_applications_but_not_their_offline_access() {
    let (upstream, server) = corp(&json!({})).await;
    application(&server).await;
    for (scope, survives) in [("openid offline_access", true), ("openid", false)] {
        let mut browser = Browser::of(&server);
        browser.sign_in_with(&upstream).await.expect_status(303);
        let tokens = granted(&server, &mut browser, &[("scope", scope)]).await;
        let token = upstream.logout_token(&Wrong::default());
        let logout = server.post("/auth/corp/backchannel-logout");
        let done = logout.form(&[("logout_token", &token)]).send().await;
        assert_eq!(done.status / 100, 2, "{}", done.body);
        assert!(!browser.is_signed_in().await);
        let answer = refresh(&server, &tokens.text("refresh_token")).await;
        assert_eq!(answer.status == 200, survives, "{scope}: {}", answer.body);
    }
}

/// Rows of the release before have no identity of their own.
#[tokio::test]
async fn offline_access_of_an_older_release_ends_with_the_identity_of_its_session() {
    let (upstream, server) = corp(&json!({ "domains": null })).await;
    application(&server).await;
    let user = server.verified_at("eve@user.com").await;
    let mut browser = Browser::of(&server);
    browser.sign_in(&user.email, PASSWORD).await;
    browser.link("corp", &upstream).await.expect_status(303);
    let mut proved = Browser::of(&server);
    proved.sign_in_with(&upstream).await.expect_status(303);
    let tokens = granted(&server, &mut proved, &OFFLINE).await;
    server.database.execute("update oauth_grant set proven_by = null, ends_at = null").await;
    browser.unlink("corp", PASSWORD).await.unwrap().expect_status(303);
    refresh(&server, &tokens.text("refresh_token")).await.expect_refusal(400, "invalid_grant");
}
