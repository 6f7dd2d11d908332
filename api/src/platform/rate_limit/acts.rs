//! Allowances: the number of actions that one account can do in a row. Each action writes rows, to the audit and to
//! other tables, and no account may fill the tables at will.
//!
//! An action is counted before it does any work. The count is in the memory of this replica: counting costs no query,
//! and `n` replicas together allow `n` times as much. Each kind of action has its own allowance. So a thief who uses up
//! one allowance does not keep the owner from the actions that throw the thief out. Some of those actions need no
//! allowance: signing out, ending sessions and revoking a refresh token. Each of them ends a live session, so they are
//! as rare as sign-ins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use entity::{PrincipalId, SessionId, UserId};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::app::App;
use crate::base::clock::Stopwatch;
use crate::base::error::{Error, Result};

/// An allowance: the number of actions that are granted at once, and the interval after which another one is granted.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// The kind of action.
    what: &'static str,
    /// The number of actions that are granted at once.
    at_once: u64,
    /// The interval after which one more is granted, in milliseconds.
    every: u64,
}

/// Actions of users on their own account: 60 at once, then one per second.
const OWN: Allowance = Allowance { what: "own", at_once: 60, every: 1000 };

/// Actions of superusers and services: 600 at once, then five per second.
const LARGE: Allowance = Allowance { what: "large", at_once: 600, every: 200 };

/// Access tokens that their holders revoke. A thief of one session must not use up the allowance that revokes another's
/// token.
const REVOCATION: Allowance = Allowance { what: "revocation", at_once: 60, every: 1000 };

/// New passwords, which only users who gave the old password can set.
const PASSWORD: Allowance = Allowance { what: "password", at_once: 10, every: 30_000 };

/// Passwords that are given for one account from one IP address, right or wrong.
const SIGN_IN: Allowance = Allowance { what: "sign-in", at_once: 60, every: 1000 };

/// Renewals of a session's cookie, because browsers send many requests at once.
const RENEWAL: Allowance = Allowance { what: "renewal", at_once: 10, every: 10_000 };

/// Codes of sign-ins at other hosts. Pages of other sites can cause them, so they must not use up another allowance.
const LEAD_ON: Allowance = Allowance { what: "lead-on", at_once: 60, every: 1000 };

/// Codes for applications. Each brings a grant, and pages of other sites can cause them.
const CODE: Allowance = Allowance { what: "code", at_once: 60, every: 1000 };

/// Access tokens of applications that are revoked alone: of one user, or of one application that acts for itself.
const GRANT_REVOCATION: Allowance =
    Allowance { what: "grant-revocation", at_once: 60, every: 1000 };

/// The maximum number of allowances that are remembered. The least recently used ones are forgotten, and are then full
/// again.
const MAX_KNOWN: usize = 50_000;

/// The difference that is possible between the clocks of two threads, in milliseconds. A larger difference means that a
/// clock was set back.
const SET_BACK: u64 = 10_000;

/// The rest of the allowances of accounts.
pub(super) struct Acts {
    began: Stopwatch,
    /// The instant when each allowance will be full again, in milliseconds from the beginning.
    full_at: Cache<String, Arc<AtomicU64>>,
}

impl Default for Acts {
    fn default() -> Self {
        Self { began: Stopwatch::start(), full_at: Cache::new(MAX_KNOWN) }
    }
}

impl fmt::Debug for Acts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Acts").field("known", &self.full_at.len()).finish_non_exhaustive()
    }
}

impl Acts {
    /// Takes one action from an allowance, or returns the time until one is granted.
    fn take(&self, allowance: Allowance, of: &str) -> Result<(), Duration> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let key = format!("{} {of}", allowance.what);
        let new = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(full_at) = self.full_at.get_or_insert_with(&key, new);
        allowance.take(&full_at, now)
    }
}

impl Allowance {
    /// Takes one action at the instant `now` from an allowance that is full again at `full_at`, both in milliseconds.
    fn take(self, full_at: &AtomicU64, now: u64) -> Result<(), Duration> {
        let latest = now.saturating_add(self.at_once * self.every);
        let after = |full_at: u64| {
            // A later instant was written by a clock that was ahead. Nobody has to wait for it.
            let is_known = full_at <= latest.saturating_add(SET_BACK);
            full_at.max(now).min(if is_known { u64::MAX } else { now }).saturating_add(self.every)
        };
        let taken = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(after(full_at)).filter(|after| *after <= latest)
        });
        taken.map(drop).map_err(|full_at| Duration::from_millis(after(full_at) - latest))
    }
}

