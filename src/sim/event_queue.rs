//! What is to happen, in order of time.
//!
//! A heap would look at a dozen entries, each in another place of the memory, for every one that leaves.
//! Here the few entries that are due next stand in order, and the others lie in bins by how far their time
//! is from that of the first: by the highest bit in which the two differ, as in a radix heap. A bin is only
//! ever filled at its end and emptied as a whole.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use crate::Instant;

/// Entries with more before them than this are not kept in order.
const MOST_NEAR: usize = 64;

/// With fewer entries in order than this, more are brought near.
const LEAST_NEAR: usize = 8;

/// A queue by time; what is due at one time leaves in the order in which it was entered.
#[derive(Debug)]
pub(super) struct EventQueue<T> {
    /// Everything up to `limit`, in order.
    near: VecDeque<Entry<T>>,
    limit: u64,
    /// Not after anything in the bins, and what these are counted from.
    base: u64,
    /// Everything after `limit`. In bin n the highest bit that differs from `base` is number n.
    bins: [Vec<Entry<T>>; 64],
    /// Which bins hold something, one bit each.
    filled: u64,
    /// What is about to change its bin; kept for its memory.
    variable_delay: Vec<Entry<T>>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    at: u64,
    what: T,
}

impl<T> EventQueue<T> {
    pub(super) const fn new() -> Self {
        Self {
            near: VecDeque::new(),
            limit: 0,
            base: 0,
            bins: [const { Vec::new() }; 64],
            filled: 0,
            variable_delay: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn enter(&mut self, at: Instant, what: T) {
        self.len += 1;
        let at = at.as_nanos();
        let entry = Entry { at, what };
        if at > self.limit {
            return self.put(entry);
        }
        if self.near.back().is_none_or(|last| last.at <= at) {
            self.near.push_back(entry);
        } else {
            let place = self.near.partition_point(|other| other.at <= at);
            self.near.insert(place, entry);
        }
        if self.near.len() > MOST_NEAR {
            self.spill();
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn next_time(&mut self) -> Option<Instant> {
        if self.near.is_empty() {
            self.bring_near();
        }
        self.near.front().map(|entry| Instant::from_nanos(entry.at))
    }

    pub(super) fn take(&mut self) -> Option<(Instant, T)> {
        if self.near.len() < LEAST_NEAR {
            self.bring_near();
        }
        let entry = self.near.pop_front()?;
        self.len -= 1;
        Some((Instant::from_nanos(entry.at), entry.what))
    }

    /// Puts what is due after `limit` into its bin.
    fn put(&mut self, entry: Entry<T>) {
        let bin = highest(entry.at ^ self.base);
        if let Some(entries) = self.bins.get_mut(bin) {
            entries.push(entry);
            self.filled |= 1 << bin;
        }
    }

    /// Extends what is in order, by whole bins while they are small.
    ///
    /// A large bin is parted when nothing is in order any more: then what is entered from here on is not
    /// due before the new base, and no entry ever moves to a higher bin.
    fn bring_near(&mut self) {
        while self.near.len() < LEAST_NEAR && self.filled != 0 {
            let bin = self.filled.trailing_zeros();
            let place = usize::try_from(bin).unwrap_or(0);
            let Some(entries) = self.bins.get_mut(place) else {
                return;
            };
            let is_small = entries.len() + self.near.len() <= MOST_NEAR;
            if !is_small && !self.near.is_empty() {
                return;
            }
            mem::swap(entries, &mut self.variable_delay);
            self.filled &= !(1 << bin);
            let times = self.variable_delay.iter().map(|entry| entry.at);
            self.base = times.min().unwrap_or(self.base);
            if is_small {
                // The sort keeps equals as they are.
                self.variable_delay.sort_by_key(|entry| entry.at);
                self.limit = self
                    .variable_delay
                    .last()
                    .map_or(self.base, |entry| entry.at);
                self.near.extend(self.variable_delay.drain(..));
            } else {
                self.limit = self.base;
                self.part();
            }
        }
    }

    /// Puts what is moving where it belongs.
    fn part(&mut self) {
        let mut variable_delay = mem::take(&mut self.variable_delay);
        for entry in variable_delay.drain(..) {
            if entry.at <= self.limit {
                self.near.push_back(entry);
            } else {
                self.put(entry);
            }
        }
        self.variable_delay = variable_delay;
    }

    /// Puts the later half of what is in order into bins, but nothing that is due together with the earlier.
    fn spill(&mut self) {
        let Some(last) = self.near.get(MOST_NEAR / 2).map(|entry| entry.at) else {
            return;
        };
        let kept = self.near.partition_point(|entry| entry.at <= last);
        if kept == self.near.len() {
            return;
        }
        self.count_from(last);
        self.limit = last;
        self.variable_delay.extend(self.near.drain(kept..));
        self.part();
    }

    /// Moves `base`. What lies above the highest bit that changes stays as it is.
    fn count_from(&mut self, base: u64) {
        let bit = highest(self.base ^ base);
        self.base = base;
        for bin in 0..=bit {
            if self.filled & (1 << bin) != 0
                && let Some(entries) = self.bins.get_mut(bin)
            {
                self.variable_delay.append(entries);
                self.filled &= !(1 << bin);
            }
        }
        self.part();
    }
}

/// The number of the highest bit that is set, from 0; also 0 for nothing.
fn highest(bits: u64) -> usize {
    usize::try_from(bits.checked_ilog2().unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rng, Seed};

    /// Enters 20,000 numbers, each `ahead` of what left last, and takes them out now and then.
    fn run(mut ahead: impl FnMut(&mut Rng) -> u64) {
        let mut event_queue = EventQueue::new();
        let mut rng = Seed::from(5).rng();
        let mut expected = alloc::collections::BTreeSet::new();
        let mut now = Instant::ZERO;
        for number in 0..20_000_u64 {
            let at = Instant::from_nanos(now.as_nanos().saturating_add(ahead(&mut rng)));
            event_queue.enter(at, number);
            expected.insert((at, number));
            // Now more is entered than taken, now less.
            let takes = match number % 4000 {
                0..2000 => rng.below(2),
                _ => rng.below(4),
            };
            for _ in 0..takes {
                assert_eq!(event_queue.next_time(), expected.first().map(|due| due.0));
                assert_eq!(event_queue.len(), expected.len());
                let first = expected.pop_first();
                assert_eq!(event_queue.take(), first);
                now = first.map_or(now, |first| first.0);
            }
        }

        let rest: Vec<_> = core::iter::from_fn(|| event_queue.take()).collect();

        assert!(rest.iter().eq(&expected));
        assert_eq!(event_queue.len(), 0);
    }

    #[test]
    fn what_is_due_first_leaves_first_and_equals_leave_as_they_came() {
        run(|rng| rng.below(20));
        run(|rng| rng.below(300));
        run(|rng| 1 << rng.below(64));
        run(|rng| rng.next_u64() >> rng.below(64));
        run(|rng| rng.below(3) * 1_000_000_000);
        run(|rng| rng.below(2).wrapping_neg());
    }

    #[test]
    fn what_is_entered_before_all_that_was_looked_at_leaves_before_it() {
        let mut event_queue = EventQueue::new();
        let at = Instant::from_nanos;
        (0..500).for_each(|number| event_queue.enter(at(1 << 40 | number), number));
        assert_eq!(event_queue.next_time(), Some(at(1 << 40)));

        (0..500).for_each(|number| event_queue.enter(at(number), 1000 + number));

        let left: Vec<u64> = core::iter::from_fn(|| event_queue.take().map(|due| due.1)).collect();
        assert!(left.into_iter().eq((1000..1500).chain(0..500)));
    }
}
