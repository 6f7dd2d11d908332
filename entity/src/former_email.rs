//! Previous addresses of users, for as long as their owners can take the account back.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// A previous address, with the digest of the token that restores it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "former_email")]
pub struct Model {
    /// The SHA-256 digest of the token, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The user who had the address.
    pub user_id: UserId,
    /// The address.
    pub email: String,
    /// `true` if the address was verified.
    pub verified: bool,
    /// The time when it was replaced.
    pub created_at: i64,
    /// The time until which it can be restored.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
