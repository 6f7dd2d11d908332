//! The documents that a provider publishes, kept in memory. One request fetches it, and others wait or use what is known.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::refusal::{Checked, Refusal};
use crate::base::clock::{self, Timestamp};

/// The time for which something is kept if it cannot be fetched again, in seconds.
const KEPT_FOR: u64 = 86_400;

/// The time between two attempts if one failed, in seconds.
const TRIED_EVERY: u64 = 10;

/// A document of a provider.
#[derive(Debug)]
pub(super) struct Cached<T> {
    known: Mutex<Known<T>>,
    /// Held by the one request that fetches.
    one: Semaphore,
}

#[derive(Debug)]
struct Known<T> {
    value: Option<(Arc<T>, Timestamp)>,
    failed: Option<(Refusal, Timestamp)>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { known: Mutex::new(Known { value: None, failed: None }), one: Semaphore::new(1) }
    }
}

impl<T> Known<T> {
    /// The value, if it is at most this old.
    fn younger(&self, age: u64, now: Timestamp) -> Option<Arc<T>> {
        let (value, at) = self.value.as_ref()?;
        (now <= at.plus_seconds(age)).then(|| Arc::clone(value))
    }

    /// The result without another attempt: a value that is young enough, or the failure of a moment ago.
    fn settled(&self, age: u64, now: Timestamp) -> Option<Checked<Arc<T>>> {
        if let Some(value) = self.younger(age, now) {
            return Some(Ok(value));
        }
        let (refusal, at) = self.failed.as_ref()?;
        let is_recent = now <= at.plus_seconds(TRIED_EVERY);
        is_recent.then(|| self.younger(KEPT_FOR, now).ok_or_else(|| refusal.clone()))
    }
}

impl<T> Cached<T> {
    /// Returns the document. If it is older than `age` seconds, it is fetched again. If that fails, an older one is used
    /// for a day.
    ///
    /// # Errors
    ///
    /// The refusal of the attempt.
    pub(super) async fn get(
        &self,
        age: u64,
        fetch: impl Future<Output = Checked<T>>,
    ) -> Checked<Arc<T>> {
        if let Some(settled) = self.look(age) {
            return settled;
        }
        // If an older answer is kept, the caller uses it and does not wait for the fetch.
        if self.one.available_permits() == 0
            && let Some(Ok(known)) = self.look(KEPT_FOR)
        {
            return Ok(known);
        }
        let _held = self.one.acquire().await;
        if let Some(settled) = self.look(age) {
            return settled;
        }
        let fetched = fetch.await;
        self.note(fetched)
    }

    fn look(&self, age: u64) -> Option<Checked<Arc<T>>> {
        let now = clock::now();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).settled(age, now)
    }

    fn note(&self, fetched: Checked<T>) -> Checked<Arc<T>> {
        let now = clock::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(value) => {
                let value = Arc::new(value);
                known.value = Some((Arc::clone(&value), now));
                known.failed = None;
                Ok(value)
            }
            Err(refusal) => {
                tracing::warn!(refusal.name, refusal = %refusal, "a provider could not be read");
                known.failed = Some((refusal.clone(), now));
                known.younger(KEPT_FOR, now).ok_or(refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::upstream::Why;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus_seconds(seconds)
    }

    fn refusal() -> Refusal {
        Refusal::new("discovery.unreachable", Why::NoAnswer, "Look.")
    }

    #[test]
    fn a_document_is_used_for_its_age_and_for_a_day_if_the_provider_fails() {
        let mut known = Known { value: Some((Arc::new(7), at(1000))), failed: None };
        assert!(matches!(known.settled(3600, at(4600)), Some(Ok(_))));
        assert!(known.settled(3600, at(4601)).is_none());
        known.failed = Some((refusal(), at(4601)));
        assert!(matches!(known.settled(3600, at(4611)), Some(Ok(_))));
        assert!(known.settled(3600, at(4612)).is_none());
        known.failed = Some((refusal(), at(90_000)));
        assert!(matches!(known.settled(3600, at(90_001)), Some(Err(_))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_of_many_requests_fetches() {
        let cached = Cached::default();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let fetch = || async {
            tokio::task::yield_now().await;
            Ok(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        };
        let all = (0..20).map(|_| cached.get(60, fetch()));
        let found = futures_util::future::join_all(all).await;
        assert!(found.into_iter().all(|found| found.is_ok_and(|value| *value == 0)));
    }
}
