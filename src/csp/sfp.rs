//! SFP: octets longer than a packet, in fragments that have to come in order.

use bytes::Bytes;

use super::api::SfpFault;
use super::wire::{SFP_LEN, SfpTrailer};

/// Octets that are sent in fragments.
#[derive(Debug)]
pub(super) struct Fragments {
    data: Bytes,
    mtu: u16,
    next: usize,
}

impl Fragments {
    pub(super) const fn new(data: Bytes, mtu: u16) -> Self {
        Self { data, mtu, next: 0 }
    }

    /// Returns the next fragment, until all are [passed](Self::pass).
    pub(super) fn front(&self) -> Option<(SfpTrailer, &[u8])> {
        let rest = self.data.get(self.next..)?;
        let fragment = rest.get(..usize::from(self.mtu)).unwrap_or(rest);
        let place = SfpTrailer {
            // Bound: `Config::max_sfp` has 32 bits.
            offset: u32::try_from(self.next).ok()?,
            total: u32::try_from(self.data.len()).ok()?,
        };
        (!fragment.is_empty()).then_some((place, fragment))
    }

    /// Goes on behind the next fragment.
    pub(super) fn pass(&mut self) {
        let len = self.front().map_or(0, |(_, fragment)| fragment.len());
        self.next += len;
    }

    /// Takes the next fragment.
    pub(super) fn take(&mut self) -> Option<(SfpTrailer, Bytes)> {
        let (place, fragment) = self.front()?;
        let fragment = self.data.slice_ref(fragment);
        self.pass();
        Some((place, fragment))
    }

    /// Returns how many fragments are left.
    pub(super) fn count(&self) -> usize {
        let rest = self.data.len().saturating_sub(self.next);
        rest.div_ceil(usize::from(self.mtu).max(1))
    }

    /// Returns the octets of all fragments, which the application allocated.
    pub(super) fn octets(&self) -> usize {
        self.data.len()
    }
}

/// How far the fragments of one sender have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reassembly {
    /// The first fragment is awaited.
    #[default]
    Idle,
    Underway {
        next: u32,
        total: u32,
    },
}

/// What becomes of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It follows on those before it.
    Next(SfpTrailer),
    /// It follows on nothing, and is dropped.
    Dropped,
    /// It ends those before it, and is dropped.
    Failed(SfpFault),
    /// It begins anew and so ends those before it; it is to be given again.
    FailedBefore(SfpFault),
}

impl Reassembly {
    pub(super) const fn is_underway(self) -> bool {
        matches!(self, Self::Underway { .. })
    }

    /// Takes a fragment with its trailer.
    pub(super) fn step(&mut self, octets: &[u8], limit: u32) -> Step {
        let before = core::mem::take(self);
        let parts = octets.split_last_chunk::<SFP_LEN>();
        let Some((data, trailer)) = parts.filter(|(data, _)| !data.is_empty()) else {
            return before.fail(SfpFault::Empty);
        };
        let place = SfpTrailer::decode(*trailer);
        let SfpTrailer { offset, total } = place;
        let expected = match before {
            Self::Idle if offset > 0 => return Step::Dropped,
            Self::Idle => 0,
            Self::Underway { next, total: known } => {
                let fault = if offset != next {
                    SfpFault::OutOfOrder {
                        expected: next,
                        offset,
                    }
                } else if total != known {
                    SfpFault::Total {
                        expected: known,
                        total,
                    }
                } else {
                    return self.go_on(place, data);
                };
                if offset == 0 {
                    return Step::FailedBefore(fault);
                }
                return Step::Failed(fault);
            }
        };
        debug_assert_eq!(expected, offset);
        if total > limit {
            return Step::Failed(SfpFault::TooLong { total, limit });
        }
        self.go_on(place, data)
    }

    const fn fail(self, fault: SfpFault) -> Step {
        if self.is_underway() {
            Step::Failed(fault)
        } else {
            Step::Dropped
        }
    }

    fn go_on(&mut self, place: SfpTrailer, data: &[u8]) -> Step {
        let total = place.total;
        let end = u64::from(place.offset) + data.len() as u64;
        let Some(next) = u32::try_from(end).ok().filter(|end| *end <= total) else {
            return Step::Failed(SfpFault::BeyondTotal { end, total });
        };
        if next < total {
            *self = Self::Underway { next, total };
        }
        Step::Next(place)
    }
}

