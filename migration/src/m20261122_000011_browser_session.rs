//! Adds the ids in cookies by which browsers use their sessions.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("browser_session")
                    .col(ColumnDef::new("digest").string_len(64).not_null().primary_key())
                    .col(ColumnDef::new("session_id").string_len(36).not_null().unique_key())
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_browser_session_session")
                            .from("browser_session", "session_id")
                            .to("session", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("browser_session").to_owned()).await
    }
}
