//! What the handles of a node share: connections, bound ports and questions, and what has come for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::port::Line;
use super::{AskedService, Error, NodeAnswer, ReceivedPacket};
use crate::adapters::driver::ReceiveQueue;
use crate::csp::{CloseReason, ConnectionId, Endpoint, Event, ServiceAnswer, SfpTrailer};
use crate::{Instant, Tag};

/// Answers to one request that are kept, and requests to services.
const MAX_ANSWERS: usize = 1 << 14;
const MAX_ASKED: usize = 64;

/// Wakes all that wait in a line.
type Wake<'a> = &'a mut dyn FnMut(Line);

/// The state that the handles of a node share, beside the machine.
#[derive(Debug)]
pub(crate) struct NodeState {
    pub(super) opening: BTreeMap<Tag, (Endpoint, Option<Result<ConnectionId, CloseReason>>)>,
    pub(super) connections: BTreeMap<ConnectionId, ConnectionState>,
    pub(super) sockets: BTreeMap<u8, SocketState>,
    pub(super) questions: BTreeMap<Tag, Question>,
    pub(super) asked: VecDeque<AskedService>,
    /// Connections that nobody knows of, to be closed.
    pub(super) unwanted: Vec<ConnectionId>,
    /// Connections of which too much waits to be taken.
    pub(super) filled: Vec<ConnectionId>,
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
    pub(super) accepted: VecDeque<ConnectionId>,
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

impl ConnectionState {
    pub(super) const fn error(&self) -> Option<Error> {
        match self.end {
            None => None,
            Some((reason, unacknowledged)) => Some(Error::Ended {
                peer: self.peer,
                reason,
                unacknowledged,
            }),
        }
    }

    fn on_data(&mut self, data: Bytes) {
        let count = data.len();
        self.received.put(data, count);
    }
}

/// Adds a fragment to those before it, and returns the whole behind the last one.
fn assemble(whole: &mut BytesMut, place: SfpTrailer, data: &[u8]) -> Option<Bytes> {
    whole.extend_from_slice(data);
    let is_last = whole.len() as u64 >= u64::from(place.total);
    is_last.then(|| mem::take(whole).freeze())
}

impl NodeState {
    pub(in crate::adapters) fn deliver(&mut self, event: Event, wake: Wake<'_>) {
        match event {
            Event::Connected { tag, connection } => self.opened(tag, Ok(connection), wake),
            Event::ConnectFailed { tag, reason } => self.opened(tag, Err(reason), wake),
            Event::Accepted {
                connection,
                port,
                from,
            } => self.accepted(connection, port, from, wake),
            Event::Received { connection, data } => {
                self.change(connection, wake, |it| it.on_data(data));
            }
            Event::Fragment {
                connection,
                place,
                data,
            } => self.change(connection, wake, |it| {
                if let Some(whole) = assemble(&mut it.fragments, place, &data) {
                    it.on_data(whole);
                }
            }),
            Event::FragmentsFailed { connection, .. } => {
                self.change(connection, wake, |it| it.fragments = BytesMut::new());
            }
            Event::Acknowledged {
                connection,
                packets,
            } => self.change(connection, wake, |it| {
                it.acknowledged += u64::from(packets);
            }),
            Event::Room(connection) => wake(Line::Connection(connection)),
            Event::Closed {
                connection,
                reason,
                unacknowledged,
            } => self.closed(connection, (reason, unacknowledged), wake),
            Event::Datagram { port, from, data } => {
                self.packet(port, ReceivedPacket { from, data }, wake);
            }
            Event::FragmentDatagram {
                port,
                from,
                place,
                data,
            } => self.fragment(port, (from, place, &data), wake),
            Event::FragmentDatagramsFailed { port, from, .. } => {
                if let Some(socket) = self.sockets.get_mut(&port) {
                    socket.fragments.remove(&from);
                }
            }
            Event::Pong { tag, from, time } => self.answer(tag, (from, time), None, wake),
            Event::Answered {
                tag,
                from,
                time,
                answer,
            } => self.answer(tag, (from, time), Some(answer), wake),
            Event::PingEnded { tag, .. } | Event::RequestEnded { tag, .. } => {
                if let Some(question) = self.questions.get_mut(&tag) {
                    question.has_ended = true;
                    wake(Line::Answer(tag));
                }
            }
            Event::ServiceRequested { id, from, request } => {
                if self.asked.len() == MAX_ASKED {
                    self.asked.pop_front();
                }
                self.asked.push_back(AskedService { id, from, request });
                wake(Line::Asked);
            }
            Event::Promiscuous { .. } => {}
        }
    }

