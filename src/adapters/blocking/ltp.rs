//! LTP nodes over UDP, with methods that block: blocks to and from client services.
//!
//! ```
//! use farlink::adapters::blocking::ltp::{Node, ReceivedKind};
//! use farlink::ltp::{Config, Peer};
//!
//! let here = "127.0.0.1:0".parse()?;
//! let earth = Node::bind(here, Config::engine(1))?;
//! let mars = Node::bind(here, Config::engine(2))?;
//! earth.add_peer(2, Peer::new(mars.local_addr()))?;
//! mars.add_peer(1, Peer::new(earth.local_addr()))?;
//!
//! let (pictures, album) = (earth.open(4)?, mars.open(4)?);
//! pictures.send(2, "a red planet")?;
//! let received = album.receive()?;
//! assert_eq!((received.from, &received.data[..]), (1, &b"a red planet"[..]));
//! assert_eq!(received.kind, ReceivedKind::Whole { ends_block: true });
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::adapters::{ltp, threads};

pub use ltp::{
    EngineFactory, EngineMachine, EngineSetup, Error, NodeOptions, NodeSnapshot, NodeStats,
    Received, ReceivedKind,
};

/// An LTP node on a UDP socket, with any number of peers and access points.
///
/// Clones are the same node. It lives as long as any of them, or an [`AccessPoint`] or [`Sending`] of it: then
/// blocks under way are cancelled, the peers are told so once, and the socket is closed. [`Node::shutdown`]
/// lets them finish first.
#[derive(Debug, Clone)]
pub struct Node(pub(crate) ltp::Node);

/// A client service that is open at a node.
///
/// Clones are the same access point; it is closed when the last one is dropped, or by
/// [`close`](AccessPoint::close). Any number of threads can send and receive on it at a time: each block goes to
/// one receiver.
#[derive(Debug, Clone)]
pub struct AccessPoint(pub(crate) ltp::AccessPoint);

/// A block on its way to a peer. Dropping it does not cancel the block.
#[derive(Debug)]
pub struct Sending(pub(crate) ltp::Sending);

/// A node that was restored from a snapshot, with the handles that it had.
///
/// Dropping an access point closes it. Blocks go on without their handle.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The node.
    pub node: Node,
    /// Its access points, in the order of their client services.
    pub points: Vec<AccessPoint>,
    /// The blocks that it sends, and those whose end nobody had asked for, in the order in which they were
    /// started. [`Sending::tag`] tells them apart.
    pub sendings: Vec<Sending>,
}

impl Node {
    /// Binds a socket and starts a node on it. The standard port is 1113.
    ///
    /// # Errors
    ///
    /// The address cannot be had, above all because another node has it, or the configuration is refused.
    pub fn bind(address: SocketAddr, options: impl Into<NodeOptions>) -> Result<Self, Error> {
        ltp::Node::bind_on(&threads::runtime(), address, options).map(Self)
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
        let restored = ltp::Node::restore_on(&threads::runtime(), address, options, saved)?;
        Ok(Restored {
            node: Self(restored.node),
            points: restored.points.into_iter().map(AccessPoint).collect(),
            sendings: restored.sendings.into_iter().map(Sending).collect(),
        })
    }
}

impl From<ltp::AccessPoint> for AccessPoint {
    fn from(point: ltp::AccessPoint) -> Self {
        Self(point)
    }
}

impl From<ltp::Sending> for Sending {
    fn from(sending: ltp::Sending) -> Self {
        Self(sending)
    }
}
