//! The sockets of a host on IP, and what its machine asks about them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::Bound as RangeBound;

use bytes::Bytes;

use super::super::pipe::Owner;
use super::super::rng::LineRng;
use super::super::trace::PacketId;
use super::super::traffic::{PacketHeader, SendResult};
use super::super::world::AddressState;
use super::super::{AnyAddr, Chunks, DropReason, HostId, Node, PacketKind, World, misuse};
use super::bound::BoundSockets;
use super::tcp::{OpenedBy, TcpConnection, TcpState};
use super::{IpHeader, IpRoute, Tcp};
use crate::{Addr as _, Ask, Cause, Link, Path, Proto, Rng, Seed, Tag};

/// The first of the dynamic ports (RFC 6335 section 6).
const EPHEMERAL: u16 = 49152;

/// The local and the remote socket of a connection.
pub(in super::super) type Pair = (SocketAddr, SocketAddr);

/// The sockets of a host.
pub(in super::super) struct IpStack {
    addresses: Vec<(IpAddr, usize)>,
    /// The route used last.
    pub(super) route: Option<IpRoute>,
    pub(super) rng: Box<Rng>,
    /// Draws the lengths of chunks.
    pub(super) chunk_rng: LineRng,
    pub(super) tcp: Tcp,
    pub(super) chunks: Chunks,
    udp: BoundSockets,
    pub(super) listeners: BoundSockets,
    /// Boxed, because a node of the tree has room for eleven.
    pub(super) conns: BTreeMap<Pair, Box<TcpConnection>>,
    /// Connections with octets to read.
    pub(super) ready: BTreeSet<Pair>,
    pub(super) latest_read: Option<Pair>,
    /// The UDP sockets and listeners that the machine opened.
    opened: BTreeMap<Tag, Path>,
}

impl IpStack {
    pub(super) fn new(addresses: Vec<(IpAddr, usize)>, seed: &Seed) -> Self {
        Self {
            addresses,
            route: None,
            rng: Box::new(seed.rng()),
            chunk_rng: LineRng::new(seed),
            tcp: Tcp::LINUX,
            chunks: Chunks::Whole,
            udp: BoundSockets::default(),
            listeners: BoundSockets::default(),
            conns: BTreeMap::new(),
            ready: BTreeSet::new(),
            latest_read: None,
            opened: BTreeMap::new(),
        }
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

    /// Returns the source address of a socket bound to `local`. For the unspecified address that is the first
    /// of its family.
    fn source(&self, local: SocketAddr) -> Option<SocketAddr> {
        if !local.ip().is_unspecified() {
            return self.net_of(local.ip()).map(|_| local);
        }
        let mut own = self.addresses.iter().map(|(address, _)| *address);
        let address = own.find(|own| own.is_ipv4() == local.is_ipv4())?;
        Some(SocketAddr::new(address, local.port()))
    }

    /// Returns the socket that receives what is sent to `dst`.
    fn bound(sockets: &BoundSockets, dst: SocketAddr) -> Option<SocketAddr> {
        let any = wildcard(dst);
        let mut candidates = [dst, any].into_iter();
        candidates.find(|local| sockets.contains(*local))
    }

    pub(super) fn listener(&self, dst: SocketAddr) -> Option<SocketAddr> {
        Self::bound(&self.listeners, dst)
    }

    /// Returns the connection with octets to read that follows `latest`, in a circle.
    pub(super) fn ready_after(&self, latest: Option<Pair>) -> Option<Pair> {
        let after = latest.map_or(RangeBound::Unbounded, RangeBound::Excluded);
        let mut next = self.ready.range((after, RangeBound::Unbounded));
        next.next().or(self.ready.first()).copied()
    }

    /// Binds a UDP socket or a listener. Returns its address, with the port if one was chosen.
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
            let drawn = SocketAddr::new(local.ip(), ephemeral(&mut self.rng));
            if sockets.insert(drawn) {
                return Ok(drawn);
            }
        }
        Err(Cause::InUse)
    }

    /// Creates a connection that is about to open, and returns its sockets.
    pub(super) fn connect(&mut self, path: Path, origin: OpenedBy) -> Result<Pair, Cause> {
        let source = self.source(path.local).ok_or(Cause::Unreachable)?;
        if source.is_ipv4() != path.remote.is_ipv4() {
            return Err(Cause::Unreachable);
        }
        let mut pair = (source, path.remote);
        for _ in 0..1000 {
            if source.port() == 0 {
                pair.0 = SocketAddr::new(source.ip(), ephemeral(&mut self.rng));
            }
            let taken = self.conns.get(&pair);
            if taken.is_none_or(|conn| conn.state == TcpState::TimeWait) {
                let conn = TcpConnection::new(self.tcp, self.rng.below(1 << 32), origin);
                self.conns.insert(pair, Box::new(conn));
                return Ok(pair);
            }
            if source.port() != 0 {
                break;
            }
        }
        Err(Cause::InUse)
    }

    pub(super) fn accept(&mut self, pair: Pair) -> &mut TcpConnection {
        let conn = TcpConnection::new(self.tcp, self.rng.below(1 << 32), OpenedBy::Accepted);
        // A former connection in TIME-WAIT is replaced.
        self.conns.remove(&pair);
        self.conns.entry(pair).or_insert(Box::new(conn))
    }
}

