//! Adds the purpose of signing keys.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let purpose =
            ColumnDef::new("purpose").string_len(16).not_null().default("access").to_owned();
        manager
            .alter_table(Table::alter().table("signing_key").add_column(purpose).to_owned())
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter().table("signing_key").drop_column("purpose").to_owned();
        manager.alter_table(alter).await
    }
}
