//! Passwords cannot be guessed, and attackers cannot lock owners out.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, PASSWORD, Server, TestDatabase};

/// A server with rate limits, behind a trusted proxy.
async fn limiting() -> Server {
    on(TestDatabase::create(crate::support::Kind::from_environment()).await).await
}

async fn on(database: TestDatabase) -> Server {
    let server = Server::setup().set("RATE_LIMIT", "on").set("TRUSTED_PROXIES", "127.0.0.0/8,::1");
    server.on(database).start().await
}

/// The time by which [`Server::prolong_delays`] prolongs the delays.
const PROLONGED: Duration = Duration::from_secs(600);

impl Server {
    /// Prolongs each delay that has begun, once. The first ones last for two seconds, and a test can need more for all
    /// that it tries in this time. Returns the number of delays.
    pub(crate) async fn prolong_delays(&self) -> u64 {
        // An attempt counts for an hour after its delay, so it shows which delays are still as they were.
        let prolong = format!(
            "update attempt set blocked_until = blocked_until + {} \
             where blocked_until > 0 and expires_at - blocked_until = 3600000",
            PROLONGED.as_millis()
        );
        self.database.execute(&prolong).await
    }

    async fn login_from(&self, from: &str, username: &str, password: &str) -> Answer {
        let form = [("username", username), ("password", password)];
        self.post("/auth/jwt/login").header("X-Forwarded-For", from).form(&form).send().await
    }

    /// Guesses until a guess is refused with 429. Returns the number of guesses before that.
    async fn guess(&self, from: &str, username: &str) -> usize {
        let mut delayed = 0;
        for turn in 0..40 {
            let answer = self.login_from(from, username, "wrong").await;
            if answer.status == 429 {
                assert!(delayed > 0, "the delay was not prolonged");
                let wait: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=900).contains(&wait), "{wait}");
                answer.expect_refusal(429, "TOO_MANY_ATTEMPTS");
                return turn;
            }
            answer.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
            delayed += self.prolong_delays().await;
        }
        panic!("guessing is not limited");
    }
}

#[tokio::test]
async fn guesses_are_limited_alike_for_known_and_unknown_names() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let known = server.guess("192.0.2.1", "first@user.com").await;
    let unknown = server.guess("192.0.2.1", "nobody@user.com").await;
    assert_eq!((known, unknown), (6, 6));
    // The right password is not checked either, in any spelling of the name and on any route.
    for username in ["first@user.com", "FIRST@user.com", "First@User.com"] {
        server.login_from("192.0.2.1", username, PASSWORD).await.expect_status(429);
        let form = [("username", username), ("password", PASSWORD)];
        let cookie = server.post("/auth/cookie/login").header("X-Forwarded-For", "192.0.2.1");
        cookie.form(&form).send().await.expect_status(429);
    }
    // The owner can sign in from elsewhere, and from here after the delay.
    server.login_from("192.0.2.2", "first@user.com", PASSWORD).await.expect_status(200);
    server.advance(PROLONGED + Duration::from_millis(2100)).await;
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
    // A successful sign-in resets the counter.
    assert_eq!(server.guess("192.0.2.1", "first@user.com").await, 6);
}

#[tokio::test]
async fn the_delay_doubles_with_every_further_guess() {
    let server = limiting().await;
    assert_eq!(server.guess("192.0.2.1", "first@user.com").await, 6);
    let now = || {
        let millis = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        millis + server.database.clock().ahead()
    };
    for seconds in [4, 8, 16] {
        server.advance(PROLONGED + Duration::from_secs(seconds / 2)).await;
        let begin = now();
        let answer = server.login_from("192.0.2.1", "first@user.com", "wrong").await;
        answer.expect_status(400);
        let blocked = "select max(blocked_until) from attempt";
        let until = server.database.column::<i64>(blocked).await[0];
        let wait = i64::try_from(seconds).unwrap() * 1000;
        assert!((begin + wait..=now() + wait).contains(&until), "{begin} {until}");
        server.prolong_delays().await;
        server.login_from("192.0.2.1", "first@user.com", "wrong").await.expect_status(429);
    }
}

