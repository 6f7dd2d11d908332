//! The table `attempt`.

use entity::attempt::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    key: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(key).one(connection).await
}

/// Locks the rows of keys until the transaction ends, in the order of the keys given, and creates those that are
/// missing. Returns them in the same order.
pub(super) async fn lock(
    connection: &impl ConnectionTrait,
    keys: &[&String],
) -> Result<Vec<Model>, DbErr> {
    let empty =
        |key: &&String| Model { key: (*key).clone(), count: 0, blocked_until: 0, expires_at: 0 };
    // An update that changes nothing returns the row of another transaction, once that has ended.
    let existing = OnConflict::column(Column::Key)
        .value(Column::Count, Expr::col((Entity, Column::Count)))
        .to_owned();
    let rows = keys.iter().map(|key| empty(key).into_active_model().reset_all());
    let rows =
        Entity::insert_many(rows).on_conflict(existing).exec_with_returning(connection).await?;
    let row_of = |key: &&String| rows.iter().find(|row| row.key == **key).cloned();
    Ok(keys.iter().map(|key| row_of(key).unwrap_or_else(|| empty(key))).collect())
}

/// Inserts rows, or overwrites the existing ones, in the order given.
pub(super) async fn put(connection: &impl ConnectionTrait, rows: Vec<Model>) -> Result<(), DbErr> {
    let known = OnConflict::column(Column::Key)
        .update_columns([Column::Count, Column::BlockedUntil, Column::ExpiresAt])
        .to_owned();
    Entity::insert_many(rows.into_iter().map(|row| row.into_active_model().reset_all()))
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

/// Subtracts one attempt. If `frees` is set, it also ends the wait that the attempt caused.
pub(super) async fn refund(
    connection: &impl ConnectionTrait,
    key: &str,
    frees: bool,
) -> Result<(), DbErr> {
    let mut update = Entity::update_many();
    if frees {
        update = update.col_expr(Column::BlockedUntil, Expr::value(0));
    }
    update
        .col_expr(Column::Count, Expr::col(Column::Count).sub(1))
        .filter(Column::Key.eq(key))
        .filter(Column::Count.gt(0))
        .exec(connection)
        .await
        .map(drop)
}

pub(super) async fn delete(connection: &impl ConnectionTrait, key: &str) -> Result<(), DbErr> {
    Entity::delete_by_id(key).exec(connection).await.map(drop)
}

/// Deletes at most `max` rows that expired before an instant. Returns their number.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Key, Column::ExpiresAt.lt(time.millis()), max).await
}
