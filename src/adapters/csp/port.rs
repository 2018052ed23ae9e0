//! Who gets which event of a node, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;
use std::io;

use bytes::{Bytes, BytesMut};

use super::{AskedService, CspMachine, Error, NodeAnswer, ReceivedPacket};
use crate::adapters::driver::{ClosePort, Core, Port, ReceiveQueue, Rest};
use crate::csp::{self, CloseReason, Command, ConnectionId, Endpoint, Event, SendOptions};
use crate::csp::{ServiceAnswer, SfpTrailer, SocketOptions};
use crate::{Instant, Tag};

/// Answers to one request that are kept, and requests to services.
const MAX_ANSWERS: usize = 1 << 14;
const MAX_ASKED: usize = 64;
/// How long a node that ends waits for its connections to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// What the handles of a node wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Line {
    /// A connection that opens.
    Open(Tag),
    /// What is received on a connection.
    Receive(ConnectionId),
    /// Room, acknowledgements and the end of a connection.
    Send(ConnectionId),
    /// A connection at a port, or a packet without.
    Socket(u8),
    /// Answers.
    Answer(Tag),
    /// A request to a service.
    Asked,
    /// The end of the node.
    End,
}

/// The state that the handles of a node share, beside the machine.
#[derive(Debug, Default)]
pub(crate) struct NodePort {
    opening: BTreeMap<Tag, (Endpoint, Option<Result<ConnectionId, CloseReason>>)>,
    connections: BTreeMap<ConnectionId, ConnectionState>,
    sockets: BTreeMap<u8, SocketState>,
    questions: BTreeMap<Tag, Question>,
    asked: VecDeque<AskedService>,
    /// The last number that was given to a connection or a question.
    ids: u64,
    receive_octets: usize,
    sockets_full: u64,
    /// Nothing begins any more, and connections have until then to close.
    closing: Option<Instant>,
}

/// A connection that is open, or that has a handle.
#[derive(Debug)]
struct ConnectionState {
    peer: Endpoint,
    received: ReceiveQueue<Bytes>,
    /// Fragments of a whole that has not come.
    fragments: BytesMut,
    /// Packets that were given to the node, and those of them that were acknowledged.
    sent: u64,
    acknowledged: u64,
    end: Option<(CloseReason, u32)>,
    has_handle: bool,
}

/// A bound port.
#[derive(Debug)]
struct SocketState {
    /// With their peers.
    accepted: VecDeque<(ConnectionId, Endpoint)>,
    received: ReceiveQueue<ReceivedPacket>,
    /// Fragments of wholes that have not come, by their senders, of whom the node takes a few.
    fragments: BTreeMap<Endpoint, BytesMut>,
}

/// A ping or a request that has a handle.
#[derive(Debug, Default)]
struct Question {
    answers: Vec<NodeAnswer>,
    has_ended: bool,
}

/// Adds a fragment to those before it, and returns the whole behind the last one.
fn assemble(whole: &mut BytesMut, place: SfpTrailer, data: &[u8]) -> Option<Bytes> {
    whole.extend_from_slice(data);
    let is_last = whole.len() as u64 >= u64::from(place.total);
    is_last.then(|| mem::take(whole).freeze())
}

