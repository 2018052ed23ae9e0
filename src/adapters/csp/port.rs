//! Who gets which event of a node, and who waits for what.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;
use std::io;

use bytes::{Bytes, BytesMut};

use super::{AskedService, CspMachine, Error, NodeAnswer, ReceivedPacket};
use crate::adapters::driver::{Core, Port, ReceiveQueue, Rest, Wakes};
use crate::csp::{self, CloseReason, Command, ConnectionId, Endpoint, Event, SendOptions};
use crate::csp::{SfpTrailer, SocketOptions};
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
#[derive(Debug)]
pub(crate) struct NodePort {
    opening: BTreeMap<Tag, (Endpoint, Option<Result<ConnectionId, CloseReason>>)>,
    connections: BTreeMap<ConnectionId, ConnectionState>,
    sockets: BTreeMap<u8, SocketState>,
    questions: BTreeMap<Tag, Question>,
    asked: VecDeque<AskedService>,
    /// Connections that nobody knows of, to be closed.
    unwanted: Vec<ConnectionId>,
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
    accepted: VecDeque<ConnectionId>,
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

impl ConnectionState {
    const fn error(&self) -> Option<Error> {
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

impl Port for NodePort {
    type Machine = CspMachine;
    type Line = Line;

    fn deliver(&mut self, event: Event, wakes: &mut Wakes<Line>) {
        match event {
            Event::Connected { tag, connection } => self.opened(tag, Ok(connection), wakes),
            Event::ConnectFailed { tag, reason } => self.opened(tag, Err(reason), wakes),
            Event::Accepted {
                connection,
                port,
                from,
            } => self.accepted(connection, port, from, wakes),
            Event::Received { connection, data } => {
                self.change(connection, wakes, |it| it.on_data(data));
            }
            Event::Fragment {
                connection,
                place,
                data,
            } => self.change(connection, wakes, |it| {
                if let Some(whole) = assemble(&mut it.fragments, place, &data) {
                    it.on_data(whole);
                }
            }),
            Event::FragmentsFailed { connection, .. } => {
                self.change(connection, wakes, |it| it.fragments = BytesMut::new());
            }
            Event::Acknowledged {
                connection,
                packets,
            } => self.change(connection, wakes, |it| {
                it.acknowledged += u64::from(packets);
            }),
            Event::Room(connection) => wakes.all(Line::Send(connection)),
            Event::Closed {
                connection,
                reason,
                unacknowledged,
            } => self.closed(connection, (reason, unacknowledged), wakes),
            Event::Datagram { port, from, data } => {
                self.packet(port, ReceivedPacket { from, data }, wakes);
            }
            Event::FragmentDatagram {
                port,
                from,
                place,
                data,
            } => self.fragment(port, (from, place, &data), wakes),
            Event::FragmentDatagramsFailed { port, from, .. } => {
                if let Some(socket) = self.sockets.get_mut(&port) {
                    socket.fragments.remove(&from);
                }
            }
            Event::Pong { tag, from, time } => self.answer(tag, (from, time), None, wakes),
            Event::Answered {
                tag,
                from,
                time,
                answer,
            } => self.answer(tag, (from, time), Some(answer), wakes),
            Event::PingEnded { tag, .. } | Event::RequestEnded { tag, .. } => {
                if let Some(question) = self.questions.get_mut(&tag) {
                    question.has_ended = true;
                    wakes.all(Line::Answer(tag));
                }
            }
            Event::ServiceRequested { id, from, request } => {
                if self.asked.len() == MAX_ASKED {
                    self.asked.pop_front();
                }
                self.asked.push_back(AskedService { id, from, request });
                wakes.first(Line::Asked);
            }
            Event::Promiscuous { .. } => {}
        }
    }

    fn has_room(&self) -> bool {
        let mut connections = self.connections.values();
        connections.all(|it| it.received.has_room())
    }

    fn tend(core: &mut Core<Self>, is_idle: bool) -> Rest {
        let unwanted = mem::take(&mut core.port.unwanted);
        if !unwanted.is_empty() {
            for connection in unwanted {
                // Refused when it has ended, which is just as well.
                let _ = core.give(Command::Close(connection));
            }
            return Rest::Again;
        }
        let Some(until) = core.port.closing else {
            return Rest::Until(None);
        };
        let mut connections = core.port.connections.values();
        let has_closed = connections.all(|it| it.end.is_some());
        if core.now >= until || (is_idle && has_closed) {
            return Rest::Over;
        }
        Rest::Until(Some(until))
    }

    fn end(&mut self, machine: &mut CspMachine, _: io::Result<()>) {
        machine.finish();
    }
}

impl NodePort {
    pub(super) const fn new(receive_octets: usize) -> Self {
        Self {
            opening: BTreeMap::new(),
            connections: BTreeMap::new(),
            sockets: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: VecDeque::new(),
            unwanted: Vec::new(),
            ids: 0,
            receive_octets,
            sockets_full: 0,
            closing: None,
        }
    }

    const fn draw_tag(&mut self) -> Tag {
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
        };
        self.connections.insert(connection, state);
        if !has_handle || self.closing.is_some() {
            self.unwanted.push(connection);
        }
    }

    fn opened(
        &mut self,
        tag: Tag,
        outcome: Result<ConnectionId, CloseReason>,
        wakes: &mut Wakes<Line>,
    ) {
        let opening = self.opening.get_mut(&tag);
        let has_handle = opening.is_some();
        let mut peer = Endpoint::default();
        if let Some((to, place)) = opening {
            (peer, *place) = (*to, Some(outcome));
            wakes.all(Line::Open(tag));
        }
        if let Ok(connection) = outcome {
            self.add_connection(connection, peer, has_handle);
        }
    }

    fn accepted(
        &mut self,
        connection: ConnectionId,
        port: u8,
        from: Endpoint,
        wakes: &mut Wakes<Line>,
    ) {
        let socket = self.sockets.get_mut(&port);
        let has_handle = socket.is_some();
        if let Some(socket) = socket {
            socket.accepted.push_back(connection);
            wakes.all(Line::Socket(port));
        }
        self.add_connection(connection, from, has_handle);
    }

    /// Changes what is known of a connection, and wakes whoever waits for anything of it.
    fn change(
        &mut self,
        connection: ConnectionId,
        wakes: &mut Wakes<Line>,
        change: impl FnOnce(&mut ConnectionState),
    ) {
        if let Some(state) = self.connections.get_mut(&connection) {
            change(state);
            wakes.all(Line::Receive(connection));
            wakes.all(Line::Send(connection));
        }
    }

    fn closed(
        &mut self,
        connection: ConnectionId,
        end: (CloseReason, u32),
        wakes: &mut Wakes<Line>,
    ) {
        self.change(connection, wakes, |it| it.end = Some(end));
        self.connections
            .retain(|id, it| *id != connection || it.has_handle);
    }

    fn packet(&mut self, port: u8, packet: ReceivedPacket, wakes: &mut Wakes<Line>) {
        let Some(socket) = self.sockets.get_mut(&port) else {
            return;
        };
        if !socket.received.has_room() {
            self.sockets_full += 1;
            return;
        }
        let count = packet.data.len();
        socket.received.put(packet, count);
        wakes.all(Line::Socket(port));
    }

    fn fragment(
        &mut self,
        port: u8,
        (from, place, data): (Endpoint, SfpTrailer, &[u8]),
        wakes: &mut Wakes<Line>,
    ) {
        let Some(socket) = self.sockets.get_mut(&port) else {
            return;
        };
        let whole = socket.fragments.entry(from).or_default();
        if let Some(data) = assemble(whole, place, data) {
            socket.fragments.remove(&from);
            self.packet(port, ReceivedPacket { from, data }, wakes);
        }
    }

    fn answer(
        &mut self,
        tag: Tag,
        (from, time): (u16, Duration),
        answer: Option<csp::ServiceAnswer>,
        wakes: &mut Wakes<Line>,
    ) {
        if let Some(question) = self.questions.get_mut(&tag)
            && question.answers.len() < MAX_ANSWERS
        {
            let answer = NodeAnswer { from, time, answer };
            question.answers.push(answer);
            wakes.all(Line::Answer(tag));
        }
    }
}

/// What handles do under the lock.
impl Core<NodePort> {
    /// Gives the machine a command, as long as the node begins anything.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        if self.is_over() || self.port.closing.is_some() {
            return Err(Error::Closed);
        }
        Ok(self.give(command)?)
    }

