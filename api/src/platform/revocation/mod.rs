//! Revocations of tokens, sessions and users, in the table and in memory.
//!
//! The table is the source of truth, and every replica follows it by its sequence. Memory answers requests: checking
//! whether a token was revoked needs no query.

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

/// The time for which a row is kept after the tokens that it covers have expired, in seconds. A clock that jumps ahead
/// and back must not make a token valid again.
const GRACE: u64 = 86_400;

/// The reason for a revocation.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Reason {
    /// The user signed out.
    Logout,
    /// The user signed out everywhere.
    LogoutAll,
    /// A refresh token was used that had already been exchanged.
    Reuse,
    /// A refresh token was used that the session has not issued yet: the database was restored from an older copy.
    Restored,
    /// The user has a new password.
    PasswordChange,
    /// The user took back an address that somebody else had changed.
    EmailRestored,
    /// The user was deactivated.
    Deactivated,
    /// The user has more permissions than before, and must sign in again.
    Raised,
    /// The user has fewer permissions than before.
    ScopesLost,
    /// The user was deleted.
    Deleted,
    /// The user ended it from another session.
    Ended,
    /// The holder revoked it (RFC 7009).
    Revoked,
    /// A superuser revoked it, for this reason.
    Admin(String),
}

impl Reason {
    /// Returns the name of the reason, which is shown to the user of a session. The words of a superuser are only for
    /// superusers.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns the words that are stored.
    pub fn as_str(&self) -> &str {
        match self {
            Reason::Admin(words) => words,
            _ => self.name(),
        }
    }
}

/// Fails if this replica has not read the revocations recently. Otherwise it could accept a revoked token.
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

/// Writes entries in the transaction of the operation that caused them. A single revoked token is counted with those of
/// its session.
///
/// # Errors
///
/// If the database returns an error.
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

/// Returns the number of tokens of a session that were revoked singly and may still be valid.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn count_alone(
    transaction: &DatabaseTransaction,
    session: SessionId,
    now: Timestamp,
) -> Result<u64> {
    Ok(store::count_alone(transaction, session, now).await?)
}

/// Returns the instant at which a new session's first access token is issued. This is now, or just after the latest
/// cut-off of the user if that is later, because a clock was ahead. The user is locked, so no other cut-off can come in
/// between.
///
/// # Errors
///
/// If the database does not answer.
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

/// A revocation, as an operator sees it. Instants are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The number of the entry in the sequence.
    pub seq: i64,
    /// The kind of `subject`: `jti`, `sid`, `sub`, or `lift` for an entry that lifts another.
    pub kind: String,
    /// The id of a token, a session or a user.
    pub subject: String,
    /// The reason.
    pub why: String,
    /// The instant of the revocation.
    pub at: u64,
    /// The instant when the last token that it covers has expired.
    pub until: u64,
}

impl From<Model> for Entry {
    fn from(row: Model) -> Self {
        let Model { seq, kind, subject, until, why, at, session_id: _ } = row;
        let seconds = |millis| Timestamp::from_millis(millis).seconds();
        Self { seq, kind, subject, why, at: seconds(at), until: seconds(until) }
    }
}

/// The kinds of entries that cover tokens. An entry of the other kind, `lift`, ends one of these.
pub const COVERING: [&str; 3] = [TOKEN, SESSION, USER];

/// Returns a page of the revocations, the latest first, with numbers below `before`. With `kinds`, only those of these
/// kinds.
///
/// # Errors
///
/// If the database does not answer.
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

/// Lifts an entry and returns it. Every replica, also this one, applies the change within a second, when it reads the
/// table in the order of the sequence. Other entries for the same id still hold. A session that ended stays ended: only
/// its access tokens are accepted again.
///
/// # Errors
///
/// [`Code::NotFound`] if there is no such entry.
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

/// Returns true if a token was revoked, according to memory and to the rows that were committed since.
///
/// # Errors
///
/// If the database does not answer.
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
