//! Adds an index from which audit entries are counted by action and day.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        replace(manager, "ix_audit_act", "ix_audit_act_at", &["act", "at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        replace(manager, "ix_audit_act_at", "ix_audit_act", &["act"]).await
    }
}

async fn replace(
    manager: &SchemaManager<'_>,
    old: &str,
    new: &str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create().name(new).table("audit").to_owned();
    for column in columns {
        index.col(*column);
    }
    // The strongest lock comes first. It waits for servers of the previous release that have begun to write. If an
    // index were created first, its lock would make them wait for this migration, while this migration waits for them.
    manager.drop_index(Index::drop().name(old).table("audit").to_owned()).await?;
    manager.create_index(index).await
}
