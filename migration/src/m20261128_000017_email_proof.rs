//! Adds unclaimed accounts and pending addresses.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn of_user(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_user"))
        .from(table, "user_id")
        .to("user", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("unclaimed")
                    .col(ColumnDef::new("user_id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("verified_at").big_integer().not_null())
                    .foreign_key(&mut of_user("unclaimed"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("pending_email")
                    .col(ColumnDef::new("user_id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("email").string_len(320).not_null())
                    .col(ColumnDef::new("digest").string_len(64).not_null().unique_key())
                    .col(ColumnDef::new("bound").string_len(64).not_null())
                    .col(ColumnDef::new("session_id").string_len(36).not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .foreign_key(&mut of_user("pending_email"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("ix_pending_email_expires_at")
                    .table("pending_email")
                    .col("expires_at")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["pending_email", "unclaimed"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
