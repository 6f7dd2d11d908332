//! The revocation list: tokens that are refused although their signature is valid.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

use crate::{Claims, GrantClaims, Subject, TokenKind};

/// An entry of the list. `until` is the time when all tokens that it covers have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// The revocation of one token. See [`Revocation::token`].
    #[non_exhaustive]
    Token {
        /// The `jti` of the token.
        jti: Uuid,
        /// The time when the token has expired, in seconds since the epoch.
        until: u64,
    },
    /// The revocation of all tokens of a session. See [`Revocation::session`].
    #[non_exhaustive]
    Session {
        /// The `sid` of the session.
        sid: Uuid,
        /// The time when the last token of the session has expired, in seconds since the epoch.
        until: u64,
    },
    /// The revocation of all access tokens of a user that were issued up to a time, the cut-off. See
    /// [`Revocation::user`]. It does not cover refresh tokens, which end with their session. So the session that
    /// changed a password can continue.
    #[non_exhaustive]
    User {
        /// The `sub` of the user.
        sub: Subject,
        /// The cut-off, in milliseconds since the epoch.
        issued_by: u64,
        /// The time when the last of these tokens has expired, in seconds since the epoch.
        until: u64,
    },
}

impl Revocation {
    /// Creates the revocation of one token, which has expired at `until` (seconds since the epoch).
    pub const fn token(jti: Uuid, until: u64) -> Self {
        Self::Token { jti, until }
    }

    /// Creates the revocation of all tokens of a session. The last one has expired at `until` (seconds since the
    /// epoch).
    pub const fn session(sid: Uuid, until: u64) -> Self {
        Self::Session { sid, until }
    }

    /// Creates the revocation of all access tokens of a user that were issued up to `issued_by` (milliseconds since the
    /// epoch). The last one has expired at `until` (seconds since the epoch).
    pub fn user(sub: impl Into<Subject>, issued_by: u64, until: u64) -> Self {
        Self::User { sub: sub.into(), issued_by, until }
    }
}

/// The list of revocations in memory. A look-up takes three read locks of shards and no query. A million entries take a
/// few tens of megabytes.
///
/// You can drop the entries whose tokens have all expired. If the clock jumps ahead and back, this does not make a
/// revoked token valid again: the list still refuses tokens that had expired when entries were dropped, until
/// [`RevocationList::recall`] says that the dropped entries are back.
#[derive(Debug, Default)]
pub struct RevocationList {
    tokens: Shards<Uuid, u64>,
    sessions: Shards<Uuid, u64>,
    users: Shards<Subject, Cutoff>,
    /// The time before which the list knows nothing about expired tokens, in seconds since the epoch.
    dropped_before: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Cutoff {
    issued_by: u64,
    until: u64,
}

impl RevocationList {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. It changes nothing if the list already has this entry or a later one for the same id.
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

    /// Lifts all revocations of the same kind for the same id, whatever their times are.
    pub fn lift(&self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, .. } => self.tokens.remove(&jti),
            Revocation::Session { sid, .. } => self.sessions.remove(&sid),
            Revocation::User { sub, .. } => self.users.remove(&sub),
        }
    }

    /// Returns true if the token with these claims was revoked, or if it expired so early that its entries may have
    /// been dropped.
    pub fn covers(&self, claims: &Claims) -> bool {
        claims.exp < self.dropped_before()
            || claims.sid.is_some_and(|sid| self.sessions.get(&sid).is_some())
            || self.tokens.get(&claims.jti).is_some()
            || matches!(claims.kind, TokenKind::Access { .. })
                && self
                    .issued_by(&claims.sub)
                    .is_some_and(|issued_by| claims.issued_at_millis() <= issued_by)
    }

    /// Returns true if the access token of a grant with these claims was revoked: alone, with its grant, or with all
    /// tokens of its user. Grants are in the list like sessions.
    pub fn covers_grant(&self, claims: &GrantClaims) -> bool {
        claims.exp < self.dropped_before()
            || self.sessions.get(&claims.grant_id).is_some()
            || self.tokens.get(&claims.jti).is_some()
            || self
                .issued_by(&claims.sub)
                .is_some_and(|issued_by| claims.issued_at_millis() <= issued_by)
    }

    /// Returns the time of issue up to which the access tokens of this user are revoked, in milliseconds since the
    /// epoch. See [`Claims::issued_at_millis`].
    pub fn issued_by(&self, sub: &Subject) -> Option<u64> {
        self.users.get(sub).map(|cutoff| cutoff.issued_by)
    }

    /// Drops the entries whose last token expired before `time` (seconds since the epoch). From then on the list
    /// refuses all tokens that expired before `time`. A time that is earlier than in a previous call changes nothing.
    pub fn drop_before(&self, time: u64) {
        // This comes first, so that no token is accepted while entries are dropped.
        self.dropped_before.fetch_max(time, Ordering::SeqCst);
        self.tokens.retain(|until| *until >= time);
        self.sessions.retain(|until| *until >= time);
        self.users.retain(|cutoff| cutoff.until >= time);
    }

    /// Declares that the list again has all entries whose last token expires at `time` (seconds since the epoch) or
    /// later, for example after reading all of them. Tokens that expire then or later are refused only if an entry
    /// covers them.
    pub fn recall(&self, time: u64) {
        self.dropped_before.store(time, Ordering::SeqCst);
    }

    /// Returns the time before which tokens must expire for the list to refuse them, because entries that covered them
    /// may have been dropped. It is in seconds since the epoch, and 0 if no entries were dropped.
    pub fn dropped_before(&self) -> u64 {
        self.dropped_before.load(Ordering::SeqCst)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.sessions.len() + self.users.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A map that is divided into 64 parts, each with its own lock. A writer that grows or purges a part delays only the
/// look-ups in this part.
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
    fn a_token_whose_entry_was_dropped_stays_refused_until_the_entry_is_back() {
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
            // An entry is kept until its last second.
            list.drop_before(100);
            assert!(list.covers(&revoked) && !list.covers(&other) && list.len() == 1);
            list.drop_before(101);
            assert!(list.covers(&revoked) && list.is_empty());
            // The list does not know any more whether these tokens were revoked.
            assert!(list.covers(&other) && !list.covers(&access(2, 101)));
            list.drop_before(50);
            assert_eq!(list.dropped_before(), 101);
            list.add(entry);
            list.recall(50);
            assert!(list.covers(&revoked) && !list.covers(&other) && list.covers(&access(2, 49)));
        }
    }
}
