//! The order of revocations, seen by a reader while many are committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{ConnectionTrait, Statement};

use crate::support::{PASSWORD, Server};

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
        async move { server.logout(token).await.expect_status(204) }
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
