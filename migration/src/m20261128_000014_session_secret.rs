//! Adds a secret to each session, from which the ids of its refresh tokens are derived. It also adds the time when each
//! key was last known to sign, so that keys of an algorithm that is no longer used are withdrawn.

use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // An empty secret means that there is none: a row that a server of the previous release writes issues no
        // refresh token.
        let (column, random) = match manager.get_database_backend() {
            // Each UUID has 122 random bits from a cryptographic generator. Without an extension, PostgreSQL has no
            // other one.
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
        // It is not known which keys signed, so this includes all keys that could have.
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
