//! Frames of Ethernet: packets in segments, each with the number and the length of its packet.

use alloc::vec::Vec;
use core::fmt;

use super::FrameStats;
use super::partials::Partials;
use crate::Instant;
use crate::wire::{DecodeError, Fault};

/// The ethertype of CSP, one for local experiments.
const ETHERTYPE: u16 = 0x88B5;
/// Octets before the segment.
const HEADER: usize = 22;
/// Stations whose addresses are remembered.
const STATIONS: usize = 10;

/// An address of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct EtherAddress(pub [u8; 6]);

impl EtherAddress {
    /// The address of all stations.
    pub const BROADCAST: Self = Self([0xFF; 6]);

    const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for EtherAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

/// A frame of Ethernet with a segment of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetFrame<'a> {
    /// The station that it is for.
    pub to: EtherAddress,
    /// The station that sends it.
    pub from: EtherAddress,
    /// What tells the packet from others of its source.
    pub number: u16,
    /// The address of the source of the packet.
    pub source: u16,
    /// Octets of the packet with its header.
    pub length: u16,
    /// The segment, of at most 65,535 octets.
    pub segment: &'a [u8],
}

impl<'a> EthernetFrame<'a> {
    /// Decodes a frame. Octets behind the segment are padding and ignored.
    ///
    /// # Errors
    ///
    /// When it is shorter than it says, or has another ethertype.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let short = |field, offset, need, left| {
            DecodeError::new(field, offset, Fault::Short { need, left })
        };
        let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else {
            return Err(short("header", 0, HEADER, octets.len()));
        };
        let &[t0, t1, t2, t3, t4, t5, f0, f1, f2, f3, f4, f5, fields @ ..] = header;
        let (fields, _): (&[[u8; 2]], _) = fields.as_chunks();
        let &[ethertype, number, source, size, length] = fields else {
            return Err(short("header", 0, HEADER, octets.len()));
        };
        let ethertype = u16::from_be_bytes(ethertype);
        if ethertype != ETHERTYPE {
            let fault = Fault::Value(ethertype.into());
            return Err(DecodeError::new("ethertype", 12, fault));
        }
        let size = usize::from(u16::from_be_bytes(size));
        let Some(segment) = rest.get(..size) else {
            return Err(short("segment", HEADER, size, rest.len()));
        };
        Ok(Self {
            to: EtherAddress([t0, t1, t2, t3, t4, t5]),
            from: EtherAddress([f0, f1, f2, f3, f4, f5]),
            number: u16::from_be_bytes(number),
            source: u16::from_be_bytes(source),
            length: u16::from_be_bytes(length),
            segment,
        })
    }

    /// Returns the octets of the encoded frame.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        HEADER + self.segment.len()
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let size = u16::try_from(self.segment.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&self.to.0);
        out.extend_from_slice(&self.from.0);
        for field in [ETHERTYPE, self.number, self.source, size, self.length] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(self.segment);
    }

    /// Returns the octets of the longest segment in frames of at most `mtu` octets.
    pub(super) const fn longest_segment(mtu: u16) -> usize {
        let octets = (mtu as usize).saturating_sub(HEADER);
        if octets == 0 { 1 } else { octets }
    }
}

/// Puts packets together from frames of Ethernet, and remembers which station has which address.
///
/// Segments say nothing of their place, so they have to come in order; swapped ones of full length give a wrong
/// packet, which CRC32 finds.
#[derive(Debug)]
pub struct EthernetReassembler {
    address: EtherAddress,
    max_packet: usize,
    partials: Partials<State>,
    stations: [Option<(u16, EtherAddress)>; STATIONS],
    /// The station that is forgotten next.
    next_station: usize,
    stats: FrameStats,
}

/// What has come of a packet.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    received: usize,
    length: u16,
    /// Octets of every segment but the last.
    segment: usize,
}

