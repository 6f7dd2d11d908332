//! The cost of passwords, and more sign-ins than can be hashed at once.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::task::JoinSet;

use crate::support::{Kind, PASSWORD, Request, Server, TestDatabase, eventually};

impl Server {
    /// Checks that the server spends the same CPU time on each refused sign-in. A busy machine only makes a sign-in more
    /// expensive, so the cheapest of several counts, and the cases take turns.
    async fn expect_the_same_cost(&self, cases: &[(&str, &str)]) {
        let mut costs = vec![u64::MAX; cases.len()];
        for _ in 0..6 {
            for ((username, password), cost) in cases.iter().zip(&mut costs) {
                let before = self.cpu_ticks();
                self.login(username, password).await.expect_status(400);
                *cost = (self.cpu_ticks() - before).min(*cost);
            }
        }
        let (cheapest, dearest) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
        assert!(*cheapest > 4, "the hashing is too cheap to measure: {costs:?}");
        assert!(dearest * 2 < cheapest * 3, "{costs:?}");
    }
}

#[tokio::test]
async fn unknown_users_and_long_passwords_cost_as_much_as_a_wrong_password() {
    let server = Server::setup().set("BCRYPT_COST", 11).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let long = "x".repeat(1000);
    server.register("long@user.com", &long).await.expect_status(201);
    let inactive = server.register("inactive@user.com", PASSWORD).await.text("id");
    server
        .database
        .execute(&format!("update \"user\" set is_active = false where id = '{inactive}'"))
        .await;
    let cases = [
        ("first@user.com", "wrong"),
        ("nobody@user.com", "wrong"),
        ("nobody@user.com", &long),
        ("first@user.com", &long),
        ("first@user.com", "nul\0nul"),
        ("long@user.com", "wrong"),
        ("inactive@user.com", PASSWORD),
        ("nul\0@user.com", "wrong"),
    ];
    server.expect_the_same_cost(&cases).await;
}

/// The cost must not show that a user has an old hash with a lower cost.
#[tokio::test]
async fn a_user_with_an_old_hash_costs_as_much_as_an_unknown_user() {
    let server = Server::setup().set("BCRYPT_COST", 7).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let server = Server::setup().on(server.kill()).set("BCRYPT_COST", 11).start().await;
    server.expect_the_same_cost(&[("first@user.com", "wrong"), ("nobody@user.com", "wrong")]).await;
    server.login("first@user.com", PASSWORD).await.expect_status(200);
}

/// If many users sign in at once, those that would wait for too long get 503. Every request in the queue is answered,
/// and requests without a password do not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_gets_503_and_does_not_delay_other_requests() {
    let server = Server::setup().set("BCRYPT_COST", 12).start().await;
    let person = server.person("first").await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let form = [("username", "nobody@user.com"), ("password", "wrong")];
        flood.spawn(server.post("/auth/jwt/login").form(&form).send());
    }
    for _ in 0..20 {
        server.me(&person.access).await.expect_status(200);
    }
    let mut statuses = Vec::new();
    let mut codes = std::collections::BTreeSet::new();
    while let Some(answer) = flood.join_next().await {
        let answer = answer.unwrap();
        if answer.status == 503 {
            codes.insert(answer.code());
            assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        statuses.push(answer.status);
    }
    // On a busy machine, some requests in the queue also time out.
    assert!(codes.contains("SERVICE_BUSY"), "no request found the queue full: {codes:?}");
    assert!(statuses.contains(&400), "no request in the queue was answered");
    assert!(statuses.iter().all(|status| [400, 503].contains(status)), "{statuses:?}");
    server.me(&person.access).await.expect_status(200);
}

/// The address of those who flood a server, as its proxy says it.
const FLOOD: &str = "192.0.2.1";

/// The accounts that they own.
const OWNED: [&str; 6] =
    ["f0@user.com", "f1@user.com", "f2@user.com", "f3@user.com", "f4@user.com", "f5@user.com"];

/// Those who sign in from elsewhere meanwhile.
const HONEST: [&str; 4] = ["h0@user.com", "h1@user.com", "h2@user.com", "h3@user.com"];

/// A server behind a proxy, with everybody's accounts. A hash takes less than it usually does: this machine may be busy,
/// and what is shown holds at any cost as long as nobody waits for seven seconds.
async fn floodable(cost: u32) -> Server {
    let setup = Server::setup().set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    let server = setup.set("BCRYPT_COST", cost).start().await;
    for email in OWNED.iter().chain(&HONEST) {
        server.register(email, PASSWORD).await.expect_status(201);
    }
    server
}

