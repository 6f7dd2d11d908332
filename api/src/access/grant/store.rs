//! The columns of sessions' grants, in the table `session`, and the table `oauth_grant` of clients' grants.

use std::sync::LazyLock;

use entity::session::{Column, Entity, Model};
use entity::{
    ClientId, FederatedIdentityId, GrantId, SessionId, UserId, consent, oauth_grant,
    session_identity,
};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait,
    FromQueryResult, IdenStatic, IntoActiveModel, Iterable, Order, QueryFilter, QueryOrder,
    QueryResult, QuerySelect, QueryTrait, Select, Statement, Value,
};

use super::{LastUse, Limits, RefreshToken};
use crate::base::clock::Timestamp;
use crate::base::database::delete_some;
use crate::base::scope::Scopes;
use crate::identity::user;
use crate::platform::revocation::Reason;

impl Limits {
    /// Like [`Self::expiry`], for a session that began at a time and has this end.
    pub(crate) fn expires_at(
        &self,
        created_at: i64,
        ends_at: Option<i64>,
        now: Timestamp,
    ) -> Timestamp {
        let absolute = Timestamp::from_millis(created_at).plus_seconds(self.absolute);
        let expires = now.plus_seconds(self.idle).min(absolute);
        ends_at.map_or(expires, |ends| expires.min(Timestamp::from_millis(ends)))
    }

    /// The time at which a session that is used now expires: the earliest of the two limits and its end.
    pub(crate) fn expiry(&self, now: Timestamp) -> SimpleExpr {
        let idle = now.plus_seconds(self.idle).millis();
        let age = Timestamp::from_millis(0).plus_seconds(self.absolute).millis();
        let absolute = Expr::col(Column::CreatedAt).add(age);
        let end = Expr::col(Column::EndsAt);
        let ends_first = end.clone().lt(idle).and(end.clone().lt(absolute.clone()));
        CaseStatement::new()
            .case(ends_first, end)
            .case(absolute.clone().lt(idle), absolute)
            .finally(Expr::value(idle))
            .into()
    }
}