impl EthernetReassembler {
    /// Takes packets of up to `max_packet` octets with their headers, for the station at `address` and for all.
    #[must_use]
    pub fn new(address: EtherAddress, max_packet: usize) -> Self {
        Self {
            address,
            max_packet,
            partials: Partials::new(max_packet),
            stations: [None; STATIONS],
            next_station: 0,
            stats: FrameStats::default(),
        }
    }

    /// Returns the bytes that it allocates.
    #[must_use]
    pub const fn footprint(max_packet: usize) -> usize {
        Partials::<State>::footprint(max_packet)
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> FrameStats {
        self.stats
    }

    /// Returns the station that a node was last heard from, else that of all.
    #[must_use]
    pub fn address_of(&self, node: u16) -> EtherAddress {
        let mut known = self.stations.iter().flatten();
        let known = known.find(|(address, _)| *address == node);
        known.map_or(EtherAddress::BROADCAST, |(_, station)| *station)
    }

    /// Takes a frame, and returns the packet with its header of which it is the last one.
    pub fn receive<'a>(&'a mut self, now: Instant, octets: &'a [u8]) -> Option<&'a [u8]> {
        self.partials.expire(now, &mut self.stats);
        let Ok(frame) = EthernetFrame::decode(octets) else {
            self.stats.malformed += 1;
            return None;
        };
        if frame.to != self.address && !frame.to.is_group() {
            self.stats.other_address += 1;
            return None;
        }
        if !frame.from.is_group() && frame.from != self.address {
            self.learn(frame.source, frame.from);
        }
        let (length, segment) = (usize::from(frame.length), frame.segment);
        if segment.is_empty() || segment.len() > length {
            self.stats.malformed += 1;
            return None;
        }
        if length > self.max_packet {
            self.stats.too_long += 1;
            return None;
        }
        let key = u32::from(frame.number) << 16 | u32::from(frame.source);
        let known = self.partials.find(key).filter(|at| {
            let state = self.partials.state(*at);
            let is_same = state.is_some_and(|it| it.length == frame.length);
            self.stats.superseded += u64::from(!is_same);
            is_same
        });
        if known.is_none() && segment.len() == length {
            return Some(segment);
        }
        let at = known.unwrap_or_else(|| self.begin(key, &frame));
        self.add(now, at, segment)
    }

    /// Forgets all unfinished packets.
    pub fn clear(&mut self) {
        self.partials.clear();
    }

    fn begin(&mut self, key: u32, frame: &EthernetFrame<'_>) -> usize {
        let at = self.partials.find_or_insert(key, &mut self.stats);
        self.partials.set(
            at,
            State {
                received: 0,
                length: frame.length,
                segment: frame.segment.len(),
            },
        );
        at
    }

    fn add(&mut self, now: Instant, at: usize, segment: &[u8]) -> Option<&[u8]> {
        let partial = self.partials.hear(at, now)?;
        let state = &mut partial.state;
        let (start, length) = (state.received, usize::from(state.length));
        let end = start + segment.len();
        // Only the last one is shorter than the others.
        if end > length || (end < length && segment.len() != state.segment) {
            self.stats.incomplete += 1;
            self.partials.take(at);
            return None;
        }
        state.received = end;
        partial.put(start, segment);
        if end < length {
            return None;
        }
        self.partials.take(at).get(..length)
    }

    fn learn(&mut self, node: u16, station: EtherAddress) {
        let mut known = self.stations.iter().flatten();
        if known.any(|it| *it == (node, station)) {
            return;
        }
        let is_node = |it: &Option<(u16, _)>| it.is_some_and(|(address, _)| address == node);
        let at = self.stations.iter().position(is_node).unwrap_or_else(|| {
            let next = self.next_station;
            self.next_station = (next + 1) % STATIONS;
            next
        });
        if let Some(place) = self.stations.get_mut(at) {
            *place = Some((node, station));
        }
    }
}
