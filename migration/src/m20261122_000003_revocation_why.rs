//! An operator who revokes something by hand says why in a sentence, not a word.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite does not hold columns to their length.
        if manager.get_database_backend() == DbBackend::Postgres {
            manager
                .get_connection()
                .execute_unprepared(
                    "alter table revocation alter column why type varchar(256), \
                     alter column subject type varchar(128)",
                )
                .await?;
        }
        Ok(())
    }

    /// A shorter column would lose what it holds.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}
