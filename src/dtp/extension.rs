//! What nodes of this crate tell each other beyond libdtp, which sees none of it.
//!
//! A server puts an [`Extension`] behind the fields of its response, where libdtp sends old memory. To a server that
//! did so a client sends [`AskHeader`]s with more intervals on the same connection, and the server tells by [`Done`]
//! when it has sent them.

use bytes::BytesMut;

use super::wire::{Interval, REQUEST_LEN};
use crate::csp::crc32;

/// Octets of the fields of a response.
const FIELDS_LEN: usize = 8;
/// Octets that the check covers: the fields of the response and those of the extension.
const CHECKED_LEN: usize = 28;
const EXTENSION_MAGIC: [u8; 4] = *b"FDtp";
const ASK_MAGIC: [u8; 4] = *b"FDta";
const DONE_MAGIC: [u8; 4] = *b"FDtd";
/// The version of what follows the magic.
const VERSION: u8 = 1;
/// Octets of a number of 32 bits in groups of 7 bits.
const MAX_NUMBER_LEN: usize = 5;
/// Octets of the longest interval of an ask.
pub(super) const MAX_INTERVAL_LEN: usize = 2 * MAX_NUMBER_LEN;

/// What tells a payload from another of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[expect(clippy::exhaustive_structs, reason = "a value of applications too")]
pub struct PayloadIdentity {
    /// The CRC-32C of all its octets, where the server knows it.
    pub crc32c: Option<u32>,
    /// A number that the server's application gives each version of a payload.
    pub generation: u32,
}

impl PayloadIdentity {
    /// Tells whether both can be of the same payload: the CRC-32C decides where both are known.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        match (self.crc32c, other.crc32c) {
            (Some(one), Some(other)) => one == other,
            _ => self.generation == other.generation,
        }
    }
}

/// What a server tells behind the fields of a response.
///
/// | offset | field |
/// |---|---|
/// | 8 | `"FDtp"` |
/// | 12 | version, 1 |
/// | 13 | 1 if the CRC-32C is known |
/// | 14 | asks that may wait on the connection |
/// | 15 | 0 |
/// | 16 | CRC-32C of the payload |
/// | 20 | generation of the payload |
/// | 24 | octets of the longest ask |
/// | 26 | 0 |
/// | 28 | CRC-32C of octets 0 to 27 and the session id |
///
/// The session in the check tells an extension from one in old memory of a libdtp that has talked to this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) identity: PayloadIdentity,
    pub(super) asks: u8,
    pub(super) ask_len: u16,
}

impl Extension {
    /// Puts it into the octets of a response.
    pub(super) fn encode(self, session: u32, response: &mut [u8; REQUEST_LEN]) {
        let [len_low, len_high] = self.ask_len.to_le_bytes();
        let words = [
            EXTENSION_MAGIC,
            [VERSION, self.identity.crc32c.is_some().into(), self.asks, 0],
            self.identity.crc32c.unwrap_or_default().to_le_bytes(),
            self.identity.generation.to_le_bytes(),
            [len_low, len_high, 0, 0],
        ];
        let (places, _) = response.as_chunks_mut::<4>();
        for (place, word) in places.iter_mut().skip(FIELDS_LEN / 4).zip(words) {
            *place = word;
        }
        let check = check(response, session).to_le_bytes();
        if let Some(place) = response.get_mut(CHECKED_LEN..CHECKED_LEN + check.len()) {
            place.copy_from_slice(&check);
        }
    }

    /// Finds it in the octets of a response to a request of this session.
    pub(super) fn decode(response: &[u8], session: u32) -> Option<Self> {
        let (words, _) = response.as_chunks::<4>();
        let [_, _, magic, about, crc, generation, [l0, l1, ..], sum, ..] = *words else {
            return None;
        };
        let [version, has_crc, asks, _] = about;
        if magic != EXTENSION_MAGIC
            || version != VERSION
            || u32::from_le_bytes(sum) != check(response, session)
        {
            return None;
        }
        Some(Self {
            identity: PayloadIdentity {
                crc32c: (has_crc == 1).then(|| u32::from_le_bytes(crc)),
                generation: u32::from_le_bytes(generation),
            },
            asks,
            ask_len: u16::from_le_bytes([l0, l1]),
        })
    }
}

