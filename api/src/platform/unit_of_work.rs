//! One act: a database transaction, and all that must happen with its commit.
//!
//! A rule collects what follows from its act: revocations, notices to other replicas, audit entries, cache entries to
//! forget, jobs to wake. `UnitOfWork::commit` writes them in the one right order and applies them to memory
//! afterwards, so that no rule can forget a part. There is no other way to commit.

use std::ops::Deref;

use entity::{SessionId, UserId};
use sea_orm::{DatabaseTransaction, QueryResult, Statement, TransactionTrait};
use tessera_verify::Revocation;

use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::platform::audit::{self, Entry};
use crate::platform::notice::{self, Kind};
use crate::platform::revocation::{self, Reason};

/// A transaction, and what follows from it. If it is dropped, the transaction is rolled back and nothing follows.
#[must_use = "an act that is not committed did nothing"]
pub struct UnitOfWork<'a> {
    app: &'a App,
    transaction: DatabaseTransaction,
    revocations: Vec<Revoked>,
    notices: Vec<Kind>,
    entries: Vec<Entry>,
    users: Vec<UserId>,
    wakes_jobs: bool,
}

/// Revocations of one reason.
struct Revoked {
    entries: Vec<Revocation>,
    /// The session of a token that is revoked alone.
    session: Option<SessionId>,
    reason: Reason,
    at: Timestamp,
}

/// Statements run in the transaction.
impl Deref for UnitOfWork<'_> {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.transaction
    }
}

impl<'a> UnitOfWork<'a> {
    /// Begins a transaction that may write.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub(crate) async fn begin(app: &'a App) -> Result<Self> {
        Ok(Self {
            app,
            transaction: app.database.begin().await?,
            revocations: Vec::new(),
            notices: Vec::new(),
            entries: Vec::new(),
            users: Vec::new(),
            wakes_jobs: false,
        })
    }

    /// Revokes: from the commit on here, and within a second on every other replica.
    pub(crate) fn revoke(
        &mut self,
        entries: impl IntoIterator<Item = Revocation>,
        reason: &Reason,
        at: Timestamp,
    ) {
        let entries = entries.into_iter().collect();
        self.revocations.push(Revoked { entries, session: None, reason: reason.clone(), at });
    }

    /// Revokes one token alone, which is counted with those of a session.
    pub(crate) fn revoke_alone(
        &mut self,
        entry: Revocation,
        session: SessionId,
        reason: &Reason,
        at: Timestamp,
    ) {
        let (entries, reason) = (vec![entry], reason.clone());
        self.revocations.push(Revoked { entries, session: Some(session), reason, at });
    }

    /// Has every replica, this one too, act on a notice.
    pub(crate) fn notify(&mut self, kind: Kind) {
        if !self.notices.contains(&kind) {
            self.notices.push(kind);
        }
    }

    /// Adds an entry to the audit.
    pub(crate) fn record(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds several entries to the audit.
    pub(crate) fn record_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    /// Forgets what the cache of this replica has of a user. Others read the row again within a second.
    pub(crate) fn forget_user(&mut self, user: UserId) {
        self.users.push(user);
    }

    /// Has this replica look for jobs at once.
    pub(crate) fn wake_jobs(&mut self) {
        self.wakes_jobs = true;
    }

    /// Writes what was collected, commits, and applies it to memory.
    ///
    /// Revocations and notices come first, under one lock that gives them numbers in the order of the commits. The
    /// audit comes last: every other act that records something waits from there to the commit. Memory follows the
    /// commit: what it refuses was committed before.
    ///
    /// # Errors
    ///
    /// When the database refuses: then nothing of the act remains.
    pub(crate) async fn commit(self) -> Result<()> {
        let Self { app, transaction, revocations, notices, entries, users, wakes_jobs } = self;
        for Revoked { entries, session, reason, at } in &revocations {
            revocation::write(&transaction, entries, *session, reason, *at).await?;
        }
        if !notices.is_empty() {
            notice::write(&transaction, &notices).await?;
        }
        let records = !entries.is_empty();
        audit::write(&transaction, entries).await?;
        tracing::debug!(
            revocations = revocations.iter().map(|revoked| revoked.entries.len()).sum::<usize>(),
            notices = notices.len(),
            "an act is committed"
        );
        transaction.commit().await?;
        app.revocation.apply(revocations.into_iter().flat_map(|revoked| revoked.entries));
        users.into_iter().for_each(|user| app.user.cache.forget(user));
        if wakes_jobs {
            app.job.wake();
        }
        if records {
            app.audit.wake();
        }
        // The act is done, whatever comes of this: other replicas, and this one again, read the notices every half second.
        if let Err(error) = notice::act(app, &notices).await {
            tracing::warn!(error.cause = %error, "a notice could not be acted on yet");
        }
        Ok(())
    }

    /// Begins a part that is kept or taken back as a whole.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub(crate) async fn begin_part(&self) -> Result<Part> {
        Ok(Part { savepoint: self.transaction.begin().await?, entries: Vec::new() })
    }

    /// Takes everything back.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub(crate) async fn rollback(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }
}

/// A part of an act, in a savepoint.
pub(crate) struct Part {
    savepoint: DatabaseTransaction,
    entries: Vec<Entry>,
}

/// Statements run in the savepoint.
impl Deref for Part {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.savepoint
    }
}

impl Part {
    /// Adds an entry to the audit, if the part is kept.
    pub(crate) fn record(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Keeps the part, or takes it back. Both write the same, so that the time of an answer does not tell which it was.
    ///
    /// # Errors
    ///
    /// When the database refuses.
    pub(crate) async fn end(self, is_kept: bool) -> Result<()> {
        audit::write(&self.savepoint, self.entries).await?;
        if is_kept {
            self.savepoint.commit().await?;
        } else {
            self.savepoint.rollback().await?;
        }
        Ok(())
    }
}

/// Records an act that changes nothing else.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn record(app: &App, entry: Entry) -> Result<()> {
    audit::write_alone(&app.database, entry).await?;
    app.audit.wake();
    Ok(())
}

/// Runs one statement that causes nothing else. Returns its first row. A test lists the callers.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn statement(app: &App, statement: Statement) -> Result<Option<QueryResult>> {
    Ok(app.database.run(statement).await?)
}
