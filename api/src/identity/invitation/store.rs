//! The table `invitation`.

use entity::InvitationId;
use entity::invitation::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

/// Overwrites a row. Returns `false` if it was deleted in the meantime.
pub(super) async fn update(connection: &impl ConnectionTrait, row: Model) -> Result<bool, DbErr> {
    let id = row.id;
    let updated = Entity::update_many()
        .set(row.into_active_model().reset_all())
        .filter(Column::Id.eq(id))
        .exec(connection)
        .await?;
    Ok(updated.rows_affected == 1)
}

pub(super) async fn by_id(
    connection: &impl ConnectionTrait,
    id: InvitationId,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(connection).await
}

pub(super) async fn by_digest(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Timestamp,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::Digest.eq(digest))
        .filter(Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await
}

pub(super) async fn list(
    connection: &impl ConnectionTrait,
    after: Option<String>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find();
    if let Some(after) = after {
        query = query.filter(Column::FoldedEmail.gt(after));
    }
    query.order_by_asc(Column::FoldedEmail).limit(limit).all(connection).await
}

/// Deletes the row with a digest. Returns `false` if there is none that has not expired.
pub(super) async fn take(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let taken = Entity::delete_many()
        .filter(Column::Digest.eq(digest))
        .filter(Column::ExpiresAt.gt(now.millis()))
        .exec(connection)
        .await?;
    Ok(taken.rows_affected == 1)
}

pub(super) async fn delete(
    connection: &impl ConnectionTrait,
    id: InvitationId,
) -> Result<bool, DbErr> {
    Ok(Entity::delete_by_id(id).exec(connection).await?.rows_affected == 1)
}

pub(super) async fn delete_of(
    connection: &impl ConnectionTrait,
    folded_email: &str,
) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::FoldedEmail.eq(folded_email))
        .exec(connection)
        .await
        .map(drop)
}

pub(super) async fn delete_expired(
    connection: &impl ConnectionTrait,
    folded_email: &str,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::FoldedEmail.eq(folded_email))
        .filter(Column::ExpiresAt.lte(now.millis()))
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
    delete_some::<Entity>(connection, Column::Id, expired, max).await
}
