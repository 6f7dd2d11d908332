//! The revocations of the feed in memory, by the hashes of their ids.
//!
//! Most entries are in two sorted arrays, which take 12 bytes for each. The newest are in a table, and are merged into
//! new arrays beside the old ones, so that look-ups never wait for a merge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{IdKind, Record, RecordKind};
use crate::{Claims, GrantClaims};

/// The number of new entries that are merged.
const NEWEST: usize = 65_536;

/// The time for which an entry is kept after its last token expired, in seconds.
const KEPT_FOR: u64 = 300;

/// Hashes in ascending order, and the time until which each is refused.
#[derive(Debug, Default)]
struct Sorted {
    hashes: Vec<u64>,
    untils: Vec<u32>,
}

impl Sorted {
    fn until(&self, hash: u64) -> Option<u32> {
        let place = self.hashes.binary_search(&hash).ok()?;
        self.untils.get(place).copied()
    }
}

/// The access tokens that a user got up to a time.
#[derive(Debug, Clone, Copy)]
struct Cut {
    issued_by: u64,
    until: u32,
}

#[derive(Debug, Default)]
struct Lists {
    sorted: Arc<Sorted>,
    /// The newest entries. 0 means that an entry was lifted.
    newest: HashMap<u64, u32>,
    cuts: HashMap<u64, Cut>,
    keys: HashMap<u64, u32>,
}

impl Lists {
    fn until(&self, hash: u64) -> Option<u32> {
        let newest = self.newest.get(&hash).copied();
        newest.or_else(|| self.sorted.until(hash)).filter(|until| *until > 0)
    }

    fn add(&mut self, record: &Record) {
        let Record { kind, at, until, hash } = *record;
        match kind {
            RecordKind::Deny => {
                let later = self.until(hash).map_or(until, |known| known.max(until)).max(1);
                self.newest.insert(hash, later);
            }
            RecordKind::Cut => {
                let cut = self.cuts.entry(hash).or_insert(Cut { issued_by: at, until });
                cut.issued_by = cut.issued_by.max(at);
                cut.until = cut.until.max(until);
            }
            RecordKind::Key => {
                let known = self.keys.entry(hash).or_insert(until);
                *known = (*known).max(until);
            }
            RecordKind::Lift => {
                if self.until(hash).is_some() {
                    self.newest.insert(hash, 0);
                }
                self.cuts.remove(&hash);
                self.keys.remove(&hash);
            }
        }
    }
}

/// The revocations of the feed in memory. A million entries take about 13 megabytes, and twice that during a merge.
///
/// One hash in 10¹² of a stranger's token is refused too, if there are a million entries.
#[derive(Debug, Default)]
pub struct FeedList {
    lists: RwLock<Lists>,
    /// Held by the one who changes the list, also during a merge.
    turn: Mutex<()>,
}

