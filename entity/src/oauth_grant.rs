//! Grants of clients: what a client got for a code, and the right to get further tokens until the grant ends.

use sea_orm::entity::prelude::*;

use crate::session::Secret;
use crate::{ClientId, GrantId, SessionId, UserId};

/// A grant of a client.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_grant")]
pub struct Model {
    /// The id of the grant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: GrantId,
    /// The user who signed in.
    pub user_id: UserId,
    /// The client.
    pub client_id: ClientId,
    /// The session in which the user signed in, until its row is deleted.
    pub session_id: Option<SessionId>,
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
    /// The `sid` of the ID tokens.
    pub sid: String,
    /// The thumbprint of the key that the tokens are bound to.
    pub jkt: Option<String>,
    /// `true` if it does not end with its session.
    pub is_offline: bool,
    /// The time when it began.
    pub created_at: i64,
    /// The time when it last issued tokens.
    pub last_used_at: i64,
    /// The number of its current refresh token, counted from 0.
    pub generation: i64,
    /// The time when that refresh token was made.
    pub rotated_at: i64,
    /// The time in the id of its newest access token.
    pub issued_at: i64,
    /// The secret from which its refresh tokens are derived. It is stored only in this row.
    pub secret: Secret,
    /// The time when its refresh token expires.
    pub expires_at: i64,
    /// The time when it ended, if it did.
    pub ended_at: Option<i64>,
    /// The reason why it ended.
    pub ended_why: Option<String>,
    /// The time when it ends at the latest, if a provider that proved its session bounds that. It is set only if the grant
    /// does not end with its session.
    pub ends_at: Option<i64>,
    /// The identities at other providers that proved its session, separated by spaces. They are set only if the grant does
    /// not end with its session.
    pub proven_by: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