impl Port for NodePort {
    type Machine = CspMachine;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: Event) {
        match event {
            Event::Connected { tag, connection } => core.on_opened(tag, Ok(connection)),
            Event::ConnectFailed { tag, reason } => core.on_opened(tag, Err(reason)),
            Event::Accepted {
                connection,
                port,
                from,
            } => core.on_accepted(connection, port, from),
            Event::Received { connection, data } => core.on_data(connection, data),
            Event::Fragment {
                connection,
                place,
                data,
            } => {
                let state = core.port.connections.get_mut(&connection);
                let whole = state.and_then(|it| assemble(&mut it.fragments, place, &data));
                if let Some(whole) = whole {
                    core.on_data(connection, whole);
                }
            }
            Event::FragmentsFailed { connection, .. } => {
                core.change(connection, |it| it.fragments = BytesMut::new());
            }
            Event::Acknowledged {
                connection,
                packets,
            } => core.change(connection, |it| it.acknowledged += u64::from(packets)),
            Event::Room(connection) => core.wakes.all(Line::Send(connection)),
            Event::Closed {
                connection,
                reason,
                unacknowledged,
            } => {
                core.change(connection, |it| it.end = Some((reason, unacknowledged)));
                core.forget_ended(connection);
            }
            Event::Datagram { port, from, data } => core.on_packet(port, from, data),
            Event::FragmentDatagram {
                port,
                from,
                place,
                data,
            } => core.on_fragment(port, from, place, &data),
            Event::FragmentDatagramsFailed { port, from, .. } => {
                let socket = core.port.sockets.get_mut(&port);
                socket.map(|it| it.fragments.remove(&from));
            }
            Event::Pong { tag, from, time } => core.on_answer(tag, from, time, None),
            Event::Answered {
                tag,
                from,
                time,
                answer,
            } => core.on_answer(tag, from, time, Some(answer)),
            Event::PingEnded { tag, .. } | Event::RequestEnded { tag, .. } => {
                if let Some(question) = core.port.questions.get_mut(&tag) {
                    question.has_ended = true;
                    core.wakes.all(Line::Answer(tag));
                }
            }
            Event::ServiceRequested { id, from, request } => {
                if core.port.asked.len() == MAX_ASKED {
                    core.port.asked.pop_front();
                }
                let asked = AskedService { id, from, request };
                core.port.asked.push_back(asked);
                core.wakes.first(Line::Asked);
            }
            Event::Promiscuous { .. } => {}
        }
    }

    fn has_room(&self) -> bool {
        let mut connections = self.connections.values();
        connections.all(|it| it.received.has_room())
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        let mut connections = core.port.connections.values();
        let has_closed = is_idle && connections.all(|it| it.end.is_some());
        match core.port.closing {
            Some(until) if has_closed || core.now >= until => Rest::Over,
            until => Rest::Until(until),
        }
    }

    fn end(&mut self, machine: &mut CspMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl NodePort {
    pub(super) fn new(receive_octets: usize) -> Self {
        Self {
            receive_octets,
            ..Self::default()
        }
    }
}

impl ClosePort for NodePort {
    type Error = Error;
    const END: Line = Line::End;

    fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Closes all connections, and ends once they are closed.
    fn close(core: &mut Core<Self>) {
        if core.port.is_closing() || core.is_over() {
            return;
        }
        core.port.closing = Some(core.now + CLOSE_LIMIT);
        let connections: Vec<_> = core.port.connections.keys().copied().collect();
        for connection in connections {
            core.close_connection(connection);
        }
        core.touch();
    }
}

/// What events do.
impl Core<NodePort> {
    fn add_connection(&mut self, connection: ConnectionId, peer: Endpoint, has_handle: bool) {
        let state = ConnectionState {
            peer,
            received: ReceiveQueue::new(self.port.receive_octets.max(1)),
            fragments: BytesMut::new(),
            sent: 0,
            acknowledged: 0,
            end: None,
            has_handle,
        };
        self.port.connections.insert(connection, state);
        if !has_handle || self.port.is_closing() {
            self.close_connection(connection);
        }
    }

    fn on_opened(&mut self, tag: Tag, outcome: Result<ConnectionId, CloseReason>) {
        let opening = self.port.opening.get_mut(&tag);
        let has_handle = opening.is_some();
        let mut peer = Endpoint::default();
        if let Some((to, place)) = opening {
            (peer, *place) = (*to, Some(outcome));
            self.wakes.all(Line::Open(tag));
        }
        if let Ok(connection) = outcome {
            self.add_connection(connection, peer, has_handle);
        }
    }

    fn on_accepted(&mut self, connection: ConnectionId, port: u8, from: Endpoint) {
        let socket = self.port.sockets.get_mut(&port);
        let accepted = socket.map(|it| it.accepted.push_back((connection, from)));
        self.wakes.all(Line::Socket(port));
        self.add_connection(connection, from, accepted.is_some());
    }

    /// Changes what is known of a connection, and wakes whoever waits for anything of it.
    fn change(&mut self, connection: ConnectionId, change: impl FnOnce(&mut ConnectionState)) {
        if let Some(state) = self.port.connections.get_mut(&connection) {
            change(state);
            self.wakes.all(Line::Receive(connection));
            self.wakes.all(Line::Send(connection));
        }
    }

    fn on_data(&mut self, connection: ConnectionId, data: Bytes) {
        let count = data.len();
        self.change(connection, |it| it.received.put(data, count));
    }

    fn on_packet(&mut self, port: u8, from: Endpoint, data: Bytes) {
        let Some(socket) = self.port.sockets.get_mut(&port) else {
            return;
        };
        if !socket.received.has_room() {
            self.port.sockets_full += 1;
            return;
        }
        let count = data.len();
        socket.received.put(ReceivedPacket { from, data }, count);
        self.wakes.all(Line::Socket(port));
    }

    fn on_fragment(&mut self, port: u8, from: Endpoint, place: SfpTrailer, data: &[u8]) {
        let Some(socket) = self.port.sockets.get_mut(&port) else {
            return;
        };
        let whole = socket.fragments.entry(from).or_default();
        if let Some(data) = assemble(whole, place, data) {
            socket.fragments.remove(&from);
            self.on_packet(port, from, data);
        }
    }

    fn on_answer(&mut self, tag: Tag, from: u16, time: Duration, answer: Option<ServiceAnswer>) {
        let question = self.port.questions.get_mut(&tag);
        if let Some(question) = question.filter(|it| it.answers.len() < MAX_ANSWERS) {
            question.answers.push(NodeAnswer { from, time, answer });
        }
    }
}

/// What handles wait for.
type Polled<T> = Poll<Result<T, Error>>;

/// What handles do under the lock.
impl Core<NodePort> {
    const fn draw_tag(&mut self) -> Tag {
        self.port.ids += 1;
        Tag(self.port.ids)
    }

    pub(super) fn connect(&mut self, to: Endpoint, options: SendOptions) -> Result<Tag, Error> {
        let tag = self.draw_tag();
        self.command(Command::Connect { tag, to, options })?;
        self.port.opening.insert(tag, (to, None));
        Ok(tag)
    }

    /// Takes a connection once it has opened.
    pub(super) fn opened(&mut self, tag: Tag) -> Polled<ConnectionId> {
        let Some((to, Some(outcome))) = self.port.opening.get(&tag).copied() else {
            return self.found(None);
        };
        self.port.opening.remove(&tag);
        Poll::Ready(outcome.map_err(|reason| Error::NotConnected { to, reason }))
    }

    /// Forgets an attempt. A connection that nobody has taken is closed, as soon as it opens.
    pub(super) fn forget_opening(&mut self, tag: Tag) {
        if let Some((_, Some(Ok(connection)))) = self.port.opening.remove(&tag) {
            self.forget(connection);
        }
    }

    pub(super) fn bind(&mut self, port: u8, options: SocketOptions) -> Result<(), Error> {
        self.command(Command::Bind { port, options })?;
        let state = SocketState {
            accepted: VecDeque::new(),
            received: ReceiveQueue::new(self.port.receive_octets.max(1)),
            fragments: BTreeMap::new(),
        };
        self.port.sockets.insert(port, state);
        Ok(())
    }

    pub(super) fn unbind(&mut self, port: u8) {
        // It is bound, unless the node has ended.
        let _ = self.command(Command::Unbind(port));
        let socket = self.port.sockets.remove(&port);
        for (connection, _) in socket.into_iter().flat_map(|it| it.accepted) {
            self.forget(connection);
        }
    }

    /// Takes the oldest connection at a port that nobody has taken.
    pub(super) fn accept(&mut self, port: u8) -> Polled<(ConnectionId, Endpoint)> {
        let socket = self.port.sockets.get_mut(&port);
        let accepted = socket.and_then(|it| it.accepted.pop_front());
        self.found(accepted)
    }

    /// Takes the oldest packet at a port.
    pub(super) fn next_packet(&mut self, port: u8) -> Polled<ReceivedPacket> {
        let socket = self.port.sockets.get_mut(&port);
        let packet = socket.and_then(|it| it.received.take());
        self.found(packet)
    }

    /// Sends on a connection, as soon as there is room.
    pub(super) fn send(&mut self, id: ConnectionId, packets: u64, command: Command) -> Polled<()> {
        self.open(id)?;
        match self.command(command) {
            Err(Error::Refused(csp::Error::Full { .. })) => return Poll::Pending,
            given => given?,
        }
        if let Some(state) = self.port.connections.get_mut(&id) {
            state.sent += packets;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells whether the peer has acknowledged so many packets.
    pub(super) fn acked(&self, id: ConnectionId, packets: u64) -> Polled<()> {
        let state = self.port.connections.get(&id);
        if state.is_some_and(|it| it.acknowledged >= packets) {
            return Poll::Ready(Ok(()));
        }
        self.open(id)?;
        Poll::Pending
    }

    /// Returns how many packets were sent on a connection.
    pub(super) fn sent(&self, id: ConnectionId) -> u64 {
        self.port.connections.get(&id).map_or(0, |it| it.sent)
    }

    /// Takes the oldest packet of a connection; `None` behind the last one if the peer has closed it.
    pub(super) fn receive(&mut self, id: ConnectionId) -> Polled<Option<Bytes>> {
        use CloseReason::{Closed, PeerClosed};
        let state = self.port.connections.get_mut(&id);
        if let Some(data) = state.and_then(|it| it.received.take()) {
            return Poll::Ready(Ok(Some(data)));
        }
        match self.open(id) {
            Ok(()) => Poll::Pending,
            Err(Error::Ended {
                reason: Closed | PeerClosed,
                ..
            }) => Poll::Ready(Ok(None)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Closes a connection once all its packets are acknowledged.
    pub(super) fn close_connection(&mut self, id: ConnectionId) {
        // Refused when it has ended, which is just as well.
        let _ = self.give(Command::Close(id));
    }

    /// Tells how a connection has ended that this end has closed.
    pub(super) fn closed(&self, id: ConnectionId) -> Polled<()> {
        match self.open(id) {
            Ok(()) => Poll::Pending,
            Err(Error::Ended {
                unacknowledged: 0, ..
            }) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Tells how a connection has ended, if it has.
    fn open(&self, id: ConnectionId) -> Result<(), Error> {
        let state = self.port.connections.get(&id);
        match state.and_then(|it| it.end.map(|end| (it.peer, end))) {
            Some((peer, (reason, unacknowledged))) => Err(Error::Ended {
                peer,
                reason,
                unacknowledged,
            }),
            None if self.is_over() => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Closes a connection whose handle is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.close_connection(id);
        if let Some(state) = self.port.connections.get_mut(&id) {
            state.has_handle = false;
            drop(state.received.close());
        }
        self.forget_ended(id);
    }

    /// Forgets a connection that has ended and has no handle.
    fn forget_ended(&mut self, id: ConnectionId) {
        let state = self.port.connections.get(&id);
        if state.is_some_and(|it| it.end.is_some() && !it.has_handle) {
            self.port.connections.remove(&id);
        }
    }

    /// Asks something, by the command that `make` makes of a tag.
    pub(super) fn ask(&mut self, make: impl FnOnce(Tag) -> Command) -> Result<Tag, Error> {
        let tag = self.draw_tag();
        self.command(make(tag))?;
        self.port.questions.insert(tag, Question::default());
        Ok(tag)
    }

    /// Takes all answers, once no more will come.
    pub(super) fn answers(&mut self, tag: Tag) -> Polled<Vec<NodeAnswer>> {
        let question = self.port.questions.get_mut(&tag);
        let ended = question.filter(|it| it.has_ended);
        let answers = ended.map(|it| mem::take(&mut it.answers));
        self.found(answers)
    }

    pub(super) fn forget_question(&mut self, tag: Tag) {
        self.port.questions.remove(&tag);
    }

    /// Takes the oldest request to a service that the application does not know of.
    pub(super) fn next_asked(&mut self) -> Polled<AskedService> {
        let asked = self.port.asked.pop_front();
        self.found(asked)
    }

    pub(super) fn stats(&self) -> (csp::Stats, u64) {
        (self.peek().stats(), self.port.sockets_full)
    }
}
