//! The text of each user that a search finds. Triggers of the database write it when a user or a profile is written.
//! They fold only ASCII letters, so Tessera writes it again if there are others.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// The text of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_search")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The e-mail address, the name and the surname, each on a line, in lower case.
    pub text: String,
}

impl ActiveModelBehavior for ActiveModel {}
