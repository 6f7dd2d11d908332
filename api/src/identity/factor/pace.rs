//! How long it takes to check a password: as long for anybody as for the slowest kind of hash there is.
//!
//! Hashes that other programs made take other times than those that are made here, and an answer that is
//! sooner or later than nobody's tells that there is a user. So each kind's time is known, and every answer
//! waits, on no thread, until the slowest would have come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The kind of those that are made here.
pub(super) const OWN: &str = "own";

/// The longest that anybody waits because of a kind.
const LONGEST: Duration = Duration::from_secs(2);

/// The most kinds that are known: more would be somebody's attempt to fill the memory.
const MAX_KINDS: usize = 64;

/// The times of each kind.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Duration>>);

impl Pace {
    /// Whether a kind's time is known.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(kind)
    }

    /// Learns from a check, and says how long its answer is to wait.
    pub(super) fn note(&self, kind: &str, took: Duration) -> Duration {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usual) = kinds.get_mut(kind) {
            *usual = (*usual * 7 + took) / 8;
        } else if kinds.len() < MAX_KINDS {
            kinds.insert(kind.to_owned(), took);
        }
        if !kinds.keys().any(|kind| kind != OWN) {
            return Duration::ZERO;
        }
        let slowest = kinds.values().max().copied().unwrap_or_default().min(LONGEST);
        // A little longer than usual: what is slower than the slowest, by chance, waits as well.
        (slowest + slowest / 5).saturating_sub(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_waits_for_the_slowest_kind_once_there_is_another() {
        let pace = Pace::default();
        let millis = Duration::from_millis;
        assert_eq!(pace.note(OWN, millis(50)), Duration::ZERO);
        assert_eq!(pace.note("quick", millis(10)), millis(50));
        assert_eq!(pace.note("slow", millis(100)), millis(20));
        for (kind, took) in [(OWN, 50), ("quick", 10), ("slow", 100)] {
            assert_eq!(pace.note(kind, millis(took)) + millis(took), millis(120));
        }
        pace.note("endless", millis(60_000));
        assert!(pace.note(OWN, millis(50)) < millis(2400));
    }
}
