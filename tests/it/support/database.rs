//! A database of its own for every test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TryGetable};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Clock, eventually};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// Returns the kind that `TEST_DATABASE` names, or SQLite if it is not set.
    pub(crate) fn from_environment() -> Self {
        match variable("TEST_DATABASE").as_deref() {
            None | Some("sqlite") => Kind::Sqlite,
            Some("postgres") => Kind::Postgres,
            Some(other) => panic!("TEST_DATABASE is {other}: use sqlite or postgres"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have settings too")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The URL of the PostgreSQL server, without the name of a database.
fn postgres() -> String {
    variable("TEST_POSTGRES").unwrap_or("postgres://postgres@127.0.0.1:5432".to_owned())
}

/// Runs statements on the PostgreSQL server, in no database of a test.
async fn on_server(statements: &[&str]) {
    let server = Database::connect(format!("{}/postgres", postgres())).await.unwrap();
    for statement in statements {
        server.execute_unprepared(statement).await.unwrap();
    }
    server.close().await.unwrap();
}

/// Makes a database on the PostgreSQL server. Its commits do not wait for the disk: no test stops the server of the
/// database, and a disk that is busy with the other tests can take longer than a server waits for a statement.
async fn create_on_server(name: &str, template: &str) {
    let create = format!("create database {name} template {template}");
    let relax = format!("alter database {name} set synchronous_commit = off");
    on_server(&[&create, &relax]).await;
}

/// The name of a PostgreSQL database with all migrations, which the tests of this process copy. Each process
/// makes it anew.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let made = TEMPLATE.get_or_init(|| async {
        drop_databases_of_ended_processes().await;
        let name = format!("{TEMPLATE_OF}{}", std::process::id());
        // Of an ended process with the same number.
        on_server(&[&format!("drop database if exists {name} with (force)")]).await;
        create_on_server(&name, "template1").await;
        let folder = tempfile::tempdir().unwrap();
        let mut migrate = super::command(folder.path());
        migrate.args(["migrate", "up"]).env("APP_SECRET", super::SECRET);
        migrate.env("DATABASE_URL", format!("{}/{name}", postgres()));
        let output = migrate.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        name
    });
    made.await
}

/// The beginnings of the names of databases. The number of the process that made one follows.
const TEMPLATE_OF: &str = "tessera_template_";
const TEST_OF: &str = "tessera_test_";

/// Lets the databases be dropped that processes of this machine have left. One that somebody uses stays.
async fn drop_databases_of_ended_processes() {
    let server = Database::connect(format!("{}/postgres", postgres())).await.unwrap();
    let sql = "select datname::text from pg_database \
               where not exists (select from pg_stat_activity used where used.datname = pg_database.datname)";
    let rows = server.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    server.close().await.unwrap();
    for row in rows.unwrap() {
        let name: String = row.try_get_by_index(0).unwrap();
        let rest = name.strip_prefix(TEMPLATE_OF).or(name.strip_prefix(TEST_OF));
        let process = rest.and_then(|rest| rest.split('_').next()?.parse::<u32>().ok());
        let has_ended =
            |process: u32| !std::path::Path::new("/proc").join(process.to_string()).exists();
        if process.is_some_and(has_ended) {
            let _ = DROPPER.send(name);
        }
    }
}

/// A database that is deleted with its last handle.
#[derive(Clone)]
pub(crate) struct TestDatabase(Arc<Held>);

struct Held {
    kind: Kind,
    url: String,
    name: String,
    folder: TempDir,
    clock: Clock,
}

impl TestDatabase {
    /// An empty database.
    pub(crate) async fn create(kind: Kind) -> Self {
        Self::create_from(kind, "template1").await
    }

    /// A database that can have all migrations already. On PostgreSQL it is a copy, because applying the migrations takes
    /// longer than most tests.
    pub(crate) async fn prepared(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::create(kind).await,
            Kind::Postgres => Self::create_from(kind, template().await).await,
        }
    }

    async fn create_from(kind: Kind, template: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The number tells two folders apart whose names differ only in capital letters.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder_name = folder.path().file_name().unwrap().display().to_string();
        let name = format!("{TEST_OF}{}_{number}{folder_name}", std::process::id())
            .replace('.', "_")
            .to_ascii_lowercase();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:///{}/test.db", folder.path().display()),
            Kind::Postgres => {
                create_on_server(&name, template).await;
                format!("{}/{name}", postgres())
            }
        };
        Self(Arc::new(Held { kind, url, name, folder, clock: Clock::ahead_by(0) }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The clock of its servers, unless a server has a clock of its own.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The value for `DATABASE_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// The name of the database on its server.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.0.folder.path().join("test.db")
    }

    pub(crate) async fn connect(&self) -> DatabaseConnection {
        let url = match self.0.kind {
            Kind::Sqlite => format!("sqlite://{}", self.file().display()),
            Kind::Postgres => self.0.url.clone(),
        };
        Database::connect(url).await.unwrap()
    }

    /// Runs SQL, as an operator does by hand, and returns the number of rows that it changed.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let connection = self.connect().await;
        let done = connection.execute_unprepared(sql).await.unwrap().rows_affected();
        connection.close().await.unwrap();
        done
    }

    /// Returns the first column of every row.
    pub(crate) async fn column<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let connection = self.connect().await;
        let backend = match self.0.kind {
            Kind::Sqlite => DbBackend::Sqlite,
            Kind::Postgres => DbBackend::Postgres,
        };
        let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// The number of rows of a table, which a condition can follow. Entries of the audit are counted once all are sealed.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        if sql.starts_with("audit") {
            let pending = "select count(*) from audit_pending";
            eventually("the audit is sealed", async || self.column::<i64>(pending).await[0] == 0)
                .await;
        }
        self.column::<i64>(&format!("select count(*) from {sql}")).await[0]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.kind == Kind::Postgres {
            // If it has ended, the next process drops the database.
            let _ = DROPPER.send(self.name.clone());
        }
    }
}

/// Takes the names of databases that no test needs any more, and drops several at the same time: PostgreSQL writes a
/// checkpoint for each drop, which takes a second beside other tests, and drops that wait share one. The last names of
/// a process may stay. The next process drops those databases.
static DROPPER: LazyLock<Sender<String>> = LazyLock::new(|| {
    let (sender, names) = channel::<String>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while let Ok(first) = names.recv() {
            // Not an event to wait for: more names come meanwhile.
            std::thread::sleep(Duration::from_secs(2));
            let names: Vec<_> = std::iter::once(first).chain(names.try_iter()).collect();
            let drops = names.chunks(names.len().div_ceil(4)).map(async |names| {
                let url = format!("{}/postgres", postgres());
                let Ok(server) = Database::connect(url).await else { return };
                for name in names {
                    let drop = format!("drop database if exists {name} with (force)");
                    // The next process tries again.
                    let _ = server.execute_unprepared(&drop).await;
                }
                let _ = server.close().await;
            });
            runtime.block_on(futures_util::future::join_all(drops));
        }
    });
    sender
});
