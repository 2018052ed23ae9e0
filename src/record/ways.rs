//! The addresses of a recording: their table, their lanes, and the synthetic packets on them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io;

use super::call::{Op, Record};
use super::lane::{Lane, Place};
use super::pages::{LINK_PDU, NETWORK, Pages, Sheet, count};
use super::pcapng::Direction;
use super::synth::{self, ACK, FIN, PSH, RST, SYN, Segment, Stream};
use crate::{Ask, Cause, Instant, Link, Path, Proto};

/// Octets of an address in JSON.
const NAME: usize = 4096;
/// Addresses known at a time; beyond it, the table starts afresh.
const ADDRESSES: usize = 1 << 14;
/// The name of the interface with datagrams that say what they are.
const OTHER_PORTS: &str = "network, other ports";
/// Buses in one part.
const BUSES: usize = 1 << 10;
/// Octets of a run on a bus in one packet. Wireshark refuses packets over 256 KiB.
const BUS_PACKET: usize = 128 << 10;

pub(super) type Lanes<A> = Box<dyn FnMut(A) -> Lane + Send>;

/// Octets on their way, with or without boundaries.
pub(super) enum Load<'a> {
    /// As it came out of one read. Cut into packets on a stream or a bus, never on UDP.
    Chunk(&'a [u8]),
    /// Datagrams of this size, the last may be shorter.
    Datagrams(&'a [u8], usize),
}

/// What is known of an address.
struct Known {
    /// Its place in the table of the current part.
    index: u32,
    lane: Lane,
    /// The interface of its lane in the current part.
    interface: u32,
    stream: Stream,
    /// The part that index and interface belong to.
    part: u32,
}

/// All addresses.
pub(super) struct Ways<A> {
    lanes: Lanes<A>,
    known: BTreeMap<A, Known>,
    /// The part that `named` and `named_interfaces` belong to.
    part: u32,
    /// Entries of the table, as the reader will count them.
    named: u32,
    named_interfaces: BTreeMap<(u16, String), u32>,
    /// Streams begun; spreads their sequence numbers, so that lives of one path can be told apart.
    births: u32,
    header: Vec<u8>,
}

impl<A: Place> Ways<A> {
    pub(super) fn new(lanes: Lanes<A>) -> Self {
        Self {
            lanes,
            known: BTreeMap::new(),
            part: 0,
            named: 0,
            named_interfaces: BTreeMap::new(),
            births: 0,
            header: Vec::new(),
        }
    }

    /// Writes octets in either direction, and the record that `op` makes of the index of the address and
    /// the number of packets.
    pub(super) fn octets(
        &mut self,
        pages: &mut Pages,
        now: Instant,
        at: A,
        direction: Direction,
        load: &Load<'_>,
        op: impl FnOnce(u32, u64) -> Op<'static>,
    ) {
        self.know(pages, at);
        let Some(known) = self.known.get_mut(&at) else {
            return;
        };
        let (octets, size) = match *load {
            Load::Chunk(octets) => (octets, known.packet_size()),
            Load::Datagrams(octets, size) => (octets, size),
        };
        let packets = octets.len().div_ceil(size).max(1);
        let record = Record::Call(now, op(known.index, count(packets)));
        for packet in 0..packets {
            let start = packet * size;
            let end = octets.len().min(start.saturating_add(size));
            let payload = octets.get(start..end).unwrap_or_default();
            known.wrap(&mut self.header, direction, PSH | ACK, payload);
            let sheet = Sheet {
                interface: known.interface,
                now,
                direction,
                header: &self.header,
                payload,
            };
            if packet + 1 < packets {
                pages.packet(sheet);
            } else {
                pages.packet_with(sheet, &record);
            }
        }
    }

    /// Sees to it that the address stands in the table of this part.
    fn know(&mut self, pages: &mut Pages, at: A) {
        if pages.part() != self.part {
            self.part = pages.part();
            self.named = 0;
            self.named_interfaces.clear();
        }
        if self
            .known
            .get(&at)
            .is_some_and(|known| known.part == self.part)
        {
            return;
        }
        if self.known.len() >= ADDRESSES {
            self.known.clear();
            self.named = 0;
            pages.record(&Record::Forget);
        }
        match self.introduce(pages, at) {
            Ok((index, lane, interface)) => {
                let part = self.part;
                let stream = self.known.get(&at).map(|known| known.stream);
                let stream = stream.unwrap_or_else(|| self.beget());
                let known = Known {
                    index,
                    lane,
                    interface,
                    stream,
                    part,
                };
                self.known.insert(at, known);
            }
            Err(error) => pages.fail(error),
        }
    }

    fn introduce(&mut self, pages: &mut Pages, at: A) -> io::Result<(u32, Lane, u32)> {
        let lane = (self.lanes)(at);
        let interface = match &lane {
            Lane::Network(_) => NETWORK,
            Lane::ReadAs { .. } => self.interface(pages, LINK_PDU, OTHER_PORTS)?,
            Lane::Bus { link_type, .. } if *link_type == LINK_PDU => {
                return Err(io::Error::other(
                    "a bus cannot have packets that say what they are",
                ));
            }
            Lane::Bus { name, link_type } => self.interface(pages, *link_type, name)?,
        };
        let name = serde_json::to_vec(&at)?;
        if name.len() > NAME {
            return Err(io::Error::other("an address longer than a record holds"));
        }
        pages.record(&Record::Address(&name));
        let index = self.named;
        self.named += 1;
        Ok((index, lane, interface))
    }

    /// Returns the interface of that name, described where it first comes up in a part.
    fn interface(&mut self, pages: &mut Pages, link_type: u16, name: &str) -> io::Result<u32> {
        if let Some(&interface) = self.named_interfaces.get(&(link_type, name.into())) {
            return Ok(interface);
        }
        if self.named_interfaces.len() >= BUSES {
            return Err(io::Error::other("more buses than a recording holds"));
        }
        let interface = pages.interface(link_type, name);
        self.named_interfaces
            .insert((link_type, name.into()), interface);
        Ok(interface)
    }

    fn beget(&mut self) -> Stream {
        self.births = self.births.wrapping_add(1);
        Stream::new(self.births << 20)
    }

    /// Writes the segments that a link cue would have come with.
    pub(super) fn show_link(&mut self, pages: &mut Pages, now: Instant, at: A, link: Link) {
        use Direction::{In, Out};
        let Some(stream) = self.stream(pages, at, matches!(link, Link::Up | Link::Opened(_)))
        else {
            return;
        };
        let segments: &[(Direction, u8)] = match link {
            Link::Up => &[(In, SYN), (Out, SYN | ACK), (In, ACK)],
            Link::Opened(_) => &[(Out, SYN), (In, SYN | ACK), (Out, ACK)],
            Link::Failed(_, Cause::Refused) => &[(Out, SYN), (In, RST | ACK)],
            Link::Failed(_, Cause::TimedOut | Cause::Unreachable) => &[(Out, SYN)],
            Link::Ended | Link::Down(Cause::Closed) if !stream.received_fin() => {
                &[(In, FIN | ACK), (Out, ACK)]
            }
            Link::Down(Cause::Reset) => &[(In, RST | ACK)],
            _ => &[],
        };
        self.show(pages, now, at, segments);
    }

    /// Writes the segments that the answer to an ask would come with.
    pub(super) fn show_ask(&mut self, pages: &mut Pages, now: Instant, ask: &Ask<A>) {
        use Direction::Out;
        let (Ask::Finish(at) | Ask::Close(at) | Ask::Abort(at)) = *ask else {
            return;
        };
        let Some(stream) = self.stream(pages, at, false) else {
            return;
        };
        let segments: &[(Direction, u8)] = match ask {
            Ask::Abort(_) => &[(Out, RST | ACK)],
            _ if !stream.sent_fin() => &[(Out, FIN | ACK)],
            _ => &[],
        };
        self.show(pages, now, at, segments);
    }

    /// Returns the stream at `at`, if one can be there; in a life of its own if it `begins`.
    fn stream(&mut self, pages: &mut Pages, at: A, begins: bool) -> Option<Stream> {
        match (self.lanes)(at) {
            Lane::Network(path) if path.proto == Proto::Tcp && !path.is_socket() => {}
            _ => return None,
        }
        self.know(pages, at);
        let born = if begins { Some(self.beget()) } else { None };
        let known = self.known.get_mut(&at)?;
        if let Some(stream) = born {
            known.stream = stream;
        }
        Some(known.stream)
    }

    fn show(&mut self, pages: &mut Pages, now: Instant, at: A, segments: &[(Direction, u8)]) {
        let Some(known) = self.known.get_mut(&at) else {
            return;
        };
        for &(direction, flags) in segments {
            known.wrap(&mut self.header, direction, flags, &[]);
            pages.packet(Sheet {
                interface: known.interface,
                now,
                direction,
                header: &self.header,
                payload: &[],
            });
        }
    }
}

impl Known {
    /// The most octets of a run that one packet takes.
    fn packet_size(&self) -> usize {
        match &self.lane {
            Lane::Network(path) if path.proto == Proto::Tcp => synth::SEGMENT,
            Lane::Network(_) | Lane::ReadAs { .. } => usize::MAX,
            Lane::Bus { .. } => BUS_PACKET,
        }
    }

    /// Writes the synthetic headers around `payload`.
    fn wrap(&mut self, header: &mut Vec<u8>, direction: Direction, flags: u8, payload: &[u8]) {
        let path = match &self.lane {
            Lane::Network(path) => path,
            Lane::ReadAs { path, port } => {
                let (from, to) = ends(path, direction);
                return synth::tags(header, from, to, *port);
            }
            Lane::Bus { .. } => return header.clear(),
        };
        let (from, to) = ends(path, direction);
        match path.proto {
            Proto::Udp => synth::udp(header, from, to, payload),
            Proto::Tcp => {
                let segment = number(&mut self.stream, direction, flags, payload.len());
                synth::tcp(header, from, to, segment, payload);
            }
        }
    }
}

fn ends(path: &Path, direction: Direction) -> (SocketAddr, SocketAddr) {
    match direction {
        Direction::In => (path.remote, path.local),
        Direction::Out => (path.local, path.remote),
    }
}

fn number(stream: &mut Stream, direction: Direction, flags: u8, length: usize) -> Segment {
    match direction {
        Direction::In => stream.receive(flags, length),
        Direction::Out => stream.send(flags, length),
    }
}
