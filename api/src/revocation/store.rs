//! The table `revocation`.

use entity::revocation::{ActiveModel, Column, Entity, Kind, Model};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect,
    Set,
};
use tessera_verify::Revocation;

use crate::clock::Time;

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    entries: &[Revocation],
    why: &str,
    now: Time,
) -> Result<(), DbErr> {
    let rows = entries.iter().map(|entry| {
        let (kind, subject, until, at) = match *entry {
            Revocation::Token { jti, until } => (Kind::Token, jti, until, now.millis()),
            Revocation::Session { sid, until } => (Kind::Session, sid, until, now.millis()),
            Revocation::User { sub, issued_by, until } => {
                (Kind::User, sub, until, issued_by.cast_signed())
            }
        };
        ActiveModel {
            seq: NotSet,
            kind: Set(kind),
            subject: Set(subject.to_string()),
            until: Set(until.saturating_mul(1000).cast_signed()),
            why: Set(why.to_owned()),
            at: Set(at),
        }
    });
    Entity::insert_many(rows).exec_without_returning(connection).await.map(drop)
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

pub(super) async fn delete_until(
    connection: &impl ConnectionTrait,
    time: Time,
) -> Result<u64, DbErr> {
    let deleted =
        Entity::delete_many().filter(Column::Until.lt(time.millis())).exec(connection).await?;
    Ok(deleted.rows_affected)
}
