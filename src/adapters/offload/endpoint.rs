//! The sockets that can be in a [`Socket`](super::Socket).

use core::net::SocketAddr;
use std::io;
#[cfg(not(windows))]
use std::os::fd::AsFd as Handle;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Handle;

/// Which side of a socket has to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Sending.
    Out,
    /// Receiving.
    In,
}

/// A bound UDP socket: of the standard library, of tokio, or of another runtime.
///
/// Nothing in it waits once the socket is non-blocking: what would block fails with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Endpoint: Handle {
    /// Returns what it is bound to.
    ///
    /// # Errors
    ///
    /// The system's own.
    fn local(&self) -> io::Result<SocketAddr>;

    /// Returns what it is connected to.
    fn peer(&self) -> Option<SocketAddr>;

    /// Sends one datagram, on a connected socket without an address.
    ///
    /// # Errors
    ///
    /// The system's own.
    fn send_one(&self, octets: &[u8], to: Option<SocketAddr>) -> io::Result<()>;

    /// Receives one datagram.
    ///
    /// # Errors
    ///
    /// The system's own.
    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Makes a call of the system on the socket. A runtime notes here that the call would have blocked.
    ///
    /// # Errors
    ///
    /// Those of the call.
    fn attempt<T>(&self, side: Side, call: impl FnOnce() -> io::Result<T>) -> io::Result<T>;
}

impl Endpoint for std::net::UdpSocket {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }

    fn send_one(&self, octets: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        match to {
            Some(to) => self.send_to(octets, to),
            None => self.send(octets),
        }
        .map(drop)
    }

    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn attempt<T>(&self, _side: Side, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        call()
    }
}

#[cfg(feature = "tokio")]
impl Endpoint for tokio::net::UdpSocket {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }

    fn send_one(&self, octets: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        match to {
            Some(to) => self.try_send_to(octets, to),
            None => self.try_send(octets),
        }
        .map(drop)
    }

    fn receive_one(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_recv_from(buffer)
    }

    fn attempt<T>(&self, side: Side, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let interest = match side {
            Side::Out => tokio::io::Interest::WRITABLE,
            Side::In => tokio::io::Interest::READABLE,
        };
        self.try_io(interest, call)
    }
}
