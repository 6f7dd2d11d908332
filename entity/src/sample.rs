//! How much there was at an hour.

use sea_orm::entity::prelude::*;

/// What was counted at an hour.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sample")]
pub struct Model {
    /// When it was counted.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour: i64,
    /// How many sessions were live.
    pub sessions: i64,
    /// How many API tokens there were.
    pub api_tokens: i64,
}

impl ActiveModelBehavior for ActiveModel {}
