//! Revocations: the jti blacklist and its kin, append-only until purged or lifted.

use sea_orm::entity::prelude::*;

use crate::SessionId;

/// One token, by its `jti`.
pub const TOKEN: &str = "jti";
/// A session's tokens, by its `sid`.
pub const SESSION: &str = "sid";
/// Every access token that a user, by their `sub`, got up to an instant.
pub const USER: &str = "sub";

/// The end of what was revoked, whose kind and id, joined by a colon, are the subject.
pub const LIFT: &str = "lift";

/// One thing that is not accepted any more.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocation")]
pub struct Model {
    /// Its place in the sequence, in the order of the commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// What `subject` is: [`TOKEN`], [`SESSION`], [`USER`] or [`LIFT`]; a newer release may know more.
    pub kind: String,
    /// The id of a token, a session or a user.
    pub subject: String,
    /// When the last token it covers has expired.
    pub until: i64,
    /// What happened.
    pub why: String,
    /// When it happened; of a user, tokens issued up to this instant are covered.
    pub at: i64,
    /// The session of a token that its holder revoked alone; of a token that somebody else may have made, an
    /// id of the session and the audience.
    pub session_id: Option<SessionId>,
}

impl ActiveModelBehavior for ActiveModel {}
