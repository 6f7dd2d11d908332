//! The tables `authorization_code` and `consent`.

use entity::authorization_code::{Column, Entity, Model};
use entity::{ClientId, GrantId, UserId, consent};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(digest).one(connection).await
}

pub(super) async fn lock(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(digest).lock_exclusive().one(connection).await
}

/// Spends a code, unless it was spent before.
pub(super) async fn spend(
    connection: &impl ConnectionTrait,
    digest: &str,
    grant: GrantId,
    now: Timestamp,
    kept_until: Timestamp,
) -> Result<bool, DbErr> {
    let spent = Entity::update_many()
        .col_expr(Column::SpentAt, Expr::value(now.millis()))
        .col_expr(Column::KeptUntil, Expr::value(kept_until.millis()))
        .col_expr(Column::GrantId, Expr::value(grant))
        .filter(Column::Digest.eq(digest))
        .filter(Column::SpentAt.is_null())
        .exec(connection)
        .await?;
    Ok(spent.rows_affected == 1)
}

/// Deletes the codes that were exchanged for some grants.
pub(super) async fn delete_codes_of(
    connection: &impl ConnectionTrait,
    grants: Vec<GrantId>,
) -> Result<(), DbErr> {
    if grants.is_empty() {
        return Ok(());
    }
    let of_grants = Entity::delete_many().filter(Column::GrantId.is_in(grants));
    of_grants.exec(connection).await.map(drop)
}

/// Deletes the codes of a user for a client that were not exchanged.
pub(super) async fn delete_codes(
    connection: &impl ConnectionTrait,
    user: UserId,
    client: ClientId,
) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::UserId.eq(user))
        .filter(Column::ClientId.eq(client))
        .filter(Column::SpentAt.is_null())
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes some codes that are not needed any more. Returns their number.
pub(super) async fn delete_old(
    connection: &impl ConnectionTrait,
    now: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Digest, Column::KeptUntil.lt(now.millis()), max).await
}

pub(super) async fn consent(
    connection: &impl ConnectionTrait,
    user: UserId,
    client: ClientId,
) -> Result<Option<consent::Model>, DbErr> {
    consent::Entity::find_by_id((user, client)).one(connection).await
}

pub(super) async fn consents_of(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<consent::Model>, DbErr> {
    consent::Entity::find()
        .filter(consent::Column::UserId.eq(user))
        .order_by_desc(consent::Column::UpdatedAt)
        .all(connection)
        .await
}

/// Writes a consent, or replaces the one of the same user and client.
pub(super) async fn put_consent(
    connection: &impl ConnectionTrait,
    row: consent::Model,
) -> Result<(), DbErr> {
    use consent::Column as C;
    let replaced = OnConflict::columns([C::UserId, C::ClientId])
        .update_columns([C::Scopes, C::Resources, C::UpdatedAt])
        .to_owned();
    consent::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(replaced)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

/// Deletes a consent. Returns true if there was one.
pub(super) async fn delete_consent(
    connection: &impl ConnectionTrait,
    user: UserId,
    client: ClientId,
) -> Result<bool, DbErr> {
    let deleted = consent::Entity::delete_by_id((user, client)).exec(connection).await?;
    Ok(deleted.rows_affected > 0)
}
