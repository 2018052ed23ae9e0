//! One byte stream under a machine: its outbox, its two directions and its end.

use core::any::Any;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::scratch;
use crate::adapters::Detached;
use crate::adapters::cause::cause_of;
use crate::adapters::outbox::Outbox;
use crate::{Addr, Instant, Link, Machine, Tag, Transmit};

/// A byte stream that a driver can own.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for S {}

/// A stream, and what is still to be done with it.
pub(super) struct Line<S> {
    stream: S,
    outbox: Outbox,
    goal: Goal,
    /// Octets were given to the stream since it was last flushed.
    is_unflushed: bool,
    /// The peer's FIN was read.
    has_ended: bool,
    /// Why nothing can be written any more. The machine hears of it once the last octet was read: a peer
    /// that refuses and closes would otherwise be known by its RST, and not by its reason.
    broken: Option<io::Error>,
}

enum Goal {
    Carry,
    /// FIN follows the outbox.
    Finish,
    Finished,
    /// The application gets it behind the outbox.
    Hand {
        tag: Tag,
        early: Bytes,
    },
}

/// What a visit found.
pub(super) enum Visit {
    /// Something happened; there may be more.
    Busy,
    /// The waker is called when there is more.
    Quiet,
    /// Octets may wait that are not wanted now; the waker is not called for them.
    Parked,
    /// The machine was told of the end.
    Down(io::Error),
    /// Everything was sent, and the application may have the stream.
    Detached,
}

impl<S: ByteStream> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            goal: Goal::Carry,
            is_unflushed: false,
            has_ended: false,
            broken: None,
        }
    }

    /// Writes what the stream takes and keeps the rest; tells whether the machine must stop writing.
    pub(super) fn send<A: Addr>(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<A>) -> bool {
        if !self.outbox.is_empty() && self.broken.is_none() {
            debug_assert!(false, "the machine wrote between Full and Free");
            // A hole in the stream must not go unnoticed, and the outbox must not grow.
            self.break_off(io::Error::other("written to while full"));
        }
        if self.broken.is_some() || !matches!(self.goal, Goal::Carry) {
            return false;
        }
        self.is_unflushed = true;
        let mut sent = 0;
        while let Some(rest @ [_, ..]) = tx.octets().get(sent..) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    self.break_off(io::ErrorKind::WriteZero.into());
                    return true;
                }
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => {
                    self.break_off(error);
                    return true;
                }
                Poll::Pending => {
                    // A small rest is copied, so that a stalled stream does not sit on a whole buffer.
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

    /// Sends FIN behind what was written.
    pub(super) fn finish(&mut self) {
        if let Goal::Carry = self.goal {
            self.goal = Goal::Finish;
        }
    }

    /// Gives the stream away behind what was written.
    pub(super) fn hand(&mut self, tag: Tag, early: Bytes) {
        self.goal = Goal::Hand { tag, early };
    }

    /// Tells whether all that was written is with the system.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && !self.is_unflushed && self.broken.is_none()
    }

    /// Tells whether no cue can come of it any more: the peer ended, and nothing waits to be written.
    pub(super) fn is_silent(&self) -> bool {
        self.has_ended && self.is_flushed()
    }

    /// Moves what can be moved, and tells the machine about it.
    pub(super) fn visit<M: Machine>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, M::Addr),
        machine: &mut M,
        may_read: bool,
    ) -> Visit {
        let was_full = !self.outbox.is_empty();
        if let Poll::Ready(Err(error)) = self.poll_written(cx) {
            self.break_off(error);
            if !was_full && matches!(self.goal, Goal::Carry) {
                machine.link(now, at, Link::Full);
            }
        }
        let is_freed = was_full && self.outbox.is_empty() && self.broken.is_none();
        if is_freed && matches!(self.goal, Goal::Carry) {
            machine.link(now, at, Link::Free);
        }
        if let Goal::Hand { .. } = self.goal {
            // Broken or not, the application learns from the stream itself.
            return if self.is_flushed() || self.broken.is_some() {
                Visit::Detached
            } else {
                Visit::Quiet
            };
        }
        let read = self.read(cx, (now, at), machine, may_read);
        match read {
            Visit::Quiet | Visit::Parked if is_freed => Visit::Busy,
            _ => read,
        }
    }

    fn read<M: Machine>(
        &mut self,
        cx: &mut Context<'_>,
        (now, at): (Instant, M::Addr),
        machine: &mut M,
        may_read: bool,
    ) -> Visit {
        if self.has_ended && self.broken.is_none() {
            return Visit::Quiet;
        }
        if !may_read || !(self.has_ended || machine.wants(at)) {
            return Visit::Parked;
        }
        let mut memory = scratch::take();
        let mut buffer = ReadBuf::uninit(memory.spare_capacity_mut());
        let polled = if self.has_ended {
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut self.stream).poll_read(cx, &mut buffer)
        };
        let visit = match polled {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                machine.receive(now, at, buffer.filled());
                Visit::Busy
            }
            Poll::Ready(Err(error)) => Visit::Down(self.broken.take().unwrap_or(error)),
            // Behind a failed write there is nothing to wait for.
            Poll::Ready(Ok(())) | Poll::Pending if self.broken.is_some() => {
                Visit::Down(self.broken.take().unwrap_or_else(reset))
            }
            Poll::Ready(Ok(())) => {
                self.has_ended = true;
                machine.link(now, at, Link::Ended);
                Visit::Busy
            }
            Poll::Pending => Visit::Quiet,
        };
        scratch::give(memory);
        if let Visit::Down(error) = &visit {
            machine.link(now, at, Link::Down(cause_of(error)));
        }
        visit
    }

    /// Empties the outbox, flushes, and sends FIN if that is the goal.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        ready!(poll_outbox(&mut self.stream, &mut self.outbox, cx))?;
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        if let Goal::Finish = self.goal {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.goal = Goal::Finished;
        }
        Poll::Ready(Ok(()))
    }

    fn break_off(&mut self, error: io::Error) {
        scratch::give(self.outbox.take_memory());
        self.broken = Some(error);
    }

    /// Takes the stream for the application.
    pub(super) fn into_handed(self) -> Option<Detached<S>> {
        match self.goal {
            Goal::Hand { tag, early } => Some(Detached {
                tag,
                stream: self.stream,
                early,
            }),
            Goal::Carry | Goal::Finish | Goal::Finished => None,
        }
    }

    /// Ends the stream at once; what was not sent is lost.
    pub(super) fn abort(self) {
        reset_on_drop(&self.stream);
    }

    /// Sends what was written, then FIN, or gives the stream away if that is its goal.
    ///
    /// `linger` is how long the peer may take none of it.
    ///
    /// # Errors
    ///
    /// What kept the rest from being sent; the stream was reset then.
    pub(super) async fn end(mut self, linger: Duration) -> io::Result<End<S>> {
        let sent = self.send_rest(linger).await;
        if let Goal::Hand { tag, early } = self.goal {
            // Broken or not, the application learns from the stream itself.
            let stream = self.stream;
            return Ok(End::Detached(Detached { tag, stream, early }));
        }
        let Self {
            stream, has_ended, ..
        } = self;
        match sent {
            Ok(()) => Ok(End::Closing(Closing { stream, has_ended })),
            Err(error) => {
                reset_on_drop(&stream);
                Err(error)
            }
        }
    }

    async fn send_rest(&mut self, linger: Duration) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        while !self.outbox.is_empty() {
            let written = poll_fn(|cx| poll_some(&mut self.stream, &mut self.outbox, cx));
            in_time(linger, written).await?;
        }
        scratch::give(self.outbox.take_memory());
        match self.goal {
            Goal::Hand { .. } => {
                let flushed = poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx));
                in_time(linger, flushed).await
            }
            Goal::Carry | Goal::Finish => {
                let ended = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx));
                in_time(linger, ended).await
            }
            Goal::Finished => Ok(()),
        }
    }
}

