//! Adds the audit, whose entries form a chain.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("audit")
                    .col(ColumnDef::new("seq").big_integer().not_null().primary_key())
                    .col(ColumnDef::new("at").big_integer().not_null())
                    .col(ColumnDef::new("act").string_len(32).not_null())
                    .col(ColumnDef::new("actor").string_len(64).not_null())
                    .col(ColumnDef::new("subject").string_len(160))
                    .col(ColumnDef::new("ip").string_len(45))
                    .col(ColumnDef::new("request").string_len(64))
                    .col(ColumnDef::new("detail").text().not_null())
                    .col(ColumnDef::new("digest").string_len(64).not_null())
                    .to_owned(),
            )
            .await?;
        for column in ["subject", "actor", "act", "at"] {
            manager
                .create_index(
                    Index::create()
                        .name(format!("ix_audit_{column}"))
                        .table("audit")
                        .col(column)
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audit").to_owned()).await
    }
}
