//! API tokens: opaque, for scripts and services. Only their digests are kept.

use sea_orm::entity::prelude::*;

use crate::{ApiTokenId, Hidden, ServiceId, UserId};

/// A token that lives until it is deleted or expires.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiTokenId,
    /// The user it acts as; either this or `service_id`.
    pub user_id: Option<UserId>,
    /// The service it acts as.
    pub service_id: Option<ServiceId>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// The beginning of the secret, to know it by.
    pub prefix: String,
    /// The SHA-256 digest of the secret, in hexadecimal.
    pub digest: Hidden,
    /// What it may do, as far as its owner may: words separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: i64,
    /// When it expires, if it does.
    pub expires_at: Option<i64>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
