//! Encoding and decoding of packets: the header before the data, and the trailers behind them.
//!
//! A sender appends the trailers in this order: SFP, RDP, HMAC, CRC32. A receiver removes them from the end.

use alloc::vec::Vec;
use core::fmt;

use bitflags::bitflags;
use crc::{CRC_32_ISCSI, Crc, Table};

use crate::wire::{DecodeError, Fault};

/// Octets of a CRC32 trailer.
pub const CRC32_LEN: usize = 4;
/// Octets of an HMAC trailer.
pub const HMAC_LEN: usize = 4;
/// Octets of an XTEA trailer.
pub const XTEA_LEN: usize = 4;
/// Octets of an SFP trailer.
pub const SFP_LEN: usize = 8;
/// The largest port number.
pub const MAX_PORT: u8 = 63;

/// CRC-32C (Castagnoli), which libcsp calls CRC32.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The version of the header.
///
/// No field of a packet contains it. All nodes of a network use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Version {
    /// 4 octets: addresses of 5 bits, flags of 8.
    V1,
    /// 6 octets: addresses of 14 bits, flags of 6.
    #[default]
    V2,
}

impl Version {
    /// Returns the octets of a header.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::V1 => 4,
            Self::V2 => 6,
        }
    }

    /// Returns the address of all nodes, which is also the largest: 31 or 16,383.
    #[must_use]
    pub const fn broadcast(self) -> u16 {
        match self {
            Self::V1 => 0x1F,
            Self::V2 => 0x3FFF,
        }
    }

    /// Returns the bits of an address: 5 or 14.
    #[must_use]
    pub const fn address_bits(self) -> u8 {
        match self {
            Self::V1 => 5,
            Self::V2 => 14,
        }
    }

    /// Returns the flags that fit into a header.
    #[must_use]
    pub const fn flags(self) -> Flags {
        Flags::from_bits_retain(match self {
            Self::V1 => 0xFF,
            Self::V2 => 0x3F,
        })
    }
}

/// The priority of a packet. It decides nothing at the end nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Priority {
    /// 0.
    Critical,
    /// 1.
    High,
    /// 2.
    #[default]
    Normal,
    /// 3.
    Low,
}

impl Priority {
    const fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::Critical,
            1 => Self::High,
            2 => Self::Normal,
            _ => Self::Low,
        }
    }
}

bitflags! {
    /// The flags of a header. Unknown ones are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct Flags: u8 {
        /// A CRC32 trailer follows the data.
        const CRC32 = 0x01;
        /// An RDP trailer follows the data.
        const RDP = 0x02;
        /// The data are encrypted. Version 1 of libcsp alone does so.
        const XTEA = 0x04;
        /// An HMAC trailer follows the data.
        const HMAC = 0x08;
        /// An SFP trailer follows the data: they are a fragment.
        const FRAG = 0x10;
        const _ = !0;
    }
}

impl Flags {
    /// Returns the flags of these trailers.
    pub(super) const fn of_trailers(crc32: bool, hmac: bool) -> Self {
        let crc32 = if crc32 { Self::CRC32 } else { Self::empty() };
        let hmac = if hmac { Self::HMAC } else { Self::empty() };
        crc32.union(hmac)
    }
}

/// The header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Header {
    /// The priority.
    pub priority: Priority,
    /// The address of the sender.
    pub source: u16,
    /// The address of the receiver.
    pub destination: u16,
    /// The port at the receiver, 0 to 63.
    pub destination_port: u8,
    /// The port at the sender, 0 to 63.
    pub source_port: u8,
    /// The flags.
    pub flags: Flags,
}

