//! What a mail lets its reader prove. Only digests are kept.

use sea_orm::entity::prelude::*;

use crate::{Hidden, UserId};

/// A token that was sent to a user's address; the last one for its purpose and the client that asked for it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "confirmation")]
pub struct Model {
    /// The SHA-256 digest of the token, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// Whom it was sent to.
    pub user_id: UserId,
    /// What it is for.
    pub purpose: String,
    /// The digest of the address, or of the address and the password, it was made for.
    pub bound: String,
    /// The keyed digest of the code in the same mail.
    pub code: Hidden,
    /// When it expires.
    pub expires_at: i64,
    /// When it was used, if it was.
    pub used_at: Option<i64>,
    /// The digest of what the browser or client keeps that asked for the mail; nothing if there is none, and the
    /// mail has no code.
    pub binding: Option<String>,
    /// How often a code was tried for it in vain.
    pub tries: i64,
}

impl ActiveModelBehavior for ActiveModel {}
