//! Reads the table `federated_identity`, for proofs by other providers.

use entity::federated_identity::{Column, Entity};
use entity::{FederatedIdentityId, UserId};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};

/// The identities of a user at some providers.
pub(super) async fn identities_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    upstreams: &[String],
) -> Result<Vec<FederatedIdentityId>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(user))
        .filter(Column::Upstream.is_in(upstreams.iter().map(String::as_str)))
        .into_tuple()
        .all(connection)
        .await
}

/// Returns true if an identity is linked to a user.
pub(super) async fn is_linked(
    connection: &impl ConnectionTrait,
    identity: FederatedIdentityId,
    user: UserId,
) -> Result<bool, DbErr> {
    let row = Entity::find_by_id(identity).filter(Column::UserId.eq(user)).one(connection).await?;
    Ok(row.is_some())
}

/// The name of the provider of an identity.
pub(super) async fn name_of(
    connection: &impl ConnectionTrait,
    identity: FederatedIdentityId,
) -> Result<Option<String>, DbErr> {
    let query = Entity::find_by_id(identity).select_only().column(Column::Upstream);
    query.into_tuple().one(connection).await
}
