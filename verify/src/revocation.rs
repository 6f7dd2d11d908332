//! The revocation list: tokens that are refused although their signature is valid.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

use crate::id_map::{IdMap, Later};
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

/// The list of revocations in memory. A look-up takes three read locks and no query. A million entries take 20 to 30
/// megabytes.
///
/// You can drop the entries whose tokens have all expired. If the clock jumps ahead and back, this does not make a
/// revoked token valid again: the list still refuses tokens that had expired when entries were dropped, until
/// [`RevocationList::recall`] says that the dropped entries are back.
#[derive(Debug, Default)]
pub struct RevocationList {
    tokens: IdMap<Until>,
    sessions: IdMap<Until>,
    users: IdMap<Cutoff>,
    /// Subjects that are no ids. No server of Tessera makes tokens for them.
    named: RwLock<HashMap<Subject, Cutoff>>,
    /// The time before which the list knows nothing about expired tokens, in seconds since the epoch.
    dropped_before: AtomicU64,
}

/// The time when a token has expired, in seconds since the epoch. Times from the year 2106 on are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Until(u32);

impl Until {
    fn new(time: u64) -> Self {
        Self(u32::try_from(time).unwrap_or(u32::MAX))
    }

    fn is_before(self, time: u64) -> bool {
        self.0 != u32::MAX && u64::from(self.0) < time
    }
}

#[derive(Debug, Clone, Copy)]
struct Cutoff {
    /// In bytes, because a number would leave room between the fields.
    issued_by: [u8; 8],
    until: Until,
}

impl Cutoff {
    fn new(issued_by: u64, until: u64) -> Self {
        Self { issued_by: issued_by.to_be_bytes(), until: Until::new(until) }
    }

    fn issued_by(self) -> u64 {
        u64::from_be_bytes(self.issued_by)
    }
}

impl Later for Until {
    fn or_later(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Later for Cutoff {
    fn or_later(self, other: Self) -> Self {
        // Numbers in this order of bytes compare like their bytes.
        let issued_by = self.issued_by.max(other.issued_by);
        Self { issued_by, until: self.until.max(other.until) }
    }
}

impl RevocationList {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. It changes nothing if the list already has this entry or a later one for the same id.
    pub fn add(&self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, until } => self.tokens.add(jti, Until::new(until)),
            Revocation::Session { sid, until } => self.sessions.add(sid, Until::new(until)),
            Revocation::User { sub, issued_by, until } => {
                let cutoff = Cutoff::new(issued_by, until);
                match sub.uuid() {
                    Some(id) => self.users.add(id, cutoff),
                    None => self.add_named(sub, cutoff),
                }
            }
        }
    }

    fn add_named(&self, sub: Subject, cutoff: Cutoff) {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        let known = named.get(&sub).copied().unwrap_or(cutoff);
        named.insert(sub, known.or_later(cutoff));
    }

    /// Adds many entries, like [`add`](Self::add). If they are an eighth of the list or more, this is faster than one by
    /// one.
    pub fn extend(&self, revocations: impl IntoIterator<Item = Revocation>) {
        let (mut tokens, mut sessions, mut users) = (Vec::new(), Vec::new(), Vec::new());
        for revocation in revocations {
            match revocation {
                Revocation::Token { jti, until } => tokens.push((jti, Until::new(until))),
                Revocation::Session { sid, until } => sessions.push((sid, Until::new(until))),
                Revocation::User { sub, issued_by, until } => {
                    let cutoff = Cutoff::new(issued_by, until);
                    match sub.uuid() {
                        Some(id) => users.push((id, cutoff)),
                        None => self.add_named(sub, cutoff),
                    }
                }
            }
        }
        self.tokens.extend(tokens);
        self.sessions.extend(sessions);
        self.users.extend(users);
    }

    /// Lifts all revocations of the same kind for the same id, whatever their times are.
    pub fn lift(&self, revocation: Revocation) {
        match revocation {
            Revocation::Token { jti, .. } => self.tokens.remove(&jti),
            Revocation::Session { sid, .. } => self.sessions.remove(&sid),
            Revocation::User { sub, .. } => match sub.uuid() {
                Some(id) => self.users.remove(&id),
                None => {
                    self.named.write().unwrap_or_else(PoisonError::into_inner).remove(&sub);
                }
            },
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

    /// Returns true if all tokens of a session are revoked.
    pub fn has_session(&self, sid: &Uuid) -> bool {
        self.sessions.get(sid).is_some()
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
        let cutoff = match sub.uuid() {
            Some(id) => self.users.get(&id),
            None => self.named.read().unwrap_or_else(PoisonError::into_inner).get(sub).copied(),
        };
        cutoff.map(Cutoff::issued_by)
    }

    /// Drops the entries whose last token expired before `time` (seconds since the epoch). From then on the list
    /// refuses all tokens that expired before `time`. A time that is earlier than in a previous call changes nothing.
    pub fn drop_before(&self, time: u64) {
        // This comes first, so that no token is accepted while entries are dropped.
        self.dropped_before.fetch_max(time, Ordering::SeqCst);
        self.tokens.retain(|until| !until.is_before(time));
        self.sessions.retain(|until| !until.is_before(time));
        self.users.retain(|cutoff| !cutoff.until.is_before(time));
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        named.retain(|_, cutoff| !cutoff.until.is_before(time));
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
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner).len();
        self.tokens.len() + self.sessions.len() + self.users.len() + named
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    fn the_latest_cut_off_of_a_user_counts_whatever_their_subject_is() {
        for sub in [Subject::from(Uuid::from_u128(1)), Subject::from("a name")] {
            let list = RevocationList::new();
            for (issued_by, until) in [(5, 9), (1 << 40, 7), (300, u64::MAX)] {
                list.add(Revocation::user(sub.clone(), issued_by, until));
            }
            assert_eq!(list.issued_by(&sub), Some(1 << 40));
            list.extend([Revocation::user(sub.clone(), 7, 0), Revocation::token(Uuid::nil(), 3)]);
            assert_eq!((list.issued_by(&sub), list.len()), (Some(1 << 40), 2));
            list.drop_before(u64::MAX);
            assert_eq!(list.len(), 1);
            list.lift(Revocation::user(sub, 0, 0));
            assert!(list.is_empty());
        }
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
