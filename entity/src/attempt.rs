//! Counters of attempts, for rate limits. They prevent that passwords are guessed.

use sea_orm::entity::prelude::*;

/// A counter of attempts, or a mark that an account was used from an address.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    /// The digest of what is tried, for which account and from which address.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// The number of attempts.
    pub count: i64,
    /// The time until which further attempts are refused.
    pub blocked_until: i64,
    /// The time when the row is deleted.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
