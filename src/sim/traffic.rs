//! Datagrams and packets on lines: how they are sent, propagated and delivered.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::direction::{Departure, Landed};
use super::event::{Event, RareEvent};
use super::host::SendBatch;
use super::ip::IpHeader;
use super::lines::{Attachment, BROADCAST, Bus, DirectionId, LineEnd, Links, MediumRef};
use super::script::Label;
use super::trace::{PacketId, TracePacket};
use super::world::{AddressState, NumberRoute, NumberedHost};
use super::{AnyAddr, Delivery, DropReason, HostId, Node, PacketKind, World};
use crate::{Hop, Instant, Link};

/// A datagram that waits for room on a line.
pub(super) struct HeldDatagram {
    pub(super) to: AnyAddr,
    pub(super) octets: Bytes,
}

/// A datagram at the end of a line, in one cache line.
#[repr(align(64))]
pub(super) struct DatagramArrival {
    pub(super) to: HostId,
    from: Sender,
    pub(super) octets: Bytes,
    packet: Option<PacketId>,
}

#[derive(Debug, Clone, Copy)]
enum Sender {
    Number(u64),
    Hop(Hop),
}

/// A packet at the end of a line on IP.
pub(super) struct IpArrival {
    pub(super) to: Node,
    header: IpHeader,
    pub(super) octets: Bytes,
    packet: Option<PacketId>,
}

/// The receiver of a packet, and what it gets besides the octets.
#[derive(Debug, Clone, Copy)]
pub(super) enum PacketHeader {
    /// A host, and the number of the sender.
    Number(HostId, u64),
    /// A host, and the hop to the sender.
    Hop(HostId, Hop),
    /// A node on IP.
    Ip(Node, IpHeader),
}

/// Who sends a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentBy {
    Host,
    Network,
}

/// What comes of a datagram for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendResult {
    Gone,
    /// The host must hold the datagram until this time.
    Held(Instant),
    /// It is sent. The queue is full until this time.
    Filled(Instant),
}

impl World {
    /// Sends held datagrams while there is room.
    pub(super) fn release(&mut self, id: HostId) {
        let held = mem::take(&mut self.slot(id).extras.held);
        self.slot(id).is_held = false;
        self.send_all(id, held.into_iter());
    }

    /// Sends what a machine wrote to one destination.
    pub(super) fn send_datagrams(&mut self, id: HostId, batch: SendBatch) {
        if batch.octets.len() > batch.segment_size {
            let to = batch.to;
            let datagrams = batch.into_datagrams();
            return self.send_all(id, datagrams.map(|octets| HeldDatagram { to, octets }));
        }
        let SendBatch { to, mut octets, .. } = batch;
        if let Some(until) = self.send_datagram(id, to, &mut octets) {
            self.hold(id, until, HeldDatagram { to, octets });
        }
    }

    /// Sends datagrams while there is room, and holds the rest.
    fn send_all(&mut self, id: HostId, mut datagrams: impl Iterator<Item = HeldDatagram>) {
        while let Some(mut held) = datagrams.next() {
            if let Some(until) = self.send_datagram(id, held.to, &mut held.octets) {
                self.hold(id, until, held);
                return self.slot(id).extras.held.extend(datagrams);
            }
        }
    }

    fn hold(&mut self, id: HostId, until: Instant, held: HeldDatagram) {
        let slot = self.slot(id);
        slot.is_held = true;
        slot.extras.held.push_back(held);
        self.event_queue.push(until, Event::RetryHeld(id));
    }

    /// Records that the carrier of an address is full, and tells the machine unless it knows.
    fn fill(&mut self, id: HostId, addr: AnyAddr, until: Instant) {
        let carrier = addr.carrier();
        self.schedule_rare(until, RareEvent::Free(id, carrier));
        if self.links.full.insert((id, carrier), until).is_none() {
            self.tell(id, carrier, Link::Full);
        }
    }

    /// Records that a carrier has room again, unless it was filled again.
    pub(super) fn free(&mut self, id: HostId, addr: AnyAddr) {
        if self.links.full.get(&(id, addr)) == Some(&self.now) {
            self.links.full.remove(&(id, addr));
            self.cue(id, addr, Link::Free);
        }
    }

    /// Sends a datagram, or returns until when it must be held.
    fn send_datagram(&mut self, id: HostId, to: AnyAddr, octets: &mut Bytes) -> Option<Instant> {
        let sent = match to {
            AnyAddr::Number(name) => self.send_by_name(id, name, octets),
            AnyAddr::Hop(hop) => self.send_by_hop(id, hop, octets),
            AnyAddr::Path(path) => self.send_udp(id, path, octets),
            AnyAddr::Stream => SendResult::Gone,
        };
        match sent {
            SendResult::Gone => None,
            SendResult::Held(until) => Some(until),
            SendResult::Filled(until) => {
                self.fill(id, to, until);
                None
            }
        }
    }

