//! Further data about a user, beside the table `user`. A user can have none.

use sea_orm::entity::prelude::*;

use crate::UserId;

/// The profile and the scopes of a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "profile")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// Their name.
    pub name: Option<String>,
    /// Their surname.
    pub surname: Option<String>,
    /// The address of their web page.
    pub website: Option<String>,
    /// Their scopes, separated by spaces. If there are none here, the user has the default scopes.
    pub scopes: Option<String>,
    /// The language of their mails and pages, as a tag (BCP 47).
    pub language: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
