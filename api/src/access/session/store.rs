//! The table `session`.

use std::net::IpAddr;

use entity::session::{ActiveModel, Column, Entity, Model};
use entity::{SessionId, UserId, browser_session};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IdenStatic,
    IntoActiveModel, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Select, UpdateMany,
};

use super::Device;
use crate::access::grant::{Limits, next_issue};
use crate::base::clock::{SKEW, Timestamp};
use crate::base::database::{delete_some, rows};
use crate::platform::revocation::Reason;

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
        .filter(Column::ExpiresAt.gt(now.millis()));
    rows::one(session, connection).await
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
        .filter(Column::ExpiresAt.gt(now.millis()))
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
    Entity::find().filter(Column::EndedAt.is_null()).filter(Column::ExpiresAt.gt(now.millis()))
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

/// Records that the user of a session gave their password, and gets an access token for it.
pub(super) async fn authenticate(
    connection: &impl ConnectionTrait,
    id: SessionId,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::AuthTime, Expr::value(now.millis()))
        .col_expr(Column::IssuedAt, next_issue(now))
        .col_expr(Column::LastUsedAt, Expr::value(now.millis()))
        .filter(Column::Id.eq(id))
        .exec(connection)
        .await
        .map(drop)
}

/// Deletes some rows that expired before a time. Returns their number.
pub(super) async fn delete_expired_before(
    connection: &impl ConnectionTrait,
    time: Timestamp,
    max: u64,
) -> Result<u64, DbErr> {
    delete_some::<Entity>(connection, Column::Id, Column::ExpiresAt.lt(time.millis()), max).await
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
