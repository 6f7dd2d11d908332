//! Guesses of API tokens: a place that shows many tokens there are not has to wait.
//!
//! They are counted in memory, by each replica for itself, and a refused guess costs no query. A token that was
//! accepted from the same place before passes, so that a stranger behind the same proxy does not lock it out; a
//! token from there that this replica has not seen yet waits for a minute at most. The same wrong token shown again
//! and again is no guess: a program that was not told of the end of its token locks nobody out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::Digest;
use crate::base::clock::Stopwatch;
use crate::base::error::{Error, Result};

/// So many different wrong tokens wait for nothing.
const FREE: u32 = 100;

/// The first wait; each further guess doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long guesses are counted from the last one.
const COUNTED_FOR: Duration = Duration::from_secs(3600);

/// The most places, and the most tokens of places, that are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// A place from which tokens are guessed.
#[derive(Debug, Default)]
struct Guesser {
    count: u32,
    last: Option<Stopwatch>,
    wait: Duration,
}

impl Guesser {
    /// How long it has to wait.
    fn left(&self) -> Duration {
        let since = self.last.as_ref().map_or(Duration::MAX, Stopwatch::elapsed);
        self.wait.saturating_sub(since)
    }
}

/// What was guessed, and from where tokens were used.
pub(super) struct Guesses {
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
    /// Refuses a place that guessed too often, unless the token was accepted from there before.
    ///
    /// # Errors
    ///
    /// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts), with how long to wait.
    pub(super) fn refuse(&self, place: &str, token: Digest) -> Result<()> {
        let Some(known) = self.places.get(place) else { return Ok(()) };
        let left = known.lock().unwrap_or_else(PoisonError::into_inner).left();
        if left.is_zero() || self.right.get(&(place.to_owned(), token)).is_some() {
            return Ok(());
        }
        Err(Error::try_again_after(left))
    }

    /// Counts a token that there is not. The same one again counts nothing.
    pub(super) fn was_wrong(&self, place: &str, token: Digest) {
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

    /// Remembers that a token was accepted from a place.
    pub(super) fn was_right(&self, place: &str, token: Digest) {
        self.right.insert((place.to_owned(), token), ());
    }
}
