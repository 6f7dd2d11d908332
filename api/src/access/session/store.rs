//! The table `session`.

use std::cmp;
use std::net::IpAddr;

use entity::session::{ActiveModel, Column, Entity, Model};
use entity::{
    FederatedIdentityId, SessionId, UserId, browser_session, oauth_grant, session_identity,
};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait,
    IdenStatic, IntoActiveModel, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select, Statement, UpdateMany, Value,
};

use super::Device;
use super::open::Proved;
use crate::access::grant::{Limits, next_issue};
use crate::base::clock::{SKEW, Timestamp};
use crate::base::database::{delete_some, rows};
use crate::platform::revocation::{Life, Reason};

pub(super) async fn open(connection: &impl ConnectionTrait, row: Model) -> Result<Model, DbErr> {
    row.into_active_model().reset_all().insert(connection).await
}

/// Stores the digest of the id under which a browser knows a session.
pub(super) async fn open_in_browser(
    connection: &impl ConnectionTrait,
    digest: String,
    session_id: SessionId,
) -> Result<(), DbErr> {
    let row = browser_session::Model { digest, session_id };
    row.into_active_model().reset_all().insert(connection).await.map(drop)
}

/// Replaces the digest of the id under which a browser knows a session.
pub(super) async fn rename_in_browser(
    connection: &impl ConnectionTrait,
    session: SessionId,
    digest: String,
) -> Result<(), DbErr> {
    browser_session::Entity::update_many()
        .col_expr(browser_session::Column::Digest, Expr::value(digest))
        .filter(browser_session::Column::SessionId.eq(session))
        .exec(connection)
        .await
        .map(drop)
}

/// The live session of the browser whose id has this digest.
pub(super) async fn of_browser(
    connection: &impl ConnectionTrait,
    digest: &str,
    now: Timestamp,
) -> Result<Option<Model>, DbErr> {
    let beside = Entity::belongs_to(browser_session::Entity)
        .from(Column::Id)
        .to(browser_session::Column::SessionId)
        .into();
    let session = Entity::find()
        .join(JoinType::InnerJoin, beside)
        .filter(browser_session::Column::Digest.eq(digest))
        .filter(Column::EndedAt.is_null())
        .filter(has_not_expired(now));
    rows::one(session, connection).await
}

/// The condition of [`Model::has_expired`], the other way round.
fn has_not_expired(now: Timestamp) -> Condition {
    Condition::all()
        .add(Column::ExpiresAt.gt(now.millis()))
        .add(Column::EndsAt.is_null().or(Column::EndsAt.gt(now.millis())))
}

pub(super) async fn find_and_lock(
    connection: &impl ConnectionTrait,
    id: SessionId,
) -> Result<Option<Model>, DbErr> {
    rows::one(Entity::find_by_id(id).lock_exclusive(), connection).await
}

