//! Samples: numbers of sessions and API tokens, counted each hour.

use sea_orm::entity::prelude::*;

/// The numbers of one hour.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sample")]
pub struct Model {
    /// The hour of the count.
    #[sea_orm(primary_key, auto_increment = false)]
    pub hour: i64,
    /// The number of live sessions.
    pub sessions: i64,
    /// The number of API tokens.
    pub api_tokens: i64,
}

impl ActiveModelBehavior for ActiveModel {}
