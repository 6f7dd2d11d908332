//! PostgreSQL servers of a test's own: with TLS, and with a sudden end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{free_port, is_root};
use crate::once::start::refused;
use crate::once::{block, run, text, tool};
use crate::support::{Answer, Kind, PASSWORD, PATIENCE, SECRET, Server, TestDatabase, eventually};

/// A PostgreSQL server in a folder of its own.
struct Postgres {
    folder: TempDir,
    port: u16,
    settings: &'static str,
}

impl Postgres {
    /// Creates and starts a server. `settings` are options of the program `postgres`; `{}` in them is the folder.
    fn start(folder: TempDir, settings: &'static str) -> Self {
        let server = Self { folder, port: free_port(), settings };
        if is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(server.path()).status();
            assert!(owned.unwrap().success());
        }
        let data = format!("--pgdata={}", server.path().join("data").display());
        server.call("initdb", &[&data, "--username=postgres", "--auth=trust", "--no-sync"]);
        server.begin();
        server
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn begin(&self) {
        let folder = self.path().display().to_string();
        let options = format!(
            "-k {folder} -h 127.0.0.1 -p {} {}",
            self.port,
            self.settings.replace("{}", &folder)
        );
        let log = format!("--log={folder}/log");
        self.control(&[&log, "--wait", "--options", &options, "start"]);
    }

    /// Ends the server at once, as a crash does.
    fn crash(&self) {
        self.control(&["--mode=immediate", "--wait", "stop"]);
    }

    /// Makes it a standby without a primary: it answers queries, and its rows do not change any more.
    fn become_standby(&self) {
        self.control(&["--mode=fast", "--wait", "stop"]);
        let signal = self.path().join("data/standby.signal");
        std::fs::write(&signal, "").unwrap();
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(&signal).status();
            assert!(owned.unwrap().success());
        }
        self.begin();
    }

    fn control(&self, arguments: &[&str]) {
        let data = format!("--pgdata={}", self.path().join("data").display());
        self.call("pg_ctl", &[&[data.as_str()], arguments].concat());
    }

    /// Runs a program of PostgreSQL. They refuse to run as root.
    fn call(&self, program: &str, arguments: &[&str]) {
        let program = programs().join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(&program);
                command
            }
            false => Command::new(&program),
        };
        let done = command
            .args(arguments)
            .current_dir(self.path())
            .env("PGCTLTIMEOUT", PATIENCE.as_secs().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{} {arguments:?}", program.display());
    }

    /// The URL of its database, for a client that calls the server by this name.
    fn url(&self, host: &str) -> String {
        format!("postgres://postgres@{host}:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.crash();
        }
    }
}

/// The folder of PostgreSQL's programs, of the newest version.
fn programs() -> PathBuf {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL's programs are missing: run scripts/test --all")
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    versions.pop().unwrap().join("bin")
}

fn openssl(folder: &Path, arguments: &str) {
    let made = run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a certificate authority. Its certificate is `{name}.crt`.
fn make_authority(folder: &Path, name: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!("req -x509 {key} -keyout {name}.key -out {name}.crt -subj /CN={name} -days 2"),
    );
}

