//! Users in a database of SQLite or PostgreSQL. The database itself makes each row into JSON, so rows are read like the
//! records of a file.

use std::path::Path;

use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, IsolationLevel, Statement, TransactionTrait,
};
use serde_json::{Map, Value};

use super::Place;
use super::format::{Format, Medium};
use super::source::Piece;

/// The number of rows that are read at once.
const AT_ONCE: usize = 1000;

/// The rows of a table.
pub(super) struct Rows {
    place: Reading,
    waiting: std::vec::IntoIter<Vec<u8>>,
    read: u64,
    count: u64,
    is_done: bool,
}

enum Reading {
    /// The query without its condition, and the last row that was read.
    Sqlite { connection: DatabaseConnection, query: String, after: i64 },
    /// A transaction with a cursor. It sees the table as it was at its beginning.
    Postgres(DatabaseTransaction),
}

/// The tables that are looked for, with a column that they must have.
const KNOWN: [(Format, &str); 4] = [
    (Format::Supabase, "encrypted_password"),
    (Format::Django, "password"),
    (Format::FastapiUsers, "hashed_password"),
    (Format::Laravel, "password"),
];

impl Rows {
    /// Opens a SQLite database.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or if it has no table with users.
    pub(super) async fn of_sqlite(
        file: &Path,
        format: Option<Format>,
        table: Option<&str>,
    ) -> Result<(Self, Format), String> {
        let name = file.display().to_string();
        let fault = |error: DbErr| format!("{name} is damaged or no database of users ({error})");
        let connection = open(file).await.map_err(fault)?;
        let columns = async |table: &str| -> Result<Vec<String>, DbErr> {
            let sql = "select name from pragma_table_info(?)";
            let backend = DbBackend::Sqlite;
            let query = Statement::from_sql_and_values(backend, sql, [table.into()]);
            let rows = connection.query_all_raw(query).await?;
            rows.iter().map(|row| row.try_get("", "name")).collect()
        };
        for (format, table, must) in sought(&name, format, table, Medium::Sqlite)? {
            let columns = columns(&table).await.map_err(fault)?;
            if !must.is_none_or(|must| columns.iter().any(|name| name == must))
                || columns.is_empty()
            {
                continue;
            }
            let pairs: Vec<_> = columns.iter().map(|name| pair(name)).collect();
            let (pairs, table) = (pairs.join(", "), quoted(&table));
            let query = format!(
                "select cast(json_object({pairs}) as blob) as record, rowid as place from {table}"
            );
            let count = format!("select count(*) as count from {table}");
            let count = Statement::from_string(DbBackend::Sqlite, count);
            let row = connection.query_one_raw(count).await.map_err(fault)?;
            let count: i64 = row.map_or(Ok(0), |row| row.try_get("", "count")).map_err(fault)?;
            let place = Reading::Sqlite { connection, query, after: i64::MIN };
            return Ok((Self::new(place, count), format));
        }
        Err(no_table(&name, table))
    }

    /// Opens a PostgreSQL database.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or if it has no table with users.
    pub(super) async fn of_postgres(
        url: &str,
        format: Option<Format>,
        table: Option<&str>,
    ) -> Result<(Self, Format), String> {
        const CURSOR: &str = "declare imported_rows no scroll cursor for select";
        let fault = |error: DbErr| format!("the database cannot be read ({error})");
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        let connection = Database::connect(options).await.map_err(fault)?;
        let (level, mode) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
        let begun = connection.begin_with_config(Some(level), Some(mode)).await;
        let transaction = begun.map_err(fault)?;
        let statement = |sql: String| Statement::from_string(DbBackend::Postgres, sql);
        for (format, table, must) in sought("the database", format, table, Medium::Postgres)? {
            let parts: Vec<_> = table.split('.').map(quoted).collect();
            let table = parts.join(".");
            let sql = "select attname::text as name from pg_attribute
                where attrelid = to_regclass($1) and attnum > 0 and not attisdropped";
            let query =
                Statement::from_sql_and_values(DbBackend::Postgres, sql, [table.as_str().into()]);
            let rows = transaction.query_all_raw(query).await.map_err(fault)?;
            let columns: Result<Vec<String>, _> =
                rows.iter().map(|row| row.try_get("", "name")).collect();
            let columns = columns.map_err(fault)?;
            if !must.is_none_or(|must| columns.iter().any(|name| name == must))
                || columns.is_empty()
            {
                continue;
            }
            let count = statement(format!("select count(*) as count from {table}"));
            let row = transaction.query_one_raw(count).await.map_err(fault)?;
            let count: i64 = row.map_or(Ok(0), |row| row.try_get("", "count")).map_err(fault)?;
            let sql = format!("{CURSOR} row_to_json(t)::text as record from {table} as t");
            transaction.execute_raw(statement(sql)).await.map_err(fault)?;
            return Ok((Self::new(Reading::Postgres(transaction), count), format));
        }
        Err(no_table("the database", table))
    }

