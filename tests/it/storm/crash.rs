//! `kill -9` under load: everything that was acknowledged is still there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{Kind, PASSWORD, Request, Server, eventually};
use crate::terminal::{json_of, tessera};

/// The requests that the server acknowledged before it was killed.
#[derive(Default)]
struct Acknowledged {
    registered: Vec<String>,
    signed_out: Vec<(String, String)>,
    /// A used refresh token, and the successor that was acknowledged.
    rotated: Vec<(String, String)>,
}

impl Acknowledged {
    fn is_enough(&self) -> bool {
        self.registered.len() > 24 && !self.signed_out.is_empty() && !self.rotated.is_empty()
    }
}

fn login(server: &Server, email: &str) -> Request {
    server.post("/auth/jwt/login").form(&[("username", email), ("password", PASSWORD)])
}

fn register(server: &Server, email: &str) -> Request {
    let body = serde_json::json!({ "email": email, "password": PASSWORD });
    server.post("/auth/register").json(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut database = None;
    for round in 0..3 {
        let setup = Server::setup().set("REFRESH_REUSE_LEEWAY", 120);
        let server = Arc::new(match database.take() {
            Some(database) => setup.on(database).start().await,
            None => setup.start().await,
        });
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let mut workers = JoinSet::new();
        for worker in 0..8 {
            workers.spawn(send_requests(
                Arc::clone(&server),
                round,
                worker,
                Arc::clone(&acknowledged),
            ));
        }
        let is_loaded = || acknowledged.lock().unwrap().registered.len() > 48;
        eventually("enough requests were acknowledged", async || is_loaded()).await;
        server.kill_at_once();
        while workers.join_next().await.is_some() {}
        let server = Arc::into_inner(server).expect("no other reference to the server");
        let restarted =
            Server::setup().set("REFRESH_REUSE_LEEWAY", 120).on(server.kill()).start().await;
        let acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner().unwrap();
        check(&restarted, acknowledged).await;
        database = Some(restarted.kill());
    }
}

/// Registers, refreshes and signs out until the server does not answer.
async fn send_requests(
    server: Arc<Server>,
    round: u32,
    worker: u32,
    acknowledged: Arc<Mutex<Acknowledged>>,
) {
    for turn in 0.. {
        let email = format!("r{round}w{worker}t{turn}@user.com");
        let Ok(answer) = register(&server, &email).try_send().await else { return };
        answer.expect_status(201);
        acknowledged.lock().unwrap().registered.push(email.clone());

        let Ok(answer) = login(&server, &email).try_send().await else { return };
        let answer = answer.expect_status(200);
        let (access, mut refresh) = (answer.text("access_token"), answer.text("refresh_token"));
        for _ in 0..3 {
            let request = server.post("/auth/jwt/refresh").bearer(&refresh);
            let Ok(answer) = request.try_send().await else { return };
            let next = answer.expect_status(200).text("refresh_token");
            acknowledged.lock().unwrap().rotated.push((refresh, next.clone()));
            refresh = next;
        }
        if turn % 2 == 0 {
            let request = server.post("/auth/jwt/logout").bearer(&access);
            let Ok(answer) = request.try_send().await else { return };
            answer.expect_status(204);
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.rotated.retain(|(_, next)| *next != refresh);
            acknowledged.signed_out.push((access, refresh));
        }
    }
}

async fn check(server: &Server, acknowledged: Acknowledged) {
    assert!(
        acknowledged.is_enough(),
        "too few requests were acknowledged: {}",
        acknowledged.registered.len()
    );
    let Acknowledged { registered, signed_out, rotated } = acknowledged;
    // What was acknowledged is in the audit, also if it was not sealed before the kill.
    let recorded: i64 = server.database.count("audit where act = 'register'").await;
    assert!(usize::try_from(recorded).unwrap() >= registered.len(), "{recorded}");
    let verified = json_of(&tessera(server, &["audit", "verify", "--output", "json"]));
    assert_eq!(verified["whole"], true, "{verified}");
    for email in &registered {
        register(server, email).send().await.expect_refusal(400, "REGISTER_USER_ALREADY_EXISTS");
    }
    login(server, registered.last().unwrap()).send().await.expect_status(200);
    for (access, refresh) in &signed_out {
        server.me(access).await.expect_reason("token_revoked");
        server.refresh(refresh).await.expect_refusal(401, "SESSION_ENDED");
    }
    // The newest acknowledged token of a session is its current one, or the one before it if the answer to the last
    // rotation was lost. In both cases, a refresh with it succeeds.
    let newest: Vec<_> = rotated
        .iter()
        .filter(|(_, next)| !rotated.iter().any(|(spent, _)| spent == next))
        .filter(|(_, next)| !signed_out.iter().any(|(access, _)| same_session(access, next)))
        .collect();
    for (_, next) in newest {
        let answer = server.refresh(next).await;
        // A sign-out can be committed although its answer was lost.
        if answer.status != 200 {
            answer.expect_refusal(401, "SESSION_ENDED");
        }
    }
}

fn same_session(one: &str, other: &str) -> bool {
    crate::support::claims_of(one)["sid"] == crate::support::claims_of(other)["sid"]
}

/// A purge deletes old rows in small batches, so that others can write in between.
#[tokio::test]
async fn a_purge_of_many_rows_does_not_block_writers() {
    let server = Server::start().await;
    let person = server.person("first").await;
    let database = server.kill();
    let numbers = match database.kind() {
        Kind::Sqlite => {
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000)"
        }
        Kind::Postgres => "with n(i) as (select generate_series(1, 6000))",
    };
    for (columns, values) in [
        (
            "session (id, user_id, created_at, auth_time, expires_at, generation, rotated_at, last_used_at)",
            format!("'id-' || i, '{}', 0, 0, 1, 0, 0, 0", person.id),
        ),
        (
            "revocation (kind, subject, until, why, at)",
            "'jti', 'id-' || i, 1, 'test', 0".to_owned(),
        ),
        (
            "api_token (id, user_id, prefix, digest, scopes, created_at, expires_at)",
            format!("'id-' || i, '{}', 'tsr_', 'digest-' || i, '', 0, 1", person.id),
        ),
    ] {
        let fill = format!("insert into {columns} {numbers} select {values} from n");
        assert_eq!(database.execute(&fill).await, 6000);
    }
    // The last row is always kept.
    let last = "insert into revocation (kind, subject, until, why, at) \
                values ('jti', 'last', 9999999999999, 'test', 0)";
    database.execute(last).await;
    let server = Server::setup().on(database).start().await;
    // Revocations are purged a minute after the start.
    server.advance(Duration::from_secs(61)).await;
    for turn in 0.. {
        // One write of each kind during the purge.
        let (access, refresh) = server.sign_in(&person.email, PASSWORD).await;
        let refreshed = server.refresh(&refresh).await.expect_status(200);
        server.api_token(&access, &serde_json::json!({})).await;
        server.logout(&refreshed.text("access_token")).await.expect_status(204);
        let left = server.database.count("session where expires_at = 1").await
            + server.database.count("revocation where until = 1").await
            + server.database.count("api_token where expires_at = 1").await;
        if left == 0 {
            break;
        }
        assert!(turn < 90, "{left} rows are left");
    }
    assert!(server.database.count("session").await > 1, "the purge deleted rows that are needed");
}
