//! The queue of events, ordered by time.
//!
//! A radix heap with a sorted front. Up to 64 events that are due next are sorted. All others are in 64
//! buckets, by the highest bit in which their time differs from `base`. An event is appended to its bucket
//! once, and buckets are emptied as a whole, so the cost of an event does not grow with the queue. A binary
//! heap would touch a dozen entries all over the memory for each event.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use crate::Instant;

/// More events than this are never sorted at a time.
const MAX_FRONT: usize = 64;

/// With fewer sorted events, the next buckets are sorted too.
const MIN_FRONT: usize = 8;

/// A queue by time. Events of one time leave in the order in which they were added.
#[derive(Debug)]
pub(super) struct EventQueue<T> {
    /// All events up to and including `limit`, sorted.
    front: VecDeque<Entry<T>>,
    limit: u64,
    /// The reference time of the buckets, not after any event in them.
    base: u64,
    /// All events after `limit`. Those in bucket n differ from `base` in bit n, and in no higher one.
    buckets: [Vec<Entry<T>>; 64],
    /// One bit for each bucket that is not empty.
    filled: u64,
    /// Events on their way to another bucket; kept to reuse its memory.
    moved: Vec<Entry<T>>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    at: u64,
    event: T,
}

impl<T> EventQueue<T> {
    pub(super) const fn new() -> Self {
        Self {
            front: VecDeque::new(),
            limit: 0,
            base: 0,
            buckets: [const { Vec::new() }; 64],
            filled: 0,
            moved: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn push(&mut self, at: Instant, event: T) {
        self.len += 1;
        let at = at.as_nanos();
        let entry = Entry { at, event };
        if at > self.limit {
            return self.push_to_bucket(entry);
        }
        if self.front.back().is_none_or(|last| last.at <= at) {
            self.front.push_back(entry);
        } else {
            let index = self.front.partition_point(|other| other.at <= at);
            self.front.insert(index, entry);
        }
        if self.front.len() > MAX_FRONT {
            self.shorten_front();
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn next_time(&mut self) -> Option<Instant> {
        if self.front.is_empty() {
            self.extend_front();
        }
        self.front
            .front()
            .map(|entry| Instant::from_nanos(entry.at))
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, T)> {
        if self.front.len() < MIN_FRONT {
            self.extend_front();
        }
        let entry = self.front.pop_front()?;
        self.len -= 1;
        Some((Instant::from_nanos(entry.at), entry.event))
    }

    fn push_to_bucket(&mut self, entry: Entry<T>) {
        let index = highest_bit(entry.at ^ self.base);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.push(entry);
            self.filled |= 1 << index;
        }
    }

    /// Sorts the next buckets while they are small.
    ///
    /// A large bucket is split once the front is empty. No event is due before its earliest one then, which
    /// becomes the base, and so no event ever moves to a higher bucket.
    fn extend_front(&mut self) {
        while self.front.len() < MIN_FRONT && self.filled != 0 {
            let bit = self.filled.trailing_zeros();
            let index = usize::try_from(bit).unwrap_or(0);
            let Some(bucket) = self.buckets.get_mut(index) else {
                return;
            };
            let is_small = bucket.len() + self.front.len() <= MAX_FRONT;
            if !is_small && !self.front.is_empty() {
                return;
            }
            mem::swap(bucket, &mut self.moved);
            self.filled &= !(1 << bit);
            let times = self.moved.iter().map(|entry| entry.at);
            self.base = times.min().unwrap_or(self.base);
            if is_small {
                // A stable sort: events of one time keep their order.
                self.moved.sort_by_key(|entry| entry.at);
                self.limit = self.moved.last().map_or(self.base, |entry| entry.at);
                self.front.extend(self.moved.drain(..));
            } else {
                self.limit = self.base;
                self.distribute();
            }
        }
    }

    /// Puts the moved events into the front or their buckets.
    fn distribute(&mut self) {
        let mut moved = mem::take(&mut self.moved);
        for entry in moved.drain(..) {
            if entry.at <= self.limit {
                self.front.push_back(entry);
            } else {
                self.push_to_bucket(entry);
            }
        }
        self.moved = moved;
    }

    /// Puts the later half of the front into buckets, but splits no events of one time.
    fn shorten_front(&mut self) {
        let Some(last) = self.front.get(MAX_FRONT / 2).map(|entry| entry.at) else {
            return;
        };
        let kept = self.front.partition_point(|entry| entry.at <= last);
        if kept == self.front.len() {
            return;
        }
        self.change_base(last);
        self.limit = last;
        self.moved.extend(self.front.drain(kept..));
        self.distribute();
    }

    /// Changes the base. Buckets above the highest bit that changes stay as they are.
    fn change_base(&mut self, base: u64) {
        let highest = highest_bit(self.base ^ base);
        self.base = base;
        for index in 0..=highest {
            if self.filled & (1 << index) != 0
                && let Some(bucket) = self.buckets.get_mut(index)
            {
                self.moved.append(bucket);
                self.filled &= !(1 << index);
            }
        }
        self.distribute();
    }
}

/// Returns the index of the highest bit that is set, or 0 if none is.
fn highest_bit(bits: u64) -> usize {
    usize::try_from(bits.checked_ilog2().unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rng, Seed};

    /// Pushes 20,000 numbers, each `ahead` of the one that was popped last, and pops some between them.
    fn run(mut ahead: impl FnMut(&mut Rng) -> u64) {
        let mut queue = EventQueue::new();
        let mut rng = Seed::from(5).rng();
        let mut expected = alloc::collections::BTreeSet::new();
        let mut now = Instant::ZERO;
        for number in 0..20_000_u64 {
            let at = Instant::from_nanos(now.as_nanos().saturating_add(ahead(&mut rng)));
            queue.push(at, number);
            expected.insert((at, number));
            // The queue grows for 2000 numbers, and shrinks for 2000.
            let takes = match number % 4000 {
                0..2000 => rng.below(2),
                _ => rng.below(4),
            };
            for _ in 0..takes {
                assert_eq!(queue.next_time(), expected.first().map(|due| due.0));
                assert_eq!(queue.len(), expected.len());
                let first = expected.pop_first();
                assert_eq!(queue.pop(), first);
                now = first.map_or(now, |first| first.0);
            }
        }

        let rest: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();

        assert!(rest.iter().eq(&expected));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn events_are_popped_by_time_and_those_of_one_time_in_the_order_of_pushing() {
        run(|rng| rng.below(20));
        run(|rng| rng.below(300));
        run(|rng| 1 << rng.below(64));
        run(|rng| rng.next_u64() >> rng.below(64));
        run(|rng| rng.below(3) * 1_000_000_000);
        run(|rng| rng.below(2).wrapping_neg());
    }

    #[test]
    fn events_before_the_sorted_front_are_popped_first() {
        let mut queue = EventQueue::new();
        let at = Instant::from_nanos;
        (0..500).for_each(|number| queue.push(at(1 << 40 | number), number));
        assert_eq!(queue.next_time(), Some(at(1 << 40)));

        (0..500).for_each(|number| queue.push(at(number), 1000 + number));

        let left: Vec<u64> = core::iter::from_fn(|| queue.pop().map(|due| due.1)).collect();
        assert!(left.into_iter().eq((1000..1500).chain(0..500)));
    }
}
