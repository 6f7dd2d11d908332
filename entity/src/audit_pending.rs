//! Entries of the audit that have no number and no digest yet.

use sea_orm::entity::prelude::*;

/// An act, written in the transaction of the act itself.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_pending")]
pub struct Model {
    /// Its id. The ids do not follow the order of the commits.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The instant of the act.
    pub at: i64,
    /// The name of the act.
    pub act: String,
    /// The actor: `user:…`, `api_token:…`, `operator`, `anybody`.
    pub actor: String,
    /// The user or thing that the act was done to: `user:…`, `service:…`, `key:…`.
    pub subject: Option<String>,
    /// The IP address that the request came from.
    pub ip: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
    /// Further details: a JSON object.
    #[sea_orm(column_type = "Text")]
    pub detail: String,
}

impl ActiveModelBehavior for ActiveModel {}
