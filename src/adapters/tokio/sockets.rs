//! Drives a machine over UDP sockets, TCP listeners and TCP streams, and opens more when it asks.
//!
//! | what | cue | path |
//! |---|---|---|
//! | a configured UDP socket or listener | [`Link::Up`] | [`Path::socket`] |
//! | a configured or accepted stream | [`Link::Up`] | [`Path::tcp`]; accepted ones keep the listener's local address |
//! | [`Ask::Open`] done | [`Link::Opened`] | as asked, with the real local port |
//! | [`Ask::Open`] failed, or its tag or path is taken | [`Link::Failed`] | as asked |
//! | a stream or a UDP socket broke | [`Link::Down`] | its own |
//!
//! A path has one life: nothing is heard of it after `Down`, or after the machine let go of it. A stream
//! stays until the machine does, also when both sides have sent their FIN. [`Ask::Cancel`] closes what was
//! opened under its tag.
//!
//! On a UDP socket the errors that anybody can cause from afar (`ECONNREFUSED`, `ECONNRESET`, `EMSGSIZE`)
//! are counted and otherwise ignored, and so is every error of a send: a datagram may get lost anyway.
//! Only a socket that gives nothing but errors is down.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::driver::Driver;
use super::handle::{Desk, Handle, Options};
use super::table::{Socket, Table};
use crate::adapters::offload;
#[cfg(doc)]
use crate::{Ask, Link};
use crate::{Machine, Path, Proto};

/// The sockets that a machine has from the start.
#[derive(Default)]
pub struct Sockets {
    pub(super) sockets: Vec<(Path, Socket)>,
    pub(super) counters: Arc<Counters>,
}

impl Sockets {
    /// No sockets: the machine asks for all it needs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bound UDP socket.
    ///
    /// # Errors
    ///
    /// The system does not tell its address, or another socket has it.
    pub fn add_udp(&mut self, socket: UdpSocket) -> io::Result<Path> {
        let path = Path::socket(Proto::Udp, socket.local_addr()?);
        self.add(path, Socket::udp(socket)?)
    }

    /// Adds a listener. Streams that it accepts get `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// The system does not tell its address, or another socket has it.
    pub fn add_listener(&mut self, listener: TcpListener) -> io::Result<Path> {
        let path = Path::socket(Proto::Tcp, listener.local_addr()?);
        self.add(path, Socket::listener(listener))
    }

    /// Adds a connected stream.
    ///
    /// # Errors
    ///
    /// The system does not tell its addresses, or another socket has them.
    pub fn add_stream(&mut self, stream: TcpStream) -> io::Result<Path> {
        let path = Path::tcp(stream.local_addr()?, stream.peer_addr()?);
        self.add(path, Socket::stream(stream))
    }

    /// Returns the counters of the driver to be, which can be read while it runs.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn add(&mut self, path: Path, socket: Socket) -> io::Result<Path> {
        if self.sockets.iter().any(|(taken, _)| *taken == path) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.sockets.push((path, socket));
        Ok(path)
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.sockets.iter().map(|(path, _)| path);
        f.debug_set().entries(paths).finish()
    }
}

/// What went wrong at sockets and is no concern of the machine.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) ignored: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) unaccepted: AtomicU64,
}

impl Counters {
    /// Returns how many errors of UDP sockets were ignored when they were read.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Returns how many datagrams the system would not send.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns how often a listener could not accept: the connection was gone, or files ran out.
    #[must_use]
    pub fn unaccepted(&self) -> u64 {
        self.unaccepted.load(Ordering::Relaxed)
    }

    /// Notes what a UDP socket counted in between.
    pub(super) fn note(&self, before: offload::Counts, after: offload::Counts) {
        let add = |counter: &AtomicU64, count: u64| {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.ignored, after.reported - before.reported);
        add(&self.lost, after.unsent - before.unsent);
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connects a machine to sockets.
///
/// Nothing happens until the returned future is polled, by a tokio runtime with I/O and time enabled. It
/// ends when the machine is done and what it sent is on its way; dropping it cuts everything off. What
/// breaks a socket is told to the machine and does not end the driver.
pub fn drive<M>(
    machine: M,
    sockets: Sockets,
    options: Options<M>,
) -> (
    Handle<M, TcpStream>,
    impl Future<Output = io::Result<()>> + use<M>,
)
where
    M: Machine<Addr = Path>,
{
    let Options {
        clock,
        limits,
        linger,
        ..
    } = options;
    let (handle, desk) = Desk::open(options);
    let table = Table::new(sockets, linger);
    let driver = Driver::new(machine, table, desk, clock, limits);
    (handle, driver.run())
}

/// Connects a machine to sockets, in a task of its own.
///
/// See [`drive`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn spawn<M>(
    machine: M,
    sockets: Sockets,
    options: Options<M>,
) -> (Handle<M, TcpStream>, JoinHandle<io::Result<()>>)
where
    M: Machine<Addr = Path> + Send + 'static,
    M::Command: Send,
    M::Event: Send,
    M::Error: Send,
{
    let (handle, driver) = drive(machine, sockets, options);
    (handle, tokio::spawn(driver))
}
