//! Passwords cannot be guessed, and nobody is locked out by who tries.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, PASSWORD, Server, TestDatabase};

/// A server that limits, behind a proxy that says who asks.
async fn limiting() -> Server {
    on(TestDatabase::create(crate::support::Kind::from_environment()).await).await
}

async fn on(database: TestDatabase) -> Server {
    let server = Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    server.on(database).start().await
}

impl Server {
    async fn login_from(&self, from: &str, username: &str, password: &str) -> Answer {
        let form = [("username", username), ("password", password)];
        self.post("/auth/jwt/login").header("X-Forwarded-For", from).form(&form).send().await
    }

    /// Guesses until that is refused; how often it was not.
    async fn guess(&self, from: &str, username: &str) -> usize {
        for turn in 0..40 {
            let answer = self.login_from(from, username, "wrong").await;
            if answer.status == 429 {
                let wait: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=900).contains(&wait), "{wait}");
                answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
                return turn;
            }
            answer.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
        }
        panic!("guessing is not limited");
    }
}

#[tokio::test]
async fn guesses_are_limited_and_unknown_names_are_told_the_same() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let known = server.guess("192.0.2.1", "first@user.com").await;
    let unknown = server.guess("192.0.2.1", "nobody@user.com").await;
    assert_eq!((known, unknown), (6, 6));
    // The right password is not looked at either, in whatever spelling and through whatever door.
    for username in ["first@user.com", "FIRST@user.com", "First@User.com"] {
        server.login_from("192.0.2.1", username, PASSWORD).await.expect_status(429);
        let form = [("username", username), ("password", PASSWORD)];
        let cookie = server.post("/auth/cookie/login").header("X-Forwarded-For", "192.0.2.1");
        cookie.form(&form).send().await.expect_status(429);
    }
    // Its owner gets in from elsewhere, and from here once the time is over.
    server.login_from("192.0.2.2", "first@user.com", PASSWORD).await.expect_status(200);
    server.advance(Duration::from_millis(2100)).await;
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
    // Success takes back what was counted.
    assert_eq!(server.guess("192.0.2.1", "first@user.com").await, 6);
}

#[tokio::test]
async fn waiting_grows_with_every_further_guess() {
    let server = limiting().await;
    assert_eq!(server.guess("192.0.2.1", "first@user.com").await, 6);
    server.advance(Duration::from_millis(2100)).await;
    let answer = server.login_from("192.0.2.1", "first@user.com", "wrong").await;
    answer.expect_status(400);
    let refused =
        server.login_from("192.0.2.1", "first@user.com", "wrong").await.expect_status(429);
    assert_eq!(refused.header("retry-after"), "4");
}

#[tokio::test]
async fn many_guesses_at_once_are_counted_before_they_are_looked_at() {
    let server = limiting().await;
    let other = on(server.database.clone()).await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let mut tasks = JoinSet::new();
    for turn in 0..40 {
        let server = if turn % 2 == 0 { &server } else { &other };
        let form = [("username", "first@user.com"), ("password", "wrong")];
        let request = server.post("/auth/jwt/login").header("X-Forwarded-For", "192.0.2.1");
        tasks.spawn(request.form(&form).send());
    }
    let answers = tasks.join_all().await;
    let looked_at = answers.iter().filter(|answer| answer.status == 400).count();
    assert!(looked_at <= 6, "{looked_at} guesses were looked at");
    assert!(answers.iter().all(|answer| [400, 429, 503].contains(&answer.status)));
}

#[tokio::test]
async fn limits_outlive_a_restart_and_hold_on_every_replica() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let other = on(server.database.clone()).await;
    // Far enough that it takes a while.
    for _ in 0..3 {
        server.guess("192.0.2.1", "first@user.com").await;
        server.database.execute("update attempt set blocked_until = 0").await;
        server.passes(Duration::from_millis(10));
    }
    server.database.execute("update attempt set count = 20").await;
    let server = on(server.kill()).await;
    server.login_from("192.0.2.1", "first@user.com", "wrong").await;
    for server in [&server, &other] {
        server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(429);
    }
    // Who was tried is not to be read from the table.
    let keys = server.database.column::<String>("select \"key\" from attempt").await;
    assert!(keys.iter().all(|key| key.len() == 64 && !key.contains("user")));
}

