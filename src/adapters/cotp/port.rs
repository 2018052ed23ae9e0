//! Who gets which event of a connection, and who waits for what.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::{ConnectionMachine, Error, Incoming};
use crate::adapters::event_loop::{Core, Port, Rest};
use crate::adapters::handle::DetachedStream;
use crate::adapters::waiters::{WaitStatus, Wakes};
use crate::cotp::{self, Command, Config, Connected, ConnectionEnd, Event, Indication};
use crate::{Instant, Machine as _, Tag};

/// What an item in the queue counts beside its octets.
const ENTRY: usize = 64;

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// The end of the handshake, or the request of the peer.
    Handshake,
    /// Something from the peer.
    Receive,
    /// Room in the machine's queue of messages not sent yet.
    Room,
    /// A flush.
    Flush,
    /// The end of the connection, or its stream.
    End,
}

/// What became of a handshake.
pub(super) enum Handshake {
    Indication(Box<Indication>),
    Connected(Box<Connected>),
}

/// Whether the application receives what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Ready,
    /// Too much waits to be received, so nothing is read.
    Behind,
    /// Nobody receives any more, and what comes is discarded.
    Gone,
}

/// The queues and the end of one connection.
pub(super) struct ConnectionPort {
    handshake: Option<Handshake>,
    received: VecDeque<Incoming>,
    /// What `received` counts.
    cost: usize,
    /// From what cost on nothing is read, until half of it is taken.
    limit: usize,
    receiver: Receiver,
    /// The machine refused a message for lack of room.
    is_full: bool,
    /// Flushes asked for, done by the machine, and with the system.
    flushes: [u64; 3],
    detached: Option<DetachedStream>,
    end: Option<Arc<ConnectionEnd>>,
    /// Nothing is driven any more.
    is_ended: bool,
    /// Somebody waits to close behind the messages that wait for room.
    is_closing: bool,
    /// When closing does not wait for them any longer.
    give_up: Option<Instant>,
    drain_timeout: Duration,
}

impl ConnectionPort {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            handshake: None,
            received: VecDeque::new(),
            cost: 0,
            limit: config.receive_queue,
            receiver: Receiver::Ready,
            is_full: false,
            flushes: [0; 3],
            detached: None,
            end: None,
            is_ended: false,
            is_closing: false,
            give_up: None,
            drain_timeout: config.drain_timeout,
        }
    }

    /// Returns how the connection ended, if it has.
    pub(super) const fn end(&self) -> Option<&Arc<ConnectionEnd>> {
        self.end.as_ref()
    }

    /// Returns the error of whatever is asked of a connection that has ended.
    pub(super) fn ended(&self) -> Option<Error> {
        match &self.end {
            Some(end) => Some(Error::Ended(Arc::clone(end))),
            None => self.is_ended.then_some(Error::Closed),
        }
    }

    /// Tells a refusal by the end, if there is one: the machine only knows that it is closed.
    fn refused(&self, error: cotp::Error) -> Error {
        match self.ended() {
            Some(ended) if error == cotp::Error::Closed => ended,
            _ => Error::Refused(error),
        }
    }

    /// Takes what became of the handshake.
    pub(super) fn poll_handshake(&mut self) -> Poll<Result<Handshake, Error>> {
        match (self.handshake.take(), self.ended()) {
            (Some(handshake), _) => Poll::Ready(Ok(handshake)),
            (None, Some(error)) => Poll::Ready(Err(error)),
            (None, None) => Poll::Pending,
        }
    }

    /// Takes the next thing from the peer; `None` at a clean end.
    pub(super) fn poll_incoming(&mut self) -> Poll<Result<Option<Incoming>, Error>> {
        if let Some(incoming) = self.received.pop_front() {
            self.cost -= cost_of(&incoming);
            if self.receiver == Receiver::Behind && self.cost <= self.limit / 2 {
                self.receiver = Receiver::Ready;
            }
            return Poll::Ready(Ok(Some(incoming)));
        }
        match (&self.end, self.ended()) {
            (Some(end), _) if end.is_clean() => Poll::Ready(Ok(None)),
            (_, Some(error)) => Poll::Ready(Err(error)),
            (_, None) => Poll::Pending,
        }
    }

    /// Discards what comes from here on. What is there already is to be dropped outside the lock.
    pub(super) fn discard(&mut self) -> VecDeque<Incoming> {
        self.receiver = Receiver::Gone;
        self.cost = 0;
        core::mem::take(&mut self.received)
    }

    /// Takes the stream, once everything is written and the machine is done.
    pub(super) fn poll_detached(&mut self) -> Poll<Result<DetachedStream, Error>> {
        match self.detached.take() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None if self.is_ended => Poll::Ready(Err(self.ended().unwrap_or(Error::Closed))),
            None => Poll::Pending,
        }
    }

    /// Waits until nothing is driven any more.
    pub(super) fn poll_end(&self) -> Poll<Result<(), Error>> {
        match (&self.end, self.is_ended) {
            (_, false) => Poll::Pending,
            (Some(end), true) if end.is_clean() => Poll::Ready(Ok(())),
            (_, true) => Poll::Ready(Err(self.ended().unwrap_or(Error::Closed))),
        }
    }

    fn receive(&mut self, incoming: Incoming, wakes: &mut Wakes<Line>) {
        if self.receiver == Receiver::Gone {
            return;
        }
        self.cost += cost_of(&incoming);
        if self.cost >= self.limit {
            self.receiver = Receiver::Behind;
        }
        self.received.push_back(incoming);
        wakes.first(Line::Receive);
    }
}

