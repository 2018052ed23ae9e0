//! The socket of a node, as its threads use it: one hold to send on, one to receive on.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::net::{Shutdown, UdpSocket};

use socket2::SockRef;

use crate::adapters::offload::{self, Inbox, Socket};
use crate::{Path, Transmit};

/// How long a read waits before it looks whether the node has ended. Mostly it is woken.
const LONGEST_READ: Duration = Duration::from_millis(250);
/// How long a write waits for room in the system. UDP drains at line rate, so this is long.
const LONGEST_WRITE: Duration = Duration::from_millis(100);

/// Octets that neither a datagram nor a train of them fills.
const LONGEST: usize = 1 << 16;

/// What went wrong at the socket, and is no concern of the machine. It outlives the socket.
#[derive(Default)]
pub(super) struct Counters {
    reported: AtomicU64,
    /// By the socket's count.
    unsent: AtomicU64,
    /// What the socket was full for.
    late: AtomicU64,
}

impl Counters {
    /// Returns how many errors were reported, and how many datagrams did not leave.
    pub(super) fn get(&self) -> (u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.reported), get(&self.unsent) + get(&self.late))
    }

    fn note(&self, counts: offload::Counts) {
        self.reported.fetch_max(counts.reported, Ordering::Relaxed);
        self.unsent.fetch_max(counts.unsent, Ordering::Relaxed);
    }
}

/// The hold to send on.
pub(super) struct Outlet(Arc<Socket<UdpSocket>>);

/// The hold to receive on.
pub(super) struct Inlet {
    socket: Arc<Socket<UdpSocket>>,
    inbox: Inbox,
}

/// Takes two holds on a bound socket, for a thread of its own each.
pub(super) fn part(socket: UdpSocket, options: &offload::Options) -> io::Result<(Outlet, Inlet)> {
    let socket = Arc::new(Socket::new(socket, options)?);
    let inner = socket.get_ref();
    inner.set_nonblocking(false)?;
    inner.set_read_timeout(Some(LONGEST_READ))?;
    inner.set_write_timeout(Some(LONGEST_WRITE))?;
    let inlet = Inlet {
        socket: Arc::clone(&socket),
        // A read that waits fills one buffer.
        inbox: Inbox::new(1, LONGEST),
    };
    Ok((Outlet(socket), inlet))
}

impl Outlet {
    pub(super) fn local(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Sends what is in `tx`, and waits while the system has no room. What it does not take is lost, like on
    /// the line.
    pub(super) fn send(&self, tx: &Transmit<Path>, counters: &Counters) {
        let mut sent = 0;
        if !self.0.send(tx, &mut sent) {
            let late = u64::try_from(tx.datagrams().len() - sent).unwrap_or(u64::MAX);
            counters.late.fetch_add(late, Ordering::Relaxed);
        }
        counters.note(self.0.counts());
    }

    /// Wakes whoever waits in [`Inlet::receive`].
    pub(super) fn wake(&self) {
        let (socket, local) = (self.0.get_ref(), self.local());
        // Says that the socket is not connected, and wakes the reader, on Linux.
        let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        // Elsewhere a datagram of no octets does. Should both fail, the read ends by itself.
        let here = match local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let _ = socket.send_to(&[], SocketAddr::new(here, local.port()));
    }
}

impl Inlet {
    pub(super) fn local(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Waits for datagrams, and tells whether any came.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is of no use any more.
    pub(super) fn receive(
        &mut self,
        counters: &Counters,
        each: impl FnMut(Path, &[u8], NonZeroUsize),
    ) -> io::Result<bool> {
        let received = self.socket.receive_one_train(&mut self.inbox, each);
        counters.note(self.socket.counts());
        match received {
            Ok(received) => Ok(received > 0),
            Err(error) if is_pause(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
