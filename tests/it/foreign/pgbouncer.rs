//! PgBouncer between Tessera and PostgreSQL.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{free_port, is_root};
use crate::once::start::refused;
use crate::support::{Answer, Kind, PASSWORD, PATIENCE, Request, Server, TestDatabase, eventually};

/// A PgBouncer with its default configuration, in front of the PostgreSQL server of the tests.
struct PgBouncer {
    process: Child,
    port: u16,
    folder: TempDir,
    /// The configuration, without what a test adds.
    defaults: String,
}

impl PgBouncer {
    /// Starts PgBouncer. `settings` are lines of its configuration.
    async fn before(database: &TestDatabase, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let (server, _) = database.url().rsplit_once('/').unwrap();
        let server = server.rsplit('@').next().unwrap();
        let (host, server_port) = server.split_once(':').unwrap();
        let configuration = folder.path().join("pgbouncer.ini");
        let defaults = format!(
            "[databases]\n* = host={host} port={server_port} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        );
        std::fs::write(&configuration, format!("{defaults}{settings}\n")).unwrap();
        if is_root() {
            // It refuses to run as root, and reads its configuration again as another user.
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.path(), open).unwrap();
        }
        let mut command = Command::new("/usr/sbin/pgbouncer");
        if is_root() {
            command.args(["--user", "nobody"]);
        }
        let process = command
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer is missing: run scripts/test --all");
        let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        eventually("PgBouncer listens", listens).await;
        Self { process, port, folder, defaults }
    }

    /// Changes the configuration while PgBouncer runs. Connections to PostgreSQL that are open keep the old one.
    fn change(&self, settings: &str) {
        let text = format!("{}{settings}\n", self.defaults);
        std::fs::write(self.folder.path().join("pgbouncer.ini"), text).unwrap();
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    }

    /// The URL of a database behind this PgBouncer.
    fn url(&self, database: &TestDatabase) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, database.name())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a request until the queue for hashing has room for it, and until it finds a connection in time.
async fn answered(request: impl Fn() -> Request) -> Answer {
    let began = Instant::now();
    loop {
        let answer = request().send().await;
        let is_late = ["SERVICE_BUSY", "SERVICE_UNAVAILABLE"].contains(&&*answer.code());
        if answer.status != 503 || !is_late {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.body);
    }
}

/// Does what a user does: registers, signs in, refreshes and signs out.
async fn come_and_go(server: Arc<Server>, number: u32) {
    let email = format!("user{number}@user.com");
    let body = json!({ "email": email, "password": PASSWORD });
    let register = || server.post("/auth/register").json(&body);
    answered(register).await.expect_status(201);
    let form = [("username", email.as_str()), ("password", PASSWORD)];
    let login = || server.post("/auth/jwt/login").form(&form);
    let signed_in = answered(login).await.expect_status(200);
    let me = || server.get("/users/me").bearer(&signed_in.text("access_token"));
    answered(me).await.expect_status(200);
    let refresh =
        |tokens: &Answer| server.post("/auth/jwt/refresh").bearer(&tokens.text("refresh_token"));
    let refreshed = answered(|| refresh(&signed_in)).await.expect_status(200);
    let logout = || server.post("/auth/jwt/logout").bearer(&refreshed.text("access_token"));
    answered(logout).await.expect_status(204);
    answered(|| refresh(&refreshed)).await.expect_status(401);
}

