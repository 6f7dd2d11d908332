//! The origins of imported users. Users who were not imported have no row.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// The origin of an imported user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "imported_user")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The name of the system that they come from.
    pub source: String,
    /// The id that they had there, if it is not their id here.
    pub external_id: Option<String>,
    /// A digest of the system, the id there and the address there. The same record has it at every import.
    pub digest: String,
    /// The time when the account was made there.
    pub created_at: Option<i64>,
    /// The time when a mail asked the user to choose a password.
    pub invited_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
