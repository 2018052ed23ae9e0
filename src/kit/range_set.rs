//! Sets of numbers as ranges.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// Bytes that a range takes in a tree: nodes have room for 11 and are at least half full, and a node above some
/// holds the links to up to 12.
const IN_TREE: usize = 46;
/// Bytes of the first node beyond that.
const FIRST_NODE: usize = 192;

/// A set of `u64` numbers, kept as ranges that neither overlap nor touch: octets received, octets acknowledged,
/// serial numbers seen.
///
/// Extending the last range takes constant time. Inserting or removing anywhere else takes a logarithmic number of
/// steps, and one more for each range that vanishes. A set of one range allocates nothing.
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
    /// The last range, empty if the set is.
    last: Range<u64>,
    /// The starts and ends of all ranges before it.
    earlier: BTreeMap<u64, u64>,
    len: u64,
}

impl PartialEq for RangeSet {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.within(0..u64::MAX).eq(other.within(0..u64::MAX))
    }
}

impl Eq for RangeSet {}

/// A set is serialised as the list of its ranges.
#[cfg(feature = "serde")]
impl serde::Serialize for RangeSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranges: alloc::vec::Vec<_> = self.within(0..u64::MAX).collect();
        ranges.serialize(serializer)
    }
}

/// The ranges have to ascend, and must not touch.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for RangeSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut set = Self::new();
        for range in alloc::vec::Vec::<Range<u64>>::deserialize(deserializer)? {
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
            last: 0..0,
            earlier: BTreeMap::new(),
            len: 0,
        }
    }

    /// Returns how many numbers of `range` were not in the set before, and adds them.
    #[inline]
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.start >= range.end {
            return 0;
        }
        if self.len == 0 {
            self.len = range.end - range.start;
            self.last = range;
            return self.len;
        }
        if self.last.end == range.start {
            let fresh = range.end - range.start;
            self.last.end = range.end;
            self.len += fresh;
            return fresh;
        }
        self.insert_apart(range)
    }

    /// Adds a range that does not follow the last one at once.
    fn insert_apart(&mut self, range: Range<u64>) -> u64 {
        let fresh = if range.start > self.last.end {
            let fresh = range.end - range.start;
            let before = core::mem::replace(&mut self.last, range);
            self.earlier.insert(before.start, before.end);
            fresh
        } else if range.end < self.last.start {
            self.insert_earlier(range)
        } else {
            self.widen(&range)
        };
        self.len += fresh;
        fresh
    }

    /// Adds a range that ends before the last one starts.
    fn insert_earlier(&mut self, range: Range<u64>) -> u64 {
        let Range { mut start, mut end } = range;
        let mut had = 0;
        // One before it that it touches is extended in place.
        if let Some((before, held)) = self.earlier.range(..=start).next_back()
            && *held >= start
        {
            had = *held - before;
            start = *before;
            end = end.max(*held);
        }
        while let Some((behind, held)) = self.earlier.range(start + 1..).next()
            && *behind <= end
        {
            let behind = *behind;
            had += held - behind;
            end = end.max(*held);
            self.earlier.remove(&behind);
        }
        self.earlier.insert(start, end);
        end - start - had
    }

    /// Extends the last range by one that it overlaps or touches.
    fn widen(&mut self, range: &Range<u64>) -> u64 {
        let mut had = self.last.end - self.last.start;
        self.last.start = self.last.start.min(range.start);
        self.last.end = self.last.end.max(range.end);
        while let Some(before) = self.earlier.last_entry()
            && *before.get() >= self.last.start
        {
            let (start, end) = before.remove_entry();
            had += end - start;
            self.last.start = self.last.start.min(start);
        }
        self.last.end - self.last.start - had
    }

    /// Returns how many numbers of `range` were in the set, and removes them.
    pub fn remove(&mut self, range: Range<u64>) -> u64 {
        let mut removed = 0;
        loop {
            let cut = self.within(range.clone()).next();
            let Some(cut) = cut else {
                return removed;
            };
            // The range of the set that it is a part of.
            let start = self.earlier.range(..=cut.start).next_back();
            let start = start.filter(|(_, end)| **end >= cut.end);
            let held = match start.map(|(start, _)| *start) {
                Some(start) => start..self.earlier.remove(&start).unwrap_or(start),
                None => {
                    let before = self.earlier.pop_last().unwrap_or_default();
                    core::mem::replace(&mut self.last, before.0..before.1)
                }
            };
            self.len -= held.end - held.start;
            self.insert(held.start..cut.start);
            self.insert(cut.end..held.end);
            removed += cut.end - cut.start;
        }
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
        let before = self.earlier.range(..scope.start).next_back();
        let before = before.filter(|(_, end)| **end > scope.start);
        let first = before.map_or(scope.start, |(start, _)| *start);
        let earlier = self.earlier.range(first..);
        let last = (self.last.end > scope.start).then(|| self.last.clone());
        earlier
            .map(|(start, end)| *start..*end)
            .chain(last)
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

    /// Returns the last range of the set that begins before `end`.
    #[cfg(feature = "ltp")]
    pub(crate) fn last_before(&self, end: u64) -> Option<Range<u64>> {
        let is_last = self.len > 0 && self.last.start < end;
        let earlier = || self.earlier.range(..end).next_back();
        is_last
            .then(|| self.last.clone())
            .or_else(|| earlier().map(|(start, end)| *start..*end))
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
    pub const fn end(&self) -> u64 {
        self.last.end
    }

    /// Returns how many ranges the set consists of.
    #[must_use]
    pub fn count(&self) -> usize {
        self.earlier.len() + usize::from(self.len > 0)
    }

    /// Returns the bytes of memory that the set may take after one more insertion of a range, beyond what it takes.
    #[cfg(feature = "ltp")]
    pub(crate) fn memory_for_one_more(&self) -> usize {
        match (self.len, self.earlier.is_empty()) {
            (0, _) => 0,
            (_, true) => FIRST_NODE + IN_TREE,
            (_, false) => IN_TREE,
        }
    }

    /// Returns the bytes of memory allocated, which are estimated, and not too few.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let first = if self.earlier.is_empty() {
            0
        } else {
            FIRST_NODE
        };
        first + self.earlier.len() * IN_TREE
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

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

    #[cfg(feature = "ltp")]
    #[test]
    fn the_last_range_before_a_number_begins_below_it() {
        let set = set(&[10..20, 30..40]);

        assert_eq!(set.last_before(u64::MAX), Some(30..40));
        assert_eq!(set.last_before(30), Some(10..20));
        assert_eq!(set.last_before(10), None);
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

    #[test]
    fn what_is_removed_is_gone_and_the_rest_stays() {
        let mut set = set(&[0..10, 20..30, 40..50, 60..70]);

        assert_eq!(set.remove(25..45), 10);
        assert_eq!(set.remove(65..66), 1);
        assert_eq!(set.remove(10..20), 0);
        assert_eq!(set.remove(5..5), 0);

        assert_eq!(all(&set), [0..10, 20..25, 45..50, 60..65, 66..70]);
        assert_eq!(set.len(), 29);
        assert_eq!(set.remove(0..u64::MAX), 29);
        assert_eq!((set.count(), set.end(), set.is_empty()), (0, 0, true));
    }

    #[test]
    fn a_set_of_many_ranges_agrees_with_a_table_of_marks() {
        const SPAN: u64 = 4096;
        let mut rng = crate::Seed::from(6).rng();
        let mut set = RangeSet::new();
        let mut marks = vec![false; 4096];
        let mut most = 0;
        for round in 0..12_000_u64 {
            let start = rng.below(SPAN);
            // Short ranges make many, longer ones leave few.
            let longest = if round % 4000 < 3000 { 2 } else { 200 };
            let end = (start + 1 + rng.below(longest)).min(SPAN);
            let is_removal = rng.below(3) == 0;
            let mut changed = 0;
            for at in start..end {
                let mark = &mut marks[usize::try_from(at).unwrap()];
                changed += u64::from(*mark == is_removal);
                *mark = !is_removal;
            }
            let told = if is_removal {
                set.remove(start..end)
            } else {
                set.insert(start..end)
            };
            assert_eq!(told, changed, "round {round}");
            most = most.max(set.count());
            if round % 500 == 499 {
                let from_set: Vec<u64> = all(&set).into_iter().flatten().collect();
                let from_marks: Vec<u64> = (0..SPAN)
                    .zip(&marks)
                    .filter(|(_, mark)| **mark)
                    .map(|(at, _)| at)
                    .collect();
                assert_eq!(from_set, from_marks);
                let scope = 700..3000;
                let there: u64 = set
                    .within(scope.clone())
                    .map(|held| held.end - held.start)
                    .sum();
                let missing: u64 = set.gaps(scope).map(|gap| gap.end - gap.start).sum();
                assert_eq!(there + missing, 2300);
                assert_eq!(from_set.len() as u64, set.len());
            }
        }
        assert!(most > 600, "{most} ranges at most");
    }

    #[test]
    fn sets_are_equal_by_their_numbers_whatever_was_in_them_before() {
        let mut one = RangeSet::new();
        for at in 0..1000 {
            one.insert(4 * at..4 * at + 1);
        }
        one.remove(8..u64::MAX);

        assert_eq!(one, set(&[0..1, 4..5]));
        assert_ne!(one, set(&[0..1, 5..6]));
    }

    /// Single octets with gaps, from the last to the first.
    #[cfg(feature = "ltp")]
    #[test]
    fn ranges_inserted_backwards_take_the_memory_that_was_foretold() {
        let mut set = RangeSet::new();
        let mut granted = 0;
        for at in (0..100_000_u64).rev() {
            set.insert(2 * at..2 * at + 1);
            assert!(set.memory_used() <= granted);
            granted = set.memory_used() + set.memory_for_one_more();
        }

        assert_eq!(set.count(), 100_000);
        let per_range = set.memory_used() / set.count();
        assert!(per_range <= 48, "{per_range} bytes for a range");
    }
}
