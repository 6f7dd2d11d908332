//! The time for checking a password: every check takes as long as the slowest kind of hash in the database.
//!
//! Checking a hash from another program takes longer or shorter than checking one of Tessera's. A response that comes
//! sooner or later than for an unknown user would reveal that the user exists. So the time of each kind is known, and
//! every response waits until the slowest kind would have finished. The wait does not occupy a thread.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::foreign::BY_LENGTH;

/// The kind of hashes that Tessera makes.
pub(super) const OWN: &str = "own";

/// The longest time that anybody waits because of a kind.
const LONGEST: Duration = Duration::from_secs(2);

/// The maximum number of kinds. More could only be an attempt to fill the memory.
const MAX_KINDS: usize = 64;

/// The usual time of each kind.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Duration>>);

impl Pace {
    /// Returns true if the time of a kind is known.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(kind)
    }

    /// Learns the time of a kind with the longest password.
    pub(super) fn learn(&self, kind: &str, took: Duration) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() < MAX_KINDS {
            kinds.entry(kind.to_owned()).or_insert(took);
        }
    }

    /// Learns from a check, and returns how much longer its response must wait. A kind whose time depends on the password
    /// keeps the time that was learned, because the caller chooses the password.
    pub(super) fn note(&self, kind: &str, took: Duration) -> Duration {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kind.starts_with(BY_LENGTH) {
            // The job of imported hashes learns it.
        } else if let Some(usual) = kinds.get_mut(kind) {
            *usual = (*usual * 7 + took) / 8;
        } else if kinds.len() < MAX_KINDS {
            kinds.insert(kind.to_owned(), took);
        }
        until(&kinds).saturating_sub(took)
    }

    /// The time that every check takes for its caller, if there are hashes of other kinds; else zero.
    pub(super) fn longest(&self) -> Duration {
        until(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The time until a check is answered: a little longer than the slowest kind usually takes, so that a check that happens
/// to be slower also waits. Zero if all hashes are of one kind.
fn until(kinds: &HashMap<String, Duration>) -> Duration {
    if !kinds.keys().any(|kind| kind != OWN) {
        return Duration::ZERO;
    }
    let slowest = kinds.values().max().copied().unwrap_or_default().min(LONGEST);
    slowest + slowest / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_takes_as_long_as_the_slowest_kind_once_there_is_another() {
        let pace = Pace::default();
        let millis = Duration::from_millis;
        assert_eq!(pace.note(OWN, millis(50)), Duration::ZERO);
        assert_eq!(pace.note("quick", millis(10)), millis(50));
        assert_eq!(pace.note("slow", millis(100)), millis(20));
        for (kind, took) in [(OWN, 50), ("quick", 10), ("slow", 100)] {
            assert_eq!(pace.note(kind, millis(took)) + millis(took), millis(120));
        }
        // Short passwords do not hide how long the longest takes.
        let by_length = format!("{BY_LENGTH}x");
        pace.learn(&by_length, millis(500));
        for _ in 0..100 {
            pace.note(&by_length, millis(1));
        }
        assert_eq!(pace.longest(), millis(600));
        pace.note("endless", millis(60_000));
        assert!(pace.note(OWN, millis(50)) < millis(2400));
    }
}
