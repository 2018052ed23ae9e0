//! System calls on one non-blocking UDP socket, with segmentation (GSO) and coalescing (GRO) by the kernel.

use alloc::sync::Arc;
use core::array;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroUsize;
use std::io::{self, IoSliceMut};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use super::stats::SocketCounters;
use super::{BufferSizes, RecvBuffers, UdpOptions, UdpStats};

/// Octets of the longest run of datagrams in one send: a datagram of that length must be possible.
const LONGEST: usize = 65_507;

/// Errors from the network that one receive takes in before it returns.
const ERRORS: usize = 64;

/// What is known of one socket. The socket itself is shown at each call.
#[derive(derive_more::Debug)]
#[debug("{local}")]
pub(in crate::adapters) struct Offload {
    state: UdpSocketState,
    segments: usize,
    pub(super) local: SocketAddr,
    /// A connected socket sends without an address.
    peer: Option<SocketAddr>,
    pub(in crate::adapters) sizes: BufferSizes,
    pub(in crate::adapters) counters: Arc<SocketCounters>,
}

impl Offload {
    /// Makes a bound socket non-blocking, widens its buffers and turns on GRO, as far as the system lets it.
    ///
    /// What it does is counted in `counters`, which several sockets may share.
    pub(in crate::adapters) fn new(
        socket: &Socket,
        options: &UdpOptions,
        counters: Arc<SocketCounters>,
    ) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket();
        let local = local.ok_or(io::ErrorKind::InvalidInput)?;
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        socket.set_nonblocking(true)?;
        option::coalesce(socket, options.coalesce);
        Ok(Self {
            state: state(local)?,
            segments: options.segments.get(),
            local,
            peer,
            sizes: BufferSizes {
                receive: widen_receive(socket, options.receive_buffer),
                send: widen_send(socket, options.send_buffer),
            },
            counters,
        })
    }

    /// Returns what was counted so far.
    pub(super) fn stats(&self) -> UdpStats {
        self.counters.stats().udp
    }

    fn count(&self, count: impl FnOnce(&mut UdpStats)) {
        self.counters.count(|stats| count(&mut stats.udp));
    }

    /// Returns how many datagrams one send may have.
    pub(super) fn segments(&self) -> usize {
        self.segments.min(match self.state.max_gso_segments() {
            0 | 1 => 1,
            _ => usize::MAX,
        })
    }

    /// Sends what of `octets`, datagrams of `size` of which the last may be shorter, lies behind the first
    /// `sent`, and moves `sent` on. What the system refuses is counted and left out.
    ///
    /// # Errors
    ///
    /// Only [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(in crate::adapters) fn send(
        &self,
        socket: &Socket,
        to: SocketAddr,
        (octets, size): (&[u8], usize),
        sent: &mut usize,
    ) -> io::Result<()> {
        let size = size.max(1);
        let mut most = self.segments().min(LONGEST / size).max(1);
        while let Some(rest @ [_, ..]) = octets.get(size.saturating_mul(*sent)..) {
            let run = rest.get(..size.saturating_mul(most)).unwrap_or(rest);
            let count = run.len().div_ceil(size);
            match self.send_run(socket, to, run, size) {
                Ok(()) => self.count(|udp| udp.sent += count as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if count > 1 => {
                    self.count(|udp| udp.refused += 1);
                    most = 1;
                    continue;
                }
                Err(_) => self.count(|udp| udp.unsent += 1),
            }
            *sent += count;
        }
        Ok(())
    }

    /// Sends a run in one call. An error that the network reported is about another datagram, sent before;
    /// this one was not tried.
    fn send_run(&self, socket: &Socket, to: SocketAddr, run: &[u8], size: usize) -> io::Result<()> {
        self.count(|udp| udp.sends += 1);
        match self.try_send(socket, to, run, size) {
            Err(error) if is_reported(&error) => {
                self.count(|udp| udp.reported += 1);
                self.try_send(socket, to, run, size)
            }
            other => other,
        }
    }

    fn try_send(&self, socket: &Socket, to: SocketAddr, run: &[u8], size: usize) -> io::Result<()> {
        if run.len() > size {
            let batch = Transmit {
                destination: self.peer.unwrap_or(to),
                ecn: None,
                contents: run,
                segment_size: Some(size),
                src_ip: None,
            };
            return self.state.try_send(UdpSockRef::from(socket), &batch);
        }
        match self.peer {
            Some(_) => socket.send(run),
            None => socket.send_to(run, &to.into()),
        }
        .map(drop)
    }

    /// Receives what one call gives, and shows each batch: its sender, its datagrams back to back, and the
    /// length of all but the last. Returns how many datagrams there are, 0 behind errors of the network alone,
    /// and whether the socket is known to have no more.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing, and what makes the socket unusable.
    pub(in crate::adapters) fn receive(
        &self,
        socket: &Socket,
        buffers: &mut RecvBuffers,
        each: &mut dyn FnMut(SocketAddr, &[u8], NonZeroUsize),
    ) -> io::Result<(usize, bool)> {
        for _ in 0..ERRORS {
            match self.receive_once(socket, buffers, each) {
                Err(error) if is_reported(&error) => self.count(|udp| udp.reported += 1),
                other => return other,
            }
        }
        Ok((0, false))
    }

    fn receive_once(
        &self,
        socket: &Socket,
        buffers: &mut RecvBuffers,
        each: &mut dyn FnMut(SocketAddr, &[u8], NonZeroUsize),
    ) -> io::Result<(usize, bool)> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut count = 0;
        let mut free = buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = array::from_fn(|_| {
            let buffer = free.next();
            count += usize::from(buffer.is_some());
            IoSliceMut::new(buffer.unwrap_or_default())
        });
        let slices = slices.get_mut(..count).unwrap_or_default();
        let filled = self
            .state
            .recv(UdpSockRef::from(socket), slices, &mut metas)?;
        let (mut received, mut truncated) = (0, 0);
        for (meta, slice) in metas.iter().zip(slices.iter()).take(filled) {
            let [whole, cut] = show(meta, slice, each);
            received += whole;
            truncated += cut;
        }
        self.count(|udp| {
            udp.receives += 1;
            udp.received += received as u64;
            udp.truncated += truncated as u64;
        });
        // An error of the network ends a call early too, with datagrams left. Only connected sockets have them.
        Ok((received, filled < count && self.peer.is_none()))
    }

    /// Makes the socket give datagrams one by one again.
    pub(super) fn release(socket: &Socket) {
        option::coalesce(socket, false);
    }
}

