//! The keys that sign access tokens, where that is not the secret of the settings.

use sea_orm::entity::prelude::*;

use crate::Hidden;

/// The purpose of a key that signs access tokens.
pub const ACCESS: &str = "access";

/// A private key, encrypted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_key")]
pub struct Model {
    /// Its name, as tokens say it: the thumbprint of the public key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// What it signs: [`ACCESS`]; a newer release may know more.
    pub purpose: String,
    /// What it signs with: RS256, ES256 or EdDSA.
    pub algorithm: String,
    /// The private key under a key derived from the secret of the settings; nothing once retired.
    pub sealed: Hidden,
    /// When it was made.
    pub created_at: i64,
    /// When it begins to sign.
    pub active_at: i64,
    /// When it was retired by hand: what it signed is not accepted.
    pub retired_at: Option<i64>,
    /// When a server last said that it signs with it; nothing if none ever did.
    pub last_signed_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
