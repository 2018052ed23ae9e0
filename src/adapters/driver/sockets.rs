//! The sockets of a machine on [`Path`]s: UDP sockets, TCP listeners and TCP connections.
//!
//! | what | cue | path |
//! |---|---|---|
//! | a UDP socket or listener from the start | [`Link::Up`] | [`Path::socket`] |
//! | a connection from the start, or accepted | [`Link::Up`] | [`Path::tcp`]; accepted ones keep the listener's local address |
//! | [`Ask::Open`] done | [`Link::Opened`] | as asked, with the real local port |
//! | [`Ask::Open`] failed, or its tag or path is taken | [`Link::Failed`] | as asked |
//! | a connection or a UDP socket broke | [`Link::Down`] | its own |
//! | a connection or a UDP socket would block, and later takes more | [`Link::Full`], [`Link::Free`] | its own |
//!
//! A path has one life: nothing is told of it after `Down`, nor after `Detach`, `Close`, `Abort` or the
//! `Cancel` of its tag. A connection stays until the machine is done with it, even when both sides have sent
//! FIN. What was written before `Close`, or before the machine was done, is sent.
//!
//! TCP sockets that the machine asks for have `SO_REUSEADDR` and, on Unix, `SO_REUSEPORT`: connections can
//! be made from the port of a listener. UDP sockets have neither and share their port with nobody.
//!
//! The errors of UDP that anybody can cause from afar (`ECONNREFUSED`, `ECONNRESET`, `EMSGSIZE`) are counted
//! in [`SocketStats`] and end nothing, and so is every error of sending a datagram. A UDP
//! socket is down after 64 other errors in a row.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Type};

use super::cause::{cause_of_connect, cause_of_failure};
use super::runtime::{ByteStream, Kind as SourceKind, Moved, Runtime, Source, TcpIo, Way};
use super::scratch::with_recv_buffers;
use super::socket::{DatagramIo, Kind, Socket};
use super::table::{Opener, Table};
use super::tcp::TcpOptions;
use crate::adapters::udp::{Offload, UdpOptions};
pub use crate::adapters::udp::{SocketCounters, SocketStats};
use crate::{Addr, Cause, Path, Proto, Tag, Transmit};
#[cfg(doc)]
use crate::{Ask, Link};

/// Connections that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 1024;

/// The sockets that a machine has from the start: [`Sockets`] on paths,
/// [`Interfaces`](super::interfaces::Interfaces) on hops.
#[derive(derive_more::Debug)]
#[debug("{:?}", added.iter().map(|(at, _)| at).collect::<Vec<_>>())]
pub struct SocketSet<A: Addr> {
    added: Vec<(A, Make<A>)>,
    udp: UdpOptions,
    tcp: TcpOptions,
    counters: Arc<SocketCounters>,
}

/// Makes a socket once it is known with what.
type Make<A> = Box<dyn FnOnce(&Means) -> io::Result<Socket<A>> + Send>;

/// What sockets are made with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) counters: Arc<SocketCounters>,
    udp: UdpOptions,
    tcp: TcpOptions,
    linger: Duration,
}

impl<A: Addr> SocketSet<A> {
    /// Returns no sockets.
    #[must_use]
    pub fn new() -> Self {
        Self {
            added: Vec::new(),
            udp: UdpOptions::default(),
            tcp: TcpOptions::default(),
            counters: Arc::default(),
        }
    }

    /// Sets how UDP sockets are set up, both those added and those asked for.
    pub const fn set_udp_options(&mut self, options: UdpOptions) {
        self.udp = options;
    }

    /// Sets how TCP connections are set up, both those added and those asked for.
    pub const fn set_tcp_options(&mut self, options: TcpOptions) {
        self.tcp = options;
    }

    /// Returns the counters of all sockets, which can be read while the machine is driven.
    #[must_use]
    pub fn counters(&self) -> Arc<SocketCounters> {
        Arc::clone(&self.counters)
    }

    /// Adds what `make` makes, unless the address is taken.
    pub(super) fn add(
        &mut self,
        at: A,
        make: impl FnOnce(&Means) -> io::Result<Socket<A>> + Send + 'static,
    ) -> Option<A> {
        let mut taken = self.added.iter().map(|(taken, _)| taken.carrier());
        if taken.any(|taken| taken == at.carrier()) {
            return None;
        }
        self.added.push((at, Box::new(make)));
        Some(at)
    }

    /// Has `runtime` watch all of them.
    pub(crate) fn into_table(
        self,
        runtime: &Arc<dyn Runtime>,
        linger: Duration,
    ) -> io::Result<Table<A>>
    where
        Means: Opener<A>,
    {
        let means = Means {
            runtime: Arc::clone(runtime),
            counters: Arc::clone(&self.counters),
            udp: self.udp,
            tcp: self.tcp,
            linger,
        };
        let mut table = Table::new(Box::new(means.clone()), self.counters);
        for (_, make) in self.added {
            table.add(make(&means)?);
        }
        Ok(table)
    }
}

