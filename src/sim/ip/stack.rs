//! The sockets of a host on IP, and the asks about them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;
use core::net::{IpAddr, SocketAddr};
use core::ops::Bound as Unbound;

use bytes::Bytes;

use super::super::dice::Dice;
use super::super::happening::Rare;
use super::super::links::WayId;
use super::super::pipe::Owner;
use super::super::trace::PacketId;
use super::super::traffic::{Head, Sent};
use super::super::world::Lodging;
use super::super::{Carrier, Chunks, HostId, Node, Place, Why, World, misuse};
use super::bound::Bound;
use super::tcp::{Conn, Origin, State};
use super::{Header, Route, Tcp};
use crate::{Ask, Cause, Link, Path, Proto, Rng, Seed, Tag};

/// The ports that are given to sockets which ask for any (RFC 6335 section 6).
const EPHEMERAL: u16 = 49152;

/// The two sockets of a connection, the own one first.
pub(in super::super) type Pair = (SocketAddr, SocketAddr);

/// The sockets of one host.
pub(in super::super) struct Stack {
    addresses: Vec<(IpAddr, usize)>,
    /// Of what it sent last.
    pub(super) route: Option<Route>,
    chance: Box<Rng>,
    /// Cuts streams.
    pub(super) dice: Dice,
    pub(super) tcp: Tcp,
    pub(super) chunks: Chunks,
    udp: Bound,
    pub(super) listeners: Bound,
    /// Boxed, for a tree keeps room for eleven in one place.
    pub(super) conns: BTreeMap<Pair, Box<Conn>>,
    /// Connections with something to read.
    pub(super) ready: BTreeSet<Pair>,
    pub(super) latest_read: Option<Pair>,
    /// Answers that are still to be given.
    opening: BTreeMap<Tag, (Path, Link)>,
}

impl Stack {
    pub(super) fn new(addresses: Vec<(IpAddr, usize)>, seed: &Seed) -> Self {
        Self {
            addresses,
            route: None,
            chance: Box::new(seed.rng()),
            dice: Dice::new(seed),
            tcp: Tcp::LINUX,
            chunks: Chunks::Whole,
            udp: Bound::default(),
            listeners: Bound::default(),
            conns: BTreeMap::new(),
            ready: BTreeSet::new(),
            latest_read: None,
            opening: BTreeMap::new(),
        }
    }

    /// Reads something of the sockets, and returns the way on which it sent last.
    pub(in super::super) fn glance(&self) -> Option<WayId> {
        black_box((self.udp.first().copied(), self.addresses.first().copied()));
        self.route.map(|route| route.way)
    }

    pub(super) fn nets(&self) -> impl Iterator<Item = usize> {
        self.addresses.iter().map(|(_, net)| *net)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, usize)> {
        self.addresses.iter().copied()
    }

    pub(super) fn net_of(&self, address: IpAddr) -> Option<usize> {
        let mut own = self.addresses.iter();
        own.find(|(own, _)| *own == address).map(|(_, net)| *net)
    }

    /// Returns what a socket bound to `local` sends from: its address, or the first one of its family.
    fn source(&self, local: SocketAddr) -> Option<SocketAddr> {
        if !local.ip().is_unspecified() {
            return self.net_of(local.ip()).map(|_| local);
        }
        let mut own = self.addresses.iter().map(|(address, _)| *address);
        let address = own.find(|own| own.is_ipv4() == local.is_ipv4())?;
        Some(SocketAddr::new(address, local.port()))
    }

    /// Returns the UDP socket or listener that takes what is sent to `dst`.
    fn bound(sockets: &Bound, dst: SocketAddr) -> Option<SocketAddr> {
        let any = wildcard(dst);
        let mut candidates = [dst, any].into_iter();
        candidates.find(|local| sockets.contains(*local))
    }

    pub(super) fn listener(&self, dst: SocketAddr) -> Option<SocketAddr> {
        Self::bound(&self.listeners, dst)
    }

    /// Returns the next connection with something to read after `latest`, going round.
    pub(super) fn ready_after(&self, latest: Option<Pair>) -> Option<Pair> {
        let after = latest.map_or(Unbound::Unbounded, Unbound::Excluded);
        let mut next = self.ready.range((after, Unbound::Unbounded));
        next.next().or(self.ready.first()).copied()
    }

    /// Binds a UDP socket or a listener, and returns its address with the real port.
    fn bind(&mut self, proto: Proto, local: SocketAddr) -> Result<SocketAddr, Cause> {
        self.source(local).ok_or(Cause::Unreachable)?;
        let sockets = match proto {
            Proto::Udp => &mut self.udp,
            Proto::Tcp => &mut self.listeners,
        };
        if local.port() != 0 {
            let is_free = sockets.insert(local);
            return is_free.then_some(local).ok_or(Cause::InUse);
        }
        for _ in 0..1000 {
            let drawn = SocketAddr::new(local.ip(), ephemeral(&mut self.chance));
            if sockets.insert(drawn) {
                return Ok(drawn);
            }
        }
        Err(Cause::InUse)
    }

