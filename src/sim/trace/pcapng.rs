//! Writes a trace as pcapng.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Delivery, PacketKind, TcpFlags, Trace, TracePacket};
use crate::Instant;
use crate::record::{PacketInfo, SegmentFlags, SegmentNumbers, TraceWriter};
use crate::sim::{AnyAddr, HostId, Node};

/// The client port of streams without ports: the first dynamic one (RFC 6335 section 6).
const CLIENT_PORT: u16 = 49152;

/// The address of a receiver that does not exist.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 255));

impl Trace {
    /// Writes all packets as a pcapng file.
    ///
    /// Each packet is written once, as it was sent, on the interface named after its sender. Comments mark
    /// lost packets, with the reason, copies, flipped bits, repeated packets, and those in flight. Behind a
    /// NAT, the directions of a connection have different addresses, as each sender knows them.
    ///
    /// Hosts without IP addresses get some from 192.0.2.1 on. Numbered hosts are shown as UDP between ports
    /// `port`, by which analysers recognise the protocol. Streams are shown as TCP from the host that sent
    /// first to `port`, after a handshake that is made up. Packets of hops are written as they are.
    #[must_use]
    pub fn pcapng(&self, port: u16) -> Vec<u8> {
        let mut capture = Export {
            trace: self,
            port,
            writer: TraceWriter::new(),
            streams: BTreeMap::new(),
        };
        for packet in &self.packets {
            capture.packet(packet);
        }
        capture.writer.finish()
    }
}

struct Export<'a> {
    trace: &'a Trace,
    port: u16,
    writer: TraceWriter,
    /// Streams by their ends, the one that sent first in front.
    streams: BTreeMap<(Node, Option<Node>), [StreamHalf; 2]>,
}

/// One direction of a stream.
struct StreamHalf {
    from: SocketAddr,
    /// The next sequence number.
    next: u32,
    /// The acknowledgement numbers that become due, with their times.
    arriving: VecDeque<(Instant, u32)>,
    /// The acknowledgement number that is due.
    arrived: u32,
}

impl StreamHalf {
    const fn new(from: SocketAddr) -> Self {
        Self {
            from,
            next: 0,
            arriving: VecDeque::new(),
            arrived: 0,
        }
    }

    fn arrived_by(&mut self, now: Instant) -> u32 {
        while let Some((at, number)) = self.arriving.front()
            && *at <= now
        {
            self.arrived = *number;
            self.arriving.pop_front();
        }
        self.arrived
    }

    /// Assigns sequence numbers to octets.
    fn send(&mut self, len: u32, arrives: Option<Instant>) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(len);
        if let Some(at) = arrives {
            self.arriving.push_back((at, self.next));
        }
        number
    }
}

