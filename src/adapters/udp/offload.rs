//! System calls on one non-blocking UDP socket, with segmentation (GSO) and coalescing (GRO) by the kernel.

use alloc::sync::Arc;
use core::array;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroUsize;
use std::io::{self, IoSliceMut};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use super::recv_buffers::GroBatch;
use super::stats::{UdpCounters, add};
use super::{BufferSizes, RecvBuffers, UdpOptions};

/// Octets of the longest run of datagrams in one send: a datagram of that length must be possible.
const LONGEST: usize = 65_507;

/// Errors from the network that one receive takes in before it returns.
const ERRORS: usize = 64;

/// What is known of one socket. The socket itself is shown at each call.
pub(super) struct Offload {
    state: UdpSocketState,
    segments: usize,
    local: SocketAddr,
    /// A connected socket sends without an address.
    peer: Option<SocketAddr>,
    sizes: BufferSizes,
    counters: Arc<UdpCounters>,
}

impl Offload {
    /// Makes a bound socket non-blocking, widens its buffers and turns on GRO, as far as the system lets it.
    pub(super) fn new(socket: &Socket, options: &UdpOptions) -> io::Result<Self> {
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
            counters: Arc::default(),
        })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) const fn sizes(&self) -> BufferSizes {
        self.sizes
    }

    pub(super) const fn counters(&self) -> &Arc<UdpCounters> {
        &self.counters
    }

    /// Counts in `counters` from here on.
    #[cfg(any(feature = "blocking", feature = "tokio"))]
    pub(super) fn count_in(&mut self, counters: Arc<UdpCounters>) {
        self.counters = counters;
    }

    /// Counts datagrams that will never be sent.
    #[cfg(any(feature = "blocking", feature = "tokio"))]
    pub(super) fn count_unsent(&self, count: usize) {
        add(&self.counters.unsent, count);
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
    pub(super) fn send(
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
                Ok(()) => add(&self.counters.sent, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if count > 1 => {
                    add(&self.counters.refused, 1);
                    most = 1;
                    continue;
                }
                Err(_) => add(&self.counters.unsent, 1),
            }
            *sent += count;
        }
        Ok(())
    }

    /// Sends a run in one call. An error that the network reported is about another datagram, sent before;
    /// this one was not tried.
    fn send_run(&self, socket: &Socket, to: SocketAddr, run: &[u8], size: usize) -> io::Result<()> {
        add(&self.counters.sends, 1);
        match self.send_once(socket, to, run, size) {
            Err(error) if is_reported(&error) => {
                add(&self.counters.reported, 1);
                self.send_once(socket, to, run, size)
            }
            other => other,
        }
    }

    fn send_once(
        &self,
        socket: &Socket,
        to: SocketAddr,
        run: &[u8],
        size: usize,
    ) -> io::Result<()> {
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
    pub(super) fn receive(
        &self,
        socket: &Socket,
        buffers: &mut RecvBuffers,
        each: &mut dyn FnMut(SocketAddr, &[u8], NonZeroUsize),
    ) -> io::Result<(usize, bool)> {
        for _ in 0..ERRORS {
            match self.receive_once(socket, buffers, each) {
                Err(error) if is_reported(&error) => add(&self.counters.reported, 1),
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
        let room = buffers.size();
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
            let batch = GroBatch {
                from: meta.addr,
                octets: slice.get(..meta.len).unwrap_or(slice),
                stride: if meta.stride == 0 {
                    meta.len
                } else {
                    meta.stride
                },
                room,
            };
            let [whole, cut] = batch.show(each);
            received += whole;
            truncated += cut;
        }
        add(&self.counters.receives, 1);
        add(&self.counters.received, received);
        add(&self.counters.truncated, truncated);
        // An error of the network ends a call early too, with datagrams left. Only connected sockets have them.
        Ok((received, filled < count && self.peer.is_none()))
    }

    /// Makes the socket give datagrams one by one again.
    pub(super) fn release(socket: &Socket) {
        option::coalesce(socket, false);
    }
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload")
            .field("local", &self.local)
            .field("segments", &self.segments())
            .finish_non_exhaustive()
    }
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
