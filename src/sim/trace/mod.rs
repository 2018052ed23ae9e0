//! The trace of a world: a record of all packets and events, from which ladders, drawings and statistics are
//! made.

mod external;
mod ladder;
#[cfg(feature = "record")]
mod pcapng;
mod runs;
mod statistics;
mod svg;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroUsize;

use bytes::Bytes;

pub use external::ExternalMessage;
pub use statistics::{Statistics, Traffic};
pub use svg::{Axis, Bands, Drawing};

use super::{AnyAddr, Node};
use crate::Instant;
use crate::preview::Preview;

/// How much of each packet a trace keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceDetail {
    /// Nothing, for runs of millions of packets.
    Nothing,
    /// Everything except the octets.
    Lengths,
    /// Everything.
    #[default]
    Octets,
}

/// The record of everything that happened in a world.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    detail: TraceDetail,
    /// The seed of the world. A capture has none.
    seed: Option<u64>,
    hosts: Vec<String>,
    nats: Vec<String>,
    /// All nodes, in the order in which they were added.
    nodes: Vec<Node>,
    packets: Vec<TracePacket>,
    marks: Vec<TraceMark>,
    contacts: Vec<Contact>,
    /// The order of packets and marks, which their times alone do not give.
    order: Vec<EntryIndex>,
    sent_before: BTreeSet<(Node, AnyAddr, u64)>,
}

/// A packet in a trace: a datagram, a write to a stream, or a TCP segment.
#[derive(Clone)]
#[non_exhaustive]
pub struct TracePacket {
    /// The sender.
    pub from: Node,
    /// The receiver, or the node that it reached last.
    pub to: Option<Node>,
    /// The address to which it was sent, as the sender knows it.
    pub addr: AnyAddr,
    /// The time of sending.
    pub time: Instant,
    /// The kind.
    pub kind: PacketKind,
    /// The sequence and acknowledgement numbers of a TCP segment.
    pub numbers: Option<(u64, u64)>,
    /// The length in octets. That of a TCP segment is the length of its data.
    pub len: usize,
    /// The octets as sent, if the trace keeps them. See [`TraceDetail`].
    pub octets: Bytes,
    /// The label. See [`World::label`](super::World::label).
    pub label: Option<String>,
    /// Whether the sender sent the same before.
    pub is_repeated: bool,
    /// Whether it is a copy that the line made.
    pub is_copy: bool,
    /// Whether the line flipped a bit.
    pub is_corrupted: bool,
    /// Whether and when it arrived.
    pub delivery: Delivery,
}

impl TracePacket {
    /// Returns when it arrived, if it did.
    #[must_use]
    pub const fn arrived(&self) -> Option<Instant> {
        match self.delivery {
            Delivery::Arrived(at) => Some(at),
            Delivery::InFlight | Delivery::Lost(..) => None,
        }
    }

    /// Returns when and why it was lost, if it was.
    #[must_use]
    pub const fn lost(&self) -> Option<(Instant, DropReason)> {
        match self.delivery {
            Delivery::Lost(at, reason) => Some((at, reason)),
            Delivery::InFlight | Delivery::Arrived(_) => None,
        }
    }

    /// Returns the text that ladders show: the label, or the length.
    #[must_use]
    pub fn title(&self) -> String {
        match (&self.label, self.kind) {
            (Some(label), PacketKind::Tcp(flags)) if !flags.is_plain() => {
                format!("{flags} {label}")
            }
            (Some(label), _) => label.clone(),
            (None, PacketKind::Tcp(flags)) if self.len == 0 => format!("{flags}"),
            (None, PacketKind::Tcp(flags)) if !flags.is_plain() => {
                format!("{flags} {} octets", self.len)
            }
            (None, _) => format!("{} octets", self.len),
        }
    }

    /// Tells whether it is a TCP segment that only acknowledges.
    #[must_use]
    pub const fn is_bare_ack(&self) -> bool {
        matches!(self.kind, PacketKind::Tcp(flags) if flags.is_plain()) && self.len == 0
    }
}

