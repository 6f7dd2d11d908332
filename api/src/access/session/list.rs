//! Lists of sessions: those of a user, and those of all users.

use entity::session::Model;
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;

use super::store;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::listing::{Limit, Page};

/// A session in a list. Times are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The time at which it began.
    pub created: u64,
    /// The time at which it last issued tokens.
    pub last_used: u64,
    /// The time at which its refresh token expires.
    pub expires: u64,
    /// The number of refreshes.
    pub generation: i64,
    /// The IP address of its last use.
    pub ip: Option<String>,
    /// The `User-Agent` header of its last use.
    pub user_agent: Option<String>,
    /// `true` if the request came from this session.
    pub current: bool,
    /// The end of the session, if it has ended.
    pub ended: Option<Ended>,
}

/// The end of a session.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The time, in seconds since the epoch.
    pub at: u64,
    /// The reason. `reuse`: somebody used an old copy of its refresh token, from the address `ip`.
    pub why: String,
    /// The address that the request that ended it came from.
    pub ip: Option<String>,
}

/// A selection of the caller's sessions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `true` for sessions that have ended, `false` for those that live.
    pub ended: bool,
    /// The pagination cursor: the id of the last session of the previous page.
    pub after: Option<String>,
    /// The maximum number of sessions, from 1 to 100.
    pub limit: u64,
}

/// A page of a user's sessions, newest first. `current` is the session that sent the request, if there is one.
///
/// # Errors
///
/// [`Code::UnprocessableContent`](crate::base::error::Code::UnprocessableContent) if `after` is not a session of the
/// user.
pub async fn list(
    app: &App,
    user: UserId,
    current: Option<SessionId>,
    filter: Filter,
) -> Result<Page<Session>> {
    let reader = app.database.reader();
    let after = match filter.after {
        Some(id) => {
            let none = || Error::query("after", "This is not the id of a session in this list");
            let id = id.parse().map_err(|_| none())?;
            let row = store::find(reader, id).await?.filter(|row| row.user_id == user);
            Some(row.ok_or_else(none)?)
        }
        None => None,
    };
    let limit = Limit::new(filter.limit, 100);
    let now = clock::now();
    let after = after.as_ref().map(cursor_of);
    let rows = store::list(reader, user, filter.ended, after, limit.rows(), now).await?;
    Ok(limit.page(rows).map(|row| seen_from(current, row)))
}

/// The position of a session in a list. The list continues after it even if the session is deleted in the meantime.
pub(crate) type Cursor = (i64, SessionId);

fn cursor_of(row: &Model) -> Cursor {
    (row.created_at, row.id)
}

/// Up to `max` of a user's sessions, as in [`list`], from a cursor on; and the next cursor, unless the list ends.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn some_of(
    connection: &impl ConnectionTrait,
    user: UserId,
    current: Option<SessionId>,
    (ended, after): (bool, Option<Cursor>),
    max: u64,
) -> Result<(Vec<Session>, Option<Cursor>)> {
    let rows = store::list(connection, user, ended, after, max, clock::now()).await?;
    let next = rows.last().map(cursor_of);
    Ok((rows.into_iter().map(|row| seen_from(current, row)).collect(), next))
}

/// A page of the live sessions of all users with their users, newest first, from a cursor on. `current` is the session
/// that sent the request.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list_all(
    app: &App,
    current: Option<SessionId>,
    after: Option<SessionId>,
    limit: u64,
) -> Result<Page<(Session, UserId)>> {
    let reader = app.database.reader();
    let after = match after {
        Some(id) => store::find(reader, id).await?,
        None => None,
    };
    let limit = Limit::new(limit, 100);
    let after = after.as_ref().map(cursor_of);
    let rows = store::all(reader, after, limit.rows(), clock::now()).await?;
    Ok(limit.page(rows).map(|row| {
        let user = row.user_id;
        (seen_from(current, row), user)
    }))
}

/// The number of live sessions.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    Ok(store::count(app.database.reader(), clock::now()).await?)
}

fn seen_from(current: Option<SessionId>, row: Model) -> Session {
    let expires = row.expiry();
    let Model {
        id,
        user_id: _,
        created_at,
        auth_time: _,
        expires_at: _,
        generation,
        rotated_at: _,
        ended_at,
        ended_why,
        last_used_at,
        ip,
        user_agent,
        ended_ip,
        issued_at: _,
        secret: _,
        cuts: _,
        amr: _,
        second_at: _,
        federated_identity_id: _,
        upstream_sid: _,
        ends_at: _,
        proved_at: _,
    } = row;
    let seconds = |millis| Timestamp::from_millis(millis).seconds();
    Session {
        id,
        created: seconds(created_at),
        last_used: seconds(last_used_at),
        expires: seconds(expires),
        generation,
        ip,
        user_agent,
        current: current == Some(id),
        ended: ended_at.map(|at| Ended {
            at: seconds(at),
            why: ended_why.unwrap_or_default(),
            ip: ended_ip,
        }),
    }
}
