//! What is to happen, in order of time.

use alloc::collections::BinaryHeap;
use core::cmp::Ordering;

use crate::Instant;

/// A queue by time; what is due at one time leaves in the order in which it was entered.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    heap: BinaryHeap<Entry<T>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> Agenda<T> {
    pub(super) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            entered: 0,
        }
    }

    pub(super) fn enter(&mut self, at: Instant, what: T) {
        self.heap.push(Entry {
            at,
            number: self.entered,
            what,
        });
        self.entered += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn next_time(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(super) fn take(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

// The heap gives the greatest first, so the order is turned round.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::Seed;

    #[test]
    fn what_is_due_first_leaves_first_and_equals_leave_as_they_came() {
        let mut agenda = Agenda::new();
        let mut chance = Seed::from(5).chance();
        let mut expected = Vec::new();
        let mut left = Vec::new();
        for number in 0..5000_u64 {
            let at = Instant::from_nanos(chance.below(300));
            agenda.enter(at, number);
            expected.push((at, number));
            if chance.below(3) == 0 {
                assert_eq!(agenda.next_time(), expected.iter().map(|due| due.0).min());
                let first = agenda.take().unwrap();
                expected.retain(|due| *due != first);
                left.push(first);
                assert!(expected.iter().all(|due| first < *due));
            }
        }
        expected.sort_unstable();

        let rest: Vec<_> = core::iter::from_fn(|| agenda.take()).collect();

        assert!(left.len() > 1000);
        assert_eq!(rest, expected);
        assert_eq!(agenda.len(), 0);
    }
}
