//! CSP nodes with methods that block: connections, packets, pings and services.

use super::{Blocking, runtime};
use crate::adapters::csp;
use crate::adapters::interfaces::Interfaces;

pub use csp::{
    AskedService, CspOptions, CspStats, Error, NodeAnswer, NodeFactory, NodeMachine, ReceivedPacket,
};

/// A CSP node on numbered interfaces; see [`csp::Node`].
pub type Node = Blocking<csp::Node>;

/// A connection to a port of another node; see [`csp::Connection`].
pub type Connection = Blocking<csp::Connection>;

/// A bound port; see [`csp::Socket`].
pub type Socket = Blocking<csp::Socket>;

impl Node {
    /// Starts a node on these interfaces.
    ///
    /// # Errors
    ///
    /// An interface cannot be watched, or the configuration is refused.
    pub fn start(interfaces: Interfaces, options: impl Into<CspOptions>) -> Result<Self, Error> {
        csp::Node::start_on(&runtime(), interfaces, options).map(Into::into)
    }
}
