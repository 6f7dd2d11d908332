//! The errors of a database that is away, and what follows from them.
//!
//! A server that cannot write can stay connected, for example after a failover. So an error that shows this is noted
//! here, and the pools then replace their connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::base::clock::Stopwatch;
use crate::base::log_limit::OnceAMinute;

/// The time for which connections are checked after an error showed that the database cannot be written.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

/// The last error that showed a connection that can only read.
static READ_ONLY: Mutex<Option<Stopwatch>> = Mutex::new(None);

/// `true` if the last write to a SQLite file that is known of failed.
static CANNOT_WRITE: AtomicBool = AtomicBool::new(false);

/// Returns true if a statement failed because the database is unreachable, busy, full, stopping or read-only. The
/// statement may succeed later.
pub(super) fn is_away(error: &DbErr) -> bool {
    match error {
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            match &**error {
                sqlx::Error::Database(fault) => is_code_away(&fault.code().unwrap_or_default()),
                other => {
                    !matches!(other, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
                }
            }
        }
        _ => false,
    }
}

fn is_code_away(code: &str) -> bool {
    if is_of_postgres(code) {
        // Error classes of PostgreSQL, a read-only transaction, and a transaction that was idle for too long.
        let classes = ["08", "40", "53", "55", "57", "58"];
        return ["25006", "25P03"].contains(&code)
            || classes.iter().any(|class| code.starts_with(class));
    }
    // BUSY and LOCKED beside those that `is_unwritable` lists.
    is_unwritable(code) || sqlite_code(code).is_some_and(|code| [5, 6].contains(&code))
}

/// Returns true for the codes of SQLite that show that the file cannot be written: READONLY, IOERR, FULL and CANTOPEN.
fn is_unwritable(code: &str) -> bool {
    sqlite_code(code).is_some_and(|code| [8, 10, 13, 14].contains(&code))
}

fn is_of_postgres(code: &str) -> bool {
    code.len() == 5
}

/// The primary code of SQLite, also of an extended code.
fn sqlite_code(code: &str) -> Option<u32> {
    (!is_of_postgres(code)).then(|| code.parse::<u32>().ok()).flatten().map(|code| code & 0xff)
}

/// Notes what an error says about the database: it cannot be written, or a pooler mixes up prepared statements.
pub(crate) fn note(error: &DbErr) {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return;
    };
    let sqlx::Error::Database(fault) = &**error else { return };
    let code = fault.code().unwrap_or_default();
    match &*code {
        "42P05" | "26000" => warn_of_pooler(fault.message()),
        "25006" => note_read_only(),
        code if is_unwritable(code) => {
            CANNOT_WRITE.store(true, Ordering::SeqCst);
            if sqlite_code(code) == Some(8) {
                note_read_only();
            }
        }
        _ => {}
    }
}

/// Notes that a connection can only read.
pub(crate) fn note_read_only() {
    *READ_ONLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
}

/// Returns true if a connection of a pool may be one that can only read. `idle_for` is the time since its last use.
pub(crate) fn may_be_read_only(idle_for: Duration) -> bool {
    let noted = *READ_ONLY.lock().unwrap_or_else(PoisonError::into_inner);
    noted.is_some_and(|noted| noted.elapsed() <= idle_for.max(SUSPECT_FOR))
}

/// Returns true if the last write to a SQLite file failed because the file cannot be written.
pub(crate) fn cannot_write() -> bool {
    CANNOT_WRITE.load(Ordering::SeqCst)
}

/// Notes that a SQLite file can be written again.
pub(crate) fn can_write() {
    CANNOT_WRITE.store(false, Ordering::SeqCst);
}

/// Logs what to do about a pooler in transaction mode, at most once a minute.
fn warn_of_pooler(cause: &str) {
    static LAST: OnceAMinute = OnceAMinute::new();
    if LAST.is_due() {
        tracing::error!(
            error.cause = cause,
            "a prepared statement was lost or exists already, as behind a pooler that gives each \
             transaction another connection: add pgbouncer=true to DATABASE_URL, or let the pooler \
             use session mode"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_database_that_cannot_be_written_mean_that_it_is_away() {
        // PostgreSQL: a read-only server, and one that stops, crashed or starts. SQLite: READONLY and its extended
        // codes, IOERR, FULL and CANTOPEN.
        for code in ["25006", "57P01", "57P02", "57P03", "8", "776", "1032", "10", "13", "14"] {
            assert!(is_code_away(code), "{code}");
        }
        // A duplicate key, a lost statement, an unknown table; SQLite's ERROR and a duplicate key.
        for code in ["23505", "26000", "42P05", "42P01", "25P02", "1", "2067", ""] {
            assert!(!is_code_away(code), "{code}");
        }
    }
}
