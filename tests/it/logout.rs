//! `POST /auth/jwt/logout` and `/auth/jwt/logout-all`, and the tokens after that.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{Kind, PASSWORD, Server, claims_of, eventually};

#[tokio::test]
async fn a_sign_out_ends_every_token_of_the_session_and_no_other() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    let next = server.refresh(&person.refresh).await.expect_status(200);
    let answer = server.logout(&person.access).await.expect_status(204);
    assert_eq!(answer.body, "");
    for access in [&person.access, &next.text("access_token")] {
        server.me(access).await.expect_reason("token_revoked");
        server.logout(access).await.expect_reason("token_revoked");
    }
    for refresh in [&person.refresh, &next.text("refresh_token")] {
        server.refresh(refresh).await.expect_refusal(401, "SESSION_ENDED");
    }
    server.me(&other.0).await.expect_status(200);
    server.refresh(&other.1).await.expect_status(200);
}

#[tokio::test]
async fn a_refresh_token_can_sign_out() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.logout(&person.refresh).await.expect_status(204);
    server.me(&person.access).await.expect_reason("token_revoked");
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
}

/// On SQLite they share commits.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_sign_outs_at_once_ends_its_session_and_is_recorded() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let mut sessions = Vec::new();
    for _ in 0..24 {
        sessions.push(server.sign_in(&person.email, PASSWORD).await.0);
    }
    let at_once = sessions.iter().map(|access| server.logout(access));
    for answer in join_all(at_once).await {
        let answer = answer.expect_status(204);
        assert!(answer.headers.contains_key("tessera-revocation-seq"));
    }
    for access in &sessions {
        server.me(access).await.expect_reason("token_revoked");
    }
    let database = server.kill();
    let server = Server::setup().on(database).start().await;
    for access in &sessions {
        server.me(access).await.expect_reason("token_revoked");
    }
    server.me(&person.access).await.expect_status(200);
    let recorded = "(select 1 from audit where act = 'logout' \
                    union all select 1 from audit_pending where act = 'logout') as recorded";
    assert_eq!(server.database.count(recorded).await, 24);
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_of_the_user() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    let stranger = server.person("stranger").await;
    let all = server.post("/auth/jwt/logout-all").bearer(&person.access).send().await;
    all.expect_status(204);
    for access in [&person.access, &other.0] {
        server.me(access).await.expect_reason("token_revoked");
    }
    for refresh in [&person.refresh, &other.1] {
        server.refresh(refresh).await.expect_refusal(401, "SESSION_ENDED");
    }
    server.me(&stranger.access).await.expect_status(200);
    server.refresh(&stranger.refresh).await.expect_status(200);
    // The tokens of the next sign-in are valid, also in the same second.
    let tokens = server.sign_in(&person.email, PASSWORD).await;
    server.me(&tokens.0).await.expect_status(200);
}

#[tokio::test]
async fn revoked_tokens_stay_revoked_after_a_restart() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    server.logout(&first.access).await.expect_status(204);
    server.post("/auth/jwt/logout-all").bearer(&second.access).send().await.expect_status(204);
    let database = server.kill();
    let server = Server::setup().on(database).start().await;
    server.me(&first.access).await.expect_reason("token_revoked");
    server.me(&second.access).await.expect_reason("token_revoked");
    server.refresh(&first.refresh).await.expect_refusal(401, "SESSION_ENDED");
    server.refresh(&second.refresh).await.expect_refusal(401, "SESSION_ENDED");
}

#[tokio::test]
async fn a_sign_out_reaches_the_other_replicas() {
    let one = Server::start().await;
    let other = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    other.me(&person.access).await.expect_status(200);
    one.logout(&person.access).await.expect_status(204);
    // Every replica reads the row of the session at each refresh.
    other.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    other.wait_until_refused(&person.access).await;
}

#[tokio::test]
async fn two_replicas_return_the_same_successor() {
    let one = Server::start().await;
    let other = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    let first = one.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    let again = other.refresh(&person.refresh).await.expect_status(200).text("refresh_token");
    assert_eq!(first, again);
}

/// A session ends on one replica. Its token must not set the next password on another replica that has not read the
/// revocation yet.
#[tokio::test]
async fn a_session_that_was_ended_cannot_change_the_password_on_another_replica() {
    let one = Server::start().await;
    let other = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    for round in 0..4 {
        let (owner, _) = one.sign_in(&person.email, PASSWORD).await;
        let (thief, _) = one.sign_in(&person.email, PASSWORD).await;
        other.me(&thief).await.expect_status(200);
        let out = if round % 2 == 0 {
            one.post("/auth/jwt/logout-all").bearer(&owner).send().await.expect_status(204)
        } else {
            let same = serde_json::json!({ "password": PASSWORD });
            one.change_me(&owner, &same).await.expect_status(200)
        };
        drop(out);
        let taken = serde_json::json!({ "password": "the thief's" });
        other.change_me(&thief, &taken).await.expect_refusal(401, "Unauthorized");
        // The thief cannot make an API token either, which would outlive the session.
        let token = other.make_api_token(&thief, &serde_json::json!({})).await;
        token.expect_refusal(401, "Unauthorized");
        // The owner's earlier token cannot change it either, because it ended too.
        other.change_me(&owner, &taken).await.expect_refusal(401, "Unauthorized");
        one.login(&person.email, PASSWORD).await.expect_status(200);
    }
}

