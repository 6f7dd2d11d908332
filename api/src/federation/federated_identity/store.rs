//! The table `federated_identity`.

use entity::federated_identity::{Column, Entity, Model};
use entity::{FederatedIdentityId, UserId, session, session_identity};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder,
};

use crate::base::clock::Timestamp;
use crate::base::database::rows;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

pub(super) async fn by_subject(
    connection: &impl ConnectionTrait,
    upstream: &str,
    subject: &str,
) -> Result<Option<Model>, DbErr> {
    let query =
        Entity::find().filter(Column::Upstream.eq(upstream)).filter(Column::Subject.eq(subject));
    rows::one(query, connection).await
}

/// The identities of a user, the oldest first.
pub(super) async fn of_user(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<Model>, DbErr> {
    let query = Entity::find().filter(Column::UserId.eq(user));
    rows::all(query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id), connection).await
}

/// Notes a sign-in: what the provider said, and the words that it gives.
pub(super) async fn note_use(
    connection: &impl ConnectionTrait,
    id: FederatedIdentityId,
    email: Option<&str>,
    words: &str,
    now: Timestamp,
) -> Result<(), DbErr> {
    let mut update = Entity::update_many()
        .col_expr(Column::UsedAt, Expr::value(now.millis()))
        .col_expr(Column::Words, Expr::value(words));
    if let Some(email) = email {
        update = update.col_expr(Column::Email, Expr::value(email));
    }
    update.filter(Column::Id.eq(id)).exec(connection).await.map(drop)
}

/// Deletes an identity of a user. Returns false if it is gone.
pub(super) async fn delete(
    connection: &impl ConnectionTrait,
    id: FederatedIdentityId,
    user: UserId,
) -> Result<bool, DbErr> {
    let deleted = Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::UserId.eq(user))
        .exec(connection)
        .await?;
    Ok(deleted.rows_affected == 1)
}

/// The identities at a provider that proved a session with this name there, first or later.
pub(super) async fn of_sid(
    connection: &impl ConnectionTrait,
    upstream: &str,
    sid: &str,
) -> Result<Vec<Model>, DbErr> {
    let first = Query::select()
        .column(session::Column::FederatedIdentityId)
        .from(session::Entity)
        .and_where(session::Column::UpstreamSid.eq(sid))
        .and_where(session::Column::EndedAt.is_null())
        .and_where(session::Column::FederatedIdentityId.is_not_null())
        .to_owned();
    let later = Query::select()
        .column(session_identity::Column::FederatedIdentityId)
        .from(session_identity::Entity)
        .and_where(session_identity::Column::UpstreamSid.eq(sid))
        .to_owned();
    let query = Entity::find().filter(Column::Upstream.eq(upstream)).filter(
        Condition::any().add(Column::Id.in_subquery(first)).add(Column::Id.in_subquery(later)),
    );
    rows::all(query, connection).await
}
