//! The tables `client`, `client_secret` and `resource`.

use entity::client::{Column, Entity, Model};
use entity::{ClientId, ClientSecretId, client_secret, resource};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: ClientId,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(connection).await
}

pub(super) async fn find_by_client_id(
    connection: &impl ConnectionTrait,
    client_id: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find().filter(Column::ClientId.eq(client_id)).one(connection).await
}

pub(super) async fn find_secret(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<client_secret::Model>, DbErr> {
    let found = client_secret::Entity::find();
    found.filter(client_secret::Column::Digest.eq(digest)).one(connection).await
}

pub(super) async fn find_resource(
    connection: &impl ConnectionTrait,
    uri: &str,
) -> Result<Option<resource::Model>, DbErr> {
    resource::Entity::find().filter(resource::Column::Uri.eq(uri)).one(connection).await
}

/// Writes the time of a use of a secret, unless a use was written within the minute before.
pub(super) async fn note_use(
    connection: &impl ConnectionTrait,
    id: ClientSecretId,
    at: Timestamp,
) -> Result<(), DbErr> {
    use client_secret::Column;
    let minute_before = at.minus_seconds(60).millis();
    client_secret::Entity::update_many()
        .col_expr(Column::LastUsedAt, Expr::value(at.millis()))
        .filter(Column::Id.eq(id))
        .filter(Column::LastUsedAt.is_null().or(Column::LastUsedAt.lte(minute_before)))
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes some secrets that retired before a time. Returns their number.
pub(super) async fn delete_retired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    use client_secret::Column;
    let retired = Column::ExpiresAt.lt(time.millis());
    delete_some::<client_secret::Entity>(connection, Column::Id, retired, max).await
}
