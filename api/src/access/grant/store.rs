//! The columns of grants, in the table `session`.

use entity::SessionId;
use entity::session::{Column, Entity, Model};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::{LastUse, Limits, RefreshToken};
use crate::base::clock::Timestamp;

impl Limits {
    /// The time at which a grant that is used now expires: the earlier of the two limits.
    pub(crate) fn expiry(&self, now: Timestamp) -> SimpleExpr {
        let idle = now.plus_seconds(self.idle).millis();
        let age = Timestamp::from_millis(0).plus_seconds(self.absolute).millis();
        let absolute = Expr::col(Column::CreatedAt).add(age);
        CaseStatement::new()
            .case(absolute.clone().lt(idle), absolute)
            .finally(Expr::value(idle))
            .into()
    }
}

/// Exchanges a refresh token: moves its grant from the token's generation to the next one. If several callers present
/// the same generation, only one gets the row. The others get `None`, and so does everyone after the end of the grant.
pub(crate) async fn spend(
    connection: &impl ConnectionTrait,
    id: SessionId,
    token: &RefreshToken,
    limits: &Limits,
    last_use: LastUse,
) -> Result<Option<Model>, DbErr> {
    let Some((generation, next)) = token.generations() else { return Ok(None) };
    let LastUse { at, ip, user_agent } = last_use;
    let rows = Entity::update_many()
        .col_expr(Column::Generation, Expr::value(next))
        .col_expr(Column::RotatedAt, Expr::value(at.millis()))
        .col_expr(Column::LastUsedAt, Expr::value(at.millis()))
        .col_expr(Column::IssuedAt, next_issue(at))
        .col_expr(Column::ExpiresAt, limits.expiry(at))
        .col_expr(Column::Ip, Expr::value(ip.map(|ip| ip.to_string())))
        .col_expr(Column::UserAgent, Expr::value(user_agent))
        .filter(Column::UserId.eq(token.user))
        .filter(Column::EndedAt.is_null())
        .filter(Column::Id.eq(id))
        .filter(Column::Generation.eq(generation))
        .filter(Column::ExpiresAt.gt(at.millis()))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// The issue time of a grant's next access token: now, or just after the previous one if the clock is behind it.
pub(crate) fn next_issue(now: Timestamp) -> SimpleExpr {
    CaseStatement::new()
        .case(Column::IssuedAt.gte(now.millis()), Expr::col(Column::IssuedAt).add(1))
        .finally(Expr::value(now.millis()))
        .into()
}