    fn send_by_name(&mut self, id: HostId, name: u64, octets: &mut Bytes) -> SendResult {
        let addr = AnyAddr::Number(name);
        let from = Node::Host(id);
        let slot = self.slot(id);
        let AddressState::Number(NumberedHost { own, .. }) = slot.address else {
            return SendResult::Gone;
        };
        let route = slot.route(name).or_else(|| self.find_route(id, name));
        let Some(NumberRoute { to, direction, .. }) = route else {
            let to = self.numbers.get(&name).map(|to| Node::Host(*to));
            let reason = to.map_or(DropReason::NoHost, |_| DropReason::NoLine);
            self.trace_lost(from, to, addr, octets, reason);
            return SendResult::Gone;
        };
        self.send_on(addr, octets, &[(direction, PacketHeader::Number(to, own))])
    }

    /// Looks up the route to a number, and keeps it: hosts and lines are never removed.
    fn find_route(&mut self, id: HostId, name: u64) -> Option<NumberRoute> {
        let to = *self.numbers.get(&name)?;
        let from = LineEnd::Node(Node::Host(id));
        let direction = self.links.find(from, LineEnd::Node(Node::Host(to)))?;
        let route = NumberRoute {
            name,
            to,
            direction,
        };
        self.slot(id).learn(route);
        Some(route)
    }

    fn send_by_hop(&mut self, id: HostId, hop: Hop, octets: &mut Bytes) -> SendResult {
        let addr = AnyAddr::Hop(hop);
        let from = Node::Host(id);
        let targets = self.targets(id, hop);
        if targets.is_empty() {
            let attached = self.links.interfaces.get(&(id, hop.interface));
            let reason = attached.map_or(DropReason::NoLine, |_| DropReason::NoHost);
            self.trace_lost(from, None, addr, octets, reason);
            return SendResult::Gone;
        }
        self.send_on(addr, octets, &targets)
    }

    /// Returns the receivers of what a host sends to a hop.
    fn targets(&self, id: HostId, hop: Hop) -> Vec<(DirectionId, PacketHeader)> {
        let Some(AddressState::Link(own)) = self.address(Node::Host(id)) else {
            return Vec::new();
        };
        let members = match self.links.interfaces.get(&(id, hop.interface)) {
            Some(Attachment::Wire(host, interface)) => alloc::vec![(*host, *interface)],
            Some(Attachment::Bus(bus)) => self.bus_receivers(*bus, (id, hop.interface), hop.via),
            None => Vec::new(),
        };
        let from = LineEnd::Interface(id, hop.interface);
        let receivers = members.into_iter().filter_map(|(host, interface)| {
            let direction = self.links.find(from, LineEnd::Interface(host, interface))?;
            let sender = Hop {
                interface,
                via: *own,
            };
            Some((direction, PacketHeader::Hop(host, sender)))
        });
        receivers.collect()
    }

    fn bus_receivers(&self, bus: Bus, sender: (HostId, u8), via: u16) -> Vec<(HostId, u8)> {
        let Some(bus) = self.links.buses.get(bus.index()) else {
            return Vec::new();
        };
        let receives = |host: HostId| {
            via == BROADCAST
                || matches!(self.address(Node::Host(host)), Some(AddressState::Link(link)) if *link == via)
        };
        let members = bus.members.iter().copied();
        members
            .filter(|&member| member != sender && receives(member.0))
            .collect()
    }

    /// Sends a host's datagram in all these directions, which share one medium that sends it once. Takes the
    /// octets, unless the datagram is held.
    pub(super) fn send_on(
        &mut self,
        addr: AnyAddr,
        octets: &mut Bytes,
        targets: &[(DirectionId, PacketHeader)],
    ) -> SendResult {
        let first = targets.first().map(|(direction, _)| *direction);
        let departure =
            first.and_then(|direction| self.depart(direction, octets.len(), SentBy::Host));
        let (Some(first), Some(departure)) = (first, departure) else {
            return SendResult::Gone;
        };
        let (at, filled) = match departure {
            Departure::Held(until) => return SendResult::Held(until),
            Departure::Lost(reason) => {
                if let Some((from, to)) = self.links.nodes(first) {
                    self.trace_lost(from, Some(to), addr, octets, reason);
                }
                return SendResult::Gone;
            }
            Departure::Sent { at, filled } => (at, filled),
        };
        let octets = mem::take(octets);
        let Some(((last, last_head), others)) = targets.split_last() else {
            return SendResult::Gone;
        };
        for (direction, head) in others {
            self.send_one(*direction, at, *head, addr, octets.clone());
        }
        self.send_one(*last, at, *last_head, addr, octets);
        filled.map_or(SendResult::Gone, SendResult::Filled)
    }

