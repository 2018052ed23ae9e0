//! The lines of the table.

use core::time::Duration;

/// Octets per second in each direction: 100 Mbit/s.
pub(crate) const RATE: u64 = 12_500_000;
/// Octets of a block.
pub(crate) const BLOCK: usize = 128 * 1370;
/// Octets of a segment.
pub(crate) const SEGMENT: usize = 1400;

pub(crate) const DISTANCES: [(&str, Duration); 4] = [
    ("1 ms", Duration::from_millis(1)),
    ("1.3 s", Duration::from_millis(1300)),
    ("4 min", Duration::from_secs(240)),
    ("20 min", Duration::from_secs(1200)),
];
/// Losses in parts per million.
pub(crate) const LOSSES: [(&str, u32); 5] = [
    ("0", 0),
    ("0.001", 1_000),
    ("0.01", 10_000),
    ("0.1", 100_000),
    ("0.3", 300_000),
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) owlt: Duration,
    pub(crate) loss: u32,
}

impl Scene {
    /// How long a segment takes to send.
    pub(crate) fn radiation(len: usize) -> Duration {
        Duration::from_nanos(len as u64 * 1_000_000_000 / RATE)
    }
}