fn count(app: &App, allowance: Allowance, of: impl fmt::Display) -> Result<()> {
    if !app.config.rate_limit {
        return Ok(());
    }
    app.rate_limit.acts.take(allowance, &of.to_string()).map_err(Error::try_again_after)
}

/// Counts an action of an account before it is done. Superusers and services have the `large` allowance.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn act(app: &App, account: PrincipalId, large: bool) -> Result<()> {
    count(app, if large { LARGE } else { OWN }, account)
}

/// Counts an access token that its holder is about to revoke.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn revocation(app: &App, user: UserId) -> Result<()> {
    count(app, REVOCATION, user)
}

/// Counts a new password of a user who has proved their identity.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn password(app: &App, user: UserId) -> Result<()> {
    count(app, PASSWORD, user)
}

/// Counts a code with which a user is about to sign in at another host.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn lead_on(app: &App, user: UserId) -> Result<()> {
    count(app, LEAD_ON, user)
}

/// Counts a code that a user is about to give an application.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn code(app: &App, user: UserId) -> Result<()> {
    count(app, CODE, user)
}

/// Counts an access token of an application that is about to be revoked alone. `of` is the user that it is about, or the
/// application itself.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
pub fn grant_revocation(app: &App, of: Uuid) -> Result<()> {
    count(app, GRANT_REVOCATION, of)
}

/// Returns true if a session's cookie can be renewed now. Otherwise it is renewed later.
pub fn may_renew(app: &App, session: SessionId) -> bool {
    count(app, RENEWAL, session).is_ok()
}

/// Counts a password that is given for an account from an IP address. `pair` is the digest of both.
pub(super) fn sign_in(app: &App, pair: &str) -> Result<()> {
    count(app, SIGN_IN, pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Allowance = Allowance { what: "three", at_once: 3, every: 1000 };

    fn granted(full_at: &AtomicU64, now: u64) -> usize {
        (0..100).take_while(|_| THREE.take(full_at, now).is_ok()).count()
    }

    #[test]
    fn an_allowance_is_granted_at_once_and_then_one_after_each_interval() {
        let full_at = AtomicU64::new(0);
        assert_eq!(granted(&full_at, 5000), 3);
        assert_eq!(granted(&full_at, 5999), 0);
        assert_eq!(granted(&full_at, 6000), 1);
        assert_eq!(granted(&full_at, 8500), 2, "half an interval grants nothing");
        assert_eq!(granted(&full_at, 9000), 1);
        assert_eq!(granted(&full_at, 60_000), 3, "never more than are granted at once");
    }

    #[test]
    fn an_action_is_granted_after_the_time_to_wait() {
        let full_at = AtomicU64::new(0);
        let mut now = 7;
        granted(&full_at, now);
        for passed in [0, 300, 999] {
            let wait = THREE.take(&full_at, now + passed).unwrap_err();
            assert_eq!(wait, Duration::from_millis(1000 - passed));
        }
        now += 1000;
        assert_eq!(THREE.take(&full_at, now), Ok(()));
        assert_eq!(THREE.take(&full_at, now), Err(Duration::from_secs(1)));
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_back_makes_nobody_wait() {
        let full_at = AtomicU64::new(0);
        assert_eq!(granted(&full_at, 7_200_000), 3);
        assert_eq!(granted(&full_at, 7_199_999), 0, "two threads read the clock at once");
        assert_eq!(granted(&full_at, 5000), 3);
        assert_eq!(granted(&full_at, 5000), 0);
    }

    #[test]
    fn a_refused_action_costs_nothing_and_other_accounts_have_their_own_allowance() {
        let acts = Acts::default();
        let until_refused = |of: &str| (0..1000).take_while(|_| acts.take(OWN, of).is_ok()).count();
        assert!((60..65).contains(&until_refused("one")));
        assert!((60..65).contains(&until_refused("two")));
        assert!(acts.take(REVOCATION, "one").is_ok(), "another kind");
    }
}
