//! Parallel requests to replicas on one database.

use futures_util::StreamExt;
use serde_json::json;

use crate::clocks::NEW;
use crate::support::{Clock, Kind, PASSWORD, Server, TestDatabase, claims_of, eventually};
use crate::terminal::{json_of, tessera};

async fn replica(clock: &Clock, database: &TestDatabase) -> Server {
    Server::setup().clock(clock).set("JWT_LEEWAY", 2).on(database.clone()).start().await
}

/// A new password ends every older access token, whatever the clock of the replica that signed it. Every replica
/// accepts newer tokens at once.
#[tokio::test]
async fn a_new_password_ends_older_tokens_on_replicas_whose_clocks_differ() {
    let database = TestDatabase::create(Kind::from_environment()).await;
    let one = replica(&Clock::ahead_by(0), &database).await;
    for skew in [300, -300, 1900, -1900] {
        let other = replica(&Clock::ahead_by(skew), &one.database).await;
        let person = one.person(&format!("by{skew}")).await;
        let mut password = PASSWORD.to_owned();
        for round in 0..6 {
            let (changer, signer) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let (access, refresh) = signer.sign_in(&person.email, &password).await;
            let mut older = vec![access.clone()];
            let mut refresh = refresh;
            for server in [&one, &other, signer] {
                let next = server.refresh(&refresh).await.expect_status(200);
                // A retry within the leeway: another access token of the same generation.
                let again = server.refresh(&refresh).await.expect_status(200);
                older.extend([next.text("access_token"), again.text("access_token")]);
                refresh = next.text("refresh_token");
            }
            for token in &older {
                one.me(token).await.expect_status(200);
                other.me(token).await.expect_status(200);
            }
            password = format!("{NEW} {skew} {round}");
            let body = json!({ "password": password });
            changer.change_me(&access, &body).await.expect_status(200);
            // The session continues, and new sign-ins work at once, on both replicas.
            let next = signer.refresh(&refresh).await.expect_status(200);
            let (third, _) = signer.sign_in(&person.email, &password).await;
            let (fourth, _) = changer.sign_in(&person.email, &password).await;
            for token in older {
                changer.me(&token).await.expect_reason("token_revoked");
                signer.wait_until_refused(&token).await.expect_reason("token_revoked");
            }
            for token in [next.text("access_token"), third, fourth] {
                one.me(&token).await.expect_status(200);
                other.me(&token).await.expect_status(200);
            }
        }
    }
}

#[tokio::test]
async fn the_chain_of_the_audit_is_whole_after_parallel_writes_on_three_replicas() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let three = Server::setup().on(one.database.clone()).start().await;
    let servers = [&one, &two, &three];
    let mut people = Vec::new();
    for turn in 0..6 {
        people.push(servers[turn % 3].person(&format!("person{turn}")).await);
    }
    // Fifteen at once, which fit into the queue for hashing.
    let (servers, people) = (&servers, &people);
    let lives = futures_util::stream::iter((0..60).map(|turn| {
        let (server, person) = (servers[turn % 3], &people[turn % 6]);
        async move {
            let form = [("username", &*person.email), ("password", PASSWORD)];
            let login = |server: &Server| server.post("/auth/jwt/login").form(&form);
            let signed_in = server.beside_others(login).await.expect_status(200);
            let access = signed_in.text("access_token");
            let ends = |server: &Server| match turn % 3 {
                0 => server.post("/auth/jwt/logout").bearer(&access),
                1 => server.request("DELETE", "/auth/sessions").bearer(&access),
                _ => server.post("/auth/revoke").form(&[("token", &*access)]),
            };
            let ended = server.beside_others(ends).await;
            assert!(turn % 3 > 0 || ended.status == 204, "{}", ended.body);
        }
    }));
    lives.buffer_unordered(15).collect::<Vec<_>>().await;
    let verified = json_of(&tessera(&one, &["audit", "verify", "--output", "json"]));
    assert_eq!(verified["whole"], true, "{verified}");
    // 6 registrations, 66 sign-ins, and the ends of sessions. Others ended some sessions first.
    assert!(verified["seq"].as_i64().unwrap() > 100, "{verified}");
    assert_eq!(one.database.count("audit").await, verified["seq"].as_i64().unwrap());
}

/// A refresh on a replica that still knows the user as a superuser must not sign a scope that the user has lost.
#[tokio::test]
async fn no_token_with_a_lost_scope_is_accepted_after_a_refresh_during_a_demotion() {
    let server = Server::start().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let path = format!("/users/{}", person.id);
    let flag = async |is: bool| {
        let body = json!({ "is_superuser": is });
        let change = |server: &Server| server.patch(&path).bearer(&root.access).json(&body);
        server.beside_others(change).await.expect_status(200)
    };
    let mut refresh = person.refresh.clone();
    for round in 0..12 {
        flag(true).await;
        other.wait_until_superuser(&refresh_once(&other, &mut refresh).await).await;
        let mut tokens = Vec::new();
        tokio::join!(flag(false), async {
            for _ in 0..4 {
                tokens.push(refresh_once(&other, &mut refresh).await);
            }
        });
        tokens.push(refresh_once(&other, &mut refresh).await);
        for token in tokens {
            let carries = claims_of(&token)["scope"].as_str().unwrap().contains("super");
            if carries {
                for replica in [&server, &other] {
                    replica.wait_until_refused(&token).await;
                }
            }
        }
        let last = refresh_once(&other, &mut refresh).await;
        assert_eq!(claims_of(&last)["scope"], "authenticated", "round {round}");
    }
}

async fn refresh_once(server: &Server, refresh: &mut String) -> String {
    let spend = |server: &Server| server.post("/auth/jwt/refresh").bearer(refresh);
    let answer = server.beside_others(spend).await.expect_status(200);
    *refresh = answer.text("refresh_token");
    answer.text("access_token")
}

impl Server {
    /// Waits until this replica knows a user as a superuser.
    async fn wait_until_superuser(&self, token: &str) {
        let knows = async || self.me(token).await.json["is_superuser"] == true;
        eventually("the replica knows the superuser", knows).await;
    }
}