impl World {
    pub(super) fn stack(&mut self, id: HostId) -> &mut IpStack {
        match self.hosts.get_mut(id.index()).map(|slot| &mut slot.address) {
            Some(AddressState::Ip(stack)) => stack,
            _ => misuse("only a host with IP addresses has sockets"),
        }
    }

    /// Sets the TCP parameters of a host, for connections from now on.
    pub fn tcp(&mut self, host: impl Into<HostId>, tcp: Tcp) {
        self.stack(host.into()).tcp = tcp;
    }

    /// Sets how the streams of a host on IP are split into chunks.
    pub fn chunks(&mut self, host: impl Into<HostId>, chunks: Chunks) {
        self.stack(host.into()).chunks = chunks;
    }

    /// Binds a UDP socket or a listener for a machine, as its configuration would. The machine gets
    /// [`Link::Up`] for the path that is returned.
    pub fn bind(&mut self, host: impl Into<HostId>, proto: Proto, local: SocketAddr) -> Path {
        let id = host.into();
        match self.stack(id).bind(proto, local) {
            Ok(local) => {
                let path = Path::socket(proto, local);
                self.cue(id, AnyAddr::Path(path), Link::Up);
                path
            }
            Err(cause) => misuse(&format!("cannot bind {local}: {cause}")),
        }
    }

