//! Where machines of every kind of address live in one world.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::NatId;
use crate::{Addr, Hop, Path};

/// An address of any machine, as the trace shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The one stream of a machine whose address is `()`.
    Stream,
    /// A peer that goes by number.
    Name(u64),
    /// A neighbour on a numbered interface.
    Hop(Hop),
    /// A way between two sockets.
    Path(Path),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("stream"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Hop(Hop { interface, via }) => write!(f, "{via} on interface {interface}"),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// An address whose machines can live in a [`World`](super::World).
///
/// A crate with an address type of its own implements it with [`Place::Name`] and [`Site::Name`], and its
/// machines then reach each other by that number.
pub trait Placed: Addr {
    /// What the world must know to give a machine its place.
    type Site;

    /// Tells which kind of place `site` is.
    fn site(site: Self::Site) -> Site;

    /// Returns the address without its type.
    fn place(self) -> Place;

    /// Returns the address that `place` names, unless it is of another kind.
    fn from_place(place: Place) -> Option<Self>;
}

/// What a host is given when it moves into a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// Nothing: a stream end, joined to its peer by [`connect`](super::World::connect).
    Stream,
    /// The number by which peers send to it.
    Name(u64),
    /// The link address that it has on all its interfaces.
    Link(u16),
    /// Its IP addresses.
    Ip(Ip),
}

impl Placed for () {
    type Site = ();

    fn site((): ()) -> Site {
        Site::Stream
    }

    fn place(self) -> Place {
        Place::Stream
    }

    fn from_place(place: Place) -> Option<Self> {
        matches!(place, Place::Stream).then_some(())
    }
}

impl Placed for Path {
    type Site = Ip;

    fn site(site: Ip) -> Site {
        Site::Ip(site)
    }

    fn place(self) -> Place {
        Place::Path(self)
    }

    fn from_place(place: Place) -> Option<Self> {
        match place {
            Place::Path(path) => Some(path),
            _ => None,
        }
    }
}

impl Placed for Hop {
    type Site = u16;

    fn site(site: u16) -> Site {
        Site::Link(site)
    }

    fn place(self) -> Place {
        Place::Hop(self)
    }

    fn from_place(place: Place) -> Option<Self> {
        match place {
            Place::Hop(hop) => Some(hop),
            _ => None,
        }
    }
}

macro_rules! placed_by_number {
    ($($number:ty),*) => {$(
        impl Placed for $number {
            type Site = Self;

            fn site(site: Self) -> Site {
                Site::Name(u64::from(site))
            }

            fn place(self) -> Place {
                Place::Name(u64::from(self))
            }

            fn from_place(place: Place) -> Option<Self> {
                match place {
                    Place::Name(name) => Self::try_from(name).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

placed_by_number!(u8, u16, u32, u64);

/// The IP addresses of a host or of a NAT, each in the public network or behind a NAT.
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
    /// Takes one address in the public network.
    #[must_use]
    pub fn at(address: impl Into<IpAddr>) -> Self {
        Self {
            addresses: vec![(address.into(), None)],
        }
    }

    /// Adds a further address in the public network.
    #[must_use]
    pub fn and(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses.push((address.into(), None));
        self
    }

    /// Moves those addresses that are public so far behind `nat`.
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
