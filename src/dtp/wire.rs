//! Encoding and decoding of requests, responses and data packets of the classic dialect.
//!
//! libdtp sends integers in the order of its processor, which is little-endian on all that it runs on. The request inside
//! a message of VMEM is big-endian.

use alloc::vec::Vec;

use crate::wire::{DecodeError, Fault};

/// Octets of a request, and of a response.
pub const REQUEST_LEN: usize = 80;
/// Octets of a request of libdtp between July and November 2025.
pub const LONG_REQUEST_LEN: usize = 84;
/// Octets before the data of a data packet.
pub const DATA_HEADER_LEN: usize = 8;
/// The most intervals of a request.
pub const MAX_INTERVALS: usize = 8;
/// The end of an interval that goes to the end of the payload.
pub const TO_THE_END: u32 = u32::MAX;

/// Octets of the intervals at the end of a request.
const INTERVALS_LEN: usize = 8 * MAX_INTERVALS;
/// Octets of a response that mean something.
const RESPONSE_FIELDS: usize = 8;

/// The order of the octets of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

impl Endian {
    const fn word(self, octets: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        }
    }

    const fn half(self, octets: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        }
    }

    const fn of_word(self, word: u32) -> [u8; 4] {
        match self {
            Self::Little => word.to_le_bytes(),
            Self::Big => word.to_be_bytes(),
        }
    }

    const fn of_half(self, half: u16) -> [u8; 2] {
        match self {
            Self::Little => half.to_le_bytes(),
            Self::Big => half.to_be_bytes(),
        }
    }
}

/// Packets of a payload by their index, both ends included. Packet i begins at i times the octets of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Interval {
    /// The index of the first packet.
    pub start: u32,
    /// The index of the last packet, or [`TO_THE_END`].
    pub end: u32,
}

impl Interval {
    /// All packets of a payload.
    pub const ALL: Self = Self {
        start: 0,
        end: TO_THE_END,
    };
}

/// The intervals of a request, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intervals {
    intervals: [Interval; MAX_INTERVALS],
    count: u8,
}

impl Intervals {
    /// One interval with all packets.
    pub const ALL: Self = {
        let mut intervals = [Interval { start: 0, end: 0 }; MAX_INTERVALS];
        let [first, ..] = &mut intervals;
        *first = Interval::ALL;
        Self {
            intervals,
            count: 1,
        }
    };

    /// Makes the intervals of a request; `None` if there are none or more than 8.
    #[must_use]
    pub fn new(intervals: &[Interval]) -> Option<Self> {
        let mut all = [Interval::default(); MAX_INTERVALS];
        let count = u8::try_from(intervals.len()).ok().filter(|it| *it > 0)?;
        all.get_mut(..intervals.len())?.copy_from_slice(intervals);
        Some(Self {
            intervals: all,
            count,
        })
    }

    /// Returns the intervals.
    #[must_use]
    pub fn as_slice(&self) -> &[Interval] {
        self.intervals
            .get(..usize::from(self.count))
            .unwrap_or_default()
    }
}

/// A request for packets of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Octets per second that the server may send.
    pub throughput: u32,
    /// The payload.
    pub payload: u8,
    /// The session, which each data packet names.
    pub session: u32,
    /// Octets of a data packet, its header included: more than 8.
    pub mtu: u16,
    /// Milliseconds between signs of life of the client; 0 for none, which libdtp always sends.
    pub keep_alive: u16,
    /// What is asked for.
    pub intervals: Intervals,
}

impl Request {
    /// Decodes a request of 80 or 84 octets.
    ///
    /// # Errors
    ///
    /// When the length is another, the throughput is 0, the MTU leaves no room for data, there are no or more than 8
    /// intervals, or one starts behind its end.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let is_long = match octets.len() {
            REQUEST_LEN => false,
            LONG_REQUEST_LEN => true,
            other => return Err(DecodeError::new("request", 0, Fault::Length(other))),
        };
        Self::decode_in(Endian::Little, octets, is_long)
    }

    /// Decodes a request of the right length.
    pub(super) fn decode_in(
        endian: Endian,
        octets: &[u8],
        is_long: bool,
    ) -> Result<Self, DecodeError> {
        // In the long form the keep-alive has 32 bits, behind the MTU and two octets that are not used.
        let (fields, intervals) = octets
            .split_last_chunk::<INTERVALS_LEN>()
            .unwrap_or((octets, &[0; INTERVALS_LEN]));
        let (words, _) = fields.as_chunks::<4>();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let [count, payload, ..] = word(1);
        let [m0, m1, k0, k1] = word(3);
        let keep_alive = if is_long {
            u16::try_from(endian.word(word(4))).unwrap_or(u16::MAX)
        } else {
            endian.half([k0, k1])
        };
        let request = Self {
            throughput: endian.word(word(0)),
            payload,
            session: endian.word(word(2)),
            mtu: endian.half([m0, m1]),
            keep_alive,
            intervals: decode_intervals(endian, intervals, count, fields.len())?,
        };
        if request.throughput == 0 {
            return Err(DecodeError::new("throughput", 0, Fault::Value(0)));
        }
        if usize::from(request.mtu) <= DATA_HEADER_LEN {
            let mtu = u32::from(request.mtu);
            return Err(DecodeError::new("mtu", 12, Fault::Value(mtu)));
        }
        Ok(request)
    }

    /// Returns the octets of the request in its form of 80 octets.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_LEN] {
        self.encode_in(Endian::Little)
    }

    pub(super) fn encode_in(&self, endian: Endian) -> [u8; REQUEST_LEN] {
        let [m0, m1] = endian.of_half(self.mtu);
        let [k0, k1] = endian.of_half(self.keep_alive);
        let intervals = self.intervals.intervals.iter();
        let words = [
            endian.of_word(self.throughput),
            [self.intervals.count, self.payload, 0, 0],
            endian.of_word(self.session),
            [m0, m1, k0, k1],
        ];
        let ends = intervals.flat_map(|it| [endian.of_word(it.start), endian.of_word(it.end)]);
        let mut octets = [0; REQUEST_LEN];
        let (places, _) = octets.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip(words.into_iter().chain(ends)) {
            *place = word;
        }
        octets
    }

    /// Returns the octets of a payload in each data packet but the last.
    #[must_use]
    pub fn chunk(&self) -> u32 {
        // Bound: the header has 8 octets.
        u32::from(self.mtu).saturating_sub(8).max(1)
    }
}

