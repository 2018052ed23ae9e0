//! Lines between hosts, wires and buses between interfaces, and what travels on them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::ip::Header;
use super::trace::{Contact, Packet, PacketId};
use super::way::{Departure, Flight, Landing, Medium};
use super::world::{Happening, Lodging};
use super::{Carrier, Fate, HostId, Line, Node, Place, Sight, Why, World, misuse};
use crate::{Cause, Hop, Instant, Link};

/// The link address that all neighbours on a bus hear.
pub const BROADCAST: u16 = u16::MAX;

/// A bus of one world, on which interfaces meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bus(usize);

/// All lines of a world.
pub(super) struct Links {
    ways: Vec<Way>,
    /// A line has a medium for each direction, a bus one for all.
    media: Vec<Medium>,
    table: BTreeMap<(Point, Point), usize>,
    buses: Vec<BusState>,
    interfaces: BTreeMap<(HostId, u8), Attachment>,
    /// Addresses of which a host heard that they are full, and when they are free again.
    full: BTreeMap<(HostId, Place), Instant>,
}

/// An end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    Node(Node),
    Interface(HostId, u8),
}

impl Point {
    const fn node(self) -> Node {
        match self {
            Self::Node(node) => node,
            Self::Interface(host, _) => Node::Host(host),
        }
    }
}

/// One direction of a line.
struct Way {
    from: Point,
    to: Point,
    line: Arc<Line>,
    medium: usize,
    flight: Flight,
    /// Counts the lines that were laid here, so that a former one's contact plan is not followed.
    version: u32,
}

struct BusState {
    line: Arc<Line>,
    medium: usize,
    members: Vec<(HostId, u8)>,
}

#[derive(Debug, Clone, Copy)]
enum Attachment {
    Wire(HostId, u8),
    Bus(Bus),
}

/// A datagram that its host has not got rid of.
pub(super) struct Held {
    pub(super) to: Place,
    pub(super) octets: Bytes,
}

/// A packet at the end of a line.
pub(super) struct Arrival {
    way: usize,
    head: Head,
    octets: Bytes,
    packet: Option<PacketId>,
    is_corrupted: bool,
}

/// What a packet carries beside its octets.
#[derive(Clone)]
pub(super) enum Head {
    /// For this host, from what it calls the sender.
    Plain(HostId, Place),
    Ip(Header),
}

/// Who puts a packet on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Host,
    Network,
}

/// What a host hears about a datagram that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Gone,
    /// It must keep the datagram until then.
    Held(Instant),
    /// That was the last one for a while; until then.
    Filled(Instant),
}

impl Links {
    pub(super) const fn new() -> Self {
        Self {
            ways: Vec::new(),
            media: Vec::new(),
            table: BTreeMap::new(),
            buses: Vec::new(),
            interfaces: BTreeMap::new(),
            full: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, from: Point, to: Point) -> Option<usize> {
        self.table.get(&(from, to)).copied()
    }

    fn add_medium(&mut self) -> usize {
        self.media.push(Medium::default());
        self.media.len() - 1
    }
}

impl World {
    /// Lays a line between two hosts that reach each other by number, or between two neighbours on IP: hosts
    /// and NATs of one network, or a NAT and what is behind it. A line that lies there is replaced; what is
    /// in flight arrives.
    pub fn line(&mut self, one: impl Into<Node>, other: impl Into<Node>, line: Line) {
        let (one, other) = (one.into(), other.into());
        self.line_from(one, other, line.clone());
        self.line_from(other, one, line);
    }

    /// Lays one direction of a line.
    pub fn line_from(&mut self, from: impl Into<Node>, to: impl Into<Node>, line: Line) {
        let (from, to) = (from.into(), to.into());
        if !self.are_neighbours(from, to) {
            let (from, to) = (self.trace.name(from), self.trace.name(to));
            misuse(&format!("{from} and {to} are no neighbours"));
        }
        self.lay(Point::Node(from), Point::Node(to), Arc::new(line), None);
    }

    fn are_neighbours(&self, from: Node, to: Node) -> bool {
        match (self.lodging(from), self.lodging(to)) {
            (Some(Lodging::Name(_)), Some(Lodging::Name(_))) => true,
            (Some(Lodging::Ip(_)) | None, Some(Lodging::Ip(_)) | None) => self.share_net(from, to),
            _ => false,
        }
    }

    fn lodging(&self, node: Node) -> Option<&Lodging> {
        match node {
            Node::Host(id) => self.hosts.get(id.0).map(|slot| &slot.lodging),
            Node::Nat(_) => None,
        }
    }

