//! A cache of rows that were read from the database within the last 0.8 seconds, so that a busy token costs about one
//! query a second.
//!
//! People change rows by hand in SQL and expect to see the effect, so nothing is cached for longer.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache as Rows;

use crate::base::clock::Stopwatch;
use crate::base::metrics::Counter;

const KNOWN_FOR: Duration = Duration::from_millis(800);
const MAX_KNOWN: usize = 50_000;

/// Cached rows by their keys. `V` must be cheap to clone.
pub struct Cache<K, V> {
    rows: Rows<K, (Stopwatch, V)>,
    version: AtomicU64,
    hits: Counter,
    misses: Counter,
}

/// The start of a read: the time, and the version of the cache at that time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since(u64, Stopwatch);

impl<K: Copy + Eq + Hash, V: Clone> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            rows: Rows::new(MAX_KNOWN),
            version: AtomicU64::new(0),
            hits: Counter::default(),
            misses: Counter::default(),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn get(&self, key: K) -> Option<V> {
        let known = self.rows.get(&key).filter(|(since, _)| since.elapsed() < KNOWN_FOR);
        let counter = if known.is_some() { &self.hits } else { &self.misses };
        counter.count();
        known.map(|(_, row)| row)
    }

    /// The numbers of look-ups that found a row, and that found none.
    pub(crate) fn looked_up(&self) -> [u64; 2] {
        [self.hits.get(), self.misses.get()]
    }

    /// Marks the start of a read. Call this before you read a row.
    pub(crate) fn since(&self) -> Since {
        Since(self.version.load(Ordering::SeqCst), Stopwatch::start())
    }

    /// Caches a row, unless something was changed since the read began.
    pub(crate) fn put(&self, key: K, row: V, Since(version, since): Since) {
        if self.version.load(Ordering::SeqCst) == version {
            self.rows.insert(key, (since, row));
            if self.version.load(Ordering::SeqCst) != version {
                self.rows.remove(&key);
            }
        }
    }

    /// Removes a row that was changed.
    pub(crate) fn forget(&self, key: K) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.rows.remove(&key);
    }

    /// Removes all rows.
    pub(crate) fn forget_all(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.rows.clear();
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Known(…)")
    }
}
