//! The table `service`.

use entity::ServiceId;
use entity::service::{Column, Entity, Model};
use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::base::database::rows;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    row.into_active_model().reset_all().insert(connection).await
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: ServiceId,
) -> Result<Option<Model>, DbErr> {
    rows::one(Entity::find_by_id(id), connection).await
}

/// Locks a row until the transaction ends. Other transactions can still insert rows that refer to it.
pub(super) async fn lock(connection: &impl ConnectionTrait, id: ServiceId) -> Result<(), DbErr> {
    rows::one(Entity::find_by_id(id).lock(LockType::NoKeyUpdate), connection).await.map(drop)
}

pub(super) async fn find_by_name(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<Model>, DbErr> {
    rows::one(Entity::find().filter(Column::Name.eq(name)), connection).await
}

pub(super) async fn find_names(
    connection: &impl ConnectionTrait,
    ids: Vec<ServiceId>,
) -> Result<Vec<(ServiceId, String)>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::Id, Column::Name])
        .filter(Column::Id.is_in(ids))
        .into_tuple()
        .all(connection)
        .await
}

/// Returns rows ordered by name, beginning after the name `after`.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    after: Option<String>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find().order_by_asc(Column::Name);
    if let Some(after) = after {
        query = query.filter(Column::Name.gt(after));
    }
    rows::first(query, limit, connection).await
}

pub(super) async fn delete(
    connection: &impl ConnectionTrait,
    id: ServiceId,
) -> Result<bool, DbErr> {
    Ok(Entity::delete_by_id(id).exec(connection).await?.rows_affected == 1)
}
