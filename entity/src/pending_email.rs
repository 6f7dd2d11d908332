//! Pending addresses: new addresses of users, which take effect when they are verified.

use sea_orm::entity::prelude::*;

use crate::{SessionId, UserId};

/// The new address that a user asked for last. A user has at most one.
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
    /// The time when the user asked.
    pub created_at: i64,
    /// The time when the token expires.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