#[tokio::test]
async fn a_token_of_an_ended_session_cannot_end_other_sessions() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let other = server.sign_in(&person.email, PASSWORD).await;
    server.logout(&person.refresh).await.expect_status(204);
    // A purge does this days later.
    server.database.execute("delete from revocation").await;
    let server = Server::setup().on(server.kill()).start().await;
    for path in ["/auth/jwt/logout", "/auth/jwt/logout-all"] {
        server.post(path).bearer(&person.refresh).send().await.expect_status(401);
    }
    server.me(&other.0).await.expect_status(200);
    server.refresh(&other.1).await.expect_status(200);
}

/// A thief who knows a password can sign in any number of times. The owner must be able to end all sessions.
#[tokio::test]
async fn any_number_of_sessions_can_be_ended_at_once() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let (series, id) = match server.database.kind() {
        Kind::Sqlite => (
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < 15000)",
            "printf('00000000-0000-4000-8000-%012d', n)",
        ),
        Kind::Postgres => (
            "with n(n) as (select generate_series(1, 15000))",
            "'00000000-0000-4000-8000-' || lpad(n::text, 12, '0')",
        ),
    };
    let rows = server
        .database
        .execute(&format!(
            "{series} insert into session (id, user_id, created_at, auth_time, expires_at, \
             generation, rotated_at, ended_at, ended_why, last_used_at, ip, user_agent, issued_at) \
             select {id}, user_id, created_at, auth_time, expires_at, generation, rotated_at, \
             ended_at, ended_why, last_used_at, ip, user_agent, issued_at from session, n"
        ))
        .await;
    assert_eq!(rows, 15_000);
    server.post("/auth/jwt/logout-all").bearer(&person.access).send().await.expect_status(204);
    assert_eq!(server.database.count("session where ended_at is null").await, 0);
    assert_eq!(server.database.count("revocation where kind = 'sid'").await, 15_001);
}

#[tokio::test]
async fn a_server_ignores_revocations_of_an_unknown_kind() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let row = "insert into revocation (kind, subject, until, why, at) values";
    server.database.execute(&format!("{row} ('new', 'x', 9999999999999, 'test', 0)")).await;
    server.database.execute(&format!("{row} ('sid', 'x', 9999999999999, 'test', 0)")).await;
    let server = Server::setup().on(server.kill()).start().await;
    server.logout(&person.access).await.expect_status(204);
    server.me(&person.access).await.expect_reason("token_revoked");
    server.get("/health/ready").send().await.expect_status(200);
}

/// PostgreSQL joins the rows of each kind, unless one of them has no id.
#[tokio::test]
async fn a_start_reads_every_revocation_also_among_rows_that_it_ignores() {
    let mut server = Server::start().await;
    let mut ended = Vec::new();
    let insert = "insert into revocation (kind, subject, until, why, at) values";
    for kind in ["jti", "sid", "sub"] {
        let person = server.person(kind).await;
        let subject = claims_of(&person.access)[kind].as_str().unwrap().to_owned();
        let of = format!("('{kind}', '{subject}', 9999999999999, 'test', 9999999999000)");
        server.database.execute(&format!("{insert} {of}")).await;
        ended.push(person.access);
    }
    let other = server.person("other").await;
    let id = "11111111-2222-4333-8444-555555555555";
    let long = format!("{id}5");
    for odd in [
        vec![],
        vec![("new", id)],
        // Together they are as long as two ids.
        vec![("sid", &id[1..]), ("sid", &long)],
        vec![("jti", &long), ("jti", &id[..35])],
        vec![("jti", "11111111-2222-4333-8444-55555555555g"), ("sub", "x"), ("sub", "")],
        // With the digits of its instant, this is as long as an id and its instant.
        vec![("sub", &id[..35])],
        // It has as many characters as an id.
        vec![("sid", "ä1111111-2222-4333-8444-555555555555")],
    ] {
        for (kind, subject) in &odd {
            let of = format!("('{kind}', '{subject}', 9999999999999, 'test', 0)");
            server.database.execute(&format!("{insert} {of}")).await;
        }
        // Its row comes after them.
        let after = server.sign_in("other@user.com", PASSWORD).await.0;
        server.logout(&after).await.expect_status(204);
        ended.push(after);
        server = Server::setup().on(server.kill()).start().await;
        for token in &ended {
            server.me(token).await.expect_reason("token_revoked");
        }
        server.me(&other.access).await.expect_status(200);
        let ignored = "revocations are ignored";
        assert_eq!(server.log_so_far().await.contains(ignored), !odd.is_empty(), "{odd:?}");
        server.database.execute("delete from revocation where at = 0").await;
    }
}

