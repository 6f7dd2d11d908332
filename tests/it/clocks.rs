//! Clocks that are wrong, differ, or are set: what was ended stays ended, and nobody waits for a clock.

use serde_json::{Value, json};

use crate::support::{Clock, Kind, PASSWORD, Person, Server, TestDatabase, claims_of};

const HOUR: i64 = 3_600_000;

/// What a new password is in these tests.
pub(crate) const NEW: &str = "another correct horse";

async fn server(clock: &Clock) -> Server {
    Server::setup().clock(clock).set("REFRESH_TOKEN_EXPIRES", 3600).start().await
}

/// By a clock that is two hours ahead the other session has expired; what ends every session ends it too.
#[tokio::test]
async fn every_act_that_ends_sessions_ends_those_that_seem_expired_by_a_clock_ahead() {
    let clock = Clock::ahead_by(0);
    let server = server(&clock).await;
    let root = server.superuser("root").await;
    for act in ["logout-all", "others", "password", "by a superuser", "deactivation", "deletion"] {
        let person = server.person(&act.replace(' ', "-")).await;
        clock.set(2 * HOUR);
        server.settles().await;
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        let (admin, _) = server.sign_in(&root.email, PASSWORD).await;
        let user = format!("/users/{}", person.id);
        let answer = match act {
            "logout-all" => server.post("/auth/jwt/logout-all").bearer(&access),
            "others" => server.request("DELETE", "/auth/sessions").bearer(&access),
            "password" => {
                server.patch("/users/me").bearer(&access).json(&json!({ "password": NEW }))
            }
            "by a superuser" => {
                let body = json!({ "kind": "sub", "subject": person.id, "why": "a test" });
                server.post("/admin/revocations").bearer(&admin).json(&body)
            }
            "deactivation" => {
                server.patch(&user).bearer(&admin).json(&json!({ "is_active": false }))
            }
            _ => server.request("DELETE", &user).bearer(&admin),
        };
        let answer = answer.send().await;
        assert!([200, 204].contains(&answer.status), "{act}: {} {}", answer.status, answer.body);
        clock.set(0);
        server.settles().await;
        let answer = server.me(&person.access).await;
        assert_eq!(answer.status, 401, "{act}: {}", answer.body);
        answer.expect_reason("token_revoked");
        let answer = server.refresh(&person.refresh).await;
        assert_eq!(answer.status, 401, "{act}: {}", answer.body);
    }
}

/// After a clock that was two hours ahead tokens are valid at once, and those from before stay refused when
/// their time comes.
#[tokio::test]
async fn a_clock_that_was_ahead_makes_nobody_wait() {
    let clock = Clock::ahead_by(2 * HOUR);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    let password = json!({ "password": NEW });
    server.change_me(&person.access, &password).await.expect_status(200);
    let kept = server.refresh(&person.refresh).await.expect_status(200);
    server.me(&kept.text("access_token")).await.expect_status(200);

    clock.set(0);
    server.settles().await;
    for turn in 0..2 {
        let answer = server.login(&person.email, NEW).await.expect_status(200);
        let access = answer.text("access_token");
        assert_eq!(answer.json["expires_in"], 900, "{}", answer.body);
        server.me(&access).await.expect_status(200);
        let answer = server.refresh(&answer.text("refresh_token")).await.expect_status(200);
        assert_eq!(answer.json["expires_in"], 900, "{}", answer.body);
        server.me(&answer.text("access_token")).await.expect_status(200);
        if turn == 0 {
            server.post("/auth/jwt/logout-all").bearer(&access).send().await.expect_status(204);
        }
    }
    // The time of the old tokens comes.
    clock.set(2 * HOUR + 1000);
    server.settles().await;
    for token in [&person.access, &kept.text("access_token")] {
        server.me(token).await.expect_reason("token_revoked");
    }
    let server = Server::setup().clock(&clock).on(server.kill()).start().await;
    for token in [&person.access, &kept.text("access_token")] {
        server.me(token).await.expect_reason("token_revoked");
    }
}

/// A cut-off that covers the tokens of the session would lie ahead of the clock: the session ends too.
#[tokio::test]
async fn a_session_whose_tokens_are_far_ahead_ends_with_the_password_it_changes() {
    let clock = Clock::ahead_by(2 * HOUR);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    server.post("/auth/jwt/logout-all").bearer(&person.access).send().await.expect_status(204);
    clock.set(0);
    server.settles().await;
    // After that cut-off, and so ahead of the clock in the order of this user's tokens.
    let (access, refresh) = server.sign_in(&person.email, PASSWORD).await;
    let before = server.database.column::<i64>("select max(seq) from revocation").await[0];
    server.change_me(&access, &json!({ "password": NEW })).await.expect_status(200);
    server.me(&access).await.expect_reason("token_revoked");
    server.refresh(&refresh).await.expect_refusal(401, "SESSION_ENDED");
    let cut_off = format!("select at from revocation where kind = 'sub' and seq > {before}");
    let cut_off = server.database.column::<i64>(&cut_off).await[0];
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(u128::from(cut_off.unsigned_abs()) <= now);
    let (access, refresh) = server.sign_in(&person.email, NEW).await;
    server.me(&access).await.expect_status(200);
    server.refresh(&refresh).await.expect_status(200);
}

