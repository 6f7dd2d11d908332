//! Secrets of clients. Only their digests are stored.

use sea_orm::entity::prelude::*;

use crate::{ClientId, ClientSecretId, Hidden};

/// A secret of a client, which is accepted until it expires or is deleted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "client_secret")]
pub struct Model {
    /// The id of the secret.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ClientSecretId,
    /// The client.
    pub client_id: ClientId,
    /// The beginning of the secret, by which an operator recognises it.
    pub prefix: String,
    /// The SHA-256 digest of the secret, in hexadecimal.
    pub digest: Hidden,
    /// The time when it was made.
    pub created_at: i64,
    /// The time from which it is refused, if it was replaced.
    pub expires_at: Option<i64>,
    /// The time when it was last used, to the minute.
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
