//! The tokens and codes in mails. Only their digests are stored.

use sea_orm::entity::prelude::*;

use crate::{Hidden, UserId};

/// A token that was sent to a user's address. There is one for each purpose and client that asked for a mail.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "confirmation")]
pub struct Model {
    /// The SHA-256 digest of the token, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The user that it was sent to.
    pub user_id: UserId,
    /// The purpose of the token.
    pub purpose: String,
    /// The digest of the address, or of the address and the password, that the token was made for.
    pub bound: String,
    /// The keyed digest of the code in the same mail.
    pub code: Hidden,
    /// The time when it expires.
    pub expires_at: i64,
    /// The time when it was used, if it was.
    pub used_at: Option<i64>,
    /// The digest of the binding of the browser or client that asked for the mail. If there is none, the mail has no
    /// code.
    pub binding: Option<String>,
    /// The number of wrong codes that were tried for it.
    pub tries: i64,
}

impl ActiveModelBehavior for ActiveModel {}