    /// Makes a connection that is about to open, and returns its sockets.
    pub(super) fn connect(&mut self, path: Path, origin: Origin) -> Result<Pair, Cause> {
        let source = self.source(path.local).ok_or(Cause::Unreachable)?;
        if source.is_ipv4() != path.remote.is_ipv4() {
            return Err(Cause::Unreachable);
        }
        let mut pair = (source, path.remote);
        for _ in 0..1000 {
            if source.port() == 0 {
                pair.0 = SocketAddr::new(source.ip(), ephemeral(&mut self.chance));
            }
            let taken = self.conns.get(&pair);
            if taken.is_none_or(|conn| conn.state == State::TimeWait) {
                let conn = Conn::new(self.tcp, self.chance.below(1 << 32), origin);
                self.conns.insert(pair, Box::new(conn));
                return Ok(pair);
            }
            if source.port() != 0 {
                break;
            }
        }
        Err(Cause::InUse)
    }

    pub(super) fn accept(&mut self, pair: Pair) -> &mut Conn {
        let conn = Conn::new(self.tcp, self.chance.below(1 << 32), Origin::Accepted);
        // What stood there was over.
        self.conns.remove(&pair);
        self.conns.entry(pair).or_insert(Box::new(conn))
    }
}

impl World {
    pub(super) fn stack(&mut self, id: HostId) -> &mut Stack {
        match self.hosts.get_mut(id.index()).map(|slot| &mut slot.lodging) {
            Some(Lodging::Ip(stack)) => stack,
            _ => misuse("only a host whose machine speaks to paths has sockets"),
        }
    }

    /// Sets how the TCP of a host behaves, for connections from here on.
    pub fn tcp(&mut self, host: impl Into<HostId>, tcp: Tcp) {
        self.stack(host.into()).tcp = tcp;
    }

    /// Sets how the streams of a host on IP are cut before its machine sees them.
    pub fn chunks(&mut self, host: impl Into<HostId>, chunks: Chunks) {
        self.stack(host.into()).chunks = chunks;
    }

    /// Gives a machine a socket that it is configured with: a UDP socket or a TCP listener. It hears
    /// [`Link::Up`] at its path, which is returned.
    pub fn bind(&mut self, host: impl Into<HostId>, proto: Proto, local: SocketAddr) -> Path {
        let id = host.into();
        match self.stack(id).bind(proto, local) {
            Ok(local) => {
                let path = Path::socket(proto, local);
                self.cue(id, Place::Path(path), Link::Up);
                path
            }
            Err(cause) => misuse(&format!("cannot bind {local}: {cause}")),
        }
    }

    /// Gives a machine a TCP connection that it is configured with. It hears [`Link::Up`] once it is open,
    /// or [`Link::Down`]. Returns its path.
    pub fn dial(&mut self, host: impl Into<HostId>, local: SocketAddr, remote: SocketAddr) -> Path {
        let id = host.into();
        let path = Path::tcp(local, remote);
        match self.stack(id).connect(path, Origin::Dialled) {
            Ok(pair) => {
                self.start(id, pair);
                Path::tcp(pair.0, pair.1)
            }
            Err(cause) => misuse(&format!("cannot connect {path}: {cause}")),
        }
    }

    pub(in super::super) fn send_udp(
        &mut self,
        id: HostId,
        path: Path,
        octets: &mut Bytes,
    ) -> Sent {
        let from = Node::Host(id);
        let place = Place::Path(path);
        let stack = self.stack(id);
        let is_bound = stack.udp.contains(path.local) && path.proto == Proto::Udp;
        let source = stack.source(path.local).filter(|_| is_bound);
        let header = source.and_then(|src| {
            Some(Header {
                src,
                dst: path.remote,
                segment: None,
                net: stack.net_of(src.ip())?,
                is_corrupted: false,
            })
        });
        let way = header.and_then(|header| Some((self.way_out(from, &header)?, header)));
        let Some(((way, to), header)) = way else {
            let why = header.map_or(Why::NoSocket, |_| Why::NoHost);
            let packet = self.note_sent(from, None, place, Carrier::Datagram, octets, None);
            self.trace.lost(packet, self.now, why);
            return Sent::Gone;
        };
        self.set_off(place, octets, &[(way, Head::Ip(to, header))])
    }

