//! Revocations of tokens, sessions and users, in the table and in memory.
//!
//! The table is the source of truth, and every replica follows it by its sequence. Memory answers requests: checking
//! whether a token was revoked needs no query.

pub(crate) mod jobs;
mod life;
pub(crate) mod memory;
mod packed;
mod place;
mod ring;
mod store;

pub use life::{Life, MAX_CLIENT_LIFE};
pub(crate) use life::{life_is_noted, require_noted_life};
pub use memory::State;
pub(crate) use memory::{live_records, load, recall};
pub(crate) use ring::SharedEvent;
pub use ring::{Batch, Cursor, Feed, Gone, Times};

use entity::feed;
use entity::revocation::{KEY, LIFT, Model, SESSION, TOKEN, USER};
use entity::{SessionId, UserId};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use strum::IntoStaticStr;
use tessera_verify::{Claims, GrantClaims, Revocation, RevocationList};

use self::memory::entry;
use self::store::Row;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::database::{Insert, lock_keys};
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};

/// The time for which a row is kept after the tokens that it covers have expired, in seconds. A clock that jumps ahead
/// and back must not make a token valid again.
pub(crate) const GRACE: u64 = 86_400;

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
    /// The key that signed it was retired.
    KeyRetired,
    /// An identity at another provider was linked to the account.
    Linked,
    /// The identity that proved the session was unlinked.
    Unlinked,
    /// The provider that proved the session ended it.
    EndedThere,
    /// The user gave the application so many grants that this one is not kept.
    Surplus,
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

/// The row of an entry, for a statement that writes others too.
///
/// # Errors
///
/// If the table cannot hold this kind of entry.
pub(super) fn insert_of(entry: &Revocation, reason: &Reason, at: Timestamp) -> Result<Insert> {
    Ok(store::insert_of(entry, reason.as_str(), at)?)
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
    let newer = newer(app, transaction, &[user.to_string()]).await?;
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
    let row = match row.until {
        0 => moved(transaction, row).await?.ok_or(Code::NotFound)?,
        _ => row,
    };
    if !store::end(transaction, row.seq).await? {
        return Err(Code::NotFound.into());
    }
    let lift = Model {
        kind: LIFT.to_owned(),
        subject: format!("{}:{}", row.kind, row.subject),
        why: "lifted".to_owned(),
        at: clock::now().millis(),
        session_id: None,
        ..row.clone()
    };
    store::append(transaction, lift).await?;
    // Services know only the id, so the lift ends all its entries for them. Those that still hold come again behind it.
    for other in store::holding(transaction, &row.kind, &row.subject).await? {
        store::end(transaction, other.seq).await?;
        store::append(transaction, other).await?;
    }
    Ok(row.into())
}

/// Returns the row that a row became when another one for its id was lifted. An operator may still have its old number.
async fn moved(transaction: &DatabaseTransaction, row: Model) -> Result<Option<Model>> {
    let holding = store::holding(transaction, &row.kind, &row.subject).await?;
    let is_it = |other: &Model| (other.at, &other.why) == (row.at, &row.why);
    Ok(holding.into_iter().find(is_it))
}

/// Writes that the tokens which a key signed are refused, so that services read the keys again.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn write_key(
    transaction: &DatabaseTransaction,
    kid: &str,
    now: Timestamp,
    until: u64,
) -> Result<()> {
    let row = Model {
        seq: 0,
        kind: KEY.to_owned(),
        subject: kid.to_owned(),
        until: Timestamp::from_millis(0).plus_seconds(until).millis(),
        why: Reason::KeyRetired.as_str().to_owned(),
        at: now.millis(),
        session_id: None,
    };
    Ok(store::append(transaction, row).await?)
}

/// Returns the highest number in the sequence.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn last_seq(app: &App) -> Result<i64> {
    Ok(store::last_seq(app.database.reader()).await?)
}

/// The state of the feed in the tables.
#[derive(Debug, Clone)]
pub struct FeedStatus {
    /// The epoch; empty before a server has set one.
    pub epoch: String,
    /// The highest number in the sequence.
    pub seq: i64,
    /// The number from which the table has every row.
    pub low: i64,
    /// The longest lifetime of an access token that may still be valid, in seconds.
    pub longest: i64,
}

/// Returns the state of the feed.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn feed_status(app: &App) -> Result<FeedStatus> {
    let feed::Model { epoch, low, longest, .. } =
        store::feed(app.database.reader()).await?.unwrap_or_else(life::unknown);
    Ok(FeedStatus { epoch, seq: last_seq(app).await?, low, longest })
}

/// Begins a new epoch of the feed, so that every service takes a snapshot. With `ended`, only if that epoch is still the
/// current one: otherwise another replica has begun a new one already. Returns the current epoch.
///
/// # Errors
///
/// If the database returns an error.
pub(crate) async fn begin_epoch(
    transaction: &DatabaseTransaction,
    ended: Option<&str>,
) -> Result<String> {
    lock_keys(transaction).await?;
    let known = store::feed(transaction).await?;
    let current = known.as_ref().map(|row| row.epoch.as_str()).unwrap_or_default();
    if ended.is_some_and(|ended| ended != current) && !current.is_empty() {
        return Ok(current.to_owned());
    }
    let epoch = ring::new_epoch();
    let row = feed::Model { epoch: epoch.clone(), ..known.unwrap_or_else(life::unknown) };
    store::put_feed(transaction, row).await?;
    Ok(epoch)
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
    let session = claims.sid.map(|sid| sid.to_string());
    let mut subjects = vec![claims.jti.to_string(), claims.sub.to_string()];
    subjects.extend(session);
    let newer = newer(app, connection, &subjects).await?;
    Ok(app.key.verifier.is_revoked(claims) || newer.covers(claims))
}

/// Like [`is_revoked`], for an access token of a client.
///
/// # Errors
///
/// If the database does not answer.
pub(crate) async fn is_grant_revoked(
    app: &App,
    connection: &impl ConnectionTrait,
    claims: &GrantClaims,
) -> Result<bool> {
    let subjects = [claims.jti.to_string(), claims.sub.to_string(), claims.grant_id.to_string()];
    let newer = newer(app, connection, &subjects).await?;
    Ok(app.revocation.list().covers_grant(claims) || newer.covers_grant(claims))
}

/// The revocations of these ids that this replica has not read yet.
async fn newer(
    app: &App,
    connection: &impl ConnectionTrait,
    subjects: &[String],
) -> Result<RevocationList> {
    let newer = RevocationList::new();
    let rows = store::of(connection, app.revocation.applied(), subjects).await?;
    rows.into_iter().map(Row::from).filter_map(entry).for_each(|entry| newer.add(entry));
    Ok(newer)
}
