//! All that one interface does to packets.

use alloc::vec::Vec;

use super::can::CanFrame;
use super::cfp1::{Cfp1Packet, Cfp1Reassembler};
use super::cfp2::{Cfp2Packet, Cfp2Reassembler};
use super::ethernet::{EtherAddress, EthernetFrame, EthernetReassembler};
use super::kiss::{Kiss, encode_kiss, longest_frame};
use super::zmq::ByteOrder;
use super::{Encapsulation, FrameStats};
use crate::csp::wire::{Header, Version};
use crate::{Addr as _, Hop, Instant, Transmit};

/// Turns the packets of one interface into what it carries, and back.
///
/// It allocates when it is made alone. At most one packet waits in it to be sent.
#[derive(Debug)]
pub struct InterfaceCodec {
    version: Version,
    address: u16,
    max_packet: usize,
    kind: Kind,
    outgoing: Outgoing,
    stats: FrameStats,
}

/// What is left of a packet to be sent in several frames.
#[derive(Debug)]
struct Outgoing {
    to: Hop,
    /// The packet, or its frame on a stream. Empty if nothing waits.
    octets: Vec<u8>,
    /// Frames, or octets of a stream, that were written.
    written: usize,
    /// Packets before it.
    number: u16,
}

#[derive(Debug)]
enum Kind {
    Packet,
    NextHop(ByteOrder, Vec<u8>),
    Kiss { framing: Kiss, has_crc32: bool },
    Cfp1(Cfp1Reassembler, bool),
    Cfp2(Cfp2Reassembler, bool),
    Ethernet(EthernetReassembler, EtherAddress, u16),
    I2c,
}

/// What became of a packet that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a packet has these outcomes")]
pub enum Pushed {
    /// It was written, or waits in the codec in part.
    Done,
    /// It fits into the next transmit.
    Later,
    /// It exceeds what the interface or the limits of a transmit can carry, and was dropped.
    TooLong,
}

impl InterfaceCodec {
    /// Makes the codec of an interface with an address, of packets of up to `max_data` octets of data.
    #[must_use]
    pub fn new(
        encapsulation: Encapsulation,
        version: Version,
        address: u16,
        max_data: usize,
    ) -> Self {
        let max_packet = version.header_len() + max_data;
        let kind = match (encapsulation, version) {
            (Encapsulation::Packet, _) => Kind::Packet,
            (Encapsulation::NextHop(order), _) => {
                Kind::NextHop(order, Vec::with_capacity(max_packet))
            }
            (Encapsulation::Kiss { crc32 }, _) => Kind::Kiss {
                framing: Kiss::new(version, crc32, max_packet),
                has_crc32: crc32,
            },
            (Encapsulation::Can { promiscuous }, Version::V1) => {
                Kind::Cfp1(Cfp1Reassembler::new(max_data), promiscuous)
            }
            (Encapsulation::Can { promiscuous }, Version::V2) => {
                Kind::Cfp2(Cfp2Reassembler::new(max_data), promiscuous)
            }
            (Encapsulation::Ethernet { address, mtu }, _) => {
                Kind::Ethernet(EthernetReassembler::new(address, max_packet), address, mtu)
            }
            (Encapsulation::I2c, _) => Kind::I2c,
        };
        Self {
            version,
            address,
            max_packet,
            kind,
            outgoing: Outgoing {
                to: Hop {
                    interface: 0,
                    via: 0,
                },
                octets: Vec::with_capacity(outgoing(encapsulation, max_packet)),
                written: 0,
                number: 0,
            },
            stats: FrameStats::default(),
        }
    }

    /// Returns the bytes that it allocates.
    #[must_use]
    pub const fn footprint(
        encapsulation: Encapsulation,
        version: Version,
        max_data: usize,
    ) -> usize {
        let max_packet = version.header_len() + max_data;
        let incoming = match (encapsulation, version) {
            (Encapsulation::Packet | Encapsulation::I2c, _) => 0,
            (Encapsulation::NextHop(_), _) => max_packet,
            (Encapsulation::Kiss { .. }, _) => Kiss::footprint(max_packet),
            (Encapsulation::Can { .. }, Version::V1) => Cfp1Reassembler::footprint(max_data),
            (Encapsulation::Can { .. }, Version::V2) => Cfp2Reassembler::footprint(max_data),
            (Encapsulation::Ethernet { .. }, _) => EthernetReassembler::footprint(max_packet),
        };
        incoming + outgoing(encapsulation, max_packet)
    }

    /// Returns what was counted of frames that gave no packet.
    #[must_use]
    pub const fn stats(&self) -> FrameStats {
        match &self.kind {
            Kind::Kiss { framing, .. } => framing.stats(),
            Kind::Cfp1(frames, _) => frames.stats().plus_unread(self.stats),
            Kind::Cfp2(frames, _) => frames.stats().plus_unread(self.stats),
            Kind::Ethernet(frames, ..) => frames.stats(),
            Kind::Packet | Kind::NextHop(..) | Kind::I2c => self.stats,
        }
    }

