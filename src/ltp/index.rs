//! A hash table of small numbers, each of which touches one line of memory.
//!
//! At a quarter of a million of them what a processor waits for is memory. Where a common table keeps marks
//! here and numbers there, this one keeps the numbers whose hashes are alike in one line: that a session is
//! looked for when it begins and put in when it closes costs one wait, and taking many out at a time little
//! more, as the lines are asked for together.

use alloc::vec::Vec;
use core::hint::black_box;

/// Numbers in one line.
const LANES: usize = 10;
/// Numbers in a line, on the average, beyond which the table grows: one line in twenty then has too many.
const FULL: usize = 6;

/// Numbers by their hashes. No number is in it twice.
#[derive(Debug)]
pub(super) struct Index {
    lines: Vec<Line>,
    len: usize,
    /// Numbers for which there is room without growing.
    most: usize,
    /// Lines beyond which it does not grow, unless they are all full.
    limit: usize,
}

/// The size of a line of a processor's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    /// Parts of the hashes.
    tags: [u16; LANES],
    numbers: [u32; LANES],
    /// A bit for each lane in use.
    used: u16,
    /// How many numbers found no lane here, or where they passed by, and lie further on.
    passed: u16,
}

impl Line {
    /// The lanes of a tag.
    #[inline]
    fn tagged(&self, tag: u16) -> u16 {
        let same = self.tags.iter().map(|other| *other == tag);
        lanes(same) & self.used
    }

    #[inline]
    fn lane_of(&self, number: u32) -> u16 {
        let same = self.numbers.iter().map(|other| *other == number);
        lanes(same) & self.used
    }

    fn put(&mut self, lane: u32, tag: u16, number: u32) {
        let lane = usize::try_from(lane).unwrap_or(LANES);
        if let (Some(tags), Some(numbers)) = (self.tags.get_mut(lane), self.numbers.get_mut(lane)) {
            *tags = tag;
            *numbers = number;
            self.used |= 1 << lane;
        }
    }

    fn number(&self, lane: u32) -> Option<u32> {
        self.numbers.get(usize::try_from(lane).ok()?).copied()
    }
}

/// A bit for each lane that is meant.
#[inline]
fn lanes(meant: impl Iterator<Item = bool>) -> u16 {
    meant.zip(0_u32..).fold(0, |lanes, (is_meant, lane)| {
        lanes | u16::from(is_meant) << lane
    })
}

#[inline]
const fn tag(hash: u64) -> u16 {
    // Bound: masked to 16 bits.
    (hash & 0xFFFF) as u16
}

impl Index {
    /// Makes a table for so many numbers at most.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            lines: Vec::new(),
            len: 0,
            most: 0,
            limit: most / FULL + 1,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.lines.fill(Line::default());
        self.len = 0;
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    /// Bytes that one number takes at most, in a table that has just grown.
    pub(super) const fn memory_per_entry() -> usize {
        2 * size_of::<Line>() / FULL + 2 * size_of::<Line>()
    }

    /// Where a hash leads to.
    #[inline]
    const fn home(&self, hash: u64) -> usize {
        // Bound: below the count of lines, which is far below 2^32. The lowest bits are the tag.
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn behind(&self, place: usize) -> usize {
        if place + 1 < self.lines.len() {
            place + 1
        } else {
            0
        }
    }

    /// Returns the number with a hash that is the right one.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let home = self.home(hash);
        let mut place = home;
        loop {
            let line = self.lines.get(place)?;
            let mut left = line.tagged(tag(hash));
            while left != 0 {
                let number = line.number(left.trailing_zeros())?;
                if is_it(number) {
                    return Some(number);
                }
                left &= left - 1;
            }
            place = self.behind(place);
            if line.passed == 0 || place == home {
                return None;
            }
        }
    }

    /// Adds a number that is not in it; `hash_of` tells the hashes of those that are.
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
        // Some line has a lane free, as there are more lanes than numbers.
        while let Some(line) = self.lines.get_mut(place) {
            let lane = line.used.trailing_ones();
            if line.number(lane).is_some() {
                line.put(lane, tag(hash), number);
                self.len += 1;
                return;
            }
            line.passed = line.passed.saturating_add(1);
            place = self.behind(place);
        }
    }

    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let count = (2 * self.lines.len()).clamp(1, self.limit.max(self.lines.len() + 1));
        let old = core::mem::replace(&mut self.lines, alloc::vec![Line::default(); count]);
        self.len = 0;
        self.most = count * if count < self.limit { FULL } else { LANES };
        for line in &old {
            let lanes = line.numbers.iter().zip(0_u32..);
            for (number, _) in lanes.filter(|(_, lane)| line.used >> lane & 1 == 1) {
                self.put(hash_of(*number), *number);
            }
        }
    }

    /// Takes a number out that is in it.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let mut place = self.home(hash);
        while let Some(line) = self.lines.get_mut(place) {
            let lane = line.lane_of(number);
            if lane != 0 {
                line.used &= !lane;
                self.len -= 1;
                return;
            }
            match line.passed {
                0 => return,
                // Too many to be counted: it stays so.
                u16::MAX => {}
                _ => line.passed -= 1,
            }
            place = self.behind(place);
        }
    }

    /// Has a processor ask for the lines of many hashes together, before each is waited for.
    pub(super) fn touch(&self, hashes: impl Iterator<Item = u64>) {
        let lines = hashes.filter_map(|hash| self.lines.get(self.home(hash)));
        black_box(lines.fold(0, |sum: u16, line| sum.wrapping_add(line.used)));
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
                // Many of one home, first or last, and many of one tag.
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
            assert!(index.lines.iter().all(|line| line.passed == 0));
            assert_eq!(size_of::<Line>(), 64);
        }
    }
}
