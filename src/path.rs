//! The addresses between which octets are sent.

use core::fmt;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first 56 bits of an IPv6 address.
const PREFIX: u128 = u128::MAX << 72;

/// The address of a peer, a stream or an interface: [`Path`] on IP, [`Hop`] on a network of numbered
/// interfaces, `()` on one stream, an integer in tests and simulations.
pub trait Addr: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// Returns the address of the socket or interface that carries octets to this address, by default the
    /// address itself.
    ///
    /// A cue of the carrier, such as [`Link::Full`](crate::Link::Full), applies to all addresses on it: the
    /// carrier of a UDP path is its socket, that of a hop its interface. In the order of addresses, those of
    /// one carrier directly follow it.
    #[must_use]
    fn carrier(self) -> Self {
        self
    }

    /// Tells whether both addresses belong to one host, whatever their ports.
    ///
    /// By default they have to be equal. Two [`Path`]s need equal remote IP addresses, with equal scope ids in
    /// IPv6.
    #[must_use]
    fn same_host(self, other: Self) -> bool {
        self == other
    }

    /// Returns the address that stands for everybody who can easily have this one: the same for all of them.
    ///
    /// What strangers may cause is counted by it. By default it is the address itself. Of a [`Path`] it has the remote
    /// IP address without the port: the whole of it in IPv4, the first 56 bits in IPv6, of which a subscriber has all
    /// others at will.
    #[must_use]
    fn prefix(self) -> Self {
        self
    }
}

impl Addr for () {}
impl Addr for Path {
    fn carrier(self) -> Self {
        match self.proto {
            Proto::Udp => Self::socket(Proto::Udp, self.local),
            // An accepted stream stays open when its listener is closed.
            Proto::Tcp => self,
        }
    }

    fn same_host(self, other: Self) -> bool {
        let scope = |address: SocketAddr| match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        self.remote.ip() == other.remote.ip() && scope(self.remote) == scope(other.remote)
    }

    fn prefix(self) -> Self {
        let ip = match self.remote.ip().to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & PREFIX).into()),
        };
        let local = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self::udp(SocketAddr::new(local, 0), SocketAddr::new(ip, 0))
    }
}
impl Addr for Hop {
    /// Returns the interface, whose cues apply to every hop over it.
    fn carrier(self) -> Self {
        Self { via: 0, ..self }
    }
}
impl Addr for u8 {}
impl Addr for u16 {}
impl Addr for u32 {}
impl Addr for u64 {}

/// The transport of a [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Proto {
    /// Datagrams over UDP.
    Udp,
    /// A stream over TCP.
    Tcp,
}

/// A pair of socket addresses with their transport, seen from the local end.
///
/// `local` is the address to which the socket is bound, never the destination of a packet: a server with
/// several addresses binds one socket to each. A `remote` with port 0 stands for the socket itself: a bound UDP
/// socket, or a TCP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Path {
    /// The transport.
    pub proto: Proto,
    /// The address of the local end.
    pub local: SocketAddr,
    /// The address of the remote end.
    pub remote: SocketAddr,
}

impl Path {
    /// Returns the UDP path from `local` to `remote`.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            proto: Proto::Udp,
            local,
            remote,
        }
    }

    /// Returns the TCP path from `local` to `remote`.
    #[must_use]
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            proto: Proto::Tcp,
            local,
            remote,
        }
    }

    /// Returns the path that stands for the socket bound to `local`.
    #[must_use]
    pub const fn socket(proto: Proto, local: SocketAddr) -> Self {
        let unspecified = match local {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self {
            proto,
            local,
            remote: SocketAddr::new(unspecified, 0),
        }
    }

    /// Tells whether the path stands for a socket, and not for a pair of addresses.
    #[must_use]
    pub const fn is_socket(&self) -> bool {
        self.remote.port() == 0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proto = match self.proto {
            Proto::Udp => "udp",
            Proto::Tcp => "tcp",
        };
        if self.is_socket() {
            write!(f, "{proto} {}", self.local)
        } else {
            write!(f, "{proto} {} to {}", self.local, self.remote)
        }
    }
}

/// The next hop in a network of numbered interfaces, such as CSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hop {
    /// The number of an interface of this node.
    pub interface: u8,
    /// The link address of the next node; 0 stands for the interface itself.
    pub via: u16,
}

/// A number by which the caller identifies a request or a session; every event about it carries it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Tag(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(remote: &str) -> Path {
        let local = SocketAddr::from(([127, 0, 0, 1], 1113));
        Path::udp(local, remote.parse().unwrap())
    }

    #[test]
    fn paths_to_two_ports_of_one_ip_address_are_to_the_same_host() {
        assert!(path("192.0.2.1:1").same_host(path("192.0.2.1:2")));
        assert!(!path("192.0.2.1:1").same_host(path("192.0.2.2:1")));
    }

    #[test]
    fn equal_link_local_addresses_of_two_scopes_are_two_hosts() {
        assert!(path("[fe80::1%2]:1").same_host(path("[fe80::1%2]:7")));
        assert!(!path("[fe80::1%2]:1").same_host(path("[fe80::1%3]:1")));
    }

    #[test]
    fn an_ipv4_address_or_56_bits_of_ipv6_count_as_one() {
        let same = |one: &str, other: &str| path(one).prefix() == path(other).prefix();

        assert!(same("192.0.2.1:1", "192.0.2.1:2"));
        assert!(!same("192.0.2.1:1", "192.0.2.2:1"));
        assert!(same("[2001:db8:0:1ff::1]:1", "[2001:db8:0:101::2]:2"));
        assert!(!same("[2001:db8:0:100::1]:1", "[2001:db8:0:200::1]:1"));
        assert!(same("[::ffff:192.0.2.1]:1", "192.0.2.1:2"));
        assert!(!same("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1"));
        let elsewhere = Path::udp(
            SocketAddr::from(([10, 0, 0, 1], 5)),
            path("192.0.2.1:1").remote,
        );
        assert_eq!(elsewhere.prefix(), path("192.0.2.1:9").prefix());
    }

    #[test]
    fn all_hops_over_an_interface_have_it_as_their_carrier() {
        let hop = |interface, via| Hop { interface, via };

        assert_eq!(hop(1, 7).carrier(), hop(1, 9).carrier());
        assert_ne!(hop(1, 7).carrier(), hop(2, 7).carrier());
        assert!(!hop(1, 7).same_host(hop(1, 9)));
    }
}
