//! The table `sample`.

use entity::sample::{Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder,
};

use crate::base::database::delete_some;

/// Stores a count, unless another replica stored one for the same hour.
pub(super) async fn put(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(connection)
        .await
        .map(drop)
}

pub(super) async fn is_there(connection: &impl ConnectionTrait, hour: i64) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(hour).one(connection).await?.is_some())
}

/// The counts from a time on, oldest first.
pub(super) async fn since(
    connection: &impl ConnectionTrait,
    instant: i64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Hour.gte(instant))
        .order_by_asc(Column::Hour)
        .all(connection)
        .await
}

/// Deletes some of the counts before a time. Returns their number.
pub(super) async fn delete_before(
    connection: &impl ConnectionTrait,
    instant: i64,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Hour, Column::Hour.lt(instant), max).await
}