impl fmt::Debug for TracePacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracePacket")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("addr", &self.addr)
            .field("time", &self.time)
            .field("kind", &self.kind)
            .field("len", &self.len)
            .field("octets", &Preview(&self.octets))
            .field("label", &self.label)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// The kind of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// A datagram.
    Datagram,
    /// Octets that were written to a stream.
    Stream,
    /// A segment of a TCP connection, or the end of a stream.
    Tcp(TcpFlags),
}

/// The flags of a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "that is what flags are")]
pub struct TcpFlags {
    /// It opens a connection.
    pub syn: bool,
    /// It acknowledges.
    pub ack: bool,
    /// It ends a direction.
    pub fin: bool,
    /// It resets the connection.
    pub rst: bool,
}

impl TcpFlags {
    /// Opens a connection.
    pub const SYN: Self = Self::of([true, false, false, false]);
    /// Opens the other direction and acknowledges.
    pub const SYN_ACK: Self = Self::of([true, true, false, false]);
    /// Acknowledges.
    pub const ACK: Self = Self::of([false, true, false, false]);
    /// Ends a direction.
    pub const FIN: Self = Self::of([false, false, true, false]);
    /// Ends a direction and acknowledges.
    pub const FIN_ACK: Self = Self::of([false, true, true, false]);
    /// Resets the connection.
    pub const RST: Self = Self::of([false, false, false, true]);

    const fn of([syn, ack, fin, rst]: [bool; 4]) -> Self {
        Self { syn, ack, fin, rst }
    }

    const fn is_plain(self) -> bool {
        !self.syn && !self.fin && !self.rst
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.syn, "SYN"),
            (self.fin, "FIN"),
            (self.rst, "RST"),
            // A FIN nearly always acknowledges too.
            (self.ack && !self.fin, "ACK"),
        ];
        let mut between = "";
        for (_, name) in named.iter().filter(|(is_set, _)| *is_set) {
            write!(f, "{between}{name}")?;
            between = "+";
        }
        Ok(())
    }
}

/// Whether and when a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It has not arrived yet.
    InFlight,
    /// It arrived at this time.
    Arrived(Instant),
    /// It was lost at this time.
    Lost(Instant, DropReason),
}

/// Why a packet was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A random loss, independent of others.
    Random,
    /// A loss in a burst.
    Burst,
    /// A [`FaultRule`](super::FaultRule) dropped it.
    Rule,
    /// The queue of a line was full.
    QueueFull,
    /// It was longer than the MTU of the line.
    TooLong,
    /// The line was down.
    NoContact,
    /// No line leads to the receiver.
    NoLine,
    /// No host has the address.
    NoHost,
    /// The sender has not bound the socket, or the receiver has none for it.
    NoSocket,
    /// A NAT has no mapping for it.
    NoMapping,
    /// A NAT filtered it.
    Filtered,
    /// A NAT had no free port for it.
    NoPort,
    /// A TCP segment was corrupted.
    Checksum,
    /// The stream was reset while it was in flight.
    Reset,
    /// The machine of the receiver was done.
    Closed,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "lost by chance",
            Self::Burst => "lost in a burst",
            Self::Rule => "lost by choice",
            Self::QueueFull => "queue full",
            Self::TooLong => "too long",
            Self::NoContact => "no contact",
            Self::NoLine => "no line",
            Self::NoHost => "no such host",
            Self::NoSocket => "no such socket",
            Self::NoMapping => "no mapping",
            Self::Filtered => "filtered",
            Self::NoPort => "no port left",
            Self::Checksum => "bad checksum",
            Self::Reset => "cut off",
            Self::Closed => "receiver done",
        })
    }
}

/// Something that happened at a node, other than a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceMark {
    /// The time.
    pub time: Instant,
    /// The node.
    pub node: Node,
    /// The kind.
    pub kind: MarkKind,
    /// The text beside it.
    pub text: String,
}