/// A stream that is done with its machine.
pub(super) enum End<S> {
    /// To be closed.
    Closing(Closing<S>),
    /// To be given to the application.
    Detached(Detached<S>),
}

/// A stream with its FIN sent.
pub(super) struct Closing<S> {
    stream: S,
    has_ended: bool,
}

impl<S: ByteStream> Closing<S> {
    /// Reads on until the peer's own end, or for as long as `linger`.
    ///
    /// A socket that is closed with octets unread, or that gets more of them, answers with an RST, and
    /// that takes away from the peer what it has yet to read.
    pub(super) async fn linger(mut self, linger: Duration) {
        if !self.has_ended {
            let ended = poll_fn(|cx| poll_discard(&mut self.stream, cx));
            // Whether the peer ended, failed or stayed: it had its time.
            let _ = timeout(linger, ended).await;
        }
    }
}

async fn in_time<T>(span: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(span, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Writes what is in the outbox until it is empty.
fn poll_outbox<S: ByteStream>(
    stream: &mut S,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if outbox.is_empty() {
        return Poll::Ready(Ok(()));
    }
    while !outbox.is_empty() {
        ready!(poll_some(stream, outbox, cx))?;
    }
    scratch::give(outbox.take_memory());
    Poll::Ready(Ok(()))
}

fn poll_some<S: ByteStream>(
    stream: &mut S,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let count = ready!(Pin::new(stream).poll_write(cx, outbox.rest()))?;
    outbox.advance(count);
    Poll::Ready(if count == 0 {
        Err(io::ErrorKind::WriteZero.into())
    } else {
        Ok(())
    })
}

fn poll_discard<S: ByteStream>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut memory = scratch::take();
    let mut buffer = ReadBuf::uninit(memory.spare_capacity_mut());
    let polled = Pin::new(stream).poll_read(cx, &mut buffer);
    let is_end = buffer.filled().is_empty();
    scratch::give(memory);
    if matches!(polled, Poll::Ready(Ok(()))) && !is_end {
        // One read a poll: a peer that never stops must not keep the deadline from being seen.
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    polled
}

/// Makes a TCP stream answer with RST once it is dropped; other streams just end.
fn reset_on_drop<S: ByteStream>(stream: &S) {
    if let Some(stream) = (stream as &dyn Any).downcast_ref::<TcpStream>() {
        // A socket that refuses the option is closed in the usual way.
        let _ = stream.set_zero_linger();
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
