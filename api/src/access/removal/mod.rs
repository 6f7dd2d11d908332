//! The removal of a user with everything that belongs to them.

use std::net::IpAddr;

use crate::access::{api_token, session};
use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::identity::user::{self, User};
use crate::platform::revocation::Reason;
use crate::platform::unit_of_work::UnitOfWork;

/// Deletes a locked user with all their data.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn remove(
    app: &App,
    work: &mut UnitOfWork<'_>,
    locked: User,
    ip: Option<IpAddr>,
) -> Result<()> {
    // Services that verify tokens themselves may hold the user's tokens, so these are revoked first.
    let now = clock::now();
    api_token::delete_of(work, locked.id).await?;
    let reason = Reason::Deleted;
    session::end_all(app, work, locked.id, None, &reason, ip, now).await?;
    user::delete(&**work, locked.id).await?;
    work.forget_user(locked.id);
    Ok(())
}