/// Returns a fragment without its trailer.
pub(super) fn without_trailer(mut octets: Bytes) -> Bytes {
    octets.truncate(octets.len().saturating_sub(SFP_LEN));
    octets
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn fragment(offset: u32, total: u32, data: &[u8]) -> Vec<u8> {
        [data, &SfpTrailer { offset, total }.encode()].concat()
    }

    fn step(state: &mut Reassembly, offset: u32, total: u32, data: &[u8]) -> Step {
        state.step(&fragment(offset, total, data), 100)
    }

    fn next(offset: u32, total: u32) -> Step {
        Step::Next(SfpTrailer { offset, total })
    }

    #[test]
    fn fragments_are_cut_off_one_after_the_other() {
        let mut fragments = Fragments::new(Bytes::from("abcdefg"), 3);
        assert_eq!(fragments.count(), 3);
        let mut all = Vec::new();
        while let Some((place, data)) = fragments.take() {
            assert_eq!(place.total, 7);
            all.push((place.offset, data));
        }
        let expected = [(0, "abc"), (3, "def"), (6, "g")];
        assert_eq!(all, expected.map(|(at, data)| (at, Bytes::from(data))));
        assert_eq!((fragments.count(), fragments.octets()), (0, 7));
    }

    #[test]
    fn fragments_in_order_are_taken_and_another_transfer_follows() {
        let mut state = Reassembly::default();
        for _ in 0..2 {
            assert_eq!(step(&mut state, 0, 5, b"ab"), next(0, 5));
            assert_eq!(step(&mut state, 2, 5, b"cd"), next(2, 5));
            assert!(state.is_underway());
            assert_eq!(step(&mut state, 4, 5, b"e"), next(4, 5));
            assert!(!state.is_underway());
        }
    }

    #[test]
    fn a_gap_fails_once_and_what_follows_is_dropped() {
        let mut state = Reassembly::default();
        step(&mut state, 0, 9, b"ab");
        let fault = SfpFault::OutOfOrder {
            expected: 2,
            offset: 4,
        };
        assert_eq!(step(&mut state, 4, 9, b"ef"), Step::Failed(fault));
        assert_eq!(step(&mut state, 6, 9, b"gh"), Step::Dropped);
        assert_eq!(step(&mut state, 0, 2, b"xy"), next(0, 2));
    }

    #[test]
    fn a_first_fragment_ends_those_before_it_and_is_taken_after() {
        let mut state = Reassembly::default();
        step(&mut state, 0, 9, b"ab");
        let fault = SfpFault::OutOfOrder {
            expected: 2,
            offset: 0,
        };
        assert_eq!(step(&mut state, 0, 3, b"xy"), Step::FailedBefore(fault));
        assert_eq!(step(&mut state, 0, 3, b"xy"), next(0, 3));
        assert_eq!(step(&mut state, 2, 3, b"z"), next(2, 3));
    }

    #[test]
    fn fragments_that_contradict_are_refused() {
        let begin = || {
            let mut state = Reassembly::default();
            step(&mut state, 0, 9, b"ab");
            state
        };
        let total = SfpFault::Total {
            expected: 9,
            total: 8,
        };
        assert_eq!(step(&mut begin(), 2, 8, b"c"), Step::Failed(total));
        let beyond = SfpFault::BeyondTotal { end: 10, total: 9 };
        assert_eq!(step(&mut begin(), 2, 9, b"cdefghij"), Step::Failed(beyond));
        assert_eq!(begin().step(b"", 100), Step::Failed(SfpFault::Empty));
        assert_eq!(
            begin().step(&fragment(2, 9, b""), 100),
            Step::Failed(SfpFault::Empty)
        );

        let mut idle = Reassembly::default();
        let too_long = SfpFault::TooLong {
            total: 101,
            limit: 100,
        };
        assert_eq!(step(&mut idle, 0, 101, b"a"), Step::Failed(too_long));
        let beyond = SfpFault::BeyondTotal { end: 1, total: 0 };
        assert_eq!(step(&mut idle, 0, 0, b"a"), Step::Failed(beyond));
        assert_eq!(step(&mut idle, 5, 9, b"a"), Step::Dropped);
        assert_eq!(idle.step(b"", 100), Step::Dropped);
    }
}
