//! The tables `client`, `client_secret` and `resource`.

use entity::client::{Column, Entity, Model};
use entity::{
    ClientId, ClientSecretId, GrantId, ResourceId, client_secret, oauth_grant, refusal, resource,
};
use sea_orm::sea_query::{Expr, ExprTrait, LockType, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect, Unchanged,
};

use super::recorded::Selection;
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

/// Returns the clients whose settings contain a text in quotes.
pub(super) async fn with_setting(
    connection: &impl ConnectionTrait,
    text: &str,
) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(Column::Settings.contains(format!("\"{text}\""))).all(connection).await
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

/// Returns a client by its `client_id`, and locks its row until the transaction ends.
pub(super) async fn lock(
    connection: &impl ConnectionTrait,
    client_id: &str,
) -> Result<Option<Model>, DbErr> {
    let found = Entity::find().filter(Column::ClientId.eq(client_id));
    found.lock(LockType::NoKeyUpdate).one(connection).await
}

/// Returns clients ordered by `client_id`, beginning after one.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    after: Option<String>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find().order_by_asc(Column::ClientId).limit(limit);
    if let Some(after) = after {
        query = query.filter(Column::ClientId.gt(after));
    }
    query.all(connection).await
}

/// Returns all clients with an origin.
pub(super) async fn of_origin(
    connection: &impl ConnectionTrait,
    origin: &str,
) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(Column::Origin.eq(origin)).all(connection).await
}

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    row.into_active_model().reset_all().insert(connection).await
}

pub(super) async fn update(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    let id = row.id;
    let mut changed = row.into_active_model().reset_all();
    changed.id = Unchanged(id);
    changed.update(connection).await
}

pub(super) async fn delete(connection: &impl ConnectionTrait, id: ClientId) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(connection).await.map(drop)
}

/// Returns some grants of a client, each with the time in the id of its newest access token, and the time when it ended.
pub(super) async fn grants(
    connection: &impl ConnectionTrait,
    id: ClientId,
    max: u64,
) -> Result<Vec<(GrantId, i64, Option<i64>)>, DbErr> {
    use oauth_grant::Column;
    oauth_grant::Entity::find()
        .select_only()
        .columns([Column::Id, Column::IssuedAt, Column::EndedAt])
        .filter(Column::ClientId.eq(id))
        .limit(max)
        .into_tuple()
        .all(connection)
        .await
}

pub(super) async fn delete_grants(
    connection: &impl ConnectionTrait,
    ids: Vec<GrantId>,
) -> Result<(), DbErr> {
    let these = oauth_grant::Column::Id.is_in(ids);
    oauth_grant::Entity::delete_many().filter(these).exec(connection).await.map(drop)
}

/// Returns the secrets of a client, the newest first.
pub(super) async fn secrets(
    connection: &impl ConnectionTrait,
    id: ClientId,
) -> Result<Vec<client_secret::Model>, DbErr> {
    client_secret::Entity::find()
        .filter(client_secret::Column::ClientId.eq(id))
        .order_by_desc(client_secret::Column::CreatedAt)
        .order_by_desc(client_secret::Column::Id)
        .all(connection)
        .await
}

/// Makes the secrets of a client retire at a time, unless they retire earlier.
pub(super) async fn retire(
    connection: &impl ConnectionTrait,
    id: ClientId,
    at: Timestamp,
) -> Result<(), DbErr> {
    use client_secret::Column;
    client_secret::Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(at.millis()))
        .filter(Column::ClientId.eq(id))
        .filter(Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(at.millis())))
        .exec(connection)
        .await
        .map(drop)
}

/// Makes a secret that has retired valid again.
pub(super) async fn revive(
    connection: &impl ConnectionTrait,
    id: ClientSecretId,
) -> Result<(), DbErr> {
    use client_secret::Column;
    client_secret::Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(Option::<i64>::None))
        .filter(Column::Id.eq(id))
        .exec(connection)
        .await
        .map(drop)
}

/// Inserts a secret unless its digest exists already. Returns true if it did.
pub(super) async fn insert_secret(
    connection: &impl ConnectionTrait,
    row: client_secret::Model,
) -> Result<bool, DbErr> {
    let unless_known = OnConflict::column(client_secret::Column::Digest).do_nothing().to_owned();
    let inserted = client_secret::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(unless_known)
        .exec_without_returning(connection)
        .await?;
    Ok(inserted == 1)
}

/// Returns resources ordered by URI, beginning after one.
pub(super) async fn list_resources(
    connection: &impl ConnectionTrait,
    after: Option<String>,
    limit: u64,
) -> Result<Vec<resource::Model>, DbErr> {
    let mut query = resource::Entity::find().order_by_asc(resource::Column::Uri).limit(limit);
    if let Some(after) = after {
        query = query.filter(resource::Column::Uri.gt(after));
    }
    query.all(connection).await
}