async fn with_life(seconds: u64, clock: &Clock, database: TestDatabase) -> Server {
    let setup = Server::setup().set("ACCESS_TOKEN_EXPIRES", seconds).clock(clock);
    setup.on(database).start().await
}

/// The setting is shortened; a token from before lives on, and is refused after a sign-out until it expires.
#[tokio::test]
async fn a_revocation_holds_for_the_longest_life_that_a_token_may_have() {
    let clock = Clock::ahead_by(0);
    let database = TestDatabase::create(Kind::from_environment()).await;
    let server = with_life(3600, &clock, database).await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let root = server.superuser("root").await;
    let (third, _) = server.sign_in(&root.email, PASSWORD).await;
    let server = with_life(900, &clock, server.kill()).await;
    // It does not live too long: it was signed so.
    for token in [&first.access, &second.access] {
        server.me(token).await.expect_status(200);
    }
    server.logout(&first.access).await.expect_status(204);
    server.change_me(&second.access, &json!({ "password": NEW })).await.expect_status(200);
    let by_id = json!({ "kind": "jti", "subject": claims_of(&third)["jti"], "why": "a test" });
    let request = server.post("/admin/revocations").bearer(&root.access).json(&by_id);
    request.send().await.expect_status(204);
    let expires = |person: &Person| claims_of(&person.access)["exp"].as_i64().unwrap() * 1000;
    let last = expires(&first).max(expires(&second));
    let until = server.database.column::<i64>("select until from revocation").await;
    assert!(until.iter().all(|until| *until >= last), "{until:?}, {last}");
    clock.set(HOUR / 2);
    server.settles().await;
    for turn in 0..2 {
        for token in [&first.access, &second.access, &third] {
            server.me(token).await.expect_reason("token_revoked");
        }
        if turn == 0 {
            let again = with_life(900, &clock, server.database.clone()).await;
            for token in [&first.access, &second.access, &third] {
                again.me(token).await.expect_reason("token_revoked");
            }
        }
    }
}

/// Of two servers one signs longer tokens: the other knows, whichever started first.
#[tokio::test]
async fn a_replica_with_a_longer_setting_is_counted_with() {
    let clock = Clock::ahead_by(0);
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).start().await;
    let long = with_life(7200, &clock, short.database.clone()).await;
    let person = long.person("first").await;
    short.logout(&person.refresh).await.expect_status(204);
    let until = short.database.column::<i64>("select until from revocation").await;
    let last = claims_of(&person.access)["exp"].as_i64().unwrap() * 1000;
    assert!(until.iter().all(|until| *until >= last), "{until:?}, {last}");
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [7200]);
    // Its tokens may live: the longer life stays noted after it stopped.
    drop(long);
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).on(short.kill()).start().await;
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [7200]);
    short.database.execute("update feed set longest_until = 0").await;
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).on(short.kill()).start().await;
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [60]);
}

/// A server that started by a clock ahead did not read what had expired by that clock. Once the clock is
/// right, nothing of it is accepted.
#[tokio::test]
async fn a_clock_that_is_set_back_revives_no_token() {
    let clock = Clock::ahead_by(0);
    let server = Server::setup().clock(&clock).start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    server.logout(&first.access).await.expect_status(204);
    clock.set(2 * HOUR);
    let server = Server::setup().clock(&clock).on(server.kill()).start().await;
    server.me(&first.access).await.expect_reason("token_expired");
    clock.set(0);
    let answer = server.me(&first.access).await;
    assert!([401, 503].contains(&answer.status), "{}", answer.body);
    server.settles().await;
    server.me(&first.access).await.expect_reason("token_revoked");
    server.me(&second.access).await.expect_status(200);
}

/// While a machine is suspended its monotonic clock stands still; the wall clock tells that what is known is
/// old. The server says nothing wrong, and recovers alone.
#[tokio::test]
async fn knowledge_that_is_old_by_the_wall_clock_is_old() {
    let clock = Clock::ahead_by(0);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    let jti = claims_of(&person.access)["jti"].as_str().unwrap().to_owned();
    // It cannot read what another server wrote meanwhile.
    server.database.execute("alter table revocation rename to away").await;
    let row = format!("values ('jti', '{jti}', 9999999999999, 'test', 0)");
    let into = "insert into away (kind, subject, until, why, at)";
    server.database.execute(&format!("{into} {row}")).await;
    clock.set(20_000);
    server.me(&person.access).await.expect_refusal(503, "SERVICE_UNAVAILABLE");
    server.database.execute("alter table away rename to revocation").await;
    server.settles().await;
    server.me(&person.access).await.expect_reason("token_revoked");
}

/// The clock is moved by tests alone.
#[tokio::test]
async fn the_clock_cannot_be_moved_in_production() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::support::command(folder.path());
    command.args(["serve", "--port=0"]).env("TESSERA_CLOCK_FILE", "clock");
    let output = command.env("APP_SECRET", crate::support::SECRET).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("TESSERA_CLOCK_FILE"), "{text}");
    let shown: Value = json!(api::base::config::example());
    assert!(!shown.as_str().unwrap().contains("TESSERA_CLOCK_FILE"));
}