impl<A: Addr> Default for SocketSet<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl Means {
    pub(super) fn socket<A: Addr>(&self, at: A, kind: Kind<A>) -> Socket<A> {
        Socket::new(at, kind, self.linger)
    }

    pub(super) fn stream<A: Addr>(&self, at: A, stream: Box<dyn ByteStream>) -> Socket<A> {
        self.socket(at, Kind::Stream(stream))
    }

    pub(super) fn datagrams<A: Addr>(&self, at: A, io: Box<dyn DatagramIo<A>>) -> Socket<A> {
        self.socket(at, Kind::Datagrams(io, Arc::clone(&self.counters)))
    }

    /// Makes a UDP socket. `to` says where an address is, `from` what the machine calls a sender.
    pub(super) fn udp<A: Addr>(
        &self,
        at: A,
        socket: UdpSocket,
        to: impl Fn(A) -> Option<SocketAddr> + Send + 'static,
        from: impl Fn(SocketAddr) -> Option<A> + Send + 'static,
    ) -> io::Result<Socket<A>> {
        let counters = Arc::clone(&self.counters);
        let offload = Offload::new(&SockRef::from(&socket), &self.udp, counters)?;
        let receive_buffer = offload.sizes.receive;
        let io = UdpIo {
            source: self.runtime.watch(socket.into(), SourceKind::Datagram)?,
            offload,
            to,
            from,
        };
        let mut socket = self.datagrams(at, Box::new(io));
        socket.receive_buffer = receive_buffer;
        Ok(socket)
    }
}

/// A UDP socket, and what the machine calls the addresses that it reaches.
struct UdpIo<T, F> {
    source: Box<dyn Source>,
    offload: Offload,
    to: T,
    from: F,
}