    /// Joins two interfaces. Whatever `via` a machine sends to, the other end hears it.
    pub fn wire(
        &mut self,
        one: (impl Into<HostId>, u8),
        other: (impl Into<HostId>, u8),
        line: Line,
    ) {
        let one = (one.0.into(), one.1);
        let other = (other.0.into(), other.1);
        self.attach(one, Attachment::Wire(other.0, other.1));
        self.attach(other, Attachment::Wire(one.0, one.1));
        let line = Arc::new(line);
        let (from, to) = (
            Point::Interface(one.0, one.1),
            Point::Interface(other.0, other.1),
        );
        self.lay(from, to, Arc::clone(&line), None);
        self.lay(to, from, line, None);
    }

    /// Replaces the line of one direction of a wire.
    pub fn wire_from(
        &mut self,
        from: (impl Into<HostId>, u8),
        to: (impl Into<HostId>, u8),
        line: Line,
    ) {
        let from = Point::Interface(from.0.into(), from.1);
        let to = Point::Interface(to.0.into(), to.1);
        if self.links.find(from, to).is_none() {
            misuse("no wire joins the two interfaces");
        }
        self.lay(from, to, Arc::new(line), None);
    }

    /// Makes a bus. Its members take turns: its rate and its queue are one for all.
    pub fn bus(&mut self, line: Line) -> Bus {
        let medium = self.links.add_medium();
        self.links.buses.push(BusState {
            line: Arc::new(line),
            medium,
            members: Vec::new(),
        });
        Bus(self.links.buses.len() - 1)
    }

    /// Puts an interface on a bus. There it hears what is sent to its host's link address, and what is sent
    /// to [`BROADCAST`].
    pub fn join(&mut self, bus: Bus, host: impl Into<HostId>, interface: u8) {
        let member = (host.into(), interface);
        self.attach(member, Attachment::Bus(bus));
        let Some(state) = self.links.buses.get_mut(bus.0) else {
            misuse("the bus belongs to another world");
        };
        let (line, medium) = (Arc::clone(&state.line), state.medium);
        let others = state.members.clone();
        state.members.push(member);
        let point = Point::Interface(member.0, member.1);
        for (host, interface) in others {
            let other = Point::Interface(host, interface);
            self.lay(point, other, Arc::clone(&line), Some(medium));
            self.lay(other, point, Arc::clone(&line), Some(medium));
        }
    }

    fn attach(&mut self, end: (HostId, u8), attachment: Attachment) {
        if !matches!(self.lodging(Node::Host(end.0)), Some(Lodging::Link(_))) {
            misuse("only a host whose machine speaks to hops has interfaces");
        }
        if self.links.interfaces.insert(end, attachment).is_some() {
            let name = self.trace.name(end.0);
            misuse(&format!("interface {} of {name} is taken", end.1));
        }
    }

    /// Lays a way, on a medium of its own unless one is given.
    pub(super) fn lay(
        &mut self,
        from: Point,
        to: Point,
        line: Arc<Line>,
        medium: Option<usize>,
    ) -> usize {
        let seed = self.seed.child(&format!("way {from:?} {to:?}"));
        let has_plan = !line.contacts.is_always();
        let flight = Flight::new(&seed, &line);
        let links = &mut self.links;
        let found = links.find(from, to);
        let way = found.unwrap_or(links.ways.len());
        if found.is_none() {
            let medium = medium.unwrap_or_else(|| links.add_medium());
            links.ways.push(Way {
                from,
                to,
                line: Arc::clone(&line),
                medium,
                flight,
                version: 0,
            });
            links.table.insert((from, to), way);
        }
        let Some(state) = links.ways.get_mut(way) else {
            return way;
        };
        state.version += 1;
        state.flight.turn_to(&line);
        state.line = line;
        if has_plan {
            let version = state.version;
            self.agenda
                .enter(self.now, Happening::Contact(way, version));
        }
        way
    }

    /// A window begins or ends, or a line with a plan is laid.
    pub(super) fn contact_changes(&mut self, way: usize, version: u32) {
        let now = self.now;
        let Some(state) = self
            .links
            .ways
            .get(way)
            .filter(|way| way.version == version)
        else {
            return;
        };
        let (from, to) = (state.from, state.to);
        let window = state.line.contacts.window_at(now);
        if let Some(next) = state.line.contacts.next_change(now) {
            self.agenda.enter(next, Happening::Contact(way, version));
        }
        if let Some((opens, closes)) = window {
            self.trace.contact(Contact {
                from: from.node(),
                to: to.node(),
                opens: opens.max(now),
                closes,
            });
        }
        let link = window.map_or(Link::Down(Cause::Unreachable), |_| Link::Up);
        if let Some((id, place)) = self.address_of(from, to) {
            self.cue(id, place, link);
        }
    }

