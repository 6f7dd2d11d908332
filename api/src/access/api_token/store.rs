//! The table `api_token`.

use entity::api_token::{ActiveModel, Column, Entity, Model};
use entity::{ApiTokenId, PrincipalId, UserId};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::Secret;
use crate::base::clock::Timestamp;
use crate::base::database::{delete_some, rows};

/// The number of rows that one statement deletes.
const ROWS_AT_ONCE: usize = 1000;

/// Inserts a row unless its secret exists already. Returns true if it did.
pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<bool, DbErr> {
    let unless_known = OnConflict::column(Column::Digest).do_nothing().to_owned();
    let inserted = Entity::insert(row.into_active_model().reset_all())
        .on_conflict(unless_known)
        .exec_without_returning(connection)
        .await?;
    Ok(inserted == 1)
}

pub(super) async fn update(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    let id = row.id;
    let mut changed: ActiveModel = row.into_active_model().reset_all();
    changed.id = sea_orm::Unchanged(id);
    changed.update(connection).await
}

pub(super) async fn find_by_digest(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<Option<Model>, DbErr> {
    rows::one(Entity::find().filter(Column::Digest.eq(digest)), connection).await
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: ApiTokenId,
    owner: Option<PrincipalId>,
) -> Result<Option<Model>, DbErr> {
    rows::one(of(Entity::find_by_id(id), owner), connection).await
}

/// Locks a row until the transaction ends. Returns true if it exists.
pub(crate) async fn lock(connection: &impl ConnectionTrait, id: ApiTokenId) -> Result<bool, DbErr> {
    Ok(rows::one(Entity::find_by_id(id).lock_exclusive(), connection).await?.is_some())
}

/// The owner of the selected tokens, if there are any.
pub(crate) async fn owner(
    connection: &impl ConnectionTrait,
    selection: &Selection,
) -> Result<Option<PrincipalId>, DbErr> {
    if let Selection::Owner(owner) = selection {
        return Ok(Some(*owner));
    }
    Ok(rows::one(selection.find(), connection).await?.as_ref().and_then(owner_of))
}

/// The owners of some API tokens, and how people recognise the tokens: by their names, or by the beginnings of their
/// secrets.
pub(super) async fn labels(
    connection: &impl ConnectionTrait,
    ids: Vec<ApiTokenId>,
) -> Result<Vec<(ApiTokenId, PrincipalId, String)>, DbErr> {
    let rows = rows::all(Entity::find().filter(Column::Id.is_in(ids)), connection).await?;
    let label = |row: Model| {
        let owner = owner_of(&row)?;
        Some((row.id, owner, row.name.unwrap_or_else(|| format!("{}…", row.prefix))))
    };
    Ok(rows.into_iter().filter_map(label).collect())
}

fn owner_of(row: &Model) -> Option<PrincipalId> {
    let service = row.service_id.map(PrincipalId::Service);
    row.user_id.map(PrincipalId::User).or(service)
}

/// The number of an owner's tokens that have not expired.
pub(super) async fn count(
    connection: &impl ConnectionTrait,
    owner: PrincipalId,
    now: Timestamp,
) -> Result<u64, DbErr> {
    alive(Some(owner), now).count(connection).await
}

/// A user's tokens that have not expired, newest first.
pub(super) async fn live(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
    max: u64,
) -> Result<Vec<Model>, DbErr> {
    let tokens = alive(Some(PrincipalId::User(user)), now)
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id);
    rows::first(tokens, max, connection).await
}

fn alive(owner: Option<PrincipalId>, now: Timestamp) -> Select<Entity> {
    of(Entity::find(), owner)
        .filter(Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now.millis())))
}

/// Tokens of an owner, or of all owners, newest first, from a cursor on.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    owner: Option<PrincipalId>,
    after: Option<(i64, ApiTokenId)>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = of(Entity::find(), owner);
    if let Some((created, id)) = after {
        query = query.filter(
            Column::CreatedAt.lt(created).or(Column::CreatedAt.eq(created).and(Column::Id.lt(id))),
        );
    }
    let query = query.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
    rows::first(query, limit, connection).await
}

pub(super) async fn count_all(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(connection).await
}

/// A selection of API tokens.
pub(crate) enum Selection {
    /// The token with this id, if it belongs to this owner.
    Id(ApiTokenId, Option<PrincipalId>),
    /// The token with this secret, if it belongs to this owner.
    Secret(Secret, Option<PrincipalId>),
    /// All tokens of this owner.
    Owner(PrincipalId),
}

impl Selection {
    fn find(&self) -> Select<Entity> {
        let (find, owner) = match self {
            Self::Id(id, owner) => (Entity::find_by_id(*id), *owner),
            Self::Secret(secret, owner) => {
                let digest = secret.digest().to_string();
                (Entity::find().filter(Column::Digest.eq(digest)), *owner)
            }
            Self::Owner(owner) => (Entity::find(), Some(*owner)),
        };
        of(find, owner)
    }
}

/// Deletes the selected rows. Returns their ids and owners.
pub(super) async fn delete(
    connection: &impl ConnectionTrait,
    selection: &Selection,
) -> Result<Vec<(ApiTokenId, PrincipalId)>, DbErr> {
    // Locked in the same order by everyone, so that two deletions of the same rows do not deadlock.
    let found = selection.find().order_by_asc(Column::Id).lock_exclusive();
    let rows = rows::all(found, connection).await?;
    let deleted: Vec<_> = rows.iter().filter_map(|row| Some((row.id, owner_of(row)?))).collect();
    // Databases limit the number of parameters of a statement, and expired tokens do not count towards a user's limit.
    for some in deleted.chunks(ROWS_AT_ONCE) {
        let ids = some.iter().map(|(id, _)| *id);
        Entity::delete_many().filter(Column::Id.is_in(ids)).exec(connection).await?;
    }
    Ok(deleted)
}

/// Writes the time of a use, unless a use was written within the minute before.
pub(super) async fn note_use(
    connection: &impl ConnectionTrait,
    id: ApiTokenId,
    at: Timestamp,
) -> Result<(), DbErr> {
    let minute_before = at.minus_seconds(60).millis();
    Entity::update_many()
        .col_expr(Column::LastUsedAt, Expr::value(at.millis()))
        .filter(Column::Id.eq(id))
        .filter(Column::LastUsedAt.is_null().or(Column::LastUsedAt.lte(minute_before)))
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes some rows that expired before a time. Returns their number.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Id, Column::ExpiresAt.lt(time.millis()), max).await
}

fn of<Q: QueryFilter>(query: Q, owner: Option<PrincipalId>) -> Q {
    match owner {
        Some(PrincipalId::User(id)) => query.filter(Column::UserId.eq(id)),
        Some(PrincipalId::Service(id)) => query.filter(Column::ServiceId.eq(id)),
        None => query,
    }
}