impl<A: Addr, T, F> DatagramIo<A> for UdpIo<T, F>
where
    T: Fn(A) -> Option<SocketAddr> + Send,
    F: Fn(SocketAddr) -> Option<A> + Send,
{
    fn poll_send(&mut self, cx: &mut Context<'_>, tx: &Transmit<A>, sent: &mut usize) -> Poll<()> {
        let Some(to) = tx.to().and_then(&self.to) else {
            let count = tx.datagrams().len() as u64;
            self.offload
                .counters
                .count(|stats| stats.unroutable += count);
            return Poll::Ready(());
        };
        let batch = (tx.octets(), tx.segment_size());
        let call = &mut |socket: &socket2::Socket| {
            self.offload.send(socket, to, batch, sent)?;
            Ok(Moved::new(0, false))
        };
        if ready!(self.source.poll_io(cx, Way::Out, call)).is_err() {
            // The runtime has ended, and nothing will be sent again.
            let left = tx.datagrams().len().saturating_sub(*sent) as u64;
            self.offload
                .counters
                .count(|stats| stats.udp.unsent += left);
        }
        *sent = 0;
        Poll::Ready(())
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(A, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>> {
        let each = &mut |sender: SocketAddr, octets: &[u8], size: NonZeroUsize| {
            if let Some(from) = (self.from)(sender) {
                return each(from, octets, size);
            }
            let count = octets.len().div_ceil(size.get()).max(1) as u64;
            self.offload
                .counters
                .count(|stats| stats.unknown_senders += count);
        };
        with_recv_buffers(|buffers| {
            let call = &mut |socket: &socket2::Socket| {
                let (count, is_drained) = self.offload.receive(socket, buffers, each)?;
                Ok(Moved::new(count, is_drained))
            };
            self.source.poll_io(cx, Way::In, call)
        })
    }
}

/// The sockets that a machine has from the start; it asks for others.
pub type Sockets = SocketSet<Path>;

impl Sockets {
    /// Adds a bound UDP socket and returns its path.
    ///
    /// # Errors
    ///
    /// The system does not tell its address, or another socket was added under it (`AddrInUse`).
    pub fn add_udp(&mut self, socket: UdpSocket) -> io::Result<Path> {
        let path = Path::socket(Proto::Udp, socket.local_addr()?);
        self.add_socket(path, socket.into())
    }

    /// Adds a listener and returns its path. Connections that it accepts get [`TcpOptions`].
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_listener(&mut self, listener: TcpListener) -> io::Result<Path> {
        let path = Path::socket(Proto::Tcp, listener.local_addr()?);
        self.add_socket(path, listener.into())
    }

    /// Adds an established connection and returns its path.
    ///
    /// # Errors
    ///
    /// As [`add_udp`](Self::add_udp).
    pub fn add_stream(&mut self, stream: TcpStream) -> io::Result<Path> {
        let path = Path::tcp(stream.local_addr()?, stream.peer_addr()?);
        self.add_socket(path, stream.into())
    }

    fn add_socket(&mut self, path: Path, socket: socket2::Socket) -> io::Result<Path> {
        let added = self.add(path, move |means| means.watch(path, socket));
        added.ok_or_else(|| io::ErrorKind::AddrInUse.into())
    }
}

impl Means {
    /// Has the runtime watch the socket of `path`: a UDP socket, a listener or a connection.
    fn watch(&self, path: Path, socket: socket2::Socket) -> io::Result<Socket<Path>> {
        socket.set_nonblocking(true)?;
        if path.proto == Proto::Udp {
            let from = move |remote| Some(Path::udp(path.local, remote));
            return self.udp(path, socket.into(), |to: Path| Some(to.remote), from);
        }
        if path.is_socket() {
            let source = self.runtime.watch(socket, SourceKind::Listener)?;
            let kind = Kind::Listener(source, Arc::clone(&self.counters));
            return Ok(self.socket(path, kind));
        }
        self.tcp.apply(&SockRef::from(&socket));
        Ok(self.stream(path, TcpIo::new(&*self.runtime, socket)?.into()))
    }

    /// Binds a UDP socket, or listens on a TCP port, from which connections can be made too.
    fn bind(&self, asked: Path) -> io::Result<Socket<Path>> {
        let socket = new_socket(asked, true, true)?;
        if asked.proto == Proto::Tcp {
            socket.listen(BACKLOG)?;
        }
        self.watch(with_port(asked, &socket)?, socket)
    }
}

impl Opener<Path> for Means {
    fn open(&mut self, tag: Tag, asked: Path) -> Result<Socket<Path>, Cause> {
        let failed = |error: io::Error| cause_of_failure(&error);
        if asked.proto == Proto::Udp || asked.is_socket() {
            return self.bind(asked).map_err(failed);
        }
        let socket = new_socket(asked, true, true).map_err(failed)?;
        self.tcp.apply(&SockRef::from(&socket));
        let path = with_port(asked, &socket).map_err(failed)?;
        let tcp = TcpIo::begin(&*self.runtime, socket, path.remote);
        let tcp = tcp.map_err(|error| cause_of_connect(&error))?;
        Ok(self.stream(path, tcp.into()).connecting(tag))
    }

    fn accept(
        &mut self,
        listener: Path,
        socket: socket2::Socket,
        remote: SocketAddr,
    ) -> io::Result<Socket<Path>> {
        self.watch(Path::tcp(listener.local, remote), socket)
    }
}

/// Returns `path` with the local port that `socket` has. The address stays as asked, with its scope.
fn with_port(path: Path, socket: &socket2::Socket) -> io::Result<Path> {
    let real = socket.local_addr()?.as_socket();
    let port = real.map_or(path.local.port(), |real| real.port());
    Ok(on_port(path, port))
}

fn on_port(path: Path, port: u16) -> Path {
    let mut local = path.local;
    local.set_port(port);
    Path { local, ..path }
}

/// Makes a socket that is bound to the local address of `path`, even to port 0: the machine is told the port
/// that it has. Unless TCP `shares` its port, only connections of the past may still have it.
pub(crate) fn new_socket(path: Path, only_v6: bool, shares: bool) -> io::Result<socket2::Socket> {
    let (kind, protocol) = match path.proto {
        Proto::Udp => (Type::DGRAM, Protocol::UDP),
        Proto::Tcp => (Type::STREAM, Protocol::TCP),
    };
    let socket = socket2::Socket::new(Domain::for_address(path.local), kind, Some(protocol))?;
    if path.local.is_ipv6() {
        // Systems differ in the default, and with the other one a machine cannot hold the IPv4 socket of
        // the same port beside it. Some have no sockets of both families.
        let set = socket.set_only_v6(only_v6);
        if only_v6 {
            set?;
        }
    }
    // On Windows another process could take the port over by it, as by `SO_REUSEPORT` on Unix.
    if path.proto == Proto::Tcp && (shares || cfg!(unix)) {
        socket.set_reuse_address(true)?;
    }
    if path.proto == Proto::Tcp && shares {
        // Beside a listener Linux refuses a bind with the first option alone.
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        socket.set_reuse_port(true)?;
    }
    socket.bind(&path.local.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_its_real_port_keeps_the_scope_of_its_address() {
        let asked = Path::socket(Proto::Udp, "[fe80::1%3]:0".parse().unwrap());

        assert_eq!(on_port(asked, 7).local, "[fe80::1%3]:7".parse().unwrap());
    }
}
