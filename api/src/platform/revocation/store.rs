//! The table `revocation`.

use entity::revocation::{ActiveModel, Column, Entity, Model, SESSION, TOKEN, USER};
use entity::{SessionId, feed};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait,
    IntoActiveModel, NotSet, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set, Statement,
};
use tessera_verify::Revocation;

use crate::base::clock::Timestamp;
use crate::base::database::Insert;

/// The number of rows that one statement inserts. Databases limit the number of parameters.
const ROWS_AT_ONCE: usize = 1000;

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    entries: &[Revocation],
    session: Option<SessionId>,
    why: &str,
    now: Timestamp,
) -> Result<(), DbErr> {
    let row = |entry| row_of(entry, session, why, now);
    for entries in entries.chunks(ROWS_AT_ONCE) {
        let rows = entries.iter().map(row).collect::<Result<Vec<_>, DbErr>>()?;
        Entity::insert_many(rows).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// The row of an entry, for a statement that inserts others too.
pub(super) fn insert_of(entry: &Revocation, why: &str, now: Timestamp) -> Result<Insert, DbErr> {
    Ok(Insert::of(&row_of(entry, None, why, now)?))
}

fn row_of(
    entry: &Revocation,
    session: Option<SessionId>,
    why: &str,
    now: Timestamp,
) -> Result<ActiveModel, DbErr> {
    let (kind, subject, until, at) = match entry {
        Revocation::Token { jti, until, .. } => (TOKEN, jti.to_string(), until, now.millis()),
        Revocation::Session { sid, until, .. } => (SESSION, sid.to_string(), until, now.millis()),
        Revocation::User { sub, issued_by, until, .. } => {
            (USER, sub.to_string(), until, issued_by.cast_signed())
        }
        _ => return Err(DbErr::Custom("this kind of revocation cannot be stored".to_owned())),
    };
    Ok(ActiveModel {
        seq: NotSet,
        kind: Set(kind.to_owned()),
        subject: Set(subject),
        until: Set(until.saturating_mul(1000).cast_signed()),
        why: Set(why.to_owned()),
        at: Set(at),
        session_id: Set(session),
    })
}

/// Returns rows, the latest first. With `kinds`, only those of these kinds.
pub(super) async fn before(
    connection: &impl ConnectionTrait,
    kinds: Option<&[&str]>,
    seq: Option<i64>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut query = Entity::find().order_by_desc(Column::Seq).limit(limit);
    if let Some(kinds) = kinds {
        query = query.filter(Column::Kind.is_in(kinds.iter().copied()));
    }
    // A lifted row stays in its place for services that follow the sequence.
    query = query.filter(Column::Until.gt(0));
    if let Some(seq) = seq {
        query = query.filter(Column::Seq.lt(seq));
    }
    query.all(connection).await
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    seq: i64,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(seq).one(connection).await
}

/// Returns the rows after `seq` for these ids.
pub(super) async fn of(
    connection: &impl ConnectionTrait,
    seq: i64,
    subjects: &[String],
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Seq.gt(seq))
        .filter(Column::Subject.is_in(subjects))
        .all(connection)
        .await
}

/// Marks a row as lifted. The row stays, because services keep its place. Returns false if somebody else did.
pub(super) async fn end(connection: &impl ConnectionTrait, seq: i64) -> Result<bool, DbErr> {
    let done = Entity::update_many()
        .col_expr(Column::Until, Expr::value(0_i64))
        .filter(Column::Seq.eq(seq))
        .filter(Column::Until.gt(0))
        .exec(connection)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Returns the rows of a kind and an id that hold.
pub(super) async fn holding(
    connection: &impl ConnectionTrait,
    kind: &str,
    subject: &str,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Kind.eq(kind))
        .filter(Column::Subject.eq(subject))
        .filter(Column::Until.gt(0))
        .order_by_asc(Column::Seq)
        .all(connection)
        .await
}

/// Inserts a copy of a row at the end of the sequence.
pub(super) async fn append(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    let row = ActiveModel { seq: NotSet, ..row.into_active_model().reset_all() };
    Entity::insert(row).exec_without_returning(connection).await.map(drop)
}

/// The part of a row that memory needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) until: i64,
    pub(super) at: i64,
}

