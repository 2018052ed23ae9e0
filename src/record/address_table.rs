//! The addresses of a recording: their table, their interfaces, and the synthetic packets between them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io;

use super::call::{Op, Record};
use super::headers::{self, ACK, FIN, PSH, RST, SYN, Segment, Stream};
use super::interface::{Interface, RecordAddr};
use super::pcapng::PacketDirection;
use super::section_writer::{LINK_PDU, NETWORK, PendingPacket, SectionWriter, count};
use crate::{Ask, Cause, Instant, Link, Path, Proto};

/// The longest address in JSON, in octets.
const MAX_ADDRESS: usize = 4096;
/// The most addresses in the table; beyond it, the table is emptied.
const MAX_ADDRESSES: usize = 1 << 14;
/// The name of the interface for datagrams with tags.
const OTHER_PORTS: &str = "network, other ports";
/// The most buses of one part.
const MAX_BUSES: usize = 1 << 10;
/// The most octets of a stream on a bus in one packet. Wireshark refuses packets over 256 KiB.
const BUS_PACKET: usize = 128 << 10;

pub(super) type InterfaceOf<A> = Box<dyn FnMut(A) -> Interface + Send>;

/// Octets that were sent or received.
pub(super) enum Payload<'a> {
    /// One datagram, or octets of a stream. On a stream or a bus it may take several packets.
    Chunk(&'a [u8]),
    /// Datagrams of this size; the last may be shorter.
    Datagrams(&'a [u8], usize),
}

struct AddressEntry {
    /// Its index in the table of the current part.
    index: u32,
    interface: Interface,
    /// The number of its interface in the current part.
    interface_id: u32,
    stream: Stream,
    /// The part to which `index` and `interface_id` belong.
    part: u32,
}

pub(super) struct AddressTable<A> {
    interface_of: InterfaceOf<A>,
    /// The port by which analysers know the protocol, or 0.
    port: u16,
    entries: BTreeMap<A, AddressEntry>,
    /// The part to which `next_index` and `interface_ids` belong.
    part: u32,
    /// The index that a reader gives to the next address.
    next_index: u32,
    interface_ids: BTreeMap<(u16, String), u32>,
    /// The number of streams so far. It decides their first sequence number, so that successive streams of one
    /// path can be told apart.
    stream_count: u32,
    header: Vec<u8>,
}

impl<A: RecordAddr> AddressTable<A> {
    pub(super) fn new(interface_of: InterfaceOf<A>, port: u16) -> Self {
        Self {
            interface_of,
            port,
            entries: BTreeMap::new(),
            part: 0,
            next_index: 0,
            interface_ids: BTreeMap::new(),
            stream_count: 0,
            header: Vec::new(),
        }
    }

    pub(super) fn set_interfaces(&mut self, interface_of: InterfaceOf<A>) {
        self.interface_of = interface_of;
    }

    /// Writes octets of either direction, and the record that `op` makes of the index of the address and the
    /// number of packets.
    pub(super) fn write_octets(
        &mut self,
        section: &mut SectionWriter,
        now: Instant,
        at: A,
        direction: PacketDirection,
        payload: &Payload<'_>,
        op: impl FnOnce(u32, u64) -> Op<'static>,
    ) {
        self.ensure_entry(section, at);
        let Some(entry) = self.entries.get_mut(&at) else {
            return;
        };
        let (octets, size) = match *payload {
            Payload::Chunk(octets) => (octets, entry.packet_size()),
            Payload::Datagrams(octets, size) => (octets, size),
        };
        let packets = octets.len().div_ceil(size).max(1);
        let record = Record::Call(now, op(entry.index, count(packets)));
        for number in 0..packets {
            let start = number * size;
            let end = octets.len().min(start.saturating_add(size));
            let payload = octets.get(start..end).unwrap_or_default();
            entry.write_headers(&mut self.header, direction, PSH | ACK, payload);
            let packet = PendingPacket {
                interface: entry.interface_id,
                now,
                direction,
                header: &self.header,
                payload,
            };
            if number + 1 < packets {
                section.packet(packet);
            } else {
                section.packet_with(packet, &record);
            }
        }
    }

    /// Adds the address to the table of this part, unless it is there.
    fn ensure_entry(&mut self, section: &mut SectionWriter, at: A) {
        if section.part() != self.part {
            self.part = section.part();
            self.next_index = 0;
            self.interface_ids.clear();
        }
        if self
            .entries
            .get(&at)
            .is_some_and(|entry| entry.part == self.part)
        {
            return;
        }
        if self.entries.len() >= MAX_ADDRESSES {
            self.entries.clear();
            self.next_index = 0;
            section.record(&Record::Forget);
        }
        match self.write_address(section, at) {
            Ok((interface, interface_id)) => {
                let stream = self.entries.get(&at).map(|entry| entry.stream);
                let entry = AddressEntry {
                    index: self.next_index,
                    interface,
                    interface_id,
                    stream: stream.unwrap_or_else(|| self.next_stream()),
                    part: self.part,
                };
                self.next_index += 1;
                self.entries.insert(at, entry);
            }
            Err(error) => section.fail(error),
        }
    }

    fn write_address(
        &mut self,
        section: &mut SectionWriter,
        at: A,
    ) -> io::Result<(Interface, u32)> {
        let interface = (self.interface_of)(at);
        let id = match &interface {
            Interface::Network(_) => NETWORK,
            Interface::ReadAs { .. } => self.interface_id(section, LINK_PDU, OTHER_PORTS)?,
            Interface::Bus { link_type, .. } if *link_type == LINK_PDU => {
                let link_type = alloc::format!("a bus cannot have the link type {LINK_PDU}");
                return Err(io::Error::other(link_type));
            }
            Interface::Bus { name, link_type } => self.interface_id(section, *link_type, name)?,
        };
        let address = serde_json::to_vec(&at)?;
        if address.len() > MAX_ADDRESS {
            let length = address.len();
            let limit =
                alloc::format!("address of {length} octets exceeds the limit of {MAX_ADDRESS}");
            return Err(io::Error::other(limit));
        }
        section.record(&Record::Address(&address));
        Ok((interface, id))
    }

    /// Returns the number of the interface of this name, which is described at its first use in a part.
    fn interface_id(
        &mut self,
        section: &mut SectionWriter,
        link_type: u16,
        name: &str,
    ) -> io::Result<u32> {
        if let Some(&id) = self.interface_ids.get(&(link_type, name.into())) {
            return Ok(id);
        }
        if self.interface_ids.len() >= MAX_BUSES {
            let limit = alloc::format!("limit of {MAX_BUSES} buses in a part reached");
            return Err(io::Error::other(limit));
        }
        let id = section.interface(link_type, name);
        self.interface_ids.insert((link_type, name.into()), id);
        Ok(id)
    }

    fn next_stream(&mut self) -> Stream {
        self.stream_count = self.stream_count.wrapping_add(1);
        Stream::new(self.stream_count << 20)
    }

    /// Writes the TCP segments that a link cue stands for.
    pub(super) fn write_link_segments(
        &mut self,
        section: &mut SectionWriter,
        now: Instant,
        at: A,
        link: Link,
    ) {
        use PacketDirection::{In, Out};
        let Some((path, stream)) =
            self.stream(section, at, matches!(link, Link::Up | Link::Opened(_)))
        else {
            return;
        };
        // Of a stream that came up by configuration or was accepted, the end with the port of the protocol is
        // the server.
        let is_client = path.remote.port() == self.port && path.local.port() != self.port;
        let segments: &[(PacketDirection, u8)] = match link {
            Link::Up if !is_client => &[(In, SYN), (Out, SYN | ACK), (In, ACK)],
            Link::Up | Link::Opened(_) => &[(Out, SYN), (In, SYN | ACK), (Out, ACK)],
            Link::Failed(_, Cause::Refused) => &[(Out, SYN), (In, RST | ACK)],
            Link::Failed(_, Cause::TimedOut | Cause::Unreachable) => &[(Out, SYN)],
            Link::Ended | Link::Down(Cause::Closed) if !stream.received_fin() => {
                &[(In, FIN | ACK), (Out, ACK)]
            }
            Link::Down(Cause::Reset) => &[(In, RST | ACK)],
            _ => &[],
        };
        self.write_segments(section, now, at, segments);
    }

    /// Writes the TCP segments that an ask leads to.
    pub(super) fn write_ask_segments(
        &mut self,
        section: &mut SectionWriter,
        now: Instant,
        ask: &Ask<A>,
    ) {
        use PacketDirection::Out;
        let (Ask::Finish(at) | Ask::Close(at) | Ask::Abort(at)) = *ask else {
            return;
        };
        let Some((_, stream)) = self.stream(section, at, false) else {
            return;
        };
        let segments: &[(PacketDirection, u8)] = match ask {
            Ask::Abort(_) => &[(Out, RST | ACK)],
            _ if !stream.sent_fin() => &[(Out, FIN | ACK)],
            _ => &[],
        };
        self.write_segments(section, now, at, segments);
    }

    /// Returns the path and the stream at `at`, if it is a TCP path; another stream each time one `begins`.
    fn stream(
        &mut self,
        section: &mut SectionWriter,
        at: A,
        begins: bool,
    ) -> Option<(Path, Stream)> {
        let path = match (self.interface_of)(at) {
            Interface::Network(path) if path.proto == Proto::Tcp && !path.is_socket() => path,
            _ => return None,
        };
        self.ensure_entry(section, at);
        let begun = begins.then(|| self.next_stream());
        let entry = self.entries.get_mut(&at)?;
        entry.stream = begun.unwrap_or(entry.stream);
        Some((path, entry.stream))
    }

    fn write_segments(
        &mut self,
        section: &mut SectionWriter,
        now: Instant,
        at: A,
        segments: &[(PacketDirection, u8)],
    ) {
        let Some(entry) = self.entries.get_mut(&at) else {
            return;
        };
        for &(direction, flags) in segments {
            entry.write_headers(&mut self.header, direction, flags, &[]);
            section.packet(PendingPacket {
                interface: entry.interface_id,
                now,
                direction,
                header: &self.header,
                payload: &[],
            });
        }
    }
}

impl AddressEntry {
    /// Returns the most octets of a stream that one packet takes.
    fn packet_size(&self) -> usize {
        match &self.interface {
            Interface::Network(path) if path.proto == Proto::Tcp => headers::SEGMENT,
            Interface::Network(_) | Interface::ReadAs { .. } => usize::MAX,
            Interface::Bus { .. } => BUS_PACKET,
        }
    }

    /// Writes the synthetic headers of a packet with `payload`.
    fn write_headers(
        &mut self,
        header: &mut Vec<u8>,
        direction: PacketDirection,
        flags: u8,
        payload: &[u8],
    ) {
        let path = match &self.interface {
            Interface::Network(path) => path,
            Interface::ReadAs { path, port } => {
                let (from, to) = ends(path, direction);
                return headers::tags(header, from, to, *port);
            }
            Interface::Bus { .. } => return header.clear(),
        };
        let (from, to) = ends(path, direction);
        match path.proto {
            Proto::Udp => headers::udp(header, from, to, payload),
            Proto::Tcp => {
                let segment = number(&mut self.stream, direction, flags, payload.len());
                headers::tcp(header, from, to, segment, payload);
            }
        }
    }
}

fn ends(path: &Path, direction: PacketDirection) -> (SocketAddr, SocketAddr) {
    match direction {
        PacketDirection::In => (path.remote, path.local),
        PacketDirection::Out => (path.local, path.remote),
    }
}

fn number(stream: &mut Stream, direction: PacketDirection, flags: u8, length: usize) -> Segment {
    match direction {
        PacketDirection::In => stream.receive(flags, length),
        PacketDirection::Out => stream.send(flags, length),
    }
}
