//! Identities of users at other providers.

use sea_orm::entity::prelude::*;

use crate::{FederatedIdentityId, UserId};

/// The identity of a user at another provider. No two rows have one subject at one provider.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "federated_identity")]
pub struct Model {
    /// The id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FederatedIdentityId,
    /// The user.
    pub user_id: UserId,
    /// The name of the provider in the settings.
    pub upstream: String,
    /// The subject: the id that the provider gave the person.
    pub subject: String,
    /// The issuer that named the subject. Another issuer under the same name is another provider.
    pub issuer: String,
    /// The address that the provider said last, if it said one. It proves nothing.
    pub email: Option<String>,
    /// The words that the provider gives the user, separated by spaces.
    pub words: String,
    /// The time when it was linked.
    pub created_at: i64,
    /// The time of the last sign-in with it.
    pub used_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
