//! The revocation list: what must not be accepted although its signature is good.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

use crate::{Claims, TokenKind};

/// One entry of the list. `until` is when the last token it covers has expired, in seconds since
/// the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its `jti`.
        jti: Uuid,
        /// When it has expired, in seconds since the epoch.
        until: u64,
    },
    /// Every token of a session.
    Session {
        /// Its `sid`.
        sid: Uuid,
        /// When its last token has expired, in seconds since the epoch.
        until: u64,
    },
    /// Every access token of a user that was issued at or before an instant. Refresh tokens live
    /// and die with their session, so that the session that changed a password can go on.
    User {
        /// Its `sub`.
        sub: Uuid,
        /// The instant, in milliseconds since the epoch.
        issued_by: u64,
        /// When the last of them has expired, in seconds since the epoch.
        until: u64,
    },
}

/// How long an entry outlives the last token it covers, in seconds: a clock that jumps ahead and
/// back must not revive a token.
const GRACE: u64 = 86_400;

/// The list in memory. A look-up takes three read locks of shards and no query; a million entries
/// take some tens of megabytes.
#[derive(Debug, Default)]
pub struct RevocationList {
    tokens: Shards<u64>,
    sessions: Shards<u64>,
    users: Shards<Cutoff>,
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

    /// Whether the token with these claims was revoked.
    pub fn covers(&self, claims: &Claims) -> bool {
        self.sessions.get(&claims.sid).is_some()
            || self.tokens.get(&claims.jti).is_some()
            || matches!(claims.kind, TokenKind::Access { .. })
                && self
                    .issued_by(&claims.sub)
                    .is_some_and(|issued_by| claims.issued_at_millis() <= issued_by)
    }

    /// The instant, in milliseconds since the epoch, up to which the access tokens of this user
    /// are revoked. A token issued to that user must be younger.
    pub fn issued_by(&self, sub: &Uuid) -> Option<u64> {
        self.users.get(sub).map(|cutoff| cutoff.issued_by)
    }

    /// Forgets the entries whose last token expired more than a day before `now` (seconds since
    /// the epoch).
    pub fn purge(&self, now: u64) {
        self.tokens.retain(|until| until.saturating_add(GRACE) > now);
        self.sessions.retain(|until| until.saturating_add(GRACE) > now);
        self.users.retain(|cutoff| cutoff.until.saturating_add(GRACE) > now);
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
struct Shards<V>(Vec<RwLock<HashMap<Uuid, V>>>);

const SHARDS: usize = 64;

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

impl<V: Copy> Shards<V> {
    /// The last byte of an id is random in every version of UUID that is used here.
    fn shard(&self, id: &Uuid) -> &RwLock<HashMap<Uuid, V>> {
        &self.0[usize::from(id.as_bytes()[15]) % SHARDS]
    }

    fn get(&self, id: &Uuid) -> Option<V> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn update(&self, id: Uuid, change: impl FnOnce(Option<V>) -> V) {
        let mut shard = self.shard(&id).write().unwrap_or_else(PoisonError::into_inner);
        let value = change(shard.get(&id).copied());
        shard.insert(id, value);
    }

    fn remove(&self, id: &Uuid) {
        self.shard(id).write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn retain(&self, keep: impl Fn(&V) -> bool) {
        for shard in &self.0 {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, value| keep(value));
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}
