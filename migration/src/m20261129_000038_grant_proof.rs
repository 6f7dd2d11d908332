//! Adds to grants of clients what other providers proved: the identities, and the end that their entries give.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for column in ["ends_at bigint", "proven_by text"] {
            let sql = format!("alter table oauth_grant add column {column}");
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for column in ["ends_at", "proven_by"] {
            let sql = format!("alter table oauth_grant drop column {column}");
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
