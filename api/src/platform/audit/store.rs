//! The table `audit`. Only `insert` writes to it.

use entity::audit::{Column, Entity, Model};
use entity::audit_pending;
use sea_orm::sea_query::{Asterisk, Expr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder, QueryResult, QuerySelect,
    QueryTrait, Select, Statement,
};

use super::Filter;
use crate::base::clock::MILLIS_OF_A_DAY;
use crate::base::database::{rows, try_lock_audit};

/// The number of rows that one statement inserts. Databases limit the number of values in a statement.
const AT_ONCE: usize = 1000;

pub(super) async fn last(connection: &impl ConnectionTrait) -> Result<Option<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Seq).one(connection).await
}

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter().map(|row| row.into_active_model().reset_all()).peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        Entity::insert_many(some).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// Inserts entries that are not sealed yet.
pub(super) async fn insert_pending(
    connection: &impl ConnectionTrait,
    rows: Vec<audit_pending::ActiveModel>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        audit_pending::Entity::insert_many(some).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// The statement that inserts such entries.
pub(super) fn statement(backend: DbBackend, rows: Vec<audit_pending::ActiveModel>) -> Statement {
    audit_pending::Entity::insert_many(rows).build(backend)
}

/// The instant of the entry that has been pending the longest.
pub(super) async fn oldest_pending(
    connection: &impl ConnectionTrait,
) -> Result<Option<i64>, DbErr> {
    audit_pending::Entity::find()
        .select_only()
        .column(audit_pending::Column::At)
        .order_by_asc(audit_pending::Column::Id)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await
}

/// Deletes the first pending entries, and returns them in the order of their ids.
pub(super) async fn take_pending(
    connection: &impl ConnectionTrait,
    max: u64,
) -> Result<Vec<audit_pending::Model>, DbErr> {
    let first = audit_pending::Entity::find()
        .select_only()
        .column(audit_pending::Column::Id)
        .order_by_asc(audit_pending::Column::Id)
        .limit(max)
        .into_query();
    let mut taken = audit_pending::Entity::delete_many()
        .filter(audit_pending::Column::Id.in_subquery(first))
        .exec_with_returning(connection)
        .await?;
    taken.sort_unstable_by_key(|entry| entry.id);
    Ok(taken)
}

/// Keeps other replicas from sealing until the transaction ends. Returns false, without waiting, if another replica is
/// sealing.
pub(super) async fn try_lock(transaction: &DatabaseTransaction) -> Result<bool, DbErr> {
    try_lock_audit(transaction).await
}

/// Returns the first and the last instant of each of these actions on each of these subjects.
pub(super) async fn spans(
    connection: &impl ConnectionTrait,
    acts: Vec<&str>,
    subjects: Vec<String>,
) -> Result<Vec<(String, String, i64, i64)>, DbErr> {
    let found = Entity::find()
        .select_only()
        .columns([Column::Subject, Column::Act])
        .column_as(Column::At.min(), "first")
        .column_as(Column::At.max(), "last")
        .filter(Column::Subject.is_in(subjects))
        .filter(Column::Act.is_in(acts))
        .group_by(Column::Subject)
        .group_by(Column::Act)
        .build(connection.get_database_backend());
    // A time that cannot be read is left out.
    let get = |row: &QueryResult| -> Result<_, DbErr> {
        let name = |index| row.try_get_by_index::<String>(index);
        let time = |index| row.try_get_by_index::<i64>(index);
        Ok((name(0)?, name(1)?, time(2)?, time(3)?))
    };
    let rows = connection.query_all_raw(found).await?;
    Ok(rows.iter().filter_map(|row| get(row).ok()).collect())
}

pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let Filter { act, actor, subject, since, before, oldest_first, after, limit: _ } = filter;
    let mut query = Entity::find();
    for (column, wanted) in [(Column::Act, act), (Column::Actor, actor), (Column::Subject, subject)]
    {
        if let Some(wanted) = wanted {
            query = query.filter(column.eq(wanted));
        }
    }
    if let Some(since) = since {
        query = query.filter(Column::At.gte(*since));
    }
    if let Some(before) = before {
        query = query.filter(Column::At.lt(*before));
    }
    query = match (after, oldest_first) {
        (Some(after), true) => query.filter(Column::Seq.gt(*after)),
        (Some(after), false) => query.filter(Column::Seq.lt(*after)),
        (None, _) => query,
    };
    query = if *oldest_first {
        query.order_by_asc(Column::Seq)
    } else {
        query.order_by_desc(Column::Seq)
    };
    rows::first(query, limit, connection).await
}

pub(super) async fn last_of(
    connection: &impl ConnectionTrait,
    act: &str,
) -> Result<Option<i64>, DbErr> {
    let found = Entity::find().filter(Column::Act.eq(act)).order_by_desc(Column::Seq);
    Ok(found.one(connection).await?.map(|row| row.seq))
}

/// Returns the latest actions on a subject, the latest first.
pub(super) async fn latest_about(
    connection: &impl ConnectionTrait,
    name: &str,
    max: u64,
) -> Result<Vec<Model>, DbErr> {
    let latest = Entity::find().filter(Column::Subject.eq(name)).order_by_desc(Column::Seq);
    rows::first(latest, max, connection).await
}

/// Counts actions for each day from an instant on. Returns the action, the number of the day since the epoch, and the
/// count.
pub(super) async fn per_day(
    connection: &impl ConnectionTrait,
    acts: Vec<&str>,
    since: i64,
) -> Result<Vec<(String, i64, i64)>, DbErr> {
    // Integers divide to integers in both databases. There are no parameters, because with them PostgreSQL would not
    // recognise the expression in `group by`.
    let day = Expr::cust(format!("\"at\" / {MILLIS_OF_A_DAY}"));
    Entity::find()
        .select_only()
        .column(Column::Act)
        .column_as(day.clone(), "day")
        // Counts whole rows, so that an index of action and time is enough.
        .column_as(Expr::col(Asterisk).count(), "often")
        .filter(Column::At.gte(since))
        .filter(Column::Act.is_in(acts))
        .group_by(Column::Act)
        .group_by(day)
        .into_tuple()
        .all(connection)
        .await
}

/// Returns some actions on a subject, the oldest first, with numbers greater than `after` and at most `until`.
pub(super) async fn on(
    connection: &impl ConnectionTrait,
    name: &str,
    after: i64,
    until: i64,
    max: u64,
) -> Result<Vec<Model>, DbErr> {
    let about = Entity::find().filter(Column::Subject.eq(name));
    rows::first(between(about, after, until), max, connection).await
}

/// Returns some actions by an actor, the oldest first, with numbers greater than `after` and at most `until`.
pub(super) async fn by(
    connection: &impl ConnectionTrait,
    name: &str,
    after: i64,
    until: i64,
    max: u64,
) -> Result<Vec<Model>, DbErr> {
    let by = Entity::find().filter(Column::Actor.eq(name));
    rows::first(between(by, after, until), max, connection).await
}

fn between(rows: Select<Entity>, after: i64, until: i64) -> Select<Entity> {
    rows.filter(Column::Seq.gt(after)).filter(Column::Seq.lte(until)).order_by_asc(Column::Seq)
}
