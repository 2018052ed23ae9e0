//! What the handles of a node share: connections, bound ports and questions, and what has come for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{AskedService, NodeAnswer, ReceivedPacket};
use crate::adapters::driver::ReceiveQueue;
use crate::csp::{CloseReason, ConnectionId, Endpoint};
use crate::{Instant, Tag};

/// The state that the handles of a node share, beside the machine.
#[derive(Debug, Default)]
pub(crate) struct NodeState {
    pub(super) opening: BTreeMap<Tag, (Endpoint, Option<Result<ConnectionId, CloseReason>>)>,
    pub(super) connections: BTreeMap<ConnectionId, ConnectionState>,
    pub(super) sockets: BTreeMap<u8, SocketState>,
    pub(super) questions: BTreeMap<Tag, Question>,
    pub(super) asked: VecDeque<AskedService>,
    /// The last number that was given to a connection or a question.
    pub(super) ids: u64,
    pub(super) receive_octets: usize,
    pub(super) sockets_full: u64,
    /// Nothing begins any more, and connections have until then to close.
    pub(super) closing: Option<Instant>,
}

/// A connection that is open, or that has a handle.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) peer: Endpoint,
    pub(super) received: ReceiveQueue<Bytes>,
    /// Fragments of a whole that has not come.
    pub(super) fragments: BytesMut,
    /// Packets that were given to the node, and those of them that were acknowledged.
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) end: Option<(CloseReason, u32)>,
    pub(super) has_handle: bool,
    /// Whether the node keeps its packets.
    pub(super) is_held: bool,
}

/// A bound port.
#[derive(Debug)]
pub(super) struct SocketState {
    /// With their peers.
    pub(super) accepted: VecDeque<(ConnectionId, Endpoint)>,
    pub(super) received: ReceiveQueue<ReceivedPacket>,
    /// Fragments of wholes that have not come, by their senders, of whom the node takes a few.
    pub(super) fragments: BTreeMap<Endpoint, BytesMut>,
}

/// A ping or a request that has a handle.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub(super) answers: Vec<NodeAnswer>,
    pub(super) has_ended: bool,
}

impl NodeState {
    pub(in crate::adapters) fn new(receive_octets: usize) -> Self {
        Self {
            receive_octets,
            ..Self::default()
        }
    }

    pub(super) const fn draw_tag(&mut self) -> Tag {
        self.ids += 1;
        Tag(self.ids)
    }

    /// Tells whether nothing begins any more.
    pub(in crate::adapters) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn add_connection(&mut self, id: ConnectionId, peer: Endpoint, has_handle: bool) {
        let state = ConnectionState {
            peer,
            received: ReceiveQueue::new(self.receive_octets.max(1)),
            fragments: BytesMut::new(),
            sent: 0,
            acknowledged: 0,
            end: None,
            has_handle,
            is_held: false,
        };
        self.connections.insert(id, state);
    }

    pub(super) fn add_socket(&mut self, port: u8) {
        let state = SocketState {
            accepted: VecDeque::new(),
            received: ReceiveQueue::new(self.receive_octets.max(1)),
            fragments: BTreeMap::new(),
        };
        self.sockets.insert(port, state);
    }

    /// Forgets a connection that has ended and has no handle.
    pub(super) fn forget_ended(&mut self, id: ConnectionId) {
        let state = self.connections.get(&id);
        if state.is_some_and(|it| it.end.is_some() && !it.has_handle) {
            self.connections.remove(&id);
        }
    }
}
