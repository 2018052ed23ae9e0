//! A hash table of 32-bit numbers that touches one cache bucket for each.
//!
//! With a quarter of a million numbers, lookups wait for memory. Where a common table keeps control bytes and
//! entries apart, this one keeps numbers with similar hashes in one cache bucket. A lookup and the insertion behind it
//! cost one miss. Removing many at a time costs little more, since their buckets are loaded together.

use alloc::vec::Vec;
use core::hint::black_box;

/// Numbers in one bucket.
const SLOTS: usize = 10;
/// The average of numbers in a bucket beyond which the table grows. One bucket in twenty then overflows.
const FULL: usize = 6;

/// Numbers by their hashes. No number is in the table twice.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
    len: usize,
    /// Numbers for which there is room without growing.
    most: usize,
    /// The number of buckets beyond which the table does not grow unless all are full.
    limit: usize,
}

/// A bucket, as large as a cache bucket.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket {
    /// Parts of the hashes.
    tags: [u16; SLOTS],
    numbers: [u32; SLOTS],
    /// A bit for each slot in use.
    used: u16,
    /// Numbers that found no slot here or in buckets before, and are further on.
    overflowed: u16,
}

impl Bucket {
    /// Returns the slots with a tag.
    #[inline]
    fn tagged(&self, tag: u16) -> u16 {
        let same = self.tags.iter().map(|other| *other == tag);
        slots(same) & self.used
    }

    #[inline]
    fn slot_of(&self, number: u32) -> u16 {
        let same = self.numbers.iter().map(|other| *other == number);
        slots(same) & self.used
    }

    fn put(&mut self, slot: u32, tag: u16, number: u32) {
        let slot = usize::try_from(slot).unwrap_or(SLOTS);
        if let (Some(tags), Some(numbers)) = (self.tags.get_mut(slot), self.numbers.get_mut(slot)) {
            *tags = tag;
            *numbers = number;
            self.used |= 1 << slot;
        }
    }

    fn number(&self, slot: u32) -> Option<u32> {
        self.numbers.get(usize::try_from(slot).ok()?).copied()
    }
}

/// Returns a bit for each slot that is meant.
#[inline]
fn slots(meant: impl Iterator<Item = bool>) -> u16 {
    meant.zip(0_u32..).fold(0, |slots, (is_meant, slot)| {
        slots | u16::from(is_meant) << slot
    })
}

#[inline]
const fn tag(hash: u64) -> u16 {
    // Bound: masked to 16 bits.
    (hash & 0xFFFF) as u16
}

impl Index {
    /// Makes a table for at most this many numbers.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            buckets: Vec::new(),
            len: 0,
            most: 0,
            limit: most / FULL + 1,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
        self.len = 0;
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Returns the bytes that one number takes at most, in a table that has just grown.
    pub(super) const fn memory_per_entry() -> usize {
        2 * size_of::<Bucket>() / FULL + 2 * size_of::<Bucket>()
    }

    /// Returns the bucket of a hash.
    #[inline]
    const fn home(&self, hash: u64) -> usize {
        // Bound: below the number of buckets, which is far below 2^32. The lowest bits are the tag.
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn behind(&self, place: usize) -> usize {
        if place + 1 < self.buckets.len() {
            place + 1
        } else {
            0
        }
    }

    /// Returns the number with a hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let home = self.home(hash);
        let mut place = home;
        loop {
            let bucket = self.buckets.get(place)?;
            let mut left = bucket.tagged(tag(hash));
            while left != 0 {
                let number = bucket.number(left.trailing_zeros())?;
                if is_it(number) {
                    return Some(number);
                }
                left &= left - 1;
            }
            place = self.behind(place);
            if bucket.overflowed == 0 || place == home {
                return None;
            }
        }
    }

    /// Adds a number that is not in the table. `hash_of` returns the hashes of those that are.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= self.most {
            self.grow(hash_of);
        }
        self.put(hash, number);
    }

    #[inline]
    fn put(&mut self, hash: u64, number: u32) {
        let mut place = self.home(hash);
        // Some bucket has a free slot, since there are more slots than numbers.
        while let Some(bucket) = self.buckets.get_mut(place) {
            let slot = bucket.used.trailing_ones();
            if bucket.number(slot).is_some() {
                bucket.put(slot, tag(hash), number);
                self.len += 1;
                return;
            }
            bucket.overflowed = bucket.overflowed.saturating_add(1);
            place = self.behind(place);
        }
    }

    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let count = (2 * self.buckets.len()).clamp(1, self.limit.max(self.buckets.len() + 1));
        let old = core::mem::replace(&mut self.buckets, alloc::vec![Bucket::default(); count]);
        self.len = 0;
        self.most = count * if count < self.limit { FULL } else { SLOTS };
        for bucket in &old {
            let slots = bucket.numbers.iter().zip(0_u32..);
            for (number, _) in slots.filter(|(_, slot)| bucket.used >> slot & 1 == 1) {
                self.put(hash_of(*number), *number);
            }
        }
    }

    /// Removes a number that is in the table.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let mut place = self.home(hash);
        while let Some(bucket) = self.buckets.get_mut(place) {
            let slot = bucket.slot_of(number);
            if slot != 0 {
                bucket.used &= !slot;
                self.len -= 1;
                return;
            }
            match bucket.overflowed {
                0 => return,
                // The count is saturated, and stays so.
                u16::MAX => {}
                _ => bucket.overflowed -= 1,
            }
            place = self.behind(place);
        }
    }

    /// Loads the buckets of many hashes together, before each is waited for.
    pub(super) fn prefetch(&self, hashes: impl Iterator<Item = u64>) {
        let buckets = hashes.filter_map(|hash| self.buckets.get(self.home(hash)));
        black_box(buckets.fold(0, |sum: u16, bucket| sum.wrapping_add(bucket.used)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn it_agrees_with_a_tree_however_the_hashes_collide() {
        let mut rng = crate::Seed::from(3).rng();
        for alike in [1, 2, 7, 300, 1 << 32] {
            let (mut index, mut tree) = (Index::new(1000), BTreeMap::new());
            for number in 0..3000_u32 {
                // Many of the first or the last bucket, and many of one tag.
                let hash = rng.below(alike) << 32 | rng.below(alike.min(4));
                let hash = if number % 2 == 0 { hash } else { !hash };
                let of = |number: u32, tree: &BTreeMap<u32, u64>| *tree.get(&number).unwrap();
                tree.insert(number, hash);
                index.insert(hash, number, |number| of(number, &tree));
                let other = u32::try_from(rng.below(u64::from(number) + 1)).unwrap();
                if let Some(hash) = tree.remove(&other) {
                    index.remove(hash, other);
                }
            }

            assert_eq!(index.len(), tree.len());
            for number in 0..3000 {
                let hash = tree.get(&number).copied();
                let some = hash.unwrap_or_else(|| rng.next_u64());
                let found = index.find(some, |other| other == number);
                assert_eq!(found, hash.map(|_| number), "{number}");
            }
            for (number, hash) in &tree {
                index.remove(*hash, *number);
            }
            assert_eq!(index.len(), 0);
            assert!(index.buckets.iter().all(|bucket| bucket.overflowed == 0));
            assert_eq!(size_of::<Bucket>(), 64);
        }
    }
}
