//! The column `own_grant` of the table `client`.

use entity::client::{Column, Entity};
use entity::{ClientId, GrantId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

/// Sets the grant of the tokens that a client gets for itself, if it is still the one that it was before.
pub(super) async fn set_own_grant(
    connection: &impl ConnectionTrait,
    client: ClientId,
    before: Option<GrantId>,
    next: GrantId,
) -> Result<(), DbErr> {
    let same = match before {
        Some(before) => Column::OwnGrant.eq(before),
        None => Column::OwnGrant.is_null(),
    };
    Entity::update_many()
        .col_expr(Column::OwnGrant, Expr::value(next))
        .filter(Column::Id.eq(client))
        .filter(same)
        .exec(connection)
        .await
        .map(drop)
}
