//! Accounts that nobody has claimed: their address was verified by a mail alone.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// An account whose address was verified without its password. Those who know the password may be others
/// than those who read the mail.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "unclaimed")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// When the address was verified, in milliseconds since the epoch.
    pub verified_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