    /// Tells whether the octets of the interface are a stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Kiss { .. })
    }

    /// Forgets what has come of packets and what is left to be sent, since the interface begins anew.
    pub fn clear(&mut self) {
        self.outgoing.octets.clear();
        match &mut self.kind {
            Kind::Kiss { framing, .. } => framing.clear(),
            Kind::Cfp1(frames, _) => frames.clear(),
            Kind::Cfp2(frames, _) => frames.clear(),
            Kind::Ethernet(frames, ..) => frames.clear(),
            Kind::Packet | Kind::NextHop(..) | Kind::I2c => {}
        }
    }

    /// Returns the next packet with its header in a datagram, or in the next octets of a stream, and advances `octets`
    /// past those that it took. `None` once nothing is left.
    pub fn next_packet<'a, 'c: 'a>(
        &'a mut self,
        now: Instant,
        octets: &mut &'c [u8],
    ) -> Option<&'a [u8]> {
        let datagram = if self.is_stream() {
            &[]
        } else {
            core::mem::take(octets)
        };
        let (stats, address) = (&mut self.stats, (self.version, self.address));
        match &mut self.kind {
            Kind::Kiss { framing, .. } => framing.next_packet(octets),
            _ if datagram.is_empty() => None,
            Kind::Packet => Some(datagram),
            Kind::NextHop(order, memory) => {
                let (_, packet) = datagram.split_first()?;
                if *order == ByteOrder::BigEndian {
                    return Some(packet);
                }
                if packet.len() > self.max_packet {
                    stats.too_long += 1;
                    return None;
                }
                memory.clear();
                memory.extend_from_slice(packet);
                reverse_header(memory, self.version);
                Some(memory)
            }
            Kind::Cfp1(frames, promiscuous) => {
                let frame = decode(datagram, stats)?;
                let to = Cfp1Reassembler::destination(&frame);
                takes(*promiscuous, to, address, stats).then_some(())?;
                frames.receive(now, &frame)
            }
            Kind::Cfp2(frames, promiscuous) => {
                let frame = decode(datagram, stats)?;
                let to = Cfp2Reassembler::destination(&frame);
                takes(*promiscuous, to, address, stats).then_some(())?;
                frames.receive(now, &frame)
            }
            Kind::Ethernet(frames, ..) => frames.receive(now, datagram),
            Kind::I2c => datagram.get(1..),
        }
    }

    /// Writes a packet to the next hop `to`: its header, and its data in pieces.
    ///
    /// What was left of the one before has to be [flushed](Self::flush) first.
    pub fn push(
        &mut self,
        tx: &mut Transmit<Hop>,
        to: Hop,
        header: &[u8],
        data: &[&[u8]],
    ) -> Pushed {
        let octets = header.len() + data.iter().map(|piece| piece.len()).sum::<usize>();
        let [_, via] = to.via.to_be_bytes();
        match &self.kind {
            _ if self.pending().is_some() => return Pushed::Later,
            Kind::Packet => return push_packet(tx, to, header, data),
            Kind::NextHop(order, _) => {
                let (order, version) = (*order, self.version);
                return push(tx, to, 1 + octets, |out| {
                    out.push(via & 0x1F);
                    let start = out.len();
                    extend(out, header, data);
                    if order == ByteOrder::LittleEndian {
                        reverse_header(out.get_mut(start..).unwrap_or_default(), version);
                    }
                });
            }
            Kind::I2c => {
                return push(tx, to, 1 + octets, |out| {
                    out.push(via << 1);
                    extend(out, header, data);
                });
            }
            Kind::Cfp1(..) if octets > Cfp1Packet::LONGEST => return Pushed::TooLong,
            _ if octets > self.max_packet => return Pushed::TooLong,
            Kind::Kiss { has_crc32, .. } => {
                encode_kiss(header, data, *has_crc32, &mut self.outgoing.octets);
            }
            Kind::Cfp1(..) | Kind::Cfp2(..) | Kind::Ethernet(..) => {
                extend(&mut self.outgoing.octets, header, data);
            }
        }
        self.outgoing.to = if self.is_stream() { to.carrier() } else { to };
        self.outgoing.written = 0;
        match self.flush(tx) {
            Pushed::Later if self.outgoing.written == 0 => {
                // Nothing of it is on its way, so all of it waits where it was.
                self.outgoing.octets.clear();
                Pushed::Later
            }
            Pushed::Done | Pushed::Later => Pushed::Done,
            Pushed::TooLong => Pushed::TooLong,
        }
    }

    /// Returns where the rest of a packet goes that was written in part.
    #[must_use]
    pub const fn pending(&self) -> Option<Hop> {
        if self.outgoing.octets.is_empty() {
            return None;
        }
        Some(self.outgoing.to)
    }

    /// Writes what is left of a packet. [`Pushed::Later`] if not all of it fits.
    pub fn flush(&mut self, tx: &mut Transmit<Hop>) -> Pushed {
        if self.pending().is_none() {
            return Pushed::Done;
        }
        let pushed = if self.is_stream() {
            self.outgoing.flush_stream(tx)
        } else {
            self.flush_frames(tx)
        };
        if pushed != Pushed::Later {
            self.outgoing.octets.clear();
            self.outgoing.number = self.outgoing.number.wrapping_add(1);
        }
        pushed
    }

    fn flush_frames(&mut self, tx: &mut Transmit<Hop>) -> Pushed {
        loop {
            match self.push_frame(tx, self.outgoing.written) {
                Some(Pushed::Done) => self.outgoing.written += 1,
                Some(other) => return other,
                None => return Pushed::Done,
            }
        }
    }

    /// Writes a frame of the packet that is being sent, if there are so many.
    fn push_frame(&self, tx: &mut Transmit<Hop>, place: usize) -> Option<Pushed> {
        let Outgoing {
            to, octets, number, ..
        } = &self.outgoing;
        let frame = match &self.kind {
            Kind::Cfp1(..) => Cfp1Packet::new(octets, to.via, *number)?.frame(place)?,
            Kind::Cfp2(..) => Cfp2Packet::new(octets, self.address, *number)?.frame(place)?,
            Kind::Ethernet(frames, from, mtu) => {
                let longest = EthernetFrame::longest_segment(*mtu);
                let (header, _) = Header::decode(self.version, octets).ok()?;
                let frame = EthernetFrame {
                    to: frames.address_of(to.via),
                    from: *from,
                    // libcsp begins with 1.
                    number: number.wrapping_add(1),
                    source: header.source,
                    // Bound: a packet fits into a UDP datagram.
                    length: u16::try_from(octets.len()).unwrap_or(u16::MAX),
                    segment: octets.chunks(longest).nth(place)?,
                };
                return Some(push(tx, *to, frame.wire_len(), |out| frame.encode(out)));
            }
            Kind::Packet | Kind::NextHop(..) | Kind::Kiss { .. } | Kind::I2c => return None,
        };
        Some(push(tx, *to, frame.wire_len(), |out| frame.encode(out)))
    }
}

