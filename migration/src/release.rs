//! The release that migrated a database, and the oldest release that can work with its tables.
//!
//! A release works beside the one before it. It does not know which later release a migration belongs to, so each
//! release writes into the table `installation` which one must be the oldest.

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};

/// This release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The oldest release that can work with the tables of this one: the release before it.
pub const OLDEST: &str = "0.1.0";

/// A release that migrated a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// The version of the oldest release that can work with its tables.
    pub oldest: String,
}

impl Release {
    /// Returns true if this release is too old for the tables of that one.
    pub fn is_too_new(&self) -> bool {
        parts(RELEASE) < parts(&self.oldest)
    }

    /// Returns true if that release is later than this one.
    pub fn is_later(&self) -> bool {
        parts(RELEASE) < parts(&self.version)
    }
}

/// The numbers of a version.
fn parts(version: &str) -> Vec<u64> {
    let numbers = version.split('-').next().unwrap_or_default().split('.');
    numbers.map(|number| number.parse().unwrap_or_default()).collect()
}

/// Returns the latest release that migrated a database; `None` if no release has noted it.
///
/// # Errors
///
/// If the database has no such table, or does not answer.
pub async fn of(connection: &impl ConnectionTrait) -> Result<Option<Release>, DbErr> {
    let sql = "select release, oldest from installation where id = 1";
    let backend = connection.get_database_backend();
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    let read = |row: sea_orm_migration::sea_orm::QueryResult| {
        Ok(Release { version: row.try_get_by_index(0)?, oldest: row.try_get_by_index(1)? })
    };
    row.map(read).transpose()
}

/// Writes that this release has migrated the database, unless a later one has.
pub(crate) async fn note(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let known = of(transaction).await?;
    let own = Release { version: RELEASE.to_owned(), oldest: OLDEST.to_owned() };
    let sql = match known {
        Some(known) if known == own || known.is_later() => return Ok(()),
        Some(_) => "update installation set release = $1, oldest = $2 where id = 1",
        None => "insert into installation (id, release, oldest) values (1, $1, $2)",
    };
    let values = [own.version.into(), own.oldest.into()];
    let backend = transaction.get_database_backend();
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_too_new_if_its_oldest_one_is_later_than_this() {
        let [major, minor, patch] = <[u64; 3]>::try_from(parts(RELEASE)).unwrap();
        for (oldest, is_too_new) in [
            (OLDEST.to_owned(), false),
            (RELEASE.to_owned(), false),
            (format!("{major}.{minor}.{}", patch + 1), true),
            (format!("{major}.{}.0", minor + 10), true),
            (format!("{}.0.0-rc.1", major + 1), true),
        ] {
            let release = Release { version: oldest.clone(), oldest };
            assert_eq!(release.is_too_new(), is_too_new, "{release:?}");
            assert_eq!(release.is_later(), is_too_new);
        }
    }
}
