//! The table `user`.

use entity::UserId;
use entity::user::{ActiveModel, Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LockType, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, QuerySelect, Set,
};

use super::Changes;

pub(super) async fn insert(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    // An active model made of a model has nothing to insert until it is told so.
    row.into_active_model().reset_all().insert(connection).await
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(connection).await
}

pub(super) async fn find_emails(
    connection: &impl ConnectionTrait,
    ids: Vec<UserId>,
) -> Result<Vec<(UserId, String)>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::Id, Column::Email])
        .filter(Column::Id.is_in(ids))
        .into_tuple()
        .all(connection)
        .await
}

/// Weaker than a lock against deletion: rows that name the user may be inserted meanwhile, which
/// would otherwise wait here while they hold what the holder of this lock wants next.
pub(super) async fn find_and_lock(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(connection).await
}

/// Compares as the unique index does, so that it is used.
pub(super) async fn find_by_email(
    connection: &impl ConnectionTrait,
    email: &str,
) -> Result<Option<Model>, DbErr> {
    let column: SimpleExpr = match connection.get_database_backend() {
        DbBackend::Postgres => Expr::cust(r#"lower("user"."email" collate "C")"#),
        _ => Func::lower(Expr::col((Entity, Column::Email))).into(),
    };
    Entity::find().filter(column.eq(email.to_ascii_lowercase())).one(connection).await
}

pub(super) async fn update(
    connection: &impl ConnectionTrait,
    id: UserId,
    Changes { email, hash }: Changes,
) -> Result<Model, DbErr> {
    let mut row = ActiveModel { id: Set(id), ..Default::default() };
    if let Some(email) = email {
        row.email = Set(email.as_str().to_owned());
        row.is_verified = Set(false);
    }
    if let Some(hash) = hash {
        row.hashed_password = Set(hash.expose().to_owned());
    }
    row.update(connection).await
}

pub(super) async fn set_superuser(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<bool, DbErr> {
    let updated = Entity::update_many()
        .col_expr(Column::IsSuperuser, Expr::value(true))
        .filter(Column::Id.eq(id))
        .exec(connection)
        .await?;
    Ok(updated.rows_affected == 1)
}
