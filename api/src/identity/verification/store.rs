//! The table `confirmation`.

use entity::UserId;
use entity::confirmation::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

/// Inserts a row. It replaces the row of the same user, purpose and client.
pub(super) async fn replace(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::UserId.eq(row.user_id))
        .filter(Column::Purpose.eq(&row.purpose))
        .filter(of_client(row.binding.as_deref()))
        .exec(connection)
        .await?;
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    purpose: &str,
    digest: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(digest).filter(Column::Purpose.eq(purpose)).one(connection).await
}

/// Returns the row of a user whose code belongs to this client.
pub(super) async fn bound(
    connection: &impl ConnectionTrait,
    purpose: &str,
    user: UserId,
    binding: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::Purpose.eq(purpose))
        .filter(Column::Binding.eq(binding))
        .one(connection)
        .await
}

/// Counts a code that is tried. Returns `false` if there were already `max` attempts.
pub(super) async fn count_try(
    connection: &impl ConnectionTrait,
    digest: &str,
    max: i64,
) -> Result<bool, DbErr> {
    let counted = Entity::update_many()
        .col_expr(Column::Tries, Expr::col(Column::Tries).add(1))
        .filter(Column::Digest.eq(digest))
        .filter(Column::Tries.lt(max))
        .exec(connection)
        .await?;
    Ok(counted.rows_affected == 1)
}

/// Marks a row as used and deletes the others of its user and purpose. Returns `false` if it was already used.
pub(super) async fn spend(
    connection: &impl ConnectionTrait,
    row: &Model,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let spent = Entity::update_many()
        .col_expr(Column::UsedAt, Expr::value(now.millis()))
        .filter(Column::Digest.eq(&row.digest))
        .filter(Column::UsedAt.is_null())
        .exec(connection)
        .await?;
    if spent.rows_affected != 1 {
        return Ok(false);
    }
    Entity::delete_many()
        .filter(Column::UserId.eq(row.user_id))
        .filter(Column::Purpose.eq(&row.purpose))
        .filter(Column::Digest.ne(&row.digest))
        .exec(connection)
        .await?;
    Ok(true)
}

fn of_client(binding: Option<&str>) -> SimpleExpr {
    match binding {
        Some(binding) => Column::Binding.eq(binding),
        None => Column::Binding.is_null(),
    }
}

pub(super) async fn delete_unused(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::UserId.eq(user))
        .filter(Column::UsedAt.is_null())
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes at most `max` rows that expired before an instant. Returns their number.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    let expired = Column::ExpiresAt.lt(time.millis());
    delete_some::<Entity>(connection, Column::Digest, expired, max).await
}
