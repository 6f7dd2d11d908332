//! `POST /auth/jwt/refresh`

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Forgery, Kind, PASSWORD, Person, SECRET, Server, claims_of, header_of, kid_of, refresh_key,
};

/// A secret that replaces the usual one of the tests.
const NEXT_SECRET: &str = "b1946ac92492d2347c6235b4d2611184f1d1a2c4e6b8907c5e3d1f0a9b8c7d6e";

impl Server {
    /// Returns everything that a refresh changes in the rows of sessions, and the number of revocations.
    async fn rows(&self) -> (Vec<String>, i64) {
        let columns = ["generation", "rotated_at", "last_used_at", "expires_at", "ended_at"];
        let columns = columns.map(|name| format!("coalesce(cast({name} as varchar(20)), '-')"));
        let sql = format!("select {} from session order by id", columns.join(" || ' ' || "));
        (self.database.column(&sql).await, self.database.count("revocation").await)
    }
}

/// Makes refresh tokens of a session, as an attacker does who has `APP_SECRET` and an access token of the session, and
/// who knows how Tessera makes its tokens. They are signed as in the previous release and as now, for each generation,
/// with each id that an attacker can know.
fn made_with_the_secret(person: &Person, spent: &str) -> Vec<String> {
    let now = claims_of(&person.access)["iat"].as_u64().unwrap();
    let sid: Uuid = claims_of(&person.access)["sid"].as_str().unwrap().parse().unwrap();
    let (raw, derived) = (SECRET.as_bytes().to_vec(), refresh_key(SECRET));
    let issuer = "http://localhost:8000";
    let forms = [
        ("JWT", &raw, "tessera"),
        ("JWT", &raw, issuer),
        ("JWT", &derived, "tessera"),
        ("rt+jwt", &raw, issuer),
        ("rt+jwt", &derived, issuer),
        ("rt+jwt", &derived, "tessera"),
    ];
    let mut tokens = Vec::new();
    for (typ, key, audience) in forms {
        for generation in [u64::MAX, i64::MAX.cast_unsigned(), 3, 2, 1, 0] {
            let ids = [
                Uuid::new_v5(&sid, generation.to_string().as_bytes()).to_string(),
                claims_of(&person.access)["jti"].as_str().unwrap().to_owned(),
            ];
            for id in ids {
                let header = json!({ "typ": typ, "alg": "HS256", "kid": kid_of(key) });
                let claims = json!({
                    "iss": issuer, "sub": person.id, "aud": audience, "iat": now, "nbf": now,
                    "exp": now + 100_000, "jti": id, "sid": sid.to_string(), "type": "refresh",
                    "gen": generation,
                });
                let forgery = Forgery::of(&person.access).header(header).claims(claims);
                tokens.push(forgery.secret(key).sign());
            }
        }
    }
    // A used token with another generation.
    if header_of(spent)["typ"] == "rt+jwt" {
        tokens.extend([1, 2].map(|other| Forgery::of(spent).with("gen", other).sign()));
    }
    tokens
}

#[tokio::test]
async fn refresh_tokens_made_with_the_secret_give_nothing_and_end_nothing() {
    let settings: [&[(&str, &str)]; 3] = [
        &[("JWT_ALGORITHM", "HS256")],
        &[("JWT_ALGORITHM", "EdDSA")],
        &[("APP_SECRET", NEXT_SECRET), ("APP_SECRET_PREVIOUS", SECRET)],
    ];
    for settings in settings {
        let setup =
            settings.iter().fold(Server::setup(), |setup, (name, value)| setup.set(name, value));
        let server = setup.set("REFRESH_REUSE_LEEWAY", 300).start().await;
        let root = server.superuser("root").await;
        let person = server.person("first").await;
        let current = server.refresh(&person.refresh).await.expect_status(200);
        let current = current.text("refresh_token");
        let before = server.rows().await;
        for token in made_with_the_secret(&person, &person.refresh) {
            let what = (settings, header_of(&token), claims_of(&token));
            server.refresh(&token).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
            server.logout(&token).await.expect_refusal(401, "Unauthorized");
            let everywhere = server.post("/auth/jwt/logout-all").bearer(&token);
            everywhere.send().await.expect_refusal(401, "Unauthorized");
            let form = [("token", token.as_str())];
            server.post("/auth/revoke").form(&form).send().await.expect_status(200);
            let told = server.post("/auth/introspect").bearer(&root.access).form(&form);
            assert_eq!(told.send().await.json, json!({ "active": false }), "{what:?}");
            let explained = server.post("/admin/tokens/explain").bearer(&root.access);
            let explained = explained.json(&json!({ "token": token })).send().await;
            assert_eq!(explained.json["accepted"], false, "{what:?}");
            assert_eq!(server.rows().await, before, "{what:?}");
        }
        // The user's own tokens still work.
        server.me(&person.access).await.expect_status(200);
        let again = server.refresh(&person.refresh).await.expect_status(200);
        assert_eq!(again.text("refresh_token"), current);
        server.refresh(&current).await.expect_status(200);
        // One line reports it, however many tokens there were.
        let log = server.log_so_far().await;
        assert_eq!(
            log.matches("a refresh token has a valid signature, but its session").count(),
            1
        );
    }
}

