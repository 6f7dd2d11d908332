//! Room for services that wait or take a snapshot: a number of places, of which one owner of tokens and one address have
//! only a part. So a greedy service starves no other one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::access::caller::Caller;
use crate::base::error::{Error, Result};
use crate::base::random;
use crate::base::request_context;
use crate::platform::rate_limit;

/// The longest time after which a service that found no room tries again, in seconds.
const TRY_AGAIN_WITHIN: u64 = 10;

/// Somebody who has places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    /// The owner of API tokens.
    Owner(Uuid),
    /// An IP address, or a network of IPv6.
    Address(String),
}

/// A number of places.
#[derive(Clone)]
pub(super) struct Room(Arc<Places>);

struct Places {
    free: Arc<Semaphore>,
    all: AtomicUsize,
    held: Mutex<HashMap<Holder, usize>>,
}

impl fmt::Debug for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Room({} of {})", self.taken(), self.all())
    }
}

/// A place, which is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    holders: [Holder; 2],
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(all: usize) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(all));
        Self(Arc::new(Places { free, all: AtomicUsize::new(all), held: Mutex::default() }))
    }

    /// The number of places.
    pub(super) fn all(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }

    /// The number of places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.all().saturating_sub(self.0.free.available_permits())
    }

    /// Takes places away until there are at most this many.
    pub(super) fn shrink_to(&self, most: usize) {
        let beyond = self.all().saturating_sub(most);
        self.0.free.forget_permits(beyond);
        self.0.all.fetch_sub(beyond, Ordering::Relaxed);
    }

    /// Gives a place to a service. The owner of its token can have half of all places, and its address three quarters.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`](crate::base::error::Code::ServiceBusy), with a random time to wait.
    pub(super) fn admit(&self, caller: &Caller) -> Result<Seat> {
        let owner = caller.id().map(|id| id.uuid()).unwrap_or_default();
        let address = rate_limit::place(request_context::current().ip);
        let holders = [Holder::Owner(owner), Holder::Address(address)];
        let all = self.all();
        let most = [(all / 2).max(1), (all - all / 4).max(1)];
        let mut held = self.held();
        let has = |holder: &Holder| held.get(holder).copied().unwrap_or_default();
        if holders.iter().zip(most).any(|(holder, most)| has(holder) >= most) {
            return Err(no_room());
        }
        let free = Arc::clone(&self.0.free);
        let permit = free.try_acquire_owned().map_err(|_| no_room())?;
        for holder in &holders {
            *held.entry(holder.clone()).or_default() += 1;
        }
        drop(held);
        Ok(Seat { room: self.clone(), holders, _permit: permit })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.room.held();
        for holder in &self.holders {
            if let Entry::Occupied(mut count) = held.entry(holder.clone()) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

/// The refusal of a service that found no room. Each comes again at another time, so that they do not come together.
fn no_room() -> Error {
    let [byte] = random::bytes::<1>();
    Error::busy(Duration::from_secs(1 + u64::from(byte) % TRY_AGAIN_WITHIN))
}
