//! IP: networks, and the NATs between them.
//!
//! There is one public network, and one behind each NAT. All nodes of a network are neighbours. A packet for
//! an address that no neighbour has goes to the NAT, if there is one. Each hop to a neighbour has a line of
//! its own.

mod bound;
mod nat;
mod nat_table;
mod oracle;
mod sockets;
mod stack;
mod tcp;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

pub use nat::{
    Conflict, Filtering, Hairpin, Mapping, Nat, Parity, Pooling, Ports, Refresh, SimultaneousOpen,
    Stray, Translation, Unsolicited,
};
pub use nat_table::Binding;
pub use tcp::Tcp;

pub(super) use sockets::TcpTimer;
pub(super) use stack::IpStack;

use super::direction::Departure;
use super::event::RareEvent;
use super::lines::{DirectionId, LineEnd};
use super::lookup_map::LookupMap;
use super::trace::PacketId;
use super::traffic::{PacketHeader, SentBy};
use super::world::AddressState;
use super::{AnyAddr, DropReason, Ip, Line, NatId, Node, PacketKind, TcpFlags, World, misuse};
use crate::{Path, Proto};
use nat_table::{NatDrop, NatPacket, NatTable};
use tcp::TcpHeader;

/// The index of the public network. The network behind the NAT with index n has index n + 1.
const PUBLIC: usize = 0;

/// All networks and NATs of a world.
pub(super) struct Internet {
    nets: Vec<Network>,
    nats: Vec<NatState>,
    /// The number of addresses of all hosts and NATs.
    addresses: u32,
}

struct Network {
    members: LookupMap<IpAddr, Node>,
    /// The line between neighbours without a line of their own.
    line: Arc<Line>,
}

/// A NAT between the network behind it and `outer`.
struct NatState {
    outer: usize,
    /// The routes used last, to the outer network and to the inner one.
    routes: [Option<IpRoute>; 2],
    table: NatTable,
}

/// The next hop to an address, cached for the next packet.
#[derive(Debug, Clone, Copy)]
struct IpRoute {
    net: usize,
    dst: IpAddr,
    /// The number of addresses at the time. Any further one may be nearer.
    addresses: u32,
    hop: Node,
    direction: DirectionId,
}

/// The header of an IP packet, with that of its TCP segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct IpHeader {
    src: SocketAddr,
    dst: SocketAddr,
    /// The header of a TCP segment. UDP has none here.
    segment: Option<TcpHeader>,
    /// The network in which the packet is.
    net: usize,
    /// Whether a line flipped a bit. The checksum stays wrong, whatever NATs change.
    pub(super) is_corrupted: bool,
}

impl IpHeader {
    pub(super) const fn kind(&self) -> PacketKind {
        match self.segment {
            Some(segment) => PacketKind::Tcp(segment.flags),
            None => PacketKind::Datagram,
        }
    }

    const fn proto(&self) -> Proto {
        match self.segment {
            Some(_) => Proto::Tcp,
            None => Proto::Udp,
        }
    }

    const fn flags(&self) -> Option<TcpFlags> {
        match self.segment {
            Some(segment) => Some(segment.flags),
            None => None,
        }
    }
}

/// A SYN that a NAT dropped, to be answered later.
pub(super) struct DeniedSyn {
    nat: NatId,
    header: IpHeader,
    len: usize,
}

impl Internet {
    pub(super) fn new() -> Self {
        let public = Network {
            members: LookupMap::default(),
            line: Arc::new(Line::delayed(Duration::from_millis(10))),
        };
        Self {
            nets: alloc::vec![public],
            nats: Vec::new(),
            addresses: 0,
        }
    }

    fn nat_state(&mut self, nat: NatId) -> &mut NatState {
        match self.nats.get_mut(nat.index()) {
            Some(nat_state) => nat_state,
            None => misuse("the NAT belongs to another world"),
        }
    }

    /// Tells whether `net` is `outer`, or behind NATs in it.
    fn is_within(&self, mut net: usize, outer: usize) -> bool {
        loop {
            if net == outer {
                return true;
            }
            // A NAT is created after those that it is behind, so this ends.
            match net.checked_sub(1).and_then(|nat| self.nats.get(nat)) {
                Some(nat_state) => net = nat_state.outer,
                None => return false,
            }
        }
    }

