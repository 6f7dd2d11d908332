//! Users. The table has exactly the columns of FastAPI Users, so that `select * from user` prints what the
//! documentation of that library shows. All other data about a user is in other tables.

use sea_orm::entity::prelude::*;

use crate::{Hidden, UserId};

/// A user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    /// The id of the user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// The e-mail address: the local part as typed, the domain in its ASCII spelling. Rows of earlier versions can have
    /// another. It is unique if upper and lower case are equal.
    pub email: String,
    /// The hash of the password, in modular crypt format.
    pub hashed_password: Hidden,
    /// `true` if the user may sign in and their tokens are accepted.
    pub is_active: bool,
    /// `true` if the user is a superuser.
    pub is_superuser: bool,
    /// `true` if the address is verified.
    pub is_verified: bool,
}

impl ActiveModelBehavior for ActiveModel {}
