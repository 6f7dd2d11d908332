//! Adds data about users beside the table `user`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("profile")
                    .col(ColumnDef::new("user_id").string_len(36).not_null().primary_key())
                    .col(ColumnDef::new("name").string_len(100))
                    .col(ColumnDef::new("surname").string_len(100))
                    .col(ColumnDef::new("website").string_len(256))
                    .col(ColumnDef::new("scopes").string_len(4096))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_profile_user")
                            .from("profile", "user_id")
                            .to("user", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("profile").to_owned()).await
    }
}
