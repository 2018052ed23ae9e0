//! Where octets come from and go to.

use core::fmt;
use core::hash::Hash;
use core::net::SocketAddr;

/// What a machine is addressed by: [`Path`] on IP, [`Hop`] on a CSP network, `()` on one stream, a plain
/// number where peers go by number.
pub trait Addr: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// Returns the address of what carries the octets to this one, most often the address itself.
    ///
    /// All ways from one UDP socket have that socket as their carrier: what is said of it, such as
    /// [`Link::Full`](crate::Link::Full), holds of them all. Addresses with the same carrier follow it in
    /// their order without a gap.
    #[must_use]
    fn carrier(self) -> Self {
        self
    }

    /// Tells whether both addresses are of one host, whatever their ports.
    ///
    /// On a [`Path`] that is an equal remote IP address, with an equal scope id where IPv6 has one.
    #[must_use]
    fn same_host(self, other: Self) -> bool {
        self == other
    }
}

impl Addr for () {}
impl Addr for Path {
    fn carrier(self) -> Self {
        match self.proto {
            Proto::Udp => Self::socket(Proto::Udp, self.local),
            // An accepted stream lives on when its listener is closed.
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
}
impl Addr for Hop {
    /// The interface: what is said of it holds of every hop over it.
    fn carrier(self) -> Self {
        Self { via: 0, ..self }
    }
}
impl Addr for u8 {}
impl Addr for u16 {}
impl Addr for u32 {}
impl Addr for u64 {}

/// The transport under a [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Proto {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
}

/// One way between two sockets.
///
/// `local` is what the socket is bound to, never the destination of a packet: a server with several
/// addresses binds one socket each. A `remote` with port 0 means the socket itself: a bound UDP socket, or
/// a TCP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Path {
    /// Datagrams or a stream.
    pub proto: Proto,
    /// What this end is bound to.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Path {
    /// Names the UDP way from `local` to `remote`.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            proto: Proto::Udp,
            local,
            remote,
        }
    }

    /// Names the TCP way from `local` to `remote`.
    #[must_use]
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            proto: Proto::Tcp,
            local,
            remote,
        }
    }

    /// Names the socket bound to `local`, which has no peer.
    #[must_use]
    pub const fn socket(proto: Proto, local: SocketAddr) -> Self {
        let nobody = match local {
            SocketAddr::V4(_) => core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => core::net::IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
        };
        Self {
            proto,
            local,
            remote: SocketAddr::new(nobody, 0),
        }
    }

    /// Tells whether the path names a socket and not a way to a peer.
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

/// The next hop in a network of numbered interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hop {
    /// Which interface of this node.
    pub interface: u8,
    /// The link address of the next node on it.
    pub via: u16,
}

/// A name that the caller gives to something long-lived; every event about it carries it back.
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
    fn all_hops_over_an_interface_have_it_as_their_carrier() {
        let hop = |interface, via| Hop { interface, via };

        assert_eq!(hop(1, 7).carrier(), hop(1, 9).carrier());
        assert_ne!(hop(1, 7).carrier(), hop(2, 7).carrier());
        assert!(!hop(1, 7).same_host(hop(1, 9)));
    }
}
