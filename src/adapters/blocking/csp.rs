//! CSP nodes with methods that block: connections, packets, pings and services.

use super::{Blocking, runtime};
use crate::adapters::csp;
use crate::adapters::interfaces::Interfaces;

pub use csp::{
    AskedService, CspFactory, CspMachine, CspOptions, CspStats, Error, NodeAnswer, ReceivedPacket,
};

/// A CSP node on numbered interfaces; see [`csp::Node`].
pub type Node = Blocking<csp::Node>;

/// A connection to a port of another node; see [`csp::Connection`].
pub type Connection = Blocking<csp::Connection>;

/// A bound port; see [`csp::BoundPort`].
pub type BoundPort = Blocking<csp::BoundPort>;

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
