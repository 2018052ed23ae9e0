//! What the handles of a node do under its lock.

use alloc::vec::Vec;
use core::mem;
use core::task::Poll;
use core::time::Duration;

use bytes::Bytes;

use super::port::CspCore;
use super::state::{ConnectionState, Question};
use super::{AskedService, Error, NodeAnswer, ReceivedPacket};
use crate::Tag;
use crate::adapters::driver::Rest;
use crate::csp::{self, CloseReason, Command, ConnectionId, Endpoint, SendOptions, SocketOptions};

/// How long a node that ends waits for its connections to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Returns what was taken from a queue; without anything the wait goes on, unless the node has ended.
fn taken<T>(item: Option<T>, is_over: bool) -> Poll<Result<T, Error>> {
    match item {
        Some(item) => Poll::Ready(Ok(item)),
        None if is_over => Poll::Ready(Err(Error::Closed)),
        None => Poll::Pending,
    }
}

impl dyn CspCore + '_ {
    /// Gives the machine a command, as long as the node begins anything.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        if self.is_over() || self.state().is_closing() {
            return Err(Error::Closed);
        }
        self.give_csp(command)
    }

    pub(super) fn connect(&mut self, to: Endpoint, options: SendOptions) -> Result<Tag, Error> {
        let tag = self.state().draw_tag();
        self.command(Command::Connect { tag, to, options })?;
        self.state().opening.insert(tag, (to, None));
        Ok(tag)
    }

    pub(super) fn opened(&mut self, tag: Tag) -> Poll<Result<ConnectionId, Error>> {
        let is_over = self.is_over();
        match self.state().opening.get(&tag) {
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
        let opening = self.state().opening.remove(&tag);
        if let Some((_, Some(Ok(connection)))) = opening.filter(|_| !is_taken) {
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
        for connection in socket.map(|it| it.accepted).into_iter().flatten() {
            self.forget(connection);
        }
    }

    /// Takes the oldest connection at a port that nobody has taken.
    pub(super) fn accept(&mut self, port: u8) -> Poll<Result<ConnectionId, Error>> {
        let is_over = self.is_over();
        let socket = self.state().sockets.get_mut(&port);
        taken(
            socket.and_then(|socket| socket.accepted.pop_front()),
            is_over,
        )
    }

    /// Takes the oldest packet at a port.
    pub(super) fn next_packet(&mut self, port: u8) -> Poll<Result<ReceivedPacket, Error>> {
        let is_over = self.is_over();
        let socket = self.state().sockets.get_mut(&port);
        taken(socket.and_then(|socket| socket.received.take()), is_over)
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
        if let Some(state) = self.state().connections.get_mut(&connection) {
            state.sent += packets;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells whether the peer has acknowledged so many packets.
    pub(super) fn acked(
        &mut self,
        connection: ConnectionId,
        packets: u64,
    ) -> Poll<Result<(), Error>> {
        let state = self.state().connections.get(&connection);
        if state.is_some_and(|it| it.acknowledged >= packets) {
            return Poll::Ready(Ok(()));
        }
        match self.ended(connection) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// Returns how many packets were sent on a connection.
    pub(super) fn sent(&mut self, connection: ConnectionId) -> u64 {
        let state = self.state().connections.get(&connection);
        state.map_or(0, |it| it.sent)
    }

    pub(super) fn peer(&mut self, connection: ConnectionId) -> Option<Endpoint> {
        let state = self.state().connections.get(&connection);
        state.map(|it| it.peer)
    }

    /// Takes the oldest packet of a connection; `None` behind the last one if the peer has closed it.
    pub(super) fn receive(
        &mut self,
        connection: ConnectionId,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        if let Some(state) = self.state().connections.get_mut(&connection)
            && let Some(data) = state.received.take()
        {
            self.hold_or_release(connection);
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
    pub(super) fn closed(&mut self, connection: ConnectionId) -> Poll<Result<(), Error>> {
        match self.ended(connection) {
            Some(Error::Ended {
                unacknowledged: 0, ..
            }) => Poll::Ready(Ok(())),
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    fn ended(&mut self, connection: ConnectionId) -> Option<Error> {
        let state = self.state().connections.get(&connection);
        match state.and_then(ConnectionState::error) {
            None if self.is_over() => Some(Error::Closed),
            error => error,
        }
    }

    /// Closes a connection whose handle is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.close_connection(connection);
        if let Some(state) = self.state().connections.get_mut(&connection) {
            state.has_handle = false;
            drop(state.received.close());
            if state.end.is_some() {
                self.state().connections.remove(&connection);
            }
        }
        self.hold_or_release(connection);
    }

    /// Asks something, by the command that `make` makes of a tag.
    pub(super) fn ask(&mut self, make: impl FnOnce(Tag) -> Command) -> Result<Tag, Error> {
        let tag = self.state().draw_tag();
        self.command(make(tag))?;
        self.state().questions.insert(tag, Question::default());
        Ok(tag)
    }

    /// Takes all answers, once no more will come.
    pub(super) fn answers(&mut self, tag: Tag) -> Poll<Result<Vec<NodeAnswer>, Error>> {
        let is_over = self.is_over();
        match self.state().questions.get_mut(&tag) {
            Some(question) if question.has_ended => {
                Poll::Ready(Ok(mem::take(&mut question.answers)))
            }
            Some(_) if !is_over => Poll::Pending,
            _ => Poll::Ready(Err(Error::Closed)),
        }
    }

    pub(super) fn forget_question(&mut self, tag: Tag) {
        self.state().questions.remove(&tag);
    }

    /// Takes the oldest request to a service that the application does not know of.
    pub(super) fn next_asked(&mut self) -> Poll<Result<AskedService, Error>> {
        taken(self.state().asked.pop_front(), self.is_over())
    }

    /// Holds a connection of which too much waits to be taken, and releases it once half of that is taken.
    fn hold_or_release(&mut self, connection: ConnectionId) {
        let Some(state) = self.state().connections.get_mut(&connection) else {
            return;
        };
        let is_full = !state.received.has_room();
        if is_full == mem::replace(&mut state.is_held, is_full) {
            return;
        }
        // Refused when it has ended: what came before is told anyway.
        let _ = self.give_csp(if is_full {
            Command::Hold(connection)
        } else {
            Command::Release(connection)
        });
    }

    /// Begins nothing any more, closes all connections, and ends once they are closed.
    pub(super) fn close(&mut self) {
        if self.state().is_closing() || self.is_over() {
            return;
        }
        self.shut_down();
        let until = self.now() + CLOSE_LIMIT;
        let state = self.state();
        state.unwanted.extend(state.connections.keys().copied());
        state.closing = Some(until);
        self.touch();
    }

    /// Looks after connections that nobody knows of or that are full, and after the end of the node.
    pub(in crate::adapters) fn tend(&mut self, is_idle: bool) -> Rest {
        for connection in mem::take(&mut self.state().filled) {
            self.hold_or_release(connection);
        }
        let unwanted = mem::take(&mut self.state().unwanted);
        if !unwanted.is_empty() {
            for connection in unwanted {
                // Refused when it has ended, which is just as well.
                let _ = self.give_csp(Command::Close(connection));
            }
            return Rest::Again;
        }
        let now = self.now();
        let state = self.state();
        let Some(until) = state.closing else {
            return Rest::Until(None);
        };
        let has_closed = state.connections.values().all(|it| it.end.is_some());
        if now >= until || (is_idle && has_closed) {
            return Rest::Over;
        }
        Rest::Until(Some(until))
    }
}