#[tokio::test]
async fn parallel_guesses_are_counted_before_the_passwords_are_checked() {
    let server = limiting().await;
    let other = on(server.database.clone()).await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    // After a few guesses in a row, a delay is longer than all requests together.
    assert_eq!(server.guess("192.0.2.1", "first@user.com").await, 6);
    let long = "update attempt set count = count + 8, blocked_until = 0 where blocked_until > 0";
    assert!(server.database.execute(long).await > 0);
    server.advance(PROLONGED + Duration::from_millis(2100)).await;
    other.wait_until_ready().await;
    let mut tasks = JoinSet::new();
    for turn in 0..40 {
        let server = if turn % 2 == 0 { &server } else { &other };
        let form = [("username", "first@user.com"), ("password", "wrong")];
        let request = server.post("/auth/jwt/login").header("X-Forwarded-For", "192.0.2.1");
        tasks.spawn(request.form(&form).send());
    }
    let answers = tasks.join_all().await;
    let looked_at = answers.iter().filter(|answer| answer.status == 400).count();
    assert!(looked_at <= 1, "{looked_at} guesses were checked");
    assert!(answers.iter().all(|answer| [400, 429, 503].contains(&answer.status)));
}

#[tokio::test]
async fn limits_survive_a_restart_and_apply_on_every_replica() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    let other = on(server.database.clone()).await;
    server.guess("192.0.2.1", "first@user.com").await;
    // As many guesses as cause a long delay.
    server.database.execute("update attempt set count = 20, blocked_until = 0").await;
    let server = on(server.kill()).await;
    server.login_from("192.0.2.1", "first@user.com", "wrong").await;
    for server in [&server, &other] {
        server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(429);
    }
    // The table does not show which accounts were tried.
    let keys = server.database.column::<String>("select \"key\" from attempt").await;
    assert!(keys.iter().all(|key| key.len() == 64 && !key.contains("user")));
}

/// Many IP addresses try one account. The owner can sign in from an IP address that they used before.
#[tokio::test]
async fn owners_can_sign_in_where_they_used_the_account_before() {
    let server = limiting().await;
    server.register("first@user.com", PASSWORD).await.expect_status(201);
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
    let mut refused = 0;
    for turn in 0..60 {
        let from = format!("198.51.100.{turn}");
        let answer = server.login_from(&from, "first@user.com", "wrong").await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0, "guesses from many IP addresses are not limited");
    server.login_from("203.0.113.1", "first@user.com", PASSWORD).await.expect_status(429);
    server.login_from("192.0.2.1", "first@user.com", PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn an_ip_address_that_tries_many_accounts_has_to_wait() {
    let server = limiting().await;
    let mut tried = 0;
    for turn in 0..130 {
        let answer = server.login_from("2001:db8::1", &format!("u{turn}@user.com"), "x").await;
        tried += usize::from(answer.status == 400);
        // The whole network of 64 bits counts as one IP address.
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
async fn attempts_to_give_the_password_again_are_limited() {
    let server = limiting().await;
    let person = server.person("first").await;
    let fresh = async |password: &str| {
        let request = server.post("/auth/jwt/fresh").bearer(&person.access);
        request.json(&json!({ "password": password })).send().await
    };
    for _ in 0..6 {
        fresh("wrong").await.expect_refusal(400, "LOGIN_BAD_CREDENTIALS");
    }
    server.prolong_delays().await;
    fresh(PASSWORD).await.expect_refusal(429, "TOO_MANY_ATTEMPTS");
    server.login("first@user.com", PASSWORD).await.expect_status(429);
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn registrations_from_one_ip_address_are_limited() {
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

/// `X-Forwarded-For` counts only if a trusted proxy sends it.
#[tokio::test]
async fn a_forwarded_header_from_the_caller_does_not_evade_limits() {
    let server = Server::setup().set("RATE_LIMIT", "on").start().await;
    let mut looked_at = 0;
    for turn in 0..20 {
        let from = format!("192.0.2.{turn}");
        let answer = server.login_from(&from, "first@user.com", "wrong").await;
        looked_at += usize::from(answer.status == 400);
        server.prolong_delays().await;
    }
    assert_eq!(looked_at, 6);
    let log = server.log_so_far().await;
    assert_eq!(log.matches("name it in TRUSTED_PROXIES").count(), 1);

    // Behind a proxy, the addresses before the proxy's own entry come from the caller.
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

/// Users who share an IP address are not refused because they sign in at the same moment.
#[tokio::test]
async fn parallel_sign_ins_with_right_passwords_from_one_ip_address_succeed() {
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
async fn nobody_waits_longer_because_a_clock_jumped_ahead_and_back() {
    let server = limiting().await;
    server.guess("192.0.2.1", "first@user.com").await;
    server.database.execute("update attempt set blocked_until = 99999999999999").await;
    let server = on(server.kill()).await;
    let refused = server.login_from("192.0.2.1", "first@user.com", "wrong").await;
    let wait: u64 = refused.expect_status(429).header("retry-after").parse().unwrap();
    assert!(wait <= 901, "{wait}");
}

#[tokio::test]
async fn parallel_sign_ins_succeed_while_they_replace_an_old_hash() {
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
