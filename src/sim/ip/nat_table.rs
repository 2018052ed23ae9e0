//! The mappings of one NAT.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use slab::Slab;

use super::super::lookup_map::LookupMap;
use super::super::{DropReason, TcpFlags};
use super::nat::{
    Conflict, Filtering, Hairpin, Mapping, Nat, Parity, Pooling, Ports, Refresh, SimultaneousOpen,
    Stray, Translation, Unsolicited,
};
use crate::{Instant, Proto, Rng};

/// What a NAT looks at in a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct NatPacket {
    pub(super) proto: Proto,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    /// The flags of a TCP segment.
    pub(super) flags: Option<TcpFlags>,
    pub(super) seq: u64,
}

impl NatPacket {
    const fn is_syn(&self) -> bool {
        matches!(
            self.flags,
            Some(TcpFlags {
                syn: true,
                ack: false,
                ..
            })
        )
    }
}

/// Why a NAT drops a packet, and after what time it answers with RST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NatDrop {
    pub(super) reason: DropReason,
    pub(super) reset_after: Option<Duration>,
}

impl NatDrop {
    const fn silent(reason: DropReason) -> Self {
        Self {
            reason,
            reset_after: None,
        }
    }
}

/// A mapping of a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The protocol.
    pub proto: Proto,
    /// The inner socket.
    pub inside: SocketAddr,
    /// The external socket.
    pub outside: SocketAddr,
}

/// The mappings of one NAT.
#[derive(Debug, Clone)]
pub(super) struct NatTable {
    nat: Nat,
    outside: Vec<IpAddr>,
    rng: Box<Rng>,
    entries: Slab<MappingEntry>,
    /// Indexes of the entries, while there are more than [`FEW`].
    by_inside: LookupMap<MappingKey, usize>,
    by_outside: LookupMap<(Proto, SocketAddr), Vec<usize>>,
    paired: BTreeMap<IpAddr, IpAddr>,
    latest: BTreeMap<(Proto, IpAddr), u16>,
    made: u64,
    sweep_at: usize,
}

/// With no more entries than this, a scan is faster than an index.
const FEW: usize = 8;

/// What packets from behind the NAT have in common if they use the same mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct MappingKey {
    proto: Proto,
    socket: SocketAddr,
    remote: RemoteKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RemoteKey {
    Any,
    Address(IpAddr),
    Socket(SocketAddr),
}

#[derive(Debug, Clone)]
struct MappingEntry {
    /// Mappings are numbered in the order of their creation.
    number: u64,
    inside: MappingKey,
    outside: SocketAddr,
    used: Instant,
    peers: PeerSessions,
}

/// The sessions of an inner socket with remote sockets. Most inner sockets have few.
#[derive(Debug, Clone, Default)]
struct PeerSessions {
    few: Vec<(SocketAddr, NatSession)>,
    more: BTreeMap<SocketAddr, NatSession>,
}

impl PeerSessions {
    fn get(&self, peer: &SocketAddr) -> Option<&NatSession> {
        let mut few = self.few.iter();
        let found = few.find(|(known, _)| known == peer);
        found
            .map(|(_, session)| session)
            .or_else(|| self.more.get(peer))
    }

