//! Revocations: the jti blacklist and its kin, in the table and in memory.
//!
//! The table is the truth, and every replica follows it by its sequence. Memory answers requests:
//! no query tells whether a token was revoked.

pub(crate) mod jobs;
mod store;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entity::revocation::{API_TOKEN, KEY, LIFT, Model, SESSION, TOKEN, USER};
use entity::{SessionId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tessera_verify::{Claims, MAX_LEEWAY, Revocation, RevocationList};
use uuid::Uuid;

use crate::app::App;
use crate::audit::{self, Act, Acting, Actor};
use crate::clock::{self, Time};
use crate::database::serialise_revocations;
use crate::error::{Code, Error, Result};

/// How many rows are read at once.
const BATCH: u64 = 10_000;

/// What happened that something was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its user signed out.
    Logout,
    /// Its user signed out everywhere.
    LogoutAll,
    /// A refresh token was used that had been spent.
    Reuse,
    /// Its user has a new password.
    PasswordChange,
    /// Its user took back an address that somebody else had changed.
    EmailRestored,
    /// Its user may not sign in any more.
    Deactivated,
    /// Its user may more than before, and signs in anew.
    Raised,
    /// Its user was deleted.
    Deleted,
    /// Its user ended it from another session.
    Ended,
    /// Its holder gave it up (RFC 7009).
    Revoked,
    /// A superuser did it, with these words.
    Admin(String),
}

impl Why {
    /// The word that the user of a session is told: what a superuser wrote is for superusers.
    pub const fn told(&self) -> &'static str {
        match self {
            Why::Logout => "logout",
            Why::LogoutAll => "logout-all",
            Why::Reuse => "reuse",
            Why::PasswordChange => "password-change",
            Why::EmailRestored => "email-restored",
            Why::Deactivated => "deactivated",
            Why::Raised => "raised",
            Why::Deleted => "deleted",
            Why::Ended => "ended",
            Why::Revoked => "revoked",
            Why::Admin(_) => "admin",
        }
    }

    /// The words that are stored.
    pub fn as_str(&self) -> &str {
        match self {
            Why::Admin(words) => words,
            _ => self.told(),
        }
    }
}

/// What this replica knows of revocations, and since when.
#[derive(Debug)]
pub struct Revocations {
    list: Arc<RevocationList>,
    last_seq: AtomicI64,
    read_at: Mutex<Option<Instant>>,
    max_staleness: Duration,
}

impl Revocations {
    pub(crate) fn new(max_staleness: u64) -> Self {
        Self {
            list: Arc::new(RevocationList::new()),
            last_seq: AtomicI64::new(0),
            read_at: Mutex::new(None),
            max_staleness: Duration::from_secs(max_staleness),
        }
    }

    /// The list that tokens are checked against.
    pub fn list(&self) -> Arc<RevocationList> {
        Arc::clone(&self.list)
    }

    /// How long ago the table was last read; `None` before the first time.
    pub fn age(&self) -> Option<Duration> {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner).map(|read_at| read_at.elapsed())
    }

    /// Whether the list is young enough to say yes by.
    pub fn are_known(&self) -> bool {
        self.age().is_some_and(|age| age <= self.max_staleness)
    }

    /// The last place in the sequence that memory knows of.
    pub(crate) fn applied(&self) -> i64 {
        self.last_seq.load(Ordering::SeqCst)
    }

    /// Puts entries whose transaction was committed into memory.
    pub(crate) fn apply(&self, entries: impl IntoIterator<Item = Revocation>) {
        entries.into_iter().for_each(|entry| self.list.add(entry));
    }
}

/// Fails where this replica cannot know what was revoked: a wrong yes is worse than no answer.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub fn require_known(app: &App) -> Result<()> {
    if !app.config.blacklist_enabled || app.revocations.are_known() {
        Ok(())
    } else {
        Err(Error::from(Code::ServiceUnavailable))
    }
}

/// Every token of these sessions.
pub fn of_sessions(app: &App, sessions: &[SessionId], now: Time) -> Vec<Revocation> {
    let until = last_expiry(app, now);
    sessions.iter().map(|session| Revocation::Session { sid: session.0, until }).collect()
}

