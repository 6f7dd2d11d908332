//! The table `revocation`.

use entity::revocation::{ActiveModel, Column, Entity, Model, SESSION, TOKEN, USER};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect,
    Set,
};
use tessera_verify::Revocation;

use crate::clock::Time;
use crate::database::delete_some;

/// How many rows one statement inserts: databases bound a statement's parameters.
const ROWS_AT_ONCE: usize = 1000;

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    entries: &[Revocation],
    why: &str,
    now: Time,
) -> Result<(), DbErr> {
    let row = |entry: &Revocation| {
        let (kind, subject, until, at) = match *entry {
            Revocation::Token { jti, until } => (TOKEN, jti, until, now.millis()),
            Revocation::Session { sid, until } => (SESSION, sid, until, now.millis()),
            Revocation::User { sub, issued_by, until } => {
                (USER, sub, until, issued_by.cast_signed())
            }
        };
        ActiveModel {
            seq: NotSet,
            kind: Set(kind.to_owned()),
            subject: Set(subject.to_string()),
            until: Set(until.saturating_mul(1000).cast_signed()),
            why: Set(why.to_owned()),
            at: Set(at),
        }
    };
    for entries in entries.chunks(ROWS_AT_ONCE) {
        Entity::insert_many(entries.iter().map(row)).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// Rows, the latest first; of some kinds alone, if any are given.
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
    if let Some(seq) = seq {
        query = query.filter(Column::Seq.lt(seq));
    }
    query.all(connection).await
}

pub(super) async fn last_seq(connection: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let last: Option<i64> = Entity::find()
        .select_only()
        .column(Column::Seq)
        .order_by_desc(Column::Seq)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await?;
    Ok(last.unwrap_or(0))
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    seq: i64,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(seq).one(connection).await
}

/// The rows after `seq` for these ids.
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

pub(super) async fn delete(connection: &impl ConnectionTrait, seq: i64) -> Result<(), DbErr> {
    Entity::delete_by_id(seq).exec(connection).await.map(drop)
}

/// Inserts a row that says something other than that a token is not accepted.
pub(super) async fn insert_note(
    connection: &impl ConnectionTrait,
    kind: &str,
    subject: String,
    until: i64,
    why: &str,
    now: Time,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        seq: NotSet,
        kind: Set(kind.to_owned()),
        subject: Set(subject),
        until: Set(until),
        why: Set(why.to_owned()),
        at: Set(now.millis()),
    };
    Entity::insert(row).exec_without_returning(connection).await.map(drop)
}

pub(super) async fn after(
    connection: &impl ConnectionTrait,
    seq: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Seq.gt(seq))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(connection)
        .await
}

/// Deletes some rows that nothing needs since an instant; says how many.
pub(super) async fn delete_until(
    connection: &impl ConnectionTrait,
    time: Time,
    most: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Seq, Column::Until.lt(time.millis()), most).await
}
