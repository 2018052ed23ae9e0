//! Hash tables that behave the same in every run, and that no peer can fill with collisions.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use foldhash::quality::{FixedState, FoldHasher};

use super::index::Index;
use super::sender::Export;
use crate::Tag;

/// A hash table under a key drawn from the seed. It is never iterated, so its order cannot affect a run.
pub(super) type Table<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// The sessions of one role.
///
/// Most inputs are for the session of the input before, or for its neighbour, so these are found without hashing.
/// Sessions are stored in about the order in which they started, so handling many in turn reads memory in order. The
/// hash table leads to their positions.
#[derive(Debug)]
pub(super) struct Sessions<K, V> {
    index: Index,
    entries: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    /// The position of the session looked up last.
    last: u32,
    hasher: Keyed,
}

impl<K: Hash + Eq + Copy, V> Sessions<K, V> {
    /// Makes a table for at most this many sessions.
    pub(super) fn new(hasher: Keyed, most: u32) -> Self {
        Self {
            index: Index::new(usize::try_from(most).unwrap_or(usize::MAX)),
            entries: Vec::new(),
            free: Vec::new(),
            last: 0,
            hasher,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.position(key).is_some()
    }

    #[inline]
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.position(key)?).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if key_at(&self.entries, self.last) != Some(key) {
            self.last = self.adjacent(key).or_else(|| self.find(key))?;
        }
        let position = self.last;
        let one = self.entries.get_mut(usize::try_from(position).ok()?)?;
        one.as_mut().map(|(_, value)| value)
    }

    /// Adds a session that is not in the table, and returns its position. `None` once there are 2^32.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<u32> {
        let entry = Some((key, value));
        let position = if let Some(position) = self.free.pop() {
            if let Some(one) = usize::try_from(position)
                .ok()
                .and_then(|position| self.entries.get_mut(position))
            {
                *one = entry;
            }
            position
        } else {
            let position = u32::try_from(self.entries.len()).ok()?;
            self.entries.push(entry);
            position
        };
        self.last = position;
        let (entries, hasher) = (&self.entries, self.hasher);
        self.index.insert(hasher.hash_one(key), position, |other| {
            key_at(entries, other).map_or(0, |key| hasher.hash_one(key))
        });
        Some(position)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let position = self.position(key)?;
        self.index.remove(self.hasher.hash_one(key), position);
        self.free.push(position);
        let one = self.entries.get_mut(usize::try_from(position).ok()?)?;
        one.take().map(|(_, value)| value)
    }

    /// The order must not affect a run.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries
            .iter()
            .flatten()
            .map(|(key, value)| (key, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The order must not affect a run.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Returns the bytes of memory allocated.
    pub(super) fn memory_used(&self) -> usize {
        self.index.memory_used()
            + self.entries.capacity() * size_of::<Option<(K, V)>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// Returns the bytes that one session takes at most, with the spare capacity of tables that have grown.
    pub(super) const fn memory_per_entry() -> usize {
        2 * size_of::<Option<(K, V)>>() + 2 * size_of::<u32>() + Index::memory_per_entry()
    }

    #[inline]
    pub(super) fn position(&self, key: &K) -> Option<u32> {
        if key_at(&self.entries, self.last) == Some(key) {
            return Some(self.last);
        }
        self.find(key)
    }

    /// Where many sessions are at the same step, the input is for the next or the previous one.
    #[inline]
    fn adjacent(&self, key: &K) -> Option<u32> {
        let near = [self.last.wrapping_add(1), self.last.wrapping_sub(1)];
        near.into_iter()
            .find(|position| key_at(&self.entries, *position) == Some(key))
    }

    #[inline]
    fn find(&self, key: &K) -> Option<u32> {
        let entries = &self.entries;
        self.index.find(self.hasher.hash_one(key), |position| {
            key_at(entries, position) == Some(key)
        })
    }

    #[inline]
    fn at(&self, position: u32) -> Option<&(K, V)> {
        self.entries.get(usize::try_from(position).ok()?)?.as_ref()
    }
}

/// The sessions of blocks being sent, by the tags of the blocks.
#[derive(Debug)]
pub(super) struct Tags {
    /// Positions of the sessions.
    index: Index,
    hasher: Keyed,
}

impl Tags {
    /// Makes a table for at most this many blocks.
    pub(super) fn new(hasher: Keyed, most: u32) -> Self {
        Self {
            index: Index::new(usize::try_from(most).unwrap_or(usize::MAX)),
            hasher,
        }
    }

    /// Returns the session number of the block with a tag.
    #[inline]
    pub(super) fn get(&self, tag: Tag, exports: &Sessions<u64, Export>) -> Option<u64> {
        let is_it = |position| tag_at(exports, position) == Some(tag);
        let position = self.index.find(self.hasher.hash_one(tag.0), is_it)?;
        exports.at(position).map(|(number, _)| *number)
    }

    /// Adds the tag of a block whose session has a position.
    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, position: u32, exports: &Sessions<u64, Export>) {
        let hasher = self.hasher;
        self.index
            .insert(hasher.hash_one(tag.0), position, |other| {
                tag_at(exports, other).map_or(0, |tag| hasher.hash_one(tag.0))
            });
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, position: u32) {
        self.index.remove(self.hasher.hash_one(tag.0), position);
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.index.memory_used()
    }
}

#[inline]
fn tag_at(exports: &Sessions<u64, Export>, position: u32) -> Option<Tag> {
    exports.at(position)?.1.state.tag()
}

#[inline]
fn key_at<K, V>(entries: &[Option<(K, V)>], position: u32) -> Option<&K> {
    let one = entries.get(usize::try_from(position).ok()?)?.as_ref();
    one.map(|(key, _)| key)
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
        let mut sessions = Sessions::new(Keyed(7), 1000);
        for key in 0..1000_u64 {
            assert!(sessions.insert(key, key + 1).is_some());
        }
        for key in (0..1000).step_by(3) {
            assert_eq!(sessions.remove(&key), Some(key + 1));
            assert_eq!(sessions.remove(&key), None);
        }
        assert!(sessions.insert(3, 77).is_some());

        for key in 0..1000 {
            let there = match key {
                3 => Some(77),
                key => (key % 3 != 0).then_some(key + 1),
            };
            assert_eq!(sessions.get_mut(&key).copied(), there);
            assert_eq!(sessions.get(&key).copied(), there);
            assert_eq!(sessions.get(&999), None, "999 is a multiple of 3");
        }
        assert_eq!(sessions.len(), 667);
        assert_eq!(sessions.values().count(), 667);
    }
}
