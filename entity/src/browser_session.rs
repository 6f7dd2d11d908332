//! What browsers know their sessions by: an id in a cookie, of which only the digest is kept.

use sea_orm::entity::prelude::*;

use crate::SessionId;

/// A session that a browser has.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "browser_session")]
pub struct Model {
    /// The SHA-256 digest of the cookie's id, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The session.
    #[sea_orm(unique)]
    pub session_id: SessionId,
}

impl ActiveModelBehavior for ActiveModel {}
