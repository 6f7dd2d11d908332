//! Notices: what replicas tell each other to forget or to read again.

use sea_orm::entity::prelude::*;

/// One notice.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notice")]
pub struct Model {
    /// Its place in the sequence, in the order of the commits.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// Its kind; a newer release may know more.
    pub kind: String,
    /// When it was written.
    pub at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
