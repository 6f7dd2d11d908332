//! A database of its own for every test.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TryGetable};
use tempfile::TempDir;

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
    pub(crate) async fn create(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("tessera_test_{}", folder.path().file_name().unwrap().display())
            .replace('.', "_")
            .to_ascii_lowercase()
            + &std::process::id().to_string();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:///{}/test.db", folder.path().display()),
            Kind::Postgres => {
                let server = Database::connect(format!("{}/postgres", postgres())).await.unwrap();
                server.execute_unprepared(&format!("create database {name}")).await.unwrap();
                server.close().await.unwrap();
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
            let drop = format!("drop database if exists {} with (force)", self.name);
            let server = format!("{}/postgres", postgres());
            // A thread of its own: this one may be driving the test's runtime.
            let dropped = std::thread::spawn(move || {
                tokio::runtime::Runtime::new().unwrap().block_on(async {
                    Database::connect(server).await.unwrap().execute_unprepared(&drop).await
                })
            });
            let _ = dropped.join();
        }
    }
}
