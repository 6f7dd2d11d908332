//! Refused sign-ins with other providers, for operators. They contain no secret, code or token.

use sea_orm::entity::prelude::*;

/// A refusal.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "upstream_refusal")]
pub struct Model {
    /// The id of the request that was refused, which the page shows.
    #[sea_orm(primary_key, auto_increment = false)]
    pub reference: String,
    /// The name of the provider in the settings; empty if the request came from a browser that began nothing.
    pub upstream: String,
    /// The stable name of the check, such as `id_token.nonce`.
    pub check_name: String,
    /// The sentence that the person read.
    pub sentence: String,
    /// The value that the check expected, if it can be shown.
    pub expected: Option<String>,
    /// The value that came, if it can be shown.
    pub came: Option<String>,
    /// The remedy, for operators.
    pub remedy: String,
    /// The time.
    pub at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