    /// What the host at `from` calls the one at `to`; nothing on IP, where contacts are not told.
    fn address_of(&self, from: Point, to: Point) -> Option<(HostId, Place)> {
        let Node::Host(id) = from.node() else {
            return None;
        };
        match (from, self.lodging(to.node())?) {
            (_, Lodging::Name(name)) => Some((id, Place::Name(*name))),
            (Point::Interface(_, interface), Lodging::Link(via)) => {
                let via = *via;
                Some((id, Place::Hop(Hop { interface, via })))
            }
            _ => None,
        }
    }

    /// Sends held datagrams as far as there is room.
    pub(super) fn release(&mut self, id: HostId) {
        while let Some(held) = self.slot(id).held.pop_front() {
            match self.send_datagram(id, &held) {
                Sent::Gone => {}
                Sent::Held(until) => {
                    self.slot(id).held.push_front(held);
                    return self.agenda.enter(until, Happening::Room(id));
                }
                Sent::Filled(until) => self.fill(id, held.to, until),
            }
        }
    }

    fn fill(&mut self, id: HostId, place: Place, until: Instant) {
        self.agenda.enter(until, Happening::Free(id, place));
        if self.links.full.insert((id, place), until).is_none() {
            self.tell(id, place, Link::Full);
        }
    }

    /// An address has room again, unless it was filled once more since.
    pub(super) fn free(&mut self, id: HostId, place: Place) {
        if self.links.full.get(&(id, place)) == Some(&self.now) {
            self.links.full.remove(&(id, place));
            self.cue(id, place, Link::Free);
        }
    }

    fn send_datagram(&mut self, id: HostId, held: &Held) -> Sent {
        match held.to {
            Place::Name(name) => self.send_by_name(id, name, &held.octets),
            Place::Hop(hop) => self.send_by_hop(id, hop, &held.octets),
            Place::Path(path) => self.send_udp(id, path, &held.octets),
            Place::Stream => Sent::Gone,
        }
    }

    fn send_by_name(&mut self, id: HostId, name: u64, octets: &Bytes) -> Sent {
        let place = Place::Name(name);
        let from = Node::Host(id);
        let own = match self.lodging(from) {
            Some(Lodging::Name(own)) => Place::Name(*own),
            _ => return Sent::Gone,
        };
        let Some(&to) = self.names.get(&name) else {
            self.note_lost(from, None, place, octets, Why::NoHost);
            return Sent::Gone;
        };
        let to_node = Node::Host(to);
        let Some(way) = self.links.find(Point::Node(from), Point::Node(to_node)) else {
            self.note_lost(from, Some(to_node), place, octets, Why::NoLine);
            return Sent::Gone;
        };
        self.set_off(place, octets, &[(way, Head::Plain(to, own))])
    }

    fn send_by_hop(&mut self, id: HostId, hop: Hop, octets: &Bytes) -> Sent {
        let place = Place::Hop(hop);
        let from = Node::Host(id);
        let targets = self.targets(id, hop);
        if targets.is_empty() {
            let attached = self.links.interfaces.get(&(id, hop.interface));
            let why = attached.map_or(Why::NoLine, |_| Why::NoHost);
            self.note_lost(from, None, place, octets, why);
            return Sent::Gone;
        }
        self.set_off(place, octets, &targets)
    }

    /// Who hears what a host sends to a hop, and on which way.
    fn targets(&self, id: HostId, hop: Hop) -> Vec<(usize, Head)> {
        let Some(Lodging::Link(own)) = self.lodging(Node::Host(id)) else {
            return Vec::new();
        };
        let members = match self.links.interfaces.get(&(id, hop.interface)) {
            Some(Attachment::Wire(host, interface)) => alloc::vec![(*host, *interface)],
            Some(Attachment::Bus(bus)) => self.hearers(*bus, (id, hop.interface), hop.via),
            None => Vec::new(),
        };
        let from = Point::Interface(id, hop.interface);
        let heard = members.into_iter().filter_map(|(host, interface)| {
            let way = self.links.find(from, Point::Interface(host, interface))?;
            let sender = Hop {
                interface,
                via: *own,
            };
            Some((way, Head::Plain(host, Place::Hop(sender))))
        });
        heard.collect()
    }

    fn hearers(&self, bus: Bus, sender: (HostId, u8), via: u16) -> Vec<(HostId, u8)> {
        let Some(bus) = self.links.buses.get(bus.0) else {
            return Vec::new();
        };
        let hears = |host: HostId| {
            via == BROADCAST
                || matches!(self.lodging(Node::Host(host)), Some(Lodging::Link(link)) if *link == via)
        };
        let members = bus.members.iter().copied();
        members
            .filter(|&member| member != sender && hears(member.0))
            .collect()
    }

