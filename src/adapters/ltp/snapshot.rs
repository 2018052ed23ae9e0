//! What outlives a node: what its engine and its port know, as plain data.

use alloc::format;
use core::net::SocketAddr;
use std::io;

use super::Error;
use super::port::NodePort;
use crate::ltp::{Age, Snapshot};
use crate::{Path, Tag};

/// The state of a node at one moment, from which [`Node::restore`](super::Node::restore) resumes it.
///
/// It is plain data, and serialisable with the feature `serde`: a [`Snapshot`] of the engine, what was received
/// and not taken, and what became of blocks that nobody has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeSnapshot {
    engine: Snapshot<SocketAddr>,
    /// Whether the node has done nothing since.
    age: Age,
    port: NodePort,
}

impl NodeSnapshot {
    /// Returns the ID of the engine of the node.
    #[must_use]
    pub const fn engine(&self) -> u64 {
        self.engine.engine()
    }

    /// Returns the tags of the blocks whose transmission the node will resume, or whose end it will tell.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.port.blocks.keys().copied()
    }

    /// Takes all that a node has; the snapshot of the engine is of the same moment.
    pub(super) fn new(engine: Snapshot<Path>, mut port: NodePort, age: Age) -> Self {
        let engine = engine.map_address(|path| path.remote);
        port.blocks.retain(|_, block| !block.is_told);
        Self { engine, age, port }
    }

    /// Makes the port again, and says how the socket at `local` reaches the peers.
    pub(super) fn into_parts(
        self,
        local: SocketAddr,
    ) -> Result<(NodePort, (Snapshot<Path>, Age)), Error> {
        let mut outcome = Ok(());
        let engine = self.engine.map_address(|remote| {
            if let Err(error) = path_to(local, remote) {
                outcome = Err(error);
            }
            Path::udp(local, remote)
        });
        outcome?;
        let mut port = self.port;
        port.resume(&engine);
        Ok((port, (engine, self.age)))
    }
}

/// Says how a socket reaches a peer, if it can.
pub(super) fn path_to(local: SocketAddr, remote: SocketAddr) -> Result<Path, Error> {
    if local.is_ipv4() == remote.is_ipv4() && remote.port() != 0 {
        return Ok(Path::udp(local, remote));
    }
    let message = format!("a socket at {local} cannot reach a peer at {remote}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message).into())
}
