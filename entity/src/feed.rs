//! Facts about all revocations together, in one row.

use sea_orm::entity::prelude::*;

/// The id of the row.
pub const ONLY: i32 = 1;

/// The facts on which all replicas and services that read the revocations must agree.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed")]
pub struct Model {
    /// Always [`ONLY`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The longest lifetime of an access token that may still be valid, in seconds.
    pub longest: i64,
    /// The time until which this holds, unless a server renews it.
    pub longest_until: i64,
    /// A random id of this history of the sequence of revocations. It changes if a backup was restored. Empty until a
    /// server sets it.
    pub epoch: String,
    /// The table has every revocation with this number or a higher one.
    pub low: i64,
}

impl ActiveModelBehavior for ActiveModel {}