/// Many addresses try one account. Its owner, who was here before, gets in.
#[tokio::test]
async fn an_account_that_many_try_is_open_to_who_used_it_before() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
    let mut refused = 0;
    for turn in 0..60 {
        let from = format!("198.51.100.{turn}");
        let answer = server.login_from(&from, "first@user.com", "wrong").await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0, "an account may be tried from anywhere as often as one likes");
    server.login_from("203.0.113.1", "first@user.com", PASSWORD).await.expect_status(429);
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn one_address_that_tries_many_accounts_has_to_wait() {
    let server = limiting().await;
    let mut tried = 0;
    for turn in 0..130 {
        let answer = server.login_from("2001:db8::1", &format!("u{turn}@user.com"), "x").await;
        tried += usize::from(answer.status == 400);
        // The rest of its network is the same place.
        server
            .login_from(&format!("2001:db8::{turn:x}:2"), &format!("v{turn}@user.com"), "x")
            .await;
    }
    assert!(tried < 60, "{tried}");
    server.register("first@user.com", PASSWORD).await;
    let elsewhere = server.login_from("2001:db8:1::1", "first@user.com", PASSWORD).await;
    elsewhere.expect_status(200);
}

#[tokio::test]
async fn the_password_that_is_given_once_more_is_limited_as_well() {
    let server = limiting().await;
    let person = server.person("first").await;
    let fresh = async |password: &str| {
        let request = server.post("/auth/jwt/fresh").bearer(&person.access);
        request.json(&json!({ "password": password })).send().await
    };
    for _ in 0..6 {
        fresh("wrong").await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    }
    fresh(PASSWORD).await.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    server.login("first@user.com", PASSWORD).await.expect_status(429);
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn registrations_of_one_address_are_limited() {
    let server = limiting().await;
    let mut made = 0;
    for turn in 0..40 {
        let body = json!({ "email": format!("u{turn}@user.com"), "password": PASSWORD });
        let request = server.post("/auth/register").header("X-Forwarded-For", "192.0.2.9");
        let answer = request.json(&body).send().await;
        made += usize::from(answer.status == 201);
        if answer.status != 201 {
            answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
        }
    }
    assert_eq!(made, 31);
    server.register("elsewhere@user.com", PASSWORD).await.expect_status(201);
}

/// Whoever is no proxy of ours is not believed.
#[tokio::test]
async fn a_header_that_the_caller_wrote_is_no_way_around() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let mut looked_at = 0;
    for turn in 0..20 {
        let from = format!("192.0.2.{turn}");
        let answer = server.login_from(&from, "first@user.com", "wrong").await;
        looked_at += usize::from(answer.status == 400);
    }
    assert_eq!(looked_at, 6);
    let log = server.log_so_far().await;
    assert_eq!(log.matches("name it in TRUSTED_PROXIES").count(), 1);

    // Behind a proxy, what stands before the proxy's own word is the caller's.
    let server = limiting().await;
    let person = server.person("first").await;
    for (header, expected) in [
        ("192.0.2.7", "192.0.2.7"),
        ("10.9.9.9, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 127.0.0.5", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("\u{e9}, 192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
    ] {
        server.login_from(header, "first@user.com", PASSWORD).await.expect_status(200);
        let sessions = server.get("/auth/sessions?limit=1").bearer(&person.access).send().await;
        assert_eq!(sessions.json["items"][0]["ip"], expected, "{header}");
    }
}

#[tokio::test]
async fn limits_can_be_turned_off() {
    let server = Server::start().await;
    for _ in 0..20 {
        server.login("first@user.com", "wrong").await.expect_status(400);
    }
    assert_eq!(server.database.count("attempt").await, 0);
}

/// Who shares an address with others is not refused because they came at the same moment.
#[tokio::test]
async fn right_passwords_at_once_from_one_address_are_all_let_in() {
    let server = limiting().await;
    for turn in 0..12 {
        let email = format!("u{turn}@user.com");
        server.register(&email, PASSWORD).await.expect_status(201);
    }
    let mut tasks = JoinSet::new();
    for turn in 0..12 {
        let username = format!("u{turn}@user.com");
        let form = [("username", username.as_str()), ("password", PASSWORD)];
        let request = server.post("/auth/jwt/login").header("X-Forwarded-For", "192.0.2.1");
        tasks.spawn(request.form(&form).send());
    }
    for answer in tasks.join_all().await {
        answer.expect_status(200);
    }
    assert_eq!(server.guess("192.0.2.1", "u0@user.com").await, 6);
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_and_back_keeps_nobody_waiting_for_long() {
    let server = limiting().await;
    server.guess("192.0.2.1", "first@user.com").await;
    server.database.execute("update attempt set blocked_until = 99999999999999").await;
    let server = on(server.kill()).await;
    let refused = server.login_from("192.0.2.1", "first@user.com", "wrong").await;
    let wait: u64 = refused.expect_status(429).header("retry-after").parse().unwrap();
    assert!(wait <= 901, "{wait}");
}

#[tokio::test]
async fn two_sign_ins_at_once_make_a_hash_anew_and_both_succeed() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let costly = Server::setup().set("BCRYPT_COST", 9).on(server.kill()).start().await;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let form = [("username", "first@user.com"), ("password", PASSWORD)];
        tasks.spawn(costly.post("/auth/jwt/login").form(&form).send());
    }
    for answer in tasks.join_all().await {
        answer.expect_status(200);
    }
}
