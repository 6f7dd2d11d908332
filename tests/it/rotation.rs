//! For how long keys are published that sign no more, or not yet.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::keys::{again, with};
use crate::support::{PASSWORD, Server, eventually, header_of};

/// What a key signed is accepted for as long as it can live, and the key is published for as long, and no
/// longer: by whatever settings the servers that are left have.
#[tokio::test]
async fn keys_of_an_algorithm_that_was_left_are_withdrawn_once_nothing_they_signed_lives() {
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
        // The server has just noted that it signs with the one of its own algorithm.
        let others = format!("{long_ago} where algorithm <> '{algorithm}'");
        database.execute(&others).await;
        server = again(algorithm, database).await;
        assert_eq!(server.jwks().await.len(), published, "{algorithm}");
        server.me(&access).await.expect_reason("key_unknown");
        // The one that signs now is the next to be left.
        access = server.sign_in(&person.email, PASSWORD).await.0;
    }
    // And back, beside a server that has not been told of it.
    let back = again("EdDSA", server.database.clone()).await;
    let (access, _) = back.sign_in(&person.email, PASSWORD).await;
    assert_eq!(header_of(&access)["kid"], kid);
    let accepts = async || server.me(&access).await.status == 200;
    eventually("the other server accepts the key again", accepts).await;
    assert_eq!(server.jwks().await, back.jwks().await);
}

/// While a server of the former algorithm goes on, its key is accepted by the others.
#[tokio::test]
async fn a_key_is_not_withdrawn_while_a_server_signs_with_it() {
    let late = with("EdDSA").await;
    let new = again("ES256", late.database.clone()).await;
    let long_ago = "update signing_key set last_signed_at = last_signed_at - 2000000, \
                    active_at = active_at - 2000000, created_at = created_at - 2000000";
    late.database.execute(long_ago).await;
    // Each notes once a minute that it signs.
    late.passes(Duration::from_secs(60));
    let noted = "signing_key where last_signed_at > active_at + 1000000";
    let both = async || late.database.count(noted).await == 2;
    eventually("the servers note that they sign", both).await;
    let person = late.person("first").await;
    new.passes(Duration::from_secs(10));
    let accepts = async || new.me(&person.access).await.status == 200;
    eventually("the key is accepted again", accepts).await;
    assert_eq!(new.jwks().await.len(), 2);
}

/// It is made for the day on which the settings name its algorithm.
#[tokio::test]
async fn a_key_that_never_signed_stays_published() {
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

/// Each of them reads the keys when it is done: whoever read first must not have the last word.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_at_once_are_all_published_when_the_last_is_answered() {
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
