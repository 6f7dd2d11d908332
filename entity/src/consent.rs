//! Consents: permissions that users gave to clients.

use sea_orm::entity::prelude::*;

use crate::{ClientId, UserId};

/// The permission of a user for a client.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consent")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The client.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: ClientId,
    /// The scopes about the user that the user permitted, and those permitted without a resource, separated by spaces.
    pub scopes: String,
    /// The scopes that the user permitted for each resource: a JSON object of texts, by the URI of the resource.
    pub resources: String,
    /// The time when the user first consented.
    pub created_at: i64,
    /// The time when the user last consented.
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
