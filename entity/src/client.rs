//! Clients: applications that sign people in through Tessera.

use sea_orm::entity::prelude::*;

use crate::{ClientId, GrantId};

/// A client.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "client")]
pub struct Model {
    /// The id of the row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ClientId,
    /// The `client_id` of the protocol, which is unique.
    pub client_id: String,
    /// The name that people see.
    pub name: String,
    /// The origin of the row: `operator`, `file`, `registered` or `document`.
    pub origin: String,
    /// The type of the application: `web` or `native`.
    pub application_type: String,
    /// The way in which the client authenticates: `client_secret` (Basic or post), `client_secret_basic`,
    /// `client_secret_post` or `none`.
    pub auth_method: String,
    /// The redirect URIs: a JSON array of texts.
    pub redirect_uris: String,
    /// The URIs to which a browser can go after signing out: a JSON array of texts.
    pub post_logout_uris: String,
    /// The grant types, separated by spaces.
    pub grant_types: String,
    /// The scopes that the client can ask for, separated by spaces.
    pub scopes: String,
    /// The settings: a JSON object.
    pub settings: String,
    /// The `grant_id` of the tokens that the client gets for itself. Another one replaces it when they are revoked.
    pub own_grant: Option<GrantId>,
    /// `true` if the client is accepted.
    pub is_active: bool,
    /// The time when it was made.
    pub created_at: i64,
    /// The time when it was last changed.
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
