//! Ranges in order: a list of a few, or a tree of many.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::iter::Copied;
use core::ops::Range;
use core::slice;

/// The maximum length of a list. Moving so many ranges takes as long as a step or two down a tree.
const MAX_LIST: usize = 128;
/// The capacity of a list that is allocated first.
#[cfg(feature = "ltp")]
const MIN_LIST: usize = 4;
/// A tree that has shrunk to this length becomes a list.
const MIN_TREE: usize = 32;
/// Bytes that a range takes in a tree: nodes have room for 11 and are at least half full, and a node above some
/// holds the links to up to 12.
const IN_TREE: usize = 46;

/// Ranges that neither overlap nor touch, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    ranges: Ranges,
    /// Ranges that were moved to make or close a gap, or from one form to the other.
    #[cfg(test)]
    moved: usize,
}

#[derive(Debug, Clone)]
enum Ranges {
    List(Vec<(u64, u64)>),
    Tree(BTreeMap<u64, u64>),
}

impl Default for Ranges {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Store {
    pub(super) const fn new() -> Self {
        Self {
            ranges: Ranges::List(Vec::new()),
            #[cfg(test)]
            moved: 0,
        }
    }

    #[cfg(test)]
    pub(super) const fn moved(&self) -> usize {
        self.moved
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count"))]
    const fn count_moved(&mut self, count: usize) {
        #[cfg(test)]
        {
            self.moved += count;
        }
        #[cfg(not(test))]
        let _ = count;
    }

    pub(super) fn count(&self) -> usize {
        match &self.ranges {
            Ranges::List(list) => list.len(),
            Ranges::Tree(tree) => tree.len(),
        }
    }

    pub(super) fn memory_used(&self) -> usize {
        match &self.ranges {
            Ranges::List(list) => list.capacity() * size_of::<(u64, u64)>(),
            Ranges::Tree(tree) => tree.len() * IN_TREE,
        }
    }

    /// Returns the bytes of memory that one more range may take.
    #[cfg(feature = "ltp")]
    pub(super) fn memory_for_one_more(&self) -> usize {
        match &self.ranges {
            Ranges::List(list) if list.len() < list.capacity().min(MAX_LIST) => 0,
            Ranges::List(list) if list.len() < MAX_LIST => {
                list.capacity().max(MIN_LIST) * size_of::<(u64, u64)>()
            }
            Ranges::List(list) => (list.len() + 1) * IN_TREE,
            Ranges::Tree(_) => IN_TREE,
        }
    }

    /// Adds a range behind all others, which it does not touch.
    pub(super) fn push(&mut self, range: Range<u64>) {
        match &mut self.ranges {
            Ranges::List(list) => {
                list.push((range.start, range.end));
                self.grow();
            }
            Ranges::Tree(tree) => drop(tree.insert(range.start, range.end)),
        }
    }

    /// Returns how many numbers of `range` are fresh, and adds them.
    pub(super) fn insert(&mut self, range: Range<u64>) -> u64 {
        match &mut self.ranges {
            Ranges::List(list) => {
                let (fresh, moved) = insert_in_list(list, &range);
                self.count_moved(moved);
                self.grow();
                fresh
            }
            Ranges::Tree(tree) => {
                let fresh = insert_in_tree(tree, range);
                self.shrink();
                fresh
            }
        }
    }

    /// Removes the last range if it ends at or behind `start`.
    pub(super) fn pop_touching(&mut self, start: u64) -> Option<Range<u64>> {
        let end = match &self.ranges {
            Ranges::List(list) => list.last()?.1,
            Ranges::Tree(tree) => *tree.last_key_value()?.1,
        };
        if end < start {
            return None;
        }
        self.pop()
    }

    pub(super) fn pop(&mut self) -> Option<Range<u64>> {
        let (start, end) = match &mut self.ranges {
            Ranges::List(list) => list.pop()?,
            Ranges::Tree(tree) => tree.pop_last()?,
        };
        self.shrink();
        Some(start..end)
    }

    /// Removes the range that begins at `start`.
    pub(super) fn remove(&mut self, start: u64) {
        match &mut self.ranges {
            Ranges::List(list) => {
                if let Ok(place) = list.binary_search_by_key(&start, |held| held.0) {
                    list.remove(place);
                    let behind = list.len() - place;
                    self.count_moved(behind);
                }
            }
            Ranges::Tree(tree) => drop(tree.remove(&start)),
        }
        self.shrink();
    }

    /// Returns the first range with a number in `range`, whole.
    pub(super) fn overlapping(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let first = self.from(range.start).next();
        first.filter(|held| held.start < range.end)
    }

    /// Returns the last range that begins before `end`.
    #[cfg(feature = "ltp")]
    pub(super) fn last_before(&self, end: u64) -> Option<Range<u64>> {
        let (start, end) = match &self.ranges {
            Ranges::List(list) => {
                let behind = list.partition_point(|held| held.0 < end);
                *list.get(behind.checked_sub(1)?)?
            }
            Ranges::Tree(tree) => {
                let (start, end) = tree.range(..end).next_back()?;
                (*start, *end)
            }
        };
        Some(start..end)
    }

    /// Returns the ranges with numbers from `start` on, in order.
    pub(super) fn from(&self, start: u64) -> impl Iterator<Item = Range<u64>> {
        match &self.ranges {
            Ranges::List(list) => {
                let first = list.partition_point(|held| held.1 <= start);
                Iter::List(list.get(first..).unwrap_or_default().iter().copied())
            }
            Ranges::Tree(tree) => {
                let before = tree.range(..start).next_back();
                let first = before.filter(|(_, end)| **end > start);
                let first = first.map_or(start, |(first, _)| *first);
                Iter::Tree(tree.range(first..))
            }
        }
    }

    /// Makes a list that is too long a tree.
    fn grow(&mut self) {
        if let Ranges::List(list) = &mut self.ranges
            && list.len() > MAX_LIST
        {
            let count = list.len();
            let tree: BTreeMap<u64, u64> = list.drain(..).collect();
            self.ranges = Ranges::Tree(tree);
            self.count_moved(count);
        }
    }

    /// Makes a tree of few ranges a list.
    fn shrink(&mut self) {
        if let Ranges::Tree(tree) = &self.ranges
            && tree.len() < MIN_TREE
        {
            let list: Vec<(u64, u64)> = tree.iter().map(|(start, end)| (*start, *end)).collect();
            let count = list.len();
            self.ranges = Ranges::List(list);
            self.count_moved(count);
        }
    }
}

/// Returns how many numbers were fresh, and how many ranges were moved.
fn insert_in_list(list: &mut Vec<(u64, u64)>, range: &Range<u64>) -> (u64, usize) {
    let first = list.partition_point(|held| held.1 < range.start);
    let after = list.partition_point(|held| held.0 <= range.end);
    let touched = list.get(first..after).unwrap_or_default();
    let had: u64 = touched.iter().map(|held| held.1 - held.0).sum();
    let start = touched
        .first()
        .map_or(range.start, |held| held.0.min(range.start));
    let end = touched
        .last()
        .map_or(range.end, |held| held.1.max(range.end));
    let behind = list.len() - after;
    let moved = match list.get_mut(first) {
        // The usual repair closes or narrows one gap: nothing behind it moves unless ranges merge.
        Some(held) if after > first => {
            *held = (start, end);
            list.drain(first + 1..after);
            if after > first + 1 { behind } else { 0 }
        }
        _ => {
            list.insert(first, (start, end));
            behind
        }
    };
    (end - start - had, moved)
}

fn insert_in_tree(tree: &mut BTreeMap<u64, u64>, range: Range<u64>) -> u64 {
    let Range { mut start, mut end } = range;
    let mut had = 0;
    // One before it that it touches is extended in place.
    if let Some((before, held)) = tree.range_mut(..=start).next_back()
        && *held >= start
    {
        if *held >= end {
            return 0;
        }
        had = *held - before;
        start = *before;
    }
    while let Some((behind, held)) = tree.range(start + 1..).next()
        && *behind <= end
    {
        let behind = *behind;
        had += held - behind;
        end = end.max(*held);
        tree.remove(&behind);
    }
    tree.insert(start, end);
    end - start - had
}

/// The ranges of a store from one on.
enum Iter<'a> {
    List(Copied<slice::Iter<'a, (u64, u64)>>),
    Tree(btree_map::Range<'a, u64, u64>),
}

impl Iterator for Iter<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let (start, end) = match self {
            Iter::List(list) => list.next()?,
            Iter::Tree(tree) => tree.next().map(|(start, end)| (*start, *end))?,
        };
        Some(start..end)
    }
}