async fn forty_users_come_and_go(settings: &str, parameters: &str) {
    let database = TestDatabase::create(Kind::Postgres).await;
    let pooler = PgBouncer::before(&database, settings).await;
    let url = pooler.url(&database) + parameters;
    let server = Server::setup().on(database).reach_database_at(url).start().await;
    let server = Arc::new(server);
    let mut users = JoinSet::new();
    for number in 0..40 {
        users.spawn(come_and_go(Arc::clone(&server), number));
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    server.wait_until_ready().await;
    assert_eq!(server.database.count("\"user\"").await, 40);
    assert_eq!(server.database.count("audit where act = 'register'").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_users_come_and_go_through_pgbouncer_in_session_mode() {
    forty_users_come_and_go("", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_users_come_and_go_through_pgbouncer_in_transaction_mode() {
    forty_users_come_and_go("pool_mode = transaction", "?pgbouncer=true").await;
}

/// Two servers and few connections, so that each statement comes to a connection that others used before.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_three_connections_of_pgbouncer_in_transaction_mode() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let settings = "pool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1";
    let pooler = PgBouncer::before(&database, settings).await;
    let url = pooler.url(&database) + "?pgbouncer=true";
    let start = || Server::setup().on(database.clone()).reach_database_at(url.clone()).start();
    let servers = tokio::join!(start(), start());
    let servers = [Arc::new(servers.0), Arc::new(servers.1)];
    let mut users = JoinSet::new();
    for number in 0..20 {
        let server = &servers[usize::from(number % 2 == 0)];
        users.spawn(come_and_go(Arc::clone(server), number));
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_behind_pgbouncer_in_transaction_mode_names_the_parameter_that_is_missing() {
    let database = TestDatabase::create(Kind::Postgres).await;
    for settings in ["pool_mode = transaction", "pool_mode = transaction\nserver_round_robin = 1"] {
        let pooler = PgBouncer::before(&database, settings).await;
        let folder = tempfile::tempdir().unwrap();
        let url = pooler.url(&database);
        let said = refused(folder.path(), &[("DATABASE_URL", &url)], &["--dev"]);
        assert!(said.contains("pgbouncer=true"), "{said}");
    }
}

/// A pooler can change its mode while the server runs, or other clients hide it at the start.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_a_pooler_mixes_up_are_logged_with_what_to_do() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let pooler = PgBouncer::before(&database, "").await;
    let url = pooler.url(&database);
    let server = Server::setup().on(database.clone()).reach_database_at(url).start().await;
    pooler.change("pool_mode = transaction");
    let end_all = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = '{}' and pid <> pg_backend_pid()",
        database.name()
    );
    eventually("a mixed-up statement is logged", async || {
        // New connections follow the new configuration.
        database.execute(&end_all).await;
        let mut attempts = JoinSet::new();
        for number in 0..16 {
            let username = format!("user{number}@user.com");
            let form = [("username", username.as_str()), ("password", PASSWORD)];
            attempts.spawn(server.post("/auth/jwt/login").form(&form).send());
        }
        attempts.join_all().await;
        server.log_so_far().await.contains("add pgbouncer=true to DATABASE_URL")
    })
    .await;
}

/// The pooler passes no notifications on, but the second URL leads past it.
#[tokio::test(flavor = "multi_thread")]
async fn servers_behind_pgbouncer_hear_of_each_other_on_a_connection_past_it() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let pooler = PgBouncer::before(&database, "pool_mode = transaction").await;
    let url = pooler.url(&database) + "?pgbouncer=true";
    let start = || {
        let setup = Server::setup().on(database.clone()).reach_database_at(url.clone());
        let setup = setup.set("DATABASE_LISTEN_URL", database.url());
        setup.set("RUST_LOG", "info,api::platform=debug").start()
    };
    let (one, two) = tokio::join!(start(), start());
    for server in [&one, &two] {
        server.log.wait_for("listening for notifications").await;
    }
    let mut turn = 0;
    eventually("the second server was notified by the first", async || {
        turn += 1;
        let person = one.person(&format!("person{turn}")).await;
        one.logout(&person.access).await.expect_status(204);
        two.wait_until_refused(&person.access).await.expect_reason("token_revoked");
        two.log_so_far().await.contains("a server notified this one")
    })
    .await;
    // Each has one connection that does not come through the pooler, which is that of the listener.
    let listening = "pg_stat_activity where datname = current_database() and query ilike 'LISTEN%'";
    assert_eq!(database.count(listening).await, 2);
}
