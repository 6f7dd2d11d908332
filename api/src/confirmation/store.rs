//! The table `confirmation`.

use entity::UserId;
use entity::confirmation::{Column, Entity, Model};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter,
};

use crate::clock::Time;
use crate::database::delete_some;

/// Inserts a row in the place of the one there is for its user and purpose.
pub(super) async fn replace(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::UserId.eq(row.user_id))
        .filter(Column::Purpose.eq(&row.purpose))
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

pub(super) async fn of_user(
    connection: &impl ConnectionTrait,
    purpose: &str,
    user: UserId,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::Purpose.eq(purpose))
        .one(connection)
        .await
}

pub(super) async fn spend(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Time,
) -> Result<bool, DbErr> {
    let spent = Entity::update_many()
        .col_expr(Column::UsedAt, Expr::value(now.millis()))
        .filter(Column::Digest.eq(digest))
        .filter(Column::UsedAt.is_null())
        .exec(connection)
        .await?;
    Ok(spent.rows_affected == 1)
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

/// Deletes some rows that expired before an instant; says how many.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Time,
    most: u64,
) -> Result<u64, DbErr> {
    let expired = Column::ExpiresAt.lt(time.millis());
    delete_some::<Entity>(connection, Column::Digest, expired, most).await
}