impl Header {
    /// Decodes the header at the start of `octets`, and returns it with the octets behind it.
    ///
    /// # Errors
    ///
    /// When `octets` are shorter than a header.
    pub fn decode(version: Version, octets: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let len = version.header_len();
        let Some((header, data)) = octets.split_at_checked(len) else {
            return Err(short("header", len, octets.len()));
        };
        let word = header
            .iter()
            .fold(0, |word: u64, octet| word << 8 | u64::from(*octet));
        let layout = Layout::of(version);
        let address = |shift| (low(word >> shift, 16)) & version.broadcast();
        let [_, destination_port] = low(word >> layout.destination_port, 6).to_be_bytes();
        let [_, source_port] = low(word >> layout.source_port, 6).to_be_bytes();
        let [_, flags] = low(word, layout.source_port).to_be_bytes();
        let header = Self {
            priority: Priority::from_bits(low(word >> layout.priority, 2)),
            source: address(layout.source),
            destination: address(layout.destination),
            destination_port,
            source_port,
            flags: Flags::from_bits_retain(flags),
        };
        Ok((header, data))
    }

    /// Tells whether all fields fit into a header of this version.
    #[must_use]
    pub fn fits(self, version: Version) -> bool {
        let addresses = [self.source, self.destination];
        let ports = [self.source_port, self.destination_port];
        addresses.iter().all(|it| *it <= version.broadcast())
            && ports.iter().all(|port| *port <= MAX_PORT)
            && version.flags().contains(self.flags)
    }

    /// Appends the header. Bits that do not [fit](Self::fits) are cut off.
    pub fn encode(self, version: Version, out: &mut Vec<u8>) {
        out.extend_from_slice(tail(&self.word(version), version));
    }

    /// Returns the header, right-aligned.
    pub(super) fn word(self, version: Version) -> [u8; 8] {
        let layout = Layout::of(version);
        let address = |address: u16| u64::from(address & version.broadcast());
        let port = |port: u8| u64::from(port & MAX_PORT);
        let word = (self.priority as u64) << layout.priority
            | address(self.source) << layout.source
            | address(self.destination) << layout.destination
            | port(self.destination_port) << layout.destination_port
            | port(self.source_port) << layout.source_port
            | u64::from((self.flags & version.flags()).bits());
        word.to_be_bytes()
    }

    /// Returns the header of an answer: addresses and ports are swapped.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }
}

/// The lowest bit of each field of a header. The flags begin at bit 0.
struct Layout {
    priority: u8,
    source: u8,
    destination: u8,
    destination_port: u8,
    source_port: u8,
}

impl Layout {
    const fn of(version: Version) -> Self {
        match version {
            Version::V1 => Self {
                priority: 30,
                source: 25,
                destination: 20,
                destination_port: 14,
                source_port: 8,
            },
            Version::V2 => Self {
                priority: 46,
                source: 18,
                destination: 32,
                destination_port: 12,
                source_port: 6,
            },
        }
    }
}

/// Returns the low `bits` of a word, at most 16.
const fn low(word: u64, bits: u8) -> u16 {
    let [low, high, ..] = word.to_le_bytes();
    u16::from_le_bytes([low, high]) & (u16::MAX >> (16 - bits))
}

/// Returns the header at the end of a word.
pub(super) fn tail(word: &[u8; 8], version: Version) -> &[u8] {
    let start = word.len() - version.header_len();
    word.get(start..).unwrap_or_default()
}

