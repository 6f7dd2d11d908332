//! Parallel starts, and starts that are killed. They run on both databases, whichever `TEST_DATABASE` names.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Kind, PASSWORD, Server, TestDatabase, command};

async fn many_start_at_once(kind: Kind) {
    let database = TestDatabase::create(kind).await;
    for _ in 0..2 {
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..6 {
            starts.spawn(Server::setup().on(database.clone()).start());
        }
        let servers = starts.join_all().await;
        assert_eq!(servers.len(), 6);
        servers[0].register("first@user.com", PASSWORD).await;
        servers[5].login("first@user.com", PASSWORD).await.expect_status(200);
    }
    let twice = "seaql_migrations group by version having count(*) > 1";
    assert_eq!(
        database.column::<i64>(&format!("select count(*) from {twice}")).await,
        [] as [i64; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_can_start_at_once_on_an_empty_sqlite_database() {
    many_start_at_once(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_can_start_at_once_on_an_empty_postgresql_database() {
    many_start_at_once(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_completes_a_migration_that_was_killed() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        for pause in [2, 5, 8, 12, 16, 20, 30, 40] {
            let database = TestDatabase::create(kind).await;
            let folder = tempfile::tempdir().unwrap();
            let mut child = command(folder.path())
                .args(["migrate", "up", "--database-url", database.url()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The kill comes at one of several moments of the migration. No event reports these moments.
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let _ = child.kill();
            child.wait().unwrap();
            let server = Server::setup().on(database).start().await;
            server.person("first").await;
        }
    }
}