    /// Sends a host's datagram on all these ways, which share a medium that takes it once.
    pub(super) fn set_off(
        &mut self,
        place: Place,
        octets: &Bytes,
        targets: &[(usize, Head)],
    ) -> Sent {
        let first = targets.first().map(|(way, _)| *way);
        let Some((from, to, departure)) =
            first.and_then(|way| self.depart(way, octets.len(), By::Host))
        else {
            return Sent::Gone;
        };
        let (at, filled) = match departure {
            Departure::Held(until) => return Sent::Held(until),
            Departure::Lost(why) => {
                self.note_lost(from, Some(to), place, octets, why);
                return Sent::Gone;
            }
            Departure::Sent { at, filled } => (at, filled),
        };
        for (way, head) in targets {
            let to = self.links.ways.get(*way).map(|way| way.to.node());
            let packet = self.note_sent(from, to, place, Carrier::Datagram, octets, None);
            self.fly(*way, at, head, octets, packet);
        }
        filled.map_or(Sent::Gone, Sent::Filled)
    }

    /// Takes a packet onto the medium of a way.
    pub(super) fn depart(
        &mut self,
        way: usize,
        len: usize,
        by: By,
    ) -> Option<(Node, Node, Departure)> {
        let now = self.now;
        let way = self.links.ways.get(way)?;
        let medium = self.links.media.get_mut(way.medium)?;
        let departure = match by {
            By::Host => medium.depart(&way.line, now, len),
            By::Network => medium.depart_in_network(&way.line, now, len),
        };
        Some((way.from.node(), way.to.node(), departure))
    }

    /// Lets a packet that leaves at `sent` fly to the end of its way.
    pub(super) fn fly(
        &mut self,
        way: usize,
        sent: Instant,
        head: &Head,
        octets: &Bytes,
        packet: Option<PacketId>,
    ) {
        let carrier = match head {
            Head::Ip(header) => header.carrier(),
            Head::Plain(..) => Carrier::Datagram,
        };
        let sight = Sight {
            now: self.now,
            carrier,
            octets,
        };
        let Some(state) = self.links.ways.get_mut(way) else {
            return;
        };
        let flown = state.flight.fly(&state.line, sent, sight, octets);
        match flown.fate {
            Ok(landing) => self.land(way, head.clone(), landing, packet),
            Err(why) => self.trace.lost(packet, sent, why),
        }
        if let Some(landing) = flown.copy {
            let copy = self.trace.copied(packet);
            self.land(way, head.clone(), landing, copy);
        }
    }

    fn land(&mut self, way: usize, head: Head, landing: Landing, packet: Option<PacketId>) {
        if landing.is_corrupted {
            self.trace
                .change(packet, |packet| packet.is_corrupted = true);
        }
        let arrival = Arrival {
            way,
            head,
            octets: landing.octets,
            packet,
            is_corrupted: landing.is_corrupted,
        };
        self.agenda
            .enter(landing.at, Happening::Arrive(Box::new(arrival)));
    }

    pub(super) fn arrival(&mut self, arrival: Arrival) {
        let Arrival {
            way,
            head,
            octets,
            packet,
            is_corrupted,
        } = arrival;
        match head {
            Head::Plain(to, from) => self.deliver(to, from, &octets, packet),
            Head::Ip(header) => {
                if let Some(to) = self.links.ways.get(way).map(|way| way.to.node()) {
                    self.come_by(to, header, &octets, packet, is_corrupted);
                }
            }
        }
    }

    /// Notes a packet in the trace. `repeated` is known for TCP; for datagrams the trace finds out.
    pub(super) fn note_sent(
        &mut self,
        from: Node,
        to: Option<Node>,
        addr: Place,
        carrier: Carrier,
        octets: &Bytes,
        repeated: Option<bool>,
    ) -> Option<PacketId> {
        if !self.trace.is_kept() {
            return None;
        }
        let label = self.label_of(from, octets);
        let is_repeated = repeated.unwrap_or_else(|| {
            let label = label.as_deref();
            carrier == Carrier::Datagram && self.trace.repeats(from, addr, label, octets)
        });
        self.trace.sent(Packet {
            from,
            to,
            addr,
            time: self.now,
            carrier,
            numbers: None,
            len: octets.len(),
            octets: octets.clone(),
            label,
            is_repeated,
            is_copy: false,
            is_corrupted: false,
            fate: Fate::InFlight,
        })
    }

    fn label_of(&mut self, from: Node, octets: &[u8]) -> Option<alloc::string::String> {
        if octets.is_empty() {
            return None;
        }
        let Node::Host(id) = from else {
            return None;
        };
        let own = self.hosts.get_mut(id.0)?.label.as_mut();
        own.or(self.label.as_mut()).and_then(|label| label(octets))
    }

    fn note_lost(&mut self, from: Node, to: Option<Node>, addr: Place, octets: &Bytes, why: Why) {
        let packet = self.note_sent(from, to, addr, Carrier::Datagram, octets, None);
        self.trace.lost(packet, self.now, why);
    }
}