impl Row {
    const COLUMNS: [Column; 5] =
        [Column::Seq, Column::Kind, Column::Subject, Column::Until, Column::At];

    /// Returns true if another row with the same number is the same row, and not one of another history of the table. A
    /// lift changes `until`.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.seq, &self.kind, &self.subject, self.at)
            == (other.seq, &other.kind, &other.subject, other.at)
    }

    fn of((seq, kind, subject, until, at): (i64, String, String, i64, i64)) -> Self {
        Self { seq, kind, subject, until, at }
    }
}

impl From<Model> for Row {
    fn from(row: Model) -> Self {
        let Model { seq, kind, subject, until, why: _, at, session_id: _ } = row;
        Self { seq, kind, subject, until, at }
    }
}

/// Returns some rows in the order of the sequence, beginning with `seq` itself.
pub(super) async fn from(
    connection: &impl ConnectionTrait,
    seq: i64,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let rows = Entity::find()
        .select_only()
        .columns(Row::COLUMNS)
        .filter(Column::Seq.gte(seq))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .into_tuple()
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(Row::of).collect())
}

/// Returns the rows from one number to another, both included.
pub(super) async fn between(
    connection: &impl ConnectionTrait,
    first: i64,
    last: i64,
) -> Result<Vec<Row>, DbErr> {
    let rows = Entity::find()
        .select_only()
        .columns(Row::COLUMNS)
        .filter(Column::Seq.between(first, last))
        .order_by_asc(Column::Seq)
        .into_tuple()
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(Row::of).collect())
}

/// Returns the row with the highest number.
pub(super) async fn last(connection: &impl ConnectionTrait) -> Result<Option<Row>, DbErr> {
    let row = Entity::find()
        .select_only()
        .columns(Row::COLUMNS)
        .order_by_desc(Column::Seq)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await?;
    Ok(row.map(Row::of))
}

/// Returns the number of rows that cover tokens until an instant or later, and the lowest number of them in the sequence.
/// It reads only an index.
pub(super) async fn count_lasting(
    connection: &impl ConnectionTrait,
    until: i64,
) -> Result<(i64, Option<i64>), DbErr> {
    let count = Entity::find()
        .select_only()
        .expr(Expr::col(Column::Seq).count())
        .expr(Expr::col(Column::Seq).min())
        .filter(Column::Until.gte(until))
        .into_tuple()
        .one(connection)
        .await?;
    Ok(count.unwrap_or_default())
}

/// Returns some rows up to the number `up_to`, ordered by `until` and number, beginning after `after`. It uses an
/// index, so rows that nobody needs are not read.
pub(super) async fn lasting(
    connection: &impl ConnectionTrait,
    after: (i64, i64),
    up_to: i64,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let place = Expr::tuple([Expr::col(Column::Until), Expr::col(Column::Seq)]);
    let rows = Entity::find()
        .select_only()
        .columns(Row::COLUMNS)
        .filter(place.gt(Expr::tuple([Expr::value(after.0), Expr::value(after.1)])))
        .filter(Column::Seq.lte(up_to))
        .order_by_asc(Column::Until)
        .order_by_asc(Column::Seq)
        .limit(limit)
        .into_tuple()
        .all(connection)
        .await?;
    Ok(rows.into_iter().map(Row::of).collect())
}

/// The state of the sequence, which a server reads before the sequence itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// The epoch; empty before a server has set one.
    pub(super) epoch: String,
    /// The table has every row from this number on.
    pub(super) low: i64,
    /// The time of the database's clock, if it has its own.
    pub(super) clock: Option<Timestamp>,
}