#[tokio::test]
async fn a_superuser_can_find_out_why_a_refresh_token_is_refused() {
    let server = Server::start().await;
    let root = server.superuser("root").await;
    let person = server.person("first").await;
    let explain = async |token: &str| {
        let explained = server.post("/admin/tokens/explain").bearer(&root.access);
        explained.json(&json!({ "token": token })).send().await.json["reason"].clone()
    };
    assert_eq!(explain(&person.refresh).await, Value::Null);
    let forged = Forgery::of(&person.refresh).with("jti", Uuid::nil().to_string()).sign();
    assert_eq!(explain(&forged).await, "token_not_issued");
    let next = server.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    assert_eq!(explain(&person.refresh).await, "token_spent");
    server.database.execute("update session set generation = 0").await;
    assert_eq!(explain(&next).await, "token_ahead");
}

/// Otherwise another client could get the same generation again.
#[tokio::test]
async fn a_token_that_is_ahead_of_a_restored_backup_ends_its_session() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.person("second").await;
    let second = server.refresh(&person.refresh).await.expect_status(200);
    let third = server.refresh(&second.text("refresh_token")).await.expect_status(200);
    // The backup is older than both refreshes.
    let sid = claims_of(&person.access)["sid"].as_str().unwrap().to_owned();
    let restore = format!("update session set generation = 0 where id = '{sid}'");
    assert_eq!(server.database.execute(&restore).await, 1);
    let refused = server.refresh(&third.text("refresh_token")).await;
    refused.expect_refusal(401, "SESSION_ENDED");
    let ended = format!("select ended_why from session where id = '{sid}'");
    assert_eq!(server.database.column::<String>(&ended).await, ["restored"]);
    server.me(&third.text("access_token")).await.expect_reason("token_revoked");
    for token in [&person.refresh, &second.text("refresh_token"), &third.text("refresh_token")] {
        server.refresh(token).await.expect_refusal(401, "SESSION_ENDED");
    }
    let told = "audit where act = 'session-end' and detail like '%restored%'";
    assert_eq!(server.database.count(told).await, 1);
    server.refresh(&other.refresh).await.expect_status(200);
}

