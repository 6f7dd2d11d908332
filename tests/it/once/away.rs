//! A database that is away: nothing is acknowledged, nothing is told, and nothing needs a restart
//! once it is back.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::support::{Answer, Kind, PASSWORD, Person, Proxy, Server, TestDatabase, eventually};

const AWAY: &str = r#"{"detail":"SERVICE_UNAVAILABLE"}"#;

pub(crate) async fn behind_a_proxy() -> (Server, Proxy) {
    let database = TestDatabase::create(Kind::Postgres).await;
    let address = address_of(database.url()).to_owned();
    let proxy = Proxy::to(address.clone()).await;
    let url = database.url().replace(&address, &proxy.address().to_string());
    let server = Server::setup().on(database).reaching_it_by(url).start().await;
    (server, proxy)
}

fn address_of(url: &str) -> &str {
    url.rsplit('@').next().unwrap().split('/').next().unwrap()
}

/// What every operation that needs the database answers without it.
async fn ask_everything(server: &Server, person: &Person) -> Vec<Answer> {
    let (me, refresh, logout, login, register) = tokio::join!(
        server.me(&person.access),
        server.refresh(&person.refresh),
        server.logout(&person.access),
        server.login(&person.email, PASSWORD),
        server.register("second@user.com", PASSWORD),
    );
    vec![me, refresh, logout, login, register]
}

async fn a_database_goes_away(take: fn(&Proxy)) {
    let (server, proxy) = behind_a_proxy().await;
    let person = server.person("first").await;
    take(&proxy);
    // Nobody is known from a moment ago.
    server.passes(Duration::from_secs(1));
    // The promise is ten seconds; a request that is answered at all is answered within them.
    let asked = tokio::time::timeout(Duration::from_secs(20), ask_everything(&server, &person));
    for answer in asked.await.expect("somebody was left waiting") {
        assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    server.get("/health/live").send().await.expect_status(200);
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["database"], "unavailable");

    proxy.mend();
    eventually("it recovers", async || {
        let answer = server.me(&person.access).await;
        assert!(answer.status == 200 || (answer.status, answer.body.as_str()) == (503, AWAY));
        answer.status == 200
    })
    .await;
    // Nothing that was refused was done.
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(server.database.count("revocation").await, 0);
    server.refresh(&person.refresh).await.expect_status(200);
    server.logout(&person.access).await.expect_status(204);
    server.get("/health/ready").send().await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_connections_is_away() {
    a_database_goes_away(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_is_away() {
    a_database_goes_away(Proxy::silence).await;
}

/// A replica that cannot learn what was revoked must not say yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_learn_of_revocations_fails_closed() {
    let (server, proxy) = behind_a_proxy().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let person = other.person("first").await;
    server.me(&person.access).await.expect_status(200);
    proxy.silence();
    other.logout(&person.access).await.expect_status(204);
    server.passes(Duration::from_secs(6));
    let answer = server.me(&person.access).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["revocations"], "unavailable");
    proxy.mend();
    eventually("it recovers", async || {
        let answer = server.me(&person.access).await;
        assert!([401, 503].contains(&answer.status), "a wrong yes");
        answer.status == 401
    })
    .await;
}

/// A replica that stops while it holds the lock of revocations must not stop everybody's sign-outs.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_freezes_in_a_transaction_is_not_waited_for_for_ever() {
    let one = Server::setup().on(TestDatabase::create(Kind::Postgres).await).start().await;
    let other = Server::setup().on(one.database.clone()).start().await;
    let (frozen, person) = (one.person("frozen").await, one.person("first").await);
    let connection = one.database.connect().await;
    let table = connection.begin().await.unwrap();
    table.execute_unprepared("lock table revocation in exclusive mode").await.unwrap();
    let logout = one.post("/auth/jwt/logout").bearer(&frozen.access).send();
    let logout = tokio::spawn(logout);
    one.database.waits_for_a_lock().await;
    one.freeze();
    table.rollback().await.unwrap();
    for turn in 0.. {
        let answer = other.logout(&person.access).await;
        if answer.status == 204 {
            break;
        }
        assert_eq!(answer.status, 503);
        assert!(turn < 20, "sign-outs are stopped everywhere");
    }
    one.thaw();
    let answer = logout.await.unwrap();
    assert!([503, 204].contains(&answer.status), "{}", answer.body);
    if answer.status == 503 {
        other.refresh(&frozen.refresh).await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_postgresql_ends_are_replaced() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let server = Server::setup().on(database).start().await;
    let person = server.person("first").await;
    let sql = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = '{}' and pid <> pg_backend_pid()",
        server.database.name()
    );
    server.database.execute(&sql).await;
    eventually("it recovers", async || {
        let (me, login) =
            tokio::join!(server.me(&person.access), server.login(&person.email, PASSWORD));
        assert!([200, 503].contains(&me.status) && [200, 503].contains(&login.status));
        me.status == 200 && login.status == 200
    })
    .await;
}
