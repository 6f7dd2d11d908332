//! A map from ids to small values, for millions of ids.
//!
//! A hash table grows by doubling, so it has room for up to twice as many entries as it contains, and each growth needs
//! the old table and the new one at once. Here, most entries are in sorted lists without spare room.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

/// A value of the map. If an id is added again, the later of its values counts.
pub(crate) trait Later: Copy {
    /// Returns the later of two values.
    fn or_later(self, other: Self) -> Self;
}

/// A map that is divided into 64 parts, each with its own lock. A writer that merges or purges a part delays only the
/// look-ups in this part.
#[derive(Debug)]
pub(crate) struct IdMap<V> {
    parts: Vec<RwLock<Part<V>>>,
    state: RandomState,
}

const PARTS: usize = 64;

/// The number of new entries of a part that are not sorted, even if the part is small.
const UNSORTED: usize = 64;

/// A part of the map. An id is in one of its two collections.
#[derive(Debug)]
struct Part<V> {
    sorted: Vec<([u8; 16], V)>,
    recent: HashMap<Uuid, V>,
}

impl<V> Default for Part<V> {
    fn default() -> Self {
        Self { sorted: Vec::new(), recent: HashMap::new() }
    }
}

/// An id as a number, because numbers are compared faster than bytes.
fn number<V>(entry: &([u8; 16], V)) -> u128 {
    u128::from_be_bytes(entry.0)
}

impl<V: Later> Part<V> {
    fn place(&self, id: &Uuid) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&id.as_u128(), number)
    }

    fn add(&mut self, id: Uuid, value: V) {
        if let Ok(place) = self.place(&id) {
            let known = &mut self.sorted[place].1;
            *known = known.or_later(value);
            return;
        }
        self.recent.entry(id).and_modify(|known| *known = known.or_later(value)).or_insert(value);
        if self.is_due(self.recent.len()) {
            self.merge(Vec::new());
        }
    }

    /// Returns true if this number of new entries should be sorted into the others.
    fn is_due(&self, new: usize) -> bool {
        new >= UNSORTED + self.sorted.len() / 8
    }

    /// Sorts new entries into the others.
    fn merge(&mut self, mut new: Vec<([u8; 16], V)>) {
        let recent = std::mem::take(&mut self.recent);
        new.extend(recent.into_iter().map(|(id, value)| (id.into_bytes(), value)));
        new.sort_unstable_by_key(number);
        let old = std::mem::take(&mut self.sorted);
        let mut merged: Vec<([u8; 16], V)> = Vec::with_capacity(old.len() + new.len());
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let next = match (old.peek(), new.peek()) {
                (Some(one), Some(other)) if number(one) <= number(other) => old.next(),
                (Some(_), None) => old.next(),
                _ => new.next(),
            };
            let Some(next) = next else { break };
            match merged.last_mut() {
                Some(last) if last.0 == next.0 => last.1 = last.1.or_later(next.1),
                _ => merged.push(next),
            }
        }
        merged.shrink_to_fit();
        self.sorted = merged;
    }
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| RwLock::default()).collect();
        Self { parts, state: RandomState::new() }
    }
}

impl<V: Later> IdMap<V> {
    fn part_of(&self, id: &Uuid) -> usize {
        // The remainder is less than 64.
        (self.state.hash_one(id) % PARTS as u64) as usize
    }

