//! What is known of the revocations as a whole: one row.

use sea_orm::entity::prelude::*;

/// The id of the row.
pub const ONLY: i32 = 1;

/// What replicas and services must agree on that follow the revocations.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed")]
pub struct Model {
    /// Always [`ONLY`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The longest life of an access token that may still be valid, in seconds.
    pub longest: i64,
    /// Until when that may be, unless a server renews it.
    pub longest_until: i64,
}

impl ActiveModelBehavior for ActiveModel {}
