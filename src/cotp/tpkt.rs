//! TPKT: packets on a byte stream (RFC 1006 section 6).

use alloc::vec::Vec;
use core::fmt;

use super::segment::Lookahead;
use super::wire::DATA_HEADER;
use crate::{Broken, Framing};

/// The version number in the first octet of a packet.
pub const VERSION: u8 = 3;
/// Octets of the packet header.
pub const HEADER: usize = 4;
/// Octets of the shortest packet.
pub const MIN_PACKET: usize = 7;
/// Octets of the longest packet.
pub const MAX_PACKET: usize = 65_535;

const DATA_PACKET_HEADER: usize = HEADER + DATA_HEADER;
/// Octets of the largest buffer that is kept when it is empty. Larger ones are freed, so that an idle
/// connection stays small.
const KEPT_CAPACITY: usize = 16;

/// Why a stream is not a sequence of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum TpktFault {
    /// The version is not 3.
    Version(u8),
    /// The reserved octet is not 0, and [`Strict::RESERVED`](super::Strict::RESERVED) is set.
    Reserved(u8),
    /// The length is below 7.
    TooShort(u16),
    /// The length exceeds the limit.
    TooLong {
        /// The length in the header.
        length: u16,
        /// The limit in octets.
        limit: u16,
    },
}

impl fmt::Display for TpktFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(octet) => write!(f, "TPKT version at offset 0: {octet} is not 3"),
            Self::Reserved(octet) => write!(f, "TPKT reserved octet at offset 1: {octet} is not 0"),
            Self::TooShort(length) => {
                write!(
                    f,
                    "TPKT length at offset 2: {length} is below the minimum of {MIN_PACKET}"
                )
            }
            Self::TooLong { length, limit } => {
                write!(
                    f,
                    "TPKT length at offset 2: {length} exceeds the limit of {limit}"
                )
            }
        }
    }
}

impl core::error::Error for TpktFault {}

/// Splits a stream into packets and returns the TPDU of each.
///
/// The buffer grows with the octets that arrive, never by the length in a header.
#[derive(Debug, Clone)]
pub struct Tpkt {
    limit: u16,
    is_strict: bool,
    /// The received part of a packet.
    buffer: Vec<u8>,
    /// Whether the packet in `buffer` is complete and was returned.
    is_returned: bool,
    /// Octets of user data that the current DT lacks.
    missing: usize,
    /// Whether a packet was completed since the last call of `take_progress`.
    has_progress: bool,
    fault: Option<TpktFault>,
}

