//! Limits of mails: nobody gets more mail than they can read, and strangers cannot keep a mail from its recipient.
//!
//! * A request is counted by its e-mail address and IP address together, and by its IP address alone, separately for
//!   each reason. So it is refused only to clients that ask too often themselves.
//! * A mail to an address is counted when it is written, again separately for each reason. A mail beyond that limit is
//!   left out, and no request is refused. Requests of others do not limit an IP address that the account was used from
//!   before.
//! * A security notice is counted by account and event. No request of a stranger counts there.

use std::net::IpAddr;

use entity::{PrincipalId, UserId};
use sea_orm::DatabaseTransaction;

use super::{Budget, count, count_in, is_known, key, one_more, place, try_again};
use crate::app::App;
use crate::base::error::Result;
use crate::base::mail_address::folded;

const REQUEST: Budget = Budget::new("mail-asked", 5, 60);
const REQUEST_FROM_IP: Budget = Budget::new("mail-asked-from", 30, 60);
const WRITTEN: Budget = Budget::new("mail-written", 10, 60);

/// Invitations that one account sends: 100, then one after a minute, and later one an hour. So a stolen account cannot
/// flood mailboxes.
const INVITATION: Budget = Budget { longest: 3600, ..Budget::new("invitation", 100, 60) };

const NOTICE: Budget = Budget::new("mail-told", 10, 60);

/// The reason why a mail to an address is written. Each reason has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailReason {
    /// Somebody registered with the address.
    Registration,
    /// A user gave the address to their account.
    NewAddress,
    /// Somebody asked for a verification e-mail.
    Verification,
    /// Somebody asked for a mail to set a new password.
    PasswordReset,
    /// A superuser invited the address.
    Invitation,
}

impl MailReason {
    fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::NewAddress => "new-address",
            Self::Verification => "verify",
            Self::PasswordReset => "reset-password",
            Self::Invitation => "invitation",
        }
    }
}

/// An event that a security notice tells the owner of an account about. Each event has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The password was changed.
    PasswordChanged,
    /// An account became a superuser's: another account, or this one.
    SuperuserAdded,
    /// The password of another superuser was set.
    SuperuserPassword,
    /// An API token was made for the account.
    ApiTokenCreated,
    /// An identity at another provider was linked.
    IdentityLinked,
    /// An identity at another provider was unlinked.
    IdentityUnlinked,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::PasswordChanged => "password-changed",
            Self::SuperuserAdded => "superuser-added",
            Self::SuperuserPassword => "superuser-password",
            Self::ApiTokenCreated => "api-token-created",
            Self::IdentityLinked => "identity-linked",
            Self::IdentityUnlinked => "identity-unlinked",
        }
    }
}

/// Counts a request for a mail, before the address is looked up.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait. It depends only on the
/// requests from this IP address.
pub async fn asked(app: &App, reason: MailReason, to: &str, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let (to, place, reason) = (folded(to), place(ip), reason.name());
    let pair = key(app, REQUEST.what, &[reason, &to, &place]);
    let from_ip = key(app, REQUEST_FROM_IP.what, &[reason, &place]);
    count(app, &mut [(pair, REQUEST), (from_ip, REQUEST_FROM_IP)]).await
}

/// Counts a mail that is about to be written to an address, in its transaction. Returns `false` if the limit for this
/// reason is reached and the mail must be left out.
///
/// # Errors
///
/// If the database returns an error.
pub async fn may_write(
    app: &App,
    transaction: &DatabaseTransaction,
    reason: MailReason,
    to: &str,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let key = key(app, WRITTEN.what, &[reason.name(), &folded(to)]);
    count_in(transaction, &key, WRITTEN).await
}

/// Counts an invitation that an account is about to send.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub async fn invitation(app: &App, by: PrincipalId) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let key = key(app, INVITATION.what, &[&by.to_string()]);
    count(app, &mut [(key, INVITATION)]).await
}

/// Counts an invitation that an account is about to send, in a transaction. Returns `false` if the limit is reached and
/// the invitation must be left out.
///
/// # Errors
///
/// If the database returns an error.
pub async fn may_invite(
    app: &App,
    transaction: &DatabaseTransaction,
    by: PrincipalId,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let key = key(app, INVITATION.what, &[&by.to_string()]);
    count_in(transaction, &key, INVITATION).await
}

/// Does the same as [`may_write`] for a mail without which the action is of no use.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait, if the limit is reached.
pub async fn require_write(
    app: &App,
    transaction: &DatabaseTransaction,
    reason: MailReason,
    to: &str,
) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let key = key(app, WRITTEN.what, &[reason.name(), &folded(to)]);
    let counted = one_more(transaction, &key, WRITTEN).await?;
    counted.map_err(|(until, now)| try_again(until, now))
}

/// Does the same as [`may_write`] for a mail that was requested from an IP address. If the account was used from this
/// address before, requests from elsewhere do not limit it.
///
/// # Errors
///
/// If the database returns an error.
pub async fn may_answer(
    app: &App,
    transaction: &DatabaseTransaction,
    reason: MailReason,
    to: &str,
    ip: Option<IpAddr>,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let known = key(app, "known", &[&folded(to), &place(ip)]);
    if is_known(transaction, &known).await? {
        return Ok(true);
    }
    may_write(app, transaction, reason, to).await
}

/// Counts a security notice to an account, in the transaction of the event. Returns `false` if the limit is reached and
/// the notice must be left out.
///
/// # Errors
///
/// If the database returns an error.
pub async fn may_tell(
    app: &App,
    transaction: &DatabaseTransaction,
    user: UserId,
    event: Event,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let key = key(app, NOTICE.what, &[event.name(), &user.to_string()]);
    count_in(transaction, &key, NOTICE).await
}