/// The migration gives each session of the previous release a secret. Their refresh tokens, which were made with
/// `APP_SECRET` alone, end.
#[tokio::test]
async fn an_upgrade_gives_each_session_its_own_secret() {
    let server = Server::start().await;
    let people = [server.person("first").await, server.person("second").await];
    let database = server.kill();
    database.execute("alter table session drop column secret").await;
    database.execute("alter table signing_key drop column last_signed_at").await;
    let forget = "delete from seaql_migrations where version like '%_000014_%'";
    assert_eq!(database.execute(forget).await, 1);
    let server = Server::setup().on(database).start().await;
    let secrets = "(select distinct secret from session where length(secret) = 32) as secrets";
    assert_eq!(server.database.count(secrets).await, 2);
    for person in &people {
        server.me(&person.access).await.expect_status(200);
        server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
        let (_, refresh) = server.sign_in(&person.email, PASSWORD).await;
        server.refresh(&refresh).await.expect_status(200);
    }
    // A server of the previous release writes rows without a secret. The empty secret is not accepted.
    let none = match server.database.kind() {
        Kind::Sqlite => "update session set secret = x''",
        Kind::Postgres => "update session set secret = ''",
    };
    let (_, refresh) = server.sign_in(&people[0].email, PASSWORD).await;
    server.database.execute(none).await;
    server.refresh(&refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let answer = server.refresh(&person.refresh).await.expect_status(200);
    let access = claims_of(&answer.text("access_token"));
    assert_eq!(access["fresh"], false);
    assert_eq!(access["auth_time"], claims_of(&person.access)["auth_time"]);
    assert_eq!(access["sid"], claims_of(&person.access)["sid"]);
    assert_ne!(access["jti"], claims_of(&person.access)["jti"]);
    let refresh = claims_of(&answer.text("refresh_token"));
    assert_eq!(refresh["gen"], 1);
    server.me(&answer.text("access_token")).await.expect_status(200);
    server.refresh(&answer.text("refresh_token")).await.expect_status(200);
    // The earlier access token is valid until it expires.
    server.me(&person.access).await.expect_status(200);
}

#[tokio::test]
async fn the_token_may_be_in_the_header_in_json_or_in_a_form() {
    let server = Server::start().await;
    let mut token = server.person("first").await.refresh;
    let refresh = || server.post("/auth/jwt/refresh");
    let old_access = server.sign_in("first@user.com", PASSWORD).await.0;
    for turn in 0..5 {
        let body = json!({ "refresh_token": token });
        let request = match turn {
            0 => refresh().bearer(&token),
            1 => refresh().json(&body),
            2 => refresh().form(&[("refresh_token", &token), ("grant_type", "refresh_token")]),
            // Some clients add the header to every request.
            3 => refresh().bearer(&old_access).json(&body),
            _ => refresh().bearer(&token).body("application/json", ""),
        };
        token = request.send().await.expect_status(200).text("refresh_token");
    }
    let none = refresh().send().await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let two = refresh().form(&[("refresh_token", &token), ("refresh_token", "x")]);
    two.send().await.expect_status(422);
    refresh().body("text/plain", token.clone()).send().await.expect_status(415);
    refresh().json(&json!({ "refresh_token": 1 })).send().await.expect_status(422);
    server.refresh(&token).await.expect_status(200);
}

#[tokio::test]
async fn a_lost_answer_can_be_requested_again_byte_for_byte() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let first = server.refresh(&person.refresh).await.expect_status(200);
    for _ in 0..3 {
        let again = server.refresh(&person.refresh).await.expect_status(200);
        assert_eq!(again.text("refresh_token"), first.text("refresh_token"));
        server.me(&again.text("access_token")).await.expect_status(200);
    }
    server.refresh(&first.text("refresh_token")).await.expect_status(200);
}

#[tokio::test]
async fn a_token_that_is_reused_after_the_leeway_ends_the_session() {
    let server = Server::setup().set("REFRESH_REUSE_LEEWAY", 1).start().await;
    let person = server.person("first").await;
    let next = server.refresh(&person.refresh).await.expect_status(200);
    server.advance(Duration::from_millis(1100)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    server.refresh(&next.text("refresh_token")).await.expect_refusal(401, "SESSION_ENDED");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.me(&next.text("access_token")).await.expect_reason("token_revoked");
    server.me(&person.access).await.expect_reason("token_revoked");
    let why = server.database.column::<String>("select ended_why from session").await;
    assert_eq!(why, ["reuse"]);
    // The user can still sign in.
    server.login(&person.email, PASSWORD).await.expect_status(200);
}

#[tokio::test]
async fn a_token_two_generations_old_ends_the_session_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let second = server.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    let third = server.refresh(&second).await.expect_status(200).text("refresh_token");
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_REUSED");
    server.refresh(&third).await.expect_refusal(401, "SESSION_ENDED");
}

