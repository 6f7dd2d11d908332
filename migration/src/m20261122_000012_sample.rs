//! Adds the numbers of sessions and API tokens at each hour.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("sample")
                    .col(ColumnDef::new("hour").big_integer().not_null().primary_key())
                    .col(ColumnDef::new("sessions").big_integer().not_null())
                    .col(ColumnDef::new("api_tokens").big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("sample").to_owned()).await
    }
}
