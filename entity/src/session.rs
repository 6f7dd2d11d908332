//! Sessions. A session begins with a sign-in and issues all further tokens.

use std::fmt;

use sea_orm::entity::prelude::*;

use crate::{FederatedIdentityId, SessionId, UserId};

/// A session of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    /// The id of the session.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    /// The user of the session.
    pub user_id: UserId,
    /// The time when it began.
    pub created_at: i64,
    /// The time when its user last proved who they are.
    pub auth_time: i64,
    /// The time when its refresh token expires. [`Model::expiry`] says when the session does.
    pub expires_at: i64,
    /// The number of its current refresh token, counted from 0.
    pub generation: i64,
    /// The time when that refresh token was made.
    pub rotated_at: i64,
    /// The time when it ended, if it did.
    pub ended_at: Option<i64>,
    /// The reason why it ended.
    pub ended_why: Option<String>,
    /// The time when it last issued tokens.
    pub last_used_at: i64,
    /// The address that it was last used from.
    pub ip: Option<String>,
    /// The program that last used it, from its `User-Agent` header.
    pub user_agent: Option<String>,
    /// The address that it was ended from.
    pub ended_ip: Option<String>,
    /// The time in the id of its newest access token. Every further one has a later time, even if the clock was set
    /// back.
    pub issued_at: i64,
    /// The secret from which the ids of its refresh tokens are derived. It is stored only in this row.
    pub secret: Secret,
    /// The number of times that its access tokens up to an instant were revoked while it went on. A statement that waited
    /// for the row sees by this that what it read of the user before may be old.
    pub cuts: i64,
    /// The methods by which its user proved who they are (RFC 8176), separated by spaces.
    pub amr: String,
    /// The time of the last proof at the second level, if there was one.
    pub second_at: Option<i64>,
    /// The identity at another provider that proved it first, if one did. That identity may be unlinked since. The table
    /// `session_identity` has those that proved it later.
    pub federated_identity_id: Option<FederatedIdentityId>,
    /// The name of the session at that provider.
    pub upstream_sid: Option<String>,
    /// The time when it ends at the latest, because the proof is worth no more.
    pub ends_at: Option<i64>,
    /// The time when its user last gave the password for the forms of their account, in this browser.
    pub proved_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the time when it expires: the earlier one of the time when its refresh token does, and of its end. A
    /// release that knows no end may have written a later time for the token.
    pub fn expiry(&self) -> i64 {
        self.ends_at.map_or(self.expires_at, |ends| ends.min(self.expires_at))
    }

    /// Returns true if it has expired at this time.
    pub fn has_expired(&self, now: i64) -> bool {
        now >= self.expiry()
    }
}

/// The secret bytes of a row. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
