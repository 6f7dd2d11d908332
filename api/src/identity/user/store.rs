//! The tables `user`, `profile`, `former_email`, `pending_email` and `unclaimed`.

use entity::user::{ActiveModel, Column, Entity, Model};
use entity::{UserId, former_email, pending_email, profile, unclaimed, user_search};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Func, LockType, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel,
    JoinType, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, SelectTwo, Set,
    Unchanged,
};

use super::imported::store::those_with_id;
use super::{Filter, PasswordHash, User, search};
use crate::base::clock::Timestamp;
use crate::base::database::{delete_some, rows};

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

/// Inserts the profile of a user or overwrites it. Deletes it if it would be empty.
pub(super) async fn put_profile(
    connection: &impl ConnectionTrait,
    row: profile::Model,
) -> Result<(), DbErr> {
    let profile::Model { user_id, name, surname, website, scopes, language } = &row;
    if [name, surname, website, scopes, language].iter().all(|column| column.is_none()) {
        return profile::Entity::delete_by_id(*user_id).exec(connection).await.map(drop);
    }
    use profile::Column as P;
    let known = OnConflict::column(P::UserId)
        .update_columns([P::Name, P::Surname, P::Website, P::Scopes, P::Language])
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

/// Returns the superusers who can sign in.
pub(super) async fn find_superusers(connection: &impl ConnectionTrait) -> Result<Vec<Row>, DbErr> {
    let superusers = Entity::find()
        .filter(Column::IsSuperuser.eq(true))
        .filter(Column::IsActive.eq(true))
        .order_by_asc(Column::Id);
    rows::all(with_profile(superusers), connection).await
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

/// Writes the text of a user that a search finds.
pub(super) async fn put_search(
    connection: &impl ConnectionTrait,
    user: UserId,
    text: String,
) -> Result<(), DbErr> {
    user_search::Entity::update_many()
        .col_expr(user_search::Column::Text, Expr::value(text))
        .filter(user_search::Column::UserId.eq(user))
        .exec(connection)
        .await
        .map(drop)
}

/// The number of users among whom a search looks first, in the order of their addresses. If many users have the text,
/// those fill a page.
const LOOKED_AT_FIRST: u64 = 3000;

/// Returns users in the order of the unique index on addresses, beginning after the address `after`.
///
/// A search looks at the next users in this order, and then for all users with the text, by an index. So it is fast for
/// frequent and for rare texts. Texts of one or two characters have no index.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let backend = connection.get_database_backend();
    let listed = listed(backend, filter, after);
    let Some(text) = &filter.contains else {
        return rows::first(in_order(backend, listed), limit, connection).await;
    };
    let texts = search::spellings(text);
    let found = with_one_of(backend, listed, &texts, text);
    let end = next_address(connection, after, LOOKED_AT_FIRST).await?;
    let near = end.clone().map(|end| found.clone().filter(folded_email(backend).lte(end)));
    let near = in_order(backend, near.unwrap_or_else(|| found.clone()));
    let users = rows::first(near, limit, connection).await?;
    if end.is_none() || u64::try_from(users.len()).is_ok_and(|count| count >= limit) {
        return Ok(users);
    }
    let all = by_index(backend, found.clone(), &texts, text);
    rows::first(all.unwrap_or_else(|| in_order(backend, found)), limit, connection).await
}

/// The users with the flags of a filter, beginning after an address.
fn listed(backend: DbBackend, filter: &Filter, after: Option<&str>) -> Select<Entity> {
    let flags = [
        (Column::IsActive, filter.is_active),
        (Column::IsSuperuser, filter.is_superuser),
        (Column::IsVerified, filter.is_verified),
    ];
    let users = flags.into_iter().fold(Entity::find(), |users, (column, wanted)| match wanted {
        Some(wanted) => users.filter(column.eq(wanted)),
        None => users,
    });
    match after {
        Some(after) => users.filter(folded_email(backend).gt(after.to_ascii_lowercase())),
        None => users,
    }
}

/// Only those of some users who have one of these folded texts in their address, name or surname, or who had this id
/// elsewhere.
fn with_one_of(
    backend: DbBackend,
    users: Select<Entity>,
    texts: &[String],
    id: &str,
) -> Select<Entity> {
    let beside = Entity::belongs_to(user_search::Entity)
        .from(Column::Id)
        .to(user_search::Column::UserId)
        .into();
    // A function, because PostgreSQL would expect few users with a pattern, and would read all texts to find them.
    let has = match backend {
        DbBackend::Postgres => r#"strpos("user_search"."text", $1) > 0"#,
        _ => r#"instr("user_search"."text", ?) > 0"#,
    };
    let one_of = texts.iter().map(|text| Expr::cust_with_values(has, [text.clone()]));
    let had_id = Column::Id.in_subquery(those_with_id(id));
    let found = one_of.fold(Condition::any(), Condition::add).add(had_id);
    users.join(JoinType::InnerJoin, beside).filter(found)
}

fn in_order(backend: DbBackend, users: Select<Entity>) -> SelectTwo<Entity, profile::Entity> {
    QueryOrder::order_by(with_profile(users), folded_email(backend), Order::Asc)
}

/// Finds users with one of these folded texts by the index of parts of texts, or with this id by the index of ids.
/// Returns `None` if a text is shorter than a part.
fn by_index(
    backend: DbBackend,
    users: Select<Entity>,
    texts: &[String],
    id: &str,
) -> Option<SelectTwo<Entity, profile::Entity>> {
    let mut candidates = Condition::any();
    for text in texts {
        let parts = search::parts(text)?;
        candidates = candidates.add(match backend {
            DbBackend::Postgres => {
                let has_parts = r#"search_parts("user_search"."text") @> search_parts($1)"#;
                Expr::cust_with_values(has_parts, [text.clone()])
            }
            _ => {
                let has_parts = r#""user_search"."number" in (select rowid from user_search_index
                    where user_search_index match ?)"#;
                Expr::cust_with_values(has_parts, [parts])
            }
        });
    }
    candidates = candidates.add(match backend {
        // The list is made once, so that PostgreSQL can use both indexes.
        DbBackend::Postgres => {
            let had_id = r#""user_search"."user_id" = any (array(
                select user_id from imported_user where external_id = $1))"#;
            Expr::cust_with_values(had_id, [id])
        }
        _ => {
            let had_id = r#""user_search"."number" in (select number from user_search
                where user_id in (select user_id from imported_user where external_id = ?))"#;
            Expr::cust_with_values(had_id, [id])
        }
    });
    // No index has this order. So the database looks up the users that it finds, and does not read all in order.
    let order = match backend {
        DbBackend::Postgres => r#"lower("user"."email" collate "C") || ''"#,
        _ => r#"lower("user"."email") || ''"#,
    };
    let users = with_profile(users.filter(candidates));
    Some(QueryOrder::order_by(users, Expr::cust(order), Order::Asc))
}

