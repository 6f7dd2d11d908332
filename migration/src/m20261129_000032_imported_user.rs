//! Adds the origins of imported users: the system, the id that they had there, and when the account was made.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("imported_user")
            .col(ColumnDef::new("user_id").string_len(36).not_null().primary_key())
            .col(ColumnDef::new("source").string_len(64).not_null())
            .col(ColumnDef::new("external_id").string_len(255))
            .col(ColumnDef::new("digest").string_len(64).not_null())
            .col(ColumnDef::new("created_at").big_integer())
            .col(ColumnDef::new("invited_at").big_integer())
            .foreign_key(
                ForeignKey::create()
                    .name("fk_imported_user_user")
                    .from("imported_user", "user_id")
                    .to("user", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(table).await?;
        for column in ["external_id", "digest"] {
            let index = Index::create()
                .name(format!("ix_imported_user_{column}"))
                .table("imported_user")
                .col(column)
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("imported_user").to_owned()).await
    }
}
