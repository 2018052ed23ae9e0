//! Where in a recording the octets of an address belong.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Addr, Hop, Path, Proto};

/// The link type of a bus that no analyser knows: `LINKTYPE_USER1`.
pub const BUS_LINK_TYPE: u16 = 148;

/// Where the octets of an address belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lane {
    /// On the network, between these two sockets.
    Network(Path),
    /// Datagrams on the network, on ports by which no analyser knows their protocol: each says that it is to
    /// be read as those on another port.
    ReadAs {
        /// The two sockets.
        path: Path,
        /// The UDP port of the protocol.
        port: u16,
    },
    /// On a bus: an interface of that name, with packets as they are.
    Bus {
        /// Shown as the name of the interface.
        name: Cow<'static, str>,
        /// How an analyser reads the packets; [`BUS_LINK_TYPE`] if nothing fits. Not 252, in whose packets
        /// a recording says itself what they are.
        link_type: u16,
    },
}

/// An address that can be recorded.
pub trait Place: Addr + Serialize + DeserializeOwned {
    /// Says where the octets of this address belong.
    ///
    /// `port` is the one by which analysers know the protocol, or 0 if there is none.
    fn lane(self, port: u16) -> Lane;

    /// Writes the address for a person.
    fn label(self) -> String {
        format!("{self:?}")
    }
}

impl Place for Path {
    fn lane(self, port: u16) -> Lane {
        let is_known = [0, self.local.port(), self.remote.port()].contains(&port);
        match self.proto {
            Proto::Udp if !is_known => Lane::ReadAs { path: self, port },
            _ => Lane::Network(self),
        }
    }

    fn label(self) -> String {
        self.to_string()
    }
}

impl Place for Hop {
    fn lane(self, _: u16) -> Lane {
        Lane::Bus {
            name: format!("bus {}", self.interface).into(),
            link_type: BUS_LINK_TYPE,
        }
    }

    fn label(self) -> String {
        format!("{} on bus {}", self.via, self.interface)
    }
}

/// One stream of which nobody knows the ends: TCP from 192.0.2.1 to `port` of 192.0.2.2 (RFC 5737).
impl Place for () {
    fn lane(self, port: u16) -> Lane {
        let local = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let remote = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        Lane::Network(Path::tcp(
            SocketAddr::new(local, 49152),
            SocketAddr::new(remote, port),
        ))
    }

    fn label(self) -> String {
        "the peer".into()
    }
}