    /// A packet reaches a host.
    pub(super) fn receive_ip(
        &mut self,
        id: HostId,
        header: Header,
        octets: &Bytes,
        packet: Option<PacketId>,
    ) {
        if let Some(segment) = header.segment {
            self.trace.arrived(packet, self.now);
            return self.receive_segment(id, header, segment, octets);
        }
        let stack = self.stack(id);
        match Stack::bound(&stack.udp, header.dst) {
            Some(local) => {
                let from = Place::Path(Path::udp(local, header.src));
                self.deliver(id, from, octets, packet);
            }
            None => self.trace.lost(packet, self.now, Why::NoSocket),
        }
    }

    /// A machine asks something about its sockets.
    pub(in super::super) fn answer_ip(&mut self, id: HostId, ask: Ask<Place>) {
        match ask {
            Ask::Open { tag, path } => self.open(id, tag, path),
            Ask::Cancel(tag) => self.cancel(id, tag),
            Ask::Finish(Place::Path(path)) => self.finish_tcp(id, (path.local, path.remote)),
            Ask::Close(Place::Path(path)) | Ask::Abort(Place::Path(path)) if path.is_socket() => {
                self.unbind(id, path);
            }
            Ask::Close(Place::Path(path)) => self.close_tcp(id, (path.local, path.remote)),
            Ask::Abort(Place::Path(path)) => self.abort_tcp(id, (path.local, path.remote)),
            Ask::Detach {
                tag,
                path: Place::Path(path),
                early,
            } => self.hand_tcp(id, path, tag, early),
            Ask::Finish(_) | Ask::Close(_) | Ask::Abort(_) | Ask::Detach { .. } => {}
        }
    }

    fn open(&mut self, id: HostId, tag: Tag, place: Place) {
        let Place::Path(path) = place else {
            return;
        };
        let answer = if path.proto == Proto::Udp || path.is_socket() {
            let bound = self.stack(id).bind(path.proto, path.local);
            bound.map(|local| (Path { local, ..path }, Link::Opened(tag)))
        } else {
            match self.stack(id).connect(path, Origin::Asked(tag)) {
                Ok(pair) => return self.start(id, pair),
                Err(cause) => Err(cause),
            }
        };
        let answer = answer.unwrap_or_else(|cause| (path, Link::Failed(tag, cause)));
        self.stack(id).opening.insert(tag, answer);
        self.plan(self.now, Rare::Opened(id, tag));
    }

    /// Gives the answer to an ask, unless it was cancelled.
    pub(in super::super) fn opened(&mut self, id: HostId, tag: Tag) {
        if let Some((path, link)) = self.stack(id).opening.remove(&tag) {
            self.cue(id, Place::Path(path), link);
        }
    }

    fn cancel(&mut self, id: HostId, tag: Tag) {
        let stack = self.stack(id);
        if let Some((path, Link::Opened(_))) = stack.opening.remove(&tag) {
            return self.unbind(id, path);
        }
        let mut conns = stack.conns.iter();
        let opening = conns.find(|(_, conn)| {
            conn.origin == Origin::Asked(tag)
                && matches!(conn.state, State::SynSent | State::SynReceived)
        });
        if let Some(pair) = opening.map(|(pair, _)| *pair) {
            self.abort_tcp(id, pair);
        }
    }

    fn unbind(&mut self, id: HostId, path: Path) {
        let stack = self.stack(id);
        match path.proto {
            Proto::Udp => stack.udp.remove(path.local),
            Proto::Tcp => stack.listeners.remove(path.local),
        }
    }

    /// A machine is done: its sockets close, its streams are flushed first.
    pub(in super::super) fn close_sockets(&mut self, id: HostId) {
        let stack = self.stack(id);
        stack.udp.clear();
        stack.listeners.clear();
        stack.opening.clear();
        let owned: Vec<Pair> = stack
            .conns
            .iter()
            .filter(|(_, conn)| conn.owner == Owner::Machine)
            .map(|(pair, _)| *pair)
            .collect();
        for pair in owned {
            self.close_tcp(id, pair);
        }
    }

    /// Looks at the deadline of a connection when it comes.
    pub(super) fn schedule_tcp(&mut self, id: HostId, pair: Pair) {
        let Some(conn) = self.stack(id).conns.get_mut(&pair) else {
            return;
        };
        let Some(deadline) = conn.deadline else {
            return;
        };
        if conn.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            conn.scheduled = Some(deadline);
            let wake = super::TcpWake { id, pair };
            self.plan_tcp(deadline, wake);
        }
    }
}

fn ephemeral(chance: &mut Rng) -> u16 {
    let count = u64::from(u16::MAX - EPHEMERAL) + 1;
    EPHEMERAL + u16::try_from(chance.below(count)).unwrap_or(0)
}

const fn wildcard(socket: SocketAddr) -> SocketAddr {
    let any = match socket {
        SocketAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, socket.port())
}
