//! Replicas: the servers on this database, and how far each has read the revocations.

use sea_orm::entity::prelude::*;

use crate::ReplicaId;

/// A server that runs, or that ended without reporting it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replica")]
pub struct Model {
    /// The id of this start of the server.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReplicaId,
    /// The name of the server.
    pub name: String,
    /// The number of the last revocation that it has applied.
    pub seq: i64,
    /// The time when it last reported this.
    pub seen_at: i64,
    /// The name of the algorithm that it signs access tokens with. `None` for servers of releases that do not report it.
    pub algorithm: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