/// The next part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamItem<'a> {
    /// A whole TPDU.
    Tpdu(&'a [u8]),
    /// The start of an incomplete DT: its header, the length of its user data, and the first octets of them.
    DataStart {
        header: [u8; DATA_HEADER],
        length: usize,
        first: &'a [u8],
    },
    /// Further user data of that DT, up to its end if `is_end`.
    DataMore { octets: &'a [u8], is_end: bool },
}

impl Tpkt {
    /// Accepts packets of up to `limit` octets. With `is_strict`, a reserved octet other than 0 is refused
    /// (against RFC 2126 section 6.10).
    #[must_use]
    pub const fn new(limit: u16, is_strict: bool) -> Self {
        Self {
            limit,
            is_strict,
            buffer: Vec::new(),
            is_returned: false,
            missing: 0,
            has_progress: false,
            fault: None,
        }
    }

    /// Returns the fault of the stream, if there was one.
    #[must_use]
    pub const fn fault(&self) -> Option<TpktFault> {
        self.fault
    }

    /// Returns the octets of an incomplete packet.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        if self.is_returned { &[] } else { &self.buffer }
    }

    /// Tells whether the next octet begins a packet.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.missing == 0 && self.unfinished().is_empty()
    }

    /// Tells whether the next octet is user data of an incomplete DT.
    pub(super) const fn is_inside_data(&self) -> bool {
        self.missing > 0
    }

    /// Tells whether a packet was completed since the last call.
    pub(super) const fn take_progress(&mut self) -> bool {
        core::mem::replace(&mut self.has_progress, false)
    }

    /// Returns the bytes of memory that the buffer holds.
    pub(super) fn memory_used(&self) -> usize {
        self.buffer.capacity()
    }

    /// Returns the next part of the stream. Unlike [`next`](Framing::next), it returns the user data of a
    /// DT that `chunk` does not hold whole as they arrive, so that they are copied once and not twice.
    pub(super) fn next_item<'a, 'c: 'a>(
        &'a mut self,
        chunk: &mut &'c [u8],
    ) -> Result<Option<StreamItem<'a>>, TpktFault> {
        self.release_returned();
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        if self.missing > 0 {
            let octets = take(chunk, self.missing);
            self.missing -= octets.len();
            self.has_progress |= self.missing == 0;
            return Ok(Some(StreamItem::DataMore {
                octets,
                is_end: self.missing == 0,
            }));
        }
        if self.buffer.is_empty()
            && let Some(packet) = self.whole(chunk)?
        {
            return Ok(Some(StreamItem::Tpdu(packet)));
        }
        self.gather(chunk, DATA_PACKET_HEADER)?;
        let &[_, _, high, low, ref header @ ..] = self.buffer.as_slice() else {
            return Ok(None);
        };
        if let Some(&header @ [2, 0xF0 | 0xF1, _]) = header.first_chunk() {
            self.buffer.clear();
            let packet = usize::from(u16::from_be_bytes([high, low]));
            let length = packet.saturating_sub(DATA_PACKET_HEADER);
            let first = take(chunk, length);
            self.missing = length - first.len();
            self.has_progress |= self.missing == 0;
            return Ok(Some(StreamItem::DataStart {
                header,
                length,
                first,
            }));
        }
        self.rest_of_packet(chunk)
            .map(|packet| packet.map(StreamItem::Tpdu))
    }

    /// Returns the packet at the start of `chunk` if it is complete.
    fn whole<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Option<&'c [u8]>, TpktFault> {
        let verdict = check(chunk, self.limit, self.is_strict);
        let Some(length) = self.latch(verdict)? else {
            return Ok(None);
        };
        let Some((packet, rest)) = chunk.split_at_checked(length) else {
            return Ok(None);
        };
        *chunk = rest;
        self.has_progress = true;
        Ok(packet.get(HEADER..))
    }

    /// Buffers the rest of a packet, and returns the packet when it is complete.
    fn rest_of_packet(&mut self, chunk: &mut &[u8]) -> Result<Option<&[u8]>, TpktFault> {
        let Some(length) = self.gather(chunk, HEADER)? else {
            return Ok(None);
        };
        self.gather(chunk, length)?;
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.is_returned = true;
        self.has_progress = true;
        Ok(self.buffer.get(HEADER..))
    }

    /// Moves octets into the buffer until it holds `target`. Returns the packet length when it is known.
    fn gather(&mut self, chunk: &mut &[u8], target: usize) -> Result<Option<usize>, TpktFault> {
        let lacking = target.saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(take(chunk, lacking));
        let verdict = check(&self.buffer, self.limit, self.is_strict);
        self.latch(verdict)
    }

    fn latch<T>(&mut self, verdict: Result<T, TpktFault>) -> Result<T, TpktFault> {
        verdict.inspect_err(|&fault| self.fault = Some(fault))
    }

    /// Frees the buffer of the packet that was returned last.
    pub(super) fn release_returned(&mut self) {
        if !self.is_returned {
            return;
        }
        self.is_returned = false;
        if self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }
}

impl Default for Tpkt {
    /// Accepts every packet of RFC 1006.
    fn default() -> Self {
        Self::new(u16::MAX, false)
    }
}

impl Framing for Tpkt {
    fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Result<Option<&'a [u8]>, Broken> {
        self.release_returned();
        if self.fault.is_some() {
            return Err(Broken);
        }
        if self.buffer.is_empty()
            && let Some(packet) = self.whole(chunk).map_err(|_| Broken)?
        {
            return Ok(Some(packet));
        }
        self.rest_of_packet(chunk).map_err(|_| Broken)
    }
}

/// Counts the user data in the DTs at the start of `octets`, up to the end of a message.
pub(super) fn look_ahead(mut octets: &[u8]) -> Lookahead {
    let mut ahead = Lookahead::default();
    while let &[VERSION, _, high, low, 2, 0xF0 | 0xF1, last, ref rest @ ..] = octets {
        let length =
            usize::from(u16::from_be_bytes([high, low])).saturating_sub(DATA_PACKET_HEADER);
        let (user_data, behind) = rest.split_at(length.min(rest.len()));
        ahead.octets += user_data.len();
        if last & 0x80 != 0 {
            ahead.is_whole = user_data.len() == length;
            break;
        }
        octets = behind;
    }
    ahead
}

/// Checks the octets of a packet header, and returns the packet length when it is known.
fn check(octets: &[u8], limit: u16, is_strict: bool) -> Result<Option<usize>, TpktFault> {
    match *octets {
        [version, ..] if version != VERSION => Err(TpktFault::Version(version)),
        [_, reserved, ..] if is_strict && reserved != 0 => Err(TpktFault::Reserved(reserved)),
        [_, _, high, low, ..] => match u16::from_be_bytes([high, low]) {
            length if usize::from(length) < MIN_PACKET => Err(TpktFault::TooShort(length)),
            length if length > limit => Err(TpktFault::TooLong { length, limit }),
            length => Ok(Some(usize::from(length))),
        },
        _ => Ok(None),
    }
}

