//! A unit of work: a database transaction, and everything that must happen when it is committed.
//!
//! A rule collects the consequences of an operation: revocations, notices to other replicas, audit entries, cache
//! entries to forget, jobs to wake. `UnitOfWork::commit` writes them in the right order and then applies them to
//! memory, so no rule can forget a part. The only other ways to commit are `record`, for a single audit entry,
//! `statement`, for a single statement that causes nothing else, and `revoke_at_once`, for the end of one session.

use std::ops::Deref;

use entity::{SessionId, UserId};
use sea_orm::{DatabaseTransaction, QueryResult, Statement, TransactionTrait};
use tessera_verify::Revocation;

use crate::app::App;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::request_context;
use crate::platform::audit::{self, Entry};
use crate::platform::notice::{self, Kind};
use crate::platform::revocation::{self, Reason};

/// A transaction and its consequences. If it is dropped, the transaction is rolled back and there are no consequences.
#[must_use = "a unit of work has no effect until it is committed"]
pub struct UnitOfWork<'a> {
    app: &'a App,
    transaction: DatabaseTransaction,
    revocations: Vec<Revoked>,
    /// `true` if the operation wrote other rows of the sequence itself.
    appends: bool,
    notices: Vec<Kind>,
    entries: Vec<Entry>,
    users: Vec<UserId>,
    wakes_jobs: bool,
}

/// Revocations with the same reason.
struct Revoked {
    entries: Vec<Revocation>,
    /// The session of the token, if a single token is revoked.
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
    /// Begins a transaction that can write.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(crate) async fn begin(app: &'a App) -> Result<Self> {
        Ok(Self {
            app,
            transaction: app.database.begin().await?,
            revocations: Vec::new(),
            appends: false,
            notices: Vec::new(),
            entries: Vec::new(),
            users: Vec::new(),
            wakes_jobs: false,
        })
    }

    /// Revokes entries: on this replica from the commit on, and on every other replica within a second.
    pub(crate) fn revoke(
        &mut self,
        entries: impl IntoIterator<Item = Revocation>,
        reason: &Reason,
        at: Timestamp,
    ) {
        let entries = entries.into_iter().collect();
        self.revocations.push(Revoked { entries, session: None, reason: reason.clone(), at });
    }

    /// Revokes a single token. It counts towards the tokens of its session that were revoked singly.
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

    /// Notes that the operation wrote rows of the sequence of revocations itself, such as a lift.
    pub(crate) fn appends(&mut self) {
        self.appends = true;
    }

    /// Makes every replica, also this one, handle a notice.
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

    /// Removes a user from the cache of this replica. Other replicas read the row again within a second.
    pub(crate) fn forget_user(&mut self, user: UserId) {
        self.users.push(user);
    }

    /// Makes this replica look for jobs at once.
    pub(crate) fn wake_jobs(&mut self) {
        self.wakes_jobs = true;
    }

    /// Writes the collected consequences, commits, and applies them to memory.
    ///
    /// The database numbers revocations and notices in the order of the commits. On PostgreSQL it does so inside the
    /// commit. Audit entries get their numbers later, when they are sealed. Memory changes after the commit, so memory
    /// never contains an uncommitted revocation.
    ///
    /// # Errors
    ///
    /// If the database returns an error. Then nothing of the operation remains.
    pub(crate) async fn commit(self) -> Result<()> {
        let Self { app, transaction, revocations, appends, notices, entries, users, wakes_jobs } =
            self;
        for Revoked { entries, session, reason, at } in &revocations {
            revocation::write(&transaction, entries, *session, reason, *at).await?;
        }
        if !notices.is_empty() {
            notice::write(&transaction, &notices).await?;
        }
        let records = !entries.is_empty();
        let revokes = !revocations.is_empty() || appends;
        audit::write(&transaction, entries).await?;
        tracing::debug!(
            revocations = revocations.iter().map(|revoked| revoked.entries.len()).sum::<usize>(),
            notices = notices.len(),
            "a unit of work was committed"
        );
        transaction.commit().await?;
        if revokes || !notices.is_empty() {
            app.revocation.note_written();
        }
        app.revocation.apply(revocations.into_iter().flat_map(|revoked| revoked.entries));
        users.into_iter().for_each(|user| app.user.cache.forget(user));
        if wakes_jobs {
            app.job.wake();
        }
        if records {
            app.audit.wake();
        }
        // The operation is committed in any case: other replicas, and this one again, read the notices every half
        // second.
        if let Err(error) = notice::act(app, &notices).await {
            tracing::warn!(error.cause = %error, "a notice could not be handled yet");
        }
        if revokes {
            note_ended(app).await;
        }
        Ok(())
    }

    /// Begins a part that is kept or undone as a whole.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(crate) async fn begin_part(&self) -> Result<Part> {
        Ok(Part { savepoint: self.transaction.begin().await?, entries: Vec::new() })
    }

    /// Undoes everything.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub(crate) async fn rollback(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }
}

/// Notes for the answer up to which number a service must follow the revocations to know of this one.
async fn note_ended(app: &App) {
    let epoch = app.revocation.feed.epoch();
    if epoch.is_empty() || !request_context::is_answering() {
        return;
    }
    // The operation is committed in any case. Only the number is missing from the answer.
    match revocation::last_seq(app).await {
        Ok(seq) => request_context::note_ended(format!("{epoch}.{seq}")),
        Err(error) => tracing::debug!(error.cause = %error, "the last number could not be read"),
    }
}

/// A part of an operation, in a savepoint.
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

    /// Keeps the part or undoes it. In both cases the same rows are written, so the duration of a request does not
    /// reveal which it was.
    ///
    /// # Errors
    ///
    /// If the database returns an error.
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

/// Records an operation in the audit that changes nothing else.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn record(app: &App, entry: Entry) -> Result<()> {
    audit::write_alone(&app.database, entry).await?;
    app.audit.wake();
    Ok(())
}

/// Makes a change by one statement. If the statement returns a row, the same transaction revokes an entry and records the
/// operation, without a round trip in between. On SQLite, operations that wait at the same time share a commit. Returns
/// false if there was nothing to change: then nothing is done. A test lists the callers.
///
/// # Errors
///
/// If the database refuses: then nothing of the operation remains.
pub(crate) async fn revoke_at_once(
    app: &App,
    change: Statement,
    revocation: Revocation,
    reason: &Reason,
    at: Timestamp,
    entry: Entry,
) -> Result<bool> {
    let inserts = vec![revocation::insert_of(&revocation, reason, at)?, audit::insert_of(entry)];
    if !app.database.change_and_insert(change, inserts).await? {
        return Ok(false);
    }
    app.revocation.note_written();
    app.revocation.apply([revocation]);
    app.audit.wake();
    note_ended(app).await;
    Ok(true)
}

/// Runs one statement that causes nothing else. Returns its first row. A test lists the callers.
///
/// # Errors
///
/// If the database refuses.
pub(crate) async fn statement(app: &App, statement: Statement) -> Result<Option<QueryResult>> {
    Ok(app.database.run(statement).await?)
}
