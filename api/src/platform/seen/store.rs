//! The table `seen`.

use entity::seen::{Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

/// Inserts a digest. Returns `false` if it is there.
pub(super) async fn insert(
    transaction: &DatabaseTransaction,
    digest: String,
    until: Timestamp,
) -> Result<bool, DbErr> {
    let row = Model { digest, expires_at: until.millis() };
    let inserted = Entity::insert(row.into_active_model().reset_all())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(transaction)
        .await?;
    Ok(inserted == 1)
}

pub(super) async fn exists(
    connection: &impl ConnectionTrait,
    digest: String,
) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(digest).one(connection).await?.is_some())
}

pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Digest, Column::ExpiresAt.lt(time.millis()), max)
        .await
}
