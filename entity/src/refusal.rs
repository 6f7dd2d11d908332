//! Refusals of requests from applications, counted, for operators. They contain no secret, code, token or verifier.

use sea_orm::entity::prelude::*;

use crate::ClientId;

/// Refusals of one check, for one client and one value.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refusal")]
pub struct Model {
    /// The SHA-256 digest of the client, the check and the value that came, in hexadecimal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    /// The client; none if it is unknown.
    pub client_id: Option<ClientId>,
    /// The stable name of the check, such as `redirect_uri.not_registered`.
    pub check_name: String,
    /// The error code of OAuth.
    pub error: String,
    /// The endpoint that refused, such as `authorize`.
    pub endpoint: String,
    /// The value that the check expected, if it can be shown.
    pub expected: Option<String>,
    /// The value that came, if it can be shown.
    pub came: Option<String>,
    /// The remedy, for operators.
    pub remedy: String,
    /// The id of the latest request that was refused for this.
    pub reference: String,
    /// The number of refusals.
    pub count: i64,
    /// The time of the first refusal.
    pub first_at: i64,
    /// The time of the last refusal.
    pub last_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
