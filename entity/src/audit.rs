//! What happened: appended to, and neither changed nor deleted.

use sea_orm::entity::prelude::*;

/// An act.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    /// Its place: 1, 2, 3 and so on.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// When.
    pub at: i64,
    /// What.
    pub act: String,
    /// Who: `user:…`, `api_token:…`, `operator`, `anybody`.
    pub actor: String,
    /// On whom or what: `user:…`, `service:…`, `key:…`.
    pub subject: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// In which request.
    pub request: Option<String>,
    /// What else there is to say: a JSON object.
    #[sea_orm(column_type = "Text")]
    pub detail: String,
    /// The SHA-256 digest of this and of the digest before, in hexadecimal.
    pub digest: String,
}

impl ActiveModelBehavior for ActiveModel {}
