//! CSP nodes with methods that block: connections, packets, pings and services.

use super::Blocking;
use crate::adapters::csp;

pub use csp::{
    AskedService, CspFactory, CspMachine, CspOptions, CspStats, Error, NodeAnswer, ReceivedPacket,
};

/// A CSP node on numbered interfaces; see [`csp::Node`].
pub type Node = Blocking<csp::Node>;

/// A connection to a port of another node; see [`csp::Connection`].
pub type Connection = Blocking<csp::Connection>;

/// A bound port; see [`csp::BoundPort`].
pub type BoundPort = Blocking<csp::BoundPort>;
