//! Packets that were seen a short time ago.

use core::time::Duration;

use crate::Instant;
use crate::csp::wire::crc32;

/// How long a packet is remembered.
const WINDOW: Duration = Duration::from_millis(100);
/// Packets that are remembered; libcsp has 15.
const PACKETS: usize = 128;

/// The packets of the last 0.1 s, by their CRC-32C and length, at most 128.
#[derive(Debug)]
pub(in crate::csp) struct Deduplicator {
    seen: [Fingerprint; PACKETS],
    next: usize,
}

#[derive(Debug, Clone, Copy)]
struct Fingerprint {
    sum: u32,
    len: usize,
    until: Instant,
}

impl Deduplicator {
    pub(in crate::csp) const fn new() -> Self {
        let none = Fingerprint {
            sum: 0,
            len: 0,
            until: Instant::ZERO,
        };
        Self {
            seen: [none; PACKETS],
            next: 0,
        }
    }

    /// Tells whether a packet was seen within the window, and remembers it if not.
    pub(in crate::csp) fn is_repeated(&mut self, now: Instant, octets: &[u8]) -> bool {
        let (sum, len) = (crc32(&[octets]), octets.len());
        let is_seen = |it: &Fingerprint| it.sum == sum && it.len == len && now < it.until;
        if self.seen.iter().any(is_seen) {
            return true;
        }
        let until = now + WINDOW;
        if let Some(place) = self.seen.get_mut(self.next) {
            *place = Fingerprint { sum, len, until };
        }
        self.next = (self.next + 1) % PACKETS;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_repeated_within_100_ms() {
        let mut seen = Deduplicator::new();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);

        assert!(!seen.is_repeated(at(0), b"packet"));
        assert!(!seen.is_repeated(at(0), b"another"));
        assert!(seen.is_repeated(at(99), b"packet"));
        assert!(!seen.is_repeated(at(100), b"packet"));
        assert!(seen.is_repeated(at(199), b"packet"));
    }

    #[test]
    fn the_oldest_of_more_than_128_is_forgotten() {
        let mut seen = Deduplicator::new();
        for number in 0..129_u16 {
            assert!(!seen.is_repeated(Instant::ZERO, &number.to_be_bytes()));
        }
        assert!(seen.is_repeated(Instant::ZERO, &1_u16.to_be_bytes()));
        assert!(!seen.is_repeated(Instant::ZERO, &0_u16.to_be_bytes()));
    }
}