/// Every access token that a user got up to now.
pub fn of_user(app: &App, user: UserId, now: Time) -> Revocation {
    Revocation::User {
        sub: user.0,
        issued_by: now.millis().cast_unsigned(),
        until: last_expiry(app, now),
    }
}

/// When an access token that was issued now has expired everywhere.
fn last_expiry(app: &App, now: Time) -> u64 {
    now.plus_seconds(app.config.access_token_expires + MAX_LEEWAY).seconds()
}

/// Writes entries in the transaction of the act that caused them, as its last statement. Once it
/// was committed, the caller puts them into memory.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn record(
    transaction: &DatabaseTransaction,
    entries: &[Revocation],
    why: &Why,
    now: Time,
) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    serialise_revocations(transaction).await?;
    store::insert(transaction, entries, why.as_str(), now).await?;
    Ok(())
}

/// Tells every replica, in the transaction that changed API tokens or their owners, as its last
/// statement, to forget what it knows of them.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn announce(
    transaction: &DatabaseTransaction,
    subject: Uuid,
    now: Time,
) -> Result<()> {
    serialise_revocations(transaction).await?;
    let subject = subject.to_string();
    Ok(store::insert_note(transaction, API_TOKEN, subject, now.millis(), "changed", now).await?)
}

/// Tells every replica, in the transaction that changed the keys that sign, as its last statement, to
/// read them again.
///
/// # Errors
///
/// When the database refuses.
pub(crate) async fn announce_keys(transaction: &DatabaseTransaction, now: Time) -> Result<()> {
    serialise_revocations(transaction).await?;
    let subject = "keys".to_owned();
    Ok(store::insert_note(transaction, KEY, subject, now.millis(), "changed", now).await?)
}

/// One token of which no more is known than its id: held for as long as the longest-lived may last.
pub fn of_token(app: &App, jti: Uuid, now: Time) -> Revocation {
    let longest = app.config.refresh_token_expires.max(app.config.access_token_expires);
    Revocation::Token { jti, until: now.plus_seconds(longest + MAX_LEEWAY).seconds() }
}

/// What was revoked, as an operator sees it. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the sequence.
    pub seq: i64,
    /// What `subject` is: `jti`, `sid`, `sub`, or `lift` for the end of another.
    pub kind: String,
    /// The id of a token, a session or a user.
    pub subject: String,
    /// What happened.
    pub why: String,
    /// When it happened.
    pub at: u64,
    /// When the last token it covers has expired.
    pub until: u64,
}

/// The kinds of entries that cover tokens. Others tell replicas what to read again.
pub const COVERING: [&str; 3] = [TOKEN, SESSION, USER];

/// What was revoked, the latest first, from before `before`; and whether there is more. Of some kinds alone, if any are
/// given.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    app: &App,
    kinds: Option<&[&str]>,
    before: Option<i64>,
    limit: u64,
) -> Result<(Vec<Entry>, bool)> {
    let limit = limit.clamp(1, 100);
    let mut rows = store::before(app.database.reader(), kinds, before, limit + 1).await?;
    let more = u64::try_from(rows.len()).is_ok_and(|count| count > limit);
    rows.truncate(usize::try_from(limit).unwrap_or(100));
    let seconds = |millis| Time::from_millis(millis).seconds();
    let entries = rows.into_iter().map(|row| {
        let Model { seq, kind, subject, until, why, at } = row;
        Entry { seq, kind, subject, why, at: seconds(at), until: seconds(until) }
    });
    Ok((entries.collect(), more))
}