fn check(response: &[u8], session: u32) -> u32 {
    let fields = response.get(..CHECKED_LEN).unwrap_or_default();
    crc32(&[fields, &session.to_le_bytes()])
}

/// The head of an ask: more packets for a session, on the connection of its request.
///
/// | offset | field |
/// |---|---|
/// | 0 | `"FDta"` |
/// | 4 | session id |
/// | 8 | throughput from here on, 0 for no change |
/// | 12 | number of the round |
/// | 14 | 1 if it is the last ask of the round |
/// | 15 | 0 |
/// | 16 | intervals, ascending |
///
/// Each interval is two numbers: the packets between it and the one before, and its packets. Numbers are in groups of 7
/// bits, the lowest first; the eighth bit says that another group follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskHeader {
    pub(super) session: u32,
    pub(super) throughput: u32,
    pub(super) round: u16,
    pub(super) is_last: bool,
}

impl AskHeader {
    pub(super) const LEN: usize = 16;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let [round_low, round_high] = self.round.to_le_bytes();
        join([
            ASK_MAGIC,
            self.session.to_le_bytes(),
            self.throughput.to_le_bytes(),
            [round_low, round_high, self.is_last.into(), 0],
        ])
    }

    /// Returns the head, and the intervals behind it.
    pub(super) fn decode(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (head, intervals) = octets.split_first_chunk::<{ Self::LEN }>()?;
        let (words, _) = head.as_chunks::<4>();
        let [magic, session, throughput, [r0, r1, is_last, _]] = *words else {
            return None;
        };
        let head = Self {
            session: u32::from_le_bytes(session),
            throughput: u32::from_le_bytes(throughput),
            round: u16::from_le_bytes([r0, r1]),
            is_last: is_last != 0,
        };
        (magic == ASK_MAGIC).then_some((head, intervals))
    }
}

/// Tells that all packets of a round were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) session: u32,
    pub(super) round: u16,
}

impl Done {
    pub(super) const LEN: usize = 12;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let [low, high] = self.round.to_le_bytes();
        join([DONE_MAGIC, self.session.to_le_bytes(), [low, high, 0, 0]])
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let (words, _) = octets.as_chunks::<4>();
        let [DONE_MAGIC, session, [low, high, ..], ..] = *words else {
            return None;
        };
        Some(Self {
            session: u32::from_le_bytes(session),
            round: u16::from_le_bytes([low, high]),
        })
    }
}

fn join<const WORDS: usize, const LEN: usize>(words: [[u8; 4]; WORDS]) -> [u8; LEN] {
    let mut octets = [0; LEN];
    let (places, _) = octets.as_chunks_mut::<4>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word;
    }
    octets
}

/// Appends an interval behind the packet `behind`.
pub(super) fn encode_interval(interval: Interval, behind: u32, out: &mut BytesMut) {
    encode_number(interval.start.saturating_sub(behind), out);
    encode_number((interval.end - interval.start).saturating_add(1), out);
}

fn encode_number(mut number: u32, out: &mut BytesMut) {
    while number > 0x7F {
        // Bound: 8 bits.
        out.extend_from_slice(&[(number & 0x7F) as u8 | 0x80]);
        number >>= 7;
    }
    out.extend_from_slice(&[(number & 0x7F) as u8]);
}

/// The intervals of an ask that have not been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IntervalReader {
    /// Octets that were read.
    offset: usize,
    /// The packet behind the last interval.
    behind: u32,
}

