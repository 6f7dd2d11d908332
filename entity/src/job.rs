//! Work that is done after the answer to the request that caused it.

use sea_orm::entity::prelude::*;

use crate::{Hidden, JobId, UserId};

/// What is to be done, until it is.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    /// What kind of work it is.
    pub kind: String,
    /// Whom it is about, and with whom it goes.
    pub user_id: Option<UserId>,
    /// What is to be done, encrypted: it may hold a token.
    #[sea_orm(column_type = "Text")]
    pub sealed: Hidden,
    /// How often it was tried in vain.
    pub attempts: i64,
    /// When it is tried next.
    pub due_at: i64,
    /// When it is given up.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
