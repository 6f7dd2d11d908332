//! Sessions: one row for each time somebody signed in, whatever number of tokens followed.

use std::fmt;

use sea_orm::entity::prelude::*;

use crate::{SessionId, UserId};

/// What a user got by signing in, until it ends.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub created_at: i64,
    /// When its user last gave a password.
    pub auth_time: i64,
    /// When its refresh token expires.
    pub expires_at: i64,
    /// Which refresh token is its current one, counted from 0.
    pub generation: i64,
    /// When that refresh token was made.
    pub rotated_at: i64,
    /// When it ended, if it did.
    pub ended_at: Option<i64>,
    /// What ended it.
    pub ended_why: Option<String>,
    /// When it last gave tokens.
    pub last_used_at: i64,
    /// Where it was last used from.
    pub ip: Option<String>,
    /// What program last used it, as that program says.
    pub user_agent: Option<String>,
    /// Where it was ended from.
    pub ended_ip: Option<String>,
    /// The instant in the id of its youngest access token: every further one has a later instant,
    /// whatever the clock says.
    pub issued_at: i64,
    /// What the ids of its refresh tokens are made with. It never leaves the row.
    pub secret: Secret,
    /// The number of times that its access tokens up to an instant were revoked while it went on. A statement that waited
    /// for the row sees by this that what it read of the user before may be old.
    pub cuts: i64,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether its refresh token has expired at this instant.
    pub fn has_expired(&self, now: i64) -> bool {
        now >= self.expires_at
    }
}

/// Bytes that nobody but the row knows. They are not printed.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
