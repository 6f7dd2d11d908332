//! The queries of imports, which take many users at once.

use std::collections::HashSet;

use entity::imported_user::{Column as Imported, Entity as ImportedUser, Model as OriginRow};
use entity::user::{Column, Entity, Model};
use entity::{UserId, former_email, profile};
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, Statement, Value,
};

use crate::base::clock::Timestamp;
use crate::base::database::rows;
use crate::identity::user::store::folded_email;

/// The number of rows that one statement writes. Databases limit the number of values in a statement.
const AT_ONCE: usize = 1000;

/// Inserts users, except those whose address or id is there. Returns the ids of the inserted ones.
pub(super) async fn insert_those_missing(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<HashSet<UserId>, DbErr> {
    let mut inserted = HashSet::new();
    let mut rows = rows.into_iter().map(|row| row.into_active_model().reset_all()).peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        let missing = OnConflict::new().do_nothing().to_owned();
        let mut insert = Entity::insert_many(some).on_conflict(missing).into_query();
        insert.returning_col(Column::Id);
        let statement = connection.get_database_backend().build(&insert);
        for row in connection.query_all_raw(statement).await? {
            inserted.insert(row.try_get::<UserId>("", "id")?);
        }
    }
    Ok(inserted)
}

pub(super) async fn delete_all(
    connection: &impl ConnectionTrait,
    users: impl Iterator<Item = UserId>,
) -> Result<(), DbErr> {
    Entity::delete_many().filter(Column::Id.is_in(users)).exec(connection).await.map(drop)
}

/// Returns those of some addresses, in lower case, that users have.
pub(super) async fn known_among(
    connection: &impl ConnectionTrait,
    emails: Vec<String>,
) -> Result<HashSet<String>, DbErr> {
    let folded = folded_email(connection.get_database_backend());
    let mut known = HashSet::new();
    for some in emails.chunks(AT_ONCE) {
        let users = Entity::find().select_only().column_as(folded.clone(), "email");
        let found = users.filter(folded.clone().is_in(some)).into_tuple();
        known.extend(found.all(connection).await?.into_iter().collect::<Vec<String>>());
    }
    Ok(known)
}

/// Returns those of some addresses, in lower case, that can still take back an account.
pub(super) async fn reserved_among(
    connection: &impl ConnectionTrait,
    spellings: Vec<String>,
    now: Timestamp,
) -> Result<Vec<String>, DbErr> {
    use former_email::Column as F;
    let folded = match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust(r#"lower("former_email"."email" collate "C")"#),
        _ => Func::lower(Expr::col((former_email::Entity, F::Email))).into(),
    };
    former_email::Entity::find()
        .select_only()
        .expr(folded.clone())
        .filter(folded.is_in(spellings))
        .filter(F::Verified.eq(true))
        .filter(F::ExpiresAt.gt(now.millis()))
        .into_tuple()
        .all(connection)
        .await
}

pub(super) async fn insert_profiles(
    connection: &impl ConnectionTrait,
    rows: Vec<profile::Model>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter().map(|row| row.into_active_model().reset_all()).peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        profile::Entity::insert_many(some).exec_without_returning(connection).await?;
    }
    Ok(())
}

pub(super) async fn insert_origins(
    connection: &impl ConnectionTrait,
    rows: Vec<OriginRow>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter().map(|row| row.into_active_model().reset_all()).peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        ImportedUser::insert_many(some).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// Returns the origins with one of these digests or ids.
pub(super) async fn find_origins(
    connection: &impl ConnectionTrait,
    digests: Vec<String>,
    ids: Vec<String>,
) -> Result<Vec<OriginRow>, DbErr> {
    let by_digest = ImportedUser::find().filter(Imported::Digest.is_in(digests));
    let mut found = rows::all(by_digest, connection).await?;
    if !ids.is_empty() {
        let by_id = ImportedUser::find().filter(Imported::ExternalId.is_in(ids));
        found.extend(rows::all(by_id, connection).await?);
    }
    Ok(found)
}

pub(super) async fn origins_of(
    connection: &impl ConnectionTrait,
    users: Vec<UserId>,
) -> Result<Vec<OriginRow>, DbErr> {
    rows::all(ImportedUser::find().filter(Imported::UserId.is_in(users)), connection).await
}

pub(super) async fn note_invited(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
) -> Result<(), DbErr> {
    ImportedUser::update_many()
        .col_expr(Imported::InvitedAt, Expr::value(now.millis()))
        .filter(Imported::UserId.eq(user))
        .exec(connection)
        .await
        .map(drop)
}

/// The ids of the users who had this id in the system that they were imported from.
pub(in crate::identity::user) fn those_with_id(id: &str) -> SelectStatement {
    ImportedUser::find()
        .select_only()
        .column(Imported::UserId)
        .filter(Imported::ExternalId.eq(id))
        .into_query()
}

/// Writes the texts of users that a search finds, in one statement for many.
pub(in crate::identity::user) async fn put_searches(
    connection: &impl ConnectionTrait,
    texts: Vec<(UserId, String)>,
) -> Result<(), DbErr> {
    for some in texts.chunks(AT_ONCE) {
        let values: Vec<Value> =
            some.iter().flat_map(|(id, text)| [(*id).into(), text.as_str().into()]).collect();
        let places: Vec<_> =
            (0..some.len()).map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2)).collect();
        let sql = format!(
            "with written (id, words) as (values {}) update user_search set text = words \
             from written where user_id = written.id",
            places.join(", ")
        );
        let backend = connection.get_database_backend();
        connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    Ok(())
}

/// Returns the hashes that do not have this cost, of some users in the order of their ids.
pub(super) async fn hashes_of_other_costs(
    connection: &impl ConnectionTrait,
    cost: u32,
    after: Option<UserId>,
    max: u64,
) -> Result<Vec<(UserId, String)>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::Id, Column::HashedPassword])
        .filter(Column::HashedPassword.not_like(format!("$2b${cost:02}$%")))
        .apply_if(after, |users, after| users.filter(Column::Id.gt(after)))
        .order_by_asc(Column::Id)
        .limit(max)
        .into_tuple()
        .all(connection)
        .await
}
