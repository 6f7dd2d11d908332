//! The queue that the hashing threads take jobs from, in the order of [`Schedule`].
//!
//! One lock protects it. It is held to add or remove a job, and never while anybody hashes or waits.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::password_check::Account;
pub(super) use super::schedule::Origin;
use super::schedule::{KindId, Schedule, Ticket};
use crate::base::mail_address::folded;
use crate::platform::rate_limit;

/// The number that is added to the `nice` of the hashing threads (docs/decisions/0031).
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

impl Origin {
    /// The origin of a job for an account: the IP address that the request came from. Commands at the terminal have no
    /// address; together they are one source.
    pub(super) fn new(account: Account<'_>, ip: Option<IpAddr>) -> Self {
        let account = match account {
            Account::Address(address) => folded(address),
            Account::User(id) => id.to_string(),
        };
        Self { source: rate_limit::place(ip), account }
    }

    /// The origin of work that the server does by itself.
    pub(super) fn internal() -> Self {
        Self { source: rate_limit::place(None), account: String::new() }
    }
}

/// The outcome of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It runs now, on this thread.
    Begun,
    /// It is refused.
    Refused,
}

/// A job. It returns the time that it took, if it ran.
pub(super) type Job = Box<dyn FnOnce(Outcome) -> Option<Duration> + Send>;

/// The queue that the hashing threads take jobs from.
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    schedule: Schedule<Job>,
    has_ended: bool,
}

impl Queue {
    /// Starts the threads. A job takes about `guess`, until that is measured.
    pub(super) fn start(workers: usize, guess: Duration) -> Arc<Self> {
        let state = State { schedule: Schedule::new(workers, guess), has_ended: false };
        let queue = Arc::new(Self { state: Mutex::new(state), more: Condvar::new() });
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("hasher".to_owned())
                .spawn(move || queue.work())
                .expect("the operating system gives a thread");
        }
        queue
    }

    /// Adds a job. It leaves the queue when it is begun or refused, or when the handle is dropped.
    pub(super) fn push(self: &Arc<Self>, origin: &Origin, kind: &str, job: Job) -> Queued {
        let (ticket, refused) = self.state().schedule.push(origin, kind, job);
        self.more.notify_one();
        if let Some(job) = refused {
            job(Outcome::Refused);
        }
        Queued { queue: Arc::clone(self), ticket }
    }

    /// Returns true if a job that is pushed now would be refused at once.
    pub(super) fn would_refuse(&self, origin: &Origin) -> bool {
        self.state().schedule.would_refuse(origin)
    }

    /// The number of jobs that wait.
    pub(super) fn length(&self) -> usize {
        self.state().schedule.length()
    }

    /// Ends the threads. Jobs that still wait are dropped with the queue.
    pub(super) fn end(&self) {
        self.state().has_ended = true;
        self.more.notify_all();
    }

    fn work(&self) {
        give_way();
        while let Some((kind, job)) = self.next() {
            // If a hash makes the library panic, only its own request fails, not the thread.
            let took = catch_unwind(AssertUnwindSafe(|| job(Outcome::Begun)));
            if let Ok(Some(took)) = took {
                self.state().schedule.measured(kind, took);
            }
        }
    }

    /// Waits for the next job. Returns `None` when the queue has ended.
    fn next(&self) -> Option<(KindId, Job)> {
        let mut state = self.state();
        loop {
            if state.has_ended {
                return None;
            }
            if let Some(job) = state.schedule.pop() {
                return Some(job);
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// A job in the queue, as long as its caller waits for it.
pub(super) struct Queued {
    queue: Arc<Queue>,
    ticket: Ticket,
}

impl Queued {
    /// Takes the job out of the queue. Returns true if it was still there.
    pub(super) fn leave(&self) -> bool {
        // The job is dropped after the lock, so this is a statement of its own.
        let job = self.queue.state().schedule.take(self.ticket);
        job.is_some()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Lets the threads that serve requests run before this one. Otherwise a request waits until a hash has used up its slice of
/// the processor.
///
/// On Linux, the value of `nice` belongs to a thread. Elsewhere it would be that of the whole process.
fn give_way() {
    // If the system refuses, requests wait a little longer.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}
