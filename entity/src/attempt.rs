//! Attempts to sign in or register, counted so that passwords cannot be guessed.

use sea_orm::entity::prelude::*;

/// How often something was tried, or that somebody is known somewhere.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    /// The digest of who tries what, from where.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// How often it was tried.
    pub count: i64,
    /// Until when it is not tried again.
    pub blocked_until: i64,
    /// When it is forgotten.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
