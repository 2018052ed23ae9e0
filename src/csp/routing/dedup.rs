//! Packets that were seen a short time ago.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::csp::wire::crc32;

/// How long a packet is remembered.
const WINDOW: Duration = Duration::from_millis(100);

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
    until: Instant,
}

/// Whether a packet came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) enum Seen {
    /// Not within the window. It is remembered.
    First,
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
    pub(super) fn see(&mut self, now: Instant, octets: &[u8]) -> Seen {
        while self.seen.front().is_some_and(|it| it.until <= now) {
            self.seen.pop_front();
        }
        let (sum, len) = (crc32(&[octets]), octets.len());
        if self.seen.iter().any(|it| it.sum == sum && it.len == len) {
            return Seen::Repeated;
        }
        if self.seen.len() >= self.limit {
            return Seen::Full;
        }
        let until = now + WINDOW;
        self.seen.push_back(Fingerprint { sum, len, until });
        Seen::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_repeated_within_100_ms() {
        let mut seen = Deduplicator::new(128);
        let mut at = |millis, packet: &[u8]| {
            let now = Instant::ZERO + Duration::from_millis(millis);
            seen.see(now, packet)
        };

        assert_eq!(at(0, b"packet"), Seen::First);
        assert_eq!(at(0, b"another"), Seen::First);
        assert_eq!(at(99, b"packet"), Seen::Repeated);
        assert_eq!(at(100, b"packet"), Seen::First);
        assert_eq!(at(199, b"packet"), Seen::Repeated);
    }

    #[test]
    fn more_packets_than_are_remembered_make_none_be_forgotten_before_its_time() {
        let mut seen = Deduplicator::new(128);
        for number in 0..128_u16 {
            let packet = number.to_be_bytes();
            assert_eq!(seen.see(Instant::ZERO, &packet), Seen::First);
        }
        assert_eq!(seen.see(Instant::ZERO, b"one more"), Seen::Full);
        assert_eq!(seen.see(Instant::ZERO, &[0, 0]), Seen::Repeated);

        let later = Instant::ZERO + WINDOW;
        assert_eq!(seen.see(later, b"one more"), Seen::First);
    }
}
