//! LTP nodes over UDP, with methods that block: blocks to and from client services.
//!
//! ```
//! use farlink::adapters::blocking::ltp::{Node, ReceivedKind};
//! use farlink::ltp::{Config, Peer};
//!
//! let here = "127.0.0.1:0".parse()?;
//! let earth = Node::bind(here, Config::engine(1))?;
//! let mars = Node::bind(here, Config::engine(2))?;
//! earth.add_peer(2, Peer::at(mars.local_addr()))?;
//! mars.add_peer(1, Peer::at(earth.local_addr()))?;
//!
//! let (pictures, album) = (earth.open(4)?, mars.open(4)?);
//! pictures.send(2, "a red planet")?;
//! let received = album.receive()?;
//! assert_eq!((received.from, &received.data[..]), (1, &b"a red planet"[..]));
//! assert_eq!(received.kind, ReceivedKind::Whole { ends_block: true });
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use core::net::SocketAddr;

use super::{Blocking, runtime};
use crate::adapters::ltp;

pub use ltp::{
    EngineFactory, EngineMachine, EngineSetup, Error, NodeOptions, NodeSnapshot, NodeStats,
    Received, ReceivedKind,
};

/// An LTP node on a UDP socket; see [`ltp::Node`].
pub type Node = Blocking<ltp::Node>;

/// A client service that is open at a node; see [`ltp::AccessPoint`].
pub type AccessPoint = Blocking<ltp::AccessPoint>;

/// A block on its way to a peer; see [`ltp::Sending`].
pub type Sending = Blocking<ltp::Sending>;

/// A node that was restored from a snapshot; see [`ltp::Restored`].
pub type Restored = ltp::Restored<Node, AccessPoint, Sending>;

impl Node {
    /// Binds a socket and starts a node on it. The standard port is 1113.
    ///
    /// # Errors
    ///
    /// The address cannot be had, above all because another node has it, or the configuration is refused.
    pub fn bind(address: SocketAddr, options: impl Into<NodeOptions>) -> Result<Self, Error> {
        ltp::Node::bind_on(&runtime(), address, options).map(Into::into)
    }

    /// Binds a socket and resumes the node of a snapshot on it: with its peers, its access points, what was
    /// received and not taken, and the blocks in both directions.
    ///
    /// The address may be another one, if the peers learn of it. The configuration in `options` is to name the
    /// same engine.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or the snapshot is damaged, of another engine, or more than the
    /// configuration allows. Peers have to be reachable from the address.
    pub fn restore(
        address: SocketAddr,
        options: impl Into<NodeOptions>,
        saved: NodeSnapshot,
    ) -> Result<Restored, Error> {
        let restored = ltp::Node::restore_on(&runtime(), address, options, saved)?;
        Ok(Restored {
            node: restored.node.into(),
            points: restored.points.into_iter().map(Into::into).collect(),
            sendings: restored.sendings.into_iter().map(Into::into).collect(),
        })
    }
}
