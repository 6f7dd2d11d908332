//! Notices: rows that tell all replicas to forget something or to read it again.

use sea_orm::entity::prelude::*;

/// A notice.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notice")]
pub struct Model {
    /// The number of the notice, in the order of the commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// The kind of the notice. A newer release can have further kinds.
    pub kind: String,
    /// The time when it was written.
    pub at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
