//! A connection as an application holds it.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::net::TcpStream;

use bytes::Bytes;

use super::opening::{LastWord, Overheard, ended, refused};
use crate::Tag;
use crate::adapters::blocking::stream::{Events, Handle};
use crate::adapters::cotp::{Ends, Error, Incoming, Info, Side, is_clean};
use crate::adapters::{CommandError, Detached};
use crate::cotp::{self, Command, Connected, Event};

/// An open connection; messages go both ways.
///
/// Dropping it, or both its halves, sends what was accepted and closes it.
#[derive(Debug)]
pub struct Connection {
    sender: SendHalf,
    receiver: ReceiveHalf,
}

impl Connection {
    pub(super) fn new(link: Link, events: Events<Overheard>) -> Self {
        Self {
            sender: SendHalf { link: link.clone() },
            receiver: ReceiveHalf { events, link },
        }
    }

    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        self.sender.info()
    }

    /// Sends a message; see [`SendHalf::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send(message)
    }

    /// Sends 1 to 16 octets ahead of the messages that wait.
    ///
    /// # Errors
    ///
    /// Expedited data were not agreed on, have another length, or the connection ended.
    pub fn send_expedited(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send_expedited(message)
    }

    /// Waits for a message; see [`ReceiveHalf::receive`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        self.receiver.receive()
    }

    /// Waits for a message, but for a limited time; see [`ReceiveHalf::receive_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_timeout(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        self.receiver.receive_timeout(limit)
    }

    /// Waits for whatever comes; see [`ReceiveHalf::incoming`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn incoming(&mut self) -> Result<Option<Incoming>, Error> {
        self.receiver.incoming()
    }

    /// Waits until everything sent so far is with the system.
    ///
    /// # Errors
    ///
    /// The connection ended before that.
    pub fn flush(&self) -> Result<(), Error> {
        self.sender.flush()
    }

    /// Reads on after [`AfterHandshake::Pause`](cotp::AfterHandshake::Pause).
    ///
    /// # Errors
    ///
    /// Nothing is paused, or the connection ended.
    pub fn resume(&self) -> Result<(), Error> {
        self.sender.link.command(Command::Resume)
    }

    /// Sends what was accepted, then ends the connection and waits until the peer did too.
    ///
    /// What the peer still sends is discarded.
    ///
    /// # Errors
    ///
    /// The connection ended in another way, or not everything could be sent.
    pub fn close(self) -> Result<(), Error> {
        drop(self.receiver);
        self.sender.close()
    }

    /// Takes the TCP stream, with the octets of it that were read too far, once everything sent so far is
    /// with the system: RDP turns to TLS after the handshake.
    ///
    /// Messages that came before can still be received. It may take a quarter of a second, as a read that
    /// waits for the peer cannot be called off at once.
    ///
    /// # Errors
    ///
    /// Part of a message has come, which would be lost; the connection goes on then. Or it has ended.
    pub fn take_over(&mut self) -> Result<Detached<TcpStream>, Error> {
        let link = &self.sender.link;
        let outcome = link.handle.command_last(Command::Detach(link.tag()));
        outcome.map_err(|error| link.refused(error))?;
        self.receiver.events.handed().ok_or_else(|| link.ended())
    }

    /// Parts the connection in two, for threads of their own.
    #[must_use]
    pub fn split(self) -> (SendHalf, ReceiveHalf) {
        (self.sender, self.receiver)
    }
}

/// What both halves of a connection know.
#[derive(Clone)]
pub(super) struct Link {
    handle: Handle<Overheard>,
    end: LastWord,
    info: Arc<Info>,
    tags: Arc<AtomicU64>,
}

impl Link {
    pub(super) fn new(
        handle: Handle<Overheard>,
        end: LastWord,
        (side, ends): (Side, Ends),
        agreed: Connected,
    ) -> Self {
        Self {
            handle,
            end,
            info: Arc::new(Info::new(side, ends, agreed)),
            tags: Arc::default(),
        }
    }

    fn ended(&self) -> Error {
        ended(&self.end)
    }

    fn refused(&self, error: CommandError<cotp::Error>) -> Error {
        refused(error, &self.end)
    }

    fn tag(&self) -> Tag {
        Tag(self.tags.fetch_add(1, Ordering::Relaxed))
    }

    fn is_clean(&self) -> bool {
        self.end.get().is_some_and(|end| is_clean(end))
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        let outcome = self.handle.command(command);
        outcome.map_err(|error| self.refused(error))
    }

    fn command_when_room(&self, command: &Command) -> Result<(), Error> {
        let is_full = |error: &cotp::Error| matches!(error, cotp::Error::Full { .. });
        let outcome = self.handle.command_when(command, is_full);
        outcome.map_err(|error| self.refused(error))
    }
}

