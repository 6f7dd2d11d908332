//! Services: accounts without password or address, which only API tokens can act as.

use sea_orm::entity::prelude::*;

use crate::ServiceId;

/// A program that acts for itself.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "service")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ServiceId,
    /// Its name, unique among services; no e-mail address.
    pub name: String,
    /// What its tokens may do at most: words separated by spaces.
    pub scopes: String,
    /// Whether its tokens are accepted.
    pub is_active: bool,
    /// When it was made.
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
