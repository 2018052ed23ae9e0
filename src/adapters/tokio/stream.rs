//! Drives a machine over one byte stream: a TCP connection, TLS over it, a pipe, a serial port.
//!
//! The machine hears [`Link::Up`] first, [`Link::Ended`] at the peer's end, and [`Link::Down`] when the
//! stream breaks. There is nothing to open here: [`Ask::Open`] fails as unreachable. Once the machine gave
//! the stream away ([`Ask::Detach`]), the application gets it and the driver ends.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use tokio::task::JoinHandle;

use super::driver::{Carriers, Driver, Outlook, Sent};
use super::handle::{Desk, Handle, Options};
use super::line::{ByteStream, End, Line, Visit};
use crate::adapters::Detached;
use crate::{Ask, Cause, Instant, Link, Machine, Transmit};

/// Connects a machine to a stream.
///
/// Nothing happens until the returned future is polled, by a runtime with I/O and time enabled. It ends
/// when the machine is done and what it sent is on its way; dropping it cuts the stream off.
///
/// The future's error is what broke the stream, which the machine knows as [`Link::Down`].
///
/// A TCP stream is taken as it is. Machines write whole messages, so `TCP_NODELAY` is what most want.
pub fn drive<M, S>(
    machine: M,
    stream: S,
    options: Options<M>,
) -> (
    Handle<M, S>,
    impl Future<Output = io::Result<()>> + use<M, S>,
)
where
    M: Machine<Addr = ()>,
    S: ByteStream,
{
    let Options {
        clock,
        limits,
        linger,
        ..
    } = options;
    let (handle, desk) = Desk::open(options);
    let carriers = OneStream::new(stream, linger);
    let driver = Driver::new(machine, carriers, desk, clock, limits);
    (handle, driver.run())
}

/// Connects a machine to a stream, in a task of its own.
///
/// See [`drive`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn spawn<M, S>(
    machine: M,
    stream: S,
    options: Options<M>,
) -> (Handle<M, S>, JoinHandle<io::Result<()>>)
where
    M: Machine<Addr = ()> + Send + 'static,
    M::Command: Send,
    M::Event: Send,
    M::Error: Send,
    S: ByteStream,
{
    let (handle, driver) = drive(machine, stream, options);
    (handle, tokio::spawn(driver))
}

/// The only stream of a machine.
pub(super) struct OneStream<S> {
    state: State<S>,
    /// What the machine is still to be told.
    cues: VecDeque<Link>,
    handed: Option<Detached<S>>,
    was_handed: bool,
    /// What broke the stream.
    error: Option<io::Error>,
    linger: Duration,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum State<S> {
    Carried(Line<S>),
    Ending(Boxed<io::Result<End<S>>>),
    Lingering(Boxed<()>),
    Gone,
}

impl<S: ByteStream> OneStream<S> {
    pub(super) fn new(stream: S, linger: Duration) -> Self {
        Self {
            state: State::Carried(Line::new(stream)),
            cues: VecDeque::from([Link::Up]),
            handed: None,
            was_handed: false,
            error: None,
            linger,
        }
    }

    fn take_line(&mut self) -> Option<Line<S>> {
        match core::mem::replace(&mut self.state, State::Gone) {
            State::Carried(line) => Some(line),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn line(&mut self) -> Option<&mut Line<S>> {
        match &mut self.state {
            State::Carried(line) => Some(line),
            State::Ending(_) | State::Lingering(_) | State::Gone => None,
        }
    }

    fn close(&mut self) {
        if let Some(line) = self.take_line() {
            self.state = State::Ending(Box::pin(line.end(self.linger)));
        }
    }

    fn give(&mut self, handed: Detached<S>) {
        self.handed = Some(handed);
        self.was_handed = true;
    }

    /// Waits until what was written before a close is with the system.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Ending(ending) = &mut self.state else {
            return Poll::Ready(());
        };
        let end = ready!(ending.as_mut().poll(cx));
        self.state = State::Gone;
        match end {
            Ok(End::Closing(closing)) => {
                self.state = State::Lingering(Box::pin(closing.linger(self.linger)));
            }
            Ok(End::Detached(handed)) => self.give(handed),
            Err(error) => self.error = Some(error),
        }
        Poll::Ready(())
    }

    /// Waits until the socket is gone.
    fn poll_lingered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Lingering(lingering) = &mut self.state {
            ready!(lingering.as_mut().poll(cx));
            self.state = State::Gone;
        }
        Poll::Ready(())
    }
}

impl<M: Machine<Addr = ()>, S: ByteStream> Carriers<M> for OneStream<S> {
    type Stream = S;

    fn send(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<()>) -> Sent<()> {
        if self.line().is_some_and(|line| line.send(cx, tx)) {
            Sent::Full(())
        } else {
            Sent::All
        }
    }

    fn answer(&mut self, ask: Ask<()>) {
        match ask {
            Ask::Open { tag, .. } => self.cues.push_back(Link::Failed(tag, Cause::Unreachable)),
            Ask::Cancel(tag) => self
                .cues
                .retain(|cue| !matches!(cue, Link::Failed(failed, _) if *failed == tag)),
            Ask::Finish(()) => {
                if let Some(line) = self.line() {
                    line.finish();
                }
            }
            Ask::Close(()) => self.close(),
            Ask::Abort(()) => {
                if let Some(line) = self.take_line() {
                    line.abort();
                }
            }
            Ask::Detach { tag, early, .. } => {
                if let Some(line) = self.line() {
                    line.hand(tag, early);
                }
            }
        }
    }

    fn poll_inputs(
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
        match &mut self.state {
            State::Carried(line) => match line.visit(cx, (now, ()), machine, may_read) {
                Visit::Busy => is_busy = true,
                Visit::Quiet | Visit::Parked => {}
                Visit::Down(error) => {
                    self.error = Some(error);
                    self.state = State::Gone;
                    is_busy = true;
                }
                Visit::Detached => {
                    if let Some(handed) = self.take_line().and_then(Line::into_handed) {
                        self.give(handed);
                    }
                    is_busy = true;
                }
            },
            State::Ending(_) => is_busy |= self.poll_ended(cx).is_ready(),
            State::Lingering(_) => {
                // The loop cares for it as long as the machine has something to do.
                let _ = self.poll_lingered(cx);
            }
            State::Gone => {}
        }
        is_busy
    }

    fn handed(&mut self) -> Option<Detached<S>> {
        self.handed.take()
    }

    fn is_flushed(&self) -> bool {
        match &self.state {
            State::Carried(line) => line.is_flushed(),
            State::Lingering(_) => true,
            State::Ending(_) | State::Gone => false,
        }
    }

    fn outlook(&self) -> Outlook {
        match &self.state {
            State::Carried(line) if line.is_silent() => Outlook::Empty,
            State::Carried(_) | State::Ending(_) => Outlook::Alive,
            State::Lingering(_) | State::Gone if self.was_handed => Outlook::Detached,
            State::Lingering(_) | State::Gone => Outlook::Empty,
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        ready!(self.poll_ended(cx));
        Poll::Ready(self.error.take().map_or(Ok(()), Err))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_lingered(cx)
    }
}
