//! What travels on lines: how packets set off, fly and arrive.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::happening::{Happening, Rare};
use super::host::Sending;
use super::ip::Header;
use super::links::{Attachment, BROADCAST, Bus, Links, Point, WayId, WayMedium};
use super::script::Label;
use super::trace::{Packet, PacketId};
use super::way::{Departure, Landing};
use super::world::{Lodging, Named, Route};
use super::{Carrier, Fate, HostId, Node, Place, Why, World};
use crate::{Hop, Instant, Link};

/// A datagram that its host has not got rid of.
pub(super) struct Held {
    pub(super) to: Place,
    pub(super) octets: Bytes,
}

/// A datagram at the end of a line, in one line of the cache.
#[repr(align(64))]
pub(super) struct Arrival {
    pub(super) to: HostId,
    from: From,
    pub(super) octets: Bytes,
    packet: Option<PacketId>,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Name(u64),
    Hop(Hop),
}

/// A packet at the end of a line on IP.
pub(super) struct IpArrival {
    pub(super) to: Node,
    header: Header,
    pub(super) octets: Bytes,
    packet: Option<PacketId>,
}

/// What a packet carries beside its octets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Head {
    /// For this host, from this number.
    Named(HostId, u64),
    /// For this host, from this hop.
    Hop(HostId, Hop),
    /// For this node.
    Ip(Node, Header),
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

impl World {
    /// Sends held datagrams as far as there is room.
    pub(super) fn release(&mut self, id: HostId) {
        let held = mem::take(&mut self.slot(id).spare.held);
        self.slot(id).is_held = false;
        self.send_all(id, held.into_iter());
    }

    /// Sends what a machine wrote to one destination.
    pub(super) fn send_datagrams(&mut self, id: HostId, sending: Sending) {
        if sending.octets.len() > sending.segment_size {
            let to = sending.to;
            let datagrams = sending.into_datagrams();
            return self.send_all(id, datagrams.map(|octets| Held { to, octets }));
        }
        let Sending { to, mut octets, .. } = sending;
        if let Some(until) = self.send_datagram(id, to, &mut octets) {
            self.hold(id, until, Held { to, octets });
        }
    }

    /// Sends as many as there is room for, and holds the rest.
    fn send_all(&mut self, id: HostId, mut datagrams: impl Iterator<Item = Held>) {
        while let Some(mut held) = datagrams.next() {
            if let Some(until) = self.send_datagram(id, held.to, &mut held.octets) {
                self.hold(id, until, held);
                return self.slot(id).spare.held.extend(datagrams);
            }
        }
    }

    fn hold(&mut self, id: HostId, until: Instant, held: Held) {
        let slot = self.slot(id);
        slot.is_held = true;
        slot.spare.held.push_back(held);
        self.agenda.enter(until, Happening::Room(id));
    }

    fn fill(&mut self, id: HostId, place: Place, until: Instant) {
        self.plan(until, Rare::Free(id, place));
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

    /// Sends a datagram, unless it must be held until the time that is returned.
    fn send_datagram(&mut self, id: HostId, to: Place, octets: &mut Bytes) -> Option<Instant> {
        let sent = match to {
            Place::Name(name) => self.send_by_name(id, name, octets),
            Place::Hop(hop) => self.send_by_hop(id, hop, octets),
            Place::Path(path) => self.send_udp(id, path, octets),
            Place::Stream => Sent::Gone,
        };
        match sent {
            Sent::Gone => None,
            Sent::Held(until) => Some(until),
            Sent::Filled(until) => {
                self.fill(id, to, until);
                None
            }
        }
    }

    fn send_by_name(&mut self, id: HostId, name: u64, octets: &mut Bytes) -> Sent {
        let place = Place::Name(name);
        let from = Node::Host(id);
        let slot = self.slot(id);
        let Lodging::Name(Named { own, .. }) = slot.lodging else {
            return Sent::Gone;
        };
        let route = slot.route(name).or_else(|| self.find_route(id, name));
        let Some(Route { to, way, .. }) = route else {
            let to = self.names.get(&name).map(|to| Node::Host(*to));
            let why = to.map_or(Why::NoHost, |_| Why::NoLine);
            self.note_lost(from, to, place, octets, why);
            return Sent::Gone;
        };
        self.set_off(place, octets, &[(way, Head::Named(to, own))])
    }

    /// Finds the way to a number, and remembers it: ways and numbers stay as long as the world.
    fn find_route(&mut self, id: HostId, name: u64) -> Option<Route> {
        let to = *self.names.get(&name)?;
        let from = Point::Node(Node::Host(id));
        let way = self.links.find(from, Point::Node(Node::Host(to)))?;
        let route = Route { name, to, way };
        self.slot(id).learn(route);
        Some(route)
    }

    fn send_by_hop(&mut self, id: HostId, hop: Hop, octets: &mut Bytes) -> Sent {
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
    fn targets(&self, id: HostId, hop: Hop) -> Vec<(WayId, Head)> {
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
            Some((way, Head::Hop(host, sender)))
        });
        heard.collect()
    }

