//! What a database is: its product, its version, its encoding and its clock. Operators want to know.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::Database;
use crate::base::clock;

/// The oldest version of PostgreSQL that its developers maintain and that Tessera is tested with.
pub const OLDEST_POSTGRES: i32 = 13;

/// What a database is.
#[derive(Debug, Clone)]
pub struct About {
    /// The product.
    pub product: &'static str,
    /// The version, as the database writes it.
    pub version: String,
    /// `false` for a version that is too old.
    pub is_recent: bool,
    /// The encoding of texts.
    pub encoding: String,
    /// The time by which the clock of the database is ahead of the clock of this process, in milliseconds. A SQLite
    /// database has no clock of its own.
    pub ahead: Option<i64>,
}

impl Database {
    /// Asks the database what it is.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn about(&self) -> Result<About, DbErr> {
        if self.backend() == DbBackend::Sqlite {
            let version = self.value("select sqlite_version()").await?;
            let encoding = self.value("pragma encoding").await?;
            return Ok(About {
                product: "SQLite",
                version,
                is_recent: true,
                encoding,
                ahead: None,
            });
        }
        let version = self.value("show server_version").await?;
        let encoding = self.value("show server_encoding").await?;
        let asked = clock::now().millis();
        let sql = "select (extract(epoch from clock_timestamp()) * 1000)::bigint::text";
        let theirs: i64 = self.value(sql).await?.parse().unwrap_or_default();
        let answered = clock::now().millis();
        let major = version.split(['.', ' ']).next().and_then(|major| major.parse::<i32>().ok());
        Ok(About {
            product: "PostgreSQL",
            is_recent: major.is_none_or(|major| major >= OLDEST_POSTGRES),
            version,
            encoding,
            // The database read its clock between the question and the answer.
            ahead: Some(theirs - theirs.clamp(asked, answered)),
        })
    }

    async fn value(&self, sql: &str) -> Result<String, DbErr> {
        let statement = Statement::from_string(self.backend(), sql);
        let row: Option<QueryResult> = self.reader.query_one_raw(statement).await?;
        row.map_or_else(|| Ok(String::new()), |row| row.try_get_by_index(0))
    }
}
