//! Adds invitations.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("invitation")
                    .col(ColumnDef::new("id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("email").string_len(320).not_null())
                    .col(ColumnDef::new("folded_email").string_len(320).not_null().unique_key())
                    .col(ColumnDef::new("digest").string_len(64).not_null().unique_key())
                    .col(ColumnDef::new("name").string_len(100))
                    .col(ColumnDef::new("surname").string_len(100))
                    .col(ColumnDef::new("website").string_len(256))
                    .col(ColumnDef::new("scopes").text().not_null())
                    .col(ColumnDef::new("is_superuser").boolean().not_null())
                    .col(ColumnDef::new("inviter_id").string_len(36))
                    .col(ColumnDef::new("invited_by").string_len(64).not_null())
                    .col(ColumnDef::new("created_at").big_integer().not_null())
                    .col(ColumnDef::new("sent_at").big_integer().not_null())
                    .col(ColumnDef::new("expires_at").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("ix_invitation_expires_at")
                    .table("invitation")
                    .col("expires_at")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("invitation").to_owned()).await
    }
}
