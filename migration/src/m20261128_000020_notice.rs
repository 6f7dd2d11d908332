//! Moves the notices between replicas from the revocations to their own table.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("notice")
                    .col(
                        ColumnDef::new("seq")
                            .big_integer()
                            .not_null()
                            .auto_increment()
                            .primary_key(),
                    )
                    .col(ColumnDef::new("kind").string_len(16).not_null())
                    .col(ColumnDef::new("at").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        // Replicas read these rows within a second, and every server reads everything again when it starts.
        let old = "delete from revocation where kind in ('api', 'kid')";
        manager.get_connection().execute_unprepared(old).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("notice").to_owned()).await
    }
}