/// A packet: a header, the data, and the trailers behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// The data with those trailers that were not removed.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Decodes a packet, whose length is that of the frame.
    ///
    /// # Errors
    ///
    /// When `octets` are shorter than a header.
    pub fn decode(version: Version, octets: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, data) = Header::decode(version, octets)?;
        Ok(Self { header, data })
    }

    /// Returns the octets of the packet.
    #[must_use]
    pub const fn wire_len(&self, version: Version) -> usize {
        version.header_len() + self.data.len()
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        self.header.encode(version, out);
        out.extend_from_slice(self.data);
    }

    /// Removes the CRC32 trailer.
    ///
    /// It may cover the data, as all of libcsp sends it, or the header too, as a build option of 2.x does.
    ///
    /// # Errors
    ///
    /// When the data are shorter than the trailer, or the sum of neither form is the value of the trailer.
    pub fn split_crc32(self, version: Version) -> Result<Self, DecodeError> {
        const FIELD: &str = "crc32";
        let Some((data, &trailer)) = self.data.split_last_chunk::<CRC32_LEN>() else {
            return Err(short(FIELD, CRC32_LEN, self.data.len()));
        };
        let sum = u32::from_be_bytes(trailer);
        // A decoded header encodes to the octets that came.
        let header = self.header.word(version);
        if sum == crc32(&[data]) || sum == crc32(&[tail(&header, version), data]) {
            return Ok(Self { data, ..self });
        }
        Err(DecodeError::new(FIELD, data.len(), Fault::Value(sum)))
    }

    /// Removes the RDP trailer.
    ///
    /// # Errors
    ///
    /// When the data are shorter than the trailer.
    pub fn split_rdp(self) -> Result<(RdpHeader, Self), DecodeError> {
        let Some((data, trailer)) = self.data.split_last_chunk::<{ RdpHeader::LEN }>() else {
            return Err(short("rdp trailer", RdpHeader::LEN, self.data.len()));
        };
        Ok((RdpHeader::decode(*trailer), Self { data, ..self }))
    }

    /// Removes the SFP trailer.
    ///
    /// # Errors
    ///
    /// When the data are shorter than the trailer.
    pub fn split_sfp(self) -> Result<(SfpTrailer, Self), DecodeError> {
        let Some((data, trailer)) = self.data.split_last_chunk::<SFP_LEN>() else {
            return Err(short("sfp trailer", SFP_LEN, self.data.len()));
        };
        Ok((SfpTrailer::decode(*trailer), Self { data, ..self }))
    }
}

/// Returns the CRC32 of `pieces` in order: CRC-32C with all bits set at first and inverted at the end.
///
/// ```
/// assert_eq!(farlink::csp::crc32(&[b"1234", b"56789"]), 0xE306_9283);
/// assert_eq!(farlink::csp::crc32(&[]), 0);
/// ```
#[must_use]
pub fn crc32(pieces: &[&[u8]]) -> u32 {
    let mut digest = CRC32C.digest();
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize()
}

/// A sequence number of RDP, which wraps (RFC 908 section 2.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// Returns the number `count` behind this one.
    #[must_use]
    pub const fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Returns the number `count` before this one.
    #[must_use]
    pub const fn minus(self, count: u16) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Returns how many numbers this one is behind `earlier`, modulo 65,536.
    #[must_use]
    pub const fn distance(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Tells whether it is one of the `count` numbers from `first` on.
    #[must_use]
    pub const fn is_within(self, first: Self, count: u16) -> bool {
        self.distance(first) < count
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

bitflags! {
    /// The flags of an RDP trailer: the low half of its first octet.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    pub struct RdpFlags: u8 {
        /// The connection opens.
        const SYN = 0x08;
        /// The acknowledgement number is valid.
        const ACK = 0x04;
        /// The data list sequence numbers that were received out of order.
        const EAK = 0x02;
        /// The connection is closed, or there is none.
        const RST = 0x01;
    }
}

/// An RDP trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RdpHeader {
    /// The flags.
    pub flags: RdpFlags,
    /// The high half of the first octet: a count of control packets, so that no two that follow each other are
    /// equal. 0 in data packets, and in all of older peers. Receivers ignore it.
    pub count: u8,
    /// The sequence number of the packet. Control packets but SYN have that of the next data packet.
    pub sequence: SequenceNumber,
    /// The last sequence number received in order.
    pub acknowledgement: SequenceNumber,
}

impl RdpHeader {
    /// Octets of an RDP trailer.
    pub const LEN: usize = 5;

    /// Decodes a trailer.
    #[must_use]
    pub const fn decode(octets: [u8; Self::LEN]) -> Self {
        let [flags, s0, s1, a0, a1] = octets;
        Self {
            flags: RdpFlags::from_bits_truncate(flags),
            count: flags >> 4,
            sequence: SequenceNumber(u16::from_be_bytes([s0, s1])),
            acknowledgement: SequenceNumber(u16::from_be_bytes([a0, a1])),
        }
    }

