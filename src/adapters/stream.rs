//! One byte stream under a machine: its outbox, its two directions and its end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use bytes::Bytes;

use super::cause::cause_of;
use super::event_loop::{Carrier, Liveness};
use super::handle::DetachedStream;
use super::runtime::ByteStream;
use super::scratch;
use crate::{Addr, Ask, Cause, Instant, Link, Machine, Tag, Transmit};

/// A stream, and what is still to be done with it.
pub(crate) struct StreamIo<S> {
    stream: S,
    outbox: Outbox,
    state: ShutdownState,
    /// Octets were given to the stream since it was last flushed.
    is_unflushed: bool,
    /// The peer's FIN was read.
    has_ended: bool,
    /// Why nothing can be written any more. The machine hears of it once the last octet was read: a peer
    /// that refuses and closes would otherwise be known by its RST, and not by its reason.
    broken: Option<Box<Broken>>,
    /// How long a stream that is to be closed waits for a peer that takes nothing, and then for its end.
    linger: Duration,
}

/// How long the last octets of a stream are waited for that cannot be written to any more. The runtime may
/// hear later than the writer that a TCP connection was reset; other streams may never end.
const LAST_OCTETS: Duration = Duration::from_secs(1);

/// What is left of a stream that cannot be written to any more.
struct Broken {
    error: io::Error,
    /// What was read to see whether anything is left to be read, while the machine wanted nothing.
    unread: Vec<u8>,
    /// When the machine hears of it although nothing says that all was read.
    give_up: Option<Instant>,
}

/// How far the sending direction has come on its way to its end.
enum ShutdownState {
    /// The machine may write.
    Open,
    /// FIN follows the outbox.
    Finish,
    /// FIN was sent; reading goes on.
    Finished,
    /// The application gets the stream behind the outbox, or at this time.
    Detach {
        tag: Tag,
        early: Bytes,
        give_up: Instant,
    },
    /// The machine is done with it: FIN follows the outbox, unless the peer takes nothing until this time.
    Close { give_up: Instant },
    /// FIN was sent, and what the peer still sends is discarded until its own end, or until this time.
    ///
    /// A socket that is closed with octets unread, or that gets more of them, answers by RST, and that
    /// takes away from the peer what it has yet to read.
    Linger { until: Instant },
    /// Nothing is left to be done.
    Closed,
}

/// What a look at a stream brought.
pub(crate) enum IoEvent {
    /// Something happened; there may be more.
    Busy,
    /// The waker is called when there is more.
    Quiet,
    /// Octets may wait that are not wanted; the waker is not called for them.
    Blocked,
    /// The stream is broken, and the machine was told so.
    Down(io::Error),
    /// Everything was sent, and the application may have the stream.
    Detached,
}

