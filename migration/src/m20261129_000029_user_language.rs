//! Adds the languages of users and of invited people.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["profile", "invitation"] {
            let column = ColumnDef::new("language").string_len(35).take();
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["profile", "invitation"] {
            manager
                .alter_table(Table::alter().table(table).drop_column("language").to_owned())
                .await?;
        }
        Ok(())
    }
}