/// Takes an entry back, on every replica within a second; others for the same id hold on. A session
/// that ended stays ended: only its access tokens are accepted again.
///
/// # Errors
///
/// [`Code::NotFound`] when there is none.
pub async fn lift(app: &App, by: &impl Acting, seq: i64) -> Result<()> {
    let transaction = app.database.begin().await?;
    by.hold(app, &transaction).await?;
    serialise_revocations(&transaction).await?;
    let row = store::find(&transaction, seq).await?.ok_or(Code::NotFound)?;
    let now = clock::now();
    if !COVERING.contains(&row.kind.as_str()) {
        return Err(Code::NotFound.into());
    }
    store::delete(&transaction, seq).await?;
    let subject = format!("{}:{}", row.kind, row.subject);
    let entry = audit::Entry::new(Act::AdminLift, Actor::of(by)).on(&row.kind, &row.subject);
    store::insert_note(&transaction, LIFT, subject, row.until, "lifted", now).await?;
    audit::record(&transaction, entry).await?;
    // Memory learns of it as every replica's does, in the order of the sequence.
    transaction.commit().await?;
    Ok(())
}

/// Whether a token was revoked, by what memory knows and by what was committed since.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn is_revoked(
    app: &App,
    connection: &impl ConnectionTrait,
    claims: &Claims,
) -> Result<bool> {
    if !app.config.blacklist_enabled {
        return Ok(false);
    }
    let last_seq = app.revocations.applied();
    let subjects = [claims.jti, claims.sid, claims.sub].map(|id| id.to_string());
    let newer = RevocationList::new();
    let rows = store::of(connection, last_seq, &subjects).await?;
    rows.into_iter().filter_map(entry).for_each(|entry| newer.add(entry));
    Ok(app.verifier.is_revoked(claims) || newer.covers(claims))
}

/// The last place in the sequence that was committed; 0 before the first.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn last_seq(app: &App) -> Result<i64> {
    Ok(store::last_seq(app.database.reader()).await?)
}

/// Reads what was committed to the table since the last time.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn follow(app: &App, connection: &impl ConnectionTrait) -> Result<()> {
    let began = Instant::now();
    loop {
        let last_seq = app.revocations.applied();
        let rows = store::after(connection, last_seq, BATCH).await?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        for row in rows {
            // With everything a user has, their API tokens go as well.
            if row.kind == API_TOKEN || row.kind == USER {
                app.forget_api_tokens();
            }
            if row.kind == KEY {
                app.key_changes.tell(row.seq);
            }
            if [API_TOKEN, KEY].contains(&row.kind.as_str()) {
                continue;
            }
            if row.kind == LIFT {
                let Some(lifted) = lifted(row.clone()) else { continue };
                // What else there is of it holds on. It is read first: a database that goes away
                // here must not leave memory without it.
                let subject = row.subject.split(':').next_back().unwrap_or_default().to_owned();
                let rest = store::of(connection, 0, &[subject]).await?;
                app.revocations.list.lift(lifted);
                app.revocations.apply(rest.into_iter().filter_map(entry));
            } else {
                app.revocations.apply(entry(row));
            }
        }
        // Only now: whoever reads on from here must find in memory what is not read again.
        app.revocations.last_seq.fetch_max(last, Ordering::SeqCst);
    }
    *app.revocations.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
    Ok(())
}

/// What a row says is revoked no more.
fn lifted(row: Model) -> Option<Revocation> {
    let (kind, subject) = row.subject.split_once(':')?;
    entry(Model { kind: kind.to_owned(), subject: subject.to_owned(), ..row })
}

/// A row as an entry of the list. One that a newer release wrote and this one does not know is
/// passed over: refusing to read on would refuse every token.
fn entry(row: Model) -> Option<Revocation> {
    let Model { seq, kind, subject, until, why: _, at } = row;
    let until = Time::from_millis(until).seconds();
    let known = [TOKEN, SESSION, USER].contains(&kind.as_str());
    let Some(id) = subject.parse().ok().filter(|_| known) else {
        tracing::error!(revocation.seq = seq, "a revocation is of an unknown kind, or of no id");
        return None;
    };
    Some(match kind.as_str() {
        TOKEN => Revocation::Token { jti: id, until },
        SESSION => Revocation::Session { sid: id, until },
        _ => Revocation::User {
            sub: id,
            issued_by: Time::from_millis(at).millis().cast_unsigned(),
            until,
        },
    })
}
