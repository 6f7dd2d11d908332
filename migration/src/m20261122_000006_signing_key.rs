//! Adds keys that sign access tokens if `JWT_ALGORITHM` is not HS256.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("signing_key")
                    .col(ColumnDef::new("kid").string_len(64).not_null().primary_key())
                    .col(ColumnDef::new("algorithm").string_len(8).not_null())
                    .col(ColumnDef::new("sealed").text().not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("active_at").big_integer().not_null())
                    .col(ColumnDef::new("retired_at").big_integer())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("signing_key").to_owned()).await
    }
}
