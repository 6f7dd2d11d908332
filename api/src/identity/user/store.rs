//! The tables `user`, `profile`, `former_email`, `pending_email` and `unclaimed`.

use entity::user::{ActiveModel, Column, Entity, Model};
use entity::{UserId, former_email, pending_email, profile, unclaimed};
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait, Func, LikeExpr, LockType, OnConflict, SimpleExpr,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel,
    JoinType, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, SelectTwo, Set,
    Unchanged,
};

use super::{Filter, PasswordHash, User};
use crate::base::clock::Timestamp;
use crate::base::database::{delete_some, rows};
use crate::base::mail_address;

type Row = (Model, Option<profile::Model>);

/// Adds the profile of each user to a query.
fn with_profile(users: Select<Entity>) -> SelectTwo<Entity, profile::Entity> {
    let beside =
        Entity::belongs_to(profile::Entity).from(Column::Id).to(profile::Column::UserId).into();
    users.join(JoinType::LeftJoin, beside).select_also(profile::Entity)
}

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    // An active model that is made from a model inserts nothing until its fields are reset.
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

/// Inserts a row, unless there is one with this address or id.
pub(super) async fn insert_unless_there(
    connection: &impl ConnectionTrait,
    row: Model,
) -> Result<bool, DbErr> {
    let inserted = Entity::insert(row.into_active_model().reset_all())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(connection)
        .await?;
    Ok(inserted == 1)
}

