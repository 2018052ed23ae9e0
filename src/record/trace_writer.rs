//! Writes captures of packets that were on no wire, such as those of a simulation.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::headers::{self, ACK, FIN, PSH, RST, SEGMENT, SYN, Segment};
use super::interface::BUS_LINK_TYPE;
use super::pcapng::{NewPacket, write_interface, write_packet, write_section};
use super::section_writer::{APPLICATION, LINK_RAW};
use crate::Instant;

/// Writes a capture into memory. An interface is described at its first use.
pub(crate) struct TraceWriter {
    file: Vec<u8>,
    interfaces: BTreeMap<(u16, String), u32>,
    header: Vec<u8>,
}

/// Time, interface and comment of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketInfo<'a> {
    /// The name of its interface.
    pub(crate) interface: &'a str,
    /// Its time.
    pub(crate) time: Instant,
    /// A comment; may be empty.
    pub(crate) comment: &'a str,
}

/// The numbers of a TCP segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentNumbers {
    pub(crate) sequence: u32,
    /// `None` if it acknowledges nothing.
    pub(crate) acknowledged: Option<u32>,
    pub(crate) flags: SegmentFlags,
}

/// The flags of a TCP segment other than ACK and PSH.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegmentFlags {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
}

impl TraceWriter {
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
        info: PacketInfo<'_>,
        from: SocketAddr,
        to: SocketAddr,
        octets: &[u8],
    ) {
        headers::udp(&mut self.header, from, to, octets);
        self.write(LINK_RAW, info, octets);
    }

    /// Adds octets of a stream, in as many segments as they need.
    pub(crate) fn stream(
        &mut self,
        info: PacketInfo<'_>,
        (from, to): (SocketAddr, SocketAddr),
        numbers: SegmentNumbers,
        octets: &[u8],
    ) {
        let segments = octets.len().div_ceil(SEGMENT).max(1);
        let mut rest = octets;
        let mut sequence = numbers.sequence;
        for number in 1..=segments {
            let (octets, later) = rest.split_at(rest.len().min(SEGMENT));
            rest = later;
            let segment = Segment {
                sequence,
                acknowledged: numbers.acknowledged.unwrap_or(0),
                flags: flags(numbers, !octets.is_empty(), number == segments),
            };
            headers::tcp(&mut self.header, from, to, segment, octets);
            self.write(LINK_RAW, info, octets);
            let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
            sequence = sequence.wrapping_add(length);
        }
    }

    /// Adds a packet of a bus, without headers.
    pub(crate) fn frame(&mut self, info: PacketInfo<'_>, octets: &[u8]) {
        self.header.clear();
        self.write(BUS_LINK_TYPE, info, octets);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.file
    }

    fn write(&mut self, link_type: u16, info: PacketInfo<'_>, payload: &[u8]) {
        let packet = NewPacket {
            interface: self.interface(link_type, info.interface),
            time: info.time.as_nanos(),
            direction: None,
            comment: info.comment,
            header: &self.header,
            payload,
            length: None,
        };
        write_packet(&mut self.file, packet, None);
    }

    fn interface(&mut self, link_type: u16, name: &str) -> u32 {
        // Four billion interfaces do not fit into memory.
        let next = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let key = (link_type, String::from(name));
        *self.interfaces.entry(key).or_insert_with(|| {
            write_interface(&mut self.file, link_type, name, 0);
            next
        })
    }
}

/// Returns the flags of one segment; only the last has the FIN.
fn flags(numbers: SegmentNumbers, has_octets: bool, is_last: bool) -> u8 {
    let SegmentFlags { syn, fin, rst } = numbers.flags;
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
