//! Computes from the NATs alone whether two hosts can reach each other without a relay.
//!
//! It plays the best strategy of two peers on fresh NATs of the same kinds. Both send to all addresses that
//! they know of each other, learn from what arrives, and repeat, until they can exchange packets or learn
//! nothing more. More knowledge never harms, so no order of sends does better.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::{HostId, NatId, Node, TcpFlags, World};
use super::nat_table::{NatPacket, NatTable};
use super::{Internet, PUBLIC};
use crate::{Instant, Proto};

/// How often both peers send to all addresses they know. Each round can teach one more address of each peer,
/// and no exchange needs more than two that depend on each other.
const ROUNDS: usize = 4;

/// The most NATs on the way of a packet.
const MOST_HOPS: usize = 32;

impl World {
    /// Tells whether a direct path between two hosts on IP is possible, by UDP hole punching, or by TCP
    /// connections from one side or from both at once.
    ///
    /// A path is a pair of addresses `p` and `q`: what the first host sends to `q` comes from `p` and arrives
    /// at the second, and what the second one sends to `p` comes from `q` and arrives at the first. For TCP a
    /// whole handshake must pass.
    ///
    /// It is possible if two peers can find it that
    /// - have one socket each, with a port of their choice,
    /// - exchange what they know by other means,
    /// - know the addresses of their hosts, those that servers in the public network see, and those from
    ///   which packets of the peer came,
    /// - know the kinds of their NATs, and so the next mapping of one that follows a rule,
    /// - send at the best time, so that a NAT which answers early packets with RST does no harm.
    ///
    /// Guessing a random port does not count. Present mappings of the NATs and faults of lines are ignored.
    ///
    /// ```
    /// use farlink::Proto;
    /// use farlink::sim::{Ip, Nat, World};
    /// # use farlink::{Ask, Instant, Link, Machine, Output, Path, Transmit};
    /// # struct Idle;
    /// # impl Machine for Idle {
    /// #     type Addr = Path;
    /// #     type Command = ();
    /// #     type Event = ();
    /// #     type Error = core::convert::Infallible;
    /// #     fn receive(&mut self, _: Instant, _: Path, _: &[u8]) {}
    /// #     fn link(&mut self, _: Instant, _: Path, _: Link) {}
    /// #     fn command(&mut self, _: Instant, (): ()) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn poll(&mut self, _: Instant, tx: &mut Transmit<Path>) -> Output<Path, ()> {
    /// #         tx.clear();
    /// #         Output::Idle(None)
    /// #     }
    /// # }
    ///
    /// let mut world = World::new(1);
    /// let cone = world.nat(Ip::at([198, 51, 100, 1]), Nat::restricted_cone());
    /// let symmetric = world.nat(Ip::at([203, 0, 113, 1]), Nat::symmetric());
    /// let alice = world.host(Ip::at([10, 0, 0, 1]).behind(cone), Idle);
    /// let bob = world.host(Ip::at([10, 0, 0, 1]).behind(symmetric), Idle);
    /// let eve = world.host(Ip::at([10, 0, 0, 2]).behind(symmetric), Idle);
    ///
    /// assert!(world.direct_path_possible(alice, bob, Proto::Udp));
    /// assert!(world.direct_path_possible(bob, eve, Proto::Udp));
    /// ```
    #[must_use]
    pub fn direct_path_possible(
        &self,
        one: impl Into<HostId>,
        other: impl Into<HostId>,
        proto: Proto,
    ) -> bool {
        let (one, other) = (one.into(), other.into());
        let homes = |id| self.homes(id);
        homes(one).iter().any(|one| {
            homes(other).iter().any(|other| {
                one.ip.is_ipv4() == other.ip.is_ipv4()
                    && PeerPair::new(&self.net, proto, [*one, *other]).find_path()
            })
        })
    }

