//! Hash tables that behave the same in every run, and that no peer can fill with collisions.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};
use core::mem;

use foldhash::quality::{FixedState, FoldHasher};
use slab::Slab;

use super::peers::index;

/// A hash table under a key drawn from the seed. It is never iterated, so its order cannot affect a run.
pub(super) type Table<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Returns the bytes that one position takes at most, with its key, in a table that has just grown.
pub(super) const fn memory_per_position<K>() -> usize {
    4 * (size_of::<(K, u32)>() + 1) + 16
}

/// No position.
const NONE: u32 = u32::MAX;

/// A session, its peer, and the sessions of that peer before and after it.
#[derive(Debug)]
struct Linked<K, V> {
    session: (K, V),
    slot: u32,
    before: u32,
    after: u32,
}

/// The sessions of one role. Those of one peer are linked in the order in which they started, so that ending them takes
/// a step for each.
///
/// Most inputs are for the session of the input before, or for its neighbour, so these are found without hashing.
/// Sessions are stored in about the order in which they started, so handling many in turn reads memory in order. The
/// hash table leads to their positions.
#[derive(Debug)]
pub(super) struct Sessions<K, V> {
    positions: Table<K, u32>,
    entries: Slab<Linked<K, V>>,
    /// The first and the last session of each peer, by slot.
    ends: Vec<(u32, u32)>,
    /// The position of the session looked up last.
    last: u32,
}

impl<K: Hash + Eq + Copy, V> Sessions<K, V> {
    pub(super) const fn new(hasher: Keyed) -> Self {
        Self {
            positions: Table::with_hasher(hasher),
            entries: Slab::new(),
            ends: Vec::new(),
            last: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.position(key).is_some()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.position(key)?).map(|(_, value)| value)
    }

    /// Returns the position of a session, which it keeps until it is removed.
    #[inline]
    pub(super) fn find(&mut self, key: &K) -> Option<u32> {
        if key_at(&self.entries, self.last) != Some(key) {
            self.last = self.adjacent(key).or_else(|| self.search(key))?;
        }
        Some(self.last)
    }

    /// Returns the position of a session, and the slot of its peer.
    #[inline]
    pub(super) fn locate(&mut self, key: &K) -> Option<(u32, u32)> {
        let position = self.find(key)?;
        let entry = self.entries.get(index(position))?;
        Some((position, entry.slot))
    }

    #[inline]
    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let position = self.find(key)?;
        self.at_mut(position).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn at(&self, position: u32) -> Option<&(K, V)> {
        Some(&self.entries.get(index(position))?.session)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, position: u32) -> Option<&mut (K, V)> {
        Some(&mut self.entries.get_mut(index(position))?.session)
    }

