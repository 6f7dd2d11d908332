//! Facts about the installation, in one row. A migration writes it.

use sea_orm::entity::prelude::*;

use crate::Hidden;

/// The id of the row.
pub const ONLY: i32 = 1;

/// The facts about the tables as a whole.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Always [`ONLY`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The latest release that migrated the database.
    pub release: String,
    /// The oldest release that can work with its tables.
    pub oldest: String,
    /// A known text, encrypted with the secret of the server that started last. Empty until a server sets it.
    pub secret_check: Hidden,
}

impl ActiveModelBehavior for ActiveModel {}