    fn homes(&self, id: HostId) -> Vec<HostAddress> {
        match self.hosts.get(id.index()).map(|slot| &slot.address) {
            Some(super::AddressState::Ip(stack)) => stack
                .addresses()
                .map(|(ip, net)| HostAddress { id, ip, net })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// A host with one of its addresses.
#[derive(Debug, Clone, Copy)]
struct HostAddress {
    id: HostId,
    ip: IpAddr,
    net: usize,
}

/// One of the two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerSide {
    One,
    Other,
}

impl PeerSide {
    const BOTH: [Self; 2] = [Self::One, Self::Other];

    const fn peer(self) -> Self {
        match self {
            Self::One => Self::Other,
            Self::Other => Self::One,
        }
    }

    /// Returns the port of the peer's socket. The two differ, in case both are behind one NAT.
    const fn port(self) -> u16 {
        match self {
            Self::One => 40_000,
            Self::Other => 41_000,
        }
    }
}

/// Two peers and their NATs.
#[derive(Clone)]
struct PeerPair<'w> {
    net: &'w Internet,
    proto: Proto,
    homes: [HostAddress; 2],
    tables: BTreeMap<NatId, NatTable>,
    known: [BTreeSet<SocketAddr>; 2],
    /// Mappings that could be predicted.
    foreseen: BTreeSet<(NatId, SocketAddr)>,
}

/// The path of one packet.
struct PacketPath {
    /// The source address at the last node.
    source: SocketAddr,
    /// The receiver.
    reached: Option<Reached>,
    /// Whether the source address could be predicted.
    was_foreseen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Server,
    Peer(PeerSide),
}

impl<'w> PeerPair<'w> {
    fn new(net: &'w Internet, proto: Proto, homes: [HostAddress; 2]) -> Self {
        let gates = net.nats.iter().enumerate();
        let above = gates.filter(|(index, _)| {
            let mut behind = homes.iter().map(|home| home.net);
            behind.any(|inner| net.is_within(inner, index + 1))
        });
        let mut peers = Self {
            net,
            proto,
            homes,
            tables: above
                .map(|(index, gate)| (NatId::new(index), gate.table.fresh()))
                .collect(),
            known: [BTreeSet::new(), BTreeSet::new()],
            foreseen: BTreeSet::new(),
        };
        for side in PeerSide::BOTH {
            let own = peers.socket(side);
            peers.learn(side, own);
            peers.ask_server(side);
        }
        peers
    }

    const fn home(&self, side: PeerSide) -> HostAddress {
        let [one, other] = self.homes;
        match side {
            PeerSide::One => one,
            PeerSide::Other => other,
        }
    }

    const fn socket(&self, side: PeerSide) -> SocketAddr {
        SocketAddr::new(self.home(side).ip, side.port())
    }

    fn known(&self, side: PeerSide) -> Vec<SocketAddr> {
        let [one, other] = &self.known;
        let known = match side {
            PeerSide::One => one,
            PeerSide::Other => other,
        };
        known.iter().copied().collect()
    }

    /// Adds an address of a peer. Returns whether it was unknown.
    fn learn(&mut self, side: PeerSide, address: SocketAddr) -> bool {
        let [one, other] = &mut self.known;
        match side {
            PeerSide::One => one.insert(address),
            PeerSide::Other => other.insert(address),
        }
    }

