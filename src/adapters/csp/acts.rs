//! What the handles of a node do under its lock.

use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;

use bytes::Bytes;

use super::port::CspCore;
use super::state::Question;
use super::{AskedService, Error, NodeAnswer, ReceivedPacket};
use crate::adapters::driver::Rest;
use crate::csp::{self, CloseReason, Command, ConnectionId, Endpoint, SendOptions, SocketOptions};
use crate::{Instant, Tag};

/// How long a node that ends waits for its connections to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// What handles wait for.
type Polled<T> = Poll<Result<T, Error>>;

impl dyn CspCore + '_ {
    /// Gives the machine a command, as long as the node begins anything.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        if self.is_over() || self.state().is_closing() {
            return Err(Error::Closed);
        }
        self.give_csp(command)
    }

    /// Is ready with what was found, or once the node has ended.
    fn found<T>(&self, found: Option<T>) -> Polled<T> {
        match found {
            Some(found) => Poll::Ready(Ok(found)),
            None if self.is_over() => Poll::Ready(Err(Error::Closed)),
            None => Poll::Pending,
        }
    }

    pub(super) fn connect(&mut self, to: Endpoint, options: SendOptions) -> Result<Tag, Error> {
        let tag = self.state().draw_tag();
        self.command(Command::Connect { tag, to, options })?;
        self.state().opening.insert(tag, (to, None));
        Ok(tag)
    }

    /// Takes a connection once it has opened.
    pub(super) fn opened(&mut self, tag: Tag) -> Polled<ConnectionId> {
        let Some((to, Some(outcome))) = self.state().opening.get(&tag).copied() else {
            return self.found(None);
        };
        self.state().opening.remove(&tag);
        Poll::Ready(outcome.map_err(|reason| Error::NotConnected { to, reason }))
    }

    /// Forgets an attempt. A connection that nobody has taken is closed, as soon as it opens.
    pub(super) fn forget_opening(&mut self, tag: Tag) {
        if let Some((_, Some(Ok(connection)))) = self.state().opening.remove(&tag) {
            self.forget(connection);
        }
    }

    pub(super) fn bind(&mut self, port: u8, options: SocketOptions) -> Result<(), Error> {
        self.command(Command::Bind { port, options })?;
        self.state().add_socket(port);
        Ok(())
    }

    pub(super) fn unbind(&mut self, port: u8) {
        // It is bound, unless the node has ended.
        let _ = self.command(Command::Unbind(port));
        let socket = self.state().sockets.remove(&port);
        for (connection, _) in socket.into_iter().flat_map(|it| it.accepted) {
            self.forget(connection);
        }
    }

    /// Takes the oldest connection at a port that nobody has taken, with its peer.
    pub(super) fn accept(&mut self, port: u8) -> Polled<(ConnectionId, Endpoint)> {
        let socket = self.state().sockets.get_mut(&port);
        let accepted = socket.and_then(|it| it.accepted.pop_front());
        self.found(accepted)
    }

    /// Takes the oldest packet at a port.
    pub(super) fn next_packet(&mut self, port: u8) -> Polled<ReceivedPacket> {
        let socket = self.state().sockets.get_mut(&port);
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
        if let Some(state) = self.state().connections.get_mut(&id) {
            state.sent += packets;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells whether the peer has acknowledged so many packets.
    pub(super) fn acked(&mut self, id: ConnectionId, packets: u64) -> Polled<()> {
        let state = self.state().connections.get(&id);
        if state.is_some_and(|it| it.acknowledged >= packets) {
            return Poll::Ready(Ok(()));
        }
        self.open(id)?;
        Poll::Pending
    }

    /// Returns how many packets were sent on a connection.
    pub(super) fn sent(&mut self, id: ConnectionId) -> u64 {
        self.state().connections.get(&id).map_or(0, |it| it.sent)
    }

    /// Takes the oldest packet of a connection; `None` behind the last one if the peer has closed it.
    pub(super) fn receive(&mut self, id: ConnectionId) -> Polled<Option<Bytes>> {
        use CloseReason::{Closed, PeerClosed};
        let state = self.state().connections.get_mut(&id);
        if let Some(data) = state.and_then(|it| it.received.take()) {
            self.hold_or_release(id);
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
        let _ = self.give_csp(Command::Close(id));
    }

    /// Tells how a connection has ended that this end has closed.
    pub(super) fn closed(&mut self, id: ConnectionId) -> Polled<()> {
        match self.open(id) {
            Ok(()) => Poll::Pending,
            Err(Error::Ended {
                unacknowledged: 0, ..
            }) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Tells how a connection has ended, if it has.
    fn open(&mut self, id: ConnectionId) -> Result<(), Error> {
        let state = self.state().connections.get(&id);
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
        if let Some(state) = self.state().connections.get_mut(&id) {
            state.has_handle = false;
            drop(state.received.close());
        }
        self.hold_or_release(id);
        self.state().forget_ended(id);
    }

    /// Asks something, by the command that `make` makes of a tag.
    pub(super) fn ask(&mut self, make: impl FnOnce(Tag) -> Command) -> Result<Tag, Error> {
        let tag = self.state().draw_tag();
        self.command(make(tag))?;
        self.state().questions.insert(tag, Question::default());
        Ok(tag)
    }

    /// Takes all answers, once no more will come.
    pub(super) fn answers(&mut self, tag: Tag) -> Polled<Vec<NodeAnswer>> {
        let question = self.state().questions.get_mut(&tag);
        let ended = question.filter(|it| it.has_ended);
        let answers = ended.map(|it| mem::take(&mut it.answers));
        self.found(answers)
    }

    pub(super) fn forget_question(&mut self, tag: Tag) {
        self.state().questions.remove(&tag);
    }

    /// Takes the oldest request to a service that the application does not know of.
    pub(super) fn next_asked(&mut self) -> Polled<AskedService> {
        let asked = self.state().asked.pop_front();
        self.found(asked)
    }

    /// Holds a connection of which too much waits to be taken, and releases it once half of that is taken.
    pub(super) fn hold_or_release(&mut self, id: ConnectionId) {
        let Some(state) = self.state().connections.get_mut(&id) else {
            return;
        };
        let is_full = !state.received.has_room();
        if is_full == mem::replace(&mut state.is_held, is_full) {
            return;
        }
        // Refused when it has ended: what came before is told anyway.
        let _ = self.give_csp(if is_full {
            Command::Hold(id)
        } else {
            Command::Release(id)
        });
    }

    /// Begins nothing any more, closes all connections, and ends once they are closed.
    pub(in crate::adapters) fn close(&mut self, now: Instant) {
        if self.state().is_closing() || self.is_over() {
            return;
        }
        self.state().closing = Some(now + CLOSE_LIMIT);
        let connections: Vec<_> = self.state().connections.keys().copied().collect();
        for connection in connections {
            self.close_connection(connection);
        }
    }

    /// Looks after the end of the node.
    pub(in crate::adapters) fn tend(&mut self, now: Instant, is_idle: bool) -> Rest {
        let state = self.state();
        let has_closed = is_idle && state.connections.values().all(|it| it.end.is_some());
        match state.closing {
            Some(until) if has_closed || now >= until => Rest::Over,
            until => Rest::Until(until),
        }
    }
}
