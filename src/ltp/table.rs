//! Hash tables that behave the same in every run, and that no peer can fill with collisions.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use foldhash::quality::{FixedState, FoldHasher};
use hashbrown::HashTable;

use crate::Tag;

/// A hash table under a key drawn from the seed. It is never iterated, so its order cannot affect a run.
pub(super) type Table<K, V> = hashbrown::HashMap<K, V, Keyed>;

/// Positions of entries by the hashes of their keys.
pub(super) type Positions = HashTable<u32>;

/// Bytes that one position takes at most, in a table that has just grown.
pub(super) const BYTES_PER_POSITION: usize = 4 * (size_of::<u32>() + 1) + 16;

/// No position.
const NONE: u32 = u32::MAX;

/// The place of a session among those of its peer.
#[derive(Debug, Clone, Copy)]
struct Links {
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
    index: Positions,
    entries: Vec<Option<(K, V)>>,
    /// For each position: the slot of the peer, and the peer's sessions before and after it.
    links: Vec<Links>,
    /// The first and the last session of each peer, by slot.
    ends: Vec<(u32, u32)>,
    free: Vec<u32>,
    /// The position of the session looked up last.
    last: u32,
    hasher: Keyed,
}

impl<K: Hash + Eq + Copy, V> Sessions<K, V> {
    pub(super) const fn new(hasher: Keyed) -> Self {
        Self {
            index: Positions::new(),
            entries: Vec::new(),
            links: Vec::new(),
            ends: Vec::new(),
            free: Vec::new(),
            last: 0,
            hasher,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
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

    #[inline]
    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let position = self.find(key)?;
        self.at_mut(position).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn at(&self, position: u32) -> Option<&(K, V)> {
        entry_at(&self.entries, position)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, position: u32) -> Option<&mut (K, V)> {
        let position = usize::try_from(position).ok()?;
        self.entries.get_mut(position)?.as_mut()
    }

    /// Adds a session with the peer in `slot` that is not in the table, and returns its position. `None` once there are
    /// 2^32.
    #[inline]
    pub(super) fn insert(&mut self, key: K, value: V, slot: u32) -> Option<u32> {
        let position = match self.free.pop() {
            Some(position) => position,
            None => u32::try_from(self.entries.len()).ok()?,
        };
        self.link(position, slot)?;
        let entry = Some((key, value));
        let place = usize::try_from(position).ok()?;
        match self.entries.get_mut(place) {
            Some(one) => *one = entry,
            None => self.entries.push(entry),
        }
        self.last = position;
        let (entries, hasher) = (&self.entries, self.hasher);
        let rehash = |other: &u32| hash_at(entries, *other, hasher);
        self.index
            .insert_unique(hasher.hash_one(key), position, rehash);
        Some(position)
    }

    /// Removes the session at a position.
    pub(super) fn remove_at(&mut self, position: u32) {
        let place = usize::try_from(position).ok();
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place))
            && let Some((key, _)) = entry
        {
            remove(&mut self.index, self.hasher.hash_one(key), position);
            *entry = None;
            self.unlink(position);
            self.free.push(position);
        }
    }

    /// Returns the position of the oldest session with the peer in a slot.
    pub(super) fn oldest_of(&self, slot: u32) -> Option<u32> {
        let ends = self.ends.get(usize::try_from(slot).ok()?)?;
        Some(ends.0).filter(|first| *first != NONE)
    }

    /// Appends a position to those of a peer.
    fn link(&mut self, position: u32, slot: u32) -> Option<()> {
        let place = usize::try_from(slot).ok()?;
        if place >= self.ends.len() {
            self.ends.resize(place + 1, (NONE, NONE));
        }
        let ends = self.ends.get_mut(place)?;
        let before = core::mem::replace(&mut ends.1, position);
        if before == NONE {
            ends.0 = position;
        }
        let links = Links {
            slot,
            before,
            after: NONE,
        };
        let place = usize::try_from(position).ok()?;
        match self.links.get_mut(place) {
            Some(one) => *one = links,
            None => self.links.push(links),
        }
        if let Some(one) = self.links_mut(before) {
            one.after = position;
        }
        Some(())
    }

