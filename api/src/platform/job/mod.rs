//! Jobs: work that is done after the request that caused it was answered.
//!
//! A job is a row that is committed with the operation that caused it. So a crash between the two loses nothing, and
//! any replica can do the job. A replica leases the job while it works on it. A failed job is retried with growing
//! delays until it is done or has expired. The content of a job is encrypted, because it may contain a token.

pub(crate) mod purge;
mod store;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use entity::job::Model;
use entity::{JobId, UserId};
use futures_util::FutureExt;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tessera_verify::MAX_LEEWAY;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::app::App;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key::{Seal, seals_of};
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};
use crate::base::{clock, random};
use crate::platform::unit_of_work::UnitOfWork;

/// The interval at which a replica looks for jobs that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time that a replica waits if the table could not be read.
const PAUSE: Duration = Duration::from_secs(5);

/// The number of jobs of a kind that are done at once.
const AT_ONCE: u64 = 8;

/// The time that a job may take, in seconds. After that, another replica does it.
const LEASE: u64 = 30;

/// The delay after the first failure of a job, and the maximum delay, in seconds.
const FIRST_WAIT: u64 = 2;
const LONGEST_WAIT: u64 = 600;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A mail must be delivered.
    Mail,
    /// A mail was requested: a worker must find out whether a user has the address.
    Request,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Mail => "mail",
            Kind::Request => "request",
        }
    }
}

/// The keys that encrypt jobs, and the signal that wakes the workers.
#[derive(Debug)]
pub struct State {
    seals: Vec<Seal>,
    signal: Notify,
}

impl State {
    /// Creates a state with the secrets of the settings.
    ///
    /// # Errors
    ///
    /// If there is no secret.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        Ok(Self { seals: seals_of(&secret, config, "tessera jobs"), signal: Notify::new() })
    }

    /// Signals that a job was committed, so this replica looks for jobs at once.
    pub fn wake(&self) {
        self.signal.notify_waiters();
    }
}

/// A job that must be done now.
#[derive(Debug)]
pub struct Job<T> {
    /// Its id: the same for each attempt.
    pub id: JobId,
    /// The user that the job is about.
    pub user: Option<UserId>,
    /// The work to do.
    pub work: T,
}

/// The reason why a job failed. The cause is logged, so it contains no address and no token.
#[derive(Debug)]
pub enum Failure {
    /// The job can be retried.
    Again(String),
    /// The job can never succeed.
    Never(String),
}