fn take<'c>(chunk: &mut &'c [u8], most: usize) -> &'c [u8] {
    let (taken, rest) = chunk.split_at(most.min(chunk.len()));
    *chunk = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: [u8; 27] = [
        3, 0, 0, 8, 2, 0xF0, 0x80, b'a', 3, 0, 0, 11, 6, 0xE0, 0, 0, 0x12, 0x34, 0, 3, 0, 0, 8, 2,
        0xF0, 0, b'b',
    ];

    /// Splits a stream that arrives in chunks of this size.
    fn frames(tpkt: &mut Tpkt, stream: &[u8], size: usize) -> Result<Vec<Vec<u8>>, Broken> {
        let mut found = Vec::new();
        for mut chunk in stream.chunks(size) {
            while let Some(frame) = tpkt.next(&mut chunk)? {
                found.push(frame.to_vec());
            }
            assert!(chunk.is_empty(), "the chunk is consumed");
        }
        Ok(found)
    }

    #[test]
    fn any_chunking_gives_the_same_packets() {
        let expected = [
            &[2, 0xF0, 0x80, b'a'][..],
            &[6, 0xE0, 0, 0, 0x12, 0x34, 0],
            &[2, 0xF0, 0, b'b'],
        ];

        for size in 1..=PACKETS.len() {
            let found = frames(&mut Tpkt::default(), &PACKETS, size);
            assert_eq!(found.unwrap(), expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_packet_that_is_whole_in_a_chunk_is_borrowed() {
        let mut tpkt = Tpkt::default();
        let stream = PACKETS;
        let mut chunk = &stream[..];

        let frame = tpkt.next(&mut chunk).unwrap().unwrap();

        assert!(core::ptr::eq(frame, &raw const stream[4..8]));
        assert_eq!(tpkt.memory_used(), 0);
    }

    #[test]
    fn user_data_of_a_dt_are_returned_as_they_arrive() {
        let mut tpkt = Tpkt::default();
        let mut first = &[3, 0, 0, 11, 2, 0xF0, 0x80, b'a', b'b'][..];
        let mut last = &[b'c', b'd', 3, 0][..];

        assert_eq!(
            tpkt.next_item(&mut first),
            Ok(Some(StreamItem::DataStart {
                header: [2, 0xF0, 0x80],
                length: 4,
                first: b"ab"
            }))
        );
        assert!(tpkt.is_inside_data() && !tpkt.is_between());
        assert_eq!(tpkt.next_item(&mut first), Ok(None));
        assert_eq!(
            tpkt.next_item(&mut last),
            Ok(Some(StreamItem::DataMore {
                octets: b"cd",
                is_end: true
            }))
        );
        assert!(tpkt.is_between());
        assert!(tpkt.take_progress() && !tpkt.take_progress());
        assert_eq!(tpkt.next_item(&mut last), Ok(None));
        assert_eq!(tpkt.unfinished(), [3, 0]);
    }

    #[test]
    fn a_broken_stream_stays_broken() {
        let mut tpkt = Tpkt::default();
        let mut chunk = &[4, 0x80][..];

        assert_eq!(tpkt.next(&mut chunk), Err(Broken));
        assert_eq!(tpkt.fault(), Some(TpktFault::Version(4)));
        let mut chunk = &PACKETS[..];
        assert_eq!(tpkt.next(&mut chunk), Err(Broken));
        assert_eq!(tpkt.next_item(&mut chunk), Err(TpktFault::Version(4)));
    }

    #[test]
    fn a_version_is_judged_by_its_one_octet_and_a_length_by_its_two() {
        for (octets, fault) in [
            (&[2][..], TpktFault::Version(2)),
            (&[3, 0, 0, 6], TpktFault::TooShort(6)),
            (
                &[3, 0, 0, 21],
                TpktFault::TooLong {
                    length: 21,
                    limit: 20,
                },
            ),
        ] {
            for size in 1..=octets.len() {
                let mut tpkt = Tpkt::new(20, false);
                assert_eq!(frames(&mut tpkt, octets, size), Err(Broken));
                assert_eq!(tpkt.fault(), Some(fault));
            }
        }
        assert_eq!(
            frames(&mut Tpkt::new(20, false), &[3, 0, 0], 1),
            Ok(Vec::new())
        );
    }

    #[test]
    fn the_reserved_octet_counts_only_when_strict() {
        let packet = [3, 1, 0, 7, 2, 0xF0, 0x80];

        assert!(frames(&mut Tpkt::new(u16::MAX, false), &packet, 1).is_ok());
        let mut strict = Tpkt::new(u16::MAX, true);
        assert_eq!(frames(&mut strict, &packet, 1), Err(Broken));
        assert_eq!(strict.fault(), Some(TpktFault::Reserved(1)));
    }

    #[test]
    fn a_large_buffer_is_freed() {
        let mut tpkt = Tpkt::default();
        let mut packet = Vec::from([3, 0, 0x10, 0, 6, 0xE0]);
        packet.resize(0x1000, 7);

        let (head, mut tail) = packet.split_at(100);
        assert_eq!(frames(&mut tpkt, head, 100), Ok(Vec::new()));
        assert_eq!(tpkt.next(&mut tail).unwrap().map(<[u8]>::len), Some(0xFFC));
        assert!(tpkt.memory_used() >= 0xFFC);
        tpkt.release_returned();

        assert_eq!(tpkt.memory_used(), 0);
    }
}