/// Returns the head of the sequence. Its clock is read first: everything that was committed before this time is in the
/// rows that are read later.
///
/// # Errors
///
/// Also if the server is a standby of PostgreSQL: its clock is that of now, but its rows can be old.
pub(super) async fn head(connection: &impl ConnectionTrait) -> Result<Head, DbErr> {
    let backend = connection.get_database_backend();
    let clock = match backend {
        DbBackend::Postgres => {
            "cast(floor(extract(epoch from statement_timestamp()) * 1000) as bigint)"
        }
        _ => "null",
    };
    let standby = match backend {
        DbBackend::Postgres => " where not pg_is_in_recovery()",
        _ => "",
    };
    let sql = format!(
        "select coalesce((select epoch from feed where id = 1), '') as epoch, \
         cast(coalesce((select low from feed where id = 1), 0) as bigint) as low, {clock} as clock{standby}"
    );
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    let Some(row) = row else {
        return Err(DbErr::Custom("the database server is a standby".to_owned()));
    };
    let clock = match backend {
        DbBackend::Postgres => Some(Timestamp::from_millis(row.try_get_by_index(2)?)),
        _ => None,
    };
    Ok(Head { epoch: row.try_get_by_index(0)?, low: row.try_get_by_index(1)?, clock })
}

/// Returns the highest number in the sequence.
pub(super) async fn last_seq(connection: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let last = Entity::find()
        .select_only()
        .expr(Expr::col(Column::Seq).max())
        .into_tuple::<Option<i64>>()
        .one(connection)
        .await?;
    Ok(last.flatten().unwrap_or_default())
}

/// Returns the time of the database's clock, if it has its own.
pub(super) async fn clock(connection: &impl ConnectionTrait) -> Result<Option<Timestamp>, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    let now = "select cast(extract(epoch from statement_timestamp()) * 1000 as bigint)";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, now)).await?;
    row.map(|row| row.try_get_by_index(0).map(Timestamp::from_millis)).transpose()
}

/// Returns the number of tokens of a session that were revoked singly and may still be valid.
pub(super) async fn count_alone(
    connection: &impl ConnectionTrait,
    session: SessionId,
    now: Timestamp,
) -> Result<u64, DbErr> {
    Entity::find()
        .filter(Column::SessionId.eq(session))
        .filter(Column::Until.gt(now.millis()))
        .count(connection)
        .await
}

pub(super) async fn feed(connection: &impl ConnectionTrait) -> Result<Option<feed::Model>, DbErr> {
    feed::Entity::find_by_id(feed::ONLY).one(connection).await
}

/// Inserts the row, or overwrites the existing one. `low` stays: a purge at the same time may have raised it.
pub(super) async fn put_feed(
    connection: &impl ConnectionTrait,
    row: feed::Model,
) -> Result<(), DbErr> {
    let known = OnConflict::column(feed::Column::Id)
        .update_columns([feed::Column::Longest, feed::Column::LongestUntil, feed::Column::Epoch])
        .to_owned();
    feed::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

/// Deletes at most `max` rows before the number `place` that nothing has needed since an instant. Returns their number.
/// Notes first from which number on the table has every row.
pub(super) async fn delete_until(
    connection: &impl ConnectionTrait,
    (time, place): (Timestamp, i64),
    max: u64,
) -> Result<u64, DbErr> {
    let past = Condition::all()
        .add(Column::Until.lt(time.millis()))
        .add(Column::At.lt(time.millis()))
        .add(Column::Seq.lt(place));
    let some: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Seq)
        .filter(past)
        .order_by_asc(Column::Seq)
        .limit(max)
        .into_tuple()
        .all(connection)
        .await?;
    let Some(last) = some.last() else { return Ok(0) };
    feed::Entity::update_many()
        .col_expr(feed::Column::Low, Expr::value(last + 1))
        .filter(feed::Column::Low.lte(*last))
        .exec(connection)
        .await?;
    let some = Column::Seq.is_in(some);
    let deleted = Entity::delete_many().filter(some).exec(connection).await?;
    Ok(deleted.rows_affected)
}
