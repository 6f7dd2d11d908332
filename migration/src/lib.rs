//! The history of Tessera's tables, append-only: a migration that was released is never edited.
//!
//! Imports nothing of ours, so that it means tomorrow what it meant when it was written.

pub use sea_orm_migration::{MigrationStatus, MigratorTrait};

use sea_orm_migration::{MigrationTrait, async_trait};

mod m20261121_000001_user_session_revocation;

/// The migrations in their order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261121_000001_user_session_revocation::Migration)]
    }
}
