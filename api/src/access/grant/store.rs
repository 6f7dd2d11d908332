//! The columns of grants, in the table `session`.

use std::sync::LazyLock;

use entity::SessionId;
use entity::session::{Column, Model};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ColumnTrait, DbBackend, DbErr, FromQueryResult, IdenStatic, Iterable, QueryResult, Statement,
    Value,
};

use super::{LastUse, Limits, RefreshToken};
use crate::base::clock::Timestamp;
use crate::base::scope::Scopes;
use crate::identity::user;

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

/// Moves a grant from the generation of its token to the next, if its user may act.
///
/// The same statement reads the user's flags and scopes. On PostgreSQL it reads them as they were when it began, even if
/// it then waited for the row. An operation that takes scopes away locks the row and adds one to `cuts`. So if
/// `cuts` changed since the statement began, the scopes that it read may be old.
static SPEND: LazyLock<String> = LazyLock::new(|| {
    // Named one by one: PostgreSQL refuses a prepared `returning *` once a migration has added a column.
    let columns: Vec<_> = Column::iter().map(|column| format!("\"{}\"", column.as_str())).collect();
    let columns = columns.join(", ");
    format!(
        "update session set generation = $1, rotated_at = $2, last_used_at = $2, ip = $3, user_agent = $4, \
    issued_at = case when issued_at >= $2 then issued_at + 1 else $2 end, \
    expires_at = case when created_at + $5 < $6 then created_at + $5 else $6 end \
    where id = $7 and user_id = $8 and generation = $9 and ended_at is null and expires_at > $2 \
    and exists (select 1 from \"user\" holder where holder.id = session.user_id \
    and holder.is_active and (holder.is_verified or not $10)) \
    returning {columns}, \
    (select holder.is_superuser from \"user\" holder where holder.id = session.user_id) as is_superuser, \
    (select profile.scopes from profile where profile.user_id = session.user_id) as scopes, \
    cuts = (select before.cuts from session before where before.id = session.id) as is_current"
    )
});

/// The statement that spends a refresh token. If several callers have a token of the same generation, only one gets the
/// row. The others get nothing, and neither does a caller after the end of the session. `None` if the generation of the
/// token is too large for the column.
pub(crate) fn spending(
    backend: DbBackend,
    id: SessionId,
    token: &RefreshToken,
    limits: &Limits,
    last_use: &LastUse,
    require_verification: bool,
) -> Option<Statement> {
    let (generation, next) = token.generations()?;
    let LastUse { at, ip, user_agent } = last_use;
    let absolute = Timestamp::from_millis(0).plus_seconds(limits.absolute);
    let values: [Value; 10] = [
        next.into(),
        at.millis().into(),
        ip.map(|ip| ip.to_string()).into(),
        user_agent.clone().into(),
        absolute.millis().into(),
        at.plus_seconds(limits.idle).millis().into(),
        id.into(),
        token.user.into(),
        generation.into(),
        require_verification.into(),
    ];
    Some(Statement::from_sql_and_values(backend, SPEND.as_str(), values))
}

/// A grant whose refresh token was just spent.
pub(crate) struct Spent {
    /// The row, in its new generation.
    pub(crate) row: Model,
    /// The scopes of its user; `None` if they must be read again.
    pub(crate) scopes: Option<Scopes>,
}

impl TryFrom<QueryResult> for Spent {
    type Error = DbErr;

    fn try_from(result: QueryResult) -> Result<Self, DbErr> {
        let granted = result.try_get::<Option<String>>("", "scopes");
        // If the rows of the user cannot be read, reading them again refuses the user.
        let scopes = match (result.try_get("", "is_superuser"), granted) {
            (Ok(is_superuser), Ok(granted)) => Some(user::scopes(is_superuser, granted.as_deref())),
            _ => None,
        };
        let is_current: bool = result.try_get("", "is_current")?;
        let row = Model::from_query_result(&result, "")?;
        Ok(Self { row, scopes: scopes.filter(|_| is_current) })
    }
}

/// The issue time of a grant's next access token: now, or just after the previous one if the clock is behind it.
pub(crate) fn next_issue(now: Timestamp) -> SimpleExpr {
    CaseStatement::new()
        .case(Column::IssuedAt.gte(now.millis()), Expr::col(Column::IssuedAt).add(1))
        .finally(Expr::value(now.millis()))
        .into()
}
