//! Hash tables that are equal in every run and that no peer can fill with collisions.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use foldhash::quality::{FixedState, FoldHasher};

use super::index::Index;
use super::sender::Export;
use crate::Tag;

/// A hash table under a key drawn from the seed. It is never iterated where order shows.
pub(super) type Table<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// The sessions of one role by their names.
///
/// Most inputs are for the session that the one before was for, or for its neighbour, so these are found without
/// hashing. The
/// sessions lie in a row, in about the order in which they began: walking through many of them in turn reads
/// memory in order, and what the hashes lead to is a table of places in the row.
#[derive(Debug)]
pub(super) struct Sessions<K, V> {
    index: Index,
    row: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    /// The place in the row of the one asked for last.
    last: u32,
    hasher: Keyed,
}

impl<K: Hash + Eq + Copy, V> Sessions<K, V> {
    /// Makes a table for so many sessions at most.
    pub(super) fn new(hasher: Keyed, most: u32) -> Self {
        Self {
            index: Index::new(usize::try_from(most).unwrap_or(usize::MAX)),
            row: Vec::new(),
            free: Vec::new(),
            last: 0,
            hasher,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    #[inline]
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.place(key)?).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if key_at(&self.row, self.last) != Some(key) {
            self.last = self.place_near(key).or_else(|| self.find(key))?;
        }
        let place = self.last;
        let one = self.row.get_mut(usize::try_from(place).ok()?)?;
        one.as_mut().map(|(_, value)| value)
    }

    /// Adds a session that is not there yet, and returns its place; `None` once there are 2^32.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<u32> {
        let entry = Some((key, value));
        let place = if let Some(place) = self.free.pop() {
            if let Some(one) = usize::try_from(place)
                .ok()
                .and_then(|place| self.row.get_mut(place))
            {
                *one = entry;
            }
            place
        } else {
            let place = u32::try_from(self.row.len()).ok()?;
            self.row.push(entry);
            place
        };
        self.last = place;
        let (row, hasher) = (&self.row, self.hasher);
        self.index.insert(hasher.hash_one(key), place, |other| {
            key_at(row, other).map_or(0, |key| hasher.hash_one(key))
        });
        Some(place)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key)?;
        self.index.remove(self.hasher.hash_one(key), place);
        self.free.push(place);
        let one = self.row.get_mut(usize::try_from(place).ok()?)?;
        one.take().map(|(_, value)| value)
    }

    /// In no order that may show.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.row.iter().flatten().map(|(key, value)| (key, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// In no order that may show.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.row.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Returns the bytes of memory allocated.
    pub(super) fn memory_used(&self) -> usize {
        self.index.memory_used()
            + self.row.capacity() * size_of::<Option<(K, V)>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The bytes that one session takes at most, with what growing tables keep in reserve.
    pub(super) const fn memory_per_entry() -> usize {
        2 * size_of::<Option<(K, V)>>() + 2 * size_of::<u32>() + Index::memory_per_entry()
    }

    #[inline]
    pub(super) fn place(&self, key: &K) -> Option<u32> {
        if key_at(&self.row, self.last) == Some(key) {
            return Some(self.last);
        }
        self.find(key)
    }

    /// Where many sessions are at the same step, the one after or before that of the last input is next.
    #[inline]
    fn place_near(&self, key: &K) -> Option<u32> {
        let near = [self.last.wrapping_add(1), self.last.wrapping_sub(1)];
        near.into_iter()
            .find(|place| key_at(&self.row, *place) == Some(key))
    }

    #[inline]
    fn find(&self, key: &K) -> Option<u32> {
        let row = &self.row;
        self.index.find(self.hasher.hash_one(key), |place| {
            key_at(row, place) == Some(key)
        })
    }

    #[inline]
    fn at(&self, place: u32) -> Option<&(K, V)> {
        self.row.get(usize::try_from(place).ok()?)?.as_ref()
    }
}

/// The sessions of blocks being sent, by the tags of these.
#[derive(Debug)]
pub(super) struct Tags {
    /// Places in the row of sessions.
    index: Index,
    hasher: Keyed,
}

impl Tags {
    /// Makes a table for so many blocks at most.
    pub(super) fn new(hasher: Keyed, most: u32) -> Self {
        Self {
            index: Index::new(usize::try_from(most).unwrap_or(usize::MAX)),
            hasher,
        }
    }

    /// Returns the number of the session.
    #[inline]
    pub(super) fn get(&self, tag: Tag, exports: &Sessions<u64, Export>) -> Option<u64> {
        let is_it = |place| tag_at(exports, place) == Some(tag);
        let place = self.index.find(self.hasher.hash_one(tag.0), is_it)?;
        exports.at(place).map(|(number, _)| *number)
    }

    /// Adds the tag of a block that was given a place.
    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, place: u32, exports: &Sessions<u64, Export>) {
        let hasher = self.hasher;
        self.index.insert(hasher.hash_one(tag.0), place, |other| {
            tag_at(exports, other).map_or(0, |tag| hasher.hash_one(tag.0))
        });
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, place: u32) {
        self.index.remove(self.hasher.hash_one(tag.0), place);
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.index.memory_used()
    }
}

#[inline]
fn tag_at(exports: &Sessions<u64, Export>, place: u32) -> Option<Tag> {
    exports.at(place)?.1.state.tag()
}

#[inline]
fn key_at<K, V>(row: &[Option<(K, V)>], place: u32) -> Option<&K> {
    let one = row.get(usize::try_from(place).ok()?)?.as_ref();
    one.map(|(key, _)| key)
}

/// Makes hashers that nobody can foretell without the seed.
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
