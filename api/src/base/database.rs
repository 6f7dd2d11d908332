//! The database: connections, transactions and migrations.

mod group_commit;

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sea_query::IntoCondition;
use sea_orm::sqlx::Connection;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, EntityTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, sqlx,
};

use self::group_commit::GroupCommit;

use crate::base::config::{self, Migrate};

/// The maximum time to wait for a connection. Together with the time for a statement it is less than the time for a
/// request.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// The maximum number of connections for exports.
const EXPORTERS: u32 = 2;

/// The settings of every connection to PostgreSQL. If a replica stops in the middle of a transaction, it must not hold
/// its locks for ever, because sign-outs on other replicas wait for them.
const SERVER_SETTINGS: [(&str, &str); 5] = [
    ("statement_timeout", "4s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_user_timeout", "15s"),
];

/// The keys of Tessera's advisory locks in PostgreSQL.
const MIGRATION_LOCK: i64 = 0x7465_7373_0001;
const AUDIT_LOCK: i64 = 0x7465_7373_0003;
const KEY_LOCK: i64 = 0x7465_7373_0004;

/// A parsed `DATABASE_URL`. Several spellings are accepted.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// The `postgres://…` URL of a server, with its parsed options.
    Postgres(String, Box<PgConnectOptions>),
}

impl DatabaseUrl {
    /// Fails if the file of a SQLite database does not exist. A command that only looks must not create an empty
    /// database in the wrong folder.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if the file does not exist.
    pub fn require_there(&self) -> Result<(), String> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(format!(
                "there is no database {}: set DATABASE_URL as for the server, or run this in the server's folder",
                path.display()
            )),
            _ => Ok(()),
        }
    }

    /// The file for the secret that a development server makes for this database.
    pub fn secret_path(&self) -> PathBuf {
        match self {
            Self::Sqlite(path) => path.with_extension("secret"),
            Self::Postgres(..) => PathBuf::from("tessera.secret"),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text
            .split_once(':')
            .ok_or("DATABASE_URL must be of the form sqlite:///./file.db or postgres://…")?;
        // URLs of SQLAlchemy also name a driver: `sqlite+aiosqlite`, `postgresql+asyncpg`.
        match scheme.split('+').next().unwrap_or_default() {
            "sqlite" => {
                let path = rest.split('?').next().unwrap_or_default();
                let path = match path.strip_prefix("//") {
                    // As in SQLAlchemy, three slashes begin a relative path and four an absolute one.
                    Some(path) => path.strip_prefix('/').unwrap_or(path),
                    None => path,
                };
                if path.is_empty() || path.contains(":memory:") {
                    return Err("DATABASE_URL must name a file, such as sqlite:///./tessera.db");
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "postgres" | "postgresql" => parse_postgres(format!("postgres:{rest}")),
            _ => Err("DATABASE_URL must begin with sqlite: or postgres:"),
        }
    }
}

/// The parameters that a URL of PostgreSQL can have after the question mark. Tessera refuses others and names the
/// setting. The library would write them to the log instead.
const POSTGRES_PARAMETERS: [&str; 10] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

fn parse_postgres(url: String) -> Result<DatabaseUrl, &'static str> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let known = |parameter: &str| {
        POSTGRES_PARAMETERS.contains(&parameter.split('=').next().unwrap_or_default())
    };
    if !parameters.split('&').all(|parameter| parameter.is_empty() || known(parameter)) {
        return Err("DATABASE_URL must not have other parameters than those of PostgreSQL's URLs");
    }
    match url.parse::<PgConnectOptions>() {
        Ok(options) if url.starts_with("postgres://") => {
            Ok(DatabaseUrl::Postgres(url, Box::new(options)))
        }
        _ => Err("DATABASE_URL must be of the form postgres://user:password@host/database"),
    }
}

/// Writes the URL without its password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:///{}", path.display()),
            Self::Postgres(_, options) => write!(
                formatter,
                "postgres://{}:(secret)@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "Sqlite({})", path.display()),
            Self::Postgres(..) => formatter.write_str("Postgres(…)"),
        }
    }
}

