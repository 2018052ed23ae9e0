//! CSP nodes on numbered interfaces: connections, packets, pings and services, on any
//! [`Runtime`](super::runtime::Runtime).
//!
//! The handles are awaited. `adapters::tokio::csp` is this module; `adapters::blocking::csp` has the same handles with
//! methods that block.

mod acts;
mod events;
mod handles;
mod port;
mod state;

use core::time::Duration;
use std::io;

use bytes::Bytes;
use derive_more::{Debug, Display, From};

use super::udp::UdpStats;
use super::{InterfaceNodeOptions, MachineFactory};
use crate::csp::{self, CloseReason, Config, ConfigError, Endpoint, RequestId};
use crate::csp::{ServiceAnswer, ServiceRequest};
use crate::preview::Preview;
use crate::{BoxedMachine, Seed};

#[cfg(feature = "dtp")]
pub(in crate::adapters) use handles::SharedNode;
pub use handles::{BoundPort, Connection, Node};
#[cfg(feature = "dtp")]
pub(in crate::adapters) use port::{CspCore, Line};
#[cfg(feature = "dtp")]
pub(in crate::adapters) use state::NodeState;

/// The machine of a node: a [`csp::Node`], or one around it that records, for example.
pub type CspMachine = BoxedMachine<csp::Node>;

/// Makes the machine of a node from its configuration and seed. Default: a [`csp::Node`].
pub type CspFactory = MachineFactory<csp::Node, (Config, Seed), Error>;

impl Default for CspFactory {
    fn default() -> Self {
        Self::new(|(config, seed)| Ok(BoxedMachine::new(csp::Node::new(config, &seed)?)))
    }
}

/// How a node is made and driven. A [`Config`] alone will do: `config.into()`.
pub type CspOptions = InterfaceNodeOptions<Config, CspFactory>;

/// A packet without connection, or a whole that came in fragments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a sender and octets")]
pub struct ReceivedPacket {
    /// The port it came from.
    pub from: Endpoint,
    /// The data.
    #[debug("{:?}", Preview(data))]
    pub data: Bytes,
}

/// An answer to a ping or a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAnswer {
    /// The address of the node.
    pub from: u16,
    /// The time since it was asked.
    pub time: Duration,
    /// What it answered; `None` to a ping.
    pub answer: Option<ServiceAnswer>,
}

/// A request to a service of this node, which the application is to [answer](Node::answer) within 10 s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskedService {
    /// By what it is answered.
    pub id: RequestId,
    /// The port it came from.
    pub from: Endpoint,
    /// What is asked.
    pub request: ServiceRequest,
}

/// Why an operation on a node failed.
#[derive(Debug, Display, From)]
#[non_exhaustive]
pub enum Error {
    /// The system cannot watch an interface, or gives no seed.
    Io(io::Error),
    /// The configuration was refused.
    #[from]
    Config(ConfigError),
    /// The node refused the command, and nothing has changed.
    #[from]
    Refused(csp::Error),
    /// A connection did not open.
    #[display("no connection to {to}: {reason}")]
    NotConnected {
        /// The port it was to lead to.
        to: Endpoint,
        /// Why.
        reason: CloseReason,
    },
    /// A connection has ended.
    #[display(
        "the connection to {peer} has ended with {unacknowledged} packets not acknowledged: {reason}"
    )]
    Ended {
        /// The port at its other end.
        peer: Endpoint,
        /// Why.
        reason: CloseReason,
        /// Packets that were to be sent and that the peer has not acknowledged.
        unacknowledged: u32,
    },
    /// A node has not answered a ping or a request.
    #[display("node {node} does not answer within {} s", after.as_secs_f64())]
    Silent {
        /// The address of the node.
        node: u16,
        /// How long the answer was awaited.
        after: Duration,
    },
    /// The limit of time was reached.
    #[display("timed out")]
    TimedOut,
    /// The node was shut down.
    #[display("closed")]
    Closed,
}

node_error!(Error);

/// What a node has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CspStats {
    /// Of packets.
    pub csp: csp::Stats,
    /// Of UDP sockets.
    pub udp: UdpStats,
    /// Packets without connection that were dropped, since too many waited at a [`BoundPort`].
    pub sockets_full: u64,
}
