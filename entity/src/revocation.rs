//! Revocations: the jti blacklist and its kin, append-only until purged.

use sea_orm::entity::prelude::*;

/// One thing that is not accepted any more.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocation")]
pub struct Model {
    /// Its place in the sequence, in the order of the commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// What `subject` is.
    pub kind: Kind,
    /// The id of a token, a session or a user.
    pub subject: String,
    /// When the last token it covers has expired.
    pub until: i64,
    /// What happened.
    pub why: String,
    /// When it happened; of a user, tokens issued up to this instant are covered.
    pub at: i64,
}

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(8))")]
pub enum Kind {
    /// One token.
    #[sea_orm(string_value = "jti")]
    Token,
    /// A session's tokens.
    #[sea_orm(string_value = "sid")]
    Session,
    /// Every access token a user got up to an instant.
    #[sea_orm(string_value = "sub")]
    User,
}

impl ActiveModelBehavior for ActiveModel {}
