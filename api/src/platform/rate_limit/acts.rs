//! How many acts one account may do in a row: each writes rows, to the audit and to other tables, and nobody may fill
//! them at will.
//!
//! An act is counted before any work is done for it, in the memory of this replica: counting costs no query, and of
//! `n` replicas each grants its own share. Each kind of act has an allowance of its own, so that a thief who spends one
//! does not keep the owner from the acts that throw the thief out. Those acts need no allowance: signing out, ending
//! sessions and giving a refresh token up each end a session that lives, and so are as rare as sign-ins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use entity::{PrincipalId, SessionId, UserId};
use quick_cache::sync::Cache;

use crate::app::App;
use crate::base::clock::Stopwatch;
use crate::base::error::{Error, Result};

/// How many acts of a kind are granted at once, and how soon each is granted again.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// The kind.
    what: &'static str,
    /// So many are granted at once.
    at_once: u64,
    /// After so many milliseconds one more is.
    every: u64,
}

/// What a user does with their account: 60 acts at once, then one a second.
const OWN: Allowance = Allowance { what: "own", at_once: 60, every: 1000 };

/// What superusers and services do: 600 acts at once, then five a second.
const LARGE: Allowance = Allowance { what: "large", at_once: 600, every: 200 };

/// Access tokens that are given up. A thief of one session must not use up what revokes another's.
const REVOCATION: Allowance = Allowance { what: "revocation", at_once: 60, every: 1000 };

/// New passwords, which only those who gave the old one may set.
const PASSWORD: Allowance = Allowance { what: "password", at_once: 10, every: 30_000 };

/// Passwords that are given, to one account from one place, right or wrong.
const SIGN_IN: Allowance = Allowance { what: "sign-in", at_once: 60, every: 1000 };

/// Renewals of a session's cookie: browsers ask for many things at once.
const RENEWAL: Allowance = Allowance { what: "renewal", at_once: 10, every: 10_000 };

/// The most allowances that are remembered; those that were not used for longest are forgotten, and full again.
const MAX_KNOWN: usize = 50_000;

/// How many milliseconds the clocks of two threads may differ by. One that differs by more was set back.
const SET_BACK: u64 = 10_000;

/// What is left of the allowances of accounts.
pub(super) struct Acts {
    began: Stopwatch,
    /// When each will be full again, in milliseconds from the beginning.
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
    /// Takes one act from an allowance; or says how long to wait until there is one.
    fn take(&self, allowance: Allowance, of: &str) -> Result<(), Duration> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let key = format!("{} {of}", allowance.what);
        let new = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(full_at) = self.full_at.get_or_insert_with(&key, new);
        allowance.take(&full_at, now)
    }
}

impl Allowance {
    /// Takes one act at an instant, in milliseconds, from an allowance that is full again at another.
    fn take(self, full_at: &AtomicU64, now: u64) -> Result<(), Duration> {
        let latest = now.saturating_add(self.at_once * self.every);
        let after = |full_at: u64| {
            // Beyond that, a clock was ahead when it was written: nobody waits until it is right.
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

/// Counts an act of an account before it is done. Superusers and services have the `large` allowance.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub fn act(app: &App, account: PrincipalId, large: bool) -> Result<()> {
    count(app, if large { LARGE } else { OWN }, account)
}

/// Counts an access token that is about to be revoked by somebody who holds it.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub fn revocation(app: &App, user: UserId) -> Result<()> {
    count(app, REVOCATION, user)
}

/// Counts a new password of a user who has proved who they are.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
pub fn password(app: &App, user: UserId) -> Result<()> {
    count(app, PASSWORD, user)
}

/// Says whether a session's cookie may be renewed now. If not, it is renewed later.
pub fn may_renew(app: &App, session: SessionId) -> bool {
    count(app, RENEWAL, session).is_ok()
}

/// Counts a password that is given for an account from a place: the digest of both.
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
    fn so_many_are_granted_at_once_and_then_one_after_each_interval() {
        let full_at = AtomicU64::new(0);
        assert_eq!(granted(&full_at, 5000), 3);
        assert_eq!(granted(&full_at, 5999), 0);
        assert_eq!(granted(&full_at, 6000), 1);
        assert_eq!(granted(&full_at, 8500), 2, "half an interval grants nothing");
        assert_eq!(granted(&full_at, 9000), 1);
        assert_eq!(granted(&full_at, 60_000), 3, "never more than are granted at once");
    }

    #[test]
    fn whoever_waits_as_long_as_they_are_told_is_granted_one() {
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
    fn nobody_waits_for_a_clock_that_was_ahead_and_is_set_back() {
        let full_at = AtomicU64::new(0);
        assert_eq!(granted(&full_at, 7_200_000), 3);
        assert_eq!(granted(&full_at, 7_199_999), 0, "two threads read the clock at once");
        assert_eq!(granted(&full_at, 5000), 3);
        assert_eq!(granted(&full_at, 5000), 0);
    }

    #[test]
    fn a_refused_act_costs_nothing_and_others_have_their_own() {
        let acts = Acts::default();
        let until_refused = |of: &str| (0..1000).take_while(|_| acts.take(OWN, of).is_ok()).count();
        assert!((60..65).contains(&until_refused("one")));
        assert!((60..65).contains(&until_refused("two")));
        assert!(acts.take(REVOCATION, "one").is_ok(), "another kind");
    }
}
