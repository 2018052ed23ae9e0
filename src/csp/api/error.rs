//! Why a node refuses a command.

use super::{ConnectionId, RequestId};

/// Why a node refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Error {
    /// The port is above 63.
    #[display("port {_0} exceeds the limit of 63")]
    PortTooLarge(u8),
    /// The port is bound, or the node answers there itself.
    #[display("port {_0} is in use")]
    PortInUse(u8),
    /// The port is not bound.
    #[display("port {_0} is not bound")]
    NotBound(u8),
    /// The address exceeds the bits of the header.
    #[display("address {address} exceeds the limit of {limit}")]
    AddressTooLarge {
        /// The address.
        address: u16,
        /// The largest one.
        limit: u16,
    },
    /// No route leads to the address.
    #[display("no route to address {_0}")]
    NoRoute(u16),
    /// The packet is too long for its trailers.
    #[display("packet of {octets} octets exceeds the limit of {limit}")]
    TooLong {
        /// Octets of the packet.
        octets: usize,
        /// The largest number with these options.
        limit: usize,
    },
    /// The packet is empty, which on a connection or by SFP none can be.
    #[display("0 octets, at least 1 is needed")]
    Empty,
    /// All slots for connections are taken.
    #[display("limit of {limit} connections reached")]
    NoSlot {
        /// How many there are.
        limit: u8,
    },
    /// All source ports are in use, or were a short time ago.
    #[display("all source ports were in use within the connection timeout")]
    NoSourcePort,
    /// There is no such connection.
    #[display("unknown connection {}.{}", _0.slot, _0.generation)]
    NoConnection(ConnectionId),
    /// The connection is not open, or this end has closed it.
    #[display("connection {}.{} is not open", _0.slot, _0.generation)]
    NotOpen(ConnectionId),
    /// The queue is full. For a connection [`Event::Room`](super::Event::Room) follows.
    #[display("queue limit of {limit} packets reached")]
    Full {
        /// Packets that it holds.
        limit: u16,
    },
    /// So many pings and requests are under way.
    #[display("limit of {limit} pings and requests reached")]
    TooManyRequests {
        /// How many there may be.
        limit: usize,
    },
    /// There is no key for HMAC.
    #[display("HMAC without a key")]
    NoHmacKey,
    /// There is no such request, or it was answered, or its time is over.
    #[display("unknown request {}", _0.0)]
    NoRequest(RequestId),
    /// The answer is that to another request.
    #[display("the answer is none to request {}", _0.0)]
    WrongAnswer(RequestId),
    /// Data exceed what a packet of their kind may hold.
    #[display("{octets} octets of data exceed the limit of {limit}")]
    TooMuchData {
        /// Octets of data.
        octets: usize,
        /// The largest number.
        limit: usize,
    },
    /// A fragment is to have no octets, or more than fit into a packet with these options.
    #[display("fragments of {mtu} octets are not within 1 to {limit}")]
    Mtu {
        /// Octets of a fragment.
        mtu: u16,
        /// The largest number with these options.
        limit: usize,
    },
    /// There is no such interface.
    #[display("interface {interface} is none of {interfaces}")]
    NoInterface {
        /// The number of the interface.
        interface: u8,
        /// How many there are.
        interfaces: usize,
    },
    /// A route over a CAN bus has a next node, of which the frames of version 2 say nothing.
    #[display("a route via {via} over the CAN bus of interface {interface}: CFP2 has no next hop")]
    ViaOnCfp2 {
        /// The number of the interface.
        interface: u8,
        /// The next node.
        via: u16,
    },
    /// The prefix of a route exceeds the bits of an address.
    #[display("prefix of {prefix} bits exceeds the {limit} bits of an address")]
    PrefixTooLarge {
        /// The prefix.
        prefix: u8,
        /// The bits of an address.
        limit: u8,
    },
    /// No route has this address and prefix.
    #[display("no route {address}/{prefix}")]
    UnknownRoute {
        /// The address.
        address: u16,
        /// The prefix.
        prefix: u8,
    },
    /// The table of routes is full.
    #[display("limit of {limit} routes reached")]
    TooManyRoutes {
        /// How many there may be.
        limit: u16,
    },
}

impl core::error::Error for Error {}
