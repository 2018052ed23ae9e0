//! Packets that were seen a short time ago.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::csp::wire::crc32;

/// How long a packet is remembered.
const WINDOW: Duration = Duration::from_millis(100);

/// Copies of a packet that are passed on by the interface that the first came from. A peer sends a packet again when it
/// was lost further on; one that went round a loop comes back by another interface.
const MAX_COPIES: u8 = 2;

/// The packets of the last 0.1 s, by their CRC-32C and length.
///
/// None is forgotten before its time: a loop of more packets than are remembered would go on for ever.
#[derive(Debug)]
pub(in crate::csp) struct Deduplicator {
    /// In the order in which they came.
    seen: VecDeque<Fingerprint>,
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Fingerprint {
    sum: u32,
    len: usize,
    /// The interface that the first came from, and how many more may come from there.
    interface: u8,
    copies: u8,
    until: Instant,
}

/// Whether a packet came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) enum Seen {
    /// Not within the window. It is remembered.
    First,
    /// By the interface that the first came from, and not often.
    Again,
    Repeated,
    /// Not within the window, and too many are remembered to remember it too.
    Full,
}

impl Deduplicator {
    pub(super) fn new(limit: u16) -> Self {
        let limit = usize::from(limit);
        Self {
            seen: VecDeque::with_capacity(limit),
            limit,
        }
    }

    pub(super) fn footprint(limit: u16) -> usize {
        usize::from(limit) * size_of::<Fingerprint>()
    }

    /// Tells whether a packet was seen within the window, and remembers it if not.
    pub(super) fn see(&mut self, now: Instant, interface: u8, octets: &[u8]) -> Seen {
        while self.seen.front().is_some_and(|it| it.until <= now) {
            self.seen.pop_front();
        }
        let (sum, len) = (crc32(&[octets]), octets.len());
        let until = now + WINDOW;
        let mut seen = self.seen.iter();
        if let Some(at) = seen.position(|it| it.sum == sum && it.len == len) {
            let can_pass = |it: &Fingerprint| it.interface == interface && it.copies > 0;
            let Some(known) = self.seen.get(at).copied().filter(can_pass) else {
                return Seen::Repeated;
            };
            self.seen.remove(at);
            self.seen.push_back(Fingerprint {
                copies: known.copies - 1,
                until,
                ..known
            });
            return Seen::Again;
        }
        if self.seen.len() >= self.limit {
            return Seen::Full;
        }
        self.seen.push_back(Fingerprint {
            sum,
            len,
            interface,
            copies: MAX_COPIES,
            until,
        });
        Seen::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_repeated_within_100_ms() {
        let mut seen = Deduplicator::new(128);
        let mut number = 0;
        let mut at = |millis, packet: &[u8]| {
            let now = Instant::ZERO + Duration::from_millis(millis);
            number += 1;
            seen.see(now, number, packet)
        };

        assert_eq!(at(0, b"packet"), Seen::First);
        assert_eq!(at(0, b"another"), Seen::First);
        assert_eq!(at(99, b"packet"), Seen::Repeated);
        assert_eq!(at(100, b"packet"), Seen::First);
        assert_eq!(at(199, b"packet"), Seen::Repeated);
    }

    #[test]
    fn two_copies_from_where_the_first_came_are_told_from_those_of_a_loop() {
        let mut seen = Deduplicator::new(128);
        let mut at = |millis, interface| {
            let now = Instant::ZERO + Duration::from_millis(millis);
            seen.see(now, interface, b"packet")
        };

        assert_eq!((at(0, 1), at(90, 1)), (Seen::First, Seen::Again));
        assert_eq!(at(180, 2), Seen::Repeated, "within 0.1 s of the last");
        assert_eq!((at(189, 1), at(190, 1)), (Seen::Again, Seen::Repeated));
        assert_eq!(at(289, 2), Seen::First);
    }

    #[test]
    fn more_packets_than_are_remembered_make_none_be_forgotten_before_its_time() {
        let mut seen = Deduplicator::new(128);
        for number in 0..128_u16 {
            let packet = number.to_be_bytes();
            assert_eq!(seen.see(Instant::ZERO, 0, &packet), Seen::First);
        }
        assert_eq!(seen.see(Instant::ZERO, 0, b"one more"), Seen::Full);
        assert_eq!(seen.see(Instant::ZERO, 1, &[0, 0]), Seen::Repeated);

        let later = Instant::ZERO + WINDOW;
        assert_eq!(seen.see(later, 0, b"one more"), Seen::First);
    }
}