    fn send_one(
        &mut self,
        direction: DirectionId,
        at: Instant,
        head: PacketHeader,
        addr: AnyAddr,
        octets: Bytes,
    ) {
        let nodes = self.trace.is_kept().then(|| self.links.nodes(direction));
        let packet = nodes.flatten().and_then(|(from, to)| {
            self.trace_sent(from, Some(to), addr, PacketKind::Datagram, &octets, None)
        });
        self.propagate(direction, at, head, octets, packet);
    }

    /// Sends a packet on the medium of a direction.
    pub(super) fn depart(
        &mut self,
        direction: DirectionId,
        len: usize,
        by: SentBy,
    ) -> Option<Departure> {
        let now = self.now;
        let Links {
            directions, buses, ..
        } = &mut self.links;
        let direction = directions.get_mut(direction.index())?;
        let medium = match &mut direction.medium {
            MediumRef::Own(medium) => medium,
            MediumRef::OfBus(bus) => &mut buses.get_mut(bus.index())?.medium,
        };
        let departure = match by {
            SentBy::Host => medium.depart(&direction.line, now, len),
            SentBy::Network => medium.depart_in_network(&direction.line, now, len),
        };
        Some(departure)
    }

    /// Propagates a packet whose last bit is sent at `sent`.
    pub(super) fn propagate(
        &mut self,
        direction: DirectionId,
        sent: Instant,
        head: PacketHeader,
        octets: Bytes,
        packet: Option<PacketId>,
    ) {
        let kind = match &head {
            PacketHeader::Ip(_, header) => header.kind(),
            PacketHeader::Number(..) | PacketHeader::Hop(..) => PacketKind::Datagram,
        };
        let Some(state) = self.links.direction(direction) else {
            return;
        };
        let propagated = state.propagation.propagate(&state.line, sent, kind, octets);
        let copy = propagated.copy.map(|landed| (landed, head));
        match propagated.delivery {
            Ok(landed) => self.schedule_landed(head, landed, packet),
            Err(reason) => self.trace.lost(packet, sent, reason),
        }
        if let Some((landed, head)) = copy {
            let copy = self.trace.copied(packet);
            self.schedule_landed(head, landed, copy);
        }
    }

    fn schedule_landed(&mut self, head: PacketHeader, landed: Landed, packet: Option<PacketId>) {
        if landed.is_corrupted {
            self.trace
                .change(packet, |packet| packet.is_corrupted = true);
        }
        let octets = landed.octets;
        let (to, from) = match head {
            PacketHeader::Number(to, from) => (to, Sender::Number(from)),
            PacketHeader::Hop(to, from) => (to, Sender::Hop(from)),
            PacketHeader::Ip(to, mut header) => {
                header.is_corrupted |= landed.is_corrupted;
                let arrival = IpArrival {
                    to,
                    header,
                    octets,
                    packet,
                };
                return self.schedule_ip_arrival(landed.at, arrival);
            }
        };
        let arrival = DatagramArrival {
            to,
            from,
            octets,
            packet,
        };
        self.schedule_arrival(landed.at, arrival);
    }

    pub(super) fn arrival(&mut self, arrival: &DatagramArrival) {
        let from = match arrival.from {
            Sender::Number(name) => AnyAddr::Number(name),
            Sender::Hop(hop) => AnyAddr::Hop(hop),
        };
        self.deliver(arrival.to, from, &arrival.octets, arrival.packet);
    }

    pub(super) fn ip_arrival(&mut self, arrival: IpArrival) {
        self.ip_arrives(arrival.to, arrival.header, arrival.octets, arrival.packet);
    }

    /// Adds a packet to the trace. Only TCP knows whether it is `repeated`.
    pub(super) fn trace_sent(
        &mut self,
        from: Node,
        to: Option<Node>,
        addr: AnyAddr,
        kind: PacketKind,
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
            kind == PacketKind::Datagram && self.trace.repeats(from, addr, label, octets)
        });
        self.trace.sent(TracePacket {
            from,
            to,
            addr,
            time: self.now,
            kind,
            numbers: None,
            len: octets.len(),
            octets: octets.clone(),
            label,
            is_repeated,
            is_copy: false,
            is_corrupted: false,
            delivery: Delivery::InFlight,
        })
    }

    fn label_of(&mut self, from: Node, octets: &[u8]) -> Option<Label> {
        if octets.is_empty() {
            return None;
        }
        let Node::Host(id) = from else {
            return None;
        };
        let own = self.hosts.get_mut(id.index())?.extras.label.as_mut();
        own.or(self.label.as_mut()).and_then(|label| label(octets))
    }

    fn trace_lost(
        &mut self,
        from: Node,
        to: Option<Node>,
        addr: AnyAddr,
        octets: &Bytes,
        reason: DropReason,
    ) {
        let packet = self.trace_sent(from, to, addr, PacketKind::Datagram, octets, None);
        self.trace.lost(packet, self.now, reason);
    }
}