fn decode_intervals(
    endian: Endian,
    octets: &[u8; INTERVALS_LEN],
    count: u8,
    offset: usize,
) -> Result<Intervals, DecodeError> {
    if count == 0 || usize::from(count) > MAX_INTERVALS {
        let count = u32::from(count);
        return Err(DecodeError::new("nof_intervals", 4, Fault::Value(count)));
    }
    let mut intervals = [Interval::default(); MAX_INTERVALS];
    let (pairs, _) = octets.as_chunks::<8>();
    // Those behind the count are old memory of libdtp.
    let used = intervals.iter_mut().zip(pairs).take(usize::from(count));
    for (at, (interval, pair)) in used.enumerate() {
        let [s0, s1, s2, s3, e0, e1, e2, e3] = *pair;
        *interval = Interval {
            start: endian.word([s0, s1, s2, s3]),
            end: endian.word([e0, e1, e2, e3]),
        };
        if interval.start > interval.end {
            let fault = Fault::Value(interval.start);
            return Err(DecodeError::new("interval start", offset + 8 * at, fault));
        }
    }
    Ok(Intervals { intervals, count })
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Response {
    /// Octets that will be sent. That of libdtp is wrong where an interval does not go to the end.
    pub size: u32,
    /// Octets of the whole payload.
    pub payload_size: u32,
}

impl Response {
    /// Decodes a response. What follows its two fields is old memory of libdtp.
    ///
    /// # Errors
    ///
    /// When it is shorter than its two fields.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let Some(([s0, s1, s2, s3, p0, p1, p2, p3], _)) =
            octets.split_first_chunk::<RESPONSE_FIELDS>()
        else {
            let fault = Fault::Short {
                need: RESPONSE_FIELDS,
                left: octets.len(),
            };
            return Err(DecodeError::new("response", 0, fault));
        };
        Ok(Self {
            size: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
            payload_size: u32::from_le_bytes([*p0, *p1, *p2, *p3]),
        })
    }

    /// Returns the octets of the response: as many as libdtp sends, those behind the fields 0.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_LEN] {
        let mut octets = [0; REQUEST_LEN];
        let (places, _) = octets.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().zip([self.size, self.payload_size]) {
            *place = word.to_le_bytes();
        }
        octets
    }
}

/// A packet of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataPacket<'a> {
    /// Octets of the payload before the data.
    pub offset: u32,
    /// The session of the request.
    pub session: u32,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> DataPacket<'a> {
    /// Decodes a data packet.
    ///
    /// # Errors
    ///
    /// When it is shorter than its header.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let Some(([o0, o1, o2, o3, s0, s1, s2, s3], data)) =
            octets.split_first_chunk::<DATA_HEADER_LEN>()
        else {
            let fault = Fault::Short {
                need: DATA_HEADER_LEN,
                left: octets.len(),
            };
            return Err(DecodeError::new("data packet", 0, fault));
        };
        Ok(Self {
            offset: u32::from_le_bytes([*o0, *o1, *o2, *o3]),
            session: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
            data,
        })
    }

    /// Returns the octets of the packet.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        DATA_HEADER_LEN + self.data.len()
    }

    /// Returns the octets before the data.
    #[must_use]
    pub const fn header(&self) -> [u8; DATA_HEADER_LEN] {
        let [o0, o1, o2, o3] = self.offset.to_le_bytes();
        let [s0, s1, s2, s3] = self.session.to_le_bytes();
        [o0, o1, o2, o3, s0, s1, s2, s3]
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header());
        out.extend_from_slice(self.data);
    }
}