    pub(super) fn connect(&mut self, to: Endpoint, options: SendOptions) -> Result<Tag, Error> {
        let tag = self.port.draw_tag();
        self.command(Command::Connect { tag, to, options })?;
        self.port.opening.insert(tag, (to, None));
        Ok(tag)
    }

    pub(super) fn opened(&mut self, tag: Tag) -> Poll<Result<ConnectionId, Error>> {
        let is_over = self.is_over();
        match self.port.opening.get(&tag) {
            Some((_, Some(Ok(connection)))) => Poll::Ready(Ok(*connection)),
            Some((to, Some(Err(reason)))) => Poll::Ready(Err(Error::NotConnected {
                to: *to,
                reason: *reason,
            })),
            Some((_, None)) if !is_over => Poll::Pending,
            _ => Poll::Ready(Err(Error::Closed)),
        }
    }

    /// Forgets an attempt. A connection that nobody has taken is closed, as soon as it opens.
    pub(super) fn forget_opening(&mut self, tag: Tag, is_taken: bool) {
        let opening = self.port.opening.remove(&tag);
        if let Some((_, Some(Ok(connection)))) = opening.filter(|_| !is_taken) {
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
        for connection in socket.map(|it| it.accepted).into_iter().flatten() {
            self.forget(connection);
        }
    }

    /// Takes the oldest connection at a port that nobody has taken.
    pub(super) fn accept(&mut self, port: u8) -> Poll<Result<ConnectionId, Error>> {
        let is_over = self.is_over();
        let socket = self.port.sockets.get_mut(&port);
        match socket.and_then(|socket| socket.accepted.pop_front()) {
            Some(connection) => Poll::Ready(Ok(connection)),
            None if is_over => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    /// Takes the oldest packet at a port.
    pub(super) fn next_packet(&mut self, port: u8) -> Poll<Result<ReceivedPacket, Error>> {
        let is_over = self.is_over();
        let socket = self.port.sockets.get_mut(&port);
        match socket.and_then(|socket| socket.received.take()) {
            Some(packet) => Poll::Ready(Ok(packet)),
            None if is_over => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    /// Sends on a connection, as soon as there is room.
    pub(super) fn send(
        &mut self,
        connection: ConnectionId,
        packets: u64,
        command: Command,
    ) -> Poll<Result<(), Error>> {
        if let Some(error) = self.ended(connection) {
            return Poll::Ready(Err(error));
        }
        match self.command(command) {
            Err(Error::Refused(csp::Error::Full { .. })) => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
            Ok(()) => {}
        }
        if let Some(state) = self.port.connections.get_mut(&connection) {
            state.sent += packets;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells whether the peer has acknowledged so many packets.
    pub(super) fn acked(&self, connection: ConnectionId, packets: u64) -> Poll<Result<(), Error>> {
        let state = self.port.connections.get(&connection);
        if state.is_some_and(|it| it.acknowledged >= packets) {
            return Poll::Ready(Ok(()));
        }
        match self.ended(connection) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// Returns how many packets were sent on a connection.
    pub(super) fn sent(&self, connection: ConnectionId) -> u64 {
        let state = self.port.connections.get(&connection);
        state.map_or(0, |it| it.sent)
    }

    pub(super) fn peer(&self, connection: ConnectionId) -> Option<Endpoint> {
        let state = self.port.connections.get(&connection);
        state.map(|it| it.peer)
    }

    /// Takes the oldest packet of a connection; `None` behind the last one if the peer has closed it.
    pub(super) fn receive(
        &mut self,
        connection: ConnectionId,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        if let Some(state) = self.port.connections.get_mut(&connection)
            && let Some(data) = state.received.take()
        {
            return Poll::Ready(Ok(Some(data)));
        }
        match self.ended(connection) {
            Some(Error::Ended {
                reason: CloseReason::Closed | CloseReason::PeerClosed,
                ..
            }) => Poll::Ready(Ok(None)),
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// Closes a connection once all its packets are acknowledged.
    pub(super) fn close_connection(&mut self, connection: ConnectionId) {
        // Refused when it has ended, which is just as well.
        let _ = self.command(Command::Close(connection));
    }

    /// Tells how a connection has ended that this end has closed.
    pub(super) fn closed(&self, connection: ConnectionId) -> Poll<Result<(), Error>> {
        match self.ended(connection) {
            Some(Error::Ended {
                unacknowledged: 0, ..
            }) => Poll::Ready(Ok(())),
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    fn ended(&self, connection: ConnectionId) -> Option<Error> {
        let state = self.port.connections.get(&connection);
        match state.and_then(ConnectionState::error) {
            None if self.is_over() => Some(Error::Closed),
            error => error,
        }
    }

    /// Closes a connection whose handle is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.close_connection(connection);
        if let Some(state) = self.port.connections.get_mut(&connection) {
            state.has_handle = false;
            drop(state.received.close());
            if state.end.is_some() {
                self.port.connections.remove(&connection);
            }
        }
    }

    /// Asks something, by the command that `make` makes of a tag.
    pub(super) fn ask(&mut self, make: impl FnOnce(Tag) -> Command) -> Result<Tag, Error> {
        let tag = self.port.draw_tag();
        self.command(make(tag))?;
        self.port.questions.insert(tag, Question::default());
        Ok(tag)
    }

    /// Takes all answers, once no more will come.
    pub(super) fn answers(&mut self, tag: Tag) -> Poll<Result<Vec<NodeAnswer>, Error>> {
        let is_over = self.is_over();
        match self.port.questions.get_mut(&tag) {
            Some(question) if question.has_ended => {
                Poll::Ready(Ok(mem::take(&mut question.answers)))
            }
            Some(_) if !is_over => Poll::Pending,
            _ => Poll::Ready(Err(Error::Closed)),
        }
    }

    pub(super) fn forget_question(&mut self, tag: Tag) {
        self.port.questions.remove(&tag);
    }

    /// Takes the oldest request to a service that the application does not know of.
    pub(super) fn next_asked(&mut self) -> Poll<Result<AskedService, Error>> {
        match self.port.asked.pop_front() {
            Some(asked) => Poll::Ready(Ok(asked)),
            None if self.is_over() => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    /// Begins nothing any more, closes all connections, and ends once they are closed.
    pub(super) fn close(&mut self) {
        if self.port.closing.is_some() || self.is_over() {
            return;
        }
        let connections = self.port.connections.keys().copied();
        self.port.unwanted.extend(connections);
        self.port.closing = Some(self.now + CLOSE_LIMIT);
        self.touch();
    }

    pub(super) fn stats(&self) -> (csp::Stats, u64) {
        (self.peek().stats(), self.port.sockets_full)
    }
}