/// Inserts the profile of a user or overwrites it. Deletes it if it would be empty.
pub(super) async fn put_profile(
    connection: &impl ConnectionTrait,
    row: profile::Model,
) -> Result<(), DbErr> {
    let profile::Model { user_id, name, surname, website, scopes } = &row;
    if name.is_none() && surname.is_none() && website.is_none() && scopes.is_none() {
        return profile::Entity::delete_by_id(*user_id).exec(connection).await.map(drop);
    }
    use profile::Column as P;
    let known = OnConflict::column(P::UserId)
        .update_columns([P::Name, P::Surname, P::Website, P::Scopes])
        .to_owned();
    profile::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Row>, DbErr> {
    rows::one(with_profile(Entity::find_by_id(id)), connection).await
}

pub(super) async fn find_emails(
    connection: &impl ConnectionTrait,
    ids: Vec<UserId>,
) -> Result<Vec<(UserId, String)>, DbErr> {
    let found = rows::all(Entity::find().filter(Column::Id.is_in(ids)), connection).await?;
    Ok(found.into_iter().map(|row| (row.id, row.email)).collect())
}

/// Locks a user until the transaction ends, but allows others to insert rows that refer to the user. Otherwise such an
/// insert would wait here while it holds a row that the owner of this lock needs next.
pub(super) async fn find_and_lock(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Row>, DbErr> {
    let user = rows::one(Entity::find_by_id(id).lock(LockType::NoKeyUpdate), connection).await?;
    let Some(user) = user else { return Ok(None) };
    // A separate query: PostgreSQL cannot lock the optional row of an outer join.
    let profile = profile::Entity::find_by_id(id);
    let found = rows::one(profile.clone(), connection).await?;
    // A profile that cannot be read can hold scopes that the user does not have.
    let is_odd = found.is_none() && profile.count(connection).await? > 0;
    Ok((!is_odd).then_some((user, found)))
}

/// Returns the superusers who can sign in, with their addresses.
pub(super) async fn find_superusers(
    connection: &impl ConnectionTrait,
) -> Result<Vec<(UserId, String)>, DbErr> {
    let superusers = Entity::find()
        .filter(Column::IsSuperuser.eq(true))
        .filter(Column::IsActive.eq(true))
        .order_by_asc(Column::Id);
    let found = rows::all(superusers, connection).await?;
    Ok(found.into_iter().map(|row| (row.id, row.email)).collect())
}

/// Returns the superusers who can sign in, and locks them in the order of their ids until the transaction ends.
pub(super) async fn hold_superusers(
    connection: &impl ConnectionTrait,
) -> Result<Vec<UserId>, DbErr> {
    let superusers = Entity::find()
        .filter(Column::IsSuperuser.eq(true))
        .filter(Column::IsActive.eq(true))
        .order_by_asc(Column::Id)
        .lock(LockType::NoKeyUpdate);
    let rows = rows::all(superusers, connection).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

pub(super) async fn delete(connection: &impl ConnectionTrait, id: UserId) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(connection).await.map(drop)
}

/// Returns a text as a part of a pattern that matches only this text.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// Returns users in the order of the unique index on addresses, beginning after the address `after`.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let Filter { contains, is_active, is_superuser, is_verified } = filter;
    let folded = folded_email(connection);
    let mut query = with_profile(Entity::find());
    if let Some(text) = contains {
        // Folds the text as the database folds the columns.
        let text = match connection.get_database_backend() {
            DbBackend::Postgres => text.to_lowercase(),
            _ => text.to_ascii_lowercase(),
        };
        // The text is not a pattern.
        let pattern = LikeExpr::new(format!("%{}%", escaped(&text))).escape('\\');
        let lower = |column: SimpleExpr| SimpleExpr::from(Func::lower(column));
        // The domain of an address can be typed in another spelling than the stored one.
        let typed = mail_address::with_ascii_domain(&text);
        let typed =
            mail_address::ascii_domain(&typed).filter(|_| !text.is_ascii()).unwrap_or(typed);
        let typed = LikeExpr::new(format!("%{}%", escaped(&typed))).escape('\\');
        let name = lower(Expr::col((profile::Entity, profile::Column::Name)));
        let surname = lower(Expr::col((profile::Entity, profile::Column::Surname)));
        query = query.filter(
            Condition::any()
                .add(folded.clone().like(pattern.clone()))
                .add(folded.clone().like(typed))
                .add(name.like(pattern.clone()))
                .add(surname.like(pattern)),
        );
    }
    for (column, wanted) in [
        (Column::IsActive, is_active),
        (Column::IsSuperuser, is_superuser),
        (Column::IsVerified, is_verified),
    ] {
        if let Some(wanted) = wanted {
            query = query.filter(column.eq(*wanted));
        }
    }
    if let Some(after) = after {
        query = query.filter(folded.clone().gt(after.to_ascii_lowercase()));
    }
    rows::first(QueryOrder::order_by(query, folded, Order::Asc), limit, connection).await
}

pub(super) async fn count(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(connection).await
}

/// Returns the address as the unique index contains it.
fn folded_email(connection: &impl ConnectionTrait) -> SimpleExpr {
    match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust(r#"lower("user"."email" collate "C")"#),
        _ => Func::lower(Expr::col((Entity, Column::Email))).into(),
    }
}

/// Finds the users with an address, whose spellings are in lower case. It compares as the unique index does, so that the
/// index is used.
pub(super) async fn find_by_email(
    connection: &impl ConnectionTrait,
    spellings: &[String],
) -> Result<Vec<Row>, DbErr> {
    let column = folded_email(connection);
    let found = Entity::find().filter(column.is_in(spellings.iter().cloned()));
    rows::all(with_profile(found), connection).await
}

pub(super) async fn update(
    connection: &impl ConnectionTrait,
    user: &User,
    hash: Option<PasswordHash>,
) -> Result<(), DbErr> {
    let mut row = ActiveModel {
        id: Unchanged(user.id),
        email: Set(user.email.clone()),
        is_active: Set(user.is_active),
        is_superuser: Set(user.is_superuser),
        is_verified: Set(user.is_verified),
        ..Default::default()
    };
    if let Some(hash) = hash {
        row.hashed_password = Set(hash.expose().to_owned().into());
    }
    row.update(connection).await.map(drop)
}

pub(super) async fn keep_former(
    connection: &impl ConnectionTrait,
    row: former_email::Model,
) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

pub(super) async fn find_former(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Timestamp,
) -> Result<Option<former_email::Model>, DbErr> {
    former_email::Entity::find_by_id(digest)
        .filter(former_email::Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await
}

pub(super) async fn formers_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
    after: Option<(i64, String)>,
    max: u64,
) -> Result<Vec<former_email::Model>, DbErr> {
    use former_email::Column;
    let mut query = former_email::Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::ExpiresAt.gt(now.millis()));
    if let Some((created, digest)) = after {
        query = query.filter(
            Column::CreatedAt
                .gt(created)
                .or(Column::CreatedAt.eq(created).and(Column::Digest.gt(digest))),
        );
    }
    query
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Digest)
        .limit(max)
        .all(connection)
        .await
}

