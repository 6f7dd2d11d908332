//! The table `replica`.

use entity::ReplicaId;
use entity::replica::{Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, Statement,
};

use crate::base::clock::Timestamp;
use crate::base::database::delete_some;
use crate::base::database::listener::CHANNEL;

/// Inserts a row, or overwrites the existing one.
pub(super) async fn put(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    let known = OnConflict::column(Column::Id)
        .update_columns([Column::Name, Column::Seq, Column::SeenAt, Column::Algorithm])
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(known)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

/// Returns the sum of the last numbers of the revocations and of the notices, read in one statement.
pub(super) async fn last_place(connection: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let sql = "select cast(coalesce((select max(seq) from revocation), 0) \
               + coalesce((select max(seq) from notice), 0) as bigint)";
    let backend = connection.get_database_backend();
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}

pub(super) async fn seen_since(
    connection: &impl ConnectionTrait,
    time: Timestamp,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::SeenAt.gte(time.millis()))
        .order_by_asc(Column::Name)
        .all(connection)
        .await
}

pub(super) async fn delete(connection: &impl ConnectionTrait, id: ReplicaId) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(connection).await.map(drop)
}

/// Deletes at most `max` rows that were last seen before an instant. Returns their number.
pub(super) async fn delete_seen_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Id, Column::SeenAt.lt(time.millis()), max).await
}

/// Tells all servers on the database that there is something new. It must not be a part of a transaction that writes:
/// with a notification, PostgreSQL takes one lock for the whole server until the commit has ended.
pub(super) async fn notify(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    let sql = format!("select pg_notify('{CHANNEL}', '')");
    connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.map(drop)
}
