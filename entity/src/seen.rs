//! Values that were spent: each state and each logout token works once.

use sea_orm::entity::prelude::*;

/// A value that was spent.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "seen")]
pub struct Model {
    /// The SHA-256 digest of its purpose and of the value, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The time after which the value does not work anyway.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
