//! The threads that hash passwords.
//!
//! A hash takes a quarter of a second of a core. If the threads that serve requests hashed, or if each sign-in had a
//! thread, a few dozen sign-ins would stop everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::foreign::{Foreign, MAX_BYTES_BY_LENGTH};
use super::pace::{OWN, Pace};
use super::password::{self, Password};
use super::queue::{Job, Origin, Outcome, Queue};
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::metrics::{Counter, HASH, Histogram};
use crate::base::random;
use crate::identity::user::PasswordHash;

/// The time that a hash can wait before it begins. One that begins later would finish after its request has ended. On a
/// slow machine all hashes would begin late, and no request would get an answer.
///
/// It is a little more than [`WAIT`](super::schedule::WAIT). A request has nine seconds: the rest is for the hash, and
/// for the database before and after it.
const BEGIN_WITHIN: Duration = Duration::from_millis(7500);

/// The time that a refusal waits. Otherwise clients that try again at once would use the cores for refusals.
const PAUSE: Duration = Duration::from_millis(250);

/// The maximum number of refusals that wait. Each holds its connection, so the others are answered at once.
const MAX_PAUSES: usize = 512;

/// The kind of jobs that hash a new password.
const NEW: &str = "new";

/// The hashing threads, as many as cores, behind a fair queue.
#[derive(Debug)]
pub(super) struct Hasher {
    queue: Arc<Queue>,
    cost: u32,
    dummy: PasswordHash,
    dearest: Arc<AtomicU32>,
    pace: Pace,
    pauses: Semaphore,
    numbers: Arc<Numbers>,
}

/// The numbers of the queue, for monitoring.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The time from the queue to the beginning of a hash.
    pub(super) waited: Histogram,
    /// The time of a hash.
    pub(super) took: Histogram,
    /// The hashes that were refused, because the queue was full or because they waited for too long.
    pub(super) refused: Counter,
}

