//! The database: connections, transactions and migrations.

mod about;
mod dump;
pub mod file;
mod group_commit;
mod insert;
pub(crate) mod listener;
mod name_lock;
mod pooler;
mod reader;
pub mod release;
pub(crate) mod rows;
mod schema;
mod url;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::IntoCondition;
use sea_orm::sqlx::pool::PoolConnectionMetadata;
use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Connection, Executor, Row};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, EntityTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait, Statement,
    TransactionTrait, sqlx,
};

pub use self::about::{About, OLDEST_POSTGRES};
use self::group_commit::{GroupCommit, Write};
pub(crate) use self::insert::Insert;
pub use self::name_lock::NameLock;
pub(crate) use self::pooler::advice;
pub use self::reader::Reader;
pub use self::url::{DatabaseUrl, PostgresUrl};

use crate::base::config::{self, Config, Migrate};
use crate::base::error::away;

/// The maximum time to wait for a connection. Together with the time for a statement it is less than the time for a
/// request.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(4);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// The maximum number of connections for exports.
const EXPORTERS: u32 = 2;

/// The settings of every connection to PostgreSQL. If a replica stops in the middle of a transaction, it must not hold
/// its locks for ever, because sign-outs on other replicas wait for them. They are set after connecting: PgBouncer
/// refuses a connection that sets them when it connects.
const SESSION_SETTINGS: &str = "set statement_timeout = '4s'; \
     set idle_in_transaction_session_timeout = '5s'; \
     set tcp_keepalives_idle = 10; \
     set tcp_keepalives_interval = 5; \
     set tcp_user_timeout = '15s'";

/// The beginning of every transaction behind a pooler in transaction mode. The connection can have statements that were
/// prepared in another transaction, and it has no settings of ours.
const TRANSACTION_SETTINGS: &str = "deallocate all; \
     set local statement_timeout = '4s'; \
     set local idle_in_transaction_session_timeout = '5s'";

/// The time for which a connection that can only read is kept before it is replaced, so that a database that stays
/// read-only does not cause a new connection for each statement.
const READ_ONLY_FOR: Duration = Duration::from_secs(2);

/// The keys of Tessera's advisory locks in PostgreSQL.
const MIGRATION_LOCK: i64 = 0x7465_7373_0001;
const AUDIT_LOCK: i64 = 0x7465_7373_0003;
const KEY_LOCK: i64 = 0x7465_7373_0004;
const NAME_LOCK: i64 = 0x7465_7373_0005;

/// The connections to a database.
#[derive(Debug, Clone)]
pub struct Database {
    reader: Reader,
    writer: DatabaseConnection,
    /// Opened when it is first needed.
    exporter: Reader,
    /// `true` if a pooler gives each transaction another connection.
    behind_pooler: bool,
    /// On SQLite, writes that wait share a commit.
    group: Option<GroupCommit>,
    /// On SQLite, no restore gives the name to another file as long as this is open.
    _name: Option<Arc<NameLock>>,
}

impl Database {
    /// Connects to a database, of whose name the caller has the lock. A SQLite file is created if it does not exist.
    ///
    /// # Errors
    ///
    /// If the database does not answer within a few seconds.
    pub async fn connect(config: &Config, name: Option<NameLock>) -> Result<Self, DbErr> {
        let name = name.map(Arc::new);
        match &config.database_url {
            DatabaseUrl::Sqlite(path) => {
                let synchronous = config.sqlite_synchronous;
                make_private(path);
                // SQLite has one writer at a time. In a pool of one connection, writers wait for each other in
                // order. With several connections they would fail with "database is locked".
                let writer = unlocked(|| sqlite(path, synchronous, 1, false)).await?;
                let readers = u32::try_from(parallelism()).unwrap_or(4).max(2);
                let reader = unlocked(|| sqlite(path, synchronous, readers, true)).await?;
                let exporter = for_exports(sqlite(path, synchronous, EXPORTERS, true));
                let exporter = sea_orm::Database::connect(exporter).await?;
                let group = Some(GroupCommit::start(writer.clone()));
                let (reader, exporter) = (Reader::new(reader, false), Reader::new(exporter, false));
                Ok(Self { reader, writer, exporter, behind_pooler: false, group, _name: name })
            }
            DatabaseUrl::Postgres(server) => {
                let behind_pooler = server.behind_pooler;
                let connections = config.database_connections.unwrap_or_else(default_connections);
                let writer = postgres(server).max_connections(connections).to_owned();
                let writer = sea_orm::Database::connect(writer).await?;
                let exporter = for_exports(postgres(server)).max_connections(EXPORTERS).to_owned();
                let exporter = sea_orm::Database::connect(exporter).await?;
                let reader = Reader::new(writer.clone(), behind_pooler);
                let exporter = Reader::new(exporter, behind_pooler);
                Ok(Self { reader, writer, exporter, behind_pooler, group: None, _name: name })
            }
        }
    }