    /// Returns the neighbour that has `address`, or else the NAT.
    fn next_hop(&self, net: usize, address: IpAddr) -> Option<Node> {
        let member = self.nets.get(net)?.members.get(&address).copied();
        member.or_else(|| Some(Node::Nat(NatId::new(net.checked_sub(1)?))))
    }
}

impl World {
    /// Adds a NAT. Hosts are [`behind`](Ip::behind) it, and so are other NATs.
    pub fn nat(&mut self, ip: Ip, nat: Nat) -> NatId {
        let id = NatId::new(self.net.nats.len());
        let (addresses, nets): (Vec<IpAddr>, Vec<usize>) = ip.into_homes().unzip();
        let outer = nets.first().copied().unwrap_or(PUBLIC);
        if nets.iter().any(|net| *net != outer) {
            misuse("the external addresses of a NAT must be in one network");
        }
        let name = addresses.first().map(|address| format!("NAT {address}"));
        self.trace.add_name(Node::Nat(id), name.unwrap_or_default());
        for address in &addresses {
            self.register_address(outer, *address, Node::Nat(id));
        }
        let rng = self.seed.child(&format!("nat {}", id.0)).rng();
        self.net.nets.push(Network {
            members: LookupMap::default(),
            line: Arc::new(Line::default()),
        });
        self.net.nats.push(NatState {
            outer,
            routes: [None; 2],
            table: NatTable::new(nat, addresses, rng),
        });
        id
    }

    fn register_address(&mut self, net: usize, address: IpAddr, node: Node) {
        let Some(members) = self.net.nets.get_mut(net).map(|net| &mut net.members) else {
            misuse("the NAT belongs to another world");
        };
        self.net.addresses = self.net.addresses.wrapping_add(1);
        if members.insert(address, node).is_some() {
            misuse(&format!("two neighbours have the address {address}"));
        }
        // A firewall translates no addresses, so the outer network finds them at the firewall.
        if let Some(nat) = net.checked_sub(1).map(NatId::new) {
            let nat_state = self.net.nat_state(nat);
            if nat_state.table.is_firewall() {
                let outer = nat_state.outer;
                self.register_address(outer, address, Node::Nat(nat));
            }
        }
    }

    pub(super) fn register_ip(&mut self, id: super::HostId, ip: Ip) -> IpStack {
        let addresses: Vec<(IpAddr, usize)> = ip.into_homes().collect();
        for (address, net) in &addresses {
            self.register_address(*net, *address, Node::Host(id));
        }
        IpStack::new(addresses, &self.seed.child(&format!("stack {}", id.0)))
    }

    /// Sets the line between neighbours in the public network that have none of their own. The default has a
    /// delay of 10 ms.
    pub fn internet(&mut self, line: Line) {
        if let Some(public) = self.net.nets.get_mut(PUBLIC) {
            public.line = Arc::new(line);
        }
    }

    /// Sets the line between neighbours behind a NAT, the NAT included, that have none of their own. The
    /// default has no delay.
    pub fn inside(&mut self, nat: NatId, line: Line) {
        match self.net.nets.get_mut(nat.index() + 1) {
            Some(net) => net.line = Arc::new(line),
            None => misuse("the NAT belongs to another world"),
        }
    }

    /// Removes all mappings of a NAT, as a restart does.
    pub fn forget(&mut self, nat: NatId) {
        self.net.nat_state(nat).table.forget();
    }

    /// Returns the present mappings of a NAT, in the order of their creation.
    #[must_use]
    pub fn bindings(&self, nat: NatId) -> Vec<Binding> {
        match self.net.nats.get(nat.index()) {
            Some(nat_state) => nat_state.table.bindings(self.now),
            None => misuse("the NAT belongs to another world"),
        }
    }

    pub(super) fn share_net(&self, from: Node, to: Node) -> bool {
        let nets = self.nets_of(from);
        self.nets_of(to).iter().any(|net| nets.contains(net))
    }

