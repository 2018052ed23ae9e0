//! One socket of a machine: what it sends and keeps, what a look at it brings, and how it ends.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::num::NonZeroUsize;
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::cause::{cause_of, cause_of_connect};
use super::event_loop::Turn;
use super::handle::DetachedStream;
use super::runtime::{ByteStream, Source};
use super::scratch;
use super::sockets::SocketCounters;
use crate::{Addr, Instant, Link, Machine, Tag, Transmit};

/// How long the last octets of a stream are waited for that cannot be written to any more. The runtime may
/// hear later than the writer that a TCP connection was reset; other streams may never end.
const LAST_OCTETS: Duration = Duration::from_secs(1);

/// Datagrams read from one socket before other sockets get their turn.
const DATAGRAMS: usize = 64;

/// How long a listener waits after an error such as a lack of files, which would come again at once.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Carries whole datagrams or packets. Errors of sending are counted by it and end nothing.
pub(super) trait DatagramIo<A>: Send {
    /// Sends what of `tx` lies behind its first `sent` datagrams, moves `sent` on, and sets it to 0 once
    /// nothing is left. `Pending` means that it is full; the waker is called once it takes more.
    fn poll_send(&mut self, cx: &mut Context<'_>, tx: &Transmit<A>, sent: &mut usize) -> Poll<()>;

    /// Receives what one system call gives and shows it to `each`: the sender, datagrams back to back, and
    /// the length of all but the last. Returns the number of datagrams.
    ///
    /// # Errors
    ///
    /// The system's own, when the socket is not usable.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(A, &[u8], NonZeroUsize),
    ) -> Poll<io::Result<usize>>;
}

/// What a socket is made of.
pub(super) enum Kind<A> {
    Datagrams(Box<dyn DatagramIo<A>>, Arc<SocketCounters>),
    Stream(Box<dyn ByteStream>),
    Listener(Box<dyn Source>, Arc<SocketCounters>),
}

/// A socket, and what is still to be done with it.
///
/// What a send leaves is kept, and the machine hears `Full` and writes nothing more, so it is never more than
/// one `Transmit`.
pub(crate) struct Socket<A> {
    /// Its address to the machine.
    pub(super) at: A,
    /// The octets of the receive buffer for datagrams; 0 if there is none, or it is not known.
    pub(super) receive_buffer: usize,
    kind: Kind<A>,
    stage: Stage,
    /// The send that would have blocked, and how much of it is gone: datagrams, or octets of a stream.
    rest: Option<Box<(Transmit<A>, usize)>>,
    /// FIN was sent.
    is_shut: bool,
    /// The peer's FIN was read.
    has_ended: bool,
    /// Why nothing can be written any more. The machine hears of it once the last octet was read: a peer
    /// that refuses and closes would otherwise be known by its RST, and not by its reason.
    broken: Option<Box<Broken>>,
    /// When it is to be looked at again at the latest.
    pub(super) deadline: Option<Instant>,
    /// How long a socket that is to be closed waits for a peer that takes nothing, and then for its end.
    linger: Duration,
}

/// How far a socket has come on its way to its end.
enum Stage {
    /// The connection asked for under this tag is not established yet.
    Connecting(Tag),
    /// The machine may write.
    Open,
    /// FIN follows what was written; reading goes on.
    Finish,
    /// The application gets the stream behind what was written, with these octets that were read from it.
    Detach(Tag, Bytes),
    /// The machine is done with it: FIN follows what was written. Then what the peer still sends is discarded
    /// until its own end.
    ///
    /// A socket that is closed with octets unread, or that gets more of them, answers by RST, and that takes
    /// away from the peer what it has yet to read.
    Close,
}

/// What is left of a stream that cannot be written to any more.
struct Broken {
    error: io::Error,
    /// What was read to see whether anything is left to be read, and is not given to the machine yet.
    unread: Vec<u8>,
}

