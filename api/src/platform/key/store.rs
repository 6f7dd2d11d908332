//! The table `signing_key`.

use entity::installation;
use entity::signing_key::{ACCESS, Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, UpdateMany,
};

use crate::base::clock::Timestamp;

/// Returns the keys that sign access tokens of sessions, in the order in which they begin to sign.
pub(super) async fn all(connection: &impl ConnectionTrait) -> Result<Vec<Model>, DbErr> {
    of_purpose(connection, ACCESS).await
}

/// Returns the keys of a purpose, in the order in which they begin to sign.
pub(super) async fn of_purpose(
    connection: &impl ConnectionTrait,
    purpose: &str,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Purpose.eq(purpose))
        .order_by_asc(Column::ActiveAt)
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Kid)
        .all(connection)
        .await
}

/// Returns the keys of every purpose.
pub(super) async fn all_of_any_purpose(
    connection: &impl ConnectionTrait,
) -> Result<Vec<Model>, DbErr> {
    Entity::find().all(connection).await
}

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

pub(super) async fn reseal(
    connection: &impl ConnectionTrait,
    kid: &str,
    sealed: String,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Sealed, Expr::value(sealed))
        .filter(Column::Kid.eq(kid))
        .exec(connection)
        .await
        .map(drop)
}

/// Records that a key was retired, and deletes its private key.
pub(super) async fn retire(
    connection: &impl ConnectionTrait,
    kid: &str,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::RetiredAt, Expr::value(now.millis()))
        .col_expr(Column::Sealed, Expr::value(""))
        .filter(Column::Kid.eq(kid))
        .exec(connection)
        .await
        .map(drop)
}

/// Records that a key signs at an instant, unless an instant after `since` is already recorded.
pub(super) async fn note_signing(
    connection: &impl ConnectionTrait,
    kid: &str,
    now: Timestamp,
    since: Timestamp,
) -> Result<(), DbErr> {
    noting(kid, now, since).exec(connection).await.map(drop)
}

/// The statement that notes that a key signs, unless that was noted since an instant.
pub(super) fn noting(kid: &str, now: Timestamp, since: Timestamp) -> UpdateMany<Entity> {
    let is_due = Column::LastSignedAt.is_null().or(Column::LastSignedAt.lt(since.millis()));
    Entity::update_many()
        .col_expr(Column::LastSignedAt, Expr::value(now.millis()))
        .filter(Column::Kid.eq(kid))
        .filter(is_due)
}

/// Returns the text that only the right secret opens; empty if no server has written it.
pub(super) async fn secret_check(connection: &impl ConnectionTrait) -> Result<String, DbErr> {
    let row = installation::Entity::find_by_id(installation::ONLY).one(connection).await?;
    Ok(row.map(|row| row.secret_check.into()).unwrap_or_default())
}

/// Replaces the text that only the right secret opens.
pub(super) async fn put_secret_check(
    connection: &impl ConnectionTrait,
    sealed: String,
) -> Result<(), DbErr> {
    installation::Entity::update_many()
        .col_expr(installation::Column::SecretCheck, Expr::value(sealed))
        .filter(installation::Column::Id.eq(installation::ONLY))
        .exec(connection)
        .await
        .map(drop)
}
