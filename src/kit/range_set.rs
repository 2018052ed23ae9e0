//! Sets of numbers as ranges.

use alloc::vec::Vec;
use core::ops::Range;
use core::slice;

/// A set of `u64` numbers, kept as ranges that neither overlap nor touch: octets received, octets acknowledged,
/// serial numbers seen.
///
/// Extending the last range takes constant time. Inserting anywhere else takes a binary search, and moves the
/// ranges behind when the number of ranges changes. A set of one range allocates nothing.
///
/// ```
/// use farlink::kit::RangeSet;
///
/// let mut set = RangeSet::new();
/// assert_eq!(set.insert(0..10), 10);
/// assert_eq!(set.insert(5..20), 10, "the octets that were not there before");
/// set.insert(30..40);
/// assert_eq!(set.gaps(0..50).collect::<Vec<_>>(), [20..30, 40..50]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RangeSet {
    /// The only range, as long as there is one.
    only: Range<u64>,
    /// All ranges, once there were two.
    many: Vec<Range<u64>>,
    len: u64,
}

impl PartialEq for RangeSet {
    fn eq(&self, other: &Self) -> bool {
        self.ranges() == other.ranges()
    }
}

impl Eq for RangeSet {}

/// A set is serialised as the list of its ranges.
#[cfg(feature = "serde")]
impl serde::Serialize for RangeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ranges().serialize(serializer)
    }
}

/// The ranges have to ascend, and must not touch.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for RangeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut set = Self::new();
        for range in Vec::<Range<u64>>::deserialize(deserializer)? {
            let is_behind = set.is_empty() || range.start > set.end();
            if !is_behind || range.start >= range.end {
                let error = "ranges that overlap, touch, descend or are empty";
                return Err(serde::de::Error::custom(error));
            }
            set.insert(range);
        }
        Ok(set)
    }
}

impl RangeSet {
    /// Makes an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            only: 0..0,
            many: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    fn ranges(&self) -> &[Range<u64>] {
        if !self.many.is_empty() {
            &self.many
        } else if self.len > 0 {
            slice::from_ref(&self.only)
        } else {
            &[]
        }
    }

    #[inline]
    fn last_mut(&mut self) -> Option<&mut Range<u64>> {
        match self.many.last_mut() {
            None => (self.len > 0).then_some(&mut self.only),
            last => last,
        }
    }