impl Export<'_> {
    fn packet(&mut self, packet: &TracePacket) {
        let comment = comment(packet);
        let octets = octets(packet);
        let info = PacketInfo {
            interface: self.trace.name(packet.from),
            time: packet.time,
            comment: &comment,
        };
        match (packet.addr, packet.kind) {
            (AnyAddr::Path(path), PacketKind::Tcp(flags)) => {
                let ends = (path.local, path.remote);
                self.writer
                    .stream(info, ends, numbers(packet, flags), &octets);
            }
            (AnyAddr::Path(path), _) => {
                self.writer.datagram(info, path.local, path.remote, &octets);
            }
            (AnyAddr::Number(_), _) => {
                let from = SocketAddr::new(address(packet.from), self.port);
                let to = SocketAddr::new(packet.to.map_or(NOBODY, address), self.port);
                self.writer.datagram(info, from, to, &octets);
            }
            (AnyAddr::Hop(hop), _) => {
                let interface = format!("{}, bus {}", info.interface, hop.interface);
                let interface = &interface;
                self.writer.frame(PacketInfo { interface, ..info }, &octets);
            }
            (AnyAddr::Stream, kind) => {
                let ends = (packet.from, packet.to);
                let signals = match kind {
                    PacketKind::Tcp(flags) => signals(flags),
                    PacketKind::Datagram | PacketKind::Stream => SegmentFlags::default(),
                };
                self.stream(info, ends, signals, (&octets, packet.arrived()));
            }
        }
    }

    /// Adds a segment of a stream, after a handshake if it is the first.
    fn stream(
        &mut self,
        info: PacketInfo<'_>,
        (from, to): (Node, Option<Node>),
        signals: SegmentFlags,
        (octets, arrives): (&[u8], Option<Instant>),
    ) {
        let answers = to.is_some_and(|to| self.streams.contains_key(&(to, Some(from))));
        let key = match to {
            Some(to) if answers => (to, Some(from)),
            _ => (from, to),
        };
        if !self.streams.contains_key(&key) {
            let halves = self.shake_hands(info, from, to);
            self.streams.insert(key, halves);
        }
        let Some([first, second]) = self.streams.get_mut(&key) else {
            return;
        };
        let (out, back) = if answers {
            (second, first)
        } else {
            (first, second)
        };
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let numbers = SegmentNumbers {
            sequence: out.send(len.wrapping_add(u32::from(signals.fin)), arrives),
            acknowledged: Some(back.arrived_by(info.time)),
            flags: signals,
        };
        let ends = (out.from, back.from);
        self.writer.stream(info, ends, numbers, octets);
    }

    /// Adds a handshake. Without it, analysers take the stream for the rest of an older one.
    fn shake_hands(
        &mut self,
        info: PacketInfo<'_>,
        from: Node,
        to: Option<Node>,
    ) -> [StreamHalf; 2] {
        let client = SocketAddr::new(address(from), CLIENT_PORT);
        let server = SocketAddr::new(to.map_or(NOBODY, address), self.port);
        let [mut out, mut back] = [client, server].map(StreamHalf::new);
        let syn = SegmentFlags {
            syn: true,
            ..SegmentFlags::default()
        };
        let none = SegmentFlags::default();
        let (near, far) = (info.interface, to.map_or("?", |to| self.trace.name(to)));
        for (interface, is_answer, signals) in
            [(near, false, syn), (far, true, syn), (near, false, none)]
        {
            let (sender, peer) = if is_answer {
                (&mut back, &mut out)
            } else {
                (&mut out, &mut back)
            };
            let is_first = signals.syn && !is_answer;
            let numbers = SegmentNumbers {
                sequence: sender.send(u32::from(signals.syn), Some(info.time)),
                acknowledged: (!is_first).then(|| peer.arrived_by(info.time)),
                flags: signals,
            };
            let ends = (sender.from, peer.from);
            let comment = if is_first {
                "made up: the ends of this stream were joined from the beginning"
            } else {
                ""
            };
            let info = PacketInfo {
                interface,
                comment,
                ..info
            };
            self.writer.stream(info, ends, numbers, &[]);
        }
        [out, back]
    }
}

/// Returns the lower 32 bits of the numbers of a TCP segment.
fn numbers(packet: &TracePacket, flags: TcpFlags) -> SegmentNumbers {
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    let (sequence, acknowledged) = packet.numbers.unwrap_or_default();
    SegmentNumbers {
        sequence: low(sequence),
        acknowledged: flags.ack.then(|| low(acknowledged)),
        flags: signals(flags),
    }
}

const fn signals(flags: TcpFlags) -> SegmentFlags {
    SegmentFlags {
        syn: flags.syn,
        fin: flags.fin,
        rst: flags.rst,
    }
}

/// Returns an address for documentation (RFC 5737), or if these are used up, for benchmarks (RFC 2544).
fn address(node: Node) -> IpAddr {
    let Node::Host(HostId(index)) = node else {
        return NOBODY;
    };
    let address = match u8::try_from(index) {
        Ok(index) if index < u8::MAX - 1 => Ipv4Addr::new(192, 0, 2, index + 1),
        _ => Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) | (index & 0x1_ffff)),
    };
    IpAddr::V4(address)
}

/// Returns the octets, or zeros if they were not kept.
fn octets(packet: &TracePacket) -> Cow<'_, [u8]> {
    if packet.octets.len() == packet.len {
        Cow::Borrowed(&packet.octets)
    } else {
        Cow::Owned(alloc::vec![0; packet.len])
    }
}

fn comment(packet: &TracePacket) -> String {
    let mut remarks: Vec<Cow<'static, str>> = Vec::new();
    if packet.is_copy {
        remarks.push("a copy that the line made".into());
    } else if packet.is_repeated {
        remarks.push("sent again".into());
    }
    if packet.is_corrupted {
        remarks.push("a bit was flipped on the way".into());
    }
    match packet.delivery {
        Delivery::Arrived(_) => {}
        Delivery::InFlight => remarks.push("in flight at the end of the trace".into()),
        Delivery::Lost(at, reason) if at == packet.time => {
            remarks.push(format!("lost: {reason}").into());
        }
        Delivery::Lost(at, reason) => {
            let after = at - packet.time;
            remarks.push(format!("lost after {after:?}: {reason}").into());
        }
    }
    if packet.octets.len() != packet.len {
        remarks.push("octets were not kept, these are zeros".into());
    }
    remarks.join(", ")
}
