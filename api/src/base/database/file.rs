//! SQLite databases as files: copies, checks, and their form on the disk.
//!
//! None of these functions migrates or changes the database that it reads.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{self, Connection, Row};

/// The time that a copy waits for a lock.
const BUSY: Duration = Duration::from_secs(10);

/// The beginning of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The migration that every database of Tessera has.
const FIRST: &str = "m20261121_000001_user_session_revocation";

async fn open(
    path: &Path,
    read_only: bool,
    busy: Duration,
) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(read_only)
        .busy_timeout(busy);
    SqliteConnection::connect_with(&options).await
}

/// Copies a database into a new file, as it is at one instant. Servers can read and write meanwhile. Only the owner can
/// read the copy, and it is on the disk when this returns.
///
/// # Errors
///
/// A sentence for the operator. Then nothing remains of the copy.
pub async fn copy(from: &Path, to: &Path) -> Result<(), String> {
    // SQLite writes into an empty file, and keeps its permissions.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| format!("{} cannot be created: {error}", to.display()))?;
    let copied = copy_into(from, to).await;
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

async fn copy_into(from: &Path, to: &Path) -> Result<(), String> {
    let fault = |error: sqlx::Error| format!("{} cannot be copied: {error}", from.display());
    let name = to.to_str().ok_or_else(|| format!("{} is not UTF-8 text", to.display()))?;
    let mut connection = open(from, true, BUSY).await.map_err(fault)?;
    let copied = sqlx::query("vacuum into ?").bind(name).execute(&mut connection).await;
    let closed = connection.close().await;
    copied.map_err(fault)?;
    closed.map_err(fault)?;
    on_disk(to).map_err(|error| format!("{} cannot be written: {error}", to.display()))
}

/// Waits until a file is on the disk.
///
/// # Errors
///
/// If the operating system returns an error.
pub fn on_disk(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Checks that a file is a database of Tessera whose pages and indexes are intact. Returns the names of the migrations
/// that were applied to it.
///
/// # Errors
///
/// A sentence for the operator.
pub async fn check(path: &Path) -> Result<Vec<String>, String> {
    let shown = path.display();
    let mut begin = [0; MAGIC.len()];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    match read {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(format!("{shown} cannot be read: {error}"));
        }
        Ok(()) if begin == *MAGIC => {}
        _ => {
            return Err(format!(
                "{shown} is not a SQLite database: name a file of `tessera backup`"
            ));
        }
    }
    let damaged = |error: sqlx::Error| format!("{shown} is damaged: {error}");
    let mut connection = open(path, true, BUSY).await.map_err(damaged)?;
    let checked = sqlx::query("pragma integrity_check(1)").fetch_one(&mut connection).await;
    let found: String = checked.and_then(|row| row.try_get(0)).map_err(damaged)?;
    let listed = sqlx::query("select version from seaql_migrations order by version");
    let listed = listed.fetch_all(&mut connection).await;
    // A connection that reads alone leaves nothing behind.
    let _ = connection.close().await;
    if found != "ok" {
        return Err(format!("{shown} is damaged ({found}): use another copy"));
    }
    let names: Vec<String> =
        listed.unwrap_or_default().iter().filter_map(|row| row.try_get(0).ok()).collect();
    match names.iter().any(|name| name == FIRST) {
        true => Ok(names),
        false => Err(format!(
            "{shown} is a SQLite database of another program: name a file of `tessera backup`"
        )),
    }
}

/// The use of a database by other processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// Nobody uses it, and it is one file now.
    Nobody,
    /// Another process uses it.
    Somebody,
    /// It cannot be read as a database.
    Unreadable(String),
}

/// Puts everything into the file itself, so that no other file belongs to it. This works only if no other process uses
/// the database.
pub async fn make_single(path: &Path) -> Use {
    let mut connection = match open(path, false, Duration::ZERO).await {
        Ok(connection) => connection,
        Err(error) => return unless_busy(&error),
    };
    let left = sqlx::query("pragma journal_mode = delete").fetch_one(&mut connection).await;
    let mode: Result<String, _> = left.and_then(|row| row.try_get(0));
    let closed = connection.close().await;
    match (mode, closed) {
        (Ok(mode), Ok(())) if mode == "delete" => Use::Nobody,
        (Ok(_), Ok(())) => Use::Somebody,
        (Err(error), _) | (_, Err(error)) => unless_busy(&error),
    }
}

fn unless_busy(error: &sqlx::Error) -> Use {
    let said = error.to_string();
    if said.contains("locked") || said.contains("busy") {
        Use::Somebody
    } else {
        Use::Unreadable(said)
    }
}