impl IntervalReader {
    /// Takes the next interval; `None` at the end, and where octets are no interval.
    pub(super) fn next(&mut self, octets: &[u8]) -> Option<Interval> {
        let start = self.number(octets)?.checked_add(self.behind)?;
        let packets = self.number(octets)?;
        let end = start.checked_add(packets.checked_sub(1)?)?;
        self.behind = end.checked_add(1)?;
        Some(Interval { start, end })
    }

    /// Tells whether `octets` are nothing but intervals of a payload of so many packets.
    pub(super) fn is_valid(octets: &[u8], packets: u32) -> bool {
        let mut reader = Self::default();
        while reader.offset < octets.len() {
            if reader.next(octets).is_none_or(|it| it.end >= packets) {
                return false;
            }
        }
        true
    }

    fn number(&mut self, octets: &[u8]) -> Option<u32> {
        let mut number: u64 = 0;
        for group in 0..MAX_NUMBER_LEN {
            let octet = *octets.get(self.offset)?;
            self.offset += 1;
            number |= u64::from(octet & 0x7F) << (7 * group);
            if octet & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::dtp::wire::Response;

    fn extension(crc32c: Option<u32>) -> Extension {
        Extension {
            identity: PayloadIdentity {
                crc32c,
                generation: 7,
            },
            asks: 32,
            ask_len: 251,
        }
    }

    fn response() -> [u8; REQUEST_LEN] {
        Response {
            size: 90,
            payload_size: 100,
        }
        .encode()
    }

    #[test]
    fn an_extension_is_found_by_the_session_it_was_made_for_alone() {
        for crc32c in [Some(0x1234_5678), Some(0), None] {
            let mut octets = response();
            extension(crc32c).encode(99, &mut octets);

            assert_eq!(Extension::decode(&octets, 99), Some(extension(crc32c)));
            assert_eq!(Extension::decode(&octets, 98), None, "of another session");
            assert_eq!(Response::decode(&octets), Response::decode(&response()));
            for place in 0..32 {
                let mut octets = octets;
                octets[place] ^= 1;
                assert_eq!(Extension::decode(&octets, 99), None, "octet {place}");
            }
        }
        assert_eq!(Extension::decode(&response(), 99), None, "of libdtp");
        assert_eq!(Extension::decode(&[0; 8], 99), None, "short");
    }

    #[test]
    fn asks_and_dones_come_back() {
        let head = AskHeader {
            session: 0x900D_FACE,
            throughput: 1000,
            round: 300,
            is_last: true,
        };
        let octets = [&head.encode()[..], b"rest"].concat();
        assert_eq!(AskHeader::decode(&octets), Some((head, &b"rest"[..])));
        assert_eq!(AskHeader::decode(&octets[..15]), None);
        let done = Done {
            session: 5,
            round: 300,
        };
        assert_eq!(Done::decode(&done.encode()), Some(done));
        assert_eq!(Done::decode(&octets), None);
    }

    #[test]
    fn intervals_come_back_and_take_two_octets_where_they_are_near() {
        let pairs = [(3, 3), (4, 9), (100, 227), (100_000, u32::MAX - 1)];
        let mut octets = BytesMut::new();
        let mut behind = 0;
        let mut lengths = Vec::new();
        for (start, end) in pairs {
            let interval = Interval { start, end };
            encode_interval(interval, behind, &mut octets);
            behind = end + 1;
            lengths.push(octets.len());
        }

        assert_eq!(lengths, [2, 4, 7, 15]);
        let mut reader = IntervalReader::default();
        for (start, end) in pairs {
            assert_eq!(reader.next(&octets), Some(Interval { start, end }));
        }
        assert_eq!(reader.next(&octets), None);
        assert!(IntervalReader::is_valid(&octets, u32::MAX));
        assert!(!IntervalReader::is_valid(&octets, u32::MAX - 1));
        assert!(IntervalReader::is_valid(&[], 0));
        for bad in [
            &[1][..],
            &[0x80],
            &[0, 0],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 1],
        ] {
            assert!(!IntervalReader::is_valid(bad, u32::MAX), "{bad:?}");
        }
    }
}