    /// Opens a TCP connection for a machine, as its configuration would. The machine gets [`Link::Up`] once
    /// it is open, or [`Link::Down`], for the path that is returned.
    pub fn dial(&mut self, host: impl Into<HostId>, local: SocketAddr, remote: SocketAddr) -> Path {
        let id = host.into();
        let path = Path::tcp(local, remote);
        match self.stack(id).connect(path, OpenedBy::Dialled) {
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
    ) -> SendResult {
        let from = Node::Host(id);
        let addr = AnyAddr::Path(path);
        let stack = self.stack(id);
        let is_bound = stack.udp.contains(path.local) && path.proto == Proto::Udp;
        let source = stack.source(path.local).filter(|_| is_bound);
        let header = source.and_then(|src| {
            Some(IpHeader {
                src,
                dst: path.remote,
                segment: None,
                net: stack.net_of(src.ip())?,
                is_corrupted: false,
            })
        });
        let direction =
            header.and_then(|header| Some((self.direction_out(from, &header)?, header)));
        let Some(((direction, to), header)) = direction else {
            let reason = header.map_or(DropReason::NoSocket, |_| DropReason::NoHost);
            let packet = self.trace_sent(from, None, addr, PacketKind::Datagram, octets, None);
            self.trace.lost(packet, self.now, reason);
            return SendResult::Gone;
        };
        self.send_on(addr, octets, &[(direction, PacketHeader::Ip(to, header))])
    }

    /// Handles a packet that arrives at a host.
    pub(super) fn receive_ip(
        &mut self,
        id: HostId,
        header: IpHeader,
        octets: &Bytes,
        packet: Option<PacketId>,
    ) {
        if let Some(segment) = header.segment {
            self.trace.arrived(packet, self.now);
            return self.receive_segment(id, header, segment, octets);
        }
        let stack = self.stack(id);
        match IpStack::bound(&stack.udp, header.dst) {
            Some(local) => {
                let from = AnyAddr::Path(Path::udp(local, header.src));
                self.deliver(id, from, octets, packet);
            }
            None => self.trace.lost(packet, self.now, DropReason::NoSocket),
        }
    }

    /// Carries out what a machine asks about its sockets.
    pub(in super::super) fn answer_ip(&mut self, id: HostId, ask: Ask<AnyAddr>) {
        match ask {
            Ask::Open { tag, path } => self.open(id, tag, path),
            Ask::Cancel(tag) => self.cancel(id, tag),
            Ask::Finish(AnyAddr::Path(path)) => self.finish_tcp(id, (path.local, path.remote)),
            Ask::Close(AnyAddr::Path(path)) | Ask::Abort(AnyAddr::Path(path))
                if path.is_socket() =>
            {
                self.unbind(id, path);
            }
            Ask::Close(AnyAddr::Path(path)) => self.close_tcp(id, (path.local, path.remote)),
            Ask::Abort(AnyAddr::Path(path)) => self.abort_tcp(id, (path.local, path.remote)),
            Ask::Detach {
                tag,
                path: AnyAddr::Path(path),
                early,
            } => self.detach_tcp(id, path, tag, early),
            Ask::Finish(_) | Ask::Close(_) | Ask::Abort(_) | Ask::Detach { .. } => {}
        }
    }

    fn open(&mut self, id: HostId, tag: Tag, addr: AnyAddr) {
        let AnyAddr::Path(path) = addr else {
            return;
        };
        let stack = self.stack(id);
        let answer = if path.proto == Proto::Udp || path.is_socket() {
            stack.bind(path.proto, path.local).map(|local| {
                let path = Path { local, ..path };
                stack.opened.insert(tag, path);
                (path, Link::Opened(tag))
            })
        } else {
            match stack.connect(path, OpenedBy::Asked(tag)) {
                Ok(pair) => return self.start(id, pair),
                Err(cause) => Err(cause),
            }
        };
        let (path, link) = answer.unwrap_or_else(|cause| (path, Link::Failed(tag, cause)));
        self.schedule_answer(id, tag, AnyAddr::Path(path), link);
    }

    /// Ends what was opened under a tag, unless it was closed or detached since.
    fn cancel(&mut self, id: HostId, tag: Tag) {
        self.slot(id).extras.answers.remove(&tag);
        let stack = self.stack(id);
        if let Some(path) = stack.opened.get(&tag).copied() {
            return self.unbind(id, path);
        }
        let mut conns = stack.conns.iter();
        let opened = conns.find(|(_, conn)| {
            conn.origin == OpenedBy::Asked(tag)
                && conn.owner == Owner::Machine
                && conn.state != TcpState::TimeWait
        });
        if let Some(pair) = opened.map(|(pair, _)| *pair) {
            self.abort_tcp(id, pair);
        }
    }

    /// Closes a UDP socket or a listener. The machine gets no further cue of it.
    fn unbind(&mut self, id: HostId, path: Path) {
        let stack = self.stack(id);
        stack.opened.retain(|_, opened| *opened != path);
        match path.proto {
            Proto::Udp => {
                stack.udp.remove(path.local);
                self.links.full.remove(&(id, AnyAddr::Path(path.carrier())));
                let is_open = |from: &AnyAddr| match from {
                    AnyAddr::Path(from) => from.local != path.local,
                    _ => true,
                };
                let inbox = &mut self.slot(id).extras.inbox;
                inbox.retain(|(from, ..)| is_open(from));
            }
            Proto::Tcp => {
                stack.listeners.remove(path.local);
                self.abort_unaccepted(id, path);
            }
        }
    }

    /// Resets the connections that a closed listener has not yet accepted.
    fn abort_unaccepted(&mut self, id: HostId, listener: Path) {
        let stack = self.stack(id);
        let is_unaccepted = |pair: &Pair, conn: &TcpConnection| {
            let is_here = pair.0 == listener.local || wildcard(pair.0) == listener.local;
            is_here && conn.origin == OpenedBy::Accepted && conn.state == TcpState::SynReceived
        };
        let conns = stack.conns.iter();
        let pairs: Vec<Pair> = conns
            .filter(|(pair, conn)| is_unaccepted(pair, conn))
            .map(|(pair, _)| *pair)
            .collect();
        for pair in pairs {
            self.abort_tcp(id, pair);
        }
    }

    /// Closes the sockets of a machine that is done, streams after they are flushed.
    pub(in super::super) fn close_sockets(&mut self, id: HostId) {
        let stack = self.stack(id);
        stack.udp.clear();
        stack.listeners.clear();
        stack.opened.clear();
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

    /// Schedules the timer of a connection.
    pub(super) fn schedule_tcp(&mut self, id: HostId, pair: Pair) {
        let Some(conn) = self.stack(id).conns.get_mut(&pair) else {
            return;
        };
        let Some(deadline) = conn.deadline else {
            return;
        };
        if conn.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            conn.scheduled = Some(deadline);
            let wake = super::TcpTimer { id, pair };
            self.schedule_tcp_timer(deadline, wake);
        }
    }
}

fn ephemeral(rng: &mut Rng) -> u16 {
    let count = u64::from(u16::MAX - EPHEMERAL) + 1;
    EPHEMERAL + u16::try_from(rng.below(count)).unwrap_or(0)
}

const fn wildcard(socket: SocketAddr) -> SocketAddr {
    let any = match socket {
        SocketAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, socket.port())
}
