//! Commands, events, errors and statistics of a node.

mod command;
mod error;
mod event;
mod stats;

use core::fmt;

use bitflags::bitflags;

use super::wire::{Flags, Priority};
pub use command::Command;
pub use error::Error;
pub use event::{Event, SfpFault};
pub use stats::{InterfaceStats, Stats};

/// A port of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Endpoint {
    /// The address of the node.
    pub address: u16,
    /// The port, 0 to 63.
    pub port: u8,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// A connection of a node, by the slot it has and a number that each connection of the slot has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectionId {
    pub(super) slot: u8,
    pub(super) generation: u32,
}

impl ConnectionId {
    /// Returns the number of the slot, from 0 to 254: an index for what the application keeps of each connection.
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.slot)
    }
}

bitflags! {
    /// What a bound port takes. Unset, it takes all.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct SocketOptions: u16 {
        /// `CSP_SO_RDPREQ`: connections alone.
        const RDP_REQUIRED = 0x0001;
        /// `CSP_SO_RDPPROHIB`: packets without connection alone.
        const RDP_PROHIBITED = 0x0002;
        /// `CSP_SO_HMACREQ`: packets with HMAC alone. The node needs a key.
        const HMAC_REQUIRED = 0x0004;
        /// `CSP_SO_CRC32REQ`: packets with CRC32 alone.
        const CRC32_REQUIRED = 0x0040;
    }
}

impl SocketOptions {
    /// Returns the trailers that a packet needs.
    pub(super) const fn required(self) -> Flags {
        let crc32 = self.contains(Self::CRC32_REQUIRED);
        Flags::of_trailers(crc32, self.contains(Self::HMAC_REQUIRED))
    }
}

/// A request to a service of this node, which the application is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct RequestId(pub(super) u32);

/// How a connection or a packet is sent.
///
/// Packets of a connection are taken only with the trailers that its own have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct SendOptions {
    /// The priority. Default normal.
    pub priority: Priority,
    /// Whether packets carry CRC32. Default no.
    pub crc32: bool,
    /// Whether CRC32 covers the header too. libcsp 1.x takes no such packet, and none passes a router that rewrites
    /// its destination. Default no.
    pub crc32_covers_header: bool,
    /// Whether packets carry HMAC. The node needs a key. Default no.
    pub hmac: bool,
}

impl SendOptions {
    /// Returns the flags of a header.
    pub(super) const fn flags(self) -> Flags {
        Flags::of_trailers(self.crc32, self.hmac)
    }
}
