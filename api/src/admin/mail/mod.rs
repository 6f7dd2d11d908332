//! Actions of superusers on waiting mails.

use entity::JobId;

use crate::access::caller::{Requires, Superuser};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::platform::audit::{Act, Actor, Entry};
use crate::platform::mail;
use crate::platform::unit_of_work::UnitOfWork;

/// Discards a waiting mail.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such mail; [`Code::FreshProofRequired`]; [`Code::TooManyAttempts`].
pub async fn discard(app: &App, superuser: &Superuser, id: &str) -> Result<()> {
    let id: JobId = id.parse().map_err(|_| Code::NotFound)?;
    superuser.count_act(app)?;
    let mut work = UnitOfWork::begin(app).await?;
    // The mail may be a warning about the person who discards it.
    superuser.lock(app, &work, [], Requires::FreshProof).await?;
    if !mail::discard(&work, id).await? {
        return Err(Code::NotFound.into());
    }
    work.record(Entry::new(Act::MailDrop, Actor::of(superuser)).on("mail", id));
    work.commit().await
}
