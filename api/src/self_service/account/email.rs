//! The addresses of a user: a new one that is not confirmed yet, and the links with which previous addresses take the
//! account back.

use sea_orm::DatabaseTransaction;

use crate::access::caller::UserCaller;
use crate::access::session;
use crate::app::App;
use crate::base::clock;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::identity::user::previous_email::{self, PreviousEmail, RECLAIM_WINDOW};
use crate::identity::user::{self, Email, pending};
use crate::identity::verification;
use crate::platform::audit::{Act, Entry};
use crate::platform::rate_limit;
use crate::platform::rate_limit::mail::MailReason;
use crate::platform::unit_of_work::UnitOfWork;

/// The time after a change in which a link can only be cancelled with its token, in seconds. Its holder has a day to
/// read their mail.
const KEPT_AT_LEAST: u64 = 24 * 3600;

/// Fails if the server sends no mail, because then a new address could never be verified.
///
/// # Errors
///
/// [`Code::UnprocessableContent`].
pub(super) fn require_mail(app: &App) -> Result<()> {
    if app.mail.sends() {
        return Ok(());
    }
    let sentence = "A new address must be verified, but this server sends no mail. Ask an administrator to set it";
    Err(Error::field("email", sentence))
}

/// Stores a new address as pending and sends it a mail. The user is locked.
///
/// # Errors
///
/// [`Code::UpdateUserEmailAlreadyExists`]; [`Code::TooManyAttempts`] if many such mails were sent to the address.
pub(super) async fn ask(
    app: &App,
    transaction: &DatabaseTransaction,
    caller: &UserCaller,
    email: &Email,
) -> Result<()> {
    let id = caller.user_id();
    let session = caller.session().ok_or(Code::FreshTokenRequired)?;
    user::require_free(transaction, email, id).await?;
    let (reason, address) = (MailReason::NewAddress, email.as_str());
    rate_limit::mail::require_write(app, transaction, reason, address).await?;
    let known = user::by_id_in(transaction, id).await?.ok_or(Code::Unauthorized)?;
    verification::send_to_new(app, transaction, &known, email, session).await
}

/// Cancels the pending address of a user.
///
/// # Errors
///
/// [`Code::NotFound`] if there is none; [`Code::Unauthorized`] if the session ended in the meantime.
pub async fn cancel(app: &App, caller: &UserCaller) -> Result<()> {
    let id = caller.user_id();
    let mut work = UnitOfWork::begin(app).await?;
    caller.lock(app, &work).await?;
    if !pending::forget(&*work, id).await? {
        return Err(Code::NotFound.into());
    }
    work.record(Entry::own(Act::EmailChangeCancel, id));
    work.commit().await
}

/// Cancels the links with which previous addresses take the account back, for a user who has just given the password.
/// The holders of those addresses get a mail.
///
/// A thief who knows the password must not be able to cancel the link that was sent against them. So a link is
/// cancelled at once only with its token, which shows that the caller reads the mail of the previous address. Without
/// the token, the session must have begun 72 hours before the change, a day must have passed since the change, and the
/// new address must be verified.
///
/// # Errors
///
/// [`Code::FreshTokenRequired`]; [`Code::NotFound`] if there is no link; [`Code::RestoreEmailBadToken`];
/// [`Code::EmailChangePending`] if it is too early, the session is too young or the new address is not verified.
pub async fn cancel_links(app: &App, caller: &UserCaller, token: Option<String>) -> Result<()> {
    caller.require_fresh(app)?;
    let id = caller.user_id();
    let mut work = UnitOfWork::begin(app).await?;
    let locked = caller.lock(app, &work).await?;
    let links = previous_email::links_of(&*work, id).await?;
    let chosen: Vec<_> = match &token {
        Some(token) => {
            let is_its = |digest: &str| verification::is_token_of(token, digest);
            let chosen: Vec<_> = links.into_iter().filter(|(digest, _)| is_its(digest)).collect();
            if chosen.is_empty() {
                return Err(Code::RestoreEmailBadToken.into());
            }
            chosen
        }
        None if links.is_empty() => return Err(Code::NotFound.into()),
        None => {
            let began = match caller.session() {
                Some(session) => session::began(&work, session).await?,
                None => None,
            };
            let may = |former: &PreviousEmail| {
                let old = began
                    .is_some_and(|began| began.plus_seconds(RECLAIM_WINDOW) <= former.replaced);
                old && former.replaced.plus_seconds(KEPT_AT_LEAST) <= clock::now()
            };
            links.into_iter().filter(|(_, former)| locked.is_verified && may(former)).collect()
        }
    };
    if chosen.is_empty() {
        let sentence = "Send the token of the link. Without it, the link can be cancelled a day after the \
                        change, in a session that began 72 hours before the change, if the new address is \
                        verified";
        let message = LocalizedMessage::new("cancel-too-soon", sentence);
        return Err(Error::with_messages(Code::EmailChangePending, vec![message]));
    }
    for (digest, former) in &chosen {
        previous_email::forget(&*work, digest).await?;
        verification::tell_cancelled(app, &*work, &locked, former).await?;
    }
    let entry = Entry::own(Act::EmailRestoreCancel, id).with("links", chosen.len());
    work.record(entry.with("by_link", token.is_some()));
    work.wake_jobs();
    work.commit().await?;
    Ok(())
}
