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

use super::Blocking;
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

impl From<ltp::Restored> for Restored {
    fn from(restored: ltp::Restored) -> Self {
        Self {
            node: restored.node.into(),
            points: restored.points.into_iter().map(Into::into).collect(),
            sendings: restored.sendings.into_iter().map(Into::into).collect(),
        }
    }
}
