//! What is known of a user beside what the table `user` keeps. A user may have none.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// A user's profile and scopes.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "profile")]
pub struct Model {
    /// Whose it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Their name.
    pub name: Option<String>,
    /// Their surname.
    pub surname: Option<String>,
    /// Their page.
    pub website: Option<String>,
    /// What they may do, words separated by spaces; what everybody may, where there is nothing.
    pub scopes: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
