//! The revocation list: what must not be accepted although its signature is good.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

use crate::{Claims, Subject, TokenKind};

/// One entry of the list. `until` is when the last token it covers has expired, in seconds since
/// the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// One token: see [`Revocation::token`].
    #[non_exhaustive]
    Token {
        /// Its `jti`.
        jti: Uuid,
        /// When it has expired, in seconds since the epoch.
        until: u64,
    },
    /// Every token of a session: see [`Revocation::session`].
    #[non_exhaustive]
    Session {
        /// Its `sid`.
        sid: Uuid,
        /// When its last token has expired, in seconds since the epoch.
        until: u64,
    },
    /// Every access token of a user that was issued at or before an instant: see [`Revocation::user`].
    /// Refresh tokens live and die with their session, so that the session that changed a password can
    /// go on.
    #[non_exhaustive]
    User {
        /// Its `sub`.
        sub: Subject,
        /// The instant, in milliseconds since the epoch.
        issued_by: u64,
        /// When the last of them has expired, in seconds since the epoch.
        until: u64,
    },
}

impl Revocation {
    /// Revokes one token, which has expired at `until` (seconds since the epoch).
    pub const fn token(jti: Uuid, until: u64) -> Self {
        Self::Token { jti, until }
    }

    /// Revokes every token of a session, the last of which has expired at `until` (seconds since the
    /// epoch).
    pub const fn session(sid: Uuid, until: u64) -> Self {
        Self::Session { sid, until }
    }

    /// Revokes every access token that a user got up to the instant `issued_by` (milliseconds since the
    /// epoch), the last of which has expired at `until` (seconds since the epoch).
    pub fn user(sub: impl Into<Subject>, issued_by: u64, until: u64) -> Self {
        Self::User { sub: sub.into(), issued_by, until }
    }
}

/// The list in memory. A look-up takes three read locks of shards and no query; a million entries
/// take some tens of megabytes.
///
/// Entries are dropped once the last token they cover has expired. A clock that jumps ahead and back
/// revives no token by that: a token that had expired when entries were dropped stays refused, until
/// [`RevocationList::recall`] says that what was dropped is there again.
#[derive(Debug, Default)]
pub struct RevocationList {
    tokens: Shards<Uuid, u64>,
    sessions: Shards<Uuid, u64>,
    users: Shards<Subject, Cutoff>,
    /// Of tokens that expire before this, in seconds since the epoch, nothing is known.
    dropped_before: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Cutoff {
    issued_by: u64,
    until: u64,
}

impl RevocationList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. Adding it again, or an earlier one after a later one, changes nothing.
    pub fn add(&self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, until } => {
                self.tokens.update(jti, |known| known.map_or(until, |known| known.max(until)));
            }
            Revocation::Session { sid, until } => {
                self.sessions.update(sid, |known| known.map_or(until, |known| known.max(until)));
            }
            Revocation::User { sub, issued_by, until } => self.users.update(sub, |known| {
                let known = known.unwrap_or(Cutoff { issued_by, until });
                Cutoff { issued_by: known.issued_by.max(issued_by), until: known.until.max(until) }
            }),
        }
    }

    /// Takes back every entry of the same kind for the same id, whatever their times.
    pub fn lift(&self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, .. } => self.tokens.remove(&jti),
            Revocation::Session { sid, .. } => self.sessions.remove(&sid),
            Revocation::User { sub, .. } => self.users.remove(&sub),
        }
    }

    /// Whether the token with these claims was revoked, or expires so early that it is not known any
    /// more.
    pub fn covers(&self, claims: &Claims) -> bool {
        claims.exp < self.dropped_before()
            || claims.sid.is_some_and(|sid| self.sessions.get(&sid).is_some())
            || self.tokens.get(&claims.jti).is_some()
            || matches!(claims.kind, TokenKind::Access { .. })
                && self
                    .issued_by(&claims.sub)
                    .is_some_and(|issued_by| claims.issued_at_millis() <= issued_by)
    }

    /// The instant, in milliseconds since the epoch, up to which the access tokens of this user are
    /// revoked: see [`Claims::issued_at_millis`].
    pub fn issued_by(&self, sub: &Subject) -> Option<u64> {
        self.users.get(sub).map(|cutoff| cutoff.issued_by)
    }

    /// Drops the entries whose last token expired before `time` (seconds since the epoch), and refuses
    /// every token that did. An earlier time than before changes nothing.
    pub fn drop_before(&self, time: u64) {
        // First this: a token must not be accepted in between.
        self.dropped_before.fetch_max(time, Ordering::SeqCst);
        self.tokens.retain(|until| *until >= time);
        self.sessions.retain(|until| *until >= time);
        self.users.retain(|cutoff| cutoff.until >= time);
    }

    /// Says that every entry is there whose last token expires at `time` (seconds since the epoch) or
    /// later, as after reading all of them: tokens that do are judged by the entries alone.
    pub fn recall(&self, time: u64) {
        self.dropped_before.store(time, Ordering::SeqCst);
    }

    /// Before which instant tokens are refused because entries that covered them may have been dropped,
    /// in seconds since the epoch; 0 if none was.
    pub fn dropped_before(&self) -> u64 {
        self.dropped_before.load(Ordering::SeqCst)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.sessions.len() + self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A map in many small locks: a writer that grows or purges one shard holds up one look-up in 64.
#[derive(Debug)]
struct Shards<K, V> {
    shards: Vec<RwLock<HashMap<K, V>>>,
    state: RandomState,
}

const SHARDS: usize = 64;

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, state: RandomState::new() }
    }
}

impl<K: Hash + Eq, V: Copy> Shards<K, V> {
    fn shard(&self, id: &K) -> &RwLock<HashMap<K, V>> {
        // The remainder is less than 64.
        &self.shards[(self.state.hash_one(id) % SHARDS as u64) as usize]
    }

    fn get(&self, id: &K) -> Option<V> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn update(&self, id: K, change: impl FnOnce(Option<V>) -> V) {
        let mut shard = self.shard(&id).write().unwrap_or_else(PoisonError::into_inner);
        let value = change(shard.get(&id).copied());
        shard.insert(id, value);
    }

    fn remove(&self, id: &K) {
        self.shard(id).write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn retain(&self, keep: impl Fn(&V) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, value| keep(value));
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(id: u128, exp: u64) -> Claims {
        let id = Uuid::from_u128(id);
        Claims::new(TokenKind::access(false, 0, ""), "", id, "", id).with_sid(id).with_exp(exp)
    }

    #[test]
    fn what_was_dropped_revives_no_token_until_it_is_there_again() {
        let entries = |until| {
            let id = Uuid::from_u128(1);
            [
                Revocation::token(id, until),
                Revocation::session(id, until),
                Revocation::user(id, 1, until),
            ]
        };
        for entry in entries(100) {
            let list = RevocationList::new();
            list.add(entry.clone());
            let (revoked, other) = (access(1, 100), access(2, 100));
            assert!(list.covers(&revoked) && !list.covers(&other));
            // At its last second it is kept.
            list.drop_before(100);
            assert!(list.covers(&revoked) && !list.covers(&other) && list.len() == 1);
            list.drop_before(101);
            assert!(list.covers(&revoked) && list.is_empty());
            // Nobody knows any more.
            assert!(list.covers(&other) && !list.covers(&access(2, 101)));
            list.drop_before(50);
            assert_eq!(list.dropped_before(), 101);
            list.add(entry);
            list.recall(50);
            assert!(list.covers(&revoked) && !list.covers(&other) && list.covers(&access(2, 49)));
        }
    }
}
