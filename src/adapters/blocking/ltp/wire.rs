//! The socket of a node, as its threads use it.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::net::{Shutdown, UdpSocket};

use socket2::SockRef;

use crate::adapters::blocking::udp::{is_pause, is_reported};
use crate::{Path, Transmit};

/// How long a read waits before it looks whether the node has ended. Mostly it is woken.
const LONGEST_READ: Duration = Duration::from_millis(250);
/// How long a write waits for room in the system. UDP drains at line rate, so this is long.
const LONGEST_WRITE: Duration = Duration::from_millis(100);
/// Octets of the longest datagram there can be.
const LONGEST: usize = 1 << 16;

/// The socket of a node.
pub(super) struct Wire {
    socket: UdpSocket,
    local: SocketAddr,
}

/// What went wrong at the socket, and is no concern of the machine.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) reported: AtomicU64,
    pub(super) unsent: AtomicU64,
}

/// Where datagrams are read into.
pub(super) struct Inbox {
    memory: Vec<u8>,
}

/// Datagrams of one peer: all of `stride` octets, the last may be shorter.
pub(super) struct Batch<'a> {
    pub(super) remote: SocketAddr,
    octets: &'a [u8],
    stride: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            memory: vec![0; LONGEST],
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> {
        self.octets.chunks(self.stride.max(1))
    }
}

impl Wire {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_read_timeout(Some(LONGEST_READ))?;
        socket.set_write_timeout(Some(LONGEST_WRITE))?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends what is in `tx`, and waits while the system has no room. What it does not take is lost, like on
    /// the line.
    pub(super) fn send(&self, tx: &Transmit<Path>, counters: &Counters) {
        let Some(to) = tx.to() else {
            return;
        };
        for datagram in tx.datagrams() {
            let outcome = match self.socket.send_to(datagram, to.remote) {
                // Perhaps reported before, about another datagram; then this one was not tried.
                Err(error) if !is_pause(&error) => self.socket.send_to(datagram, to.remote),
                outcome => outcome,
            };
            if outcome.is_err() {
                counters.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits for datagrams; `None` when it was for nothing.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is of no use any more.
    pub(super) fn receive<'a>(
        &self,
        inbox: &'a mut Inbox,
        counters: &Counters,
    ) -> io::Result<Option<Batch<'a>>> {
        match self.socket.recv_from(&mut inbox.memory) {
            Ok((len, remote)) => Ok(inbox.memory.get(..len).map(|octets| Batch {
                remote,
                octets,
                stride: len,
            })),
            Err(error) if is_pause(&error) => Ok(None),
            Err(error) if is_reported(&error) => {
                counters.reported.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Wakes whoever waits in [`receive`](Self::receive).
    pub(super) fn wake(&self) {
        // Says that the socket is not connected, and wakes the reader, on Linux.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
        // Elsewhere a datagram of no octets does. Should both fail, the read ends by itself.
        let here = match self.local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let here = SocketAddr::new(here, self.local.port());
        let _ = self.socket.send_to(&[], here);
    }
}
