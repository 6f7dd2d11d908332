//! Browser sessions. A browser has an id in a cookie, and only the digest of the id is stored.

use sea_orm::entity::prelude::*;

use crate::SessionId;

/// The connection of a cookie with a session.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "browser_session")]
pub struct Model {
    /// The SHA-256 digest of the id in the cookie, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The session.
    #[sea_orm(unique)]
    pub session_id: SessionId,
}

impl ActiveModelBehavior for ActiveModel {}