    fn unlink(&mut self, position: u32) {
        let Some(&mut Links {
            slot,
            before,
            after,
        }) = self.links_mut(position)
        else {
            return;
        };
        if let Some(one) = self.links_mut(before) {
            one.after = after;
        }
        if let Some(one) = self.links_mut(after) {
            one.before = before;
        }
        let place = usize::try_from(slot).ok();
        if let Some(ends) = place.and_then(|place| self.ends.get_mut(place)) {
            if ends.0 == position {
                ends.0 = after;
            }
            if ends.1 == position {
                ends.1 = before;
            }
        }
    }

    fn links_mut(&mut self, position: u32) -> Option<&mut Links> {
        self.links.get_mut(usize::try_from(position).ok()?)
    }

    /// The order must not affect a run.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter().flatten()
    }

    /// The order must not affect a run.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Returns the bytes of memory allocated.
    pub(super) fn memory_used(&self) -> usize {
        self.index.allocation_size()
            + self.entries.capacity() * size_of::<Option<(K, V)>>()
            + self.links.capacity() * size_of::<Links>()
            + self.ends.capacity() * size_of::<(u32, u32)>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// Returns the bytes that one session takes at most, with the spare capacity of tables that have grown.
    pub(super) const fn memory_per_entry() -> usize {
        let links = 2 * (size_of::<Links>() + size_of::<(u32, u32)>());
        2 * size_of::<Option<(K, V)>>() + links + 2 * size_of::<u32>() + BYTES_PER_POSITION
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
        let is_it = |position: &u32| key_at(&self.entries, *position) == Some(key);
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }
}

/// Removes a position that is in the table.
pub(super) fn remove(index: &mut Positions, hash: u64, position: u32) {
    if let Ok(entry) = index.find_entry(hash, |other| *other == position) {
        entry.remove();
    }
}

#[inline]
fn entry_at<K, V>(entries: &[Option<(K, V)>], position: u32) -> Option<&(K, V)> {
    entries.get(usize::try_from(position).ok()?)?.as_ref()
}

#[inline]
fn key_at<K, V>(entries: &[Option<(K, V)>], position: u32) -> Option<&K> {
    entry_at(entries, position).map(|(key, _)| key)
}

fn hash_at<K: Hash, V>(entries: &[Option<(K, V)>], position: u32, hasher: Keyed) -> u64 {
    key_at(entries, position).map_or(0, |key| hasher.hash_one(key))
}

/// The positions of sessions of blocks being sent, by the tags of the blocks.
#[derive(Debug)]
pub(super) struct Tags {
    index: Positions,
    hasher: Keyed,
}

impl Tags {
    pub(super) const fn new(hasher: Keyed) -> Self {
        Self {
            index: Positions::new(),
            hasher,
        }
    }

    /// Returns the position of the session of the block with a tag. `tag_of` returns the tags of sessions.
    #[inline]
    pub(super) fn find(&self, tag: Tag, tag_of: impl Fn(u32) -> Option<Tag>) -> Option<u32> {
        let is_it = |position: &u32| tag_of(*position) == Some(tag);
        self.index.find(self.hasher.hash_one(tag.0), is_it).copied()
    }

    #[inline]
    pub(super) fn insert(&mut self, tag: Tag, position: u32, tag_of: impl Fn(u32) -> Option<Tag>) {
        let hasher = self.hasher;
        let hash = |tag: Tag| hasher.hash_one(tag.0);
        self.index
            .insert_unique(hash(tag), position, |other| tag_of(*other).map_or(0, hash));
    }

    #[inline]
    pub(super) fn remove(&mut self, tag: Tag, position: u32) {
        remove(&mut self.index, self.hasher.hash_one(tag.0), position);
    }

    pub(super) fn memory_used(&self) -> usize {
        self.index.allocation_size()
    }
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
