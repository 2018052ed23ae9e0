//! What an application has of a payload, so that a transfer can go on later.

mod meta;
mod own;

use alloc::vec::Vec;
use core::error::Error as StdError;
use core::fmt;
use core::ops::Range;

use super::digest::PayloadDigest;
use super::extension::PayloadIdentity;
use super::wire::Interval;

/// What an application has of a payload: all that another transfer needs to bring the rest.
///
/// [`to_meta`](Self::to_meta) makes a session file of libdtp of it, [`encode`](Self::encode) one of this crate, which
/// knows the payload and has a check. [`decode`](Self::decode) takes both.
///
/// ```
/// use farlink::dtp::{GetOptions, Session};
///
/// let mut session = Session::new((1, 3), GetOptions::default(), 0x900D_FACE, 1000);
/// session.add(0, &[7; 200]);
/// session.add(400, &[7; 200]);
/// assert_eq!(session.missing().collect::<Vec<_>>(), [200..400, 600..1000]);
/// assert_eq!(Session::decode(&session.encode()), Ok(session));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[expect(clippy::exhaustive_structs, reason = "what a session file holds")]
pub struct Session {
    /// The address of the server.
    pub server: u16,
    /// The payload; 0 of memory.
    pub payload: u8,
    /// The address of the memory that is got by VMEM; `None` of a payload, or from a session file of libdtp.
    #[cfg_attr(feature = "serde", serde(default))]
    pub address: Option<u64>,
    /// Octets of a data packet, its header of 8 octets included.
    pub mtu: u16,
    /// Octets per second that the server may send.
    pub throughput: u32,
    /// Seconds of silence after which libdtp gives up.
    pub idle_timeout: u8,
    /// The session id in data packets.
    pub id: u32,
    /// Octets of the payload.
    pub size: u32,
    /// What a server of this crate has told of the payload.
    pub identity: Option<PayloadIdentity>,
    /// The sum of what was received, by [`PayloadDigest`]; `None` if it is not known.
    pub sum: Option<u32>,
    /// The packets that were received, ascending and neither overlapping nor touching.
    pub received: Vec<Interval>,
}

impl Session {
    /// The idle timeout in files for libdtp, in seconds.
    const IDLE_TIMEOUT: u8 = 5;

    /// Begins without any octets of a payload of so many.
    #[must_use]
    pub fn new(
        (server, payload): (u16, u8),
        options: super::GetOptions,
        id: u32,
        size: u32,
    ) -> Self {
        Self {
            server,
            payload,
            address: None,
            mtu: options.mtu,
            throughput: options.throughput,
            idle_timeout: Self::IDLE_TIMEOUT,
            id,
            size,
            identity: None,
            sum: Some(0),
            received: Vec::new(),
        }
    }

    /// Returns the octets of the payload in each packet but the last.
    #[must_use]
    pub fn chunk(&self) -> u32 {
        u32::from(self.mtu).saturating_sub(8).max(1)
    }

