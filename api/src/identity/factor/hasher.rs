//! The threads that hash passwords.
//!
//! A hash takes a quarter of a second of a core. On the threads that serve requests, or on as many
//! threads as there are sign-ins, a few dozen of them would starve everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::foreign::Foreign;
use super::pace::{OWN, Pace};
use super::password::{self, Password};
use super::queue::{Job, Origin, Outcome, Queue};
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::random;
use crate::identity::user::PasswordHash;

/// How long a hash may wait before it is begun. One that begins later would be finished for nobody:
/// on a machine that is slowed down, every one would, and none be answered.
///
/// It is a little more than [`WAIT`](super::schedule::WAIT). A request has nine seconds: the rest is for the hash, and
/// for the database before and after it.
const BEGIN_WITHIN: Duration = Duration::from_millis(7500);

/// The kind of jobs that hash a new password.
const NEW: &str = "new";

/// As many hashing threads as cores, behind a fair queue.
#[derive(Debug)]
pub(super) struct Hasher {
    queue: Arc<Queue>,
    cost: u32,
    dummy: PasswordHash,
    dearest: Arc<AtomicU32>,
    pace: Pace,
}

impl Hasher {
    /// Starts the threads. `cost` is that of new hashes, as a power of two.
    pub(super) fn start(cost: u32) -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let queue = Queue::start(workers, guess(cost));
        let dummy = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        let dearest = Arc::new(AtomicU32::new(cost));
        Self { queue, cost, dummy, dearest, pace: Pace::default() }
    }

    /// Refuses a job that the queue would refuse at once. It reserves nothing: it comes before the database is asked, so
    /// that a request that is turned away costs next to nothing.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`].
    pub(super) fn require_room(&self, origin: &Origin) -> Result<()> {
        if self.queue.would_refuse(origin) { Err(Code::ServiceBusy.into()) } else { Ok(()) }
    }

    /// The hash of a new password; or, for people, why it is too easy to guess by somebody who knows
    /// these words of its owner. `least` is the score it must have, from 0 to 4.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; when the hashing threads are gone.
    pub(super) async fn hash_new(
        &self,
        origin: &Origin,
        password: Password,
        words: Vec<String>,
        least: u8,
    ) -> Result<Result<PasswordHash, Vec<LocalizedMessage>>> {
        let cost = self.cost;
        self.run(origin, NEW, move || match password.fault(&words, least) {
            Some(fault) => Err(fault),
            None => Ok(password.hash(cost, random::bytes())),
        })
        .await
    }

    /// A hash that no password has, and that takes as long as any.
    pub(super) fn dummy_hash(&self) -> &PasswordHash {
        &self.dummy
    }

    /// The hash of a password that is in use already, if it is made while the request has time. `since` is when it began.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; when the hashing threads are gone.
    pub(super) async fn hash(
        &self,
        origin: &Origin,
        password: Password,
        since: Stopwatch,
    ) -> Result<PasswordHash> {
        let cost = self.cost;
        let hash = self.run(origin, OWN, move || password.hash(cost, random::bytes()));
        let left = BEGIN_WITHIN.saturating_sub(since.elapsed());
        timeout(left, hash).await.unwrap_or_else(|_| Err(Code::ServiceBusy.into()))
    }

    /// Whether a hash is cheaper to try passwords on than those that are made now.
    pub(super) fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.cost().is_none_or(|cost| cost < self.cost)
    }

    /// Whether `hash` is the password's. Without a hash, because there is no such user, the answer
    /// is no after the same work; and a hash from when `BCRYPT_COST` was lower takes the work of the
    /// dearest one that was seen, or the time would tell that there is a hash. Where
    /// there are hashes of other kinds, every answer waits as long as the slowest of them takes.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; when the hashing threads are gone.
    pub(super) async fn matches(
        &self,
        origin: &Origin,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let kind = self.kind_of(&hash);
        let (matches, took) = self.check(origin, &kind, password, hash).await?;
        sleep(self.pace.note(&kind, took)).await;
        Ok(matches && known)
    }

    /// Learns how long a hash of another kind takes, if that is not known.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; when the hashing threads are gone.
    pub(super) async fn learn(&self, hash: PasswordHash) -> Result<()> {
        let kind = self.kind_of(&hash);
        if kind == OWN || self.pace.knows(&kind) {
            return Ok(());
        }
        let (origin, password) = (Origin::internal(), Password::new(String::new()));
        let (_, took) = self.check(&origin, &kind, password, hash).await?;
        self.pace.note(&kind, took);
        Ok(())
    }

    async fn check(
        &self,
        origin: &Origin,
        kind: &str,
        password: Password,
        hash: PasswordHash,
    ) -> Result<(bool, Duration)> {
        let (dearest, configured) = (Arc::clone(&self.dearest), self.cost);
        self.run(origin, kind, move || {
            let began = Instant::now();
            let matches = password.matches(&hash);
            // One row that is far too dear must not slow everybody down.
            if let Some(cost) = hash.cost().filter(|cost| *cost <= configured + 2) {
                let dearest = dearest.fetch_max(cost, Ordering::Relaxed).max(cost);
                // Each step doubles what was done: 2^c and then 2^c, 2^(c+1), … make 2^dearest.
                (cost..dearest).for_each(password::work);
            }
            (matches, began.elapsed())
        })
        .await
    }

    /// The kind of a hash, of those that take the same time.
    fn kind_of(&self, hash: &PasswordHash) -> String {
        match (hash.cost(), Foreign::read(hash.expose())) {
            (Some(cost), _) if cost > self.cost + 2 => format!("bcrypt {cost}"),
            (None, Some(foreign)) => foreign.kind(),
            _ => OWN.to_owned(),
        }
    }

    /// Does something on a hashing thread, as soon as it is its turn.
    async fn run<T: Send + 'static>(
        &self,
        origin: &Origin,
        kind: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, mut answer) = oneshot::channel();
        let waits = Stopwatch::start();
        let job: Job = Box::new(move |outcome| {
            // Nobody waits for it any more: the caller ran out of time.
            if reply.is_closed() {
                return None;
            }
            // The timer below stands still while a machine is suspended. This does not.
            if outcome == Outcome::Refused || waits.elapsed() > BEGIN_WITHIN {
                let _ = reply.send(None);
                return None;
            }
            let began = Instant::now();
            let _ = reply.send(Some(work()));
            Some(began.elapsed())
        });
        let gone = |_| Error::because(Code::InternalServerError, "a hashing thread gave up");
        let busy = || Error::from(Code::ServiceBusy);
        // A caller who gives up drops this, and the job leaves the queue.
        let queued = self.queue.push(origin, kind, job);
        let answered = match timeout(BEGIN_WITHIN, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if queued.leave() => return Err(busy()),
            Err(_) => answer.await,
        };
        answered.map_err(gone)?.ok_or_else(busy)
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// What a hash of this cost takes on most machines: a quarter of a second at cost 12, and twice that at 13.
fn guess(cost: u32) -> Duration {
    Duration::from_micros(61).saturating_mul(1 << cost.min(31))
}
