//! Replicas on PostgreSQL that tell each other of revocations, and those that cannot.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::feed::{Reader, hash};
use crate::support::{Kind, Person, Server, TestDatabase, awaited, claims_of, eventually};

/// The number of notifications that a server has noted in its log.
async fn heard(server: &Server) -> usize {
    let log = server.log_so_far().await;
    log.matches("a server notified this one").count()
}

async fn replica(database: &TestDatabase, url: &str) -> Server {
    let setup = Server::setup().on(database.clone()).reach_database_at(url.to_owned());
    setup.set("RUST_LOG", "info,api::platform=debug").start().await
}

/// Signs a person out on one replica, and waits until the streams of all replicas have the record.
async fn each_replica_streams(servers: &[Server], root: &Person, token: &str) {
    let mut streams = Vec::new();
    for server in servers {
        let reader = Reader::of(server, token);
        streams.push(reader.stream("", None).await);
    }
    for (turn, server) in servers.iter().enumerate() {
        let person = server.person(&format!("person{turn}-{}", root.id)).await;
        server.logout(&person.access).await.expect_status(204);
        let hash = hash(&format!("sid:{}", claims_of(&person.access)["sid"].as_str().unwrap()));
        let mut cursors: Vec<Value> = Vec::new();
        for stream in &mut streams {
            let data = stream.data(true).await;
            assert_eq!(stream.hashes(&data), std::slice::from_ref(&hash));
            cursors.push(data["cursor"].clone());
        }
        cursors.dedup();
        assert_eq!(cursors.len(), 1, "one place on all replicas: {cursors:?}");
        for server in servers {
            server.me(&person.access).await.expect_reason("token_revoked");
        }
    }
    // A cursor of one replica counts on the others, also at once after a revocation.
    let person = servers[0].person(&format!("last-{}", root.id)).await;
    servers[0].logout(&person.access).await.expect_status(204);
    let cursor = streams[0].data(true).await["cursor"].as_str().unwrap().to_owned();
    for server in servers {
        let reader = Reader::of(server, token);
        // It reads the table for that, which can take too long on a busy machine.
        let query = format!("?after={cursor}");
        let page = awaited("the replica has read the table", async || {
            Some(reader.get(&query).await).filter(|page| page.status != 503)
        });
        let page = page.await.expect_status(200);
        assert_eq!(page.text("cursor"), cursor);
    }
}

/// The time within which each stream has a revocation and each replica refuses its tokens. The guide promises it.
const BOUND: Duration = Duration::from_secs(1);

/// Signs people out, and measures from the answer until the last stream has the record and the last replica refuses the
/// token. A busy machine is often late, so one of several tries must be in time.
async fn each_replica_knows_within_a_second(servers: &[Server], root: &Person, token: &str) {
    let mut streams = Vec::new();
    for server in servers {
        streams.push(Reader::of(server, token).stream("", None).await);
    }
    let mut measured = Vec::new();
    for turn in 0..30 {
        let person = servers[0].person(&format!("bound{turn}-{}", root.id)).await;
        servers[0].logout(&person.access).await.expect_status(204);
        let answered = Instant::now();
        let hash = hash(&format!("sid:{}", claims_of(&person.access)["sid"].as_str().unwrap()));
        let access = person.access.as_str();
        let arrivals = streams.iter_mut().zip(servers).map(async |(stream, server)| {
            let (hash, stream) = (&hash, stream);
            let arrives = async {
                let data = stream.data(true).await;
                assert_eq!(stream.hashes(&data), std::slice::from_ref(hash));
            };
            tokio::join!(arrives, server.wait_until_refused(access));
        });
        futures_util::future::join_all(arrivals).await;
        measured.push(answered.elapsed());
        if measured.last().is_some_and(|time| *time <= BOUND) {
            return;
        }
    }
    panic!("no revocation arrived within {BOUND:?}: {measured:?}");
}

#[tokio::test]
async fn a_revocation_on_one_replica_is_in_the_streams_of_all_after_a_notification() {
    if Kind::from_environment() == Kind::Sqlite {
        return;
    }
    let database = TestDatabase::prepared(Kind::Postgres).await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(replica(&database, database.url()).await);
    }
    for server in &servers {
        server.log.wait_for("listening for notifications").await;
    }
    let root = servers[0].superuser("root").await;
    let token = servers[0].service(&root, "reports", &["revocations:read"]).await;
    let before = heard(&servers[2]).await;
    each_replica_streams(&servers, &root, &token).await;
    each_replica_knows_within_a_second(&servers, &root, &token).await;
    assert!(heard(&servers[2]).await > before);
    // The connection that listens is lost: the poll goes on, and the server listens again.
    let lost = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                where datname = current_database() and query ilike 'LISTEN%'";
    assert!(database.column::<i64>(lost).await[0] >= 3);
    let away = Person { id: "away".to_owned(), ..root.clone() };
    each_replica_knows_within_a_second(&servers, &away, &token).await;
    let before = heard(&servers[2]).await;
    let mut turn = 0;
    eventually("the server hears again", async || {
        turn += 1;
        let person = servers[0].person(&format!("again{turn}")).await;
        servers[0].logout(&person.access).await.expect_status(204);
        heard(&servers[2]).await > before
    })
    .await;
}

#[tokio::test]
async fn without_notifications_the_poll_brings_revocations_to_all_streams() {
    if Kind::from_environment() == Kind::Sqlite {
        return;
    }
    let database = TestDatabase::prepared(Kind::Postgres).await;
    // The URL says that a pooler is in between, which passes no notifications on.
    let url = format!("{}?pgbouncer=true", database.url());
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(replica(&database, &url).await);
    }
    servers[0].log.wait_for("set DATABASE_LISTEN_URL").await;
    let root = servers[0].superuser("root").await;
    let token = servers[0].service(&root, "reports", &["revocations:read"]).await;
    each_replica_streams(&servers, &root, &token).await;
    each_replica_knows_within_a_second(&servers, &root, &token).await;
    assert_eq!(heard(&servers[2]).await, 0);
}

#[tokio::test]
async fn a_restored_table_gets_one_new_epoch_from_all_replicas_together() {
    let one = Server::start().await;
    if one.database.kind() == Kind::Sqlite {
        return;
    }
    let two = Server::setup().on(one.database.clone()).start().await;
    let root = one.superuser("root").await;
    let token = one.service(&root, "reports", &["revocations:read"]).await;
    let people = [one.person("a").await, one.person("b").await];
    one.logout(&people[0].access).await.expect_status(204);
    two.wait_until_caught_up().await;
    let end = Reader::of(&one, &token).end().await;
    let old = end.split('.').next().unwrap().to_owned();
    one.database.execute("delete from revocation").await;
    let epoch = async |server: &Server| {
        let answer = Reader::of(server, &token).get("").await;
        let cursor = answer.json["cursor"].as_str().map(ToOwned::to_owned);
        cursor.map(|cursor| cursor.split('.').next().unwrap().to_owned())
    };
    eventually("both replicas have one new epoch", async || {
        let epochs = (epoch(&one).await, epoch(&two).await);
        epochs.0.is_some() && epochs.0 == epochs.1 && epochs.0 != Some(old.clone())
    })
    .await;
    for server in [&one, &two] {
        server.wait_until_refused(&people[0].access).await.expect_reason("token_revoked");
    }
    two.logout(&people[1].access).await.expect_status(204);
    one.wait_until_refused(&people[1].access).await.expect_reason("token_revoked");
}
