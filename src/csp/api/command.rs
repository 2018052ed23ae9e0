//! What the application asks of a node.

use core::time::Duration;

use bytes::Bytes;

use super::{ConnectionId, Endpoint, RequestId, SendOptions, SocketOptions};
use crate::Tag;
use crate::csp::routing::Route;
use crate::csp::services::{ServiceAnswer, ServiceRequest};
use crate::preview::Preview;

/// A request of the application to a node.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
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
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// Close a connection once all its packets are acknowledged.
    Close(ConnectionId),
    /// Keep what comes on a connection, until it is released or has ended. A queue that is full takes no more, and so
    /// closes the window of the peer, without harm to other connections.
    Hold(ConnectionId),
    /// Tell what comes on a connection again.
    Release(ConnectionId),
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
        #[debug("{:?}", Preview(data))]
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
    /// Ask a service of a node, or of all nodes by the broadcast address.
    Request {
        /// The tag of its events.
        tag: Tag,
        /// The address of the node.
        destination: u16,
        /// What is asked.
        request: ServiceRequest,
        /// How long answers are awaited.
        timeout: Duration,
    },
    /// Answer [`Event::ServiceRequested`](super::Event::ServiceRequested), or let it be.
    Answer {
        /// The request.
        request: RequestId,
        /// The answer; `None` sends none.
        answer: Option<ServiceAnswer>,
    },
    /// Send octets on a connection by SFP, in fragments.
    SendFragments {
        /// The connection.
        connection: ConnectionId,
        /// Octets of a fragment.
        mtu: u16,
        /// The octets, at least one.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// Send octets by SFP, in fragments without connection. The receiver gives up at the first that is lost.
    SendFragmentsTo {
        /// The port they come from.
        from: u8,
        /// The port they go to.
        to: Endpoint,
        /// How they are sent.
        options: SendOptions,
        /// Octets of a fragment.
        mtu: u16,
        /// The octets, at least one.
        #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
        #[debug("{:?}", Preview(data))]
        data: Bytes,
    },
    /// Add a route, in place of one of the same address and prefix by the same interface.
    SetRoute(Route),
    /// Remove the routes of an address and a prefix.
    RemoveRoute {
        /// The address.
        address: u16,
        /// The prefix.
        prefix: u8,
    },
}