    /// Returns the octets of the trailer. Of `count` the low 4 bits are encoded.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [s0, s1] = self.sequence.0.to_be_bytes();
        let [a0, a1] = self.acknowledgement.0.to_be_bytes();
        [self.count << 4 | self.flags.bits(), s0, s1, a0, a1]
    }
}

/// The options that a SYN proposes, and which hold for both ends.
///
/// `Default` has the values of libcsp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct SynOptions {
    /// Packets that may be sent beyond the last acknowledged one. Default 4.
    pub window: u32,
    /// Milliseconds without a packet of the peer after which the connection ends. Default 10,000.
    pub connection_timeout: u32,
    /// Milliseconds after which libcsp sends an unacknowledged packet again. Default 1000.
    pub packet_timeout: u32,
    /// Whether acknowledgements are delayed: 0 or 1. Default 1.
    pub delayed_acks: u32,
    /// Milliseconds after which a delayed acknowledgement is sent. Default 250.
    pub ack_timeout: u32,
    /// Packets that may be unacknowledged under delayed acknowledgements. Default 2.
    pub ack_delay_count: u32,
}

impl Default for SynOptions {
    fn default() -> Self {
        Self {
            window: 4,
            connection_timeout: 10_000,
            packet_timeout: 1000,
            delayed_acks: 1,
            ack_timeout: 250,
            ack_delay_count: 2,
        }
    }
}

impl SynOptions {
    /// Octets of the options, the data of a SYN.
    pub const LEN: usize = 24;

    /// Decodes the data of a SYN. Octets behind the options are ignored.
    ///
    /// # Errors
    ///
    /// When the data are shorter than the options.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let Some((octets, _)) = data.split_first_chunk::<{ Self::LEN }>() else {
            return Err(short("syn options", Self::LEN, data.len()));
        };
        let (words, _) = octets.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
        // There are six words in as many octets as these.
        let mut next = || words.next().unwrap_or_default();
        Ok(Self {
            window: next(),
            connection_timeout: next(),
            packet_timeout: next(),
            delayed_acks: next(),
            ack_timeout: next(),
            ack_delay_count: next(),
        })
    }

    /// Returns the octets of the options.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let words = [
            self.window,
            self.connection_timeout,
            self.packet_timeout,
            self.delayed_acks,
            self.ack_timeout,
            self.ack_delay_count,
        ];
        let mut octets = [0; Self::LEN];
        let (chunks, _) = octets.as_chunks_mut::<4>();
        for (chunk, word) in chunks.iter_mut().zip(words) {
            *chunk = word.to_be_bytes();
        }
        octets
    }
}

/// Returns the sequence numbers in the data of an EACK. An odd octet at the end is ignored.
pub fn eack_numbers(data: &[u8]) -> impl Iterator<Item = SequenceNumber> {
    let (numbers, _) = data.as_chunks::<2>();
    numbers
        .iter()
        .map(|number| SequenceNumber(u16::from_be_bytes(*number)))
}

/// An SFP trailer: where a fragment belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SfpTrailer {
    /// Octets before the fragment.
    pub offset: u32,
    /// Octets of the whole.
    pub total: u32,
}

impl SfpTrailer {
    /// Decodes a trailer.
    #[must_use]
    pub const fn decode(octets: [u8; SFP_LEN]) -> Self {
        let [o0, o1, o2, o3, t0, t1, t2, t3] = octets;
        Self {
            offset: u32::from_be_bytes([o0, o1, o2, o3]),
            total: u32::from_be_bytes([t0, t1, t2, t3]),
        }
    }

    /// Returns the octets of the trailer.
    #[must_use]
    pub fn encode(self) -> [u8; SFP_LEN] {
        (u64::from(self.offset) << 32 | u64::from(self.total)).to_be_bytes()
    }
}

#[cold]
const fn short(field: &'static str, need: usize, left: usize) -> DecodeError {
    DecodeError::new(field, 0, Fault::Short { need, left })
}