    /// The connections for single look-ups.
    pub fn reader(&self) -> &Reader {
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
            Some(group) => group.run(Write { statement, then: Vec::new() }).await,
            None => self.reader.query_one_raw(statement).await,
        }
    }

    /// Changes a row, and inserts others if the change returned one, in one transaction without a round trip in between.
    /// Returns false if there was nothing to change. Then nothing is written.
    ///
    /// # Errors
    ///
    /// If the database refuses: then nothing remains.
    pub(crate) async fn change_and_insert(
        &self,
        change: Statement,
        inserts: Vec<Insert>,
    ) -> Result<bool, DbErr> {
        let Some(group) = &self.group else {
            let statement = insert::after_change(change, inserts);
            return Ok(self.reader.query_one_raw(statement).await?.is_some());
        };
        let then = inserts.into_iter().map(Insert::alone).collect();
        Ok(group.run(Write { statement: change, then }).await?.is_some())
    }

    /// The kind of database.
    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// Returns true for PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        self.backend() == DbBackend::Postgres
    }

    /// The connections for reading many rows. They are separate, so that single look-ups do not wait for them.
    pub fn exporter(&self) -> &Reader {
        &self.exporter
    }

    /// Begins a transaction that can write. If it is dropped without a commit, it is rolled back.
    ///
    /// # Errors
    ///
    /// If the database does not answer in time.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        if self.behind_pooler {
            return begin_behind_pooler(&self.writer).await;
        }
        group_commit::begin(&self.writer).await
    }

    /// Checks that the database answers reads and can be written.
    ///
    /// # Errors
    ///
    /// If the database does not answer, or is read-only.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let outcome = match self.backend() {
            DbBackend::Postgres => self.ping_postgres().await,
            _ => self.ping_sqlite().await,
        };
        outcome.inspect_err(away::note)
    }

    async fn ping_postgres(&self) -> Result<(), DbErr> {
        // Also true on a standby, which follows another server.
        let sql = "select current_setting('transaction_read_only') = 'on'";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.reader.query_one_raw(statement).await?;
        if row.map_or(Ok(false), |row| row.try_get_by_index::<bool>(0))? {
            away::note_read_only();
            return Err(DbErr::Custom("the database is read-only".to_owned()));
        }
        Ok(())
    }

    async fn ping_sqlite(&self) -> Result<(), DbErr> {
        self.reader.execute_unprepared("select 1").await?;
        let transaction = self.begin().await?;
        // On a file that cannot be written, SQLite begins a transaction and refuses the first write. This writes what
        // is there already.
        let sql = Statement::from_string(DbBackend::Sqlite, "pragma user_version");
        let row = transaction.query_one_raw(sql).await?;
        let version = row.map_or(Ok(0), |row| row.try_get_by_index::<i32>(0))?;
        transaction.execute_unprepared(&format!("pragma user_version = {version}")).await?;
        if !away::cannot_write() {
            return transaction.rollback().await;
        }
        // The last write failed, for example because the disk is full. Only a write to the disk shows that this is over.
        transaction.commit().await?;
        away::can_write();
        Ok(())
    }

    /// Applies all missing migrations in one transaction. Replicas that start at the same time wait.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        // A migration can take longer than the usual limits, and so can waiting for another replica that migrates.
        allow_long(&transaction).await?;
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

    /// The sizes of the pools of connections.
    pub(crate) fn pools(&self) -> Vec<PoolSize> {
        let writer = match self.backend() {
            DbBackend::Postgres => "all",
            _ => "writer",
        };
        let mut pools = vec![(writer, &self.writer), ("export", self.exporter.pool())];
        if self.backend() != DbBackend::Postgres {
            pools.push(("reader", self.reader.pool()));
        }
        pools.into_iter().map(|(name, pool)| PoolSize::of(name, pool)).collect()
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        for pool in [self.reader.pool(), &self.writer, self.exporter.pool()] {
            // A pool that is closed already is closed.
            let _ = pool.close_by_ref().await;
        }
    }

    /// Applies or checks the migrations, as the setting `MIGRATE` requires.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, if migrations are missing or cannot be applied.
    pub async fn prepare(&self, when: Migrate) -> Result<(), String> {
        match when {
            Migrate::Auto => self.migrate().await.map_err(|error| {
                let advice = schema::advice_for_migration(&error);
                format!("the migrations of the database could not be applied: {error}{advice}")
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

/// The numbers of connections of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolSize {
    pub(crate) name: &'static str,
    pub(crate) used: usize,
    pub(crate) idle: usize,
    pub(crate) most: u32,
}

impl PoolSize {
    fn of(name: &'static str, pool: &DatabaseConnection) -> Self {
        let (size, idle, most) = match pool.get_database_backend() {
            DbBackend::Postgres => {
                let pool = pool.get_postgres_connection_pool();
                (pool.size(), pool.num_idle(), pool.options().get_max_connections())
            }
            _ => {
                let pool = pool.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle(), pool.options().get_max_connections())
            }
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Self { name, used: size.saturating_sub(idle), idle, most }
    }
}

/// Begins a transaction behind a pooler in transaction mode.
async fn begin_behind_pooler(pool: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let transaction = pool.begin().await?;
    transaction.execute_unprepared(TRANSACTION_SETTINGS).await?;
    Ok(transaction)
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

/// Lets a transaction take longer than the usual limits.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn allow_long(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let limits = "set local statement_timeout = 0; set local lock_timeout = 0; \
                  set local idle_in_transaction_session_timeout = 0";
    transaction.execute_unprepared(limits).await.map(drop)
}

/// Lets one transaction at a time change the signing keys, or the longest life of tokens.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn lock_keys(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    lock(transaction, KEY_LOCK).await
}

/// Lets one transaction at a time give names to clients, services and audiences.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn lock_names(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    lock(transaction, NAME_LOCK).await
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
                // `make_private` created it. A file that is gone later must not be replaced by an empty one.
                .create_if_missing(false)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(match synchronous {
                    config::SqliteSynchronous::Full => SqliteSynchronous::Full,
                    config::SqliteSynchronous::Normal => SqliteSynchronous::Normal,
                })
                .busy_timeout(STATEMENT_TIMEOUT)
                .foreign_keys(true);
            if read_only { options.pragma("query_only", "on") } else { options }
        })
        .map_sqlx_sqlite_before_acquire(move |connection, metadata| {
            Box::pin(async move {
                // A connection to a file that could not be written stays read-only.
                let may_be_stale = !read_only && may_be_read_only(metadata);
                Ok(!may_be_stale && is_between_transactions(connection).await?)
            })
        });
    options
}

