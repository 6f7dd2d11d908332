//! Jobs: work that a server does after it has answered the request.

use sea_orm::entity::prelude::*;

use crate::{Hidden, JobId, UserId};

/// A job. The row is deleted when the job is done.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    /// The id of the job.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    /// The kind of work.
    pub kind: String,
    /// The user that the job is about. If the user is deleted, the job is deleted too.
    pub user_id: Option<UserId>,
    /// The content of the job. It is encrypted, because it can contain a token.
    #[sea_orm(column_type = "Text")]
    pub sealed: Hidden,
    /// The number of failed attempts.
    pub attempts: i64,
    /// The time of the next attempt.
    pub due_at: i64,
    /// The time when it is given up.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
