//! People. Exactly the columns that FastAPI Users keeps, so that `select * from user` prints what
//! its documents print; everything else about a user lives beside this table.

use sea_orm::entity::prelude::*;

use crate::{Hidden, UserId};

/// A person who may sign in.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    /// Their id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// Their address: the local part as typed, the domain in lower case. Unique without case.
    pub email: String,
    /// Their password's hash in modular crypt format.
    pub hashed_password: Hidden,
    /// Whether they may sign in and their tokens are accepted.
    pub is_active: bool,
    /// Whether they may do what superusers may.
    pub is_superuser: bool,
    /// Whether the address was shown to be theirs.
    pub is_verified: bool,
}

impl ActiveModelBehavior for ActiveModel {}