/// Gives a message to the machine once those before it were accepted and there is room.
pub(super) fn poll_send(
    core: &mut Core<ConnectionPort>,
    now: Instant,
    place: WaitStatus,
    command: &Command,
) -> Poll<Result<(), Error>> {
    if let Some(error) = core.port.ended() {
        return Poll::Ready(Err(error));
    }
    if !place.is_first || core.port.is_full {
        return Poll::Pending;
    }
    match core.machine().command(now, command.clone()) {
        Err(cotp::Error::Full { .. }) => {
            core.port.is_full = true;
            Poll::Pending
        }
        outcome => Poll::Ready(outcome.map_err(|error| core.port.refused(error))),
    }
}

/// Gives a command to the machine at once.
pub(super) fn command(
    core: &mut Core<ConnectionPort>,
    now: Instant,
    command: Command,
) -> Result<(), Error> {
    let outcome = core.machine().command(now, command);
    outcome.map_err(|error| core.port.refused(error))
}

/// Closes behind the messages that wait for room, or without them if there is none in time.
pub(super) fn poll_close(
    core: &mut Core<ConnectionPort>,
    now: Instant,
    place: WaitStatus,
) -> Poll<Result<(), Error>> {
    let port = &mut core.port;
    if port.ended().is_some() {
        return Poll::Ready(Ok(()));
    }
    if !place.is_first || port.is_full {
        if !port.is_closing {
            port.is_closing = true;
            // For the deadline.
            core.touch();
        }
        return Poll::Pending;
    }
    Poll::Ready(command(core, now, Command::Close))
}

/// Asks for a flush at the first call, and waits for it. `ticket` is its number.
pub(super) fn poll_flush(
    core: &mut Core<ConnectionPort>,
    now: Instant,
    ticket: &mut Option<u64>,
) -> Poll<Result<(), Error>> {
    let [asked, _, flushed] = core.port.flushes;
    if ticket.is_some_and(|ticket| ticket <= flushed) {
        return Poll::Ready(Ok(()));
    }
    match core.port.end() {
        // An end behind the last octet takes nothing away.
        Some(end) if end.unsent == 0 => return Poll::Ready(Ok(())),
        _ => {}
    }
    if let Some(error) = core.port.ended() {
        return Poll::Ready(Err(error));
    }
    if ticket.is_none() {
        match core.machine().command(now, Command::Flush(Tag(asked + 1))) {
            Ok(()) => {
                core.port.flushes[0] = asked + 1;
                *ticket = Some(asked + 1);
            }
            // Others are under way; the first of them to be done calls.
            Err(cotp::Error::Flushes { .. }) => {}
            Err(error) => return Poll::Ready(Err(core.port.refused(error))),
        }
    }
    Poll::Pending
}

impl Port for ConnectionPort {
    type Machine = ConnectionMachine;
    type Line = Line;

    fn deliver(&mut self, event: Event, wakes: &mut Wakes<Line>) {
        match event {
            Event::Indication(indication) => {
                self.handshake = Some(Handshake::Indication(indication));
                wakes.first(Line::Handshake);
            }
            Event::Connected(connected) => {
                self.handshake = Some(Handshake::Connected(connected));
                wakes.first(Line::Handshake);
            }
            Event::Received(octets) => self.receive(Incoming::Message(octets), wakes),
            Event::Expedited(octets) => self.receive(Incoming::Expedited(octets), wakes),
            Event::NonTpkt(first) => self.receive(Incoming::NonTpkt(first), wakes),
            Event::Room => {
                self.is_full = false;
                self.give_up = None;
                wakes.first(Line::Room);
            }
            Event::Flushed(tag) => self.flushes[1] = tag.0,
            Event::Failed(end) | Event::Closed(end) => {
                self.end = Some(Arc::from(end));
                wakes.everybody();
            }
        }
    }

    fn has_room(&self) -> bool {
        self.receiver != Receiver::Behind
    }

    fn flushed(&mut self, wakes: &mut Wakes<Line>) {
        let [_, done, flushed] = &mut self.flushes;
        if flushed != done {
            *flushed = *done;
            wakes.all(Line::Flush);
        }
    }

    fn detached(&mut self, stream: DetachedStream, wakes: &mut Wakes<Line>) {
        self.detached = Some(stream);
        wakes.first(Line::End);
    }

    fn tend(
        &mut self,
        machine: &mut ConnectionMachine,
        now: Instant,
        _: bool,
        wakes: &mut Wakes<Line>,
    ) -> Rest {
        if !(self.is_closing && self.is_full) {
            return Rest::Until(None);
        }
        let give_up = *self.give_up.get_or_insert(now + self.drain_timeout);
        if now < give_up {
            return Rest::Until(Some(give_up));
        }
        // What the machine accepted has its own time to be sent.
        let _ = machine.command(now, Command::Close);
        self.is_full = false;
        wakes.all(Line::Room);
        Rest::Again
    }

    fn end(&mut self, machine: &mut ConnectionMachine, _: io::Result<()>) {
        machine.finish();
        // What broke the stream is known to the machine, which says it in words of its own.
        self.is_ended = true;
    }
}

fn cost_of(incoming: &Incoming) -> usize {
    match incoming {
        Incoming::Message(octets) | Incoming::Expedited(octets) => octets.len() + ENTRY,
        Incoming::NonTpkt(_) => ENTRY,
    }
}