    fn hearers(&self, bus: Bus, sender: (HostId, u8), via: u16) -> Vec<(HostId, u8)> {
        let Some(bus) = self.links.buses.get(bus.index()) else {
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

    /// Sends a host's datagram on all these ways, which share a medium that takes it once. Takes the octets,
    /// unless the datagram is held.
    pub(super) fn set_off(
        &mut self,
        place: Place,
        octets: &mut Bytes,
        targets: &[(WayId, Head)],
    ) -> Sent {
        let first = targets.first().map(|(way, _)| *way);
        let departure = first.and_then(|way| self.depart(way, octets.len(), By::Host));
        let (Some(first), Some(departure)) = (first, departure) else {
            return Sent::Gone;
        };
        let (at, filled) = match departure {
            Departure::Held(until) => return Sent::Held(until),
            Departure::Lost(why) => {
                if let Some((from, to)) = self.links.nodes(first) {
                    self.note_lost(from, Some(to), place, octets, why);
                }
                return Sent::Gone;
            }
            Departure::Sent { at, filled } => (at, filled),
        };
        let octets = mem::take(octets);
        let Some(((last, last_head), others)) = targets.split_last() else {
            return Sent::Gone;
        };
        for (way, head) in others {
            self.take_off(*way, at, *head, place, octets.clone());
        }
        self.take_off(*last, at, *last_head, place, octets);
        filled.map_or(Sent::Gone, Sent::Filled)
    }

    fn take_off(&mut self, way: WayId, at: Instant, head: Head, place: Place, octets: Bytes) {
        let nodes = self.trace.is_kept().then(|| self.links.nodes(way));
        let packet = nodes.flatten().and_then(|(from, to)| {
            self.note_sent(from, Some(to), place, Carrier::Datagram, &octets, None)
        });
        self.fly(way, at, head, octets, packet);
    }

    /// Takes a packet onto the medium of a way.
    pub(super) fn depart(&mut self, way: WayId, len: usize, by: By) -> Option<Departure> {
        let now = self.now;
        let Links { ways, buses, .. } = &mut self.links;
        let way = ways.get_mut(way.index())?;
        let medium = match &mut way.medium {
            WayMedium::Own(medium) => medium,
            WayMedium::OfBus(bus) => &mut buses.get_mut(bus.index())?.medium,
        };
        let departure = match by {
            By::Host => medium.depart(&way.line, now, len),
            By::Network => medium.depart_in_network(&way.line, now, len),
        };
        Some(departure)
    }

    /// Lets a packet that leaves at `sent` fly to the end of its way.
    pub(super) fn fly(
        &mut self,
        way: WayId,
        sent: Instant,
        head: Head,
        octets: Bytes,
        packet: Option<PacketId>,
    ) {
        let carrier = match &head {
            Head::Ip(_, header) => header.carrier(),
            Head::Named(..) | Head::Hop(..) => Carrier::Datagram,
        };
        let Some(state) = self.links.way(way) else {
            return;
        };
        let flown = state.flight.fly(&state.line, sent, carrier, octets);
        let copy = flown.copy.map(|landing| (landing, head));
        match flown.fate {
            Ok(landing) => self.land(head, landing, packet),
            Err(why) => self.trace.lost(packet, sent, why),
        }
        if let Some((landing, head)) = copy {
            let copy = self.trace.copied(packet);
            self.land(head, landing, copy);
        }
    }

    fn land(&mut self, head: Head, landing: Landing, packet: Option<PacketId>) {
        if landing.is_corrupted {
            self.trace
                .change(packet, |packet| packet.is_corrupted = true);
        }
        let octets = landing.octets;
        let (to, from) = match head {
            Head::Named(to, from) => (to, From::Name(from)),
            Head::Hop(to, from) => (to, From::Hop(from)),
            Head::Ip(to, mut header) => {
                header.is_corrupted |= landing.is_corrupted;
                let arrival = IpArrival {
                    to,
                    header,
                    octets,
                    packet,
                };
                return self.plan_ip_arrival(landing.at, arrival);
            }
        };
        let arrival = Arrival {
            to,
            from,
            octets,
            packet,
        };
        self.plan_arrival(landing.at, arrival);
    }

    pub(super) fn arrival(&mut self, arrival: &Arrival) {
        let from = match arrival.from {
            From::Name(name) => Place::Name(name),
            From::Hop(hop) => Place::Hop(hop),
        };
        self.deliver(arrival.to, from, &arrival.octets, arrival.packet);
    }

    pub(super) fn ip_arrival(&mut self, arrival: IpArrival) {
        self.come_by(arrival.to, arrival.header, arrival.octets, arrival.packet);
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
        let known = repeated.or(label.as_ref().and_then(|label| label.is_repeated));
        let label = label.map(|label| label.text);
        let is_repeated = known.unwrap_or_else(|| {
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

    fn label_of(&mut self, from: Node, octets: &[u8]) -> Option<Label> {
        if octets.is_empty() {
            return None;
        }
        let Node::Host(id) = from else {
            return None;
        };
        let own = self.hosts.get_mut(id.index())?.spare.label.as_mut();
        own.or(self.label.as_mut()).and_then(|label| label(octets))
    }

    fn note_lost(&mut self, from: Node, to: Option<Node>, addr: Place, octets: &Bytes, why: Why) {
        let packet = self.note_sent(from, to, addr, Carrier::Datagram, octets, None);
        self.trace.lost(packet, self.now, why);
    }
}
