//! Unclaimed accounts: their address was verified by a mail alone.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// An account whose address was verified without its password. The person who knows the password and the person who
/// reads the mail may be different people.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "unclaimed")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The time when the address was verified.
    pub verified_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
