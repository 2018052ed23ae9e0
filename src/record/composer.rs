//! Composes captures of packets that were on no wire, as those of a simulation.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::lane::BUS_LINK_TYPE;
use super::pages::{APPLICATION, LINK_RAW};
use super::pcapng::{NewPacket, write_interface, write_packet, write_section};
use super::synth::{self, ACK, FIN, PSH, RST, SEGMENT, SYN, Segment};
use crate::Instant;

/// Writes a capture into memory. Interfaces are described as they come up.
pub(crate) struct Composer {
    file: Vec<u8>,
    interfaces: BTreeMap<(u16, String), u32>,
    header: Vec<u8>,
}

/// What stands beside the octets of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    /// The name of the interface that it was seen at.
    pub(crate) interface: &'a str,
    /// When.
    pub(crate) time: Instant,
    /// What is to be said about it; may be empty.
    pub(crate) comment: &'a str,
}

/// The numbers of a TCP segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) sequence: u32,
    /// Of a segment that acknowledges.
    pub(crate) acknowledged: Option<u32>,
    pub(crate) signals: Signals,
}

/// What a TCP segment does beside carrying and acknowledging octets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signals {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
}

impl Composer {
    pub(crate) fn new() -> Self {
        let mut file = Vec::new();
        write_section(&mut file, APPLICATION);
        Self {
            file,
            interfaces: BTreeMap::new(),
            header: Vec::new(),
        }
    }

    /// Adds a datagram between two sockets.
    pub(crate) fn datagram(
        &mut self,
        stamp: Stamp<'_>,
        from: SocketAddr,
        to: SocketAddr,
        octets: &[u8],
    ) {
        synth::udp(&mut self.header, from, to, octets);
        self.write(LINK_RAW, stamp, octets);
    }

    /// Adds a run of a stream, in as many segments as it takes.
    pub(crate) fn run(
        &mut self,
        stamp: Stamp<'_>,
        (from, to): (SocketAddr, SocketAddr),
        numbers: Numbers,
        octets: &[u8],
    ) {
        let pieces = octets.len().div_ceil(SEGMENT).max(1);
        let mut rest = octets;
        let mut sequence = numbers.sequence;
        for piece in 1..=pieces {
            let (octets, later) = rest.split_at(rest.len().min(SEGMENT));
            rest = later;
            let segment = Segment {
                sequence,
                acknowledged: numbers.acknowledged.unwrap_or(0),
                flags: flags(numbers, !octets.is_empty(), piece == pieces),
            };
            synth::tcp(&mut self.header, from, to, segment, octets);
            self.write(LINK_RAW, stamp, octets);
            let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
            sequence = sequence.wrapping_add(length);
        }
    }

    /// Adds a packet as it is, on a bus.
    pub(crate) fn frame(&mut self, stamp: Stamp<'_>, octets: &[u8]) {
        self.header.clear();
        self.write(BUS_LINK_TYPE, stamp, octets);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.file
    }

    fn write(&mut self, link_type: u16, stamp: Stamp<'_>, payload: &[u8]) {
        let packet = NewPacket {
            interface: self.interface(link_type, stamp.interface),
            time: stamp.time.as_nanos(),
            direction: None,
            comment: stamp.comment,
            header: &self.header,
            payload,
            length: None,
        };
        write_packet(&mut self.file, packet, None);
    }

    fn interface(&mut self, link_type: u16, name: &str) -> u32 {
        // Bound: whoever makes four billion interfaces has no memory left for the file.
        let next = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let key = (link_type, String::from(name));
        *self.interfaces.entry(key).or_insert_with(|| {
            write_interface(&mut self.file, link_type, name, 0);
            next
        })
    }
}

/// The flags of one segment of a run; a FIN rides on the last.
fn flags(numbers: Numbers, has_octets: bool, is_last: bool) -> u8 {
    let Signals { syn, fin, rst } = numbers.signals;
    let set = [
        (numbers.acknowledged.is_some(), ACK),
        (has_octets, PSH),
        (syn, SYN),
        (fin && is_last, FIN),
        (rst, RST),
    ];
    let set = set.iter().filter(|(is_set, _)| *is_set);
    set.fold(0, |flags, (_, flag)| flags | flag)
}