/// Returns the address at a place behind `after`, in the order of the index. `None` if there are fewer.
async fn next_address(
    connection: &impl ConnectionTrait,
    after: Option<&str>,
    place: u64,
) -> Result<Option<String>, DbErr> {
    let backend = connection.get_database_backend();
    let next = listed(backend, &Filter::default(), after)
        .select_only()
        .expr(folded_email(backend))
        .limit(1)
        .offset(place.saturating_sub(1));
    QueryOrder::order_by(next, folded_email(backend), Order::Asc).into_tuple().one(connection).await
}

pub(super) async fn count(connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(connection).await
}

/// Returns the address as the unique index contains it.
pub(super) fn folded_email(backend: DbBackend) -> SimpleExpr {
    match backend {
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
    let column = folded_email(connection.get_database_backend());
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

#[cfg(test)]
mod tests {
    use sea_orm::{Database, FromQueryResult, QueryTrait, Statement, TransactionTrait};

    use super::*;

    #[derive(FromQueryResult)]
    struct Step {
        detail: String,
    }

    /// The steps in which SQLite answers a query, on tables without any statistics.
    async fn plan(connection: &impl ConnectionTrait, query: &impl QueryTrait) -> String {
        let sql = query.build(DbBackend::Sqlite).to_string();
        let explain =
            Statement::from_string(DbBackend::Sqlite, format!("explain query plan {sql}"));
        let steps = Step::find_by_statement(explain).all(connection).await.unwrap();
        steps.into_iter().map(|step| step.detail).collect::<Vec<_>>().join("; ")
    }

    #[tokio::test]
    async fn sqlite_lists_and_finds_users_by_an_index() {
        let connection = Database::connect("sqlite::memory:").await.unwrap();
        let transaction = connection.begin().await.unwrap();
        migration::up(&transaction).await.unwrap();
        let backend = DbBackend::Sqlite;
        let of = |filter: &Filter| in_order(backend, listed(backend, filter, Some("a"))).limit(9);
        for (filter, index) in [
            (Filter::default(), "ix_user_email"),
            (Filter { is_active: Some(false), ..Filter::default() }, "ix_user_is_active_email"),
            (
                Filter { is_superuser: Some(true), ..Filter::default() },
                "ix_user_is_superuser_email",
            ),
            (Filter { is_verified: Some(true), ..Filter::default() }, "ix_user_is_verified_email"),
        ] {
            let plan = plan(&transaction, &of(&filter)).await;
            assert!(plan.starts_with(&format!("SEARCH user USING INDEX {index} ")), "{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
        }
        let texts = ["müller".to_owned()];
        let found = with_one_of(backend, listed(backend, &Filter::default(), None), &texts, "17");
        let near = in_order(backend, found.clone().filter(folded_email(backend).lte("z")));
        let near = plan(&transaction, &near.limit(9)).await;
        assert!(near.starts_with("SEARCH user USING INDEX ix_user_email "), "{near}");
        assert!(!near.contains("SCAN"), "{near}");
        let found = by_index(backend, found, &texts, "17").unwrap();
        let found = plan(&transaction, &found.limit(9)).await;
        assert!(found.contains("SEARCH user_search USING INTEGER PRIMARY KEY"), "{found}");
        assert!(found.contains("VIRTUAL TABLE INDEX") && !found.contains("SCAN user;"), "{found}");
    }
}
