//! The table `audit`: only `insert` writes it.

use entity::audit::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::Filter;

pub(super) async fn last(connection: &impl ConnectionTrait) -> Result<Option<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Seq).one(connection).await
}

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<(), DbErr> {
    let rows = rows.into_iter().map(|row| row.into_active_model().reset_all());
    Entity::insert_many(rows).exec_without_returning(connection).await.map(drop)
}

pub(super) async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let Filter { act, actor, subject, since, oldest_first, after, limit: _ } = filter;
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
    query.limit(limit).all(connection).await
}

/// Everything by somebody or on them.
pub(super) async fn about(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Condition::any().add(Column::Subject.eq(name)).add(Column::Actor.eq(name)))
        .order_by_asc(Column::Seq)
        .all(connection)
        .await
}
