//! What the kernel takes over: segmentation, coalescing, and buffers of the size asked for.

use core::array;
use core::fmt;
use core::net::SocketAddr;
use std::io::{self, IoSliceMut};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;

use super::inbox::Train;
use super::{Buffers, Endpoint, Inbox, Options, Side};

/// The help of the kernel for one socket, as far as it gives any.
pub(super) struct Kernel {
    /// Absent where the kernel refused the options of the socket.
    state: Option<UdpSocketState>,
    segments: usize,
}

impl Kernel {
    pub(super) fn new<S: Endpoint>(socket: &S, options: &Options) -> (Self, Buffers) {
        let fragments = option::fragments(socket);
        let state = UdpSocketState::new(UdpSockRef::from(socket)).ok();
        // It forbids them, for probes that nobody sends here; a long segment would never leave.
        option::fragment(socket, &fragments);
        // Stamps that nobody reads.
        option::stamp(socket, false);
        option::coalesce(socket, options.coalesce && state.is_some());
        let buffers = Buffers {
            receive: widen_receive(socket, options.receive_buffer),
            send: widen_send(socket, options.send_buffer),
        };
        let segments = options.segments.get();
        (Self { state, segments }, buffers)
    }

    /// Returns how many datagrams one send may have.
    pub(super) fn segments(&self) -> usize {
        match &self.state {
            Some(state) if state.max_gso_segments() > 1 => self.segments,
            Some(_) | None => 1,
        }
    }

    /// Sends datagrams of `size`, the last of which may be shorter; the count is below
    /// [`segments`](Self::segments).
    pub(super) fn send<S: Endpoint>(
        &self,
        socket: &S,
        to: SocketAddr,
        octets: &[u8],
        size: usize,
    ) -> io::Result<()> {
        let Some(state) = &self.state else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: octets,
            segment_size: Some(size),
            src_ip: None,
        };
        socket.attempt(Side::Out, || {
            state.try_send(UdpSockRef::from(socket), &transmit)
        })
    }

    /// Receives into up to `limit` buffers; `None` where the kernel gives no help.
    pub(super) fn receive<S: Endpoint>(
        &self,
        socket: &S,
        inbox: &mut Inbox,
        limit: usize,
        mut each: impl FnMut(&Train, &[u8]),
    ) -> Option<io::Result<()>> {
        let state = self.state.as_ref()?;
        let limit = limit.min(quinn_udp::BATCH_SIZE);
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let mut count = 0;
        let mut buffers = inbox.buffers().take(limit);
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] = array::from_fn(|_| {
            let buffer = buffers.next();
            count += usize::from(buffer.is_some());
            IoSliceMut::new(buffer.unwrap_or_default())
        });
        let slices = slices.get_mut(..count)?;
        let received = socket.attempt(Side::In, || {
            state.recv(UdpSockRef::from(socket), slices, &mut metas)
        });
        let received = match received {
            Ok(received) => received,
            Err(error) => return Some(Err(error)),
        };
        for (meta, slice) in metas.iter().zip(slices.iter()).take(received) {
            let train = Train {
                from: meta.addr,
                len: meta.len.min(slice.len()),
                stride: if meta.stride == 0 {
                    meta.len
                } else {
                    meta.stride
                },
            };
            each(&train, slice.get(..train.len).unwrap_or_default());
        }
        Some(Ok(()))
    }

    /// Makes the socket one again that is read datagram by datagram.
    pub(super) fn release<S: Endpoint>(socket: &S) {
        option::coalesce(socket, false);
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({} segments)", self.segments())
    }
}

/// Makes the buffer at least that large, as far as the system lets it, and returns its size.
///
/// Linux doubles what it is asked for, so it is the doubled size that is compared.
fn widen_receive<S: Endpoint>(socket: &S, octets: usize) -> usize {
    let socket_ref = socket_ref(socket);
    let size = || socket_ref.recv_buffer_size().unwrap_or(0);
    if size() < octets.saturating_mul(2) {
        // What is refused shows in the size.
        let _ = socket_ref.set_recv_buffer_size(octets);
    }
    if size() < octets {
        option::force_receive(socket, octets);
    }
    size()
}

