//! Adds the identities at other providers that proved a session after it began. A logout at any of them ends it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("session_identity")
                    .col(ColumnDef::new("session_id").string_len(36).not_null())
                    .col(ColumnDef::new("federated_identity_id").string_len(36).not_null())
                    .col(ColumnDef::new("upstream_sid").string_len(255))
                    .primary_key(Index::create().col("session_id").col("federated_identity_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_session_identity_session")
                            .from("session_identity", "session_id")
                            .to("session", "id")
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await?;
        let index = "create index ix_session_identity_federated_identity_id \
                     on session_identity (federated_identity_id)";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("session_identity").to_owned()).await
    }
}
