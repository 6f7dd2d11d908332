//! The table `attempt`.

use entity::attempt::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QuerySelect,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    key: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(key).one(connection).await
}

/// Returns the row, locked until the transaction ends. Inserts it if there is none.
pub(super) async fn lock(connection: &impl ConnectionTrait, key: &str) -> Result<Model, DbErr> {
    let empty = Model { key: key.to_owned(), count: 0, blocked_until: 0, expires_at: 0 };
    let unless_there = OnConflict::column(Column::Key).do_nothing().to_owned();
    Entity::insert(empty.clone().into_active_model().reset_all())
        .on_conflict(unless_there)
        .exec_without_returning(connection)
        .await?;
    let row = Entity::find_by_id(key).lock_exclusive().one(connection).await?;
    Ok(row.unwrap_or(empty))
}

/// Inserts a row, or overwrites the existing one.
pub(super) async fn put(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    let known = OnConflict::column(Column::Key)
        .update_columns([Column::Count, Column::BlockedUntil, Column::ExpiresAt])
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
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