fn widen_send<S: Endpoint>(socket: &S, octets: usize) -> usize {
    let socket_ref = socket_ref(socket);
    let size = || socket_ref.send_buffer_size().unwrap_or(0);
    if size() < octets.saturating_mul(2) {
        // What is refused shows in the size.
        let _ = socket_ref.set_send_buffer_size(octets);
    }
    if size() < octets {
        option::force_send(socket, octets);
    }
    size()
}

fn socket_ref<S: Endpoint>(socket: &S) -> SockRef<'_> {
    SockRef::from(socket)
}

/// Options that only Linux has. What is refused stays as it was.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod option {
    use nix::sys::socket::sockopt::{
        Ipv6DontFrag, RcvBufForce, ReceiveTimestampns, SndBufForce, UdpGroSegment,
    };
    use nix::sys::socket::{getsockopt, setsockopt};
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover,
        set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    use super::Endpoint;

    /// What a socket does with datagrams that exceed the MTU of the way. The answer for IPv4 is also that of
    /// IPv6 sockets for peers in it.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Fragments {
        v4: Option<Ipv4PathMtuDiscovery>,
        v6: Option<Ipv6PathMtuDiscovery>,
        is_v6_forbidden: Option<bool>,
    }

    pub(super) fn fragments<S: Endpoint>(socket: &S) -> Fragments {
        Fragments {
            v4: ip_mtu_discover(socket).ok(),
            v6: ipv6_mtu_discover(socket).ok(),
            is_v6_forbidden: getsockopt(socket, Ipv6DontFrag).ok(),
        }
    }

    pub(super) fn fragment<S: Endpoint>(socket: &S, fragments: &Fragments) {
        if let Some(v4) = fragments.v4 {
            let _ = set_ip_mtu_discover(socket, v4);
        }
        if let Some(v6) = fragments.v6 {
            let _ = set_ipv6_mtu_discover(socket, v6);
        }
        if let Some(is_forbidden) = fragments.is_v6_forbidden {
            let _ = setsockopt(socket, Ipv6DontFrag, &is_forbidden);
        }
    }

    pub(super) fn stamp<S: Endpoint>(socket: &S, is_on: bool) {
        let _ = setsockopt(socket, ReceiveTimestampns, &is_on);
    }

    pub(super) fn coalesce<S: Endpoint>(socket: &S, is_on: bool) {
        let _ = setsockopt(socket, UdpGroSegment, &is_on);
    }

    pub(super) fn force_receive<S: Endpoint>(socket: &S, octets: usize) {
        let _ = setsockopt(socket, RcvBufForce, &octets);
    }

    pub(super) fn force_send<S: Endpoint>(socket: &S, octets: usize) {
        let _ = setsockopt(socket, SndBufForce, &octets);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod option {
    use super::Endpoint;

    pub(super) const fn fragments<S: Endpoint>(_socket: &S) {}

    pub(super) const fn fragment<S: Endpoint>(_socket: &S, (): &()) {}

    pub(super) fn stamp<S: Endpoint>(_socket: &S, _is_on: bool) {}

    pub(super) fn coalesce<S: Endpoint>(_socket: &S, _is_on: bool) {}

    pub(super) fn force_receive<S: Endpoint>(_socket: &S, _octets: usize) {}

    pub(super) fn force_send<S: Endpoint>(_socket: &S, _octets: usize) {}
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::net::UdpSocket;

    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, ip_mtu_discover, set_ip_mtu_discover};

    use super::super::{Options, Socket};
    use super::option::fragments;

    #[test]
    fn long_datagrams_are_fragmented_as_without_the_help_of_the_kernel() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(plain) = UdpSocket::bind(address) else {
                continue;
            };
            let before = fragments(&plain);

            let helped = Socket::new(plain, &Options::default()).unwrap();

            assert_eq!(fragments(helped.get_ref()), before, "{address}");
        }
    }

    #[test]
    fn a_socket_that_was_told_not_to_fragment_does_not() {
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_ip_mtu_discover(&plain, Ipv4PathMtuDiscovery::DO).unwrap();

        let helped = Socket::new(plain, &Options::default()).unwrap();

        let kept = ip_mtu_discover(helped.get_ref()).unwrap();
        assert_eq!(kept, Ipv4PathMtuDiscovery::DO);
    }
}
