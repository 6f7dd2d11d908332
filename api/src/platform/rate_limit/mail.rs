//! Budgets of mails: nobody gets more mail than they can read, and no stranger keeps a mail from those it is for.
//!
//! Asking is refused only to those who ask too often themselves: it is counted by who is asked for from where, and
//! by where it is asked from, for each reason apart. What is written to one address is counted when it is
//! written, again for each reason apart; a mail beyond that is left out and nobody is refused. A place that the
//! account was used from before is not bound by what others asked for. Mails that tell an account of what was
//! done to it are counted by account and by what they tell: no request of a stranger counts there.

use std::net::IpAddr;

use entity::UserId;
use sea_orm::DatabaseTransaction;

use super::{Budget, count, count_in, is_known, key, place};
use crate::app::App;
use crate::base::error::Result;

const ASKED: Budget = Budget::new("mail-asked", 5, 60);
const ASKED_FROM: Budget = Budget::new("mail-asked-from", 30, 60);
const WRITTEN: Budget = Budget::new("mail-written", 10, 60);
const TOLD: Budget = Budget::new("mail-told", 10, 60);

/// Why a mail to an address is written. Each reason has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailReason {
    /// Somebody registered with the address.
    Registration,
    /// Somebody gave the address to an account they have.
    NewAddress,
    /// Somebody asked for a mail that verifies the address.
    Verification,
    /// Somebody asked for a mail with which to set a new password.
    PasswordReset,
}

impl MailReason {
    fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::NewAddress => "new-address",
            Self::Verification => "verify",
            Self::PasswordReset => "reset-password",
        }
    }
}

/// What a mail tells the owner of an account that was done to it. Each event has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The password was changed.
    PasswordChanged,
    /// Another account became a superuser's, or this one.
    SuperuserAdded,
    /// Another superuser has another password.
    SuperuserPassword,
    /// An API token was made for it.
    ApiTokenCreated,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::PasswordChanged => "password-changed",
            Self::SuperuserAdded => "superuser-added",
            Self::SuperuserPassword => "superuser-password",
            Self::ApiTokenCreated => "api-token-created",
        }
    }
}

/// Counts a request for a mail, before anything is known of the address.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait; it depends on nothing
/// but what was asked for from this place.
pub async fn asked(app: &App, reason: MailReason, to: &str, ip: Option<IpAddr>) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    let (to, from, reason) = (to.to_ascii_lowercase(), place(ip), reason.name());
    let pair = key(app, ASKED.what, &[reason, &to, &from]);
    let from = key(app, ASKED_FROM.what, &[reason, &from]);
    count(app, &mut [(pair, ASKED), (from, ASKED_FROM)]).await
}

/// Counts a mail that is about to be written to an address, in its transaction. `false` if there were so many for
/// this reason that it must be left out.
///
/// # Errors
///
/// When the database refuses.
pub async fn may_write(
    app: &App,
    transaction: &DatabaseTransaction,
    reason: MailReason,
    to: &str,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let key = key(app, WRITTEN.what, &[reason.name(), &to.to_ascii_lowercase()]);
    count_in(transaction, &key, WRITTEN).await
}

/// As [`may_write`], for a mail that somebody asked for from a place: one that the account was used from before
/// is not bound by what was asked for elsewhere.
///
/// # Errors
///
/// When the database refuses.
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
    let known = key(app, "known", &[&to.to_ascii_lowercase(), &place(ip)]);
    if is_known(transaction, &known).await? {
        return Ok(true);
    }
    may_write(app, transaction, reason, to).await
}

/// Counts a mail that tells an account of something that was done to it, in the transaction of what was done.
/// `false` if so much of it was told lately that one more tells nothing new.
///
/// # Errors
///
/// When the database refuses.
pub async fn may_tell(
    app: &App,
    transaction: &DatabaseTransaction,
    user: UserId,
    event: Event,
) -> Result<bool> {
    if !app.config.rate_limit {
        return Ok(true);
    }
    let key = key(app, TOLD.what, &[event.name(), &user.to_string()]);
    count_in(transaction, &key, TOLD).await
}
