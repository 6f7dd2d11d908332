//! The audit. Rows are appended, and are never changed or deleted.

use sea_orm::entity::prelude::*;

/// An entry of the audit.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    /// The number of the entry: 1, 2, 3 and so on.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// The time of the action.
    pub at: i64,
    /// The name of the action.
    pub act: String,
    /// The actor: `user:…`, `api_token:…`, `operator` or `anybody`.
    pub actor: String,
    /// The object of the action: `user:…`, `service:…` or `key:…`.
    pub subject: Option<String>,
    /// The IP address that the request came from.
    pub ip: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
    /// Further details, as a JSON object.
    #[sea_orm(column_type = "Text")]
    pub detail: String,
    /// The SHA-256 digest of this entry and of the previous entry's digest, in hexadecimal.
    pub digest: String,
}

impl ActiveModelBehavior for ActiveModel {}