    fn nets_of(&self, node: Node) -> Vec<usize> {
        match node {
            Node::Nat(nat) => {
                let outer = self
                    .net
                    .nats
                    .get(nat.index())
                    .map(|nat_state| nat_state.outer);
                outer.into_iter().chain([nat.index() + 1]).collect()
            }
            Node::Host(id) => match self.hosts.get(id.index()).map(|slot| &slot.address) {
                Some(AddressState::Ip(stack)) => stack.nets().collect(),
                _ => Vec::new(),
            },
        }
    }

    /// Returns the direction to a neighbour. Adds the default line of the network if there is none.
    fn direction_in(&mut self, net: usize, from: Node, to: Node) -> Option<DirectionId> {
        let (start, end) = (LineEnd::Node(from), LineEnd::Node(to));
        if let Some(direction) = self.links.find(start, end) {
            return Some(direction);
        }
        let line = if from == to {
            Arc::new(Line::default())
        } else {
            Arc::clone(&self.net.nets.get(net)?.line)
        };
        Some(self.add_direction(start, end, line, None))
    }

    /// Returns the direction in which a packet leaves `from`.
    fn direction_out(&mut self, from: Node, header: &IpHeader) -> Option<(DirectionId, Node)> {
        let IpHeader { net, dst, .. } = *header;
        let (dst, addresses) = (dst.ip(), self.net.addresses);
        if let Some(route) = *self.cached_route(from, net)?
            && (route.net, route.dst, route.addresses) == (net, dst, addresses)
        {
            return Some((route.direction, route.hop));
        }
        let hop = self.net.next_hop(net, dst)?;
        let direction = self.direction_in(net, from, hop)?;
        *self.cached_route(from, net)? = Some(IpRoute {
            net,
            dst,
            addresses,
            hop,
            direction,
        });
        Some((direction, hop))
    }

    fn cached_route(&mut self, from: Node, net: usize) -> Option<&mut Option<IpRoute>> {
        match from {
            Node::Host(id) => Some(&mut self.stack(id).route),
            Node::Nat(nat) => {
                let side = usize::from(net == nat.index() + 1);
                self.net.nats.get_mut(nat.index())?.routes.get_mut(side)
            }
        }
    }

    /// Sends a packet from `from`, which does not wait for a queue.
    fn forward(&mut self, from: Node, header: IpHeader, octets: Bytes, packet: Option<PacketId>) {
        let Some((direction, to)) = self.direction_out(from, &header) else {
            return self.trace.lost(packet, self.now, DropReason::NoHost);
        };
        let Some(departure) = self.depart(direction, octets.len(), SentBy::Network) else {
            return;
        };
        self.trace.change(packet, |packet| packet.to = Some(to));
        match departure {
            Departure::Sent { at, .. } => {
                self.propagate(direction, at, PacketHeader::Ip(to, header), octets, packet);
            }
            Departure::Lost(reason) => self.trace.lost(packet, self.now, reason),
            Departure::Held(_) => self.trace.lost(packet, self.now, DropReason::QueueFull),
        }
    }

    /// Handles a packet that arrives at a node.
    pub(super) fn ip_arrives(
        &mut self,
        to: Node,
        header: IpHeader,
        octets: Bytes,
        packet: Option<PacketId>,
    ) {
        match to {
            Node::Host(_) if header.is_corrupted && header.segment.is_some() => {
                self.trace.lost(packet, self.now, DropReason::Checksum);
            }
            Node::Host(id) => self.receive_ip(id, header, &octets, packet),
            Node::Nat(nat) if header.net == nat.index() + 1 => {
                self.nat_outbound(nat, header, octets, packet);
            }
            Node::Nat(nat) => self.nat_inbound(nat, header, octets, packet),
        }
    }

