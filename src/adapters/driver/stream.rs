//! The carrier of a machine on one byte stream.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;
use core::time::Duration;
use std::io;

use super::event_loop::{Carrier, Liveness, Turn};
use super::handle::DetachedStream;
use super::runtime::ByteStream;
use super::socket::{Kind, Outcome, Socket};
use crate::{Ask, Cause, Instant, Link, Machine, Tag, Transmit};

/// The [`Carrier`] of a machine on one stream.
///
/// The machine hears [`Link::Up`] first. [`Ask::Open`] fails as unreachable.
pub(crate) struct OneStream {
    /// None once the stream was given away, closed or is broken.
    socket: Option<Socket<()>>,
    /// What the machine asked to open, and is still to be told that it cannot be.
    refused: Vec<Tag>,
    detached: Option<DetachedStream>,
    was_detached: bool,
    /// What broke the stream.
    error: Option<io::Error>,
}

impl OneStream {
    /// `linger` as for [`Socket::new`].
    pub(crate) fn new(stream: impl Into<Box<dyn ByteStream>>, linger: Duration) -> Self {
        Self {
            socket: Some(Socket::new((), Kind::Stream(stream.into()), linger)),
            refused: Vec::new(),
            detached: None,
            was_detached: false,
            error: None,
        }
    }
}

impl<M: Machine<Addr = ()>> Carrier<M> for OneStream {
    fn begin(&mut self, now: Instant, machine: &mut M) {
        machine.link(now, (), Link::Up);
    }

    fn send(&mut self, waker: &Waker, tx: &mut Transmit<()>) -> Option<()> {
        let is_full = self.socket.as_mut()?.send(waker, tx)?;
        is_full.then_some(())
    }

    fn answer(&mut self, now: Instant, ask: Ask<()>) {
        match (ask, &mut self.socket) {
            (Ask::Open { tag, .. }, _) => self.refused.push(tag),
            (Ask::Cancel(tag), _) => self.refused.retain(|refused| *refused != tag),
            (Ask::Finish(()), Some(socket)) => socket.finish(),
            (Ask::Close(()), Some(socket)) => socket.end(now, None),
            (Ask::Detach { tag, early, .. }, Some(socket)) => socket.end(now, Some((tag, early))),
            (Ask::Abort(()), Some(socket)) => {
                socket.reset();
                self.socket = None;
            }
            (_, None) => {}
        }
    }

    fn inputs(&mut self, turn: &mut Turn<'_, M>) -> bool {
        let is_any = !self.refused.is_empty();
        for tag in mem::take(&mut self.refused) {
            turn.tell((), Link::Failed(tag, Cause::Unreachable));
        }
        let Some(socket) = &mut self.socket else {
            return is_any;
        };
        match socket.inputs(turn) {
            Outcome::Quiet | Outcome::Blocked => return is_any,
            Outcome::Busy | Outcome::Drained | Outcome::Accepted(..) => {}
            Outcome::Gone(error) => (self.socket, self.error) = (None, error),
            Outcome::Detached => {
                self.detached = self.socket.take().and_then(Socket::into_detached);
                self.was_detached = true;
            }
        }
        true
    }

    fn is_flushed(&self) -> bool {
        self.socket.as_ref().is_some_and(Socket::is_flushed)
    }

    fn detached(&mut self) -> Option<DetachedStream> {
        self.detached.take()
    }

    fn liveness(&self) -> Liveness {
        match &self.socket {
            Some(socket) if socket.is_ending() || socket.is_silent() => Liveness::Empty,
            Some(_) => Liveness::Alive,
            None if self.was_detached => Liveness::Detached,
            None => Liveness::Gone,
        }
    }

    fn finish(&mut self, now: Instant) {
        self.refused.clear();
        if let Some(socket) = &mut self.socket {
            socket.end(now, None);
        }
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    fn deadline(&self) -> Option<Instant> {
        self.socket.as_ref()?.deadline
    }
}