#[tokio::test]
async fn a_purge_deletes_only_revocations_that_expired_more_than_a_day_ago() {
    let server = Server::start().await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    let now = match server.database.kind() {
        Kind::Sqlite => "cast(strftime('%s') as integer) * 1000",
        Kind::Postgres => "cast(extract(epoch from now()) * 1000 as bigint)",
    };
    for (subject, age) in [("old", 90_000), ("young", 80_000)] {
        let sql = format!(
            "insert into revocation (kind, subject, until, why, at) \
             values ('jti', '{subject}', {now} - {age} * 1000, 'test', 0)"
        );
        server.database.execute(&sql).await;
    }
    // A server purges a minute after its start.
    let server = Server::setup().on(server.kill()).start().await;
    server.advance(Duration::from_secs(61)).await;
    eventually("the old one is purged", async || {
        let left = server.database.column::<String>("select subject from revocation").await;
        assert!(left.contains(&"young".to_owned()), "{left:?}");
        !left.contains(&"old".to_owned())
    })
    .await;
    server.me(&person.access).await.expect_reason("token_revoked");
}

/// Another server that has not read the second row yet has its place at the first one.
#[tokio::test]
async fn a_purge_keeps_a_row_before_one_that_is_younger_than_a_minute() {
    let server = Server::start().await;
    let (first, second) = (server.person("first").await, server.person("second").await);
    server.logout(&first.access).await.expect_status(204);
    server.logout(&second.access).await.expect_status(204);
    let sid = claims_of(&first.access)["sid"].as_str().unwrap().to_owned();
    let database = server.kill();
    // It expired more than a day ago. The other one has just come.
    let old = format!("update revocation set until = 1, at = 1 where subject = '{sid}'");
    assert_eq!(database.execute(&old).await, 1);
    let sample = "insert into sample (hour, sessions, api_tokens) values (0, 0, 0)";
    database.execute(sample).await;
    let server = Server::setup().on(database).start().await;
    let has_row = async || {
        let left = server.database.column::<String>("select subject from revocation").await;
        left.contains(&sid)
    };
    // Rows of other tables are purged at the start.
    eventually("the sample is purged", async || {
        server.database.count("sample where hour = 0").await == 0
    })
    .await;
    assert!(has_row().await);
    server.advance(Duration::from_secs(61)).await;
    eventually("the row is purged", async || !has_row().await).await;
}

/// Servers find their place in the table by its last row. A purge of this row would look like a restored backup, and
/// servers would refuse tokens until they have read everything again.
#[tokio::test]
async fn a_purge_keeps_the_last_revocation() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let now = match server.database.kind() {
        Kind::Sqlite => "cast(strftime('%s') as integer) * 1000",
        Kind::Postgres => "cast(extract(epoch from now()) * 1000 as bigint)",
    };
    for subject in ["first", "last"] {
        let sql = format!(
            "insert into revocation (kind, subject, until, why, at) \
             values ('jti', '{subject}', {now} - 172800000, 'test', 0)"
        );
        server.database.execute(&sql).await;
    }
    // A server purges a minute after its start.
    let server = Server::setup().on(server.kill()).start().await;
    server.advance(Duration::from_secs(61)).await;
    let purged = |line: &Value| line["purge.what"] == "revocations";
    assert_eq!(server.log.wait_for_line("a purge", purged).await["purge.rows"], 1);
    let left = server.database.column::<String>("select subject from revocation").await;
    assert_eq!(left, ["last"]);
    // The server reads the following rows from there.
    let jti = claims_of(&person.access)["jti"].as_str().unwrap().to_owned();
    let sql = format!(
        "insert into revocation (kind, subject, until, why, at) \
         values ('jti', '{jti}', {now} + 3600000, 'test', 0)"
    );
    server.database.execute(&sql).await;
    server.wait_until_refused(&person.access).await;
    let log = server.log_so_far().await;
    assert!(!log.contains("they are read again"), "{log}");
}

#[tokio::test]
async fn with_the_blacklist_off_access_tokens_are_accepted_until_they_expire() {
    let server = Server::setup().set("BLACKLIST_ENABLED", "false").start().await;
    let person = server.person("first").await;
    server.logout(&person.access).await.expect_status(204);
    server.me(&person.access).await.expect_status(200);
    server.refresh(&person.refresh).await.expect_refusal(401, "SESSION_ENDED");
    let ready = server.get("/health/ready").send().await.expect_status(200);
    assert_eq!(ready.json["revocations"], "off");
    server.log.wait_for("BLACKLIST_ENABLED is off").await;
}