impl Outgoing {
    fn flush_stream(&mut self, tx: &mut Transmit<Hop>) -> Pushed {
        let rest = self.octets.get(self.written..).unwrap_or_default();
        let count = rest.len().min(tx.room_in_stream(self.to));
        let taken = rest.get(..count).unwrap_or_default();
        tx.append(self.to, count, |out| out.extend_from_slice(taken));
        self.written += count;
        if self.written == self.octets.len() {
            Pushed::Done
        } else {
            Pushed::Later
        }
    }
}

/// Returns the octets of the longest thing that waits to be sent.
const fn outgoing(encapsulation: Encapsulation, max_packet: usize) -> usize {
    match encapsulation {
        Encapsulation::Packet | Encapsulation::NextHop(_) | Encapsulation::I2c => 0,
        Encapsulation::Kiss { .. } => longest_frame(max_packet),
        Encapsulation::Can { .. } | Encapsulation::Ethernet { .. } => max_packet,
    }
}

/// Writes a packet as a datagram.
fn push_packet(tx: &mut Transmit<Hop>, to: Hop, header: &[u8], data: &[&[u8]]) -> Pushed {
    let octets = header.len() + data.iter().map(|piece| piece.len()).sum::<usize>();
    push(tx, to, octets, |out| extend(out, header, data))
}

fn push(
    tx: &mut Transmit<Hop>,
    to: Hop,
    octets: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Pushed {
    if tx.push(to, octets, write) {
        Pushed::Done
    } else if tx.is_empty() {
        Pushed::TooLong
    } else {
        Pushed::Later
    }
}

fn extend(out: &mut Vec<u8>, header: &[u8], data: &[&[u8]]) {
    out.extend_from_slice(header);
    for piece in data {
        out.extend_from_slice(piece);
    }
}

fn reverse_header(packet: &mut [u8], version: Version) {
    let header = packet.get_mut(..version.header_len());
    header.unwrap_or_default().reverse();
}

fn decode(datagram: &[u8], stats: &mut FrameStats) -> Option<CanFrame> {
    let frame = CanFrame::decode(datagram).ok();
    stats.malformed += u64::from(frame.is_none());
    frame
}

/// Tells whether a node at an address takes the frames to another one.
const fn takes(
    promiscuous: bool,
    to: u16,
    (version, address): (Version, u16),
    stats: &mut FrameStats,
) -> bool {
    let takes = promiscuous || to == address || to == version.broadcast();
    if !takes {
        stats.other_address += 1;
    }
    takes
}