    fn server(&self, port: u16) -> SocketAddr {
        // No host has these addresses.
        let ip = match self.homes[0].ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(u128::MAX)),
        };
        SocketAddr::new(ip, port)
    }

    fn ask_server(&mut self, side: PeerSide) {
        let server = self.server(3478);
        let first = (self.proto == Proto::Tcp).then_some(TcpFlags::SYN);
        let passage = self.send(side, server, first);
        if passage.reached == Some(Reached::Server) {
            self.learn(side, passage.source);
            if self.proto == Proto::Tcp {
                self.send(side, server, Some(TcpFlags::ACK));
            }
        }
    }

    fn find_path(&mut self) -> bool {
        for _ in 0..ROUNDS {
            if self.can_exchange() {
                return true;
            }
            if !self.send_to_all() {
                return false;
            }
        }
        false
    }

    /// Tries all pairs of addresses that the peers may have for each other.
    fn can_exchange(&self) -> bool {
        self.candidates().any(|pair| self.clone().exchange(pair))
    }

    fn candidates(&self) -> impl Iterator<Item = [SocketAddr; 2]> {
        let [mut ones, mut others] = PeerSide::BOTH.map(|side| self.known(side));
        ones.extend(self.next_mappings(PeerSide::One));
        others.extend(self.next_mappings(PeerSide::Other));
        // Behind one sequential NAT, the second to send gets the mapping after that of the first.
        for peer in self.addresses(PeerSide::Other) {
            let mut after = self.clone();
            after.send(PeerSide::One, SocketAddr::new(peer, 1), self.first_flags());
            others.extend(after.next_mappings(PeerSide::Other));
        }
        let pairs = ones.into_iter().map(move |one| (one, others.clone()));
        pairs.flat_map(|(one, others)| others.into_iter().map(move |other| [one, other]))
    }

    fn addresses(&self, side: PeerSide) -> BTreeSet<IpAddr> {
        self.known(side).iter().map(SocketAddr::ip).collect()
    }

    /// Predicts the next mapping of a peer for each address that the other one may have.
    fn next_mappings(&self, side: PeerSide) -> Vec<SocketAddr> {
        let peers: BTreeSet<IpAddr> = self.known(side.peer()).iter().map(SocketAddr::ip).collect();
        let foreseen = peers.into_iter().filter_map(|ip| {
            // A port to which nothing has been sent.
            let somewhere = SocketAddr::new(ip, 1);
            let passage = self.clone().send(side, somewhere, self.first_flags());
            passage.was_foreseen.then_some(passage.source)
        });
        foreseen.collect()
    }

    fn first_flags(&self) -> Option<TcpFlags> {
        (self.proto == Proto::Tcp).then_some(TcpFlags::SYN)
    }

    /// Lets both peers send to all addresses that they know. Returns whether they learned anything. They send
    /// twice, because a packet may only pass once the other peer has sent.
    fn send_to_all(&mut self) -> bool {
        let mut has_learned = false;
        for side in PeerSide::BOTH.into_iter().chain(PeerSide::BOTH) {
            for target in self.known(side.peer()) {
                let passage = self.send(side, target, self.first_flags());
                let is_seen = passage.reached == Some(Reached::Peer(side.peer()));
                if is_seen || passage.was_foreseen {
                    has_learned |= self.learn(side, passage.source);
                }
            }
        }
        has_learned
    }

    /// Tells whether the peers can exchange packets between two addresses.
    fn exchange(mut self, addresses: [SocketAddr; 2]) -> bool {
        match self.proto {
            Proto::Udp => {
                self.passes(PeerSide::One, addresses, None);
                self.passes(PeerSide::Other, addresses, None);
                self.passes(PeerSide::One, addresses, None)
                    && self.passes(PeerSide::Other, addresses, None)
            }
            Proto::Tcp => {
                let both = || PeerSide::BOTH.into_iter();
                let one_connects = |side| self.clone().shakes_hands(side, addresses);
                if both().any(one_connects) {
                    return true;
                }
                for side in PeerSide::BOTH {
                    self.passes(side, addresses, Some(TcpFlags::SYN));
                }
                both().any(|side| self.clone().shakes_hands(side, addresses))
            }
        }
    }

    fn shakes_hands(mut self, from: PeerSide, addresses: [SocketAddr; 2]) -> bool {
        self.passes(from, addresses, Some(TcpFlags::SYN))
            && self.passes(from.peer(), addresses, Some(TcpFlags::SYN_ACK))
            && self.passes(from, addresses, Some(TcpFlags::ACK))
    }

    /// Sends from one peer to the address of the other. Returns whether it arrived from the sender's address.
    fn passes(
        &mut self,
        from: PeerSide,
        addresses: [SocketAddr; 2],
        flags: Option<TcpFlags>,
    ) -> bool {
        let [one, other] = addresses;
        let (own, target) = match from {
            PeerSide::One => (one, other),
            PeerSide::Other => (other, one),
        };
        let passage = self.send(from, target, flags);
        passage.reached == Some(Reached::Peer(from.peer())) && passage.source == own
    }

    /// Sends a packet, and follows it through the NATs.
    fn send(&mut self, from: PeerSide, to: SocketAddr, flags: Option<TcpFlags>) -> PacketPath {
        let home = self.home(from);
        let mut flow = NatPacket {
            proto: self.proto,
            src: self.socket(from),
            dst: to,
            flags,
            // One connection, however often its SYN is sent.
            seq: u64::from(from.port()),
        };
        let mut net = home.net;
        let mut passage = PacketPath {
            source: flow.src,
            reached: None,
            was_foreseen: true,
        };
        for _ in 0..MOST_HOPS {
            if net == PUBLIC && flow.dst.ip() == self.server(0).ip() {
                passage.reached = Some(Reached::Server);
                break;
            }
            match self.net.next_hop(net, flow.dst.ip()) {
                Some(Node::Host(id)) => {
                    passage.reached = self.who(id, flow.dst);
                    break;
                }
                Some(Node::Nat(nat)) => match self.cross(nat, net, flow, &mut passage) {
                    Some(crossed) => (flow, net) = crossed,
                    None => break,
                },
                None => break,
            }
        }
        passage
    }

    fn who(&self, id: HostId, dst: SocketAddr) -> Option<Reached> {
        let mut sides = PeerSide::BOTH.into_iter();
        let side = sides.find(|side| self.home(*side).id == id && self.socket(*side) == dst)?;
        Some(Reached::Peer(side))
    }

    /// Translates a packet at a NAT, from either side or by hairpinning.
    fn cross(
        &mut self,
        nat: NatId,
        net: usize,
        flow: NatPacket,
        passage: &mut PacketPath,
    ) -> Option<(NatPacket, usize)> {
        let now = Instant::ZERO;
        let outer = self.net.nats.get(nat.index())?.outer;
        let inside = nat.index() + 1;
        let table = self.tables.get_mut(&nat)?;
        if net != inside {
            let dst = table.inbound(now, flow).ok()?;
            return Some((NatPacket { dst, ..flow }, inside));
        }
        let before = table.made();
        let is_hairpin = table.owns(flow.dst.ip());
        let mapped = table.outbound(now, flow).ok()?;
        let is_new = table.made() > before;
        if is_new && table.is_predictable(passage.was_foreseen) {
            self.foreseen.insert((nat, mapped));
        }
        passage.was_foreseen = self.foreseen.contains(&(nat, mapped));
        passage.source = mapped;
        if !is_hairpin {
            return Some((
                NatPacket {
                    src: mapped,
                    ..flow
                },
                outer,
            ));
        }
        let (src, dst) = table.hairpin(now, flow).ok()?;
        passage.source = src;
        Some((NatPacket { src, dst, ..flow }, inside))
    }
}

#[cfg(test)]
mod tests;
