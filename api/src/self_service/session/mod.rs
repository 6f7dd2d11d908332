//! Listing and ending one's own sessions.

pub(crate) mod http;

use crate::access::caller::UserCaller;
use crate::access::session::{self, Device, Filter, Session};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// A page of the caller's sessions, newest first.
///
/// # Errors
///
/// [`Code::UnprocessableContent`] if `after` is not a session of the caller.
pub async fn list(app: &App, caller: &UserCaller, filter: Filter) -> Result<Page<Session>> {
    session::list(app, caller.user_id(), caller.session(), filter).await
}

/// Ends a session of the caller.
///
/// # Errors
///
/// [`Code::NotFound`] if it belongs to another user, has ended already or does not exist; [`Code::Unauthorized`] if the
/// caller was signed out in the meantime.
pub async fn end(app: &App, caller: &UserCaller, id: &str, device: Device) -> Result<()> {
    let id = id.parse().map_err(|_| Code::NotFound)?;
    let work = UnitOfWork::begin(app).await?;
    // A session that has ended may not end the others.
    caller.lock(app, &work).await?;
    let user = caller.user_id();
    let ended = session::end_within(app, work, user, id, &Reason::Ended, device).await?;
    if ended { Ok(()) } else { Err(Code::NotFound.into()) }
}

/// Ends every session of the caller except the current one, if there is one.
///
/// # Errors
///
/// [`Code::Unauthorized`] if the current session has ended. If the database does not answer, nothing ends.
pub async fn end_others(app: &App, caller: &UserCaller, device: Device) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    caller.lock(app, &work).await?;
    session::end_others(app, work, caller.user_id(), caller.session(), device).await
}
