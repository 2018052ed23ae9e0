//! The services of ports 0 to 6: what may be asked, what is answered, and their octets.

mod answer;
mod request;
mod text;

use bitflags::bitflags;

use super::wire::Flags;
pub use answer::{Ident, ServiceAnswer, Timestamp};
pub use request::ServiceRequest;
pub(super) use request::{MAX_REQUEST, Question};
pub use text::Text;

/// The name of an interface: at most 10 octets.
pub type InterfaceName = Text<11>;

/// The ports of the services.
pub(super) mod port {
    pub(in crate::csp) const CMP: u8 = 0;
    pub(in crate::csp) const PING: u8 = 1;
    pub(in crate::csp) const PROCESSES: u8 = 2;
    pub(in crate::csp) const FREE_MEMORY: u8 = 3;
    pub(in crate::csp) const REBOOT: u8 = 4;
    pub(in crate::csp) const FREE_BUFFERS: u8 = 5;
    pub(in crate::csp) const UPTIME: u8 = 6;
}

bitflags! {
    /// Services of a node, apart from ping.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct ServiceSet: u16 {
        /// CMP: who the node is.
        const IDENT = 0x0001;
        /// CMP: the counters of an interface.
        const INTERFACE_STATS = 0x0002;
        /// CMP: the time of day, read and set.
        const CLOCK = 0x0004;
        /// CMP: a route, set.
        const ROUTE_SET = 0x0008;
        /// CMP: memory, read.
        const PEEK = 0x0010;
        /// CMP: memory, written.
        const POKE = 0x0020;
        /// The list of processes. Its text may be 8 packets to a request with HMAC, and 1000 octets to others, which
        /// anybody may have sent.
        const PROCESSES = 0x0040;
        /// The octets of free memory.
        const FREE_MEMORY = 0x0080;
        /// Reboot and shutdown.
        const REBOOT = 0x0100;
        /// The number of free buffers.
        const FREE_BUFFERS = 0x0200;
        /// The seconds since the start.
        const UPTIME = 0x0400;
    }
}

impl ServiceSet {
    /// Those that a node can answer by itself.
    pub const OF_NODE: Self = Self::IDENT
        .union(Self::INTERFACE_STATS)
        .union(Self::FREE_BUFFERS)
        .union(Self::UPTIME);

    /// Returns the port of one of them.
    pub(super) const fn port(self) -> u8 {
        match self {
            Self::PROCESSES => port::PROCESSES,
            Self::FREE_MEMORY => port::FREE_MEMORY,
            Self::REBOOT => port::REBOOT,
            Self::FREE_BUFFERS => port::FREE_BUFFERS,
            Self::UPTIME => port::UPTIME,
            _ => port::CMP,
        }
    }
}

/// Which services a node has, and who may ask them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Services {
    /// Those that the node answers by itself, of [`ServiceSet::OF_NODE`]. Default none.
    pub by_node: ServiceSet,
    /// Those that the application answers: [`Event::ServiceRequested`](super::Event::ServiceRequested). Default none.
    pub by_application: ServiceSet,
    /// Who the node says it is. Default empty.
    pub ident: Ident,
    /// Whether requests without CRC32 are dropped, as libcsp 2.x does; 1.x answers them. For pings
    /// [`Config::ping`](super::Config::ping) says it. Default yes.
    pub require_crc32: bool,
    /// Whether requests without HMAC are dropped, pings too. Default no.
    pub require_hmac: bool,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            by_node: ServiceSet::empty(),
            by_application: ServiceSet::empty(),
            ident: Ident::default(),
            require_crc32: true,
            require_hmac: false,
        }
    }
}

impl Services {
    /// Tells whether a service is at this port.
    pub(super) fn has_port(&self, port: u8) -> bool {
        let services = self.by_node | self.by_application;
        services.iter().any(|it| it.port() == port)
    }

    /// Returns the trailers that a request needs.
    pub(super) const fn required(&self) -> Flags {
        Flags::of_trailers(self.require_crc32, self.require_hmac)
    }
}