/// Makes a certificate for the host `localhost`, signed by the authority `ca`.
fn make_certificate(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(folder.join("names"), "subjectAltName = DNS:localhost\n").unwrap();
    let signed = "-CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -days 2";
    openssl(folder, &format!("x509 -req -in server.csr -out server.crt {signed}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_must_have_a_certificate_of_the_given_authority_for_its_name() {
    let folder = tempfile::tempdir().unwrap();
    make_authority(folder.path(), "ca");
    make_authority(folder.path(), "other");
    make_certificate(folder.path());
    let settings = "-c ssl=on -c ssl_cert_file={}/server.crt -c ssl_key_file={}/server.key";
    let postgres = Postgres::start(folder, settings);
    // The server refuses clients without TLS.
    let rules = "hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n";
    std::fs::write(postgres.path().join("data/pg_hba.conf"), rules).unwrap();
    postgres.control(&["reload"]);

    let url = |host: &str, authority: &str| {
        let authority = postgres.path().join(authority);
        format!("{}?sslmode=verify-full&sslrootcert={}", postgres.url(host), authority.display())
    };
    let own = TestDatabase::create(Kind::Sqlite).await;
    let server =
        Server::setup().on(own).reach_database_at(url("localhost", "ca.crt")).start().await;
    server.person("first").await;
    drop(server);

    let folder = tempfile::tempdir().unwrap();
    for (url, what, what_to_do) in [
        (url("localhost", "other.crt"), "UnknownIssuer", "sslrootcert"),
        (url("127.0.0.1", "ca.crt"), "not valid for name", "the name of the host"),
        (url("localhost", "missing.crt"), "missing.crt", "sslrootcert"),
        (postgres.url("localhost") + "?sslmode=disable", "no encryption", "DATABASE_URL"),
    ] {
        let said = refused(folder.path(), &[("DATABASE_URL", &url)], &["--dev"]);
        assert!(said.contains(what) && said.contains(what_to_do), "{url}: {said}");
    }
}

/// The operations that the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    registered: Vec<String>,
    signed_out: Vec<String>,
}

/// Returns true if the request was done, and false if the database was away.
fn is_done(answer: &Answer, status: u16) -> bool {
    if answer.status == 503 {
        assert!(["SERVICE_UNAVAILABLE", "SERVICE_BUSY"].contains(&answer.code().as_str()));
        return false;
    }
    assert_eq!(answer.status, status, "{}", answer.body);
    true
}

/// Registers users, signs them in and out, until it is told to stop. Counts the requests that found the database away.
async fn work(
    server: Arc<Server>,
    worker: u32,
    acknowledged: Arc<Mutex<Acknowledged>>,
    (ends, away): (Arc<AtomicBool>, Arc<AtomicU32>),
) {
    for turn in 0.. {
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let email = format!("w{worker}t{turn}@user.com");
        if !is_done(&server.register(&email, PASSWORD).await, 201) {
            away.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        acknowledged.lock().unwrap().registered.push(email.clone());
        let answer = server.login(&email, PASSWORD).await;
        if is_done(&answer, 200) {
            let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
            if is_done(&server.logout(&access).await, 204) {
                acknowledged.lock().unwrap().signed_out.push(refresh);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_shutdown_of_postgresql_under_load_loses_nothing_that_was_acknowledged() {
    let postgres = Postgres::start(tempfile::tempdir().unwrap(), "");
    let own = TestDatabase::create(Kind::Sqlite).await;
    let setup = Server::setup().on(own).reach_database_at(postgres.url("127.0.0.1"));
    let server = Arc::new(setup.start().await);
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let (ends, away) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut workers = JoinSet::new();
    for worker in 0..6 {
        let signals = (Arc::clone(&ends), Arc::clone(&away));
        workers.spawn(work(Arc::clone(&server), worker, Arc::clone(&acknowledged), signals));
    }
    for _ in 0..2 {
        let so_far = || acknowledged.lock().unwrap().signed_out.len();
        let before = so_far();
        eventually("requests were acknowledged", async || so_far() > before + 12).await;
        away.store(0, Ordering::SeqCst);
        postgres.crash();
        let is_away = async || away.load(Ordering::SeqCst) > 0;
        eventually("requests find that the database is away", is_away).await;
        postgres.begin();
    }
    server.wait_until_ready().await;
    ends.store(true, Ordering::SeqCst);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner().unwrap();
    for email in &acknowledged.registered {
        server.login(email, PASSWORD).await.expect_status(200);
    }
    for refresh in &acknowledged.signed_out {
        server.refresh(refresh).await.expect_status(401);
    }
}

/// A pooler or a name that leads to a standby answers reads, but tells of no revocation that the primary commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reaches_only_a_standby_claims_no_knowledge_and_recovers_after_its_promotion()
{
    let postgres = Postgres::start(tempfile::tempdir().unwrap(), "");
    let own = TestDatabase::create(Kind::Sqlite).await;
    let setup = Server::setup().on(own).reach_database_at(postgres.url("127.0.0.1"));
    let server = setup.start().await;
    let person = server.person("first").await;
    let body = serde_json::json!({ "scopes": ["authenticated"] });
    let token = server.api_token(&person.access, &body).await;
    server.get("/auth/forward").bearer(&person.access).send().await.expect_status(200);
    postgres.become_standby();
    eventually("no token is accepted", async || {
        let answer = server.me(&person.access).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.body);
        answer.status == 503
    })
    .await;
    // It answers reads, so what needs no revocations still works.
    eventually("the standby answers", async || server.me(&token).await.status == 200).await;
    for _ in 0..5 {
        server.me(&person.access).await.expect_refusal(503, "SERVICE_UNAVAILABLE");
        let asked = server.get("/auth/forward").bearer(&person.access);
        asked.send().await.expect_refusal(503, "SERVICE_UNAVAILABLE");
        assert_eq!(server.get("/health/ready").send().await.status, 503);
    }
    postgres.control(&["--wait", "promote"]);
    server.wait_until_ready().await;
    server.me(&person.access).await.expect_status(200);
}

/// The claims of an access token, as PyJWT reads them with the secret and the code of the guide.
fn read_by_pyjwt(token: &str) -> String {
    let code = block("docs/guide/applications.md", "claims");
    let script = format!(
        "import jwt, json, os\ntoken, app_secret = os.environ['TOKEN'], os.environ['APP_SECRET']\n\
         {code}\nprint(json.dumps(claims))"
    );
    let mut python = Command::new(tool("python"));
    let output = run(python.args(["-c", &script]).env("TOKEN", token).env("APP_SECRET", SECRET));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The notes that a transaction with a role and claims can read, as PostgREST sets them.
async fn notes(database: &DatabaseConnection, claims: Option<&str>) -> Vec<String> {
    let transaction = database.begin().await.unwrap();
    let claims = claims.map(|claims| claims.replace('\'', "''"));
    let claims = claims.map_or(String::new(), |claims| {
        format!("select set_config('request.jwt.claims', '{claims}', true);")
    });
    let role = "set local role authenticated;";
    transaction.execute_unprepared(&format!("{role} {claims}")).await.unwrap();
    let read = Statement::from_string(DbBackend::Postgres, "select content from note order by 1");
    let rows = transaction.query_all_raw(read).await.unwrap();
    transaction.rollback().await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_shows_each_user_the_rows_of_the_claims_of_their_token() {
    let postgres = Postgres::start(tempfile::tempdir().unwrap(), "");
    let mapping = "email,username=email,role=authenticated";
    let own = TestDatabase::create(Kind::Sqlite).await;
    let server = Server::setup().on(own).set("ACCESS_TOKEN_CLAIMS", mapping).start().await;
    let database = Database::connect(postgres.url("127.0.0.1")).await.unwrap();
    let policy = block("docs/guide/applications.md", "policy");
    database.execute_unprepared(&policy).await.unwrap();
    let mut tokens = Vec::new();
    for name in ["ada", "bob"] {
        let person = server.verified(name).await;
        let (access, _) = server.sign_in(&person.email, PASSWORD).await;
        let sql = format!("insert into note values ('{}', 'of {name}')", person.id);
        database.execute_unprepared(&sql).await.unwrap();
        tokens.push((name, access));
    }
    for (name, access) in tokens {
        let read = read_by_pyjwt(&access);
        let (first, claims) = read.trim().split_once('\n').unwrap();
        assert_eq!(first, format!("{name}@user.com authenticated"));
        let parsed: serde_json::Value = serde_json::from_str(claims).unwrap();
        assert_eq!(parsed["email"], format!("{name}@user.com"));
        assert_eq!(notes(&database, Some(claims)).await, [format!("of {name}")]);
    }
    assert_eq!(notes(&database, Some("{}")).await, [""; 0]);
    assert_eq!(notes(&database, None).await, [""; 0]);
    database.close().await.unwrap();
}