    /// Handles a packet that arrives at a NAT from behind it.
    fn nat_outbound(
        &mut self,
        nat: NatId,
        header: IpHeader,
        octets: Bytes,
        packet: Option<PacketId>,
    ) {
        let now = self.now;
        let nat_state = self.net.nat_state(nat);
        let outer = nat_state.outer;
        let flow = header.flow();
        if nat_state.table.owns(header.dst.ip()) {
            return match nat_state.table.hairpin(now, flow) {
                Ok((src, dst)) => {
                    let header = IpHeader { src, dst, ..header };
                    self.forward(Node::Nat(nat), header, octets, packet);
                }
                Err(refusal) => self.nat_drop(nat, refusal, header, octets.len(), packet),
            };
        }
        match nat_state.table.outbound(now, flow) {
            Ok(src) => {
                let header = IpHeader {
                    src,
                    net: outer,
                    ..header
                };
                self.forward(Node::Nat(nat), header, octets, packet);
            }
            Err(refusal) => self.nat_drop(nat, refusal, header, octets.len(), packet),
        }
    }

    /// Handles a packet that arrives at a NAT from outside.
    fn nat_inbound(
        &mut self,
        nat: NatId,
        header: IpHeader,
        octets: Bytes,
        packet: Option<PacketId>,
    ) {
        let now = self.now;
        match self.net.nat_state(nat).table.inbound(now, header.flow()) {
            Ok(dst) => {
                let header = IpHeader {
                    dst,
                    net: nat.index() + 1,
                    ..header
                };
                self.forward(Node::Nat(nat), header, octets, packet);
            }
            Err(refusal) => self.nat_drop(nat, refusal, header, octets.len(), packet),
        }
    }

    fn nat_drop(
        &mut self,
        nat: NatId,
        refusal: NatDrop,
        header: IpHeader,
        len: usize,
        packet: Option<PacketId>,
    ) {
        self.trace.lost(packet, self.now, refusal.reason);
        let denied = DeniedSyn { nat, header, len };
        match refusal.reset_after {
            None => {}
            Some(Duration::ZERO) => self.refuse(&denied),
            Some(after) => self.schedule_rare(
                self.now + after,
                RareEvent::Refuse(alloc::boxed::Box::new(denied)),
            ),
        }
    }

    /// Refuses a SYN that was dropped, unless one was sent in the other direction meanwhile (RFC 5382 REQ-4).
    pub(super) fn refuse_denied(&mut self, denied: &DeniedSyn) {
        let now = self.now;
        let flow = denied.header.flow();
        if !self.net.nat_state(denied.nat).table.has_opened(now, flow) {
            self.refuse(denied);
        }
    }

    fn refuse(&mut self, denied: &DeniedSyn) {
        let DeniedSyn { nat, header, len } = *denied;
        self.send_refusal(Node::Nat(nat), header, len);
    }

    /// Answers a segment with `len` octets of data with RST, unless it is one.
    fn send_refusal(&mut self, from: Node, header: IpHeader, len: usize) {
        let Some(segment) = header.segment.filter(|segment| !segment.flags.rst) else {
            return;
        };
        let answer = IpHeader {
            src: header.dst,
            dst: header.src,
            segment: Some(segment.refusal(len)),
            net: header.net,
            is_corrupted: false,
        };
        self.send_segment(from, answer, Bytes::new(), false);
    }

    /// Sends a TCP segment, and adds it to the trace.
    fn send_segment(&mut self, from: Node, header: IpHeader, data: Bytes, is_repeated: bool) {
        let to = self.net.next_hop(header.net, header.dst.ip());
        let addr = AnyAddr::Path(Path::tcp(header.src, header.dst));
        let packet = self.trace_sent(from, to, addr, header.kind(), &data, Some(is_repeated));
        if let Some(segment) = header.segment {
            let numbers = (segment.seq, segment.ack);
            self.trace
                .change(packet, |packet| packet.numbers = Some(numbers));
        }
        self.forward(from, header, data, packet);
    }
}

impl IpHeader {
    const fn flow(&self) -> NatPacket {
        NatPacket {
            proto: self.proto(),
            src: self.src,
            dst: self.dst,
            flags: self.flags(),
            seq: match self.segment {
                Some(segment) => segment.seq,
                None => 0,
            },
        }
    }
}

impl Ip {
    /// Returns the addresses with their networks.
    fn into_homes(self) -> impl Iterator<Item = (IpAddr, usize)> {
        let addresses = self.into_addresses();
        addresses.map(|(address, behind)| (address, behind.map_or(PUBLIC, |nat| nat.index() + 1)))
    }
}
