//! Adds the algorithm that a replica signs with.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let algorithm = ColumnDef::new("algorithm").string_len(16).to_owned();
        manager.alter_table(Table::alter().table("replica").add_column(algorithm).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter().table("replica").drop_column("algorithm").to_owned();
        manager.alter_table(alter).await
    }
}
