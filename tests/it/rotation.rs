//! The time for which keys are published that no longer sign or do not sign yet.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::keys::{again, with};
use crate::support::{PASSWORD, Server, eventually, header_of};

/// A key is published as long as a token that it signed can be valid, and no longer, whatever the settings of the
/// remaining servers are.
#[tokio::test]
async fn keys_of_a_former_algorithm_are_withdrawn_after_all_their_tokens_have_expired() {
    let long_ago = "update signing_key set last_signed_at = last_signed_at - 2000000";
    let mut server = with("EdDSA").await;
    let person = server.person("first").await;
    let mut access = person.access.clone();
    let kid = server.jwks().await.remove(0)["kid"].clone();
    for (algorithm, published) in [("ES256", 1), ("HS256", 0)] {
        server = again(algorithm, server.kill()).await;
        assert_eq!(server.jwks().await.len(), published + 1, "{algorithm}");
        server.me(&access).await.expect_status(200);
        let database = server.kill();
        // The server has just recorded that it signs with the key of its own algorithm.
        let others = format!("{long_ago} where algorithm <> '{algorithm}'");
        database.execute(&others).await;
        server = again(algorithm, database).await;
        assert_eq!(server.jwks().await.len(), published, "{algorithm}");
        server.me(&access).await.expect_reason("key_unknown");
        // The key that signs now is the next one to be replaced.
        access = server.sign_in(&person.email, PASSWORD).await.0;
    }
    // The algorithm is switched back, while another server still has the other setting.
    let back = again("EdDSA", server.database.clone()).await;
    let (access, _) = back.sign_in(&person.email, PASSWORD).await;
    assert_eq!(header_of(&access)["kid"], kid);
    let accepts = async || server.me(&access).await.status == 200;
    eventually("the other server accepts the key again", accepts).await;
    assert_eq!(server.jwks().await, back.jwks().await);
}

/// While a server with the former algorithm runs, the others accept its key.
#[tokio::test]
async fn a_key_is_not_withdrawn_while_a_server_signs_with_it() {
    let late = with("EdDSA").await;
    let new = again("ES256", late.database.clone()).await;
    let long_ago = "update signing_key set last_signed_at = last_signed_at - 2000000, \
                    active_at = active_at - 2000000, created_at = created_at - 2000000";
    late.database.execute(long_ago).await;
    // Each server records once a minute that it signs.
    late.move_clock(Duration::from_secs(60));
    let noted = "signing_key where last_signed_at > active_at + 1000000";
    let both = async || late.database.count(noted).await == 2;
    eventually("the servers record that they sign", both).await;
    let person = late.person("first").await;
    new.move_clock(Duration::from_secs(10));
    let accepts = async || new.me(&person.access).await.status == 200;
    eventually("the key is accepted again", accepts).await;
    assert_eq!(new.jwks().await.len(), 2);
}

/// The key was made before the settings name its algorithm.
#[tokio::test]
async fn a_key_that_has_never_signed_stays_published() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let made = server.rotate(&root, json!({ "algorithm": "ES256" })).await.expect_status(201);
    let back = "update signing_key set active_at = active_at - 90000000, \
                created_at = created_at - 90000000";
    server.database.execute(back).await;
    let server = again("HS256", server.kill()).await;
    assert_eq!(server.jwks().await.remove(0)["kid"], made.json["kid"]);
    let server = again("ES256", server.kill()).await;
    let (access, _) = server.sign_in(&root.email, PASSWORD).await;
    assert_eq!(header_of(&access)["kid"], made.json["kid"]);
}

/// Each request reads the keys at its end. An older result must not replace a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_in_parallel_are_all_published() {
    let server = with("EdDSA").await;
    let root = server.superuser("root").await;
    for round in 1..=6 {
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            tasks.spawn(server.post("/admin/keys").bearer(&root.access).json(&json!({})).send());
        }
        for answer in tasks.join_all().await {
            answer.expect_status(201);
        }
        assert_eq!(server.jwks().await.len(), 1 + round * 16);
    }
}
