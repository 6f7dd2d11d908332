//! A database that is away: the server acknowledges nothing, reveals nothing about the database, and recovers without a
//! restart.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::support::{Answer, Kind, PASSWORD, Person, Proxy, Server, TestDatabase, eventually};

const AWAY: &str = r#"{"detail":"SERVICE_UNAVAILABLE"}"#;

pub(crate) async fn behind_a_proxy() -> (Server, Proxy) {
    let database = TestDatabase::create(Kind::Postgres).await;
    let address = address_of(database.url()).to_owned();
    let proxy = Proxy::to(address.clone()).await;
    let url = database.url().replace(&address, &proxy.address().to_string());
    let server = Server::setup().on(database).reach_database_at(url).start().await;
    (server, proxy)
}

/// The address in the URL of a database.
pub(crate) fn address_of(url: &str) -> &str {
    url.rsplit('@').next().unwrap().split('/').next().unwrap()
}

/// Sends requests that need the database, and returns the answers.
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
    // The server no longer uses the users that it read before.
    server.move_clock(Duration::from_secs(1));
    // The server promises an answer within ten seconds.
    let asked = tokio::time::timeout(Duration::from_secs(20), ask_everything(&server, &person));
    for answer in asked.await.expect("a request was not answered in time") {
        assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    server.get("/health/live").send().await.expect_status(200);
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["database"], "unavailable");

    proxy.mend();
    eventually("the server recovers", async || {
        let answer = server.me(&person.access).await;
        assert!(answer.status == 200 || (answer.status, answer.body.as_str()) == (503, AWAY));
        answer.status == 200
    })
    .await;
    // Refused requests changed nothing.
    assert_eq!(server.database.count("\"user\"").await, 1);
    assert_eq!(server.database.count("revocation").await, 0);
    server.refresh(&person.refresh).await.expect_status(200);
    server.logout(&person.access).await.expect_status(204);
    server.get("/health/ready").send().await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_connections_causes_503_until_it_is_back() {
    a_database_goes_away(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_causes_503_until_it_is_back() {
    a_database_goes_away(Proxy::silence).await;
}

/// A replica that cannot read revocations must not accept tokens.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_read_revocations_refuses_every_token() {
    let (server, proxy) = behind_a_proxy().await;
    let other = Server::setup().on(server.database.clone()).start().await;
    let person = other.person("first").await;
    server.me(&person.access).await.expect_status(200);
    proxy.silence();
    other.logout(&person.access).await.expect_status(204);
    server.move_clock(Duration::from_secs(6));
    let answer = server.me(&person.access).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["revocations"], "unavailable");
    proxy.mend();
    eventually("the server recovers", async || {
        let answer = server.me(&person.access).await;
        assert!([401, 503].contains(&answer.status), "a revoked token was accepted");
        answer.status == 401
    })
    .await;
}

/// A replica that freezes while it holds the lock of revocations must not block the sign-outs on others.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_freezes_in_a_transaction_does_not_block_the_others() {
    let one = Server::setup().on(TestDatabase::create(Kind::Postgres).await).start().await;
    let other = Server::setup().on(one.database.clone()).start().await;
    let (frozen, person) = (one.person("frozen").await, one.person("first").await);
    let connection = one.database.connect().await;
    let table = connection.begin().await.unwrap();
    table.execute_unprepared("lock table revocation in exclusive mode").await.unwrap();
    let logout = one.post("/auth/jwt/logout").bearer(&frozen.access).send();
    let logout = tokio::spawn(logout);
    one.database.wait_for_a_blocked_statement().await;
    one.freeze();
    table.rollback().await.unwrap();
    for turn in 0.. {
        let answer = other.logout(&person.access).await;
        if answer.status == 204 {
            break;
        }
        assert_eq!(answer.status, 503);
        assert!(turn < 20, "a frozen replica blocks sign-outs");
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
    eventually("the server recovers", async || {
        let (me, login) =
            tokio::join!(server.me(&person.access), server.login(&person.email, PASSWORD));
        assert!([200, 503].contains(&me.status) && [200, 503].contains(&login.status));
        me.status == 200 && login.status == 200
    })
    .await;
}

/// Lets new connections to a PostgreSQL database only read, or lets them write again. Open connections stay as they are.
async fn let_new_connections(database: &TestDatabase, only_read: &str) {
    let sql = format!(
        "begin read write; alter database {} set default_transaction_read_only = {only_read}; commit",
        database.name()
    );
    database.execute(&sql).await;
}

/// After a failover, connections can still lead to a server that can only read, while new connections reach the new
/// primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_postgresql_causes_503_and_its_connections_are_replaced() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let server = Server::setup().on(database.clone()).start().await;
    let person = server.person("first").await;
    let_new_connections(&database, "on").await;
    let end_all = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = '{}' and pid <> pg_backend_pid()",
        database.name()
    );
    database.execute(&end_all).await;
    server.move_clock(Duration::from_secs(1));
    eventually("the server reads again", async || {
        let answer = server.me(&person.access).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.body);
        answer.status == 200
    })
    .await;
    for answer in [
        server.refresh(&person.refresh).await,
        server.logout(&person.access).await,
        server.login(&person.email, PASSWORD).await,
        server.register("second@user.com", PASSWORD).await,
    ] {
        assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    server.me(&person.access).await.expect_status(200);
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["database"], "unavailable");

    let_new_connections(&database, "off").await;
    eventually("the server can write on all its connections", async || {
        let mut sign_ins = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let form = [("username", person.email.as_str()), ("password", PASSWORD)];
            sign_ins.spawn(server.post("/auth/jwt/login").form(&form).send());
        }
        let mut all = true;
        while let Some(answer) = sign_ins.join_next().await {
            let answer = answer.unwrap();
            assert!([200, 503].contains(&answer.status), "{}", answer.body);
            all &= answer.status == 200;
        }
        all
    })
    .await;
    server.get("/health/ready").send().await.expect_status(200);
    server.refresh(&person.refresh).await.expect_status(200);
}

/// Sets the size that files of a process can have.
fn limit_files(server: &Server, size: &str) {
    let process = server.process().to_string();
    let limit = format!("--fsize={size}:unlimited");
    let set = std::process::Command::new("prlimit").args(["--pid", &process, &limit]).status();
    assert!(set.unwrap().success());
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_written_causes_503_until_it_can() {
    let database = TestDatabase::create(Kind::Sqlite).await;
    // A write that fails does not kill the process.
    let server = Server::setup().on(database).with_shell_limits("trap '' XFSZ").start().await;
    let person = server.person("first").await;
    server.get("/health/ready").send().await.expect_status(200);
    limit_files(&server, "0");
    for answer in [
        server.logout(&person.access).await,
        server.refresh(&person.refresh).await,
        server.register("second@user.com", PASSWORD).await,
    ] {
        assert_eq!((answer.status, answer.body.as_str()), (503, AWAY));
    }
    server.me(&person.access).await.expect_status(200);
    let ready = server.get("/health/ready").send().await.expect_status(503);
    assert_eq!(ready.json["database"], "unavailable");

    limit_files(&server, "unlimited");
    server.wait_until_ready().await;
    server.refresh(&person.refresh).await.expect_status(200);
    server.register("second@user.com", PASSWORD).await.expect_status(201);
}
