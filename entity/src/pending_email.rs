//! New addresses of users that take over once they are proved.

use sea_orm::entity::prelude::*;

use crate::{SessionId, UserId};

/// The address that a user asked for last. A user has one at most.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_email")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The new address.
    pub email: String,
    /// The SHA-256 digest of the token that proves the address, in hexadecimal.
    pub digest: String,
    /// The digest of the address and the password hash that the user had when they asked.
    pub bound: String,
    /// The session that asked.
    pub session_id: SessionId,
    /// When the user asked, in milliseconds since the epoch.
    pub created_at: i64,
    /// When the token expires, in milliseconds since the epoch.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
