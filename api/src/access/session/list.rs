//! The lists of sessions: a user's own, and everybody's.

use entity::session::Model;
use entity::{SessionId, UserId};
use sea_orm::ConnectionTrait;

use super::store;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::listing::{Limit, Page};

/// A session, as its user sees it. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created: u64,
    /// When it last gave tokens.
    pub last_used: u64,
    /// When its refresh token expires.
    pub expires: u64,
    /// How often it was refreshed.
    pub generation: i64,
    /// Where it was last used from.
    pub ip: Option<String>,
    /// What program last used it.
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When, why and from where it ended, if it did.
    pub ended: Option<Ended>,
}

/// The end of a session.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// Why: `reuse` is an old copy of its refresh token, used from `ip`.
    pub why: String,
    /// Where the request came from that ended it.
    pub ip: Option<String>,
}

/// Which of the caller's sessions are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those that ended, rather than those that live.
    pub ended: bool,
    /// The id of the last one that is known.
    pub after: Option<String>,
    /// At most so many: 1 to 100.
    pub limit: u64,
}

/// A page of a user's sessions, the newest first, as they look from one of them or from elsewhere.
///
/// # Errors
///
/// [`Code::UnprocessableContent`](crate::base::error::Code::UnprocessableContent) when `after` is no session of theirs.
pub async fn list(
    app: &App,
    user: UserId,
    current: Option<SessionId>,
    filter: Filter,
) -> Result<Page<Session>> {
    let reader = app.database.reader();
    let after = match filter.after {
        Some(id) => {
            let none = || Error::query("after", "No session of the caller");
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

/// Where a session stands in a list, which goes on behind it even if it is gone by then.
pub(crate) type Cursor = (i64, SessionId);

fn cursor_of(row: &Model) -> Cursor {
    (row.created_at, row.id)
}

/// Some of a user's sessions, as [`list`] has them, from behind a place; and where to go on, unless there are no more.
///
/// # Errors
///
/// When the database does not answer.
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

/// A page of everybody's sessions that live, as they look from one of them, the newest first, from after one, with
/// whose they are.
///
/// # Errors
///
/// When the database does not answer.
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

/// How many sessions live.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(app: &App) -> Result<u64> {
    Ok(store::count(app.database.reader(), clock::now()).await?)
}

fn seen_from(current: Option<SessionId>, row: Model) -> Session {
    let Model {
        id,
        user_id: _,
        created_at,
        auth_time: _,
        expires_at,
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
    } = row;
    let seconds = |millis| Timestamp::from_millis(millis).seconds();
    Session {
        id,
        created: seconds(created_at),
        last_used: seconds(last_used_at),
        expires: seconds(expires_at),
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
