//! Sign-ins at the same time, on one server and on three.

use serde_json::json;

use super::{ADA, corp, ids_of, path_of, with};
use crate::support::upstream::{Upstream, Wrong};
use crate::support::{Browser, Kind, Server};

/// Sends callbacks of browsers of one person at the same time. Returns the number that succeeded.
async fn arrive_at_once(upstream: &Upstream, servers: &[&Server], turns: usize) -> usize {
    let mut arrivals = Vec::new();
    for turn in 0..turns {
        let mut browser = Browser::of(servers[turn % servers.len()]);
        let place = browser.leave("corp").await;
        let back = path_of(&upstream.come_back(&place));
        arrivals.push(async move { browser.open(&back).await.status });
    }
    let statuses = futures_util::future::join_all(arrivals).await;
    assert!(statuses.iter().all(|status| [303, 503].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 303).count()
}

#[tokio::test]
async fn callbacks_at_once_for_one_new_person_make_one_account() {
    let (upstream, server) = corp(&json!({})).await;
    for round in 0..6 {
        let email = format!("ada{round}@corp.example");
        upstream.person(&json!({ "sub": format!("subject-{round}"), "email": email }));
        assert!(arrive_at_once(&upstream, &[&server], 4).await > 0);
        assert_eq!(ids_of(&server, &email).await.len(), 1);
        assert_eq!(server.identities().await, round + 1);
    }
}

#[tokio::test]
async fn callbacks_at_once_for_an_unverified_account_replace_it_once() {
    let (upstream, server) = corp(&json!({})).await;
    let old = server.register(ADA, crate::support::PASSWORD).await.expect_status(201).text("id");
    assert!(arrive_at_once(&upstream, &[&server], 4).await > 0);
    let ids = ids_of(&server, ADA).await;
    assert!(ids.len() == 1 && ids[0] != old, "{ids:?}");
    assert_eq!(server.identities().await, 1);
}

#[tokio::test]
async fn one_callback_at_once_on_one_server_or_three_opens_one_session() {
    let upstream = Upstream::start().await;
    // The provider does not help.
    upstream.make(Wrong { keeps_codes: true, ..Wrong::default() });
    let entries = [upstream.entry(&json!({}))];
    let one = with(&entries).start().await;
    let mut others = Vec::new();
    // SQLite has one server.
    if one.database.kind() == Kind::Postgres {
        for _ in 0..2 {
            others.push(with(&entries).on(one.database.clone()).start().await);
        }
    }
    let servers: Vec<_> = std::iter::once(&one).chain(&others).collect();
    for round in 0..4 {
        let mut browser = Browser::of(&one);
        let back = path_of(&upstream.come_back(&browser.leave("corp").await));
        let cookies = browser.cookies.clone();
        let arrivals = (0..6).map(|turn| {
            let mut tab = Browser::of(servers[turn % servers.len()]);
            tab.cookies.clone_from(&cookies);
            let back = back.clone();
            async move { tab.open(&back).await.status }
        });
        let statuses = futures_util::future::join_all(arrivals).await;
        let won = statuses.iter().filter(|status| **status == 303).count();
        assert_eq!(won, 1, "{statuses:?}");
        assert_eq!(one.database.count("session").await, round + 1);
    }
    assert_eq!(one.identities().await, 1);
}

#[tokio::test]
async fn a_sign_in_can_begin_on_one_replica_and_end_on_another() {
    let upstream = Upstream::start().await;
    let entries = [upstream.entry(&json!({}))];
    let one = with(&entries).start().await;
    let other = with(&entries).on(one.database.clone()).start().await;
    let mut begun = Browser::of(&one);
    let back = path_of(&upstream.come_back(&begun.leave("corp").await));
    let mut ended = Browser::of(&other);
    ended.cookies.clone_from(&begun.cookies);
    ended.open(&back).await.expect_status(303);
    assert!(ended.account().await.body.contains(ADA));
    // The state was spent on both.
    let again = begun.open(&back).await;
    assert_eq!(again.status, 400, "{}", again.body);
}
