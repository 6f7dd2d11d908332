//! Mails that wait: what superusers do with them.

use entity::JobId;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::mail;
use crate::platform::unit_of_work::UnitOfWork;

/// Throws a mail away that waits.
///
/// # Errors
///
/// [`Code::NotFound`] for one that there is not; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn discard(app: &App, superuser: &Superuser, id: &str) -> Result<()> {
    let id: JobId = id.parse().map_err(|_| Code::NotFound)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    // It may be the mail that warns of whoever discards it.
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    if !mail::discard(&work, id).await? {
        return Err(Code::NotFound.into());
    }
    work.record(Entry::new(Act::MailDrop, Actor::of(superuser)).on("mail", id));
    work.commit().await
}
