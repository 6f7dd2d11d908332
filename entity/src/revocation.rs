//! Revocations of tokens, sessions and users. Rows are appended, and are deleted when they are no longer needed.

use sea_orm::entity::prelude::*;

use crate::SessionId;

/// The kind for one token. The subject is its `jti`.
pub const TOKEN: &str = "jti";
/// The kind for the tokens of a session. The subject is its `sid`.
pub const SESSION: &str = "sid";
/// The kind for every access token that a user got up to a certain time. The subject is their `sub`.
pub const USER: &str = "sub";

/// The kind for every token that a signing key signed. The subject is its `kid`.
pub const KEY: &str = "key";

/// The kind for the end of another revocation. The subject is the kind and the subject of that one, joined by a colon.
pub const LIFT: &str = "lift";

/// A revocation, or the end of one.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocation")]
pub struct Model {
    /// The number of the revocation, in the order of the commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// The kind of `subject`: [`TOKEN`], [`SESSION`], [`USER`], [`KEY`] or [`LIFT`]. A newer release can have further kinds.
    pub kind: String,
    /// The id of a token, a session or a user.
    pub subject: String,
    /// The time when the last token that it covers has expired; 0 once the revocation was lifted.
    pub until: i64,
    /// The reason.
    pub why: String,
    /// The time of the revocation. For a user, it covers tokens that were issued up to this time.
    pub at: i64,
    /// The session of a token that its holder revoked by itself. If a service may have made the token, this is an id
    /// that is made from the session and the audience.
    pub session_id: Option<SessionId>,
}

impl ActiveModelBehavior for ActiveModel {}