impl FeedList {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies records in their order. Nobody sees a part of them.
    pub fn apply(&self, records: &[Record]) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Very many are merged in parts, so that the table stays small.
        for part in records.chunks(NEWEST.max(records.len().div_ceil(8))) {
            let mut lists = self.write();
            part.iter().for_each(|record| lists.add(record));
            let is_due = lists.newest.len() >= NEWEST;
            drop(lists);
            if is_due {
                self.merge(0);
            }
        }
    }

    /// Drops the entries whose last token expired five minutes before `at` (milliseconds since the epoch) or earlier.
    /// `at` must be a time of the issuer's clock up to which the list is complete.
    pub fn drop_expired(&self, at: u64) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (at / 1000).saturating_sub(KEPT_FOR);
        let lists = self.read();
        let sorted = Arc::clone(&lists.sorted);
        drop(lists);
        if sorted.untils.iter().any(|until| u64::from(*until) < before) {
            self.merge(before);
        }
        let mut lists = self.write();
        let sorted = Arc::clone(&lists.sorted);
        lists.newest.retain(|hash, until| {
            if u64::from(*until) < before {
                *until = 0;
            }
            // What was lifted or has expired hides an entry in the arrays until the next merge.
            *until > 0 || sorted.until(*hash).is_some()
        });
        lists.cuts.retain(|_, cut| u64::from(cut.until) >= before);
        lists.keys.retain(|_, until| u64::from(*until) >= before);
    }

    /// Merges the newest entries into new arrays, without those that expired before `before` (seconds).
    fn merge(&self, before: u64) {
        let lists = self.read();
        let sorted = Arc::clone(&lists.sorted);
        let mut newest: Vec<_> = lists.newest.iter().map(|(hash, until)| (*hash, *until)).collect();
        drop(lists);
        newest.sort_unstable();
        let holds = |until: u32| until > 0 && u64::from(until) >= before;
        let room = sorted.hashes.len() + newest.len();
        let mut merged =
            Sorted { hashes: Vec::with_capacity(room), untils: Vec::with_capacity(room) };
        let mut put = |hash: u64, until: u32| {
            if holds(until) {
                merged.hashes.push(hash);
                merged.untils.push(until);
            }
        };
        let mut newest = newest.into_iter().peekable();
        for (hash, until) in sorted.hashes.iter().zip(&sorted.untils) {
            while let Some((new, its)) = newest.next_if(|(new, _)| new < hash) {
                put(new, its);
            }
            match newest.next_if(|(new, _)| new == hash) {
                Some((_, its)) => put(*hash, its),
                None => put(*hash, *until),
            }
        }
        newest.for_each(|(new, its)| put(new, its));
        merged.hashes.shrink_to_fit();
        merged.untils.shrink_to_fit();
        let mut lists = self.write();
        lists.sorted = Arc::new(merged);
        lists.newest = HashMap::new();
    }

    /// Returns true if a token or a session with this hash is refused.
    pub fn is_denied(&self, hash: u64) -> bool {
        self.read().until(hash).is_some()
    }

    /// Returns the time up to which a user with this hash got the access tokens that are refused, in milliseconds since
    /// the epoch.
    pub fn issued_by(&self, hash: u64) -> Option<u64> {
        self.read().cuts.get(&hash).map(|cut| cut.issued_by)
    }

    /// Returns true if the tokens that a key signed are refused.
    pub fn is_key_denied(&self, kid: &str) -> bool {
        let lists = self.read();
        !lists.keys.is_empty() && lists.keys.contains_key(&IdKind::Key.hash(kid))
    }

    /// Returns true if the list covers a token with these claims.
    pub fn covers(&self, claims: &Claims) -> bool {
        let session = claims.sid.map(|sid| IdKind::Session.hash(sid));
        let is_access = claims.token_type() == crate::TokenType::Access;
        let lists = self.read();
        lists.until(IdKind::Token.hash(claims.jti)).is_some()
            || session.is_some_and(|session| lists.until(session).is_some())
            || is_access
                && !lists.cuts.is_empty()
                && (lists.cuts.get(&IdKind::User.hash(&claims.sub)))
                    .is_some_and(|cut| claims.issued_at_millis() <= cut.issued_by)
    }

    /// Returns true if the list covers the access token of a grant with these claims.
    pub fn covers_grant(&self, claims: &GrantClaims) -> bool {
        let lists = self.read();
        lists.until(IdKind::Token.hash(claims.jti)).is_some()
            || lists.until(IdKind::Session.hash(claims.grant_id)).is_some()
            || (lists.cuts.get(&IdKind::User.hash(&claims.sub)))
                .is_some_and(|cut| claims.issued_at_millis() <= cut.issued_by)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        let lists = self.read();
        let mut count = lists.sorted.hashes.len();
        for (hash, until) in &lists.newest {
            match (lists.sorted.until(*hash), until) {
                (Some(_), 0) => count -= 1,
                (None, 1..) => count += 1,
                _ => {}
            }
        }
        count + lists.cuts.len() + lists.keys.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain model: for each hash the time until which it is refused.
    #[derive(Default)]
    struct Model(HashMap<u64, u32>);

    impl Model {
        fn apply(&mut self, records: &[Record]) {
            for Record { kind, until, hash, .. } in records {
                if *kind == RecordKind::Lift {
                    self.0.remove(hash);
                } else {
                    let known = self.0.entry(*hash).or_default();
                    *known = (*until).max(*known);
                }
            }
        }
    }

    /// Numbers that look random and are the same in each run.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |last| {
            Some(
                last.wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        })
        .skip(1)
        .map(|number| number >> 16)
    }

    #[test]
    fn it_refuses_the_same_hashes_as_a_plain_map() {
        let (list, mut model) = (FeedList::new(), Model::default());
        let hash = |number: u64| (number % 90_000).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut drawn = numbers(7);
        let mut at = 0;
        for round in 0..40_u32 {
            let record = |number: u64| {
                let lifts = number.is_multiple_of(5);
                let kind = if lifts { RecordKind::Lift } else { RecordKind::Deny };
                let until = 1000 * round + (number >> 20) as u32 % 9000 + 1;
                Record { kind, at: 0, until, hash: hash(number >> 3) }
            };
            let count = if round % 3 == 0 { 70_000 } else { 900 };
            let records: Vec<_> = drawn.by_ref().take(count).map(record).collect();
            list.apply(&records);
            model.apply(&records);
            if round % 4 == 3 {
                at = u64::from(round) * 1_000_000;
                list.drop_expired(at);
                let before = (at / 1000).saturating_sub(KEPT_FOR);
                model.0.retain(|_, until| u64::from(*until) >= before);
            }
            assert_eq!(list.len(), model.0.len(), "round {round}");
            for number in 0..90_000 {
                let hash = hash(number);
                assert_eq!(list.is_denied(hash), model.0.contains_key(&hash), "{number}");
            }
        }
        assert!(at > 0 && list.read().sorted.hashes.len() > 1000);
    }

    #[test]
    fn a_million_entries_take_less_than_25_megabytes() {
        let list = FeedList::new();
        let record = |hash| Record { kind: RecordKind::Deny, at: 0, until: 9, hash };
        let records: Vec<_> = numbers(1).take(1_000_000).map(record).collect();
        for part in records.chunks(10_000) {
            list.apply(part);
        }
        let lists = list.read();
        let bytes = lists.sorted.hashes.capacity() * 8
            + lists.sorted.untils.capacity() * 4
            // An entry of the table has 16 bytes, and one more for its place.
            + lists.newest.capacity() * 17;
        assert!(bytes < 25_000_000, "{bytes}");
    }

    #[test]
    fn a_lift_ends_what_came_before_it_and_what_is_repeated_behind_it_holds() {
        let list = FeedList::new();
        let of = |kind, at, until| Record { kind, at, until, hash: 5 };
        list.apply(&[of(RecordKind::Deny, 1, 100), of(RecordKind::Cut, 7, 100)]);
        assert!(list.is_denied(5));
        assert_eq!(list.issued_by(5), Some(7));
        list.apply(&[of(RecordKind::Lift, 2, 100), of(RecordKind::Cut, 3, 90)]);
        assert!(!list.is_denied(5));
        assert_eq!(list.issued_by(5), Some(3));
        list.apply(&[of(RecordKind::Deny, 4, 50)]);
        assert!(list.is_denied(5) && list.len() == 2);
    }
}
