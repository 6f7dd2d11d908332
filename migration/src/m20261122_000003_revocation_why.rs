//! Makes the reason of a revocation longer, so that an operator can give it as a sentence.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite does not enforce the length of a column.
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

    /// Does nothing, because a shorter column would lose data.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}
