//! Adds the epoch of the revocation feed, and the number from which the table has every row of the sequence.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A server of this release or a later one gives the feed its first epoch.
        let epoch = ColumnDef::new("epoch").string_len(32).not_null().default("").to_owned();
        let low = ColumnDef::new("low").big_integer().not_null().default(0).to_owned();
        for column in [epoch, low] {
            let alter = Table::alter().table("feed").add_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["low", "epoch"] {
            let alter = Table::alter().table("feed").drop_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
