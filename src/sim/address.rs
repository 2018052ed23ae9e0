//! Addresses of all kinds, without their types.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::NatId;
use crate::{Addr, Hop, Path};

/// An address of any machine. Traces contain it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyAddr {
    /// The address `()` of a machine with one stream.
    Stream,
    /// The number of a peer.
    Number(u64),
    /// A neighbour on a numbered interface.
    Hop(Hop),
    /// A path between two sockets.
    Path(Path),
}

impl AnyAddr {
    /// Returns the address of what carries the octets to this one, as [`Addr::carrier`] does.
    pub(super) fn carrier(self) -> Self {
        match self {
            Self::Stream | Self::Number(_) => self,
            Self::Hop(hop) => Self::Hop(hop.carrier()),
            Self::Path(path) => Self::Path(path.carrier()),
        }
    }
}

impl fmt::Display for AnyAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("stream"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Hop(Hop { interface, via }) => write!(f, "{via} on interface {interface}"),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// An address type whose machines can be hosts of a [`World`](super::World).
///
/// Other crates implement it for their own address types with [`AnyAddr::Number`] and [`HostAddr::Number`].
/// Their machines then reach each other by number.
pub trait SimAddr: Addr {
    /// The address that a host is added with.
    type HostAddr;

    /// Returns the address of a host without its type.
    fn host_addr(addr: Self::HostAddr) -> HostAddr;

    /// Returns the address without its type.
    fn to_any(self) -> AnyAddr;

    /// Returns the address with its type, or `None` if it is of another kind.
    fn from_any(addr: AnyAddr) -> Option<Self>;
}

/// The address with which a host is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddr {
    /// None: the host has one stream, by [`connect`](super::World::connect).
    Stream,
    /// Its number, to which peers send.
    Number(u64),
    /// Its link address, on all its interfaces.
    Link(u16),
    /// Its IP addresses.
    Ip(Ip),
}

impl SimAddr for () {
    type HostAddr = ();

    fn host_addr((): ()) -> HostAddr {
        HostAddr::Stream
    }

    fn to_any(self) -> AnyAddr {
        AnyAddr::Stream
    }

    fn from_any(addr: AnyAddr) -> Option<Self> {
        matches!(addr, AnyAddr::Stream).then_some(())
    }
}

impl SimAddr for Path {
    type HostAddr = Ip;

    fn host_addr(addr: Ip) -> HostAddr {
        HostAddr::Ip(addr)
    }

    fn to_any(self) -> AnyAddr {
        AnyAddr::Path(self)
    }

    fn from_any(addr: AnyAddr) -> Option<Self> {
        match addr {
            AnyAddr::Path(path) => Some(path),
            _ => None,
        }
    }
}

impl SimAddr for Hop {
    type HostAddr = u16;

    fn host_addr(addr: u16) -> HostAddr {
        HostAddr::Link(addr)
    }

    fn to_any(self) -> AnyAddr {
        AnyAddr::Hop(self)
    }

    fn from_any(addr: AnyAddr) -> Option<Self> {
        match addr {
            AnyAddr::Hop(hop) => Some(hop),
            _ => None,
        }
    }
}

macro_rules! placed_by_number {
    ($($number:ty),*) => {$(
        impl SimAddr for $number {
            type HostAddr = Self;

            fn host_addr(addr: Self) -> HostAddr {
                HostAddr::Number(u64::from(addr))
            }

            fn to_any(self) -> AnyAddr {
                AnyAddr::Number(u64::from(self))
            }

            fn from_any(addr: AnyAddr) -> Option<Self> {
                match addr {
                    AnyAddr::Number(number) => Self::try_from(number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

placed_by_number!(u8, u16, u32, u64);

/// The IP addresses of a host or a NAT, each in the public network or behind a NAT.
///
/// ```
/// use farlink::sim::{Ip, Nat, World};
///
/// let mut world = World::new(1);
/// let home = world.nat(Ip::at([198, 51, 100, 1]), Nat::default());
/// let laptop = Ip::at([192, 168, 0, 7]).behind(home);
/// # let _ = laptop;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    addresses: Vec<(IpAddr, Option<NatId>)>,
}

impl Ip {
    /// Creates an address in the public network.
    #[must_use]
    pub fn at(address: impl Into<IpAddr>) -> Self {
        Self {
            addresses: vec![(address.into(), None)],
        }
    }

    /// Adds an address in the public network.
    #[must_use]
    pub fn and(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses.push((address.into(), None));
        self
    }

    /// Moves all addresses that are in the public network behind `nat`.
    #[must_use]
    pub fn behind(mut self, nat: NatId) -> Self {
        for (_, behind) in &mut self.addresses {
            *behind = behind.or(Some(nat));
        }
        self
    }

    pub(super) fn first(&self) -> Option<IpAddr> {
        self.addresses.first().map(|(address, _)| *address)
    }

    pub(super) fn into_addresses(self) -> impl Iterator<Item = (IpAddr, Option<NatId>)> {
        self.addresses.into_iter()
    }
}
