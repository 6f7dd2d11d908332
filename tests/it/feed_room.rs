//! The room for services that follow the revocations: a greedy one starves no other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::feed::{Reader, Stream};
use crate::support::{Answer, PASSWORD, Person, Server, Setup, eventually};

fn setup(waiters: u32) -> Setup {
    let setup = Server::setup().set("FEED_WAITERS", waiters);
    setup.set("TRUSTED_PROXIES", "127.0.0.0/8,::1")
}

/// Services with a token each.
async fn services(server: &Server, root: &Person, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for turn in 0..count {
        tokens.push(server.service(root, &format!("service{turn}"), &["revocations:read"]).await);
    }
    tokens
}

/// Opens a stream from an address; `None` if there is no room.
async fn stream(server: &Server, token: &str, from: &str) -> Option<Stream> {
    let request = reqwest::Client::new().get(server.url("/auth/revocations/stream"));
    let request = request.bearer_auth(token).header("x-forwarded-for", from);
    let response = request.send().await.unwrap();
    match response.status().as_u16() {
        200 => Some(Stream::of(response)),
        status => {
            assert_eq!(status, 503);
            None
        }
    }
}

/// Checks a refusal. Returns the time after which the service can come again, in seconds.
#[track_caller]
fn expect_no_room(refused: Answer) -> u64 {
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    refused.expect_refusal(503, "SERVICE_BUSY");
    wait
}

#[tokio::test]
async fn the_owner_of_tokens_has_half_of_the_places_and_the_others_find_room() {
    let server = setup(8).start().await;
    let root = server.superuser("root").await;
    let tokens = services(&server, &root, 3).await;
    // A second token of the same service, and other addresses, give no more room.
    let made = server.post("/auth/tokens").bearer(&root.access);
    let body = serde_json::json!({ "username": "service0" });
    let second = made.json(&body).send().await.expect_status(201).text("token");
    let mut streams = Vec::new();
    for turn in 0..4 {
        let token = if turn % 2 == 0 { &tokens[0] } else { &second };
        let from = IpAddr::from([203, 0, 113, turn]).to_string();
        streams.push(stream(&server, token, &from).await.expect("there is room"));
    }
    for token in [&tokens[0], &second] {
        let greedy = Reader::of(&server, token);
        let end = greedy.end().await;
        for query in ["/stream".to_owned(), format!("?after={end}&wait=5")] {
            expect_no_room(greedy.get(&query).await);
        }
        // A request that does not wait needs no place, and neither does a sign-in.
        greedy.get(&format!("?after={end}")).await.expect_status(200);
        assert!(stream(&server, token, "198.51.100.9").await.is_none());
    }
    server.login(&root.email, PASSWORD).await.expect_status(200);
    for _ in 0..3 {
        streams.push(stream(&server, &tokens[1], "192.0.2.1").await.expect("there is room"));
    }
    let other = Reader::of(&server, &tokens[2]);
    let end = other.end().await;
    other.get(&format!("?after={end}&wait=1")).await.expect_status(200);
    streams.push(stream(&server, &tokens[2], "192.0.2.2").await.expect("there is room"));
    // Now all places are taken.
    assert!(stream(&server, &tokens[2], "192.0.2.3").await.is_none());
    streams.truncate(3);
    drop(streams.remove(0));
    eventually("there is room again", async || {
        stream(&server, &tokens[0], "203.0.113.1").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn services_without_room_come_back_at_different_times() {
    let server = setup(1).start().await;
    let root = server.superuser("root").await;
    let tokens = services(&server, &root, 2).await;
    let _place = stream(&server, &tokens[0], "192.0.2.1").await.expect("there is room");
    let other = Reader::of(&server, &tokens[1]);
    let mut waits = BTreeSet::new();
    for _ in 0..30 {
        waits.insert(expect_no_room(other.get("/stream").await));
    }
    assert!(waits.len() > 2, "{waits:?}");
}

#[tokio::test]
async fn one_address_has_three_quarters_of_the_places() {
    let server = setup(8).start().await;
    let root = server.superuser("root").await;
    let tokens = services(&server, &root, 3).await;
    let mut streams = Vec::new();
    for turn in 0..6 {
        let token = &tokens[turn % 2];
        streams.push(stream(&server, token, "203.0.113.1").await.expect("there is room"));
    }
    assert!(stream(&server, &tokens[2], "203.0.113.1").await.is_none());
    streams.push(stream(&server, &tokens[2], "203.0.113.2").await.expect("there is room"));
}

#[tokio::test]
async fn a_far_cursor_is_gone_without_a_query_and_a_forged_one_fills_no_memory() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let reader = server.reader(&root).await;
    let token = reader.token.clone();
    for name in ["a", "b", "c"] {
        let person = server.person(name).await;
        server.logout(&person.access).await.expect_status(204);
    }
    let end = reader.end().await;
    let database = server.kill();
    let server = Server::setup().on(database).start().await;
    let reader = Reader::of(&server, &token);
    let parts: Vec<_> = end.split('.').collect();
    let seq: i64 = parts[1].parse().unwrap();
    // The tag is that of another row, so the server does not read the rows behind it into memory.
    for forged in [1, seq - 1] {
        let text = format!("{}.{forged}.{}", parts[0], parts[2]);
        reader.after(&text).await.expect_refusal(410, "REVOCATION_CURSOR_GONE");
    }
    for ahead in [20_001, 1_000_000, i64::MAX - seq] {
        let text = format!("{}.{}.{}", parts[0], seq + ahead, parts[2]);
        reader.after(&text).await.expect_refusal(410, "REVOCATION_CURSOR_GONE");
    }
    reader.after(&end).await.expect_status(200);
}