/// Returns true if an address can still take back the account of another user.
pub(super) async fn is_reserved(
    connection: &impl ConnectionTrait,
    spellings: &[String],
    user: UserId,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let column = match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust(r#"lower("former_email"."email" collate "C")"#),
        _ => Func::lower(Expr::col((former_email::Entity, former_email::Column::Email))).into(),
    };
    let found = former_email::Entity::find()
        .filter(column.is_in(spellings.iter().cloned()))
        .filter(former_email::Column::UserId.ne(user))
        .filter(former_email::Column::Verified.eq(true))
        .filter(former_email::Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await?;
    Ok(found.is_some())
}

pub(super) async fn forget_unverified_formers(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<(), DbErr> {
    former_email::Entity::delete_many()
        .filter(former_email::Column::UserId.eq(user))
        .filter(former_email::Column::Verified.eq(false))
        .exec(connection)
        .await
        .map(drop)
}

pub(super) async fn has_former(
    connection: &impl ConnectionTrait,
    user: UserId,
    verified: &[bool],
    now: Timestamp,
) -> Result<bool, DbErr> {
    let found = former_email::Entity::find()
        .filter(former_email::Column::UserId.eq(user))
        .filter(former_email::Column::Verified.is_in(verified.iter().copied()))
        .filter(former_email::Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await?;
    Ok(found.is_some())
}

/// Returns the hashes of some users that do not have this cost.
pub(super) async fn hashes_of_other_costs(
    connection: &impl ConnectionTrait,
    cost: u32,
    max: u64,
) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::HashedPassword)
        .filter(Column::HashedPassword.not_like(format!("$2b${cost:02}$%")))
        .limit(max)
        .into_tuple()
        .all(connection)
        .await
}

pub(super) async fn forget_formers(
    connection: &impl ConnectionTrait,
    user: UserId,
    since: Timestamp,
) -> Result<(), DbErr> {
    former_email::Entity::delete_many()
        .filter(former_email::Column::UserId.eq(user))
        .filter(former_email::Column::CreatedAt.gte(since.millis()))
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes at most `max` previous addresses that expired before an instant. Returns their number.
pub(super) async fn delete_formers_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    let expired = former_email::Column::ExpiresAt.lt(time.millis());
    let key = former_email::Column::Digest;
    delete_some::<former_email::Entity>(connection, key, expired, max).await
}

/// Records that only a mail verified the address of an account, unless that is already recorded.
pub(super) async fn note_unclaimed(
    connection: &impl ConnectionTrait,
    row: unclaimed::Model,
) -> Result<(), DbErr> {
    let known = OnConflict::column(unclaimed::Column::UserId).do_nothing().to_owned();
    unclaimed::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

pub(super) async fn is_unclaimed(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<bool, DbErr> {
    Ok(unclaimed::Entity::find_by_id(user).one(connection).await?.is_some())
}

pub(super) async fn forget_unclaimed(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<(), DbErr> {
    unclaimed::Entity::delete_by_id(user).exec(connection).await.map(drop)
}

pub(super) async fn put_pending(
    connection: &impl ConnectionTrait,
    row: pending_email::Model,
) -> Result<(), DbErr> {
    use pending_email::Column as P;
    let known = OnConflict::column(P::UserId)
        .update_columns([P::Email, P::Digest, P::Bound, P::SessionId, P::CreatedAt, P::ExpiresAt])
        .to_owned();
    pending_email::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

pub(super) async fn find_pending(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Timestamp,
) -> Result<Option<pending_email::Model>, DbErr> {
    pending_email::Entity::find()
        .filter(pending_email::Column::Digest.eq(digest))
        .filter(pending_email::Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await
}

pub(super) async fn pending_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
) -> Result<Option<String>, DbErr> {
    let row = pending_email::Entity::find_by_id(user)
        .filter(pending_email::Column::ExpiresAt.gt(now.millis()))
        .one(connection)
        .await?;
    Ok(row.map(|row| row.email))
}

pub(super) async fn take_pending(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<bool, DbErr> {
    let taken = pending_email::Entity::delete_many()
        .filter(pending_email::Column::Digest.eq(digest))
        .exec(connection)
        .await?;
    Ok(taken.rows_affected == 1)
}

pub(super) async fn forget_pending(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<bool, DbErr> {
    let forgotten = pending_email::Entity::delete_by_id(user).exec(connection).await?;
    Ok(forgotten.rows_affected == 1)
}

/// Deletes at most `max` pending addresses that expired before an instant. Returns their number.
pub(super) async fn delete_pending_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    let expired = pending_email::Column::ExpiresAt.lt(time.millis());
    let key = pending_email::Column::UserId;
    delete_some::<pending_email::Entity>(connection, key, expired, max).await
}

/// Returns the previous addresses that can take a user's account back, the oldest first.
pub(super) async fn former_rows_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<former_email::Model>, DbErr> {
    former_email::Entity::find()
        .filter(former_email::Column::UserId.eq(user))
        .filter(former_email::Column::ExpiresAt.gt(now.millis()))
        .order_by_asc(former_email::Column::CreatedAt)
        .limit(100)
        .all(connection)
        .await
}

pub(super) async fn forget_former(
    connection: &impl ConnectionTrait,
    digest: &str,
) -> Result<(), DbErr> {
    former_email::Entity::delete_by_id(digest).exec(connection).await.map(drop)
}
