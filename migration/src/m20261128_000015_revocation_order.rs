//! Adds the order of a session's access tokens, the longest lifetime of access tokens, and the session of a revoked
//! token.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let issued_at = ColumnDef::new("issued_at").big_integer().not_null().default(0).to_owned();
        manager
            .alter_table(Table::alter().table("session").add_column(issued_at).to_owned())
            .await?;
        let session_id = ColumnDef::new("session_id").string_len(36).to_owned();
        manager
            .alter_table(Table::alter().table("revocation").add_column(session_id).to_owned())
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("feed")
                    .col(ColumnDef::new("id").integer().not_null().primary_key())
                    .col(ColumnDef::new("longest").big_integer().not_null())
                    .col(ColumnDef::new("longest_until").big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        // At start, a server reads the rows in batches, in the order of this index.
        for statement in [
            "update session set issued_at = last_used_at",
            "drop index ix_revocation_until",
            "create index ix_revocation_until_seq on revocation (until, seq)",
            "create index ix_revocation_session_id on revocation (session_id) \
             where session_id is not null",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "drop index ix_revocation_session_id",
            "drop index ix_revocation_until_seq",
            "create index ix_revocation_until on revocation (until)",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        manager.drop_table(Table::drop().table("feed").to_owned()).await?;
        for (table, column) in [("revocation", "session_id"), ("session", "issued_at")] {
            let alter = Table::alter().table(table).drop_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
