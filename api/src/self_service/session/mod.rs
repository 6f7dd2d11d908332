//! Sessions of one's own: where a user is signed in, and how they sign out there.

pub(crate) mod http;

use crate::access::caller::UserCaller;
use crate::access::session::{self, Device, Filter, Session};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// A page of the user's sessions, the newest first.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] when `after` is no session of theirs.
pub async fn list(app: &App, caller: &UserCaller, filter: Filter) -> Result<Page<Session>> {
    session::list(app, caller.user_id(), caller.session(), filter).await
}

/// Ends a session of the user by its id.
///
/// # Errors
///
/// [`Code::NotFound`] when it is somebody else's, over already, or none; [`Code::Unauthorized`] for a user who was
/// signed out meanwhile.
pub async fn end(app: &App, caller: &UserCaller, id: &str, device: Device) -> Result<()> {
    let id = id.parse().map_err(|_| Code::NotFound)?;
    let work = UnitOfWork::begin(app).await?;
    // A session that ended has no say in those that live on.
    caller.lock(app, &work).await?;
    let user = caller.user_id();
    let ended = session::end(app, work, user, id, &Reason::Ended, device).await?;
    if ended { Ok(()) } else { Err(Code::NotFound.into()) }
}

/// Ends every session of the user but the one that they call from, if they call from one.
///
/// # Errors
///
/// [`Code::Unauthorized`] when that one is over; nothing is ended when the database does not
/// answer.
pub async fn end_others(app: &App, caller: &UserCaller, device: Device) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    caller.lock(app, &work).await?;
    session::end_others(app, work, caller.user_id(), caller.session(), device).await
}