impl Hasher {
    /// Starts the threads. `cost` is that of new hashes, as a power of two.
    pub(super) fn start(cost: u32) -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let queue = Queue::start(workers, guess(cost));
        let dummy = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        let dearest = Arc::new(AtomicU32::new(cost));
        let pauses = Semaphore::new(MAX_PAUSES);
        let numbers = Arc::new(Numbers {
            waited: Histogram::new(HASH),
            took: Histogram::new(HASH),
            refused: Counter::default(),
        });
        Self { queue, cost, dummy, dearest, pace: Pace::default(), pauses, numbers }
    }

    /// The numbers of the queue, and the number of hashes that wait.
    pub(super) fn numbers(&self) -> (&Numbers, usize) {
        (&self.numbers, self.queue.length())
    }

    /// Fails after a pause if the queue would refuse a job at once. It reserves nothing. It comes before the database is
    /// asked, so that a refused request costs almost nothing.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] if the queue is full.
    pub(super) async fn require_room(&self, origin: &Origin) -> Result<()> {
        if !self.queue.would_refuse(origin) {
            return Ok(());
        }
        self.numbers.refused.count();
        if let Ok(_place) = self.pauses.try_acquire() {
            sleep(PAUSE).await;
        }
        Err(Code::ServiceBusy.into())
    }

    /// Hashes a new password. If it is too easy to guess for somebody who knows these words of its owner, returns messages
    /// for people instead. `least` is the minimum score, from 0 to 4.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; if the hashing threads have stopped.
    pub(super) async fn hash_new(
        &self,
        origin: &Origin,
        password: Password,
        words: Vec<String>,
        least: u8,
    ) -> Result<Result<PasswordHash, Vec<LocalizedMessage>>> {
        let cost = self.cost;
        // A password that is refused was not hashed: its time says nothing about a hash.
        let weigh = |hashed: &Result<_, _>, took| hashed.is_ok().then_some(took);
        self.run(origin, NEW, weigh, move || match password.fault(&words, least) {
            Some(fault) => Err(fault),
            None => Ok(password.hash(cost, random::bytes())),
        })
        .await
    }

    /// The cost of new hashes.
    pub(super) fn cost(&self) -> u32 {
        self.cost
    }

    /// Hashes a password that is already in use, while its request has time. `since` is the beginning of the request.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; if the hashing threads have stopped.
    pub(super) async fn hash(
        &self,
        origin: &Origin,
        password: Password,
        since: Stopwatch,
    ) -> Result<PasswordHash> {
        let cost = self.cost;
        let hash = self.run(
            origin,
            NEW,
            |_, took| Some(took),
            move || password.hash(cost, random::bytes()),
        );
        let left = BEGIN_WITHIN.saturating_sub(since.elapsed());
        timeout(left, hash).await.unwrap_or_else(|_| Err(Code::ServiceBusy.into()))
    }

    /// Returns true if passwords can be tried on a hash at a lower cost than on new hashes, or if another program made
    /// it in a way that a later release may not read.
    pub(super) fn is_outdated(&self, hash: &PasswordHash) -> bool {
        let is_old = hash.expose().starts_with("$2x$");
        is_old || hash.cost().is_none_or(|cost| cost < self.cost)
    }

    /// Returns true if `hash` is the hash of the password. Without a hash, because the user does not exist, the answer is
    /// `false` after the same work. A hash with a lower `BCRYPT_COST` takes the work of the most expensive hash seen so
    /// far, because otherwise the time would reveal that there is a hash. If there are hashes of other kinds, every answer
    /// takes as long as the slowest kind.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; if the hashing threads have stopped.
    pub(super) async fn matches(
        &self,
        origin: &Origin,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let kind = self.kind_of(&hash);
        let (matches, took) = self.check(origin, password, hash).await?;
        sleep(self.pace.note(&kind, took)).await;
        Ok(matches && known)
    }

    /// Measures how long a hash of another kind takes, if that is not known.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`]; if the hashing threads have stopped.
    pub(super) async fn learn(&self, hash: PasswordHash) -> Result<()> {
        // Tessera's own kind too, because users without an account get its time.
        for hash in [hash, self.dummy.clone()] {
            let kind = self.kind_of(&hash);
            if !self.pace.knows(&kind) {
                let longest = Password::new("x".repeat(MAX_BYTES_BY_LENGTH));
                let (_, took) = self.check(&Origin::internal(), longest, hash).await?;
                self.pace.learn(&kind, took);
            }
        }
        Ok(())
    }

    async fn check(
        &self,
        origin: &Origin,
        password: Password,
        hash: PasswordHash,
    ) -> Result<(bool, Duration)> {
        // Each check counts as the slowest kind of hash. Otherwise the number of refusals would reveal the kind.
        let longest = self.pace.longest();
        let weigh = move |_: &(bool, Duration), took: Duration| Some(took.max(longest));
        let (dearest, configured) = (Arc::clone(&self.dearest), self.cost);
        self.run(origin, OWN, weigh, move || {
            let began = Instant::now();
            let matches = password.matches(&hash);
            // One row with a far too high cost must not slow down everybody.
            if let Some(cost) = hash.cost().filter(|cost| *cost <= configured + 2) {
                let dearest = dearest.fetch_max(cost, Ordering::Relaxed).max(cost);
                // Each step doubles what was done: 2^c and then 2^c, 2^(c+1), … make 2^dearest.
                (cost..dearest).for_each(password::work);
            }
            (matches, began.elapsed())
        })
        .await
    }

    /// The kind of a hash. Hashes of one kind take the same time.
    fn kind_of(&self, hash: &PasswordHash) -> String {
        match (hash.cost(), Foreign::read(hash.expose())) {
            (Some(cost), _) if cost > self.cost + 2 => format!("bcrypt {cost}"),
            (None, Some(foreign)) => foreign.kind(),
            _ => OWN.to_owned(),
        }
    }

    /// Runs work on a hashing thread when its turn comes. `weigh` returns the time that counts for the queue.
    async fn run<T: Send + 'static>(
        &self,
        origin: &Origin,
        kind: &str,
        weigh: impl FnOnce(&T, Duration) -> Option<Duration> + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        // A check is answered as late as the slowest kind, and that must be in time too.
        let begin_within = BEGIN_WITHIN.saturating_sub(self.pace.longest());
        let (reply, mut answer) = oneshot::channel();
        let waits = Stopwatch::start();
        let numbers = Arc::clone(&self.numbers);
        let job: Job = Box::new(move |outcome| {
            // The caller has run out of time, so the result is not needed any more.
            if reply.is_closed() {
                return None;
            }
            // The timer below stands still while a machine is suspended. This does not.
            if outcome == Outcome::Refused || waits.elapsed() > begin_within {
                let _ = reply.send(None);
                return None;
            }
            numbers.waited.observe(waits.elapsed());
            let began = Instant::now();
            let done = work();
            let took = began.elapsed();
            numbers.took.observe(took);
            let weight = weigh(&done, took);
            let _ = reply.send(Some(done));
            weight
        });
        let gone = |_| Error::because(Code::InternalServerError, "a hashing thread gave up");
        let busy = || {
            self.numbers.refused.count();
            Error::from(Code::ServiceBusy)
        };
        // A caller who gives up drops this, and the job leaves the queue.
        let queued = self.queue.push(origin, kind, job);
        let answered = match timeout(begin_within, &mut answer).await {
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

/// The time that a hash of this cost takes on most machines: a quarter of a second at cost 12, and twice that at 13.
fn guess(cost: u32) -> Duration {
    Duration::from_micros(61).saturating_mul(1 << cost.min(31))
}
