//! The identities at other providers that proved a session after it began.

use sea_orm::entity::prelude::*;

use crate::{FederatedIdentityId, SessionId};

/// An identity that proved a session again. The one that opened the session is in its row.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session_identity")]
pub struct Model {
    /// The session.
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: SessionId,
    /// The identity. It may be unlinked since.
    #[sea_orm(primary_key, auto_increment = false)]
    pub federated_identity_id: FederatedIdentityId,
    /// The name of the session at that provider.
    pub upstream_sid: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