    /// Returns the session with `peer`, which is created if there is none.
    fn get_or_begin(&mut self, now: Instant, peer: SocketAddr) -> &mut NatSession {
        let known = self.few.iter().position(|(known, _)| *known == peer);
        let index = known.unwrap_or(self.few.len());
        if known.is_none() && index < FEW {
            self.few.push((peer, NatSession::new(now)));
        }
        match self.few.get_mut(index) {
            Some((_, session)) => session,
            None => self
                .more
                .entry(peer)
                .or_insert_with(|| NatSession::new(now)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&SocketAddr, &NatSession)> {
        let few = self.few.iter().map(|(peer, session)| (peer, session));
        few.chain(&self.more)
    }
}

/// What passed between an inner socket and a remote socket.
#[derive(Debug, Clone, Copy)]
struct NatSession {
    used: Instant,
    /// The sequence number of the last SYN that was sent out.
    syn_out: Option<u64>,
    has_sent: bool,
    ack: BothWays,
    fin: BothWays,
    is_reset: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct BothWays {
    out: bool,
    back: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketDirection {
    Outbound,
    Inbound,
}

impl NatSession {
    fn new(now: Instant) -> Self {
        Self {
            used: now,
            syn_out: None,
            has_sent: false,
            ack: BothWays::default(),
            fin: BothWays::default(),
            is_reset: false,
        }
    }

    /// Tells whether the connection was opened on both sides and is not closing (RFC 5382 section 5).
    const fn is_established(&self) -> bool {
        self.ack.out && self.ack.back && !(self.fin.out && self.fin.back) && !self.is_reset
    }

    fn note(&mut self, now: Instant, flow: &NatPacket, direction: PacketDirection) {
        self.used = now;
        self.has_sent |= direction == PacketDirection::Outbound;
        let Some(flags) = flow.flags else {
            return;
        };
        if flow.is_syn() {
            // Another connection between the same sockets begins.
            self.ack = BothWays::default();
            self.fin = BothWays::default();
            self.is_reset = false;
        }
        if direction == PacketDirection::Outbound && flow.is_syn() {
            self.syn_out = Some(flow.seq);
        }
        let side = |sides: &mut BothWays, is_set: bool| match direction {
            PacketDirection::Outbound => sides.out |= is_set,
            PacketDirection::Inbound => sides.back |= is_set,
        };
        side(&mut self.ack, flags.ack && !flags.rst);
        side(&mut self.fin, flags.fin);
        self.is_reset |= flags.rst;
    }

    fn lives_until(&self, nat: &Nat) -> Instant {
        let lifetime = if self.is_established() {
            nat.tcp_lifetime
        } else {
            nat.tcp_transitory
        };
        self.used + lifetime
    }
}

impl MappingEntry {
    fn is_alive(&self, now: Instant, nat: &Nat) -> bool {
        match self.inside.proto {
            Proto::Udp => now < self.used + nat.udp_lifetime,
            Proto::Tcp => self
                .peers
                .iter()
                .any(|(_, peer)| now < peer.lives_until(nat)),
        }
    }

    fn admits(&self, now: Instant, flow: &NatPacket, nat: &Nat) -> bool {
        let filtering = match flow.proto {
            Proto::Udp => nat.filtering,
            Proto::Tcp => nat.tcp_filtering.unwrap_or(nat.filtering),
        };
        let lives = |session: &&NatSession| {
            session.has_sent && (flow.proto == Proto::Udp || now < session.lives_until(nat))
        };
        let known = self.peers.get(&flow.src).filter(lives);
        match filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self
                .peers
                .iter()
                .any(|(peer, session)| peer.ip() == flow.src.ip() && lives(&session)),
            Filtering::AddressAndPortDependent => known.is_some(),
            Filtering::ConnectionDependent => known.is_some_and(|session| {
                flow.proto == Proto::Udp || (session.syn_out.is_some() && !session.ack.back)
            }),
        }
    }
}

impl NatTable {
    pub(super) fn new(nat: Nat, outside: Vec<IpAddr>, rng: Rng) -> Self {
        Self {
            nat,
            outside,
            rng: Box::new(rng),
            entries: Slab::new(),
            by_inside: LookupMap::default(),
            by_outside: LookupMap::default(),
            paired: BTreeMap::new(),
            latest: BTreeMap::new(),
            made: 0,
            sweep_at: 64,
        }
    }

    /// Returns the NAT as it was before its first packet.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.nat.clone(), self.outside.clone(), (*self.rng).clone())
    }

    /// Tells whether the next mapping can be predicted: address and port follow a rule, and the inner port is
    /// known if the rule depends on it.
    pub(super) fn is_predictable(&self, is_inside_known: bool) -> bool {
        let by_rule = match self.nat.ports {
            Ports::Random | Ports::Preserving(Conflict::Random | Conflict::Overload) => false,
            Ports::Preserving(_) | Ports::Contiguous { .. } => is_inside_known,
            Ports::Sequential { .. } => true,
        };
        let is_one_address = self.nat.pooling == Pooling::Paired || self.outside.len() == 1;
        if self.is_firewall() {
            is_inside_known
        } else {
            by_rule && is_one_address
        }
    }

    /// Returns the number of mappings that were created.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn is_firewall(&self) -> bool {
        self.nat.translation == Translation::Nothing
    }

    /// Tells whether `address` is an external one of the NAT.
    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.outside.contains(&address)
    }

    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.by_inside.clear();
        self.by_outside.clear();
    }

    pub(super) fn bindings(&self, now: Instant) -> Vec<Binding> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        let mut alive: Vec<&MappingEntry> = entries
            .filter(|entry| entry.is_alive(now, &self.nat))
            .collect();
        alive.sort_unstable_by_key(|entry| entry.number);
        alive
            .into_iter()
            .map(|entry| Binding {
                proto: entry.inside.proto,
                inside: entry.inside.socket,
                outside: entry.outside,
            })
            .collect()
    }

    /// Translates a packet from behind the NAT. Returns its new source.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        flow: NatPacket,
    ) -> Result<SocketAddr, NatDrop> {
        let inside = self.key(&flow);
        let found = self.find_inside(&inside);
        let alive = found.filter(|id| self.is_usable(now, *id, &flow));
        let id = match alive {
            Some(id) => id,
            None if flow.flags.is_some() && !flow.is_syn() => return Err(self.stray()),
            None => {
                if let Some(dead) = found {
                    self.remove(dead);
                }
                self.allocate(now, inside, &flow)?
            }
        };
        let nat = &self.nat;
        let Some(entry) = self.entries.get_mut(id) else {
            return Err(NatDrop::silent(DropReason::NoMapping));
        };
        if let Some(flags) = flow.flags {
            let session = entry.peers.get(&flow.dst);
            let is_known = session.is_some_and(|session| now < session.lives_until(nat));
            if !is_known && !flow.is_syn() {
                return Err(self.stray());
            }
            let is_answer = session.is_some_and(|session| session.syn_out.is_some());
            if flags.syn
                && flags.ack
                && is_answer
                && nat.simultaneous_open == SimultaneousOpen::OutboundSynAckBlocked
            {
                return Err(NatDrop::silent(DropReason::Filtered));
            }
        }
        if nat.refresh != Refresh::Inbound {
            entry.used = now;
        }
        let session = entry.peers.get_or_begin(now, flow.dst);
        session.note(now, &flow, PacketDirection::Outbound);
        Ok(entry.outside)
    }

    fn find_inside(&self, inside: &MappingKey) -> Option<usize> {
        if self.entries.len() > FEW {
            return self.by_inside.get(inside).copied();
        }
        let mut entries = self.entries.iter();
        let found = entries.find(|(_, entry)| entry.inside == *inside);
        found.map(|(id, _)| id)
    }

    /// Returns the live mappings with an external socket, in no particular order.
    fn alive_at(
        &self,
        now: Instant,
        proto: Proto,
        external: SocketAddr,
    ) -> impl Iterator<Item = (usize, &MappingEntry)> + Clone {
        let is_few = self.entries.len() <= FEW;
        let all = is_few.then(|| self.entries.iter());
        let listed = (!is_few).then(|| self.by_outside.get(&(proto, external)));
        let listed = listed.flatten().into_iter().flatten();
        let listed = listed.filter_map(|id| Some((*id, self.entries.get(*id)?)));
        let found = all.into_iter().flatten().chain(listed);
        found.filter(move |(_, entry)| {
            entry.outside == external
                && entry.inside.proto == proto
                && entry.is_alive(now, &self.nat)
        })
    }

    /// Tells whether a mapping can be used for a packet.
    fn is_usable(&self, now: Instant, id: usize, flow: &NatPacket) -> bool {
        let Some(entry) = self.entries.get(id) else {
            return false;
        };
        if !entry.is_alive(now, &self.nat) {
            return false;
        }
        let is_new = flow.is_syn()
            && entry
                .peers
                .get(&flow.dst)
                .is_none_or(|session| session.syn_out != Some(flow.seq));
        !(is_new && self.mapping(flow.proto) == Mapping::ConnectionDependent)
    }

    /// Translates a packet from outside. Returns its new destination.
    pub(super) fn inbound(&mut self, now: Instant, flow: NatPacket) -> Result<SocketAddr, NatDrop> {
        let alive = self.alive_at(now, flow.proto, flow.dst);
        // On an overloaded port the remote socket decides, or else the oldest mapping.
        let rank = |(_, entry): &(usize, &MappingEntry)| {
            (entry.peers.get(&flow.src).is_none(), entry.number)
        };
        let Some((id, _)) = alive.min_by_key(rank) else {
            return Err(self.refuse(&flow, DropReason::NoMapping));
        };
        match flow.flags {
            None => self.let_in(now, id, &flow),
            Some(flags) => self.let_segment_in(now, id, &flow, flags),
        }
    }

    fn let_segment_in(
        &mut self,
        now: Instant,
        id: usize,
        flow: &NatPacket,
        flags: TcpFlags,
    ) -> Result<SocketAddr, NatDrop> {
        let Some(entry) = self.entries.get(id) else {
            return Err(NatDrop::silent(DropReason::NoMapping));
        };
        let session = entry.peers.get(&flow.src).copied();
        let session = session.filter(|session| now < session.lives_until(&self.nat));
        if !flow.is_syn() {
            return match session {
                Some(_) => self.pass_in(now, id, flow),
                None => Err(self.stray()),
            };
        }
        let crosses = session.is_some_and(|session| session.syn_out.is_some() && !session.ack.back);
        if crosses && self.nat.simultaneous_open == SimultaneousOpen::InboundSynBlocked {
            return Err(NatDrop::silent(DropReason::Filtered));
        }
        debug_assert!(flags.syn);
        self.let_in(now, id, flow)
    }

    fn let_in(&mut self, now: Instant, id: usize, flow: &NatPacket) -> Result<SocketAddr, NatDrop> {
        let entry = self.entries.get(id);
        if entry.is_some_and(|entry| entry.admits(now, flow, &self.nat)) {
            self.pass_in(now, id, flow)
        } else {
            Err(self.refuse(flow, DropReason::Filtered))
        }
    }

    fn pass_in(
        &mut self,
        now: Instant,
        id: usize,
        flow: &NatPacket,
    ) -> Result<SocketAddr, NatDrop> {
        let Some(entry) = self.entries.get_mut(id) else {
            return Err(NatDrop::silent(DropReason::NoMapping));
        };
        if self.nat.refresh != Refresh::Outbound {
            entry.used = now;
        }
        // For UDP, only packets that are sent out open a filter.
        if flow.proto == Proto::Tcp {
            let session = entry.peers.get_or_begin(now, flow.src);
            session.note(now, flow, PacketDirection::Inbound);
        }
        Ok(entry.inside.socket)
    }

    /// Translates a packet from behind the NAT to an external address of it. Returns its new source and
    /// destination.
    pub(super) fn hairpin(
        &mut self,
        now: Instant,
        flow: NatPacket,
    ) -> Result<(SocketAddr, SocketAddr), NatDrop> {
        if self.nat.hairpin == Hairpin::Off {
            return Err(NatDrop::silent(DropReason::Filtered));
        }
        let outside = self.outbound(now, flow)?;
        let dst = self.inbound(
            now,
            NatPacket {
                src: outside,
                ..flow
            },
        )?;
        Ok(match self.nat.hairpin {
            Hairpin::InternalSource => (flow.src, dst),
            Hairpin::ExternalSource | Hairpin::Off => (outside, dst),
        })
    }

    /// Tells whether a SYN was sent out for the connection of a packet from outside.
    pub(super) fn has_opened(&self, now: Instant, flow: NatPacket) -> bool {
        let mut alive = self.alive_at(now, flow.proto, flow.dst);
        alive.any(|(_, entry)| {
            let session = entry.peers.get(&flow.src);
            session.is_some_and(|session| {
                session.syn_out.is_some() && now < session.lives_until(&self.nat)
            })
        })
    }

    fn mapping(&self, proto: Proto) -> Mapping {
        match proto {
            Proto::Udp => self.nat.mapping,
            Proto::Tcp => self.nat.tcp_mapping.unwrap_or(self.nat.mapping),
        }
    }

    fn key(&self, flow: &NatPacket) -> MappingKey {
        let remote = match self.mapping(flow.proto) {
            Mapping::EndpointIndependent => RemoteKey::Any,
            Mapping::AddressDependent => RemoteKey::Address(flow.dst.ip()),
            Mapping::AddressAndPortDependent | Mapping::ConnectionDependent => {
                RemoteKey::Socket(flow.dst)
            }
        };
        MappingKey {
            proto: flow.proto,
            socket: flow.src,
            remote,
        }
    }

    const fn stray(&self) -> NatDrop {
        NatDrop {
            reason: DropReason::NoMapping,
            reset_after: match self.nat.stray {
                Stray::Silent => None,
                Stray::Reset => Some(Duration::ZERO),
            },
        }
    }

    const fn refuse(&self, flow: &NatPacket, reason: DropReason) -> NatDrop {
        if !flow.is_syn() && flow.flags.is_some() {
            return self.stray();
        }
        let reset_after = match (flow.flags, self.nat.unsolicited) {
            (Some(_), Unsolicited::Reset(after)) => Some(after),
            _ => None,
        };
        NatDrop {
            reason,
            reset_after,
        }
    }

    fn remove(&mut self, id: usize) {
        let Some(entry) = self.entries.try_remove(id) else {
            return;
        };
        if self.entries.len() <= FEW {
            self.by_inside.clear();
            return self.by_outside.clear();
        }
        self.by_inside.remove(&entry.inside);
        let external = (entry.inside.proto, entry.outside);
        if let Some(ids) = self.by_outside.get_mut(&external) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_outside.remove(&external);
            }
        }
    }

    fn allocate(
        &mut self,
        now: Instant,
        inside: MappingKey,
        flow: &NatPacket,
    ) -> Result<usize, NatDrop> {
        self.sweep(now);
        let full = NatDrop::silent(DropReason::NoPort);
        let outside = if self.is_firewall() {
            flow.src
        } else {
            let address = self.pool(flow.src.ip()).ok_or(full)?;
            let port = self.port(now, address, flow).ok_or(full)?;
            SocketAddr::new(address, port)
        };
        let id = self.entries.insert(MappingEntry {
            number: self.made,
            inside,
            outside,
            used: now,
            peers: PeerSessions::default(),
        });
        self.made += 1;
        if self.entries.len() == FEW + 1 {
            for (id, entry) in &self.entries {
                index(&mut self.by_inside, &mut self.by_outside, id, entry);
            }
        } else if let Some(entry) = self.entries.get(id).filter(|_| self.entries.len() > FEW) {
            index(&mut self.by_inside, &mut self.by_outside, id, entry);
        }
        Ok(id)
    }

    /// Removes dead mappings when the table has doubled, so that the cost of each mapping is constant.
    fn sweep(&mut self, now: Instant) {
        if self.entries.len() < self.sweep_at {
            return;
        }
        let dead: Vec<usize> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_alive(now, &self.nat))
            .map(|(id, _)| id)
            .collect();
        for id in dead {
            self.remove(id);
        }
        self.sweep_at = (self.entries.len() * 2).max(64);
    }

    fn pool(&mut self, inside: IpAddr) -> Option<IpAddr> {
        let same_family: Vec<IpAddr> = self
            .outside
            .iter()
            .copied()
            .filter(|address| address.is_ipv4() == inside.is_ipv4())
            .collect();
        if self.nat.pooling == Pooling::Paired
            && let Some(address) = self.paired.get(&inside)
        {
            return Some(*address);
        }
        let index = match self.nat.pooling {
            Pooling::Paired => self.paired.len().checked_rem(same_family.len())?,
            Pooling::Arbitrary => {
                let count = u64::try_from(same_family.len()).ok()?;
                usize::try_from(self.rng.below(count)).ok()?
            }
        };
        let address = *same_family.get(index)?;
        self.paired.insert(inside, address);
        Some(address)
    }

    fn port(&mut self, now: Instant, address: IpAddr, flow: &NatPacket) -> Option<u16> {
        let wanted = flow.src.port();
        match self.nat.ports {
            Ports::Preserving(conflict) => {
                let external = SocketAddr::new(address, wanted);
                if self.is_free(now, flow.proto, external) {
                    return Some(wanted);
                }
                match conflict {
                    Conflict::NextFree => {
                        self.walk(now, flow, address, self.wrap(wanted.into()), 1)
                    }
                    Conflict::Random => self.random(now, flow, address),
                    Conflict::Overwrite => {
                        let holders = self.alive_at(now, flow.proto, external);
                        for id in holders.map(|(id, _)| id).collect::<Vec<usize>>() {
                            self.remove(id);
                        }
                        Some(wanted)
                    }
                    Conflict::Overload => self
                        .can_share(now, flow, external)
                        .then_some(wanted)
                        .or_else(|| self.random(now, flow, address)),
                }
            }
            Ports::Sequential { first, step } => {
                let latest = self.latest.get(&(flow.proto, address));
                let start =
                    latest.map_or(i64::from(first), |port| i64::from(*port) + i64::from(step));
                let port = self.walk(now, flow, address, self.wrap(start), step)?;
                self.latest.insert((flow.proto, address), port);
                Some(port)
            }
            Ports::Random => self.random(now, flow, address),
            Ports::Contiguous { stride, offset } => {
                let start = i64::from(wanted) * i64::from(stride) + i64::from(offset);
                let start = self.wrap(start);
                if self.is_free(now, flow.proto, SocketAddr::new(address, start)) {
                    return Some(start);
                }
                self.walk(now, flow, address, start, 1)
            }
        }
    }

    fn is_free(&self, now: Instant, proto: Proto, external: SocketAddr) -> bool {
        self.alive_at(now, proto, external).next().is_none()
    }

    /// A port can be overloaded as long as no remote socket is in two mappings of it.
    fn can_share(&self, now: Instant, flow: &NatPacket, external: SocketAddr) -> bool {
        let mut alive = self.alive_at(now, flow.proto, external);
        !alive.any(|(_, entry)| entry.peers.get(&flow.dst).is_some())
    }

    fn first_and_count(&self) -> (i64, i64) {
        let (first, last) = (*self.nat.range.start(), *self.nat.range.end());
        (first.into(), i64::from(last) - i64::from(first) + 1)
    }

    /// Wraps a number into the range.
    fn wrap(&self, port: i64) -> u16 {
        let (first, count) = self.first_and_count();
        let wrapped = first + (port - first).rem_euclid(count.max(1));
        u16::try_from(wrapped).unwrap_or(u16::MAX)
    }

    fn suits(&self, now: Instant, flow: &NatPacket, address: IpAddr, port: u16) -> bool {
        (self.nat.parity == Parity::Ignored || port % 2 == flow.src.port() % 2)
            && self.is_free(now, flow.proto, SocketAddr::new(address, port))
    }

    /// Returns the first free port from `start`, in steps. If no step gives one, it tries each port.
    fn walk(
        &self,
        now: Instant,
        flow: &NatPacket,
        address: IpAddr,
        start: u16,
        step: i32,
    ) -> Option<u16> {
        let (_, count) = self.first_and_count();
        let step = if step == 0 { 1 } else { i64::from(step) };
        let stepped = (0..count).map(|n| self.wrap(i64::from(start) + n * step));
        let next = (0..count).map(|n| self.wrap(i64::from(start) + n));
        let is_sequential = matches!(self.nat.ports, Ports::Sequential { .. });
        stepped.chain(next).find(|port| {
            if is_sequential {
                // A sequential NAT ignores parity.
                self.is_free(now, flow.proto, SocketAddr::new(address, *port))
            } else {
                self.suits(now, flow, address, *port)
            }
        })
    }

    fn random(&mut self, now: Instant, flow: &NatPacket, address: IpAddr) -> Option<u16> {
        let (first, count) = self.first_and_count();
        let span = u64::try_from(count).ok()?;
        for _ in 0..64 {
            let drawn = i64::try_from(self.rng.below(span)).ok()?;
            let port = self.wrap(first + drawn);
            if self.suits(now, flow, address, port) {
                return Some(port);
            }
        }
        // The range is nearly full: take the first free port.
        self.walk(now, flow, address, self.wrap(first), 1)
    }
}

fn index(
    by_inside: &mut LookupMap<MappingKey, usize>,
    by_outside: &mut LookupMap<(Proto, SocketAddr), Vec<usize>>,
    id: usize,
    entry: &MappingEntry,
) {
    by_inside.insert(entry.inside, id);
    let external = (entry.inside.proto, entry.outside);
    by_outside.entry(external).or_default().push(id);
}
