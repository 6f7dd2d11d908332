//! Authorization codes, with everything that they are bound to. Only their digests are stored.

use sea_orm::entity::prelude::*;

use crate::{ClientId, GrantId, SessionId, UserId};

/// A code, which a client exchanges for tokens once.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "authorization_code")]
pub struct Model {
    /// The SHA-256 digest of the code, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The user who signed in.
    pub user_id: UserId,
    /// The client that can exchange it.
    pub client_id: ClientId,
    /// The session in which the user signed in, until its row is deleted.
    pub session_id: Option<SessionId>,
    /// The redirect URI that it was sent to.
    pub redirect_uri: String,
    /// The challenge of the request (RFC 7636), if it had one.
    pub code_challenge: Option<String>,
    /// The `nonce` of the request, which the ID token repeats.
    pub nonce: Option<String>,
    /// The scopes that were granted, separated by spaces.
    pub scopes: String,
    /// The URIs of the resources that were granted: a JSON array of texts.
    pub resources: String,
    /// The parameter `claims` of the request, as JSON.
    pub claims: Option<String>,
    /// The time when the user last proved who they are.
    pub auth_time: i64,
    /// The methods by which the user proved that (RFC 8176), separated by spaces.
    pub amr: String,
    /// The thumbprint of the key that the tokens are bound to.
    pub jkt: Option<String>,
    /// The time when it was made.
    pub created_at: i64,
    /// The time from which it is refused.
    pub expires_at: i64,
    /// The time from which the row can be deleted. Until then, a second use is noticed.
    pub kept_until: i64,
    /// The time when it was exchanged, if it was.
    pub spent_at: Option<i64>,
    /// The grant that it was exchanged for.
    pub grant_id: Option<GrantId>,
}

impl ActiveModelBehavior for ActiveModel {}
