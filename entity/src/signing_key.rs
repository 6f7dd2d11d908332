//! The keys that sign access tokens if `JWT_ALGORITHM` is not HS256, and those that sign the tokens of clients.

use sea_orm::entity::prelude::*;

use crate::Hidden;

/// The purpose of a key that signs access tokens.
pub const ACCESS: &str = "access";

/// The purpose of a key that signs the tokens of clients.
pub const CLIENTS: &str = "clients";

/// A private key, encrypted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_key")]
pub struct Model {
    /// The name of the key in tokens: the thumbprint of the public key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// The purpose of the key: [`ACCESS`] or [`CLIENTS`]. A newer release can have further purposes.
    pub purpose: String,
    /// The algorithm of the key: RS256, ES256 or EdDSA.
    pub algorithm: String,
    /// The private key, encrypted with a key that is derived from `APP_SECRET`. Empty if the key was retired.
    pub sealed: Hidden,
    /// The time when it was made.
    pub created_at: i64,
    /// The time when it begins to sign.
    pub active_at: i64,
    /// The time when it was retired, if it was. Tokens that it signed are not accepted any more.
    pub retired_at: Option<i64>,
    /// The time when a server last reported that it signs with this key, if one did.
    pub last_signed_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
