//! The table `job`.

use entity::JobId;
use entity::job::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder,
};

use crate::base::clock::Timestamp;
use crate::base::database::rows;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

/// Returns some jobs that are due, the longest due first.
pub(super) async fn due(
    connection: &impl ConnectionTrait,
    kind: &str,
    now: Timestamp,
    max: u64,
) -> Result<Vec<Model>, DbErr> {
    let due = Entity::find()
        .filter(Column::Kind.eq(kind))
        .filter(Column::DueAt.lte(now.millis()))
        .order_by_asc(Column::DueAt);
    rows::first(due, max, connection).await
}

/// Leases a job, unless another replica did so.
pub(super) async fn lease(
    connection: &impl ConnectionTrait,
    id: JobId,
    due_at: i64,
    until: Timestamp,
) -> Result<bool, DbErr> {
    let leased = Entity::update_many()
        .col_expr(Column::DueAt, Expr::value(until.millis()))
        .filter(Column::Id.eq(id))
        .filter(Column::DueAt.eq(due_at))
        .exec(connection)
        .await?;
    Ok(leased.rows_affected == 1)
}

/// Schedules a job again at `next`, unless its lease has ended.
pub(super) async fn put_off(
    connection: &impl ConnectionTrait,
    id: JobId,
    leased_until: i64,
    next: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::DueAt, Expr::value(next.millis()))
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .filter(Column::Id.eq(id))
        .filter(Column::DueAt.eq(leased_until))
        .exec(connection)
        .await
        .map(drop)
}

pub(super) async fn delete(connection: &impl ConnectionTrait, id: JobId) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(connection).await.map(drop)
}

/// Deletes a job of a kind. Returns true if it existed.
pub(super) async fn discard(
    connection: &impl ConnectionTrait,
    kind: &str,
    id: JobId,
) -> Result<bool, DbErr> {
    let delete = Entity::delete_by_id(id).filter(Column::Kind.eq(kind));
    Ok(delete.exec(connection).await?.rows_affected == 1)
}

/// Returns jobs of a kind, the oldest first, beginning after the job `after`.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    kind: &str,
    after: Option<JobId>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find().filter(Column::Kind.eq(kind));
    if let Some(after) = after {
        query = query.filter(Column::Id.gt(after));
    }
    rows::first(query.order_by_asc(Column::Id), limit, connection).await
}

pub(super) async fn count(connection: &impl ConnectionTrait, kind: &str) -> Result<u64, DbErr> {
    Entity::find().filter(Column::Kind.eq(kind)).count(connection).await
}

/// Makes a job due now if its next attempt is later than `until`. Returns true if the job exists.
pub(super) async fn hasten(
    connection: &impl ConnectionTrait,
    kind: &str,
    id: JobId,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, DbErr> {
    let found = Entity::find_by_id(id).filter(Column::Kind.eq(kind));
    let found = rows::one(found, connection).await?;
    if found.is_none() {
        return Ok(false);
    }
    Entity::update_many()
        .col_expr(Column::DueAt, Expr::value(now.millis()))
        .filter(Column::Id.eq(id))
        .filter(Column::DueAt.gt(until.millis()))
        .exec(connection)
        .await?;
    Ok(true)
}