/// The connections to a database.
#[derive(Debug, Clone)]
pub struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    /// Opened when it is first needed.
    exporter: DatabaseConnection,
    /// On SQLite, single statements share a commit.
    group: Option<GroupCommit>,
}

impl Database {
    /// Connects to a database. A SQLite file is created if it does not exist.
    ///
    /// # Errors
    ///
    /// If the database does not answer within a few seconds.
    pub async fn connect(
        url: &DatabaseUrl,
        synchronous: config::SqliteSynchronous,
    ) -> Result<Self, DbErr> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                make_private(path);
                // SQLite has one writer at a time. In a pool of one connection, writers wait for each other in
                // order. With several connections they would fail with "database is locked".
                let writer = unlocked(|| sqlite(path, synchronous, 1, false)).await?;
                let readers = u32::try_from(parallelism()).unwrap_or(4).max(2);
                let reader = unlocked(|| sqlite(path, synchronous, readers, true)).await?;
                let exporter = for_exports(sqlite(path, synchronous, EXPORTERS, true));
                let exporter = sea_orm::Database::connect(exporter).await?;
                let group = Some(GroupCommit::start(writer.clone()));
                Ok(Self { reader, writer, exporter, group })
            }
            DatabaseUrl::Postgres(url, _) => {
                let pool = sea_orm::Database::connect(postgres(url)).await?;
                let exporter = for_exports(postgres(url)).max_connections(EXPORTERS).to_owned();
                let exporter = sea_orm::Database::connect(exporter).await?;
                Ok(Self { reader: pool.clone(), writer: pool, exporter, group: None })
            }
        }
    }

    /// The connections for single look-ups.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Runs a single statement that writes. It is a transaction of its own; on SQLite it can share one with others.
    /// Returns the first row that the statement returns, after the commit.
    ///
    /// # Errors
    ///
    /// If the database refuses: then nothing of the statement remains.
    pub(crate) async fn run(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.group {
            Some(group) => group.run(statement).await,
            None => self.writer.query_one_raw(statement).await,
        }
    }

    /// The kind of database.
    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// The connections for reading many rows. They are separate, so that single look-ups do not wait for them.
    pub fn exporter(&self) -> &DatabaseConnection {
        &self.exporter
    }

    /// Begins a transaction that can write. If it is dropped without a commit, it is rolled back.
    ///
    /// # Errors
    ///
    /// If the database does not answer in time.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        // A deferred transaction that reads before it writes fails at once if another one writes.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.writer.begin_with_options(options).await
    }

    /// Checks that the database answers reads and can begin a write.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.execute_unprepared("select 1").await?;
        self.begin().await?.rollback().await
    }

    /// Applies all missing migrations in one transaction. Replicas that start at the same time wait.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        if transaction.get_database_backend() == DbBackend::Postgres {
            // A migration can take longer than the usual limits, and so can waiting for another replica that migrates.
            transaction
                .execute_unprepared(
                    "set local statement_timeout = 0; set local lock_timeout = 0; \
                     set local idle_in_transaction_session_timeout = 0",
                )
                .await?;
        }
        lock(&transaction, MIGRATION_LOCK).await?;
        migration::up(&transaction).await?;
        transaction.commit().await
    }

    /// Returns all migrations, each with `true` if it is applied. This writes nothing.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub async fn migrations(&self) -> Result<Vec<(String, bool)>, DbErr> {
        // Rolled back, so that this writes nothing.
        let transaction = self.begin().await?;
        let statuses = migration::status(&transaction).await?;
        transaction.rollback().await?;
        Ok(statuses)
    }

    /// Applies or checks the migrations, as the setting `MIGRATE` requires.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if migrations are missing or cannot be applied.
    pub async fn prepare(&self, when: Migrate) -> Result<(), String> {
        match when {
            Migrate::Auto => self.migrate().await.map_err(|error| {
                format!("the migrations of the database could not be applied: {error}")
            }),
            Migrate::Check => {
                let migrations = self.migrations().await.map_err(|error| {
                    format!("the migrations of the database could not be read: {error}")
                })?;
                match migrations.iter().find(|(_, applied)| !applied) {
                    Some((name, _)) => Err(format!(
                        "the database does not have the migration {name}: run `tessera migrate up`"
                    )),
                    None => Ok(()),
                }
            }
            Migrate::Off => Ok(()),
        }
    }
}