/// Shows the datagrams of one buffer: one, or several of one length from one sender (GRO), of which the last
/// may be shorter. Returns how many were whole and how many truncated, 0 or 1. An empty datagram is a batch of
/// its own.
fn show(
    meta: &RecvMeta,
    buffer: &[u8],
    each: &mut dyn FnMut(SocketAddr, &[u8], NonZeroUsize),
) -> [usize; 2] {
    let octets = buffer.get(..meta.len).unwrap_or(buffer);
    let stride = NonZeroUsize::new(meta.stride).or(NonZeroUsize::new(meta.len));
    let stride = stride.unwrap_or(NonZeroUsize::MIN);
    if octets.len() < buffer.len() {
        each(meta.addr, octets, stride);
        return [octets.len().div_ceil(stride.get()).max(1), 0];
    }
    // The system does not say that it cut a batch: one that fills the buffer is taken to have gone on.
    let whole = octets.len().saturating_sub(1) / stride;
    if whole > 0 {
        let octets = octets.get(..whole * stride.get()).unwrap_or_default();
        each(meta.addr, octets, stride);
    }
    [whole, 1]
}

/// Finds out what the kernel can do for sockets of the family of `local`.
///
/// `quinn-udp` forbids the socket that it is shown to fragment, and asks for stamps and addresses that nobody
/// reads here. So it is shown another socket: what it finds out holds for both.
fn state(local: SocketAddr) -> io::Result<UdpSocketState> {
    let probe = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if cfg!(windows) {
        // There a socket has no address before.
        let any: SocketAddr = match local {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        probe.bind(&any.into())?;
    }
    UdpSocketState::new(UdpSockRef::from(&probe))
}

/// Makes the receive buffer at least that large, as far as the system lets it, and returns its size.
///
/// Linux doubles what it is asked for, so it is the doubled size that is compared.
fn widen_receive(socket: &Socket, octets: usize) -> usize {
    let size = || socket.recv_buffer_size().unwrap_or(0);
    if size() < octets.saturating_mul(2) {
        // What is refused shows in the size.
        let _ = socket.set_recv_buffer_size(octets);
    }
    if size() < octets {
        option::force_receive(socket, octets);
    }
    size()
}

/// Does the same for the send buffer.
fn widen_send(socket: &Socket, octets: usize) -> usize {
    let size = || socket.send_buffer_size().unwrap_or(0);
    if size() < octets.saturating_mul(2) {
        // What is refused shows in the size.
        let _ = socket.set_send_buffer_size(octets);
    }
    if size() < octets {
        option::force_send(socket, octets);
    }
    size()
}

/// Tells whether the network reported it (ICMP), so that it says nothing about the socket.
fn is_reported(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | PermissionDenied
    ) || quinn_udp::is_msg_size_err(error)
}

/// Options that only Linux has. What is refused stays as it was.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod option {
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce, UdpGroSegment};
    use socket2::Socket;

    pub(super) fn coalesce(socket: &Socket, is_on: bool) {
        let _ = setsockopt(socket, UdpGroSegment, &is_on);
    }

    pub(super) fn force_receive(socket: &Socket, octets: usize) {
        let _ = setsockopt(socket, RcvBufForce, &octets);
    }

    pub(super) fn force_send(socket: &Socket, octets: usize) {
        let _ = setsockopt(socket, SndBufForce, &octets);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod option {
    use socket2::Socket;

    pub(super) const fn coalesce(_socket: &Socket, _is_on: bool) {}

    pub(super) const fn force_receive(_socket: &Socket, _octets: usize) {}

    pub(super) const fn force_send(_socket: &Socket, _octets: usize) {}
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::net::UdpSocket;

    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover, set_ip_mtu_discover,
    };

    use super::super::{Socket, UdpOptions};

    #[test]
    fn long_datagrams_are_fragmented_as_on_any_socket() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(plain) = UdpSocket::bind(address) else {
                continue;
            };
            let discovery = |socket: &UdpSocket| {
                let v4 = ip_mtu_discover(socket).ok();
                (v4, ipv6_mtu_discover(socket).ok())
            };
            let before = discovery(&plain);

            let helped = Socket::new(plain, &UdpOptions::default()).unwrap();

            assert_eq!(discovery(helped.get_ref()), before, "{address}");
        }
    }

    #[test]
    fn a_socket_that_was_told_not_to_fragment_does_not() {
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_ip_mtu_discover(&plain, Ipv4PathMtuDiscovery::DO).unwrap();

        let helped = Socket::new(plain, &UdpOptions::default()).unwrap();

        let kept = ip_mtu_discover(helped.get_ref()).unwrap();
        assert_eq!(kept, Ipv4PathMtuDiscovery::DO);
    }
}
