//! Addresses that users had before, for as long as they may be taken back.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// An address, with the digest of the token that takes it back.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "former_email")]
pub struct Model {
    /// The SHA-256 digest of the token, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// Whose address it was.
    pub user_id: UserId,
    /// The address.
    pub email: String,
    /// Whether it was shown to be theirs.
    pub verified: bool,
    /// When it was replaced.
    pub created_at: i64,
    /// Until when it may be taken back.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
