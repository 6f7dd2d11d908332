//! Resources: APIs that accept access tokens of clients.

use sea_orm::entity::prelude::*;

use crate::ResourceId;

/// A resource.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "resource")]
pub struct Model {
    /// The id of the row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ResourceId,
    /// The URI, which is the `aud` of access tokens for it. It is unique.
    pub uri: String,
    /// The name that people see.
    pub name: String,
    /// The origin of the row: `operator` or `file`.
    pub origin: String,
    /// The scopes that it has, separated by spaces.
    pub scopes: String,
    /// `true` if clients that registered themselves can ask for it.
    pub is_open: bool,
    /// `true` if tokens for it are issued.
    pub is_active: bool,
    /// The time when it was made.
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
