//! The table `upstream_refusal`.

use entity::upstream_refusal::{Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

/// The number of refusals that are listed.
const LISTED: u64 = 100;

pub(super) async fn record(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(connection)
        .await
        .map(drop)
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    reference: Option<&str>,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find();
    if let Some(reference) = reference {
        query = query.filter(Column::Reference.eq(reference));
    }
    query.order_by_desc(Column::At).limit(LISTED).all(connection).await
}

/// Deletes all rows of a provider but the newest.
pub(super) async fn delete_oldest(
    connection: &impl ConnectionTrait,
    upstream: &str,
    kept: u64,
) -> Result<(), DbErr> {
    let oldest = Entity::find()
        .select_only()
        .column(Column::At)
        .filter(Column::Upstream.eq(upstream))
        .order_by_desc(Column::At)
        .offset(kept)
        .limit(1)
        .into_tuple::<i64>()
        .one(connection)
        .await?;
    let Some(at) = oldest else { return Ok(()) };
    Entity::delete_many()
        .filter(Column::Upstream.eq(upstream))
        .filter(Column::At.lte(at))
        .exec(connection)
        .await
        .map(drop)
}

pub(super) async fn delete_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Reference, Column::At.lt(time.millis()), max).await
}