    pub(in crate::adapters) const fn new(receive_octets: usize) -> Self {
        Self {
            opening: BTreeMap::new(),
            connections: BTreeMap::new(),
            sockets: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: VecDeque::new(),
            unwanted: Vec::new(),
            filled: Vec::new(),
            ids: 0,
            receive_octets,
            sockets_full: 0,
            closing: None,
        }
    }

    pub(super) const fn draw_tag(&mut self) -> Tag {
        self.ids += 1;
        Tag(self.ids)
    }

    fn add_connection(&mut self, connection: ConnectionId, peer: Endpoint, has_handle: bool) {
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
        self.connections.insert(connection, state);
        if !has_handle || self.closing.is_some() {
            self.unwanted.push(connection);
        }
    }

    fn opened(&mut self, tag: Tag, outcome: Result<ConnectionId, CloseReason>, wake: Wake<'_>) {
        let opening = self.opening.get_mut(&tag);
        let has_handle = opening.is_some();
        let mut peer = Endpoint::default();
        if let Some((to, place)) = opening {
            (peer, *place) = (*to, Some(outcome));
            wake(Line::Open(tag));
        }
        if let Ok(connection) = outcome {
            self.add_connection(connection, peer, has_handle);
        }
    }

    fn accepted(&mut self, connection: ConnectionId, port: u8, from: Endpoint, wake: Wake<'_>) {
        let socket = self.sockets.get_mut(&port);
        let has_handle = socket.is_some();
        if let Some(socket) = socket {
            socket.accepted.push_back(connection);
            wake(Line::Socket(port));
        }
        self.add_connection(connection, from, has_handle);
    }

    /// Changes what is known of a connection, and wakes whoever waits for anything of it.
    fn change(
        &mut self,
        connection: ConnectionId,
        wake: Wake<'_>,
        change: impl FnOnce(&mut ConnectionState),
    ) {
        if let Some(state) = self.connections.get_mut(&connection) {
            change(state);
            if !state.received.has_room() && !state.is_held {
                self.filled.push(connection);
            }
            wake(Line::Connection(connection));
        }
    }

    fn closed(&mut self, connection: ConnectionId, end: (CloseReason, u32), wake: Wake<'_>) {
        self.change(connection, wake, |it| it.end = Some(end));
        self.connections
            .retain(|id, it| *id != connection || it.has_handle);
    }

    /// Tells whether nothing begins any more.
    pub(in crate::adapters) const fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn add_socket(&mut self, port: u8) {
        let state = SocketState {
            accepted: VecDeque::new(),
            received: ReceiveQueue::new(self.receive_octets.max(1)),
            fragments: BTreeMap::new(),
        };
        self.sockets.insert(port, state);
    }

    fn packet(&mut self, port: u8, packet: ReceivedPacket, wake: Wake<'_>) {
        let Some(socket) = self.sockets.get_mut(&port) else {
            return;
        };
        if !socket.received.has_room() {
            self.sockets_full += 1;
            return;
        }
        let count = packet.data.len();
        socket.received.put(packet, count);
        wake(Line::Socket(port));
    }

    fn fragment(
        &mut self,
        port: u8,
        (from, place, data): (Endpoint, SfpTrailer, &[u8]),
        wake: Wake<'_>,
    ) {
        let Some(socket) = self.sockets.get_mut(&port) else {
            return;
        };
        let whole = socket.fragments.entry(from).or_default();
        if let Some(data) = assemble(whole, place, data) {
            socket.fragments.remove(&from);
            self.packet(port, ReceivedPacket { from, data }, wake);
        }
    }

    fn answer(
        &mut self,
        tag: Tag,
        (from, time): (u16, Duration),
        answer: Option<ServiceAnswer>,
        wake: Wake<'_>,
    ) {
        if let Some(question) = self.questions.get_mut(&tag)
            && question.answers.len() < MAX_ANSWERS
        {
            let answer = NodeAnswer { from, time, answer };
            question.answers.push(answer);
            wake(Line::Answer(tag));
        }
    }
}