    fn read(&self, id: &Uuid) -> RwLockReadGuard<'_, Part<V>> {
        self.parts[self.part_of(id)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, id: &Uuid) -> RwLockWriteGuard<'_, Part<V>> {
        self.parts[self.part_of(id)].write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &Uuid) -> Option<V> {
        let part = self.read(id);
        let sorted = || part.place(id).ok().map(|place| part.sorted[place].1);
        part.recent.get(id).copied().or_else(sorted)
    }

    /// Adds a value.
    pub(crate) fn add(&self, id: Uuid, value: V) {
        self.write(&id).add(id, value);
    }

    /// Adds many values. If they are an eighth of the map or more, this is faster than one by one.
    pub(crate) fn extend(&self, entries: impl IntoIterator<Item = (Uuid, V)>) {
        let mut new: Vec<_> = (0..PARTS).map(|_| Vec::new()).collect();
        for (id, value) in entries {
            new[self.part_of(&id)].push((id.into_bytes(), value));
        }
        for (part, new) in self.parts.iter().zip(new) {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            if part.is_due(new.len()) {
                part.merge(new);
            } else {
                new.into_iter().for_each(|(id, value)| part.add(Uuid::from_bytes(id), value));
            }
        }
    }

    pub(crate) fn remove(&self, id: &Uuid) {
        let mut part = self.write(id);
        part.recent.remove(id);
        if let Ok(place) = part.place(id) {
            part.sorted.remove(place);
        }
    }

    pub(crate) fn retain(&self, keep: impl Fn(&V) -> bool) {
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.recent.retain(|_, value| keep(value));
            part.sorted.retain(|(_, value)| keep(value));
            if part.sorted.len() < part.sorted.capacity() / 2 {
                part.sorted.shrink_to_fit();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let count = |part: RwLockReadGuard<'_, Part<V>>| part.sorted.len() + part.recent.len();
        let parts = self.parts.iter();
        parts.map(|part| count(part.read().unwrap_or_else(PoisonError::into_inner))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Later for u32 {
        fn or_later(self, other: Self) -> Self {
            self.max(other)
        }
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
    }

    /// Ids are added again, one by one and many at once, so that they meet in both collections of a part.
    #[test]
    fn it_has_the_same_entries_as_a_plain_map() {
        let (map, mut plain) = (IdMap::default(), HashMap::<Uuid, u32>::new());
        for round in 0..30_u32 {
            let own = (0..3000_u32)
                .map(|n| (id(((n * 7 + round * 500) % 9000).into()), n % 1000 + round));
            for (id, value) in own.clone() {
                plain.entry(id).and_modify(|known| *known = value.max(*known)).or_insert(value);
            }
            if round % 2 == 0 {
                map.extend(own);
            } else {
                own.for_each(|(id, value)| map.add(id, value));
            }
        }
        for number in (0..9000).step_by(7) {
            map.remove(&id(number));
            plain.remove(&id(number));
        }
        let check = |map: &IdMap<u32>, plain: &HashMap<Uuid, u32>| {
            assert_eq!(map.len(), plain.len());
            assert!((0..9000).map(id).all(|id| map.get(&id) == plain.get(&id).copied()));
        };
        check(&map, &plain);
        map.retain(|value| value % 2 == 0);
        plain.retain(|_, value| *value % 2 == 0);
        check(&map, &plain);
        map.retain(|_| false);
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn entries_before_and_after_all_others_lose_none() {
        let low = || (0..20_000).map(|number| (Uuid::from_u128(number), 0));
        let high = || low().map(|(id, value)| (Uuid::from_u128(u128::MAX - id.as_u128()), value));
        let [first, second] = [IdMap::default(), IdMap::default()];
        first.extend(low());
        first.extend(high());
        second.extend(high());
        second.extend(low());
        assert_eq!([first.len(), second.len()], [40_000, 40_000]);
    }

    #[test]
    fn many_entries_that_are_added_again_have_the_later_value_once() {
        let map = IdMap::default();
        let entries = |value| (0..20_000).map(move |number| (id(number), value));
        for values in [[1, 3], [2, 1], [4, 4]] {
            map.extend(values.into_iter().flat_map(entries));
            assert_eq!(map.len(), 20_000, "{values:?}");
        }
        assert!((0..20_000).all(|number| map.get(&id(number)) == Some(4)));
        map.extend(entries(1).chain(entries(2)));
        assert!((0..20_000).all(|number| map.get(&id(number)) == Some(4)));
    }

    #[test]
    fn entries_have_little_spare_room() {
        let map = IdMap::default();
        (0..200_000).for_each(|number| map.add(id(number), 0));
        let bytes: usize = map
            .parts
            .iter()
            .map(|part| part.read().unwrap())
            .map(|part| part.sorted.capacity() * 20 + part.recent.capacity() * 24)
            .sum();
        assert!(bytes < 200_000 * 28, "{bytes} bytes");
        let unsorted: usize = map.parts.iter().map(|part| part.read().unwrap().recent.len()).sum();
        assert!(unsorted <= PARTS * UNSORTED + 200_000 / 8, "{unsorted} entries are not sorted");
    }
}
