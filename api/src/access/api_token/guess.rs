//! Limits how often an address can try API tokens and other long secrets that do not exist.
//!
//! Each replica counts for itself, in memory. A refused attempt needs no query. A token that was accepted from the same
//! address before is still accepted, so another client behind the same proxy cannot lock it out. A token that this
//! replica has not seen from that address waits for at most a minute. The same wrong token counts once, so a program
//! that keeps sending a deleted token locks nobody out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::Digest;
use crate::base::clock::Stopwatch;
use crate::base::error::{Error, Result};

/// The number of different wrong tokens that have no delay.
const FREE: u32 = 100;

/// The first delay. Each further wrong token doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest delay.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The time from the last wrong token until the count of an address is forgotten.
const COUNTED_FOR: Duration = Duration::from_secs(3600);

/// The maximum number of addresses, and of tokens with their address, that are kept in memory.
const MAX_REMEMBERED: usize = 20_000;

/// An address that sent wrong tokens.
#[derive(Debug, Default)]
struct Guesser {
    count: u32,
    last: Option<Stopwatch>,
    wait: Duration,
}

impl Guesser {
    /// The remaining time that it must wait.
    fn left(&self) -> Duration {
        let since = self.last.as_ref().map_or(Duration::MAX, Stopwatch::elapsed);
        self.wait.saturating_sub(since)
    }
}

/// The wrong tokens by address, and the tokens that were accepted.
pub(crate) struct Guesses {
    places: Cache<String, Arc<Mutex<Guesser>>>,
    wrong: Cache<(String, Digest), ()>,
    right: Cache<(String, Digest), ()>,
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Guesses(…)")
    }
}

impl Default for Guesses {
    fn default() -> Self {
        let places = Cache::new(MAX_REMEMBERED);
        Self { places, wrong: Cache::new(MAX_REMEMBERED), right: Cache::new(MAX_REMEMBERED) }
    }
}

impl Guesses {
    /// Refuses an address that sent too many wrong tokens, unless the token was accepted from there before.
    ///
    /// # Errors
    ///
    /// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with the time to wait.
    pub(crate) fn refuse(&self, place: &str, token: Digest) -> Result<()> {
        let Some(known) = self.places.get(place) else { return Ok(()) };
        let left = known.lock().unwrap_or_else(PoisonError::into_inner).left();
        if left.is_zero() || self.right.get(&(place.to_owned(), token)).is_some() {
            return Ok(());
        }
        Err(Error::try_again_after(left))
    }

    /// Counts a token that does not exist. If the address sends the same token again, it does not count.
    pub(crate) fn was_wrong(&self, place: &str, token: Digest) {
        let key = (place.to_owned(), token);
        if self.wrong.get(&key).is_some() {
            return;
        }
        self.wrong.insert(key, ());
        let Ok(known) = self.places.get_or_insert_with(place, || Ok::<_, ()>(Arc::default()))
        else {
            return;
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = known.last.as_ref().is_some_and(|last| last.elapsed() < COUNTED_FOR);
        known.count = if counts { known.count.saturating_add(1) } else { 1 };
        known.last = Some(Stopwatch::start());
        known.wait = match known.count.saturating_sub(FREE) {
            0 => Duration::ZERO,
            beyond => (FIRST_WAIT * (1 << (beyond - 1).min(6))).min(LONGEST_WAIT),
        };
    }

    /// Remembers that a token was accepted from an address.
    pub(crate) fn was_right(&self, place: &str, token: Digest) {
        self.right.insert((place.to_owned(), token), ());
    }
}
