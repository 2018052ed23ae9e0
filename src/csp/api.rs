//! Commands, events, errors and statistics of a node.

use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use bitflags::bitflags;
use bytes::Bytes;

use super::rdp::CloseReason;
use super::wire::{Flags, Priority};
use crate::Tag;
use crate::preview::Preview;

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
        /// `CSP_SO_CRC32REQ`: packets with CRC32 alone.
        const CRC32_REQUIRED = 0x0040;
    }
}

/// How a connection or a packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct SendOptions {
    /// The priority. Default normal.
    pub priority: Priority,
    /// Whether packets carry CRC32. Default no.
    pub crc32: bool,
}

impl SendOptions {
    /// Returns the flags of a header.
    pub(super) const fn flags(self) -> Flags {
        if self.crc32 {
            Flags::CRC32
        } else {
            Flags::empty()
        }
    }
}

/// A request of the application to a node.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Command {
    /// Take connections and packets at a port.
    Bind {
        /// The port, 0 to 63.
        port: u8,
        /// What it takes.
        options: SocketOptions,
    },
    /// Take nothing more at a port. Connections stay open.
    Unbind(u8),
    /// Open a connection from a port of the node's choice.
    Connect {
        /// The tag of the events until it is open.
        tag: Tag,
        /// The port to connect to.
        to: Endpoint,
        /// How its packets are sent.
        options: SendOptions,
    },
    /// Send a packet on a connection.
    Send {
        /// The connection.
        connection: ConnectionId,
        /// The data, at least one octet.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Close a connection once all its packets are acknowledged.
    Close(ConnectionId),
    /// Send a packet without connection.
    SendTo {
        /// The port it comes from. Answers to it are taken if it is bound.
        from: u8,
        /// The port it goes to.
        to: Endpoint,
        /// How it is sent.
        options: SendOptions,
        /// The data.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// Ask a node, or all nodes by the broadcast address, to send a packet back.
    Ping {
        /// The tag of its events.
        tag: Tag,
        /// The address of the node.
        destination: u16,
        /// Octets of data, at most 256.
        octets: u16,
        /// How long answers are awaited.
        timeout: Duration,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { port, options } => f
                .debug_struct("Bind")
                .field("port", port)
                .field("options", options)
                .finish(),
            Self::Unbind(port) => f.debug_tuple("Unbind").field(port).finish(),
            Self::Connect { tag, to, options } => f
                .debug_struct("Connect")
                .field("tag", tag)
                .field("to", to)
                .field("options", options)
                .finish(),
            Self::Send { connection, data } => f
                .debug_struct("Send")
                .field("connection", connection)
                .field("data", &Preview(data))
                .finish(),
            Self::Close(connection) => f.debug_tuple("Close").field(connection).finish(),
            Self::SendTo {
                from,
                to,
                options,
                data,
            } => f
                .debug_struct("SendTo")
                .field("from", from)
                .field("to", to)
                .field("options", options)
                .field("data", &Preview(data))
                .finish(),
            Self::Ping {
                tag,
                destination,
                octets,
                timeout,
            } => f
                .debug_struct("Ping")
                .field("tag", tag)
                .field("destination", destination)
                .field("octets", octets)
                .field("timeout", timeout)
                .finish(),
        }
    }
}

/// What a node tells the application.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// The connection of [`Command::Connect`] is open.
    Connected {
        /// The tag of the command.
        tag: Tag,
        /// The connection.
        connection: ConnectionId,
    },
    /// The connection of [`Command::Connect`] did not open.
    ConnectFailed {
        /// The tag of the command.
        tag: Tag,
        /// Why.
        reason: CloseReason,
    },
    /// A peer has opened a connection to a bound port.
    Accepted {
        /// The connection.
        connection: ConnectionId,
        /// The bound port.
        port: u8,
        /// The port of the peer.
        from: Endpoint,
    },
    /// A packet came on a connection.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// The data.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// The peer has acknowledged packets, in the order they were sent.
    Acknowledged {
        /// The connection.
        connection: ConnectionId,
        /// How many, since the last such event.
        packets: u32,
    },
    /// There is room for another packet, after [`Error::Full`].
    Room(ConnectionId),
    /// A connection has ended. No event of it follows.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
        /// Packets that were to be sent and that the peer has not acknowledged.
        unacknowledged: u32,
    },
    /// A packet without connection came to a bound port.
    Datagram {
        /// The bound port.
        port: u8,
        /// The port it came from.
        from: Endpoint,
        /// The data.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        data: Bytes,
    },
    /// A node has answered a ping.
    Pong {
        /// The tag of the command.
        tag: Tag,
        /// The address of the node.
        from: u16,
        /// The time since the ping was sent.
        time: Duration,
    },
    /// A ping was answered, or its time is over.
    PingEnded {
        /// The tag of the command.
        tag: Tag,
        /// How many nodes have answered it.
        answers: u32,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { tag, connection } => f
                .debug_struct("Connected")
                .field("tag", tag)
                .field("connection", connection)
                .finish(),
            Self::ConnectFailed { tag, reason } => f
                .debug_struct("ConnectFailed")
                .field("tag", tag)
                .field("reason", reason)
                .finish(),
            Self::Accepted {
                connection,
                port,
                from,
            } => f
                .debug_struct("Accepted")
                .field("connection", connection)
                .field("port", port)
                .field("from", from)
                .finish(),
            Self::Received { connection, data } => f
                .debug_struct("Received")
                .field("connection", connection)
                .field("data", &Preview(data))
                .finish(),
            Self::Acknowledged {
                connection,
                packets,
            } => f
                .debug_struct("Acknowledged")
                .field("connection", connection)
                .field("packets", packets)
                .finish(),
            Self::Room(connection) => f.debug_tuple("Room").field(connection).finish(),
            Self::Closed {
                connection,
                reason,
                unacknowledged,
            } => f
                .debug_struct("Closed")
                .field("connection", connection)
                .field("reason", reason)
                .field("unacknowledged", unacknowledged)
                .finish(),
            Self::Datagram { port, from, data } => f
                .debug_struct("Datagram")
                .field("port", port)
                .field("from", from)
                .field("data", &Preview(data))
                .finish(),
            Self::Pong { tag, from, time } => f
                .debug_struct("Pong")
                .field("tag", tag)
                .field("from", from)
                .field("time", time)
                .finish(),
            Self::PingEnded { tag, answers } => f
                .debug_struct("PingEnded")
                .field("tag", tag)
                .field("answers", answers)
                .finish(),
        }
    }
}