/// The kinds of a [`TraceMark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MarkKind {
    /// An event of the machine.
    Event,
    /// A command that the machine refused.
    Refusal,
    /// A link cue.
    Link,
    /// A link cue of a contact plan.
    Contact,
    /// A note of the script.
    Note,
}

/// A time in which a line with a contact plan was up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// The node that could send.
    pub from: Node,
    /// The node that could receive.
    pub to: Node,
    /// The beginning.
    pub opens: Instant,
    /// The end.
    pub closes: Instant,
}

/// A packet or a mark, by its number.
#[derive(Debug, Clone, Copy)]
enum EntryIndex {
    Packet(usize),
    Mark(usize),
}

/// What a ladder shows.
#[derive(Debug, Clone, Copy)]
pub enum TraceEntry<'a> {
    /// Something was sent.
    Packet(&'a TracePacket),
    /// Something else happened.
    Mark(&'a TraceMark),
}

/// The number of a packet in its trace, from 1, so that there is room for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PacketId(NonZeroUsize);

impl PacketId {
    fn index(self) -> usize {
        self.0.get() - 1
    }
}

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..Self::default()
        }
    }

    /// Returns the packets in the order in which they were sent.
    #[must_use]
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &TracePacket> + Clone {
        self.packets.iter()
    }

    /// Returns the marks in order of time.
    #[must_use]
    pub fn marks(&self) -> impl ExactSizeIterator<Item = &TraceMark> + Clone {
        self.marks.iter()
    }

    /// Returns the windows of contact plans that have begun, in order of their beginning.
    #[must_use]
    pub fn contacts(&self) -> impl ExactSizeIterator<Item = &Contact> + Clone {
        self.contacts.iter()
    }

    /// Returns packets and marks in the order in which they came, but no bare acknowledgements of TCP.
    pub fn entries(&self) -> impl Iterator<Item = TraceEntry<'_>> {
        self.order.iter().filter_map(|entry| match *entry {
            EntryIndex::Packet(index) => {
                let packet = self.packets.get(index)?;
                (!packet.is_bare_ack()).then_some(TraceEntry::Packet(packet))
            }
            EntryIndex::Mark(index) => self.marks.get(index).map(TraceEntry::Mark),
        })
    }

    /// Returns what ladders show: the entries up to the last that is no mark of a contact.
    ///
    /// Contacts go on for as long as a simulation runs, even if nothing is sent in them.
    fn shown(&self) -> Vec<TraceEntry<'_>> {
        let ends = self.entries().filter_map(|entry| match entry {
            TraceEntry::Packet(packet) => Some(packet.arrived().unwrap_or(packet.time)),
            TraceEntry::Mark(mark) => (mark.kind != MarkKind::Contact).then_some(mark.time),
        });
        let end = ends.max().unwrap_or(Instant::ZERO);
        let is_shown = |entry: &TraceEntry<'_>| match entry {
            TraceEntry::Packet(_) => true,
            TraceEntry::Mark(mark) => mark.time <= end,
        };
        self.entries().filter(is_shown).collect()
    }

    /// The nodes that took part, in the order in which they were added.
    fn lanes(&self) -> Vec<Node> {
        let mut lanes = BTreeSet::new();
        for entry in self.entries() {
            match entry {
                TraceEntry::Packet(packet) => {
                    lanes.insert(packet.from);
                    lanes.extend(packet.to);
                }
                TraceEntry::Mark(mark) => {
                    lanes.insert(mark.node);
                }
            }
        }
        let made = self.nodes.iter().copied();
        made.filter(|node| lanes.contains(node)).collect()
    }

    /// Returns the name of a node.
    #[must_use]
    pub fn name(&self, node: impl Into<Node>) -> &str {
        let name = match node.into() {
            Node::Host(id) => self.hosts.get(id.index()),
            Node::Nat(id) => self.nats.get(id.index()),
        };
        name.map_or("?", String::as_str)
    }

    pub(super) fn add_name(&mut self, node: Node, name: String) {
        let (names, index) = match node {
            Node::Host(id) => (&mut self.hosts, id.index()),
            Node::Nat(id) => (&mut self.nats, id.index()),
        };
        if let Some(addr) = names.get_mut(index) {
            *addr = name;
        } else {
            names.push(name);
            self.nodes.push(node);
        }
    }

    pub(super) const fn set_detail(&mut self, detail: TraceDetail) {
        self.detail = detail;
    }

    pub(super) fn is_kept(&self) -> bool {
        self.detail != TraceDetail::Nothing
    }

    /// Notes a packet; gives `None` when nothing is kept.
    pub(super) fn sent(&mut self, mut packet: TracePacket) -> Option<PacketId> {
        match self.detail {
            TraceDetail::Nothing => return None,
            TraceDetail::Lengths => packet.octets = Bytes::new(),
            TraceDetail::Octets => {}
        }
        self.order.push(EntryIndex::Packet(self.packets.len()));
        self.packets.push(packet);
        NonZeroUsize::new(self.packets.len()).map(PacketId)
    }

    /// Tells whether `from` sent the same to `addr` before: the same label, or without one the same octets.
    pub(super) fn repeats(
        &mut self,
        from: Node,
        addr: AnyAddr,
        label: Option<&str>,
        octets: &[u8],
    ) -> bool {
        let digest = match label {
            Some(label) => fnv(1, label.as_bytes()),
            None => fnv(0, octets),
        };
        !self.sent_before.insert((from, addr, digest))
    }

    pub(super) fn change(&mut self, id: Option<PacketId>, change: impl FnOnce(&mut TracePacket)) {
        if let Some(packet) = id.and_then(|id| self.packets.get_mut(id.index())) {
            change(packet);
        }
    }

    pub(super) fn copied(&mut self, id: Option<PacketId>) -> Option<PacketId> {
        let mut copy = self.packets.get(id?.index())?.clone();
        copy.is_copy = true;
        copy.is_corrupted = false;
        copy.delivery = Delivery::InFlight;
        self.sent(copy)
    }

    pub(super) fn lost(&mut self, id: Option<PacketId>, at: Instant, reason: DropReason) {
        self.change(id, |packet| packet.delivery = Delivery::Lost(at, reason));
    }

    pub(super) fn arrived(&mut self, id: Option<PacketId>, at: Instant) {
        self.change(id, |packet| packet.delivery = Delivery::Arrived(at));
    }

    pub(super) fn mark(&mut self, time: Instant, node: Node, kind: MarkKind, text: String) {
        if self.is_kept() {
            self.order.push(EntryIndex::Mark(self.marks.len()));
            self.marks.push(TraceMark {
                time,
                node,
                kind,
                text,
            });
        }
    }

    /// Ends the contact that is open between two nodes, because it is over or its line is replaced.
    pub(super) fn end_contact(&mut self, from: Node, to: Node, now: Instant) {
        let joins = |contact: &Contact| contact.from == from && contact.to == to;
        let last = self.contacts.iter().rposition(joins);
        if let Some(index) = last
            && let Some(contact) = self.contacts.get_mut(index)
        {
            contact.closes = contact.closes.min(now);
            if contact.opens >= contact.closes {
                self.contacts.remove(index);
            }
        }
    }

    pub(super) fn contact(&mut self, contact: Contact) {
        if self.is_kept() {
            self.contacts.push(contact);
        }
    }
}

/// FNV-1a over 64 bits, with a first octet that keeps kinds apart.
fn fnv(kind: u8, octets: &[u8]) -> u64 {
    let first = (0xcbf2_9ce4_8422_2325_u64 ^ u64::from(kind)).wrapping_mul(0x0000_0100_0000_01b3);
    octets.iter().fold(first, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
