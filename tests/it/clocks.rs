//! Clocks that are wrong, differ, or are set: ended sessions stay ended, and users do not wait for a clock.

use serde_json::{Value, json};

use crate::support::{Clock, Kind, PASSWORD, Person, Server, TestDatabase, claims_of};

const HOUR: i64 = 3_600_000;

/// The new password in these tests.
pub(crate) const NEW: &str = "another correct horse";

async fn server(clock: &Clock) -> Server {
    Server::setup().clock(clock).set("REFRESH_TOKEN_EXPIRES", 3600).start().await
}

/// To a clock that is two hours ahead, the other session has expired. Actions that end all sessions end it too.
#[tokio::test]
async fn actions_that_end_sessions_end_those_that_seem_expired_to_a_clock_ahead() {
    let clock = Clock::ahead_by(0);
    let server = server(&clock).await;
    let root = server.superuser("root").await;
    for act in ["logout-all", "others", "password", "by a superuser", "deactivation", "deletion"] {
        let person = server.person(&act.replace(' ', "-")).await;
        clock.set(2 * HOUR);
        server.wait_until_ready().await;
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
        server.wait_until_ready().await;
        let answer = server.me(&person.access).await;
        assert_eq!(answer.status, 401, "{act}: {}", answer.body);
        answer.expect_reason("token_revoked");
        let answer = server.refresh(&person.refresh).await;
        assert_eq!(answer.status, 401, "{act}: {}", answer.body);
    }
}

/// After a clock was two hours ahead, new tokens are valid at once. Older tokens stay refused, also when the time
/// comes at which they were issued.
#[tokio::test]
async fn tokens_are_valid_at_once_after_a_clock_was_ahead() {
    let clock = Clock::ahead_by(2 * HOUR);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    let password = json!({ "password": NEW });
    server.change_me(&person.access, &password).await.expect_status(200);
    let kept = server.refresh(&person.refresh).await.expect_status(200);
    server.me(&kept.text("access_token")).await.expect_status(200);

    clock.set(0);
    server.wait_until_ready().await;
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
    // The time comes at which the old tokens were issued.
    clock.set(2 * HOUR + 1000);
    server.wait_until_ready().await;
    for token in [&person.access, &kept.text("access_token")] {
        server.me(token).await.expect_reason("token_revoked");
    }
    let server = Server::setup().clock(&clock).on(server.kill()).start().await;
    for token in [&person.access, &kept.text("access_token")] {
        server.me(token).await.expect_reason("token_revoked");
    }
}

/// A cut-off that covers the tokens of the session would be ahead of the clock, so the session ends too.
#[tokio::test]
async fn a_session_whose_tokens_are_far_ahead_ends_if_it_changes_the_password() {
    let clock = Clock::ahead_by(2 * HOUR);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    server.post("/auth/jwt/logout-all").bearer(&person.access).send().await.expect_status(204);
    clock.set(0);
    server.wait_until_ready().await;
    // These tokens come after the cut-off, so in the order of the user's tokens they are ahead of the clock.
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

/// The lifetime is shortened. A token from before stays valid, and is refused after a sign-out until it expires.
#[tokio::test]
async fn a_revocation_holds_for_the_longest_lifetime_of_any_token() {
    let clock = Clock::ahead_by(0);
    let database = TestDatabase::create(Kind::from_environment()).await;
    let server = with_life(3600, &clock, database).await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let root = server.superuser("root").await;
    let (third, _) = server.sign_in(&root.email, PASSWORD).await;
    let server = with_life(900, &clock, server.kill()).await;
    // Its lifetime is accepted, because it was permitted when the token was signed.
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
    server.wait_until_ready().await;
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

/// One of two servers signs tokens with a longer lifetime. The other knows this, whichever started first.
#[tokio::test]
async fn a_revocation_covers_the_longer_lifetime_of_another_replica() {
    let clock = Clock::ahead_by(0);
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).start().await;
    let long = with_life(7200, &clock, short.database.clone()).await;
    let person = long.person("first").await;
    short.logout(&person.refresh).await.expect_status(204);
    let until = short.database.column::<i64>("select until from revocation").await;
    let last = claims_of(&person.access)["exp"].as_i64().unwrap() * 1000;
    assert!(until.iter().all(|until| *until >= last), "{until:?}, {last}");
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [7200]);
    // Its tokens may still be valid, so the longer lifetime stays recorded after the server stopped.
    drop(long);
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).on(short.kill()).start().await;
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [7200]);
    short.database.execute("update feed set longest_until = 0").await;
    let short = Server::setup().set("ACCESS_TOKEN_EXPIRES", 60).on(short.kill()).start().await;
    assert_eq!(short.database.column::<i64>("select longest from feed").await, [60]);
}

/// A server that started with a clock ahead did not read revocations that had expired by this clock. When the clock is
/// right again, the tokens are still refused.
#[tokio::test]
async fn setting_a_clock_back_revives_no_token() {
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
    server.wait_until_ready().await;
    server.me(&first.access).await.expect_reason("token_revoked");
    server.me(&second.access).await.expect_status(200);
}

/// While a machine is suspended, its monotonic clock stops. The wall clock shows that the revocations in memory are
/// old. The server answers 503 and recovers by itself.
#[tokio::test]
async fn a_server_refuses_tokens_if_its_revocations_are_old_by_the_wall_clock() {
    let clock = Clock::ahead_by(0);
    let server = Server::setup().clock(&clock).start().await;
    let person = server.person("first").await;
    let jti = claims_of(&person.access)["jti"].as_str().unwrap().to_owned();
    // The server cannot read what another server writes meanwhile.
    server.database.execute("alter table revocation rename to away").await;
    let row = format!("values ('jti', '{jti}', 9999999999999, 'test', 0)");
    let into = "insert into away (kind, subject, until, why, at)";
    server.database.execute(&format!("{into} {row}")).await;
    clock.set(20_000);
    server.me(&person.access).await.expect_refusal(503, "SERVICE_UNAVAILABLE");
    server.database.execute("alter table away rename to revocation").await;
    server.wait_until_ready().await;
    server.me(&person.access).await.expect_reason("token_revoked");
}

/// Only tests can move the clock.
#[tokio::test]
async fn production_refuses_the_setting_that_moves_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::support::command(folder.path());
    command.args(["serve", "--port=0"]).env("TESSERA_CLOCK_FILE", "clock");
    let output = command.env("APP_SECRET", crate::support::SECRET).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("TESSERA_CLOCK_FILE"), "{text}");
    let shown: Value = json!(api::base::config::example());
    assert!(!shown.as_str().unwrap().contains("TESSERA_CLOCK_FILE"));
}
