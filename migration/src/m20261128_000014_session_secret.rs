//! What only its row knows of a session: the ids of its refresh tokens follow from it. And when each key
//! was last known to sign, so that those of an algorithm that was left are withdrawn.

use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // An empty secret is none: a row that a server of the release before writes gives no refresh token.
        let (column, random) = match manager.get_database_backend() {
            // Each UUID has 122 random bits of a cryptographic generator; PostgreSQL has no other one
            // without an extension.
            DbBackend::Postgres => (
                "bytea not null default ''::bytea",
                "decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')",
            ),
            _ => ("blob not null default x''", "randomblob(32)"),
        };
        connection
            .execute_unprepared(&format!("alter table session add column secret {column}"))
            .await?;
        connection.execute_unprepared(&format!("update session set secret = {random}")).await?;

        let column = ColumnDef::new("last_signed_at").big_integer().to_owned();
        manager
            .alter_table(Table::alter().table("signing_key").add_column(column).to_owned())
            .await?;
        // Which of them signed is not known: those that could have.
        let now = now();
        let update = format!(
            "update signing_key set last_signed_at = {now} \
             where active_at <= {now} and retired_at is null"
        );
        connection.execute_unprepared(&update).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [("session", "secret"), ("signing_key", "last_signed_at")] {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "this crate imports nothing of ours")]
fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since_epoch.as_secs() * 1000).cast_signed()
}
