//! Jobs: work that is done after the answer to the request that caused it.
//!
//! A job is a row, committed with the act that caused it: a crash between the two loses nothing, and
//! any replica does it. It is leased while it is done, and tried again, ever later, until it is done
//! or too old to be of use. What it says is encrypted, for it may hold a token.

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

/// How often the table is asked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long it is left alone when it could not be asked.
const PAUSE: Duration = Duration::from_secs(5);

/// How many jobs of a kind are done at once.
const AT_ONCE: u64 = 8;

/// How long a job may take, in seconds; another replica does it after that.
const LEASE: u64 = 30;

/// How long after the first failure a job is tried again, in seconds, and the longest wait.
const FIRST_WAIT: u64 = 2;
const LONGEST_WAIT: u64 = 600;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A mail is to be delivered.
    Mail,
    /// Somebody asked for a mail: whether there is one for them is to be found out.
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

/// The keys that jobs are sealed with, and the bell that wakes those who do them.
#[derive(Debug)]
pub struct State {
    seals: Vec<Seal>,
    news: Notify,
}

impl State {
    /// Under the secrets of the settings.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let secret = config.signing_secret()?;
        Ok(Self { seals: seals_of(&secret, config, "tessera jobs"), news: Notify::new() })
    }

    /// Says that something was committed: this replica need not wait until it looks again.
    pub fn wake(&self) {
        self.news.notify_waiters();
    }
}

/// A job that is to be done now.
#[derive(Debug)]
pub struct Job<T> {
    /// Its id: the same each time it is tried.
    pub id: JobId,
    /// Whom it is about.
    pub user: Option<UserId>,
    /// What is to be done.
    pub work: T,
}

/// Why a job was not done. The cause is said in the log: no address, and no token.
#[derive(Debug)]
pub enum Failure {
    /// It may be done another time.
    Again(String),
    /// It will never be.
    Never(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Again(error.to_string())
    }
}

/// Writes down what is to be done within so many seconds. It goes with the user it is about.
///
/// # Errors
///
/// When the database refuses.
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

/// As [`put`], of work that is begun within a second, nobody knows when: it slows down what is asked
/// meanwhile, and must not tell whether there was any.
///
/// # Errors
///
/// When the database refuses.
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

/// Does the jobs of a kind as they come, for as long as it is polled.
pub(crate) async fn keep_working<T, F>(app: App, kind: Kind, work: F)
where
    T: DeserializeOwned,
    F: AsyncFn(&App, Job<T>) -> Result<(), Failure>,
{
    loop {
        match due(&app, kind).await {
            Ok(rows) if rows.is_empty() => {
                let _ = timeout(LOOK_EVERY, app.job.news.notified()).await;
            }
            Ok(rows) => drop(join_all(rows.into_iter().map(|row| attempt(&app, row, &work))).await),
            Err(error) => {
                tracing::warn!(job.kind = kind.name(), error.cause = %error, "jobs cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Some jobs that are due, leased to this replica.
async fn due(app: &App, kind: Kind) -> Result<Vec<Model>> {
    let now = clock::now();
    let due = store::due(app.database.reader(), kind.name(), now, AT_ONCE).await?;
    if due.is_empty() {
        return Ok(due);
    }
    let until = now.plus_seconds(LEASE);
    let mut leased = Vec::new();
    for row in due {
        // Each by itself: who deletes a user locks their jobs in another order.
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
            return Err(Failure::Never("its time is over".to_owned()));
        }
        let job = opened(&app.job.seals, &row)?;
        timeout(Duration::from_secs(LEASE - 5), work(app, job))
            .await
            .unwrap_or_else(|_| Err(Failure::Again("it took too long".to_owned())))
    };
    // One that panics must not end all that follow.
    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
    let written = match outcome.unwrap_or_else(|_| Err(Failure::Again("it panicked".to_owned()))) {
        Ok(()) => finish(app, &row, None).await,
        Err(failure) => fail(app, &row, failure).await,
    };
    if let Err(error) = written {
        // The lease ends, and it is tried again.
        let (id, kind) = (row.id, row.kind.as_str());
        tracing::warn!(job.id = %id, job.kind = kind, error.cause = %error, "a job cannot be written");
    }
}

/// Has a job that failed tried again, or gives it up, and logs which.
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
            "a job failed: it is tried again"
        );
    } else {
        tracing::error!(
            job.id = job,
            job.kind = kind,
            job.attempts = attempts,
            error.cause = cause,
            "a job failed: it is given up"
        );
    }
    finish(app, row, next).await
}

/// Forgets a job, or has it tried again.
async fn finish(app: &App, row: &Model, next: Option<clock::Timestamp>) -> Result<()> {
    let work = UnitOfWork::begin(app).await?;
    match next {
        None => store::delete(&*work, row.id).await?,
        Some(next) => store::put_off(&*work, row.id, row.due_at, next).await?,
    }
    work.commit().await
}

/// A job that waits. Instants are seconds since the epoch.
#[derive(Debug)]
pub struct Waiting<T> {
    /// Its id.
    pub id: JobId,
    /// What is to be done; nothing where that was written under a secret that is not known.
    pub work: Option<T>,
    /// How often it was tried in vain.
    pub attempts: i64,
    /// When it is tried next.
    pub due: u64,
    /// When it is given up.
    pub expires: u64,
}

/// A page of the jobs of a kind, the oldest first, from after one.
///
/// # Errors
///
/// When the database does not answer.
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

/// How many jobs of a kind there are.
///
/// # Errors
///
/// When the database does not answer.
pub async fn count(app: &App, kind: Kind) -> Result<u64> {
    Ok(store::count(app.database.reader(), kind.name()).await?)
}

/// Has a job of a kind tried now that would wait for longer than a lease and the most that clocks of replicas may
/// differ: one that waits for less may be at work at this moment. Says whether it is there; the caller says
/// [`State::wake`] after the commit.
///
/// # Errors
///
/// When the database refuses.
pub async fn hasten(transaction: &DatabaseTransaction, kind: Kind, id: JobId) -> Result<bool> {
    let now = clock::now();
    let until = now.plus_seconds(LEASE + MAX_LEEWAY);
    Ok(store::hasten(transaction, kind.name(), id, now, until).await?)
}

/// Throws a job of a kind away; says whether it was there.
///
/// # Errors
///
/// When the database refuses.
pub async fn discard(transaction: &DatabaseTransaction, kind: Kind, id: JobId) -> Result<bool> {
    Ok(store::discard(transaction, kind.name(), id).await?)
}

fn opened<T: DeserializeOwned>(seals: &[Seal], row: &Model) -> Result<Job<T>, Failure> {
    let name = row.id.to_string();
    let text = seals.iter().find_map(|seal| seal.open(&name, row.sealed.expose()));
    let text = text.ok_or_else(|| {
        Failure::Again(
            "it was written under a secret that is in neither APP_SECRET nor APP_SECRET_PREVIOUS"
                .to_owned(),
        )
    })?;
    let work = serde_json::from_slice(&text)
        .map_err(|_| Failure::Again("another release wrote it".to_owned()))?;
    Ok(Job { id: row.id, user: row.user_id, work })
}
