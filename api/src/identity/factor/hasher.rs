//! The threads that hash passwords.
//!
//! A hash takes a quarter of a second of a core. On the threads that serve requests, or on as many
//! threads as there are sign-ins, a few dozen of them would starve everything else.

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

/// How many hashes may wait for each thread: some two seconds at cost 12.
const QUEUE_PER_WORKER: usize = 8;

/// How long a hash may wait before it is begun. One that begins later would be finished for nobody:
/// on a machine that is slowed down, every one would, and none be answered.
const BEGIN_WITHIN: Duration = Duration::from_secs(4);

type Job = Box<dyn FnOnce() + Send>;

/// The permit to queue work for the hashing threads, until that is done or given up.
#[derive(Debug)]
pub struct HashPermit(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

/// As many hashing threads as cores, behind a bounded queue.
#[derive(Debug)]
pub(super) struct Hasher {
    queue: Sender<Job>,
    permits: Arc<Semaphore>,
    cost: u32,
    dummy: PasswordHash,
    dearest: Arc<AtomicU32>,
    pace: Pace,
}

impl Hasher {
    /// Starts the threads. `cost` is that of new hashes, as a power of two.
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
                .expect("the operating system gives a thread");
        }
        let dummy = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        let dearest = Arc::new(AtomicU32::new(cost));
        Self { queue, permits, cost, dummy, dearest, pace: Pace::default() }
    }

    /// Reserves a place in the queue. This comes before anything else that is done for a password, so that a request
    /// that is turned away costs next to nothing.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] when there is none.
    pub(super) fn reserve(&self) -> Result<HashPermit> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map(HashPermit)
            .map_err(|_| Code::ServiceBusy.into())
    }

    /// The hash of a new password; or, for people, why it is too easy to guess by somebody who knows
    /// these words of its owner. `least` is the score it must have, from 0 to 4.
    ///
    /// # Errors
    ///
    /// When the hashing threads are gone.
    pub(super) async fn hash_new(
        &self,
        permit: HashPermit,
        password: Password,
        words: Vec<String>,
        least: u8,
    ) -> Result<Result<PasswordHash, Vec<LocalizedMessage>>> {
        let cost = self.cost;
        self.run(permit, move || match password.fault(&words, least) {
            Some(fault) => Err(fault),
            None => Ok(password.hash(cost, random::bytes())),
        })
        .await
    }

    /// A hash that no password has, and that takes as long as any.
    pub(super) fn dummy_hash(&self) -> &PasswordHash {
        &self.dummy
    }

    /// The hash of a password that is in use already.
    ///
    /// # Errors
    ///
    /// When the hashing threads are gone.
    pub(super) async fn hash(
        &self,
        permit: HashPermit,
        password: Password,
    ) -> Result<PasswordHash> {
        let cost = self.cost;
        self.run(permit, move || password.hash(cost, random::bytes())).await
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
    /// When the hashing threads are gone.
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
        let (dearest, configured) = (Arc::clone(&self.dearest), self.cost);
        self.run(permit, move || {
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

    async fn run<T: Send + 'static>(
        &self,
        permit: HashPermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let queued = Stopwatch::start();
        let job: Job = Box::new(move || {
            let _permit = permit;
            // Nobody waits for it any more: the caller ran out of time.
            if !reply.is_closed() {
                let in_time = queued.elapsed() <= BEGIN_WITHIN;
                let _ = reply.send(in_time.then(work));
            }
        });
        let gone = || Error::because(Code::InternalServerError, "a hashing thread gave up");
        self.queue.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.ok_or_else(|| Code::ServiceBusy.into())
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A hash that makes the library panic costs its own request, not the thread.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
