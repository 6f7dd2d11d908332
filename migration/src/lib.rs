//! The migrations of Tessera's tables. New ones are added, but a released migration is never changed.
//!
//! This crate imports nothing of Tessera, so that later changes of the code do not change what a migration does.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm_migration::sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, Set,
};
use sea_orm_migration::{
    MigrationTrait, MigratorTrait, SchemaManager, async_trait, seaql_migrations,
};

mod m20261121_000001_user_session_revocation;
mod m20261122_000002_session_ended_ip;
mod m20261122_000003_revocation_why;
mod m20261122_000004_service_api_token;
mod m20261122_000005_replica;
mod m20261122_000006_signing_key;
mod m20261122_000007_profile;
mod m20261122_000008_attempt;
mod m20261122_000009_mail;
mod m20261122_000010_audit;
mod m20261122_000011_browser_session;
mod m20261122_000012_sample;
mod m20261122_000013_audit_by_day;
mod m20261128_000014_session_secret;
mod m20261128_000015_revocation_order;
mod m20261128_000016_code_binding;
mod m20261128_000017_email_proof;
mod m20261128_000019_rows_by_user;
mod m20261128_000020_notice;
mod m20261128_000021_key_purpose;
mod m20261128_000022_write_path;
mod m20261129_000023_user_search;
mod m20261129_000026_replica_algorithm;
mod m20261129_000027_invitation;
mod m20261129_000028_provider;
mod m20261129_000029_user_language;
mod m20261129_000030_federated_identity;
mod m20261129_000031_feed;
mod m20261129_000032_imported_user;
mod m20261129_000033_installation;
mod m20261129_000035_session_identity;
mod m20261129_000036_session_proof;
mod m20261129_000037_code_session;
mod m20261129_000038_grant_proof;
pub mod release;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_user_session_revocation::Migration),
            Box::new(m20261122_000002_session_ended_ip::Migration),
            Box::new(m20261122_000003_revocation_why::Migration),
            Box::new(m20261122_000004_service_api_token::Migration),
            Box::new(m20261122_000005_replica::Migration),
            Box::new(m20261122_000006_signing_key::Migration),
            Box::new(m20261122_000007_profile::Migration),
            Box::new(m20261122_000008_attempt::Migration),
            Box::new(m20261122_000009_mail::Migration),
            Box::new(m20261122_000010_audit::Migration),
            Box::new(m20261122_000011_browser_session::Migration),
            Box::new(m20261122_000012_sample::Migration),
            Box::new(m20261122_000013_audit_by_day::Migration),
            Box::new(m20261128_000014_session_secret::Migration),
            Box::new(m20261128_000015_revocation_order::Migration),
            Box::new(m20261128_000016_code_binding::Migration),
            Box::new(m20261128_000017_email_proof::Migration),
            Box::new(m20261128_000019_rows_by_user::Migration),
            Box::new(m20261128_000020_notice::Migration),
            Box::new(m20261128_000021_key_purpose::Migration),
            Box::new(m20261128_000022_write_path::Migration),
            Box::new(m20261129_000023_user_search::Migration),
            Box::new(m20261129_000026_replica_algorithm::Migration),
            Box::new(m20261129_000027_invitation::Migration),
            Box::new(m20261129_000028_provider::Migration),
            Box::new(m20261129_000029_user_language::Migration),
            Box::new(m20261129_000030_federated_identity::Migration),
            Box::new(m20261129_000031_feed::Migration),
            Box::new(m20261129_000032_imported_user::Migration),
            Box::new(m20261129_000033_installation::Migration),
            Box::new(m20261129_000035_session_identity::Migration),
            Box::new(m20261129_000036_session_proof::Migration),
            Box::new(m20261129_000037_code_session::Migration),
            Box::new(m20261129_000038_grant_proof::Migration),
        ]
    }
}

/// Returns all migrations in their order, each with `true` if it is applied.
///
/// # Errors
///
/// If the database refuses.
pub async fn status(transaction: &DatabaseTransaction) -> Result<Vec<(String, bool)>, DbErr> {
    let remembers = SchemaManager::new(transaction).has_table("seaql_migrations").await?;
    let applied = if remembers { applied(transaction).await? } else { BTreeSet::new() };
    Ok(Migrator::migrations()
        .iter()
        .map(|migration| (migration.name().to_owned(), applied.contains(migration.name())))
        .collect())
}

/// Applies the migrations that are missing. It ignores migrations that a newer release applied, because a release must
/// be able to start beside the next one.
///
/// # Errors
///
/// If the database refuses.
#[expect(clippy::disallowed_methods, reason = "this crate imports nothing of ours")]
pub async fn up(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    Migrator::install(transaction).await?;
    let applied = applied(transaction).await?;
    let manager = SchemaManager::new(transaction);
    for migration in Migrator::migrations() {
        if !applied.contains(migration.name()) {
            migration.up(&manager).await?;
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let row = seaql_migrations::ActiveModel {
                version: Set(migration.name().to_owned()),
                applied_at: Set(since_epoch.as_secs().cast_signed()),
            };
            row.insert(transaction).await?;
        }
    }
    release::note(transaction).await
}

/// Returns the name of the first of these migrations that this release does not know, if there is one.
pub fn unknown(applied: &[String]) -> Option<&String> {
    let known: BTreeSet<_> =
        Migrator::migrations().iter().map(|known| known.name().to_owned()).collect();
    applied.iter().find(|name| !known.contains(*name))
}

async fn applied<C: ConnectionTrait>(connection: &C) -> Result<BTreeSet<String>, DbErr> {
    let rows = seaql_migrations::Entity::find().all(connection).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}