impl Server {
    fn signing_in_from(&self, from: &str, username: &str) -> Request {
        let form = [("username", username), ("password", PASSWORD)];
        self.post("/auth/jwt/login").header("X-Forwarded-For", from).form(&form)
    }

    /// The number of sign-ins of the flood.
    async fn floods(&self) -> i64 {
        let flooding = format!("session where ip = '{FLOOD}'");
        self.database.count(&flooding).await
    }

    /// Signs 28 people in, each from an address of their own and four at once.
    async fn signs_in_everybody_else(&self) {
        for round in 0..7 {
            let mut tasks = JoinSet::new();
            for (turn, email) in HONEST.iter().enumerate() {
                let from = format!("198.51.100.{}", round * HONEST.len() + turn);
                tasks.spawn(self.signing_in_from(&from, email).send());
            }
            for answer in tasks.join_all().await {
                answer.expect_status(200);
            }
        }
    }
}

/// As many as an office has people, who come to work at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn many_sign_ins_at_once_from_one_address_are_all_let_in() {
    let server = floodable(8).await;
    let mut tasks = JoinSet::new();
    for turn in 0..32 {
        tasks.spawn(server.signing_in_from("192.0.2.7", OWNED[turn % OWNED.len()]).send());
    }
    for answer in tasks.join_all().await {
        answer.expect_status(200);
    }
}

/// A client that owns accounts and signs in without a pause delays only itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_right_passwords_from_one_address_refuses_nobody_elsewhere() {
    let server = Arc::new(floodable(8).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for turn in 0..30 {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        flood.spawn(async move {
            for username in OWNED.iter().cycle().skip(turn) {
                let answer = server.signing_in_from(FLOOD, username).send().await;
                assert!([200, 503].contains(&answer.status), "{}", answer.body);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
    }
    eventually("the flood is there", async || server.floods().await > 0).await;
    server.signs_in_everybody_else().await;
    stop.store(true, Ordering::Relaxed);
    flood.join_all().await;
}

/// Nor do those who come again before they are answered, so that their connections bound nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_waits_for_no_answer_refuses_nobody_elsewhere() {
    let server = floodable(10).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, address) = (Arc::clone(&stop), server.address);
    let flood = std::thread::spawn(move || {
        for username in OWNED.iter().cycle().take_while(|_| !stopped.load(Ordering::Relaxed)) {
            let body = format!("username={username}&password={}", PASSWORD.replace(' ', "+"));
            let request = format!(
                "POST /auth/jwt/login HTTP/1.1\r\nHost: {address}\r\nX-Forwarded-For: {FLOOD}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if let Ok(mut stream) = TcpStream::connect(address) {
                let _ = stream.write_all(request.as_bytes());
            }
            // Far more than can be hashed, and the processor is left to the server.
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    eventually("the flood is there", async || server.floods().await > 0).await;
    eventually("the flood fills the queue", async || {
        let answer = server.signing_in_from(FLOOD, OWNED[0]).send().await;
        answer.status == 503 && answer.code() == "SERVICE_BUSY"
    })
    .await;
    server.signs_in_everybody_else().await;
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

/// A place in the queue is taken when a hash is to be computed, not while the database is asked: a slow
/// database must not look like a flood.
#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_that_wait_for_the_database_take_no_place_in_the_queue() {
    let server = Server::setup().on(TestDatabase::create(Kind::Postgres).await).start().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let connection = server.database.connect().await;
    let table = connection.begin().await.unwrap();
    table.execute_unprepared("lock table \"user\" in access exclusive mode").await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        tasks.spawn(server.signing_in_from("192.0.2.7", "first@user.com").send());
    }
    server.database.wait_for_a_blocked_statement().await;
    // Meanwhile the others arrive.
    for _ in 0..20 {
        server.get("/health/live").send().await.expect_status(200);
    }
    table.rollback().await.unwrap();
    let answers = tasks.join_all().await;
    assert!(answers.iter().any(|answer| answer.status == 200), "{}", answers[0].body);
    for answer in answers {
        // On a busy machine, some have waited for the database for too long.
        let is_away = answer.status == 503 && answer.code() != "SERVICE_BUSY";
        assert!(answer.status == 200 || is_away, "{}", answer.body);
    }
}