impl<S: ByteStream> StreamIo<S> {
    /// `linger` is how long a stream that is to be closed waits for a peer that takes nothing, and then for
    /// the peer's own end.
    pub(crate) fn new(stream: S, linger: Duration) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            state: ShutdownState::Open,
            is_unflushed: false,
            has_ended: false,
            broken: None,
            linger,
        }
    }

    /// Writes what the stream takes and keeps the rest; tells whether the machine must stop writing.
    pub(crate) fn send<A: Addr>(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<A>) -> bool {
        if !self.outbox.is_empty() && self.broken.is_none() {
            debug_assert!(false, "the machine wrote between Full and Free");
            // A hole in the stream must not go unnoticed, and the outbox must not grow.
            self.report_broken(io::Error::other("written to while full"));
        }
        if self.broken.is_some() || !matches!(self.state, ShutdownState::Open) {
            return false;
        }
        self.is_unflushed = true;
        let mut sent = 0;
        while let Some(rest @ [_, ..]) = tx.octets().get(sent..) {
            match self.stream.poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    self.report_broken(io::ErrorKind::WriteZero.into());
                    return true;
                }
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => {
                    self.report_broken(error);
                    return true;
                }
                Poll::Pending => {
                    // A small rest is copied, so that a stalled stream does not hold a whole buffer.
                    if rest.len() <= scratch::SIZE / 4 {
                        self.outbox.keep(rest.to_vec(), 0);
                    } else {
                        self.outbox.keep(tx.take_memory(), sent);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Sends FIN behind what was written; reading goes on.
    pub(crate) fn finish(&mut self) {
        if let ShutdownState::Open = self.state {
            self.state = ShutdownState::Finish;
        }
    }

    /// Gives the stream to the application behind what was written.
    pub(crate) fn detach(&mut self, now: Instant, tag: Tag, early: Bytes) {
        if !self.is_closing() {
            let give_up = now + self.linger;
            self.state = ShutdownState::Detach {
                tag,
                early,
                give_up,
            };
        }
    }

    /// Sends what was written, then FIN, and lingers; see [`poll_closed`](Self::poll_closed).
    pub(crate) fn close(&mut self, now: Instant) {
        match self.state {
            ShutdownState::Open | ShutdownState::Finish => {
                let give_up = now + self.linger;
                self.state = ShutdownState::Close { give_up };
            }
            ShutdownState::Finished => self.begin_linger(now),
            ShutdownState::Detach { .. }
            | ShutdownState::Close { .. }
            | ShutdownState::Linger { .. }
            | ShutdownState::Closed => {}
        }
    }

    /// Ends the stream at once by RST; what was not sent is lost.
    pub(crate) fn abort(&mut self) {
        self.stream.reset();
        self.state = ShutdownState::Closed;
    }

    /// Tells whether the machine is done with the stream.
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(
            self.state,
            ShutdownState::Close { .. } | ShutdownState::Linger { .. } | ShutdownState::Closed
        )
    }

    /// Tells whether the application is to have the stream.
    pub(crate) const fn is_detaching(&self) -> bool {
        matches!(self.state, ShutdownState::Detach { .. })
    }

    /// Tells whether all that was written is with the system.
    pub(crate) fn is_flushed(&self) -> bool {
        let is_waiting = matches!(self.state, ShutdownState::Close { .. });
        self.outbox.is_empty() && !self.is_unflushed && !is_waiting && self.broken.is_none()
    }

    /// Tells whether no cue can come of it any more: the peer ended, and nothing waits to be written.
    pub(crate) fn is_silent(&self) -> bool {
        self.has_ended && self.is_flushed()
    }

    /// Returns when the stream is to be looked at again at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            ShutdownState::Close { give_up } | ShutdownState::Detach { give_up, .. } => {
                Some(*give_up)
            }
            ShutdownState::Linger { until } => Some(*until),
            ShutdownState::Closed => None,
            ShutdownState::Open | ShutdownState::Finish | ShutdownState::Finished => {
                self.broken.as_ref()?.give_up
            }
        }
    }

    /// Moves what can be moved, and tells the machine about it. Not for a stream that
    /// [`is_closing`](Self::is_closing).
    pub(crate) fn inputs<M: Machine>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, M::Addr),
        machine: &mut M,
        may_read: bool,
    ) -> IoEvent {
        let was_full = !self.outbox.is_empty();
        let is_open = matches!(self.state, ShutdownState::Open);
        if let Poll::Ready(Err(error)) = self.poll_written(cx) {
            self.report_broken(error);
            if !was_full && is_open {
                machine.link(now, at, Link::Full);
            }
        }
        let is_freed = was_full && self.outbox.is_empty() && self.broken.is_none();
        if is_freed && is_open {
            machine.link(now, at, Link::Free);
        }
        if let ShutdownState::Detach { give_up, .. } = self.state {
            // Broken or not, the application learns from the stream itself.
            return if self.is_flushed() || self.broken.is_some() || now >= give_up {
                IoEvent::Detached
            } else {
                IoEvent::Quiet
            };
        }
        match self.read(cx, (now, at), machine, may_read) {
            IoEvent::Quiet | IoEvent::Blocked if is_freed => IoEvent::Busy,
            event => event,
        }
    }

    fn read<M: Machine>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, M::Addr),
        machine: &mut M,
        may_read: bool,
    ) -> IoEvent {
        if self.has_ended && self.broken.is_none() {
            return IoEvent::Quiet;
        }
        let is_wanted = self.has_ended || machine.wants(at);
        let unread = self.broken.as_mut().map(|broken| &mut broken.unread);
        match unread {
            _ if !may_read => return IoEvent::Blocked,
            None if !is_wanted => return IoEvent::Blocked,
            Some(unread) if !unread.is_empty() => {
                if !is_wanted {
                    return IoEvent::Blocked;
                }
                machine.receive(now, at, &mem::take(unread));
                return IoEvent::Busy;
            }
            _ => {}
        }
        let polled = if self.has_ended {
            Poll::Ready(Ok(0))
        } else {
            scratch::with_buffer(|buffer| {
                let polled = self.stream.poll_read(cx, buffer);
                if let Poll::Ready(Ok(count @ 1..)) = polled {
                    let octets = buffer.get(..count).unwrap_or_default();
                    match &mut self.broken {
                        // Only behind the last octet the machine hears that the stream is down.
                        Some(broken) if !is_wanted => broken.unread = octets.to_vec(),
                        _ => machine.receive(now, at, octets),
                    }
                }
                polled
            })
        };
        if polled.is_pending()
            && let Some(broken) = &mut self.broken
            && now < *broken.give_up.get_or_insert(now + LAST_OCTETS)
        {
            return IoEvent::Quiet;
        }
        let broken = |broken: Box<Broken>| broken.error;
        let error = match polled {
            Poll::Ready(Ok(1..)) if !is_wanted => return IoEvent::Blocked,
            Poll::Ready(Ok(1..)) => return IoEvent::Busy,
            Poll::Ready(Err(error)) => self.broken.take().map_or(error, broken),
            Poll::Ready(Ok(0)) | Poll::Pending => match self.broken.take() {
                Some(broken) => broken.error,
                None if polled.is_pending() => return IoEvent::Quiet,
                None => {
                    self.has_ended = true;
                    machine.link(now, at, Link::Ended);
                    return IoEvent::Busy;
                }
            },
        };
        machine.link(now, at, Link::Down(cause_of(&error)));
        self.state = ShutdownState::Closed;
        IoEvent::Down(error)
    }

    /// Empties the outbox, flushes, and sends FIN if that is to be done.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        while !self.outbox.is_empty() {
            let count = ready!(self.stream.poll_write(cx, self.outbox.rest()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(count);
        }
        if self.is_unflushed {
            ready!(self.stream.poll_flush(cx))?;
            self.is_unflushed = false;
        }
        if let ShutdownState::Finish = self.state {
            ready!(self.stream.poll_shutdown(cx))?;
            self.state = ShutdownState::Finished;
        }
        Poll::Ready(Ok(()))
    }

    fn report_broken(&mut self, error: io::Error) {
        self.outbox.clear();
        let unread = Vec::new();
        self.broken = Some(Box::new(Broken {
            error,
            unread,
            give_up: None,
        }));
    }

    /// Goes on with closing, after [`close`](Self::close) or [`abort`](Self::abort); ready once the stream
    /// can be dropped.
    ///
    /// # Errors
    ///
    /// What kept the rest from being sent; the stream is reset then.
    pub(crate) fn poll_closed(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<io::Result<()>> {
        if let ShutdownState::Close { give_up } = self.state {
            let left = self.outbox.rest().len();
            let written = match self.broken.take() {
                Some(broken) => Poll::Ready(Err(broken.error)),
                None => self.poll_written(cx),
            };
            let shut = match written {
                Poll::Ready(Ok(())) => self.stream.poll_shutdown(cx),
                other => other,
            };
            match shut {
                Poll::Ready(Ok(())) => self.begin_linger(now),
                Poll::Ready(Err(error)) => {
                    self.abort();
                    return Poll::Ready(Err(error));
                }
                Poll::Pending if self.outbox.rest().len() < left => {
                    let give_up = now + self.linger;
                    self.state = ShutdownState::Close { give_up };
                    return Poll::Pending;
                }
                Poll::Pending if now >= give_up => {
                    self.abort();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if let ShutdownState::Linger { until } = self.state {
            if now < until {
                ready!(self.poll_discard(cx));
            }
            self.state = ShutdownState::Closed;
        }
        Poll::Ready(Ok(()))
    }

    fn begin_linger(&mut self, now: Instant) {
        self.state = if self.has_ended {
            ShutdownState::Closed
        } else {
            ShutdownState::Linger {
                until: now + self.linger,
            }
        };
    }

    /// Reads and discards until the peer's end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match scratch::with_buffer(|buffer| self.stream.poll_read(cx, buffer)) {
            Poll::Ready(Ok(1..)) => {
                // One read a poll: a peer that never stops must not keep the deadline from being seen.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Goes on with giving the stream away when no machine is polled; ready once the application may have it,
    /// broken or not.
    pub(crate) fn poll_detached(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let is_late = self.deadline().is_none_or(|give_up| now >= give_up);
        if self.poll_written(cx).is_ready() || is_late {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes the stream for the application, if it was to have it.
    pub(crate) fn into_detached(self) -> Option<DetachedStream> {
        match self.state {
            ShutdownState::Detach { tag, early, .. } => Some(DetachedStream {
                tag,
                stream: Box::new(self.stream),
                early: match self.broken {
                    Some(broken) => [&early[..], &broken.unread[..]].concat().into(),
                    None => early,
                },
            }),
            _ => None,
        }
    }
}

/// What a stream would not take of one send, until it does.
///
/// The machine hears `Full` as soon as there is something in it and writes nothing more there, so it never
/// holds more than one `Transmit`.
#[derive(Debug, Default)]
struct Outbox {
    octets: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Keeps `octets`, of which the first `sent` are gone already.
    fn keep(&mut self, octets: Vec<u8>, sent: usize) {
        (self.octets, self.sent) = (octets, sent);
    }

    fn rest(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// Notes that the stream took `count` octets more. Memory goes back to the thread with the last one.
    fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.is_empty() {
            self.clear();
        }
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.octets.len()
    }

    fn clear(&mut self) {
        self.sent = 0;
        scratch::give(mem::take(&mut self.octets));
    }
}

/// The [`Carrier`] of a machine on one stream.
///
/// The machine hears [`Link::Up`] first. [`Ask::Open`] fails as unreachable.
pub(crate) struct OneStream<S> {
    /// None once the stream was given away or is broken.
    io: Option<StreamIo<S>>,
    /// What the machine is still to be told.
    cues: VecDeque<Link>,
    detached: Option<DetachedStream>,
    was_detached: bool,
    /// What broke the stream.
    error: Option<io::Error>,
}

impl<S: ByteStream> OneStream<S> {
    /// `linger` as for [`StreamIo::new`].
    pub(crate) fn new(stream: S, linger: Duration) -> Self {
        Self {
            io: Some(StreamIo::new(stream, linger)),
            cues: VecDeque::new(),
            detached: None,
            was_detached: false,
            error: None,
        }
    }

    /// Goes on with closing, if that was begun; drops the stream at the end.
    fn poll_closed(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(());
        };
        if let Err(error) = ready!(io.poll_closed(cx, now)) {
            self.error = Some(error);
        }
        self.io = None;
        Poll::Ready(())
    }

    fn give(&mut self) {
        self.detached = self.io.take().and_then(StreamIo::into_detached);
        self.was_detached = true;
    }
}

impl<M: Machine<Addr = ()>, S: ByteStream> Carrier<M> for OneStream<S> {
    fn begin(&mut self, now: Instant, machine: &mut M) {
        machine.link(now, (), Link::Up);
    }

    fn send(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<()>) -> Option<()> {
        let io = self.io.as_mut().filter(|io| !io.is_closing())?;
        io.send(cx, tx).then_some(())
    }

    fn answer(&mut self, now: Instant, ask: Ask<()>) {
        match (ask, &mut self.io) {
            (Ask::Open { tag, .. }, _) => {
                self.cues.push_back(Link::Failed(tag, Cause::Unreachable));
            }
            (Ask::Cancel(tag), _) => self
                .cues
                .retain(|cue| !matches!(cue, Link::Failed(failed, _) if *failed == tag)),
            (Ask::Finish(()), Some(io)) => io.finish(),
            (Ask::Close(()), Some(io)) => io.close(now),
            (Ask::Abort(()), Some(io)) => io.abort(),
            (Ask::Detach { tag, early, .. }, Some(io)) => io.detach(now, tag, early),
            (_, None) => {}
        }
    }

    fn inputs(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut M,
        may_read: bool,
    ) -> bool {
        let mut is_busy = false;
        while let Some(cue) = self.cues.pop_front() {
            machine.link(now, (), cue);
            is_busy = true;
        }
        let Some(io) = &mut self.io else {
            return is_busy;
        };
        if io.is_closing() {
            let was_flushed = io.is_flushed();
            let is_closed = self.poll_closed(cx, now).is_ready();
            return is_busy || is_closed || was_flushed != Carrier::<M>::is_flushed(self);
        }
        match io.inputs(cx, (now, ()), machine, may_read) {
            IoEvent::Busy => return true,
            IoEvent::Quiet | IoEvent::Blocked => return is_busy,
            IoEvent::Down(error) => {
                self.error = Some(error);
                self.io = None;
            }
            IoEvent::Detached => self.give(),
        }
        true
    }

    fn detached(&mut self) -> Option<DetachedStream> {
        self.detached.take()
    }

    fn is_flushed(&self) -> bool {
        self.io.as_ref().is_some_and(StreamIo::is_flushed)
    }

    fn liveness(&self) -> Liveness {
        match &self.io {
            Some(io) if io.is_closing() && io.is_flushed() => Liveness::Empty,
            Some(io) if io.is_silent() => Liveness::Empty,
            Some(_) => Liveness::Alive,
            None if self.was_detached => Liveness::Detached,
            None => Liveness::Empty,
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(());
        };
        if io.is_detaching() {
            ready!(io.poll_detached(cx, now));
            self.give();
            return Poll::Ready(());
        }
        io.close(now);
        self.poll_closed(cx, now)
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    fn deadline(&self) -> Option<Instant> {
        self.io.as_ref().and_then(StreamIo::deadline)
    }
}