    /// Adds a session with the peer in `slot`, and returns its position. It takes the place of one under the same key.
    /// `None` once there are 2^32 - 1.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V, slot: u32) -> Option<u32> {
        let position = u32::try_from(self.entries.vacant_key()).ok();
        let position = position.filter(|position| *position != NONE)?;
        if index(slot) >= self.ends.len() {
            self.ends.resize(index(slot) + 1, (NONE, NONE));
        }
        let ends = self.ends.get_mut(index(slot))?;
        let before = mem::replace(&mut ends.1, position);
        match self.entries.get_mut(index(before)) {
            Some(one) => one.after = position,
            None => ends.0 = position,
        }
        self.entries.insert(Linked {
            session: (key, value),
            slot,
            before,
            after: NONE,
        });
        self.last = position;
        if let Some(old) = self.positions.insert(key, position) {
            self.unlink(old);
        }
        Some(position)
    }

    /// Removes the session at a position.
    pub(super) fn remove_at(&mut self, position: u32) {
        if let Some(key) = self.unlink(position) {
            self.positions.remove(&key);
        }
    }

    /// Removes the session at a position, but not that from the index.
    fn unlink(&mut self, position: u32) -> Option<K> {
        let Linked {
            session: (key, _),
            slot,
            before,
            after,
        } = self.entries.try_remove(index(position))?;
        let ends = self.ends.get_mut(index(slot))?;
        match self.entries.get_mut(index(before)) {
            Some(one) => one.after = after,
            None => ends.0 = after,
        }
        match self.entries.get_mut(index(after)) {
            Some(one) => one.before = before,
            None => ends.1 = before,
        }
        Some(key)
    }

    /// Returns the position of the oldest session with the peer in a slot.
    pub(super) fn oldest_of(&self, slot: u32) -> Option<u32> {
        let ends = self.ends.get(index(slot))?;
        Some(ends.0).filter(|first| *first != NONE)
    }

    /// The order must not affect a run.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter().map(|(_, entry)| &entry.session)
    }

    /// The order must not affect a run.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let sessions = self.entries.iter_mut();
        sessions.map(|(_, entry)| &mut entry.session.1)
    }

    /// Returns the bytes of memory allocated.
    pub(super) fn memory_used(&self) -> usize {
        self.positions.allocation_size()
            + self.entries.capacity() * size_of::<Linked<K, V>>()
            + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    /// Returns the bytes that one session takes at most, with the spare capacity of tables that have grown.
    pub(super) const fn memory_per_entry() -> usize {
        2 * (size_of::<Linked<K, V>>() + size_of::<(u32, u32)>()) + memory_per_position::<K>()
    }

    #[inline]
    pub(super) fn position(&self, key: &K) -> Option<u32> {
        let is_last = key_at(&self.entries, self.last) == Some(key);
        is_last.then_some(self.last).or_else(|| self.search(key))
    }

    /// Where many sessions are at the same step, the input is for the next or the previous one.
    #[inline]
    fn adjacent(&self, key: &K) -> Option<u32> {
        let near = [self.last.wrapping_add(1), self.last.wrapping_sub(1)];
        near.into_iter()
            .find(|position| key_at(&self.entries, *position) == Some(key))
    }

    #[inline]
    fn search(&self, key: &K) -> Option<u32> {
        self.positions.get(key).copied()
    }
}

#[inline]
fn key_at<K, V>(entries: &Slab<Linked<K, V>>, position: u32) -> Option<&K> {
    let entry = entries.get(index(position))?;
    Some(&entry.session.0)
}

/// Makes hashers that cannot be predicted without the seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed(pub(super) u64);

impl BuildHasher for Keyed {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        FixedState::with_seed(self.0).build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_found_whichever_was_asked_for_last_and_gone_once_removed() {
        let mut sessions = Sessions::new(Keyed(7));
        for key in 0..1000_u64 {
            let slot = u32::from(key % 2 == 1);
            assert!(sessions.insert(key, key + 1, slot).is_some());
        }
        for key in (0..1000).step_by(3) {
            let place = sessions.find(&key).unwrap();
            assert_eq!(sessions.at(place), Some(&(key, key + 1)));
            sessions.remove_at(place);
            sessions.remove_at(place);
            assert_eq!(sessions.at(place), None);
        }
        assert!(sessions.insert(3, 77, 1).is_some());

        for key in 0..1000 {
            let there = match key {
                3 => Some(77),
                key => (key % 3 != 0).then_some(key + 1),
            };
            let place = sessions.find(&key);
            let found = place.and_then(|place| sessions.at_mut(place).copied());
            assert_eq!(found, there.map(|value| (key, value)));
            assert_eq!(sessions.get(&key).copied(), there);
            assert_eq!(sessions.get(&999), None, "999 is a multiple of 3");
        }
        assert_eq!(sessions.len(), 667);
        assert_eq!(sessions.values_mut().count(), 667);

        let mut of_one = Vec::new();
        while let Some(place) = sessions.oldest_of(1) {
            of_one.extend(sessions.at(place).map(|(key, _)| *key));
            sessions.remove_at(place);
        }
        let mut expected: Vec<u64> = (0..1000)
            .filter(|key| key % 2 == 1 && key % 3 != 0)
            .collect();
        expected.push(3);
        assert_eq!(of_one, expected);
        assert_eq!(sessions.oldest_of(7), None);
    }
}
