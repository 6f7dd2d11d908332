//! The threads that hash passwords.
//!
//! A hash takes a quarter of a second of a core. On the threads that serve requests, or on as many
//! threads as there are sign-ins, a few dozen of them would starve everything else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::password::{self, Password};
use crate::error::{Code, Error, Result};
use crate::random;
use crate::user::PasswordHash;

/// How many hashes may wait for each thread: some two seconds at cost 12.
const QUEUE_PER_WORKER: usize = 8;

/// How long a hash may wait before it is begun. One that begins later would be finished for nobody:
/// on a machine that is slowed down, every one would, and none be answered.
const BEGIN_WITHIN: Duration = Duration::from_secs(4);

/// The longest that everybody is kept because of one hash of another program.
const LONGEST_FOREIGN: Duration = Duration::from_secs(1);

/// The cost of a work of some milliseconds.
const SMALL_WORK: u32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// A place in the queue of the hashing threads, until the work is done or given up.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

/// As many hashing threads as cores, behind a bounded queue.
#[derive(Debug)]
pub struct Hasher {
    queue: Sender<Job>,
    places: Arc<Semaphore>,
    cost: u32,
    nobody: PasswordHash,
    dearest: Arc<AtomicU32>,
    /// How long a hash of another program takes, in microseconds; 0 before there was one.
    foreign: Arc<AtomicU64>,
}

impl Hasher {
    /// Starts the threads. `cost` is that of new hashes, as a power of two.
    pub fn start(cost: u32) -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let (queue, jobs) = channel::<Job>();
        let places = Arc::new(Semaphore::new(workers * (1 + QUEUE_PER_WORKER)));
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..workers {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name("hasher".to_owned())
                .spawn(move || work(&jobs))
                .expect("the operating system gives a thread");
        }
        let nobody = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        let dearest = Arc::new(AtomicU32::new(cost));
        Self { queue, places, cost, nobody, dearest, foreign: Arc::default() }
    }

    /// A place in the queue. Taken before anything else is done for a password, so that who is turned
    /// away costs next to nothing.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] when there is none.
    pub fn reserve(&self) -> Result<Place> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map(Place)
            .map_err(|_| Code::ServiceBusy.into())
    }

    /// The hash of a new password; or, for people, why it is too easy to guess by somebody who knows
    /// these words of its owner. `least` is the score it must have, from 0 to 4.
    ///
    /// # Errors
    ///
    /// When the hashing threads are gone.
    pub async fn hash_new(
        &self,
        place: Place,
        password: Password,
        words: Vec<String>,
        least: u8,
    ) -> Result<Result<PasswordHash, String>> {
        let cost = self.cost;
        self.run(place, move || match password.fault(&words, least) {
            Some(fault) => Err(fault),
            None => Ok(password.hash(cost, random::bytes())),
        })
        .await
    }

    /// The hash of a password that is in use already.
    ///
    /// # Errors
    ///
    /// When the hashing threads are gone.
    pub async fn hash(&self, place: Place, password: Password) -> Result<PasswordHash> {
        let cost = self.cost;
        self.run(place, move || password.hash(cost, random::bytes())).await
    }

    /// Whether a hash is cheaper to try passwords on than those that are made now.
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.cost().is_none_or(|cost| cost < self.cost)
    }

    /// Whether `hash` is the password's. Without a hash, because there is no such user, the answer
    /// is no after the same work; and a hash from when `BCRYPT_COST` was lower takes the work of the
    /// dearest one that was seen, or the time would tell that there is a hash. One that another program
    /// made is checked beside that work, and all others then take as long as it did.
    ///
    /// # Errors
    ///
    /// When the hashing threads are gone.
    pub async fn matches(
        &self,
        place: Place,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let (dearest, configured) = (Arc::clone(&self.dearest), self.cost);
        let foreign = Arc::clone(&self.foreign);
        let matches = self.run(place, move || {
            let began = Instant::now();
            let matches = password.matches(&hash);
            let took = began.elapsed().min(LONGEST_FOREIGN);
            let Some(cost) = hash.cost() else {
                // So long everybody takes from now on, beside a hash of ours.
                let usual = foreign.load(Ordering::Relaxed);
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                let next = if usual == 0 { micros } else { (usual * 7 + micros) / 8 };
                foreign.store(next, Ordering::Relaxed);
                password::work(dearest.load(Ordering::Relaxed));
                return matches;
            };
            // One row that is far too dear must not slow everybody down.
            if cost <= configured + 2 {
                let dearest = dearest.fetch_max(cost, Ordering::Relaxed).max(cost);
                // Each step doubles what was done: 2^c and then 2^c, 2^(c+1), … make 2^dearest.
                (cost..dearest).for_each(password::work);
            }
            let foreign = Duration::from_micros(foreign.load(Ordering::Relaxed));
            let began = Instant::now();
            while began.elapsed() < foreign {
                password::work(SMALL_WORK);
            }
            matches
        });
        Ok(matches.await? && known)
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let queued = Instant::now();
        let job: Job = Box::new(move || {
            let _place = place;
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
