//! Who gets which event of a connection, and who waits for what.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::mem;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::shares::{Key, Shares, key};
use super::{ConnectionMachine, Error, Incoming};
use crate::adapters::driver::{Core, DetachedStream, Port, ReceiveQueue, Rest, Shared, WaitStatus};
use crate::cotp::{self, Command, Config, ConnectionEnd, EndReason, Event};
use crate::{Instant, Tag};

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

/// Octets of unfinished messages that all connections under the same limit may hold together. Clones are one limit.
///
/// Where they would hold more, a connection is closed: of the host that holds most, the one whose message has not grown
/// for longest.
/// Less than 4 KiB of a connection do not count; of IPv6, 56 bits of the address count as a host.
#[derive(Clone, derive_more::Debug)]
#[debug("ReassemblyLimit({})", _0.limit)]
pub struct ReassemblyLimit(pub(super) Arc<Shares<Weak<Shared<ConnectionPort>>>>);

impl ReassemblyLimit {
    /// Returns a limit of so many octets.
    #[must_use]
    pub fn new(octets: usize) -> Self {
        Self(Arc::new(Shares::new(octets)))
    }

    /// Returns the octets that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.total()
    }
}

impl Default for ReassemblyLimit {
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

/// In what steps the memory of a connection is counted. Most messages are whole before the first.
const STEP: usize = 4096;

/// What a connection holds under a [`ReassemblyLimit`].
pub(super) struct Share {
    limit: ReassemblyLimit,
    key: Key,
    held: usize,
    /// The connection.
    pub(super) member: Weak<Shared<ConnectionPort>>,
}

impl Share {
    pub(super) fn new(limit: &ReassemblyLimit, remote: SocketAddr) -> Self {
        Self {
            limit: limit.clone(),
            key: key(remote),
            held: 0,
            member: Weak::new(),
        }
    }

