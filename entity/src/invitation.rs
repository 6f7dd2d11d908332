//! Invitations: people who may create an account with a link from a mail.

use sea_orm::entity::prelude::*;

use crate::{InvitationId, UserId};

/// An invitation that was not accepted yet. There is at most one for each address.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invitation")]
pub struct Model {
    /// The id of the invitation.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    /// The address that is invited.
    pub email: String,
    /// The address in lower case, which is unique.
    pub folded_email: String,
    /// The SHA-256 digest of the token in the mail, in hexadecimal.
    pub digest: String,
    /// The name that the account gets, unless the person changes it.
    pub name: Option<String>,
    /// The surname that the account gets, unless the person changes it.
    pub surname: Option<String>,
    /// The address of the web page that the account gets.
    pub website: Option<String>,
    /// The language of the mail and of the account, as a tag (BCP 47).
    pub language: Option<String>,
    /// The scopes that the account gets, separated by spaces.
    pub scopes: String,
    /// `true` if the account becomes a superuser's.
    pub is_superuser: bool,
    /// The user who sent the mail last. It is empty for an operator.
    pub inviter_id: Option<UserId>,
    /// The actor who sent the mail last, as the audit names them.
    pub invited_by: String,
    /// The time when the invitation was made.
    pub created_at: i64,
    /// The time when the mail was sent last.
    pub sent_at: i64,
    /// The time when the link expires.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
