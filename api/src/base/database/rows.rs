//! Rows that cannot be read.
//!
//! People change tables by hand. SQLite stores a text in a column of numbers, and both databases store any text as an id.
//! Such a row must not stop the lists and the work that other rows belong to. So it is left out, as if it were not there,
//! and the log names it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sea_orm::sea_query::{IntoIden, SelectStatement};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, FromQueryResult, Iterable, PrimaryKeyToColumn,
    QueryResult, QuerySelect, QueryTrait, RuntimeErr, Select, SelectTwo, TryGetError, sqlx,
};

use crate::base::clock::{self, Timestamp};
use crate::base::log_limit::shown;

/// The time between two log lines about one row, in seconds.
const LOG_EVERY: u64 = 60;

/// The number of rows whose log lines are remembered.
const REMEMBERED: usize = 1000;

/// A query whose rows can be read one by one.
pub(crate) trait Rows:
    QueryTrait<QueryStatement = SelectStatement> + QuerySelect + Clone
{
    /// The content of a row.
    type Row;
    /// Reads a row.
    fn read(row: &QueryResult) -> Result<Self::Row, DbErr>;
    /// The table and the id of a row, for the log.
    fn name(row: &QueryResult) -> (String, String);
}

impl<E: EntityTrait> Rows for Select<E> {
    type Row = E::Model;

    fn read(row: &QueryResult) -> Result<E::Model, DbErr> {
        E::Model::from_query_result(row, "")
    }

    fn name(row: &QueryResult) -> (String, String) {
        name_of::<E>(row, "")
    }
}

impl<E: EntityTrait, F: EntityTrait> Rows for SelectTwo<E, F> {
    type Row = (E::Model, Option<F::Model>);

    fn read(row: &QueryResult) -> Result<Self::Row, DbErr> {
        let beside = match F::Model::from_query_result_nullable(row, "B_") {
            Ok(beside) => Some(beside),
            Err(TryGetError::Null(_)) => None,
            Err(TryGetError::DbErr(error)) => return Err(error),
        };
        Ok((E::Model::from_query_result(row, "A_")?, beside))
    }

    fn name(row: &QueryResult) -> (String, String) {
        name_of::<E>(row, "A_")
    }
}

/// Returns all rows that can be read.
pub(crate) async fn all<Q: Rows>(
    query: Q,
    connection: &impl ConnectionTrait,
) -> Result<Vec<Q::Row>, DbErr> {
    Ok(fetch(query, connection).await?.0)
}

/// Returns the first rows that can be read, at most `limit`. Rows that cannot be read do not count.
pub(crate) async fn first<Q: Rows>(
    query: Q,
    limit: u64,
    connection: &impl ConnectionTrait,
) -> Result<Vec<Q::Row>, DbErr> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut asked = limit;
    loop {
        let (mut rows, odd) = fetch(query.clone().limit(asked), connection).await?;
        let found = u64::try_from(rows.len()).unwrap_or(u64::MAX).saturating_add(odd);
        if rows.len() >= wanted || found < asked {
            rows.truncate(wanted);
            return Ok(rows);
        }
        asked = limit.saturating_add(odd.saturating_mul(2));
    }
}

/// Returns the row of a query that finds at most one, if it can be read.
pub(crate) async fn one<Q: Rows>(
    query: Q,
    connection: &impl ConnectionTrait,
) -> Result<Option<Q::Row>, DbErr> {
    Ok(fetch(query.limit(1), connection).await?.0.into_iter().next())
}

/// Returns the rows that can be read, and the number of the others.
async fn fetch<Q: Rows>(
    query: Q,
    connection: &impl ConnectionTrait,
) -> Result<(Vec<Q::Row>, u64), DbErr> {
    let statement = query.build(connection.get_database_backend());
    let (mut rows, mut odd) = (Vec::new(), 0);
    for row in connection.query_all_raw(statement).await? {
        match Q::read(&row) {
            Ok(row) => rows.push(row),
            Err(error) if is_missing_column(&error) => return Err(error),
            Err(error) => {
                odd += 1;
                log(Q::name(&row), &error);
            }
        }
    }
    Ok((rows, odd))
}

/// Returns true if the table has another form than this release expects. That is not a fault of a row.
fn is_missing_column(error: &DbErr) -> bool {
    let DbErr::Query(RuntimeErr::SqlxError(error)) = error else { return false };
    matches!(**error, sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnIndexOutOfBounds { .. })
}

fn name_of<E: EntityTrait>(row: &QueryResult, prefix: &str) -> (String, String) {
    let table = E::default().table_name().to_owned();
    let key = E::PrimaryKey::iter().next().map(PrimaryKeyToColumn::into_column);
    let column = key.map(|key| key.into_iden().to_string()).unwrap_or_default();
    let text = row.try_get::<String>(prefix, &column);
    let id = text.or_else(|_| row.try_get::<i64>(prefix, &column).map(|id| id.to_string()));
    (table, id.unwrap_or_else(|_| "(neither a text nor a number)".to_owned()))
}

/// Logs a row that cannot be read, at most once a minute.
fn log((table, id): (String, String), error: &DbErr) {
    static LOGGED: Mutex<Option<HashMap<(String, String), Timestamp>>> = Mutex::new(None);
    let now = clock::now();
    let is_due = {
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = logged.get_or_insert_default();
        let place = (table.clone(), id.clone());
        let is_due = logged
            .get(&place)
            .is_none_or(|last| now >= last.plus_seconds(LOG_EVERY) || now < *last);
        if is_due {
            if logged.len() >= REMEMBERED {
                logged.clear();
            }
            logged.insert(place, now);
        }
        is_due
    };
    if is_due {
        tracing::error!(
            row.table = table,
            row.id = shown(id.as_bytes()),
            error.cause = %error,
            "a row cannot be read and is left out: correct the value, or delete the row"
        );
    }
}
