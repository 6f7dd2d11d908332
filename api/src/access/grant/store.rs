//! The columns of sessions' grants, in the table `session`, and the table `oauth_grant` of clients' grants.

use std::sync::LazyLock;

use entity::session::{Column, Model};
use entity::{ClientId, GrantId, SessionId, UserId, oauth_grant};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult,
    IdenStatic, IntoActiveModel, Iterable, QueryFilter, QueryOrder, QueryResult, QuerySelect,
    Statement, Value,
};

use super::{LastUse, Limits, RefreshToken};
use crate::base::clock::Timestamp;
use crate::base::database::delete_some;
use crate::base::scope::Scopes;
use crate::identity::user;
use crate::platform::revocation::Reason;

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

/// The grants of clients that an act ends.
pub(super) enum Ending {
    /// One grant.
    One(GrantId),
    /// Those that end with these sessions.
    OfSessions(Vec<SessionId>),
    /// Those of a user, except of one session.
    OfUser(UserId, Option<SessionId>),
    /// Those that a user gave a client.
    OfClient(UserId, ClientId),
}

pub(super) async fn find_of_client(
    connection: &impl ConnectionTrait,
    id: GrantId,
) -> Result<Option<oauth_grant::Model>, DbErr> {
    oauth_grant::Entity::find_by_id(id).one(connection).await
}

pub(super) async fn lock_of_client(
    connection: &impl ConnectionTrait,
    id: GrantId,
) -> Result<Option<oauth_grant::Model>, DbErr> {
    oauth_grant::Entity::find_by_id(id).lock_exclusive().one(connection).await
}

pub(super) async fn insert_of_client(
    connection: &impl ConnectionTrait,
    row: oauth_grant::Model,
) -> Result<oauth_grant::Model, DbErr> {
    row.into_active_model().reset_all().insert(connection).await
}

/// Moves a grant of a client to the next generation, if it is still at the one of this row.
pub(super) async fn spend_of_client(
    connection: &impl ConnectionTrait,
    row: &oauth_grant::Model,
    now: Timestamp,
    issued: Timestamp,
    expires: Timestamp,
) -> Result<Option<oauth_grant::Model>, DbErr> {
    use oauth_grant::Column as C;
    let rows = oauth_grant::Entity::update_many()
        .col_expr(C::Generation, Expr::value(row.generation.saturating_add(1)))
        .col_expr(C::RotatedAt, Expr::value(now.millis()))
        .col_expr(C::LastUsedAt, Expr::value(now.millis()))
        .col_expr(C::IssuedAt, Expr::value(issued.millis()))
        .col_expr(C::ExpiresAt, Expr::value(expires.millis()))
        .filter(C::Id.eq(row.id))
        .filter(C::Generation.eq(row.generation))
        .filter(C::EndedAt.is_null())
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

pub(super) async fn issue_of_client(
    connection: &impl ConnectionTrait,
    id: GrantId,
    issued: Timestamp,
) -> Result<Option<oauth_grant::Model>, DbErr> {
    use oauth_grant::Column as C;
    let rows = oauth_grant::Entity::update_many()
        .col_expr(C::IssuedAt, Expr::value(issued.millis()))
        .filter(C::Id.eq(id))
        .filter(C::EndedAt.is_null())
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Ends grants of clients. Returns the rows of those that had not ended before.
pub(super) async fn end_of_clients(
    connection: &impl ConnectionTrait,
    ending: Ending,
    reason: &Reason,
    now: Timestamp,
) -> Result<Vec<oauth_grant::Model>, DbErr> {
    use oauth_grant::Column as C;
    let update = oauth_grant::Entity::update_many()
        .col_expr(C::EndedAt, Expr::value(now.millis()))
        .col_expr(C::EndedWhy, Expr::value(reason.name()))
        .filter(C::EndedAt.is_null());
    let update = match ending {
        Ending::One(id) => update.filter(C::Id.eq(id)),
        Ending::OfSessions(sessions) => {
            update.filter(C::SessionId.is_in(sessions)).filter(C::IsOffline.eq(false))
        }
        Ending::OfUser(user, None) => update.filter(C::UserId.eq(user)),
        Ending::OfUser(user, Some(kept)) => update
            .filter(C::UserId.eq(user))
            .filter(C::SessionId.is_null().or(C::SessionId.ne(kept))),
        Ending::OfClient(user, client) => {
            update.filter(C::UserId.eq(user)).filter(C::ClientId.eq(client))
        }
    };
    update.exec_with_returning(connection).await
}

/// The grants of a user that have neither ended nor expired, those used last first.
pub(super) async fn live_of_clients(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<oauth_grant::Model>, DbErr> {
    use oauth_grant::Column as C;
    oauth_grant::Entity::find()
        .filter(C::UserId.eq(user))
        .filter(C::EndedAt.is_null())
        .filter(C::ExpiresAt.gt(now.millis()))
        .order_by_desc(C::LastUsedAt)
        .all(connection)
        .await
}

/// Deletes some grants of clients that expired before a time. Returns their number.
pub(super) async fn delete_expired_of_clients(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    use oauth_grant::Column as C;
    let expired = C::ExpiresAt.lt(time.millis());
    delete_some::<oauth_grant::Entity>(connection, C::Id, expired, max).await
}
