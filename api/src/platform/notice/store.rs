//! The table `notice`.

use entity::notice::{ActiveModel, Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, NotSet, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

use super::Kind;
use crate::base::clock::Timestamp;
use crate::base::database::delete_some;

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    kinds: &[Kind],
    now: Timestamp,
) -> Result<(), DbErr> {
    let row = |kind: &Kind| ActiveModel {
        seq: NotSet,
        kind: Set(kind.0.to_owned()),
        at: Set(now.millis()),
    };
    Entity::insert_many(kinds.iter().map(row)).exec_without_returning(connection).await.map(drop)
}

/// Returns some rows, beginning with `seq` itself: their numbers and kinds, in the order of the sequence.
pub(super) async fn from(
    connection: &impl ConnectionTrait,
    seq: i64,
    limit: u64,
) -> Result<Vec<(i64, String)>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::Seq, Column::Kind])
        .filter(Column::Seq.gte(seq))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .into_tuple()
        .all(connection)
        .await
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

pub(super) async fn delete_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    let last = Query::select().expr(Expr::col(Column::Seq).max()).from(Entity).to_owned();
    let past =
        Condition::all().add(Column::At.lt(time.millis())).add(Column::Seq.not_in_subquery(last));
    delete_some::<Entity>(connection, Column::Seq, past, max).await
}