#[tokio::test]
async fn a_forged_token_of_a_future_generation_is_invalid_and_ends_nothing() {
    let server = Server::start().await;
    let person = server.person("first").await;
    for generation in [json!(1), json!(7), json!(i64::MAX), json!(u64::MAX)] {
        let forged = Forgery::of(&person.refresh).with("gen", generation).sign();
        server.refresh(&forged).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    }
    server.refresh(&person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn access_tokens_and_refresh_tokens_cannot_replace_each_other() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.refresh(&person.access).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.refresh(&person.access).await.expect_reason("type_mismatch");
    server.me(&person.refresh).await.expect_reason("type_mismatch");
    let change = json!({ "email": "other@user.com" });
    server.change_me(&person.refresh, &change).await.expect_reason("type_mismatch");
    let forged = Forgery::of(&person.refresh).with("type", "access").sign();
    server.me(&forged).await.expect_reason("claims_invalid");
}

/// `typ`, key and `type` must agree. The test tries every combination (RFC 8725, section 3.11).
#[tokio::test]
async fn the_header_the_key_and_the_claims_must_agree_on_the_kind_of_token() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let (raw, derived) = (SECRET.as_bytes().to_vec(), refresh_key(SECRET));
    let mut accepted = Vec::new();
    for typ in [Some("JWT"), Some("RT+JWT"), Some("rt+jwt"), Some("at+jwt"), None] {
        for (name, key) in [("secret", &raw), ("derived", &derived)] {
            for token in [&person.access, &person.refresh] {
                let forged = Forgery::of(token).secret(key).with_header("kid", kid_of(key));
                let forged = match typ {
                    Some(typ) => forged.with_header("typ", typ),
                    None => forged.without_header("typ"),
                };
                let forged = forged.sign();
                let kind = claims_of(token)["type"].as_str().unwrap().to_owned();
                let case = format!("{} {name} {kind}", typ.unwrap_or("none"));
                if server.me(&forged).await.status == 200 {
                    accepted.push(format!("{case}: access"));
                }
                if server.refresh(&forged).await.status == 200 {
                    accepted.push(format!("{case}: refresh"));
                }
            }
        }
    }
    let expected = [
        "JWT secret access: access",
        "RT+JWT derived refresh: refresh",
        "rt+jwt derived refresh: refresh",
        "none secret access: access",
    ];
    assert_eq!(accepted, expected);
    assert_eq!(header_of(&person.refresh)["typ"], "rt+jwt");
    assert_eq!(claims_of(&person.refresh)["aud"], "http://localhost:8000");
    assert_eq!(header_of(&person.access)["typ"], "JWT");
}

#[tokio::test]
async fn a_token_cannot_refresh_the_session_of_another_user() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    let sid = claims_of(&second.refresh)["sid"].clone();
    let forged = Forgery::of(&first.refresh).with("sid", sid).sign();
    server.refresh(&forged).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.refresh(&second.refresh).await.expect_status(200);
}

#[tokio::test]
async fn an_expired_refresh_token_is_refused_as_expired() {
    let server = Server::setup().set("REFRESH_TOKEN_EXPIRES", 1).start().await;
    let person = server.person("first").await;
    server.advance(Duration::from_millis(2000)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_EXPIRED");
}

#[tokio::test]
async fn an_inactive_user_cannot_stay_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("update \"user\" set is_active = false").await;
    server.advance(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.database.execute("update \"user\" set is_active = true").await;
    server.advance(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_status(200);
}

#[tokio::test]
async fn a_deleted_user_cannot_stay_signed_in() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.database.execute("delete from session").await;
    server.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    server.database.execute("delete from \"user\"").await;
    server.advance(Duration::from_secs(1)).await;
    server.refresh(&person.refresh).await.expect_status(401);
    server.me(&person.access).await.expect_status(401);
}

#[tokio::test]
async fn a_refresh_token_survives_a_new_secret_while_the_old_one_is_configured() {
    let old = Server::start().await;
    let person = old.person("first").await;
    let database = old.kill();
    let new = "f".repeat(64);
    let rotated = Server::setup()
        .on(database)
        .set("APP_SECRET", &new)
        .set("APP_SECRET_PREVIOUS", crate::support::SECRET)
        .start()
        .await;
    rotated.me(&person.access).await.expect_status(200);
    let next = rotated.refresh(&person.refresh).await.expect_status(200);
    let database = rotated.kill();

    let forgotten = Server::setup().on(database).set("APP_SECRET", &new).start().await;
    forgotten.me(&person.access).await.expect_reason("key_unknown");
    forgotten.refresh(&person.refresh).await.expect_refusal(401, "REFRESH_TOKEN_INVALID");
    forgotten.me(&next.text("access_token")).await.expect_status(200);
    forgotten.refresh(&next.text("refresh_token")).await.expect_status(200);
    forgotten.login(&person.email, PASSWORD).await.expect_status(200);
}
