//! Revocations: the jti blacklist and its kin, in the table and in memory.
//!
//! The table is the truth, and every replica follows it by its sequence. Memory answers requests:
//! no query tells whether a token was revoked.

pub(crate) mod jobs;
mod life;
pub(crate) mod memory;
mod store;

pub use life::Life;
pub(crate) use life::{life_is_noted, require_noted_life};
pub use memory::State;
pub(crate) use memory::load;

use entity::revocation::{Model, SESSION, TOKEN, USER};
use entity::{SessionId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use strum::IntoStaticStr;
use tessera_verify::{Claims, Revocation, RevocationList};

use self::memory::entry;
use self::store::Row;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};

/// How long a row outlives what it covers, in seconds: a clock that jumps ahead and back must not revive a
/// token.
const GRACE: u64 = 86_400;

/// What happened that something was revoked.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Reason {
    /// Its user signed out.
    Logout,
    /// Its user signed out everywhere.
    LogoutAll,
    /// A refresh token was used that had been spent.
    Reuse,
    /// A refresh token was used that the session has not given yet: the database was restored from an
    /// older copy.
    Restored,
    /// Its user has a new password.
    PasswordChange,
    /// Its user took back an address that somebody else had changed.
    EmailRestored,
    /// Its user may not sign in any more.
    Deactivated,
    /// Its user may more than before, and signs in anew.
    Raised,
    /// Its user may do less than before.
    ScopesLost,
    /// Its user was deleted.
    Deleted,
    /// Its user ended it from another session.
    Ended,
    /// Its holder gave it up (RFC 7009).
    Revoked,
    /// A superuser did it, with these words.
    Admin(String),
}

impl Reason {
    /// Its name, which the user of a session is told: what a superuser wrote is for superusers.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The words that are stored.
    pub fn as_str(&self) -> &str {
        match self {
            Reason::Admin(words) => words,
            _ => self.name(),
        }
    }
}

/// Fails where this replica cannot know what was revoked: a wrong yes is worse than no answer.
///
/// # Errors
///
/// [`Code::ServiceUnavailable`].
pub fn require_known(app: &App) -> Result<()> {
    if !app.config.blacklist_enabled || app.revocation.are_known() {
        Ok(())
    } else {
        Err(Error::from(Code::ServiceUnavailable))
    }
}

/// Writes entries in the transaction of the act that caused them; a token that is revoked alone is counted with those of
/// a session.
///
/// # Errors
///
/// When the database refuses.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    entries: &[Revocation],
    session: Option<SessionId>,
    reason: &Reason,
    at: Timestamp,
) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    Ok(store::insert(transaction, entries, session, reason.as_str(), at).await?)
}

/// How many tokens of a session were revoked alone and may still be valid.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn count_alone(
    transaction: &DatabaseTransaction,
    session: SessionId,
    now: Timestamp,
) -> Result<u64> {
    Ok(store::count_alone(transaction, session, now).await?)
}

/// The place of a new session's first access token in the order of its user's: now, or after the latest
/// cut-off, whose clock may have been ahead. The user is locked: no other cut-off comes in between.
///
/// # Errors
///
/// When the database does not answer.
pub(crate) async fn next_issue(
    app: &App,
    transaction: &DatabaseTransaction,
    user: UserId,
    now: Timestamp,
) -> Result<Timestamp> {
    let newer = RevocationList::new();
    let rows = store::of(transaction, app.revocation.applied(), &[user.to_string()]).await?;
    rows.into_iter().map(Row::from).filter_map(entry).for_each(|entry| newer.add(entry));
    let known = app.revocation.list();
    let sub = user.0.into();
    let cut_off = known.issued_by(&sub).max(newer.issued_by(&sub));
    let after = cut_off.map(|cut_off| i64::try_from(cut_off).unwrap_or(i64::MAX).saturating_add(1));
    Ok(after.map_or(now, |after| now.max(Timestamp::from_millis(after))))
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

impl From<Model> for Entry {
    fn from(row: Model) -> Self {
        let Model { seq, kind, subject, until, why, at, session_id: _ } = row;
        let seconds = |millis| Timestamp::from_millis(millis).seconds();
        Self { seq, kind, subject, why, at: seconds(at), until: seconds(until) }
    }
}

/// The kinds of entries that cover tokens. Others tell replicas what to read again.
pub const COVERING: [&str; 3] = [TOKEN, SESSION, USER];

/// A page of what was revoked, the latest first, from before `before`. Of some kinds alone, if any are given.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(
    app: &App,
    kinds: Option<&[&str]>,
    before: Option<i64>,
    limit: u64,
) -> Result<Page<Entry>> {
    let limit = Limit::new(limit, 100);
    let rows = store::before(app.database.reader(), kinds, before, limit.rows()).await?;
    Ok(limit.page(rows).map(Entry::from))
}

/// Takes an entry back, and returns it: on every replica within a second, for memory learns of it as every replica's does,
/// in the order of the sequence. Others for the same id hold on. A session that ended stays ended: only its access tokens
/// are accepted again.
///
/// # Errors
///
/// [`Code::NotFound`] when there is none.
pub(crate) async fn lift(transaction: &DatabaseTransaction, seq: i64) -> Result<Entry> {
    let row = store::find(transaction, seq).await?.ok_or(Code::NotFound)?;
    if !COVERING.contains(&row.kind.as_str()) {
        return Err(Code::NotFound.into());
    }
    if !store::delete(transaction, seq).await? {
        return Err(Code::NotFound.into());
    }
    let subject = format!("{}:{}", row.kind, row.subject);
    store::insert_lift(transaction, subject, row.until, clock::now()).await?;
    Ok(row.into())
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
    let last_seq = app.revocation.applied();
    let session = claims.sid.map(|sid| sid.to_string());
    let mut subjects = vec![claims.jti.to_string(), claims.sub.to_string()];
    subjects.extend(session);
    let newer = RevocationList::new();
    let rows = store::of(connection, last_seq, &subjects).await?;
    rows.into_iter().map(Row::from).filter_map(entry).for_each(|entry| newer.add(entry));
    Ok(app.key.verifier.is_revoked(claims) || newer.covers(claims))
}