/// Returns true if a connection that is returned to the pool may be one that can only read.
fn may_be_read_only(metadata: PoolConnectionMetadata) -> bool {
    metadata.age > READ_ONLY_FOR && away::may_be_read_only(metadata.idle_for)
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

fn postgres(server: &PostgresUrl) -> ConnectOptions {
    let behind_pooler = server.behind_pooler;
    let given = server.options.clone();
    let mut options = ConnectOptions::new("postgres://options-are-set-below");
    options
        .connect_timeout(ACQUIRE_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .map_sqlx_postgres_opts(move |_| {
            let options = pooler::accepts(given.clone());
            if behind_pooler { options.statement_cache_capacity(0) } else { options }
        })
        .map_sqlx_postgres_before_acquire(|connection, metadata| {
            Box::pin(async move { Ok(!may_be_read_only(metadata) || can_write(connection).await?) })
        })
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .idle_timeout(Duration::from_secs(300))
        .sqlx_logging(false);
    if !behind_pooler {
        options.map_sqlx_postgres_pool_opts(|pool| {
            pool.after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION_SETTINGS).await.map(drop) })
            })
        });
    }
    options
}

/// Returns true if a connection to PostgreSQL can write. After a failover, a connection can lead to a server that
/// became read-only. The pool closes it and connects again.
async fn can_write(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = connection.fetch_one("show transaction_read_only").await?;
    Ok(row.try_get::<String, _>(0)? == "off")
}

/// Options for connections that are opened when they are needed and closed after a minute without use.
fn for_exports(mut options: ConnectOptions) -> ConnectOptions {
    options.connect_lazy(true).min_connections(0).idle_timeout(Duration::from_secs(60));
    options
}

/// The number of connections to PostgreSQL. A connection waits for a distant database most of the time, so more of them
/// than there are cores are worth having (docs/performance.md).
fn default_connections() -> u32 {
    u32::try_from(parallelism() * 4).unwrap_or(16).max(16)
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