    /// Returns the packets of the whole payload.
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.size.div_ceil(self.chunk())
    }

    /// Takes octets as received. They begin with a packet, and end with one or with the payload.
    pub fn add(&mut self, offset: u32, octets: &[u8]) {
        let chunk = self.chunk();
        let start = offset / chunk;
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let packets = len.div_ceil(chunk);
        let Some(last) = packets.checked_sub(1) else {
            return;
        };
        let before = self.received_packets();
        self.insert(Interval {
            start,
            end: start.saturating_add(last),
        });
        // Octets that come twice would cancel each other out.
        let is_fresh = self.received_packets() - before == packets;
        self.sum = self.sum.filter(|_| is_fresh).map(|sum| {
            let mut digest = PayloadDigest::of(self.size, sum);
            digest.add(offset, octets);
            digest.crc32c()
        });
    }

    /// Takes packets as received. Those past the end are none.
    fn insert(&mut self, interval: Interval) {
        let Some(last) = self.packets().checked_sub(1) else {
            return;
        };
        let (mut start, mut end) = (interval.start, interval.end.min(last));
        if start > end {
            return;
        }
        let touches = |it: &Interval| it.end.saturating_add(1) < start;
        let first = self.received.partition_point(touches);
        let behind = self
            .received
            .partition_point(|it| it.start <= end.saturating_add(1));
        for joined in self.received.get(first..behind).unwrap_or_default() {
            start = start.min(joined.start);
            end = end.max(joined.end);
        }
        let all = first..behind.max(first);
        self.received.splice(all, [Interval { start, end }]);
    }

    fn received_packets(&self) -> u32 {
        let packets = self.received.iter().map(|it| it.end - it.start + 1);
        packets.sum()
    }

    /// Returns the octets that were received.
    #[must_use]
    pub fn received_octets(&self) -> u64 {
        let octets = self.received.iter().map(|it| self.octets_of(*it));
        octets.map(|it| it.end - it.start).sum()
    }

    /// Returns the octets of some packets.
    fn octets_of(&self, packets: Interval) -> Range<u64> {
        let chunk = u64::from(self.chunk());
        let end = (u64::from(packets.end) + 1) * chunk;
        u64::from(packets.start) * chunk..end.min(self.size.into())
    }

    /// Returns the ranges of octets that were received, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.received.iter().map(|it| self.octets_of(*it))
    }

    /// Returns the ranges of octets that are missing, ascending.
    pub fn missing(&self) -> impl Iterator<Item = Range<u64>> {
        let size = u64::from(self.size);
        let ends = self.ranges().chain(core::iter::once(size..size));
        let gaps = ends.scan(0, |behind, range| {
            let gap = *behind..range.start;
            *behind = range.end;
            Some(gap)
        });
        gaps.filter(|gap| !gap.is_empty())
    }

    /// Tells whether all octets of a range were received.
    #[must_use]
    pub fn has(&self, range: &Range<u64>) -> bool {
        range.is_empty()
            || self
                .ranges()
                .any(|it| it.start <= range.start && range.end <= it.end)
    }

    /// Decodes a session file of this crate or of libdtp.
    ///
    /// # Errors
    ///
    /// Names the field and its value that no session has.
    pub fn decode(octets: &[u8]) -> Result<Self, SessionError> {
        match own::decode(octets) {
            Some(decoded) => decoded,
            None => meta::decode(octets),
        }
    }

    /// Returns the session file of this crate. The check at its end tells a damaged one.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        own::encode(self)
    }

    /// Returns the session file of libdtp, which goes on with it.
    ///
    /// Where the last packet alone is missing, the one before counts as missing too: libdtp does not see a lone last
    /// packet.
    #[must_use]
    pub fn to_meta(&self) -> Vec<u8> {
        meta::encode(self)
    }

    /// Takes the ranges of a file, in any order and overlapping.
    fn with_ranges(mut self, ranges: impl Iterator<Item = Interval>) -> Result<Self, SessionError> {
        if self.mtu <= 8 {
            return Err(SessionError::Mtu(self.mtu));
        }
        let mut all: Vec<Interval> = ranges.collect();
        if let Some(at) = all.iter().position(|it| it.start > it.end) {
            let Interval { start, end } = all.swap_remove(at);
            return Err(SessionError::Range { start, end });
        }
        // Ascending, each is added at the end.
        all.sort_unstable();
        for interval in all {
            self.insert(interval);
        }
        Ok(self)
    }
}

/// Why octets are no session file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// It is shorter than its fields.
    Short {
        /// Its octets.
        octets: usize,
        /// Those that its fields need.
        needed: usize,
    },
    /// The version of the format is another.
    Version(u32),
    /// The MTU leaves no room for data.
    Mtu(u16),
    /// It is not as long as its count of ranges says.
    Count {
        /// The count of ranges.
        count: u32,
        /// Its octets.
        octets: usize,
        /// Those that so many ranges need.
        needed: u64,
    },
    /// A range starts behind its end.
    Range {
        /// The first packet.
        start: u32,
        /// The last packet.
        end: u32,
    },
    /// Its check is not the CRC-32C of its octets.
    Check {
        /// The check.
        check: u32,
        /// The CRC-32C.
        crc32c: u32,
    },
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { octets, needed } => {
                write!(
                    f,
                    "session file of {octets} octets is shorter than its fields, {needed}"
                )
            }
            Self::Version(version) => write!(
                f,
                "session file has format version {version}, 2 of libdtp and that of farlink are known"
            ),
            Self::Mtu(mtu) => write!(f, "session file has an mtu of {mtu}, at least 9 is needed"),
            Self::Count {
                count,
                octets,
                needed,
            } => write!(
                f,
                "session file has a count of {count} received ranges, which need {needed} octets, and {octets} octets"
            ),
            Self::Range { start, end } => {
                write!(f, "session file has a received range {start} to {end}")
            }
            Self::Check { check, crc32c } => write!(
                f,
                "session file has the check {check:#010x}, and the CRC-32C of its octets is {crc32c:#010x}"
            ),
        }
    }
}

impl StdError for SessionError {}

fn word(words: &mut core::slice::Iter<'_, [u8; 4]>) -> u32 {
    words.next().map_or(0, |word| u32::from_le_bytes(*word))
}

fn intervals(octets: &[u8]) -> impl Iterator<Item = Interval> {
    let (pairs, _) = octets.as_chunks::<8>();
    pairs
        .iter()
        .map(|[s0, s1, s2, s3, e0, e1, e2, e3]| Interval {
            start: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
            end: u32::from_le_bytes([*e0, *e1, *e2, *e3]),
        })
}

fn encode_intervals(intervals: &[Interval], out: &mut Vec<u8>) {
    // Bound: packets have indexes of 32 bits.
    let count = u32::try_from(intervals.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for interval in intervals {
        out.extend_from_slice(&interval.start.to_le_bytes());
        out.extend_from_slice(&interval.end.to_le_bytes());
    }
}
