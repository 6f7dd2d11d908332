//! The threads that hash passwords.
//!
//! A hash takes a quarter of a second of a core. On the threads that serve requests, or on as many
//! threads as there are sign-ins, a few dozen of them would starve everything else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::password::Password;
use crate::error::{Code, Error, Result};
use crate::random;
use crate::user::PasswordHash;

/// How many hashes may wait for each thread: some four seconds at cost 12.
const QUEUE_PER_WORKER: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// As many hashing threads as cores, behind a bounded queue.
#[derive(Debug)]
pub struct Hasher {
    queue: SyncSender<Job>,
    cost: u32,
    nobody: PasswordHash,
}

impl Hasher {
    /// Starts the threads. `cost` is that of new hashes, as a power of two.
    pub fn start(cost: u32) -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let (queue, jobs) = sync_channel::<Job>(workers * QUEUE_PER_WORKER);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..workers {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name("hasher".to_owned())
                .spawn(move || work(&jobs))
                .expect("the operating system gives a thread");
        }
        let nobody = PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(53)));
        Self { queue, cost, nobody }
    }

    /// The hash of a new password.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] when the queue is full.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash> {
        let cost = self.cost;
        self.run(move || password.hash(cost, random::bytes())).await
    }

    /// Whether `hash` is the password's. Without a hash, because there is no such user, the answer
    /// is no after the same work.
    ///
    /// # Errors
    ///
    /// [`Code::ServiceBusy`] when the queue is full.
    pub async fn matches(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        Ok(self.run(move || password.matches(&hash)).await? && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits for it any more: the caller hung up or ran out of time.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        });
        self.queue.try_send(job).map_err(|full| match full {
            TrySendError::Full(_) => Error::from(Code::ServiceBusy),
            TrySendError::Disconnected(_) => {
                Error::because(Code::InternalServerError, "no hashing thread is left")
            }
        })?;
        answer
            .await
            .map_err(|_| Error::because(Code::InternalServerError, "a hashing thread gave up"))
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
