//! API tokens for scripts and services. Only their digests are stored.

use sea_orm::entity::prelude::*;

use crate::{ApiTokenId, Hidden, ServiceId, UserId};

/// An API token, which is valid until it expires or is deleted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    /// The id of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiTokenId,
    /// The user who owns the token. Exactly one of this and `service_id` is set.
    pub user_id: Option<UserId>,
    /// The service that owns the token.
    pub service_id: Option<ServiceId>,
    /// The name that its owner gave it.
    pub name: Option<String>,
    /// The beginning of the secret, by which its owner recognises it.
    pub prefix: String,
    /// The SHA-256 digest of the secret, in hexadecimal.
    pub digest: Hidden,
    /// The scopes it was granted, separated by spaces. It has only those that its owner currently has.
    pub scopes: String,
    /// The time when it was made.
    pub created_at: i64,
    /// The time when it expires, if it does.
    pub expires_at: Option<i64>,
    /// The time when it was last used, to the minute.
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