/// Why a node refused a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Error {
    /// The port is above 63.
    PortTooLarge(u8),
    /// The port is bound, or the node answers there itself.
    PortInUse(u8),
    /// The port is not bound.
    NotBound(u8),
    /// The address exceeds the bits of the header.
    AddressTooLarge {
        /// The address.
        address: u16,
        /// The largest one.
        limit: u16,
    },
    /// No route leads to the address.
    NoRoute(u16),
    /// The packet is too long for its trailers.
    TooLong {
        /// Octets of the packet.
        octets: usize,
        /// The largest number with these options.
        limit: usize,
    },
    /// The packet is empty, which on a connection none can be.
    Empty,
    /// All slots for connections are taken.
    NoSlot {
        /// How many there are.
        limit: u8,
    },
    /// All source ports are in use, or were a short time ago.
    NoSourcePort,
    /// There is no such connection.
    NoConnection(ConnectionId),
    /// The connection is not open, or this end has closed it.
    NotOpen(ConnectionId),
    /// The queue is full. For a connection [`Event::Room`] follows.
    Full {
        /// Packets that it holds.
        limit: u16,
    },
    /// So many pings are under way.
    TooManyPings {
        /// How many there may be.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTooLarge(port) => write!(f, "port {port} exceeds the limit of 63"),
            Self::PortInUse(port) => write!(f, "port {port} is in use"),
            Self::NotBound(port) => write!(f, "port {port} is not bound"),
            Self::AddressTooLarge { address, limit } => {
                write!(f, "address {address} exceeds the limit of {limit}")
            }
            Self::NoRoute(address) => write!(f, "no route to address {address}"),
            Self::TooLong { octets, limit } => {
                write!(f, "packet of {octets} octets exceeds the limit of {limit}")
            }
            Self::Empty => f.write_str("packet of 0 octets, at least 1 is needed on a connection"),
            Self::NoSlot { limit } => write!(f, "limit of {limit} connections reached"),
            Self::NoSourcePort => {
                f.write_str("all source ports were in use within the connection timeout")
            }
            Self::NoConnection(ConnectionId { slot, generation }) => {
                write!(f, "unknown connection {slot}.{generation}")
            }
            Self::NotOpen(ConnectionId { slot, generation }) => {
                write!(f, "connection {slot}.{generation} is not open")
            }
            Self::Full { limit } => write!(f, "queue limit of {limit} packets reached"),
            Self::TooManyPings { limit } => write!(f, "limit of {limit} pings reached"),
        }
    }
}

impl StdError for Error {}

/// Counters of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Packets received, whatever became of them.
    pub received: u64,
    /// Packets sent, those sent again included.
    pub sent: u64,
    /// Packets of connections sent again.
    pub resent: u64,
    /// Dropped: shorter than a header.
    pub short_header: u64,
    /// Dropped: for another address.
    pub other_address: u64,
    /// Dropped: from the address of all nodes.
    pub bad_source: u64,
    /// Dropped: CRC32 wrong, or shorter than its trailer.
    pub bad_crc32: u64,
    /// Dropped: the RDP flag and fewer than 5 octets.
    pub short_rdp: u64,
    /// Dropped: a SYN with fewer than 24 octets of options.
    pub short_syn: u64,
    /// Dropped: HMAC, XTEA or a fragment, which this node does not take.
    pub unsupported_flags: u64,
    /// Dropped: nothing is bound to the port.
    pub closed_port: u64,
    /// Dropped: the options of the socket forbid it.
    pub forbidden: u64,
    /// Dropped: no connection has these ports, and it is no SYN.
    pub no_connection: u64,
    /// Dropped: a SYN while all slots were taken.
    pub no_slot: u64,
    /// Dropped: the sequence number is out of the window.
    pub bad_sequence: u64,
    /// Dropped: the acknowledgement number was not sent.
    pub bad_acknowledgement: u64,
    /// Dropped: it has no meaning in the state of the connection.
    pub unexpected: u64,
    /// Dropped: received before.
    pub duplicates: u64,
    /// Dropped: the application has not taken enough of those before.
    pub queue_full: u64,
    /// Not sent: an answer of the node, since too many waited.
    pub answers_full: u64,
    /// Not sent: longer than a datagram of the driver may be.
    pub too_long: u64,
}
