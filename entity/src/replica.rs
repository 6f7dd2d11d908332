//! Replicas: the servers on this database, and how far each has read the revocations.

use sea_orm::entity::prelude::*;

use crate::ReplicaId;

/// A server that runs, or did not say that it stopped.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replica")]
pub struct Model {
    /// Its id, another one at each start.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReplicaId,
    /// What its operator calls it.
    pub name: String,
    /// The last place in the sequence of revocations that it has applied.
    pub seq: i64,
    /// When it last said so.
    pub seen_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
