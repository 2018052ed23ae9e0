//! The interface of a recording on which the octets of an address are written.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Addr, Hop, Path, Proto};

/// The link type of a bus for which there is no other: `LINKTYPE_USER1`.
pub const BUS_LINK_TYPE: u16 = 148;

/// The interface on which the octets of an address are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// The network: IP packets between these two sockets.
    Network(Path),
    /// Datagrams on ports by which no analyser knows the protocol: tags tell analysers to read each as one on
    /// another port.
    ReadAs {
        /// The two sockets.
        path: Path,
        /// The UDP port of the protocol.
        port: u16,
    },
    /// A bus: an interface of this name, with packets without headers.
    Bus {
        /// The name of the interface.
        name: Cow<'static, str>,
        /// The `LINKTYPE` by which an analyser reads the packets, [`BUS_LINK_TYPE`] if none applies. 252 is
        /// refused, since a recording writes its own tags under it.
        link_type: u16,
    },
}

/// An address that can be recorded.
pub trait RecordAddr: Addr + Serialize + DeserializeOwned {
    /// Returns the interface on which the octets of this address are recorded.
    ///
    /// `port` is the one by which analysers know the protocol, or 0 if there is none.
    fn interface(self, port: u16) -> Interface;

    /// Returns the address as text for people.
    fn label(self) -> String {
        format!("{self:?}")
    }
}

impl RecordAddr for Path {
    fn interface(self, port: u16) -> Interface {
        let is_known = [0, self.local.port(), self.remote.port()].contains(&port);
        match self.proto {
            Proto::Udp if !is_known => Interface::ReadAs { path: self, port },
            _ => Interface::Network(self),
        }
    }

    fn label(self) -> String {
        self.to_string()
    }
}

impl RecordAddr for Hop {
    fn interface(self, _: u16) -> Interface {
        Interface::Bus {
            name: format!("bus {}", self.interface).into(),
            link_type: BUS_LINK_TYPE,
        }
    }

    fn label(self) -> String {
        format!("{} on bus {}", self.via, self.interface)
    }
}

/// A stream between unknown addresses: TCP from 192.0.2.1 to `port` of 192.0.2.2 (RFC 5737).
impl RecordAddr for () {
    fn interface(self, port: u16) -> Interface {
        let local = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let remote = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        Interface::Network(Path::tcp(
            SocketAddr::new(local, 49152),
            SocketAddr::new(remote, port),
        ))
    }

    fn label(self) -> String {
        "the peer".into()
    }
}
