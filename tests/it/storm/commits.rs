//! The order of revocations, seen by a reader while many are committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{ConnectionTrait, Statement, TransactionTrait};

use crate::support::{Kind, PASSWORD, Server, TestDatabase};

/// A reader asks for the numbers above the highest that it has seen, as replicas do. It must get every number.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_revocations_sees_every_number_in_the_order_of_the_commits() {
    let one = Server::start().await;
    let two = Server::setup().on(one.database.clone()).start().await;
    let person = one.person("first").await;
    let mut tokens = Vec::new();
    for _ in 0..48 {
        tokens.push(one.sign_in(&person.email, PASSWORD).await.0);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(one.database.connect().await, Arc::clone(&is_over)));
    let sign_outs = tokens.iter().enumerate().map(|(turn, token)| {
        let server = if turn % 2 == 0 { &one } else { &two };
        async move {
            let logout = |server: &Server| server.post("/auth/jwt/logout").bearer(token);
            server.beside_others(logout).await.expect_status(204)
        }
    });
    futures_util::future::join_all(sign_outs).await;
    is_over.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    let all: BTreeSet<i64> =
        one.database.column("select seq from revocation").await.into_iter().collect();
    assert_eq!(all.len(), tokens.len());
    assert!(all.iter().all(|seq| *seq > 0), "{all:?}");
    assert_eq!(seen, all);
}

/// Reads as a replica does until everything is over, and once more after that.
async fn read(connection: sea_orm::DatabaseConnection, is_over: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    loop {
        let is_last = is_over.load(Ordering::SeqCst);
        let last = seen.last().copied().unwrap_or(0);
        let sql = format!("select seq from revocation where seq > {last} order by seq");
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let rows = connection.query_all_raw(statement).await.unwrap();
        seen.extend(rows.iter().map(|row| row.try_get_by_index::<i64>(0).unwrap()));
        if is_last {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

/// Another process holds the writer of a SQLite file for longer than a request has. The requests are refused, and their
/// statements must not run later: a client that retries would then present a token that was used long ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_refused_while_the_file_was_locked_can_be_repeated() {
    let server = Server::setup().on(TestDatabase::create(Kind::Sqlite).await).start().await;
    let person = server.person("first").await;
    let mut tokens = vec![person.refresh];
    for _ in 0..5 {
        tokens.push(server.sign_in(&person.email, PASSWORD).await.1);
    }
    let connection = server.database.connect().await;
    let held = connection.begin().await.unwrap();
    held.execute_unprepared("update \"user\" set is_active = is_active").await.unwrap();
    let refused = tokens.iter().map(|token| async { server.refresh(token).await.status });
    let refused = futures_util::future::join_all(refused).await;
    assert_eq!(refused, [503; 6]);
    // The clock moves beyond the leeway in which a used token gives its successor.
    server.move_clock(std::time::Duration::from_secs(11));
    held.rollback().await.unwrap();
    for token in &tokens {
        crate::support::awaited("the file is free", async || {
            Some(server.refresh(token).await).filter(|answer| answer.status != 503)
        })
        .await
        .expect_status(200);
    }
}
