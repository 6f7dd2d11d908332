//! The threads that hash passwords.
//!
//! A hash takes one core for a quarter of a second. A few dozen hashes would block everything else if they ran on the
//! threads that serve requests, or on one thread for each sign-in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;

use super::foreign::Foreign;
use super::pace::{OWN, Pace};
use super::password::{self, Password};
use crate::base::clock::Stopwatch;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::random;
use crate::identity::user::PasswordHash;

/// The number of hashes that can wait for each thread: about two seconds of work at cost 12.
const QUEUE_PER_WORKER: usize = 8;

/// The time that a hash can wait before it begins. One that begins later would finish after its request has ended. On a
/// slow machine all hashes would begin late, and no request would get an answer.
const BEGIN_WITHIN: Duration = Duration::from_secs(4);

type Job = Box<dyn FnOnce() + Send>;

/// A permit to queue work for the hashing threads. It is returned when the work is done or given up.
#[derive(Debug)]
pub struct HashPermit(#[expect(dead_code, reason = "returned when dropped")] OwnedSemaphorePermit);

/// The hashing threads, as many as cores, behind a bounded queue.
#[derive(Debug)]
pub(super) struct Hasher {
    queue: Sender<Job>,
    permits: Arc<Semaphore>,
    cost: u32,
    dummy: PasswordHash,
    highest_cost: Arc<AtomicU32>,
    pace: Pace,
}

impl Hasher {
    /// Starts the threads. `cost` is the cost of new hashes, as a power of two.
    pub(super) fn start(cost: u32) -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let (queue, jobs) = channel::<Job>();
        let permits = Arc::new(Semaphore::new(workers * (1 + QUEUE_PER_WORKER)));
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..workers {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name("hasher".to_owned())
                .spawn(move || work(&jobs))
                .expect("the operating system starts a thread");
        }
        let dummy = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        let highest_cost = Arc::new(AtomicU32::new(cost));
        Self { queue, permits, cost, dummy, highest_cost, pace: Pace::default() }
    }

    /// Reserves a place in the queue. This comes before any other work for a password, so that a refused request costs
    /// almost nothing.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] if the queue is full.
    pub(super) fn reserve(&self) -> Result<HashPermit> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map(HashPermit)
            .map_err(|_| Code::ServiceBusy.into())
    }

    /// Hashes a new password. Returns reasons for people instead, if the password is too easy to guess for somebody who
    /// knows `words`, the words of its owner. `min_score` is the score that it must have, from 0 to 4.
    ///
    /// # Errors
    ///
    /// If the hashing threads have stopped.
    pub(super) async fn hash_new(
        &self,
        permit: HashPermit,
        password: Password,
        words: Vec<String>,
        min_score: u8,
    ) -> Result<Result<PasswordHash, Vec<LocalizedMessage>>> {
        let cost = self.cost;
        self.run(permit, move || match password.fault(&words, min_score) {
            Some(fault) => Err(fault),
            None => Ok(password.hash(cost, random::bytes())),
        })
        .await
    }

    /// Returns a hash that matches no password. Checking it takes as long as checking a real one.
    pub(super) fn dummy_hash(&self) -> &PasswordHash {
        &self.dummy
    }

    /// Hashes a password that is already in use.
    ///
    /// # Errors
    ///
    /// If the hashing threads have stopped.
    pub(super) async fn hash(
        &self,
        permit: HashPermit,
        password: Password,
    ) -> Result<PasswordHash> {
        let cost = self.cost;
        self.run(permit, move || password.hash(cost, random::bytes())).await
    }

    /// Returns true if passwords can be guessed faster with this hash than with new ones.
    pub(super) fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.cost().is_none_or(|cost| cost < self.cost)
    }

    /// Returns true if `hash` belongs to the password. Every check takes the same time, so that the time does not
    /// reveal whether there is a user:
    ///
    /// * Without a hash, because there is no such user, the result is false after the same work.
    /// * A hash from when `BCRYPT_COST` was lower takes the work of the highest cost that was seen.
    /// * If there are hashes of other kinds, every check takes as long as the slowest kind.
    ///
    /// # Errors
    ///
    /// If the hashing threads have stopped.
    pub(super) async fn matches(
        &self,
        permit: HashPermit,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let kind = self.kind_of(&hash);
        let (matches, took) = self.check(permit, password, hash).await?;
        sleep(self.pace.note(&kind, took)).await;
        Ok(matches && known)
    }

    /// Learns how long a hash of another kind takes, if that is not known yet.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] if the queue is full; an error if the hashing threads have stopped.
    pub(super) async fn learn(&self, hash: PasswordHash) -> Result<()> {
        let kind = self.kind_of(&hash);
        if kind == OWN || self.pace.knows(&kind) {
            return Ok(());
        }
        let (_, took) = self.check(self.reserve()?, Password::new(String::new()), hash).await?;
        self.pace.note(&kind, took);
        Ok(())
    }

    async fn check(
        &self,
        permit: HashPermit,
        password: Password,
        hash: PasswordHash,
    ) -> Result<(bool, Duration)> {
        let (highest, configured) = (Arc::clone(&self.highest_cost), self.cost);
        self.run(permit, move || {
            let began = Instant::now();
            let matches = password.matches(&hash);
            // A single hash with a much higher cost must not slow down everybody.
            if let Some(cost) = hash.cost().filter(|cost| *cost <= configured + 2) {
                let highest = highest.fetch_max(cost, Ordering::Relaxed).max(cost);
                // Each step doubles the work: 2^c and then 2^c, 2^(c+1), … add up to 2^highest.
                (cost..highest).for_each(password::work);
            }
            (matches, began.elapsed())
        })
        .await
    }

    /// Returns the kind of a hash. Hashes of the same kind take the same time.
    fn kind_of(&self, hash: &PasswordHash) -> String {
        match (hash.cost(), Foreign::read(hash.expose())) {
            (Some(cost), _) if cost > self.cost + 2 => format!("bcrypt {cost}"),
            (None, Some(foreign)) => foreign.kind(),
            _ => OWN.to_owned(),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        permit: HashPermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let queued = Stopwatch::start();
        let job: Job = Box::new(move || {
            let _permit = permit;
            // The caller has run out of time, so the result is not needed any more.
            if !reply.is_closed() {
                let in_time = queued.elapsed() <= BEGIN_WITHIN;
                let _ = reply.send(in_time.then(work));
            }
        });
        let gone = || Error::because(Code::InternalServerError, "a hashing thread stopped");
        self.queue.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.ok_or_else(|| Code::ServiceBusy.into())
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // If a hash makes the library panic, only its own request fails, not the thread.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
