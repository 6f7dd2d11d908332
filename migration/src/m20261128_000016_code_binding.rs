//! Binds codes to the browser or client that asked for the mail, and limits the number of attempts.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const BEFORE: &str = "ix_confirmation_user_id_purpose";
const AFTER: &str = "ix_confirmation_user_id_purpose_binding";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Codes in earlier mails have no binding, so they do not work. The links in those mails still work.
        let mut binding = ColumnDef::new("binding");
        let mut tries = ColumnDef::new("tries");
        for column in [binding.string_len(64), tries.big_integer().not_null().default(0)] {
            let mut table = Table::alter();
            table.table("confirmation").add_column(column.to_owned());
            manager.alter_table(table).await?;
        }
        manager.drop_index(Index::drop().name(BEFORE).table("confirmation").to_owned()).await?;
        let mut index = Index::create();
        index.name(AFTER).table("confirmation").col("user_id").col("purpose").col("binding");
        manager.create_index(index.unique().to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(AFTER).table("confirmation").to_owned()).await?;
        // The previous release knows only one mail for a user and a purpose. So all are deleted, and users have to ask
        // again.
        manager.exec_stmt(Query::delete().from_table("confirmation").to_owned()).await?;
        let mut index = Index::create();
        index.name(BEFORE).table("confirmation").col("user_id").col("purpose");
        manager.create_index(index.unique().to_owned()).await?;
        for column in ["binding", "tries"] {
            let mut table = Table::alter();
            manager.alter_table(table.table("confirmation").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