/// Returns all resources with an origin.
pub(super) async fn resources_of_origin(
    connection: &impl ConnectionTrait,
    origin: &str,
) -> Result<Vec<resource::Model>, DbErr> {
    let found = resource::Entity::find().filter(resource::Column::Origin.eq(origin));
    found.all(connection).await
}

pub(super) async fn insert_resource(
    connection: &impl ConnectionTrait,
    row: resource::Model,
) -> Result<resource::Model, DbErr> {
    row.into_active_model().reset_all().insert(connection).await
}

pub(super) async fn update_resource(
    connection: &impl ConnectionTrait,
    row: resource::Model,
) -> Result<resource::Model, DbErr> {
    let id = row.id;
    let mut changed = row.into_active_model().reset_all();
    changed.id = Unchanged(id);
    changed.update(connection).await
}

pub(super) async fn delete_resource(
    connection: &impl ConnectionTrait,
    id: ResourceId,
) -> Result<(), DbErr> {
    resource::Entity::delete_by_id(id).exec(connection).await.map(drop)
}

/// Adds the count of refusals to the row of their digest, or inserts the row.
pub(super) async fn record(
    connection: &impl ConnectionTrait,
    row: refusal::Model,
) -> Result<(), DbErr> {
    use refusal::Column;
    let added = refusal::Entity::update_many()
        .col_expr(Column::Count, Expr::col(Column::Count).add(row.count))
        .col_expr(Column::LastAt, Expr::value(row.last_at))
        .col_expr(Column::Reference, Expr::value(row.reference.clone()))
        .col_expr(Column::Expected, Expr::value(row.expected.clone()))
        .col_expr(Column::Remedy, Expr::value(row.remedy.clone()))
        .filter(Column::Digest.eq(row.digest.as_str()))
        .exec(connection)
        .await?;
    if added.rows_affected == 0 {
        let unless_known = OnConflict::column(Column::Digest).do_nothing().to_owned();
        refusal::Entity::insert(row.into_active_model().reset_all())
            .on_conflict(unless_known)
            .exec_without_returning(connection)
            .await?;
    }
    Ok(())
}

fn refusals_of(client: Option<ClientId>) -> Expr {
    match client {
        Some(client) => refusal::Column::ClientId.eq(client),
        None => refusal::Column::ClientId.is_null(),
    }
}

/// Deletes the refusals of a client, or of all unknown clients, beyond the latest ones.
pub(super) async fn delete_oldest_refusals(
    connection: &impl ConnectionTrait,
    client: Option<ClientId>,
    kept: u64,
) -> Result<(), DbErr> {
    use refusal::Column;
    let oldest: Vec<String> = refusal::Entity::find()
        .select_only()
        .column(Column::Digest)
        .filter(refusals_of(client))
        .order_by_desc(Column::LastAt)
        .order_by_desc(Column::Digest)
        .offset(kept)
        .limit(1000)
        .into_tuple()
        .all(connection)
        .await?;
    if !oldest.is_empty() {
        let delete = refusal::Entity::delete_many().filter(Column::Digest.is_in(oldest));
        delete.exec(connection).await?;
    }
    Ok(())
}

/// Returns refusals, the latest first.
pub(super) async fn refusals(
    connection: &impl ConnectionTrait,
    selection: Selection<'_>,
    limit: u64,
) -> Result<Vec<refusal::Model>, DbErr> {
    use refusal::Column;
    let selected = match selection {
        Selection::Client(client) => refusals_of(Some(client.id)),
        Selection::Unknown => refusals_of(None),
        Selection::Reference(reference) => Column::Reference.eq(reference),
    };
    let found = refusal::Entity::find().filter(selected).limit(limit);
    found.order_by_desc(Column::LastAt).order_by_desc(Column::Digest).all(connection).await
}

/// Returns the refusals whose digest begins with a text, or whose latest request has it as its id.
pub(super) async fn refusals_by_digest(
    connection: &impl ConnectionTrait,
    begin: &str,
    limit: u64,
) -> Result<Vec<refusal::Model>, DbErr> {
    use refusal::Column;
    let begins = Column::Digest.gte(begin).and(Column::Digest.lt(format!("{begin}g")));
    let found = refusal::Entity::find().filter(begins.or(Column::Reference.eq(begin)));
    found.order_by_desc(Column::LastAt).limit(limit).all(connection).await
}

/// Deletes some refusals that were last seen before a time. Returns their number.
pub(super) async fn delete_refusals_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    let old = refusal::Column::LastAt.lt(time.millis());
    delete_some::<refusal::Entity>(connection, refusal::Column::Digest, old, max).await
}