/// Moves a grant from the generation of its token to the next, if its user may act.
///
/// The same statement reads the user's flags and scopes. On PostgreSQL it reads them as they were when it began, even if
/// it then waited for the row. An operation that takes scopes away locks the row and adds one to `cuts`, and so does a new
/// grant of a client. So if `cuts` changed since the statement began, the scopes that it read may be old.
static SPEND: LazyLock<String> = LazyLock::new(|| {
    // Named one by one: PostgreSQL refuses a prepared `returning *` once a migration has added a column.
    let columns: Vec<_> = Column::iter().map(|column| format!("\"{}\"", column.as_str())).collect();
    let columns = columns.join(", ");
    format!(
        "update session set generation = $1, rotated_at = $2, last_used_at = $2, ip = $3, user_agent = $4, \
    issued_at = case when issued_at >= $2 then issued_at + 1 else $2 end, \
    expires_at = case when ends_at < $6 and ends_at < created_at + $5 then ends_at \
    when created_at + $5 < $6 then created_at + $5 else $6 end \
    where id = $7 and user_id = $8 and generation = $9 and ended_at is null and expires_at > $2 \
    and (ends_at is null or ends_at > $2) \
    and exists (select 1 from \"user\" holder where holder.id = session.user_id \
    and holder.is_active and (holder.is_verified or not $10) \
    and holder.is_superuser in (true, false) and holder.is_verified in (true, false)) \
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
    /// These.
    These(Vec<GrantId>),
    /// Those that end with these sessions.
    OfSessions(Vec<SessionId>),
    /// Those of a user, except of one session.
    OfUser(UserId, Option<SessionId>),
    /// Those that a user gave a client.
    OfClient(UserId, ClientId),
    /// Those of a user that an identity at another provider proved, and that do not end with their session.
    ProvenBy(UserId, FederatedIdentityId),
}

/// The grants that outlive their session, which this identity proved. A grant keeps its identities. The row of an older
/// release does not, so its session says it.
fn proven_by(identity: FederatedIdentityId) -> Condition {
    use oauth_grant::Column as C;
    use session_identity::Column as I;
    let first = Query::select()
        .column(Column::Id)
        .from(Entity)
        .and_where(Column::FederatedIdentityId.eq(identity))
        .to_owned();
    let later = Query::select()
        .column(I::SessionId)
        .from(session_identity::Entity)
        .and_where(I::FederatedIdentityId.eq(identity))
        .to_owned();
    let by_session = Condition::any()
        .add(C::SessionId.in_subquery(first))
        .add(C::SessionId.in_subquery(later))
        .add(C::ProvenBy.contains(identity.to_string()));
    Condition::all().add(C::IsOffline.eq(true)).add(by_session)
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
    if let Some(session) = row.session_id {
        // A sign-out that waits for the row of the session sees by this that it may have missed the grant.
        Entity::update_many()
            .col_expr(Column::Cuts, Expr::col(Column::Cuts).add(1))
            .filter(Column::Id.eq(session))
            .exec(connection)
            .await?;
    }
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

/// A grant that has just ended.
pub(super) struct Ended {
    pub(super) id: GrantId,
    pub(super) user: UserId,
    /// The time in the id of its newest access token.
    pub(super) issued: Timestamp,
}

/// Ends grants of clients. Returns those that had not ended before. A grant that ended has expired too, so its row is deleted as soon as that of an expired one. Those of a user who
/// is deleted are deleted at once.
pub(super) async fn end_of_clients(
    connection: &impl ConnectionTrait,
    ending: Ending,
    reason: &Reason,
    now: Timestamp,
) -> Result<Vec<Ended>, DbErr> {
    use oauth_grant::Column as C;
    let which = Condition::all().add(C::EndedAt.is_null()).add(ending.condition());
    // An account can have so many grants that reading whole rows would take too long.
    let returning = Query::returning().columns([C::Id, C::UserId, C::IssuedAt]);
    let backend = connection.get_database_backend();
    let statement = if *reason == Reason::Deleted {
        let mut delete = oauth_grant::Entity::delete_many().filter(which).into_query();
        backend.build(delete.returning(returning))
    } else {
        let expires = CaseStatement::new()
            .case(C::ExpiresAt.gt(now.millis()), Expr::value(now.millis()))
            .finally(Expr::col(C::ExpiresAt));
        let mut update = oauth_grant::Entity::update_many()
            .col_expr(C::EndedAt, Expr::value(now.millis()))
            .col_expr(C::EndedWhy, Expr::value(reason.name()))
            .col_expr(C::ExpiresAt, expires.into())
            .filter(which)
            .into_query();
        backend.build(update.returning(returning))
    };
    let rows = connection.query_all_raw(statement).await?;
    // No token has an id that cannot be read.
    let ended = rows.iter().filter_map(|row| {
        let issued = row.try_get("", C::IssuedAt.as_str()).unwrap_or(now.millis());
        let issued = Timestamp::from_millis(issued);
        let (id, user) = (row.try_get("", C::Id.as_str()), row.try_get("", C::UserId.as_str()));
        Some(Ended { id: id.ok()?, user: user.ok()?, issued })
    });
    Ok(ended.collect())
}

impl Ending {
    fn condition(self) -> Condition {
        use oauth_grant::Column as C;
        match self {
            Self::These(ids) => Condition::all().add(C::Id.is_in(ids)),
            Self::OfSessions(sessions) => {
                Condition::all().add(C::SessionId.is_in(sessions)).add(C::IsOffline.eq(false))
            }
            Self::OfUser(user, None) => Condition::all().add(C::UserId.eq(user)),
            Self::OfUser(user, Some(kept)) => Condition::all()
                .add(C::UserId.eq(user))
                .add(C::SessionId.is_null().or(C::SessionId.ne(kept))),
            Self::OfClient(user, client) => {
                Condition::all().add(C::UserId.eq(user)).add(C::ClientId.eq(client))
            }
            Self::ProvenBy(user, identity) => {
                Condition::all().add(C::UserId.eq(user)).add(proven_by(identity))
            }
        }
    }
}

/// The clients with a live grant of a user, and the scopes of these grants, each with the time of the last use. Those
/// that were used last come first.
pub(super) async fn live_of_clients(
    connection: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
    max: u64,
) -> Result<Vec<(ClientId, String, i64)>, DbErr> {
    use oauth_grant::Column as C;
    live_of(user, now)
        .select_only()
        .columns([C::ClientId, C::Scopes])
        .expr(Expr::col(C::LastUsedAt).max())
        .group_by(C::ClientId)
        .group_by(C::Scopes)
        .order_by(Expr::col(C::LastUsedAt).max(), Order::Desc)
        .limit(max)
        .into_tuple()
        .all(connection)
        .await
}

/// The other live grants that a user gave the client of a grant, each with its session. Those that were used last come
/// first.
pub(super) async fn beside(
    connection: &impl ConnectionTrait,
    row: &oauth_grant::Model,
    now: Timestamp,
    max: u64,
) -> Result<Vec<(GrantId, Option<SessionId>)>, DbErr> {
    use oauth_grant::Column as C;
    live_of(row.user_id, now)
        .select_only()
        .columns([C::Id, C::SessionId])
        .filter(C::ClientId.eq(row.client_id))
        .filter(C::Id.ne(row.id))
        .order_by_desc(C::LastUsedAt)
        .order_by_desc(C::Id)
        .limit(max)
        .into_tuple()
        .all(connection)
        .await
}

/// The grants of a user that have neither ended nor expired.
fn live_of(user: UserId, now: Timestamp) -> Select<oauth_grant::Entity> {
    use oauth_grant::Column as C;
    oauth_grant::Entity::find()
        .filter(C::UserId.eq(user))
        .filter(C::EndedAt.is_null())
        .filter(C::ExpiresAt.gt(now.millis()))
}

/// Deletes the consents of a user. Returns their number.
pub(super) async fn delete_consents(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<u64, DbErr> {
    let all = consent::Entity::delete_many().filter(consent::Column::UserId.eq(user));
    Ok(all.exec(connection).await?.rows_affected)
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