/// Deletes at most `max` of the rows that match a condition, by their key. Returns the number of deleted rows.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn delete_some<E: EntityTrait>(
    connection: &impl ConnectionTrait,
    key: E::Column,
    condition: impl IntoCondition,
    max: u64,
) -> Result<u64, DbErr> {
    let some = E::find().select_only().column(key).filter(condition).limit(max).into_query();
    let deleted = E::delete_many().filter(key.in_subquery(some)).exec(connection).await?;
    Ok(deleted.rows_affected)
}

/// Lets one transaction at a time change the signing keys, or the longest life of tokens.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn lock_keys(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    lock(transaction, KEY_LOCK).await
}

/// Lets one transaction at a time seal the audit. Returns false, without waiting, if another transaction has the lock.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn try_lock_audit(transaction: &DatabaseTransaction) -> Result<bool, DbErr> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        return Ok(true);
    }
    let sql = format!("select pg_try_advisory_xact_lock({AUDIT_LOCK})");
    let row = transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

async fn lock(transaction: &DatabaseTransaction, key: i64) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(&format!("select pg_advisory_xact_lock({key})")).await?;
    }
    Ok(())
}

/// Connects to a SQLite file that other processes may be opening for the first time. While one of them switches the
/// journal to a write-ahead log, SQLite refuses the others at once, whatever their busy timeout. So this retries.
async fn unlocked(options: impl Fn() -> ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    for _ in 0..100 {
        match sea_orm::Database::connect(options()).await {
            Err(error) if error.to_string().contains("database is locked") => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            connected => return connected,
        }
    }
    sea_orm::Database::connect(options()).await
}

/// Creates the database file so that only its owner can read it, because it contains all password hashes. SQLite gives
/// the files beside it the same permissions. If the file cannot be created, connecting reports the error.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

fn sqlite(
    path: &Path,
    synchronous: config::SqliteSynchronous,
    connections: u32,
    read_only: bool,
) -> ConnectOptions {
    let path = path.to_owned();
    let mut options = ConnectOptions::new("sqlite://file-is-set-below.db");
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .filename(&path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(match synchronous {
                    config::SqliteSynchronous::Full => SqliteSynchronous::Full,
                    config::SqliteSynchronous::Normal => SqliteSynchronous::Normal,
                })
                .busy_timeout(STATEMENT_TIMEOUT)
                .foreign_keys(true);
            if read_only { options.pragma("query_only", "on") } else { options }
        })
        .map_sqlx_sqlite_before_acquire(|connection, _| {
            Box::pin(is_between_transactions(connection))
        });
    options
}

/// Returns true if a connection that was returned to the pool is not in a transaction.
///
/// If a commit fails, for example on a full disk, SQLite rolls back by itself, but the driver still counts a
/// transaction. The next write would then be a savepoint in a transaction that is never committed: acknowledged, and
/// lost at the end of the process. So such a connection is closed.
async fn is_between_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A dropped transaction is rolled back later: this waits for it.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

fn postgres(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(u32::try_from(parallelism() * 4).unwrap_or(8).max(8))
        .connect_timeout(ACQUIRE_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .map_sqlx_postgres_opts(|options| options.options(SERVER_SETTINGS))
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .idle_timeout(Duration::from_secs(300))
        .sqlx_logging(false);
    options
}

/// Options for connections that are opened when they are needed and closed after a minute without use.
fn for_exports(mut options: ConnectOptions) -> ConnectOptions {
    options.connect_lazy(true).min_connections(0).idle_timeout(Duration::from_secs(60));
    options
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
