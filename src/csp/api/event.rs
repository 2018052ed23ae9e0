//! What a node tells the application.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::{ConnectionId, Endpoint, RequestId};
use crate::csp::rdp::CloseReason;
use crate::csp::services::{ServiceAnswer, ServiceRequest};
use crate::csp::wire::SfpTrailer;
use crate::preview::Preview;
use crate::{Hop, Tag};

/// What a node tells the application.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Event {
    /// The connection of [`Command::Connect`](crate::csp::Command::Connect) is open.
    Connected {
        /// The tag of the command.
        tag: Tag,
        /// The connection.
        connection: ConnectionId,
    },
    /// The connection of [`Command::Connect`](crate::csp::Command::Connect) did not open.
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
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// The peer has acknowledged packets, in the order they were sent.
    Acknowledged {
        /// The connection.
        connection: ConnectionId,
        /// How many, since the last such event.
        packets: u32,
    },
    /// There is room for another packet, after [`Error::Full`](crate::csp::Error::Full).
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
        #[debug("{:?}", Preview(data))]
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
    /// A node has answered a request.
    Answered {
        /// The tag of the command.
        tag: Tag,
        /// The address of the node.
        from: u16,
        /// The time since the request was sent.
        time: Duration,
        /// The answer.
        answer: ServiceAnswer,
    },
    /// A request was answered, or needs no answer, or its time is over.
    RequestEnded {
        /// The tag of the command.
        tag: Tag,
        /// How many answers came.
        answers: u32,
    },
    /// A service is asked for what the application has to answer, by [`Command::Answer`](super::Command::Answer)
    /// within 10 s.
    ServiceRequested {
        /// The request.
        id: RequestId,
        /// The port it came from.
        from: Endpoint,
        /// What is asked.
        request: ServiceRequest,
    },
    /// A fragment of SFP came on a connection, behind those before it.
    Fragment {
        /// The connection.
        connection: ConnectionId,
        /// Where it belongs. It is the last one if it ends where the whole does.
        place: SfpTrailer,
        /// The data.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// Fragments that came on a connection are no whole. Those up to the next first one are dropped.
    FragmentsFailed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        fault: SfpFault,
    },
    /// A fragment of SFP without connection came to a bound port, behind those before it.
    FragmentDatagram {
        /// The bound port.
        port: u8,
        /// The port it came from.
        from: Endpoint,
        /// Where it belongs. It is the last one if it ends where the whole does.
        place: SfpTrailer,
        /// The data.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// Fragments without connection are no whole. Those up to the next first one are dropped.
    FragmentDatagramsFailed {
        /// The bound port.
        port: u8,
        /// The port they came from.
        from: Endpoint,
        /// Why.
        fault: SfpFault,
    },
    /// A packet that the node received or sent, for [`Config::promiscuous`](crate::csp::Config::promiscuous).
    Promiscuous {
        /// Where it came from; `None` if this node made it.
        from: Option<Hop>,
        /// The packet with its header.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(octets))]
        octets: Bytes,
    },
}

/// Why fragments of SFP are no whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SfpFault {
    /// The packet is shorter than its trailer, or has no data.
    Empty,
    /// It is not the next one: one is lost, repeated or overtaken.
    OutOfOrder {
        /// The offset that was expected.
        expected: u32,
        /// The offset of the fragment.
        offset: u32,
    },
    /// The octets of the whole differ from those of the fragments before.
    Total {
        /// Those of the fragments before.
        expected: u32,
        /// Those of the fragment.
        total: u32,
    },
    /// The fragment goes beyond the whole.
    BeyondTotal {
        /// Where the fragment ends.
        end: u64,
        /// The octets of the whole.
        total: u32,
    },
    /// The whole is longer than [`Config::max_sfp`](crate::csp::Config::max_sfp).
    TooLong {
        /// The octets of the whole.
        total: u32,
        /// The largest number.
        limit: u32,
    },
    /// Others needed its place: no second fragment had come yet, or none for a second.
    GaveWay,
    /// No fragment came for 10 s.
    TimedOut,
}

impl fmt::Display for SfpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("fragment of 0 octets"),
            Self::OutOfOrder { expected, offset } => {
                write!(f, "fragment at {offset}, expected was {expected}")
            }
            Self::Total { expected, total } => {
                write!(
                    f,
                    "fragment of {total} octets in all, expected were {expected}"
                )
            }
            Self::BeyondTotal { end, total } => {
                write!(
                    f,
                    "fragment ends at {end} beyond the total of {total} octets"
                )
            }
            Self::TooLong { total, limit } => {
                write!(f, "total of {total} octets exceeds the limit of {limit}")
            }
            Self::GaveWay => f.write_str("others needed its place"),
            Self::TimedOut => f.write_str("no fragment came for 10 s"),
        }
    }
}