    fn new(place: Reading, count: i64) -> Self {
        let (waiting, count) = (Vec::new().into_iter(), count.unsigned_abs());
        Self { place, waiting, read: 0, count, is_done: false }
    }

    /// The number of rows.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns the next row.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Piece>, String> {
        if self.waiting.len() == 0 && !self.is_done {
            let fault = |error| format!("the database cannot be read any more ({error})");
            let rows = self.fetch().await.map_err(fault)?;
            self.is_done = rows.len() < AT_ONCE;
            self.waiting = rows.into_iter();
        }
        let Some(row) = self.waiting.next() else { return Ok(None) };
        self.read += 1;
        let content = serde_json::from_slice::<Map<String, Value>>(&row)
            .map_err(|_| "the row has a text that is not UTF-8".to_owned());
        Ok(Some(Piece { place: Place::row(self.read), content }))
    }

    async fn fetch(&mut self) -> Result<Vec<Vec<u8>>, DbErr> {
        match &mut self.place {
            Reading::Sqlite { connection, query, after } => {
                let sql = format!("{query} where rowid > ? order by rowid limit {AT_ONCE}");
                let some =
                    Statement::from_sql_and_values(DbBackend::Sqlite, sql, [(*after).into()]);
                let rows = connection.query_all_raw(some).await?;
                if let Some(last) = rows.last() {
                    *after = last.try_get("", "place")?;
                }
                rows.iter().map(|row| row.try_get("", "record")).collect()
            }
            Reading::Postgres(transaction) => {
                let sql = format!("fetch {AT_ONCE} from imported_rows");
                let some = Statement::from_string(DbBackend::Postgres, sql);
                let rows = transaction.query_all_raw(some).await?;
                let text = |row: &sea_orm::QueryResult| row.try_get::<String>("", "record");
                rows.iter().map(|row| text(row).map(String::into_bytes)).collect()
            }
        }
    }
}

type Sought = (Format, String, Option<&'static str>);

/// The tables to look for, each with its format and a column that it must have.
fn sought(
    name: &str,
    format: Option<Format>,
    table: Option<&str>,
    medium: Medium,
) -> Result<Vec<Sought>, String> {
    if let Some(format) = format {
        format.require(medium).map_err(|fault| format!("{name}: {fault}"))?;
    }
    if let Some(table) = table {
        let format =
            format.ok_or("--table needs --format too: fastapi-users, django, laravel, …")?;
        return Ok(vec![(format, table.to_owned(), None)]);
    }
    let known = KNOWN.into_iter().filter(|(known, _)| {
        format.is_none_or(|format| format == *known) && known.require(medium).is_ok()
    });
    let tables =
        known.filter_map(|(format, must)| Some((format, format.table()?.to_owned(), Some(must))));
    Ok(tables.collect())
}

fn no_table(name: &str, table: Option<&str>) -> String {
    match table {
        Some(table) => format!("{name} has no table {table:?}"),
        None => format!(
            "{name} is not a database of FastAPI Users, Django, Supabase or Laravel: give --format and --table"
        ),
    }
}

/// A member of the object that SQLite makes of a row. JSON has no bytes, so they become hexadecimal.
fn pair(column: &str) -> String {
    let (name, value) = (column.replace('\'', "''"), quoted(column));
    format!("'{name}', case typeof({value}) when 'blob' then lower(hex({value})) else {value} end")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn open(file: &Path) -> Result<DatabaseConnection, DbErr> {
    let file = file.to_owned();
    let mut options = ConnectOptions::new("sqlite://file-is-set-below.db");
    options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(move |options| {
        // The database may be in use, so nothing is written: neither to it nor to files beside it.
        options.filename(&file).read_only(true).create_if_missing(false)
    });
    Database::connect(options).await
}