    /// Returns how many numbers of `range` were not in the set before, and adds them.
    #[inline]
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.start >= range.end {
            return 0;
        }
        let Some(last) = self.last_mut() else {
            return self.append(range);
        };
        if last.end == range.start {
            let fresh = range.end - range.start;
            last.end = range.end;
            self.len += fresh;
            return fresh;
        }
        if last.end < range.start {
            return self.append(range);
        }
        if self.many.is_empty() {
            let only = self.only.clone();
            if only.start <= range.end {
                return self.widen(&only, &range);
            }
            self.many.push(only);
        }
        self.merge(&range)
    }

    /// Extends the only range by one that it overlaps or touches.
    fn widen(&mut self, only: &Range<u64>, range: &Range<u64>) -> u64 {
        self.only = only.start.min(range.start)..only.end.max(range.end);
        let before = self.len;
        self.len = self.only.end - self.only.start;
        self.len - before
    }

    fn merge(&mut self, range: &Range<u64>) -> u64 {
        let first = self.many.partition_point(|held| held.end < range.start);
        let after = self.many.partition_point(|held| held.start <= range.end);
        let touched = self.many.get(first..after).unwrap_or_default();
        let had: u64 = touched.iter().map(|held| held.end - held.start).sum();
        let start = touched
            .first()
            .map_or(range.start, |held| held.start.min(range.start));
        let end = touched
            .last()
            .map_or(range.end, |held| held.end.max(range.end));
        match self.many.get_mut(first) {
            // The usual repair closes or narrows one gap: nothing behind it moves unless ranges merge.
            Some(held) if after > first => {
                *held = start..end;
                self.many.drain(first + 1..after);
            }
            _ => self.many.insert(first, start..end),
        }
        let fresh = end - start - had;
        self.len += fresh;
        fresh
    }

    /// Adds a range behind all others, which it does not touch.
    fn append(&mut self, range: Range<u64>) -> u64 {
        let fresh = range.end - range.start;
        if self.len == 0 {
            self.only = range;
        } else {
            if self.many.is_empty() {
                self.many.push(self.only.clone());
            }
            self.many.push(range);
        }
        self.len += fresh;
        fresh
    }

    /// Tells whether every number of `range` is in the set; an empty range is.
    #[must_use]
    pub fn covers(&self, range: &Range<u64>) -> bool {
        self.gaps(range.clone()).next().is_none()
    }

    /// Tells whether any number of `range` is in the set.
    #[must_use]
    pub fn intersects(&self, range: Range<u64>) -> bool {
        self.within(range).next().is_some()
    }

    /// Returns the ranges of the set, each cut down to `scope`, in order.
    pub fn within(&self, scope: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let ranges = self.ranges();
        let first = ranges.partition_point(|held| held.end <= scope.start);
        ranges
            .iter()
            .skip(first)
            .take_while(move |held| held.start < scope.end)
            .map(move |held| held.start.max(scope.start)..held.end.min(scope.end))
            .filter(|held| held.start < held.end)
    }

    /// Returns the ranges of `scope` that are not in the set, in order.
    pub fn gaps(&self, scope: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut from = scope.start;
        self.within(scope.clone())
            .map(|held| held.start..held.end)
            .chain((scope.start < scope.end).then_some(scope.end..scope.end))
            .filter_map(move |held| {
                let gap = from..held.start;
                from = held.end;
                (gap.start < gap.end).then_some(gap)
            })
    }

    /// Returns where the range that holds `start` ends, or `start` when it is not in the set.
    #[must_use]
    pub fn run_from(&self, start: u64) -> u64 {
        self.within(start..u64::MAX)
            .next()
            .filter(|held| held.start == start)
            .map_or(start, |held| held.end)
    }

    /// Returns how many numbers are in the set.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether the set is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number behind the last one, or 0.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ranges().last().map_or(0, |last| last.end)
    }

    /// Returns how many ranges the set consists of.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ranges().len()
    }

    /// Returns the bytes of memory allocated.
    #[must_use]
    pub const fn memory_used(&self) -> usize {
        self.many.capacity() * size_of::<Range<u64>>()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    fn all(set: &RangeSet) -> Vec<Range<u64>> {
        set.within(0..u64::MAX).collect()
    }

    #[test]
    fn insert_counts_only_what_is_fresh_and_merges_what_touches() {
        let mut set = set(&[10..20, 30..40]);

        assert_eq!(set.insert(15..18), 0);
        assert_eq!(set.insert(20..30), 10);
        assert_eq!(set.insert(0..5), 5);
        assert_eq!(set.insert(3..50), 15);

        assert_eq!(all(&set), vec![0..50]);
        assert_eq!(set.len(), 50);
    }

    #[test]
    fn gaps_are_what_the_scope_lacks() {
        let set = set(&[10..20, 30..40]);

        assert_eq!(set.gaps(0..50).collect::<Vec<_>>(), [0..10, 20..30, 40..50]);
        assert_eq!(set.gaps(15..35).collect::<Vec<_>>(), vec![20..30]);
        assert_eq!(set.gaps(12..18).next(), None);
        assert_eq!(set.gaps(9..9).next(), None);
        assert_eq!(set.gaps(20..30).collect::<Vec<_>>(), vec![20..30]);
    }

    #[test]
    fn a_set_agrees_with_a_table_of_marks() {
        let mut rng = crate::Seed::from(5).rng();
        for _ in 0..200 {
            let mut set = RangeSet::new();
            let mut marks = [false; 64];
            for _ in 0..12 {
                let start = rng.below(64);
                let end = start + rng.below(65 - start);
                let fresh = marks
                    .iter_mut()
                    .enumerate()
                    .filter(|(at, mark)| (start..end).contains(&(*at as u64)) && !**mark)
                    .map(|(_, mark)| *mark = true)
                    .count();
                assert_eq!(set.insert(start..end), fresh as u64);
            }
            let from_set: Vec<u64> = all(&set).into_iter().flatten().collect();
            let from_marks: Vec<u64> = (0..64)
                .zip(marks)
                .filter(|(_, mark)| *mark)
                .map(|(at, _)| at)
                .collect();
            assert_eq!(from_set, from_marks);
            assert_eq!(set.len(), from_marks.len() as u64);
        }
    }
}