/// The sending half of a connection. Clones share it.
#[derive(Clone)]
pub struct SendHalf {
    link: Link,
}

impl SendHalf {
    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.link.info
    }

    /// Sends a message, and waits for room in the queue of those not sent yet.
    ///
    /// Messages keep their order. That one was accepted does not mean that it was sent: what ends the
    /// connection is told by the next call, and [`flush`](Self::flush) waits until the system has it all.
    ///
    /// While more messages wait to be received than the configuration's receive queue holds, nothing is
    /// accepted: who sends must also receive, or drop the receiving half.
    ///
    /// # Errors
    ///
    /// The message is empty or too long for the queue, or the connection ended.
    pub fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.link.command_when_room(&Command::Send(message.into()))
    }

    /// Sends 1 to 16 octets ahead of the messages that wait.
    ///
    /// # Errors
    ///
    /// Expedited data were not agreed on, have another length, or the connection ended.
    pub fn send_expedited(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.link
            .command_when_room(&Command::SendExpedited(message.into()))
    }

    /// Waits until everything sent so far is with the system.
    ///
    /// # Errors
    ///
    /// The connection ended before that.
    pub fn flush(&self) -> Result<(), Error> {
        let tag = self.link.tag();
        let outcome = self.link.handle.ask(Command::Flush(tag), tag);
        outcome.map_err(|error| self.link.refused(error))
    }

    /// Sends what was accepted, then ends the connection and waits until the peer did too.
    ///
    /// # Errors
    ///
    /// The connection ended in another way, or not everything could be sent.
    pub fn close(self) -> Result<(), Error> {
        match self.link.handle.command_last(Command::Close) {
            Ok(()) | Err(CommandError::Gone) => {}
            Err(error @ CommandError::Refused(_)) => return Err(self.link.refused(error)),
        }
        self.link.handle.wait();
        if self.link.is_clean() {
            Ok(())
        } else {
            Err(self.link.ended())
        }
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}

/// The receiving half of a connection. Once it is dropped, what comes is discarded.
pub struct ReceiveHalf {
    events: Events<Overheard>,
    link: Link,
}

impl ReceiveHalf {
    /// Returns both addresses, both selectors and the TPDU size.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.link.info
    }

    /// Waits for a message; `None` when the connection was closed in good order.
    ///
    /// Expedited data, if agreed on, come as messages too; [`incoming`](Self::incoming) tells them apart.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] says why the connection broke; [`Error::NonTpkt`] offers the stream.
    pub fn receive(&mut self) -> Result<Option<Bytes>, Error> {
        message_of(self.incoming()?)
    }

    /// Waits for a message, at most for `limit`.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), and [`Error::Io`] of the kind `TimedOut` when nothing came.
    pub fn receive_timeout(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        message_of(self.incoming_timeout(limit)?)
    }

    /// Waits for whatever comes; `None` when the connection was closed in good order.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] says why the connection broke.
    pub fn incoming(&mut self) -> Result<Option<Incoming>, Error> {
        match self.events.event() {
            Some(event) => self.incoming_of(event),
            None => self.nothing_more(),
        }
    }

    /// Waits for whatever comes, at most for `limit`.
    ///
    /// # Errors
    ///
    /// As [`incoming`](Self::incoming), and [`Error::Io`] of the kind `TimedOut` when nothing came.
    pub fn incoming_timeout(&mut self, limit: Duration) -> Result<Option<Incoming>, Error> {
        match self.events.event_timeout(limit) {
            Some(event) => self.incoming_of(event),
            None if self.events.is_over() => self.nothing_more(),
            None => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    fn incoming_of(&self, event: Event) -> Result<Option<Incoming>, Error> {
        match event {
            Event::Received(octets) => Ok(Some(Incoming::Message(octets))),
            Event::Expedited(octets) => Ok(Some(Incoming::Expedited(octets))),
            Event::NonTpkt(first) => Ok(Some(Incoming::NonTpkt(first))),
            // Of an open connection there is nothing else left but the end.
            _ => self.nothing_more(),
        }
    }

    fn nothing_more(&self) -> Result<Option<Incoming>, Error> {
        if self.link.is_clean() {
            Ok(None)
        } else {
            Err(self.link.ended())
        }
    }
}

fn message_of(incoming: Option<Incoming>) -> Result<Option<Bytes>, Error> {
    match incoming {
        Some(Incoming::Message(octets) | Incoming::Expedited(octets)) => Ok(Some(octets)),
        Some(Incoming::NonTpkt(first)) => Err(Error::NonTpkt(first)),
        None => Ok(None),
    }
}

impl fmt::Debug for ReceiveHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf")
            .field("info", self.info())
            .finish_non_exhaustive()
    }
}
