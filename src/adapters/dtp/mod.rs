//! DTP nodes on numbered interfaces: payloads that are served and got, on any [`Runtime`](super::runtime::Runtime).
//!
//! The handles are awaited. `adapters::tokio::dtp` is this module; `adapters::blocking::dtp` has the same handles with
//! methods that block.

mod handles;
mod port;

use alloc::string::String;
use core::time::Duration;
use std::io;

use bytes::Bytes;
use derive_more::{Debug, Display, From};

use super::udp::UdpStats;
use super::{InterfaceNodeOptions, MachineFactory};
use crate::dtp::{self, Config, ConfigError, FailReason};
use crate::preview::Preview;
use crate::{BoxedMachine, Seed, csp};

pub use crate::dtp::{PayloadNeed, ServedRequest};
pub use handles::{Download, Node};
pub(in crate::adapters) use port::{Line, NodePort};

/// The machine of a node: a [`dtp::Node`], or one around it that records, for example.
pub type NodeMachine = BoxedMachine<dtp::Node>;

/// Makes the machine of a node from its configuration and seed. Default: a [`dtp::Node`].
pub type NodeFactory = MachineFactory<dtp::Node, (Config, Seed), Error>;

impl Default for NodeFactory {
    fn default() -> Self {
        Self::new(|(config, seed)| Ok(BoxedMachine::new(dtp::Node::new(config, &seed)?)))
    }
}

/// How a node is made and driven. A [`Config`] alone will do: `config.into()`.
pub type DtpOptions = InterfaceNodeOptions<Config, NodeFactory>;

/// Octets of a payload that have come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a place and octets")]
pub struct PayloadRun {
    /// Octets of the payload before these.
    pub offset: u32,
    /// The octets.
    #[debug("{:?}", Preview(data))]
    pub data: Bytes,
}

/// How far a download has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DownloadProgress {
    /// Octets of the payload, once the server has told.
    pub size: Option<u32>,
    /// Octets that have come.
    pub received: u64,
    /// Requests that were sent, once the download is complete.
    pub requests: Option<u32>,
    /// How often all holes were asked for, once the download has ended.
    pub rounds: u32,
    /// Packets that were asked for again, once the download has ended.
    pub asked_again: u64,
    /// Whether all octets are known to be right, by the CRC-32C that the server has told.
    pub is_checked: bool,
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
    Refused(dtp::Error),
    /// A download ended before all of the payload has come.
    #[display("{}", failure((*server, *payload), *reason, *missing))]
    Failed {
        /// The address of the server.
        server: u16,
        /// The payload.
        payload: u8,
        /// Why.
        reason: FailReason,
        /// Octets that are missing; `None` where the server told no size.
        missing: Option<u64>,
    },
    /// A node has not answered a message of VMEM.
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

fn failure((server, payload): (u16, u8), reason: FailReason, missing: Option<u64>) -> String {
    let missing = match missing {
        Some(octets) => alloc::format!("{octets} octets"),
        None => "all octets".into(),
    };
    alloc::format!("{missing} of payload {payload} of node {server} are missing: {reason}")
}

/// What a node has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DtpStats {
    /// Of transfers.
    pub dtp: dtp::Stats,
    /// Of packets.
    pub csp: csp::Stats,
    /// Of UDP sockets.
    pub udp: UdpStats,
}
