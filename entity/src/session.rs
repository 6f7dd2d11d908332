//! Sessions. A session begins with a sign-in and issues all further tokens.

use std::fmt;

use sea_orm::entity::prelude::*;

use crate::{SessionId, UserId};

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
    /// The time when its user last gave the password.
    pub auth_time: i64,
    /// The time when its refresh token expires.
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
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns true if its refresh token has expired at this time.
    pub fn has_expired(&self, now: i64) -> bool {
        now >= self.expires_at
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
