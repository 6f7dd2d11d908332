//! Services: accounts without a password and an address, which act only with API tokens.

use sea_orm::entity::prelude::*;

use crate::ServiceId;

/// A service.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "service")]
pub struct Model {
    /// The id of the service.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ServiceId,
    /// The name. It is unique among services, and is not an e-mail address.
    pub name: String,
    /// The scopes that its tokens can have, separated by spaces.
    pub scopes: String,
    /// `true` if its tokens are accepted.
    pub is_active: bool,
    /// The time when it was made.
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