impl Failure {
    /// The reason.
    pub(crate) fn cause(&self) -> &str {
        match self {
            Self::Again(cause) | Self::Never(cause) => cause,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Again(error.to_string())
    }
}

/// Stores a job that expires after `within` seconds. If it is about a user, it is deleted with that user.
///
/// # Errors
///
/// If the database returns an error.
pub async fn put<T: Serialize>(
    app: &App,
    connection: &impl ConnectionTrait,
    kind: Kind,
    user: Option<UserId>,
    work: &T,
    within: u64,
) -> Result<()> {
    put_after(app, connection, kind, user, work, within, 0).await
}

/// Does the same as [`put`], but the job begins at a random moment within a second. The work slows down other requests,
/// and must not reveal by this whether there was any.
///
/// # Errors
///
/// If the database returns an error.
pub async fn put_sometime<T: Serialize>(
    app: &App,
    connection: &impl ConnectionTrait,
    kind: Kind,
    work: &T,
    within: u64,
) -> Result<()> {
    let millis = i64::from(u16::from_be_bytes(random::bytes()) % 1000);
    put_after(app, connection, kind, None, work, within, millis).await
}

async fn put_after<T: Serialize>(
    app: &App,
    connection: &impl ConnectionTrait,
    kind: Kind,
    user: Option<UserId>,
    work: &T,
    within: u64,
    millis: i64,
) -> Result<()> {
    let now = clock::now();
    let id = JobId(random::id_at(now));
    let text = serde_json::to_vec(work)
        .map_err(|error| Error::because(Code::InternalServerError, error))?;
    let row = Model {
        id,
        kind: kind.name().to_owned(),
        user_id: user,
        sealed: app.job.seals[0].seal(&id.to_string(), text).into(),
        attempts: 0,
        due_at: now.millis() + millis,
        expires_at: now.plus_seconds(within).millis(),
    };
    Ok(store::insert(connection, row).await?)
}

/// Does the jobs of a kind as they become due, until the server stops.
pub(crate) async fn keep_working<T, F>(app: App, kind: Kind, work: F)
where
    T: DeserializeOwned,
    F: AsyncFn(&App, Job<T>) -> Result<(), Failure>,
{
    loop {
        match due(&app, kind).await {
            Ok(rows) if rows.is_empty() => {
                let _ = timeout(LOOK_EVERY, app.job.signal.notified()).await;
            }
            Ok(rows) => drop(join_all(rows.into_iter().map(|row| attempt(&app, row, &work))).await),
            Err(error) => {
                tracing::warn!(job.kind = kind.name(), error.cause = %error, "jobs cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Returns some jobs that are due, leased to this replica.
async fn due(app: &App, kind: Kind) -> Result<Vec<Model>> {
    let now = clock::now();
    let due = store::due(app.database.reader(), kind.name(), now, AT_ONCE).await?;
    if due.is_empty() {
        return Ok(due);
    }
    let until = now.plus_seconds(LEASE);
    let mut leased = Vec::new();
    for row in due {
        // One transaction for each job: the deletion of a user locks that user's jobs in another order.
        let work = UnitOfWork::begin(app).await?;
        if store::lease(&*work, row.id, row.due_at, until).await? {
            work.commit().await?;
            leased.push(Model { due_at: until.millis(), ..row });
        }
    }
    Ok(leased)
}

async fn attempt<T, F>(app: &App, row: Model, work: &F)
where
    T: DeserializeOwned,
    F: AsyncFn(&App, Job<T>) -> Result<(), Failure>,
{
    let outcome = async {
        if row.expires_at <= clock::now().millis() {
            return Err(Failure::Never("it has expired".to_owned()));
        }
        let job = opened(&app.job.seals, &row)?;
        timeout(Duration::from_secs(LEASE - 5), work(app, job))
            .await
            .unwrap_or_else(|_| Err(Failure::Again("it took too long".to_owned())))
    };
    // A job that panics must not end the worker.
    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
    let written = match outcome.unwrap_or_else(|_| Err(Failure::Again("it panicked".to_owned()))) {
        Ok(()) => finish(app, &row, None).await,
        Err(failure) => fail(app, &row, failure).await,
    };
    if let Err(error) = written {
        // The lease ends, and then the job is retried.
        let (id, kind) = (row.id, row.kind.as_str());
        tracing::warn!(
            job.id = %id,
            job.kind = kind,
            error.cause = %error,
            "the outcome of a job could not be stored"
        );
    }
}

/// Schedules a failed job again or gives it up, and logs which.
async fn fail(app: &App, row: &Model, failure: Failure) -> Result<()> {
    let steps = u32::try_from(row.attempts).unwrap_or(20).min(20);
    let wait = (FIRST_WAIT << steps).min(LONGEST_WAIT);
    let (cause, again) = match failure {
        Failure::Again(cause) => (cause, true),
        Failure::Never(cause) => (cause, false),
    };
    let next = Some(clock::now().plus_seconds(wait));
    let next = next.filter(|next| again && next.millis() < row.expires_at);
    let (job, kind, cause) = (row.id.to_string(), row.kind.as_str(), cause.as_str());
    let attempts = row.attempts + 1;
    if next.is_some() {
        tracing::warn!(
            job.id = job,
            job.kind = kind,
            job.attempts = attempts,
            job.wait = wait,
            error.cause = cause,
            "a job failed and will be retried"
        );
    } else {
        tracing::error!(
            job.id = job,
            job.kind = kind,
            job.attempts = attempts,
            error.cause = cause,
            "a job failed and is given up"
        );
    }
    finish(app, row, next).await
}

/// Deletes a job, or schedules it again.
async fn finish(app: &App, row: &Model, next: Option<clock::Timestamp>) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    match next {
        None => store::delete(&*work, row.id).await?,
        Some(next) => store::put_off(&*work, row.id, row.due_at, next).await?,
    }
    work.commit().await
}

/// A waiting job. Instants are seconds since the epoch.
#[derive(Debug)]
pub struct Waiting<T> {
    /// Its id.
    pub id: JobId,
    /// The work to do; `None` if it was written with a secret that is not known.
    pub work: Option<T>,
    /// The number of failed attempts.
    pub attempts: i64,
    /// The instant of the next attempt.
    pub due: u64,
    /// The instant when the job is given up.
    pub expires: u64,
}

/// Returns a page of the jobs of a kind, the oldest first, beginning after the job `after`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list<T: DeserializeOwned>(
    app: &App,
    kind: Kind,
    after: Option<JobId>,
    limit: u64,
) -> Result<Page<Waiting<T>>> {
    let limit = Limit::new(limit, 100);
    let rows = store::list(app.database.reader(), kind.name(), after, limit.rows()).await?;
    let seconds = |millis| clock::Timestamp::from_millis(millis).seconds();
    Ok(limit.page(rows).map(|row| Waiting {
        id: row.id,
        work: opened(&app.job.seals, &row).ok().map(|job: Job<T>| job.work),
        attempts: row.attempts,
        due: seconds(row.due_at),
        expires: seconds(row.expires_at),
    }))
}

/// Returns the number of jobs of a kind.
///
/// # Errors
///
/// If the database does not answer.
pub async fn count(app: &App, kind: Kind) -> Result<u64> {
    Ok(store::count(app.database.reader(), kind.name()).await?)
}

/// Makes a job due now, if its next attempt is later than a lease and the maximum difference between the clocks of
/// replicas. A job with an earlier attempt may be leased at this moment. Returns true if the job exists. After the
/// commit, the caller calls [`State::wake`].
///
/// # Errors
///
/// If the database returns an error.
pub async fn hasten(transaction: &DatabaseTransaction, kind: Kind, id: JobId) -> Result<bool> {
    let now = clock::now();
    let until = now.plus_seconds(LEASE + MAX_LEEWAY);
    Ok(store::hasten(transaction, kind.name(), id, now, until).await?)
}

/// Deletes a job of a kind. Returns true if it existed.
///
/// # Errors
///
/// If the database returns an error.
pub async fn discard(transaction: &DatabaseTransaction, kind: Kind, id: JobId) -> Result<bool> {
    Ok(store::discard(transaction, kind.name(), id).await?)
}

fn opened<T: DeserializeOwned>(seals: &[Seal], row: &Model) -> Result<Job<T>, Failure> {
    let name = row.id.to_string();
    let text = seals.iter().find_map(|seal| seal.open(&name, row.sealed.expose()));
    let text = text.ok_or_else(|| {
        Failure::Again(
            "it was encrypted with a secret that is in neither APP_SECRET nor APP_SECRET_PREVIOUS"
                .to_owned(),
        )
    })?;
    let work = serde_json::from_slice(&text).map_err(|_| {
        Failure::Again("it was written by another release, and this one cannot read it".to_owned())
    })?;
    Ok(Job { id: row.id, user: row.user_id, work })
}
