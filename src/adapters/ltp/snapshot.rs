//! What outlives a node: what its engine and its port know, as plain data.

use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io;

use super::port::NodePort;
use super::{Error, Received};
use crate::adapters::event_loop::Port as _;
use crate::adapters::waiters::Wakes;
use crate::ltp::{Age, Event, Snapshot};
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
    is_current: bool,
    /// The last ID that was given to a block or an access point.
    ids: u64,
    /// Blocks with a handle or under way, and their peers.
    blocks: Vec<(Tag, u64)>,
    /// How blocks ended, where nobody has asked.
    ends: Vec<Event>,
    /// What was received and not taken.
    items: Vec<Received>,
}

impl NodeSnapshot {
    /// Returns the ID of the engine of the node.
    #[must_use]
    pub const fn engine(&self) -> u64 {
        self.engine.engine()
    }

    /// Returns the tags of the blocks whose transmission the node will resume, or whose end it will tell.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.blocks.iter().map(|(tag, _)| *tag)
    }

    /// Takes all that a node has; the snapshot of the engine is of the same moment.
    pub(super) fn new(engine: Snapshot<Path>, port: &NodePort, age: Age) -> Self {
        // What was told is over.
        let blocks = port.blocks.iter().filter(|(_, block)| !block.is_told);
        let ends = blocks.clone().filter_map(|(_, block)| block.end.clone());
        Self {
            engine: engine.map_address(|path| path.remote),
            is_current: age == Age::Current,
            ids: port.ids,
            ends: ends.collect(),
            items: port.items().cloned().collect(),
            blocks: blocks.map(|(tag, block)| (*tag, block.peer)).collect(),
        }
    }

    /// Makes the port again, and says how the socket at `local` reaches the peers.
    pub(super) fn into_parts(
        self,
        local: SocketAddr,
    ) -> Result<(NodePort, (Snapshot<Path>, Age)), Error> {
        let mut unreachable = None;
        let engine = self.engine.map_address(|remote| {
            if remote.is_ipv4() != local.is_ipv4() {
                unreachable = Some(remote);
            }
            Path::udp(local, remote)
        });
        if let Some(remote) = unreachable {
            return Err(cannot_reach(local, remote));
        }
        let mut port = NodePort::default();
        port.ids = self.ids;
        for (client, _) in engine.services() {
            port.add_service(client);
        }
        for (tag, peer) in self.blocks {
            port.follow(tag, peer);
        }
        // Nobody waits yet.
        let wakes = &mut Wakes::new();
        for end in self.ends {
            port.deliver(end, wakes);
        }
        for item in self.items {
            port.queue(item, wakes);
        }
        // The engine has all that are under way. A damaged snapshot may name others, which nobody follows.
        let tags: Vec<Tag> = engine.tags().collect();
        port.blocks
            .retain(|tag, block| block.end.is_some() || tags.contains(tag));
        let age = if self.is_current {
            Age::Current
        } else {
            Age::Behind
        };
        Ok((port, (engine, age)))
    }
}

/// The error of a peer that a socket cannot reach.
pub(super) fn cannot_reach(local: SocketAddr, remote: SocketAddr) -> Error {
    let message = format!("a socket at {local} cannot reach a peer at {remote}");
    io::Error::new(io::ErrorKind::InvalidInput, message).into()
}
