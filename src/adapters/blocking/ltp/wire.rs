//! The socket of a node, as its threads use it: one hold to send on, one to receive on.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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

/// What went wrong at the socket, and is no concern of the machine.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) reported: AtomicU64,
    pub(super) unsent: AtomicU64,
}

/// The hold to send on.
pub(super) struct Outlet(Socket<UdpSocket>);

/// The hold to receive on.
pub(super) struct Inlet {
    socket: Socket<UdpSocket>,
    inbox: Inbox,
}

/// Parts a bound socket in two.
pub(super) fn part(socket: UdpSocket, options: &offload::Options) -> io::Result<(Outlet, Inlet)> {
    let inlet = Socket::new(socket.try_clone()?, options)?;
    let outlet = Socket::new(socket, options)?;
    let socket = outlet.get_ref();
    // A thread of its own waits for each direction.
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LONGEST_READ))?;
    socket.set_write_timeout(Some(LONGEST_WRITE))?;
    let inlet = Inlet {
        socket: inlet,
        inbox: Inbox::default(),
    };
    Ok((Outlet(outlet), inlet))
}

impl Outlet {
    pub(super) const fn local(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Sends what is in `tx`, and waits while the system has no room. What it does not take is lost, like on
    /// the line.
    pub(super) fn send(&mut self, tx: &Transmit<Path>, counters: &Counters) {
        let before = self.0.counts();
        let mut sent = 0;
        let mut lost = 0;
        if !self.0.send(tx, &mut sent) {
            lost = u64::try_from(tx.datagrams().len() - sent).unwrap_or(u64::MAX);
        }
        let after = self.0.counts();
        count(&counters.unsent, lost + after.unsent - before.unsent);
        count(&counters.reported, after.reported - before.reported);
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
    pub(super) const fn local(&self) -> SocketAddr {
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
        each: impl FnMut(Path, &[u8]),
    ) -> io::Result<bool> {
        let before = self.socket.counts().reported;
        let received = self.socket.receive_one(&mut self.inbox, each);
        count(&counters.reported, self.socket.counts().reported - before);
        match received {
            Ok(received) => Ok(received > 0),
            Err(error) if is_pause(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn count(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