/// Extends a session without a refresh. Returns `None` if it has ended.
pub(super) async fn extend(
    connection: &impl ConnectionTrait,
    id: SessionId,
    user: UserId,
    now: Timestamp,
    limits: &Limits,
    device: Device,
) -> Result<Option<Model>, DbErr> {
    let rows = live(Entity::update_many(), user)
        .col_expr(Column::LastUsedAt, Expr::value(now.millis()))
        .col_expr(Column::IssuedAt, next_issue(now))
        .col_expr(Column::ExpiresAt, limits.expiry(now))
        .col_expr(Column::Ip, Expr::value(device.ip.map(|ip| ip.to_string())))
        .col_expr(Column::UserAgent, Expr::value(device.user_agent))
        .filter(Column::Id.eq(id))
        .filter(has_not_expired(now))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Records another access token of a locked session, without using a refresh token.
pub(super) async fn issue(
    connection: &impl ConnectionTrait,
    id: SessionId,
    now: Timestamp,
) -> Result<Option<Model>, DbErr> {
    let rows = Entity::update_many()
        .col_expr(Column::IssuedAt, next_issue(now))
        .filter(Column::Id.eq(id))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Lets a session continue although its access tokens until now are revoked, and stores the time of that cut-off in its
/// row. Returns `None` if the session has ended or is not this user's. It also returns `None` if the session issued a
/// token that is ahead of the clock by more than clocks may differ.
pub(super) async fn keep(
    connection: &impl ConnectionTrait,
    id: SessionId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Model>, DbErr> {
    let cut_off = CaseStatement::new()
        .case(Column::IssuedAt.gt(now.millis()), Expr::col(Column::IssuedAt))
        .finally(Expr::value(now.millis()));
    let rows = live(Entity::update_many(), user)
        .col_expr(Column::IssuedAt, cut_off.into())
        .col_expr(Column::Cuts, Expr::col(Column::Cuts).add(1))
        .filter(Column::Id.eq(id))
        .filter(Column::IssuedAt.lte(now.plus_seconds(SKEW).millis()))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Ends a session. Returns its row, or `None` if it had ended or is not this user's.
pub(super) async fn end(
    connection: &impl ConnectionTrait,
    id: SessionId,
    user: UserId,
    reason: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<Option<Model>, DbErr> {
    let rows = ended(live(Entity::update_many(), user), reason, ip, now)
        .filter(Column::Id.eq(id))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().next())
}

/// Ends a session if no application has a grant that ends with it, its youngest access token is not ahead of the clock, and
/// no longer lifetime of such tokens is noted.
///
/// On PostgreSQL, a statement can wait for a row and then change its newest version, while it reads other rows as they were
/// when it began. Whatever gives the session a token changes `issued_at`, and whatever gives it a grant changes `cuts`. So
/// if either changed since the statement began, it does nothing.
const END: &str = "update session set ended_at = $1, ended_why = $2, ended_ip = $3 \
    where id = $4 and user_id = $5 and ended_at is null and issued_at <= $1 \
    and not exists (select 1 from oauth_grant where session_id = $4 and ended_at is null and is_offline = false) \
    and not exists (select 1 from feed where longest > $6) \
    and issued_at = (select before.issued_at from session before where before.id = session.id) \
    and cuts = (select before.cuts from session before where before.id = session.id) \
    returning id";

/// The statement [`END`].
pub(super) fn ending(
    backend: DbBackend,
    id: SessionId,
    user: UserId,
    reason: &Reason,
    ip: Option<IpAddr>,
    life: Life,
    now: Timestamp,
) -> Statement {
    let values: [Value; 6] = [
        now.millis().into(),
        reason.name().into(),
        ip.map(|ip| ip.to_string()).into(),
        id.into(),
        user.into(),
        life.seconds().cast_signed().into(),
    ];
    Statement::from_sql_and_values(backend, END, values)
}

/// Locks the sessions of a user that have not ended, in the order of their ids, until the transaction ends. Returns the
/// time of each session's latest access token.
pub(super) async fn lock_all(
    connection: &impl ConnectionTrait,
    user: UserId,
) -> Result<Vec<Timestamp>, DbErr> {
    let sessions = Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::EndedAt.is_null())
        .order_by_asc(Column::Id)
        .lock_exclusive();
    let rows = rows::all(sessions, connection).await?;
    Ok(rows.into_iter().map(|row| Timestamp::from_millis(row.issued_at)).collect())
}

/// Like [`keep`], for every session of a user whose latest access token is not later than a cut-off.
pub(super) async fn keep_all(
    connection: &impl ConnectionTrait,
    user: UserId,
    cut_off: Timestamp,
) -> Result<(), DbErr> {
    live(Entity::update_many(), user)
        .col_expr(Column::IssuedAt, Expr::value(cut_off.millis()))
        .col_expr(Column::Cuts, Expr::col(Column::Cuts).add(1))
        .filter(Column::IssuedAt.lte(cut_off.millis()))
        .exec(connection)
        .await
        .map(drop)
}

/// Ends every session of a user except `kept`. This includes sessions that have expired by this server's clock, because
/// the clock may be ahead, and they would live again when it is right. Returns the sessions that had not ended before,
/// each with the time of its latest access token.
pub(super) async fn end_all(
    connection: &impl ConnectionTrait,
    user: UserId,
    kept: Option<SessionId>,
    reason: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> Result<Vec<(SessionId, Timestamp)>, DbErr> {
    let mut update = ended(live(Entity::update_many(), user), reason, ip, now);
    if let Some(kept) = kept {
        update = update.filter(Column::Id.ne(kept));
    }
    end_rows(connection, update, now).await
}

/// Like [`end_all`], for the sessions whose latest access token is later than a cut-off.
pub(super) async fn end_younger(
    connection: &impl ConnectionTrait,
    user: UserId,
    cut_off: Timestamp,
    reason: &Reason,
    now: Timestamp,
) -> Result<Vec<(SessionId, Timestamp)>, DbErr> {
    let update = ended(live(Entity::update_many(), user), reason, None, now)
        .filter(Column::IssuedAt.gt(cut_off.millis()));
    end_rows(connection, update, now).await
}

/// Ends sessions, also those whose rows cannot be read otherwise. If the time of a session's latest access token cannot
/// be read, it is now.
async fn end_rows(
    connection: &impl ConnectionTrait,
    update: UpdateMany<Entity>,
    now: Timestamp,
) -> Result<Vec<(SessionId, Timestamp)>, DbErr> {
    let mut update = update.into_query();
    update.returning(Query::returning().columns([Column::Id, Column::IssuedAt]));
    let statement = connection.get_database_backend().build(&update);
    let rows = connection.query_all_raw(statement).await?;
    // No token has an id that cannot be read.
    let ended = rows.iter().filter_map(|row| {
        let issued = row.try_get("", Column::IssuedAt.as_str()).unwrap_or(now.millis());
        Some((row.try_get("", Column::Id.as_str()).ok()?, Timestamp::from_millis(issued)))
    });
    Ok(ended.collect())
}

/// A user's sessions, newest first: those that live, or those that have ended.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    user: UserId,
    ended: bool,
    after: Option<(i64, SessionId)>,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<Model>, DbErr> {
    let query =
        if ended { Entity::find().filter(Column::EndedAt.is_not_null()) } else { alive(now) };
    rows::first(newest(query.filter(Column::UserId.eq(user)), after), limit, connection).await
}

/// The live sessions of all users, newest first.
pub(super) async fn all(
    connection: &impl ConnectionTrait,
    after: Option<(i64, SessionId)>,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<Model>, DbErr> {
    rows::first(newest(alive(now), after), limit, connection).await
}

pub(super) async fn count(connection: &impl ConnectionTrait, now: Timestamp) -> Result<u64, DbErr> {
    alive(now).count(connection).await
}

fn alive(now: Timestamp) -> Select<Entity> {
    Entity::find().filter(Column::EndedAt.is_null()).filter(has_not_expired(now))
}

/// Adds the order, newest first, and the cursor to a query.
fn newest(query: Select<Entity>, after: Option<(i64, SessionId)>) -> Select<Entity> {
    let query = match after {
        // The first condition is redundant, but lets the database use an index.
        Some((created, id)) => query.filter(Column::CreatedAt.lte(created)).filter(
            Column::CreatedAt.lt(created).or(Column::CreatedAt.eq(created).and(Column::Id.lt(id))),
        ),
        None => query,
    };
    query.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id)
}

/// Ends the browser sessions of a user. Returns those that had not ended before.
pub(super) async fn end_in_browsers(
    connection: &impl ConnectionTrait,
    user: UserId,
    reason: &Reason,
    now: Timestamp,
) -> Result<Vec<SessionId>, DbErr> {
    let in_browsers = Query::select()
        .column(browser_session::Column::SessionId)
        .from(browser_session::Entity)
        .to_owned();
    let rows = ended(live(Entity::update_many(), user), reason, None, now)
        .filter(Column::Id.in_subquery(in_browsers))
        .exec_with_returning(connection)
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

pub(super) async fn find(
    connection: &impl ConnectionTrait,
    id: SessionId,
) -> Result<Option<Model>, DbErr> {
    rows::one(Entity::find_by_id(id), connection).await
}

/// Records that the user of a locked session proved again who they are, and gets an access token for it.
///
/// A session that a provider proved depends on it from then on: a logout there ends the session. Another provider that
/// proves it later is noted beside it. The end that the settings of the first one give is not moved by another one.
pub(super) async fn authenticate(
    connection: &impl ConnectionTrait,
    row: &Model,
    limits: &Limits,
    (at, now): (Timestamp, Timestamp),
    proved: Proved,
) -> Result<(), DbErr> {
    let Proved { amr, second_at, identity, sid, ends_at } = proved;
    let mut update = Entity::update_many()
        .col_expr(Column::AuthTime, Expr::value(at.millis()))
        .col_expr(Column::IssuedAt, next_issue(now))
        .col_expr(Column::LastUsedAt, Expr::value(now.millis()))
        .col_expr(Column::Amr, Expr::value(amr))
        .col_expr(Column::SecondAt, Expr::value(second_at));
    if let Some(identity) = identity {
        let is_first = row.federated_identity_id.is_none_or(|known| known == identity);
        let ends_at = match (row.ends_at, ends_at) {
            (Some(before), Some(ends)) if !is_first => Some(cmp::min(before, ends)),
            (before, None) if !is_first => before,
            (_, ends) => ends,
        };
        let expires_at = limits.expires_at(row.created_at, ends_at, now);
        update = update
            .col_expr(Column::EndsAt, Expr::value(ends_at))
            .col_expr(Column::ExpiresAt, Expr::value(expires_at.millis()));
        if row.federated_identity_id.is_none() {
            update = update
                .col_expr(Column::FederatedIdentityId, Expr::value(identity))
                .col_expr(Column::UpstreamSid, Expr::value(sid));
        } else {
            note_identity(connection, row.id, identity, sid).await?;
        }
    }
    update.filter(Column::Id.eq(row.id)).exec(connection).await.map(drop)
}

/// Stores the time when the user of a locked session gave the password for the forms of their account. `None` ends that
/// proof.
pub(super) async fn prove(
    connection: &impl ConnectionTrait,
    id: SessionId,
    at: Option<Timestamp>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::ProvedAt, Expr::value(at.map(Timestamp::millis)))
        .filter(Column::Id.eq(id))
        .exec(connection)
        .await
        .map(drop)
}

/// Notes that an identity proved a session again. Of each identity, the table keeps the latest session at its provider.
async fn note_identity(
    connection: &impl ConnectionTrait,
    session_id: SessionId,
    federated_identity_id: FederatedIdentityId,
    upstream_sid: Option<String>,
) -> Result<(), DbErr> {
    use session_identity::Column as C;
    let row = session_identity::Model { session_id, federated_identity_id, upstream_sid };
    let latest = OnConflict::columns([C::SessionId, C::FederatedIdentityId])
        .update_column(C::UpstreamSid)
        .to_owned();
    session_identity::Entity::insert(row.into_active_model().reset_all())
        .on_conflict(latest)
        .exec_without_returning(connection)
        .await
        .map(drop)
}

/// The sessions that have not ended and that identities at another provider proved, first or later. With `sid`, only
/// those of that session there.
pub(super) async fn of_identities(
    connection: &impl ConnectionTrait,
    identities: &[FederatedIdentityId],
    sid: Option<&str>,
) -> Result<Vec<Model>, DbErr> {
    use session_identity::Column as C;
    let identities = || identities.iter().copied();
    let mut first = Condition::all().add(Column::FederatedIdentityId.is_in(identities()));
    let mut later = Condition::all().add(C::FederatedIdentityId.is_in(identities()));
    if let Some(sid) = sid {
        // A session whose ID token named none is of every session there.
        first = first.add(Column::UpstreamSid.eq(sid).or(Column::UpstreamSid.is_null()));
        later = later.add(C::UpstreamSid.eq(sid).or(C::UpstreamSid.is_null()));
    }
    let later = Query::select()
        .column(C::SessionId)
        .from(session_identity::Entity)
        .cond_where(later)
        .to_owned();
    let query = Entity::find()
        .filter(Condition::any().add(first).add(Column::Id.in_subquery(later)))
        .filter(Column::EndedAt.is_null());
    rows::all(query.order_by_asc(Column::Id), connection).await
}

/// The identities that proved a session after it began.
pub(super) async fn later_identities(
    connection: &impl ConnectionTrait,
    session: SessionId,
) -> Result<Vec<FederatedIdentityId>, DbErr> {
    use session_identity::Column as C;
    let rows = session_identity::Entity::find().filter(C::SessionId.eq(session));
    let rows = rows.order_by_asc(C::FederatedIdentityId).all(connection).await?;
    Ok(rows.into_iter().map(|row| row.federated_identity_id).collect())
}

/// Deletes some rows that expired before a time. Returns their number. A row with a grant that ends with it stays until
/// the grant has expired too: an idle browser ends no grant.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    use oauth_grant::Column as G;
    let grants = Query::select()
        .column((oauth_grant::Entity, G::Id))
        .from(oauth_grant::Entity)
        .and_where(Expr::col((oauth_grant::Entity, G::SessionId)).equals((Entity, Column::Id)))
        .and_where(G::IsOffline.eq(false))
        .and_where(G::EndedAt.is_null())
        .and_where(G::ExpiresAt.gte(time.millis()))
        .to_owned();
    let expired =
        Condition::all().add(Column::ExpiresAt.lt(time.millis())).add(Expr::exists(grants).not());
    delete_some::<Entity>(connection, Column::Id, expired, max).await
}

fn live(update: UpdateMany<Entity>, user: UserId) -> UpdateMany<Entity> {
    update.filter(Column::UserId.eq(user)).filter(Column::EndedAt.is_null())
}

fn ended(
    update: UpdateMany<Entity>,
    reason: &Reason,
    ip: Option<IpAddr>,
    now: Timestamp,
) -> UpdateMany<Entity> {
    update.set(ActiveModel {
        ended_at: sea_orm::Set(Some(now.millis())),
        ended_why: sea_orm::Set(Some(reason.name().to_owned())),
        ended_ip: sea_orm::Set(ip.map(|ip| ip.to_string())),
        ..Default::default()
    })
}