    fn hold(&mut self, octets: usize) {
        let held = octets - octets % STEP;
        if mem::replace(&mut self.held, held) == held {
            return;
        }
        let shares = &self.limit.0;
        if held == 0 {
            return shares.release(self.key);
        }
        let displaced = shares.hold(&mut self.key, held, Weak::clone(&self.member));
        if let Some(displaced) = displaced.and_then(|member| member.upgrade()) {
            let (limit, runtime) = (shares.limit, Arc::clone(displaced.runtime()));
            // Outside of this connection's lock, which the other one may wait for.
            runtime.spawn(Box::pin(async move {
                displaced.displace("octets of unfinished messages", limit);
            }));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}

impl Shared<ConnectionPort> {
    /// Closes the connection at once, in favour of others.
    pub(super) fn displace(&self, shared: &'static str, limit: usize) {
        let reason = EndReason::Displaced { shared, limit };
        // One that panicked has no reason.
        let _ = self.with(|core| {
            let end = ConnectionEnd {
                reason,
                incomplete: core.peek().unfinished(),
                unsent: 0,
            };
            core.port.end.get_or_insert_with(|| Arc::new(end));
        });
        self.abort();
    }
}

/// The queues and the end of one connection.
pub(super) struct ConnectionPort {
    pub(super) share: Share,
    /// Connections of the same listener that were not taken yet.
    untaken: Option<Arc<AtomicUsize>>,
    /// What became of the handshake: [`Event::Indication`] or [`Event::Connected`].
    handshake: Option<Event>,
    /// What came from the peer.
    pub(super) received: ReceiveQueue<Incoming>,
    /// Flushes asked for, done by the machine, and with the system.
    flushes: [u64; 3],
    detached: Option<DetachedStream>,
    end: Option<Arc<ConnectionEnd>>,
    /// When closing does not wait any longer for the messages that wait for room.
    give_up: Option<Instant>,
    drain_timeout: Duration,
}

impl ConnectionPort {
    pub(super) fn new(config: &Config, share: Share, untaken: Option<Arc<AtomicUsize>>) -> Self {
        Self {
            share,
            untaken,
            handshake: None,
            received: ReceiveQueue::new(config.limits.receive_queue),
            flushes: [0; 3],
            detached: None,
            end: None,
            give_up: None,
            drain_timeout: config.timers.drain_timeout,
        }
    }
}

/// What handles wait for.
type Polled<T> = Poll<Result<T, Error>>;

/// What handles do under the lock.
impl Core<ConnectionPort> {
    /// Refuses whatever is asked of a connection that has ended.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.port.end {
            Some(end) => Err(Error::Ended(Arc::clone(end))),
            None if self.is_ended() => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Waits for the end, unless there is something.
    fn or_ended<T>(&self, found: Option<T>) -> Polled<T> {
        if let Some(found) = found {
            return Poll::Ready(Ok(found));
        }
        self.check()?;
        Poll::Pending
    }

    fn receive(&mut self, incoming: Incoming) {
        let octets = match &incoming {
            Incoming::Message(octets) | Incoming::Expedited(octets) => octets.len(),
            Incoming::NonTpkt(_) => 0,
        };
        self.port.received.put(incoming, octets + ENTRY);
        self.wakes.first(Line::Receive);
    }

    fn is_clean(&self) -> bool {
        self.port.end.as_ref().is_some_and(|end| end.is_clean())
    }

    /// Takes what became of the handshake.
    pub(super) fn poll_handshake(&mut self) -> Polled<Event> {
        let handshake = self.port.handshake.take();
        self.or_ended(handshake)
    }

    /// Takes the next thing from the peer; `None` at a clean end.
    pub(super) fn poll_incoming(&mut self) -> Polled<Option<Incoming>> {
        match self.port.received.take() {
            None if self.is_clean() => Poll::Ready(Ok(None)),
            incoming => self.or_ended(incoming).map_ok(Some),
        }
    }

    /// Takes the stream, once everything is written and the machine is done.
    pub(super) fn poll_detached(&mut self) -> Polled<DetachedStream> {
        match self.port.detached.take() {
            None if !self.is_ended() => Poll::Pending,
            stream => self.or_ended(stream),
        }
    }

    /// Waits until the connection has ended.
    pub(super) fn poll_closed(&self) -> Polled<Arc<ConnectionEnd>> {
        let end = self.port.end.clone();
        self.or_ended(end)
    }

    /// Waits until nothing is driven any more.
    pub(super) fn poll_end(&self) -> Polled<()> {
        if !self.is_ended() {
            return Poll::Pending;
        }
        self.or_ended(self.is_clean().then_some(()))
    }

    /// Gives a command to the machine at once.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        let given = self.give(command);
        given.map_err(|error| match self.check() {
            // The machine only knows that it is closed.
            Err(ended) if error == cotp::Error::Closed => ended,
            _ => Error::Refused(error),
        })
    }

    /// Gives a message to the machine once those before it were accepted and there is room.
    pub(super) fn poll_send(&mut self, place: WaitStatus, command: &Command) -> Polled<()> {
        self.check()?;
        if !place.is_first {
            return Poll::Pending;
        }
        match self.command(command.clone()) {
            Err(Error::Refused(cotp::Error::Full { .. })) => Poll::Pending,
            outcome => {
                // The peer reads on.
                self.port.give_up = self
                    .port
                    .give_up
                    .map(|_| self.now + self.port.drain_timeout);
                Poll::Ready(outcome)
            }
        }
    }

    /// Closes behind the messages that wait for room, or without them if there is none in time.
    pub(super) fn poll_close(&mut self, place: WaitStatus) -> Polled<()> {
        if self.check().is_err() {
            return Poll::Ready(Ok(()));
        }
        if place.is_first {
            return Poll::Ready(self.command(Command::Close));
        }
        let give_up = self.now + self.port.drain_timeout;
        self.port.give_up.get_or_insert(give_up);
        // For the deadline.
        self.touch();
        Poll::Pending
    }

    /// Asks for a flush at the first call, and waits for it. `ticket` is its number.
    pub(super) fn poll_flush(&mut self, ticket: &mut Option<u64>) -> Polled<()> {
        let [asked, _, flushed] = self.port.flushes;
        // An end behind the last octet takes nothing away.
        let is_empty = self.port.end.as_ref().is_some_and(|end| end.unsent == 0);
        if is_empty || ticket.is_some_and(|ticket| ticket <= flushed) {
            return Poll::Ready(Ok(()));
        }
        self.check()?;
        if ticket.is_none() {
            match self.command(Command::Flush(Tag(asked + 1))) {
                Ok(()) => {
                    self.port.flushes[0] = asked + 1;
                    *ticket = Some(asked + 1);
                }
                // Others are under way; the first of them to be done calls.
                Err(Error::Refused(cotp::Error::Flushes { .. })) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }
}

impl Port for ConnectionPort {
    type Machine = ConnectionMachine;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: Event) {
        match event {
            Event::Indication(_) | Event::Connected(_) => {
                if let Some(untaken) = core.port.untaken.take() {
                    untaken.fetch_add(1, Ordering::Relaxed);
                }
                core.port.handshake = Some(event);
                core.wakes.first(Line::Handshake);
            }
            Event::Received(octets) => core.receive(Incoming::Message(octets)),
            Event::Expedited(octets) => core.receive(Incoming::Expedited(octets)),
            Event::NonTpkt(first) => core.receive(Incoming::NonTpkt(first)),
            Event::Room => core.wakes.first(Line::Room),
            Event::Flushed(tag) => core.port.flushes[1] = tag.0,
            Event::Failed(end) | Event::Closed(end) => {
                core.port.end = Some(Arc::from(end));
                core.wakes.everybody();
            }
        }
    }

    fn has_room(&self) -> bool {
        self.received.has_room()
    }

    fn flushed(core: &mut Core<Self>) {
        let [_, done, flushed] = &mut core.port.flushes;
        if mem::replace(flushed, *done) != *done {
            core.wakes.all(Line::Flush);
        }
    }

    fn detached(core: &mut Core<Self>, stream: DetachedStream) {
        core.port.detached = Some(stream);
        core.wakes.first(Line::End);
    }

    fn tend(core: &mut Core<Self>, _: bool) -> Rest {
        let unread = core.peek().unread_memory();
        core.port.share.hold(unread);
        let is_awaited = !core.wakes.is_empty(Line::Room);
        let give_up = core.port.give_up.filter(|_| is_awaited);
        core.port.give_up = give_up.filter(|give_up| core.now < *give_up);
        if core.port.give_up == give_up {
            return Rest::Until(give_up);
        }
        // What the machine accepted has its own time to be sent.
        let _ = core.give(Command::Close);
        core.wakes.all(Line::Room);
        Rest::Again
    }

    fn end(&mut self, machine: &mut ConnectionMachine, _: io::Result<()>) {
        self.share.hold(0);
        // What broke the stream is known to the machine, which says it in words of its own.
        machine.finish();
    }
}