/// What a look at a socket brought.
pub(super) enum Outcome {
    /// Something happened; there may be more.
    Busy,
    /// Something happened; the waker is called when there is more.
    Drained,
    /// The waker is called when there is something.
    Quiet,
    /// Something may wait that is not wanted; the waker is not called for it.
    Blocked,
    /// The listener accepted a connection.
    Accepted(socket2::Socket, SocketAddr),
    /// The application may have the stream.
    Detached,
    /// Nothing is left to be done with the socket; the machine knows of it or is not to know. What broke it,
    /// if it was a stream.
    Gone(Option<io::Error>),
}

impl<M: Machine> Turn<'_, M> {
    pub(super) fn tell(&mut self, at: M::Addr, cue: Link) {
        self.machine.link(self.now, at, cue);
    }

    /// Tells the machine that what it knows as `at` is down.
    fn down(&mut self, at: M::Addr, error: io::Error) -> Outcome {
        self.tell(at, Link::Down(cause_of(&error)));
        Outcome::Gone(Some(error))
    }
}

impl<A: Addr> Kind<A> {
    /// Sends what of `tx` lies behind `sent`, and moves `sent` on. A stream that cannot be flushed is full.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        tx: &Transmit<A>,
        sent: &mut usize,
    ) -> Poll<io::Result<()>> {
        let stream = match self {
            Self::Datagrams(io, _) => return io.poll_send(cx, tx, sent).map(Ok),
            Self::Stream(stream) => stream,
            Self::Listener(..) => return Poll::Ready(Ok(())),
        };
        while let Some(rest @ [_, ..]) = tx.octets().get(*sent..) {
            match ready!(stream.poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
        stream.poll_flush(cx)
    }
}

impl<A: Addr> Socket<A> {
    /// `linger` is how long a socket that is to be closed waits for a peer that takes nothing, and then for
    /// the peer's own end.
    pub(super) const fn new(at: A, kind: Kind<A>, linger: Duration) -> Self {
        Self {
            at,
            receive_buffer: 0,
            kind,
            stage: Stage::Open,
            rest: None,
            is_shut: false,
            has_ended: false,
            broken: None,
            deadline: None,
            linger,
        }
    }

    /// Makes it a connection on its way, which was asked for under `tag`.
    pub(super) fn connecting(self, tag: Tag) -> Self {
        let stage = Stage::Connecting(tag);
        Self { stage, ..self }
    }

    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting(_))
    }

    /// Tells whether the machine is done with it.
    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Detach(..) | Stage::Close)
    }

    const fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    /// Tells whether all that was sent is with the system.
    pub(super) fn is_flushed(&self) -> bool {
        let is_waiting = matches!(self.stage, Stage::Close) && self.is_stream() && !self.is_shut;
        self.rest.is_none() && !is_waiting && self.broken.is_none()
    }

    /// Tells whether no cue can come of it any more: the peer ended, and nothing waits to be written.
    pub(super) fn is_silent(&self) -> bool {
        self.has_ended && self.is_flushed()
    }

    /// Tells whether what may be read stays where it is while the machine wants nothing.
    pub(super) fn is_held_back(&self) -> bool {
        let has_unread = |broken: &Broken| !broken.unread.is_empty();
        self.is_stream() && self.broken.as_deref().is_none_or(has_unread)
    }

    /// Returns the address at which the machine hears that it is full.
    pub(super) fn carrier(&self) -> A {
        if self.is_stream() {
            self.at
        } else {
            self.at.carrier()
        }
    }

    /// Sends what it takes, keeps the rest, and tells whether the machine must stop writing. `None` if nothing
    /// can be sent.
    pub(super) fn send(&mut self, waker: &Waker, tx: &mut Transmit<A>) -> Option<bool> {
        let is_full = self.rest.is_some();
        debug_assert!(!is_full, "the machine wrote between Full and Free");
        if is_full && self.is_stream() {
            // A hole in the stream must not go unnoticed, and what is kept must not grow.
            self.break_off(io::Error::other("written to while full"));
        }
        let is_open = matches!(self.stage, Stage::Open) && self.broken.is_none();
        if is_full || !is_open || matches!(self.kind, Kind::Listener(..)) {
            return None;
        }
        let mut sent = 0;
        let cx = &mut Context::from_waker(waker);
        match self.kind.poll_send(cx, tx, &mut sent) {
            Poll::Ready(Ok(())) => return Some(false),
            Poll::Ready(Err(error)) => self.break_off(error),
            Poll::Pending => self.keep(tx, sent),
        }
        Some(true)
    }

    fn keep(&mut self, tx: &mut Transmit<A>, sent: usize) {
        let rest = tx.octets().get(sent..).unwrap_or_default();
        let kept = match tx.to() {
            // A small rest is copied, so that a stalled stream does not hold a whole buffer.
            Some(to) if self.is_stream() && rest.len() <= scratch::SIZE / 4 => {
                let mut copy = Transmit::new(tx.limits());
                copy.append(to, rest.len(), |out| out.extend_from_slice(rest));
                (copy, 0)
            }
            _ => {
                let spare = Transmit::with_memory(tx.limits(), scratch::take());
                (mem::replace(tx, spare), sent)
            }
        };
        self.rest = Some(Box::new(kept));
    }

    fn break_off(&mut self, error: io::Error) {
        self.rest = None;
        let unread = Vec::new();
        self.broken = Some(Box::new(Broken { error, unread }));
    }

    /// Sends what was kept, and FIN if that is to be done.
    fn poll_written(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        let cx = &mut Context::from_waker(waker);
        if let Some(rest) = &mut self.rest {
            let (tx, sent) = &mut **rest;
            ready!(self.kind.poll_send(cx, tx, sent))?;
            scratch::give(tx.take_memory());
            self.rest = None;
        }
        let Kind::Stream(stream) = &mut self.kind else {
            return Poll::Ready(Ok(()));
        };
        if self.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        if matches!(self.stage, Stage::Finish | Stage::Close) && !self.is_shut {
            ready!(stream.poll_shutdown(cx))?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what can be moved, and tells the machine about it.
    pub(super) fn inputs<M: Machine<Addr = A>>(&mut self, turn: &mut Turn<'_, M>) -> Outcome {
        match self.stage {
            Stage::Connecting(tag) => return self.connect(tag, turn),
            Stage::Detach(..) | Stage::Close => return self.poll_end(turn.waker, turn.now),
            Stage::Open | Stage::Finish => {}
        }
        let was_full = self.rest.is_some();
        let is_open = matches!(self.stage, Stage::Open);
        if let Poll::Ready(Err(error)) = self.poll_written(turn.waker) {
            self.break_off(error);
            if !was_full && is_open {
                turn.tell(self.at, Link::Full);
            }
        }
        let is_freed = was_full && self.rest.is_none() && self.broken.is_none();
        if is_freed && is_open {
            turn.tell(self.carrier(), Link::Free);
        }
        let outcome = match &self.kind {
            _ if !turn.may_read => Outcome::Blocked,
            Kind::Datagrams(..) => self.receive(turn),
            Kind::Stream(_) if self.broken.is_some() => self.read_last(turn),
            Kind::Stream(_) => self.read(turn),
            Kind::Listener(..) => self.accept(turn),
        };
        match outcome {
            Outcome::Quiet if is_freed => Outcome::Drained,
            Outcome::Blocked if is_freed => Outcome::Busy,
            outcome => outcome,
        }
    }

    fn connect<M: Machine<Addr = A>>(&mut self, tag: Tag, turn: &mut Turn<'_, M>) -> Outcome {
        let connected = match &mut self.kind {
            Kind::Stream(stream) => stream.poll_connected(&mut turn.cx()),
            Kind::Datagrams(..) | Kind::Listener(..) => Poll::Ready(Ok(())),
        };
        let (cue, outcome) = match connected {
            Poll::Pending => return Outcome::Quiet,
            Poll::Ready(Ok(())) => (Link::Opened(tag), Outcome::Busy),
            Poll::Ready(Err(error)) => {
                let failed = Link::Failed(tag, cause_of_connect(&error));
                (failed, Outcome::Gone(None))
            }
        };
        self.stage = Stage::Open;
        turn.tell(self.at, cue);
        outcome
    }

    fn read<M: Machine<Addr = A>>(&mut self, turn: &mut Turn<'_, M>) -> Outcome {
        let Kind::Stream(stream) = &mut self.kind else {
            return Outcome::Quiet;
        };
        if self.has_ended {
            return Outcome::Quiet;
        }
        if !turn.machine.wants(self.at) {
            return Outcome::Blocked;
        }
        let polled = scratch::with_buffer(|buffer| {
            let polled = stream.poll_read(&mut turn.cx(), buffer);
            if let Poll::Ready(Ok(count @ 1..)) = polled {
                let octets = buffer.get(..count).unwrap_or_default();
                turn.machine.receive(turn.now, self.at, octets);
            }
            polled
        });
        match polled {
            Poll::Pending => return Outcome::Quiet,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => {
                self.has_ended = true;
                turn.tell(self.at, Link::Ended);
            }
            Poll::Ready(Err(error)) => return turn.down(self.at, error),
        }
        Outcome::Busy
    }

    /// Reads what came before the stream broke. Only behind the last octet the machine hears that it is down.
    fn read_last<M: Machine<Addr = A>>(&mut self, turn: &mut Turn<'_, M>) -> Outcome {
        let (Kind::Stream(stream), Some(mut broken)) = (&mut self.kind, self.broken.take()) else {
            return Outcome::Quiet;
        };
        if broken.unread.is_empty() && !self.has_ended {
            let polled = scratch::with_buffer(|buffer| {
                let polled = stream.poll_read(&mut turn.cx(), buffer);
                polled.map_ok(|count| buffer.get(..count).unwrap_or_default().to_vec())
            });
            let give_up = turn.now + LAST_OCTETS;
            match polled {
                Poll::Ready(Ok(octets)) => broken.unread = octets,
                Poll::Pending if turn.now < *self.deadline.get_or_insert(give_up) => {
                    self.broken = Some(broken);
                    return Outcome::Quiet;
                }
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        if broken.unread.is_empty() {
            return turn.down(self.at, broken.error);
        }
        let mut outcome = Outcome::Blocked;
        if turn.machine.wants(self.at) {
            let unread = mem::take(&mut broken.unread);
            turn.machine.receive(turn.now, self.at, &unread);
            outcome = Outcome::Busy;
        }
        self.broken = Some(broken);
        outcome
    }

    /// Receives up to a number of datagrams, so that one socket does not keep the others waiting.
    fn receive<M: Machine<Addr = A>>(&mut self, turn: &mut Turn<'_, M>) -> Outcome {
        let Kind::Datagrams(io, counters) = &mut self.kind else {
            return Outcome::Quiet;
        };
        let (mut read, mut failures) = (0, 0);
        while read < DATAGRAMS {
            let (cx, now) = (&mut turn.cx(), turn.now);
            let each = &mut |from, octets: &[u8], size| {
                turn.machine.receive_batch(now, from, octets, size);
            };
            match io.poll_receive(cx, each) {
                // Errors were read, but no datagram.
                Poll::Ready(Ok(count)) => read += count.max(1),
                Poll::Ready(Err(error)) => {
                    read += 1;
                    failures += 1;
                    report!(debug, %error, "datagram not received");
                    counters.count(|stats| stats.failed_reads += 1);
                    if failures == DATAGRAMS {
                        return turn.down(self.at.carrier(), error);
                    }
                }
                Poll::Pending if read == 0 => return Outcome::Quiet,
                Poll::Pending => return Outcome::Drained,
            }
        }
        Outcome::Busy
    }

    fn accept<M>(&mut self, turn: &Turn<'_, M>) -> Outcome {
        let Kind::Listener(source, counters) = &self.kind else {
            return Outcome::Quiet;
        };
        if self.deadline.is_some_and(|retry_at| turn.now < retry_at) {
            return Outcome::Quiet;
        }
        self.deadline = None;
        match source.poll_accept(&mut turn.cx()) {
            Poll::Ready(Ok((socket, remote))) => Outcome::Accepted(socket, remote),
            Poll::Ready(Err(error)) => {
                report!(warn, %error, "connection not accepted");
                counters.count(|stats| stats.unaccepted += 1);
                if is_of_one_connection(&error) {
                    return Outcome::Busy;
                }
                self.deadline = Some(turn.now + ACCEPT_PAUSE);
                Outcome::Quiet
            }
            Poll::Pending => Outcome::Quiet,
        }
    }

    /// Sends FIN behind what was written; reading goes on.
    pub(super) fn finish(&mut self) {
        if matches!(self.stage, Stage::Open) {
            self.stage = Stage::Finish;
        }
    }

    /// Begins to end it behind what was written; [`poll_end`](Self::poll_end) goes on. The application gets a
    /// stream that is detached under a tag, with octets that were read from it.
    pub(super) fn end(&mut self, now: Instant, detach: Option<(Tag, Bytes)>) {
        if self.is_ending() {
            return;
        }
        if self.is_connecting() {
            // Nobody is there yet to be told.
            (self.is_shut, self.has_ended) = (true, true);
        }
        self.deadline = Some(now + self.linger);
        self.stage = match detach {
            Some((tag, early)) => Stage::Detach(tag, early),
            None => Stage::Close,
        };
    }

    /// Ends a stream by RST once it is dropped; what was not sent is lost.
    pub(super) fn reset(&mut self) {
        if let Kind::Stream(stream) = &mut self.kind {
            stream.reset();
        }
    }

    /// Goes on with ending, until it is [`Gone`](Outcome::Gone), or [`Detached`](Outcome::Detached), broken or
    /// not. A peer that takes something has the time to linger again.
    pub(super) fn poll_end(&mut self, waker: &Waker, now: Instant) -> Outcome {
        let (left, was_shut) = (self.left(), self.is_shut);
        let written = self.poll_written(waker);
        if written.is_pending() && self.left() < left {
            self.deadline = Some(now + self.linger);
        }
        if written.is_pending() && self.deadline.is_some_and(|give_up| now < give_up) {
            return Outcome::Quiet;
        }
        let Kind::Stream(stream) = &mut self.kind else {
            return Outcome::Gone(None);
        };
        if let Stage::Detach(..) = self.stage {
            return Outcome::Detached;
        }
        let error = match (written, self.broken.take()) {
            (_, Some(broken)) => Some(broken.error),
            (Poll::Ready(written), None) => written.err(),
            (Poll::Pending, None) => Some(io::ErrorKind::TimedOut.into()),
        };
        if error.is_some() {
            stream.reset();
            return Outcome::Gone(error);
        }
        if !was_shut {
            self.deadline = Some(now + self.linger);
        }
        if self.has_ended || self.deadline.is_some_and(|until| now >= until) {
            return Outcome::Gone(None);
        }
        // One read a poll: a peer that never stops must not keep the deadline from being seen.
        let cx = &mut Context::from_waker(waker);
        match scratch::with_buffer(|buffer| stream.poll_read(cx, buffer)) {
            Poll::Ready(Ok(1..)) => Outcome::Busy,
            Poll::Ready(Ok(0) | Err(_)) => Outcome::Gone(None),
            Poll::Pending => Outcome::Quiet,
        }
    }

    /// Returns how much of what is kept is not sent yet: octets of a stream, or datagrams.
    fn left(&self) -> usize {
        let left = |rest: &(Transmit<A>, usize)| rest.0.octets().len().saturating_sub(rest.1);
        self.rest.as_deref().map_or(0, left)
    }

    /// Returns the stream for the application, if it was to have it.
    pub(super) fn into_detached(self) -> Option<DetachedStream> {
        let (Kind::Stream(stream), Stage::Detach(tag, early)) = (self.kind, self.stage) else {
            return None;
        };
        let early = match self.broken {
            Some(broken) => [&early[..], &broken.unread[..]].concat().into(),
            None => early,
        };
        Some(DetachedStream { tag, stream, early })
    }
}

/// Tells whether the next connection can be accepted at once although this one could not.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted
    )
}
