//! Handles for any machine: commands in, events out.
//!
//! [`stream`] drives a machine over one byte stream, [`sockets`] over UDP sockets, listeners and connections,
//! some of which it opens when the machine asks, and [`interfaces`] over numbered interfaces. The handles of
//! COTP and LTP speak of connections and blocks; these speak of commands and events, and so serve machines
//! of one's own. On tokio the runtime is that of `adapters::tokio::runtime`; `adapters::blocking::raw` has the
//! same for threads.
//!
//! A driver never waits while it sends: what would block is kept, and the machine hears `Full` and later
//! `Free`. While too many events wait to be taken, nothing is read and no command is taken, but what the
//! machine has to say is sent, timers fire and asks are answered.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::task::Poll;
use core::time::Duration;
use std::io;

use super::CommandError;
use super::event_loop::{Carrier, Core, EventOf, Port};
use super::handle::DetachedStream;
use super::receive_queue::ReceiveQueue;
use super::runtime::{ByteStream, Runtime};
use super::shared::Shared;
use super::stream::OneStream;
use super::{interfaces::Interfaces, sockets::Sockets};
use crate::adapters::Clock;
use crate::{Hop, Limits, Machine, Path};

/// What a machine needs to be driven: it and what goes in and out of it can be sent to another thread.
pub trait SendMachine: Machine<Command: Send, Event: Send> + Send + 'static {}

impl<M: Machine<Command: Send, Event: Send> + Send + 'static> SendMachine for M {}

/// How a machine is driven.
pub struct DriverOptions<M: Machine> {
    /// The origin of the machine's time. Drivers that share a clock see the same instants. Default: one of
    /// its own.
    pub clock: Clock,
    /// How much one poll may send. Default 64 KiB.
    pub limits: Limits,
    /// How much may wait to be taken by the application, in what `weigh` counts. From there on, and until
    /// half of it is taken, nothing is read and no command is taken. Default 64, at least 1.
    pub events: usize,
    /// How much an event counts. Default: 1.
    pub weigh: fn(&M::Event) -> usize,
    /// What the machine is told once the last [`Commands`] was dropped. With `None`, the default, it is driven
    /// until it is done, or until nothing can reach it.
    pub on_drop: Option<M::Command>,
    /// How long a stream that is to be closed waits for a peer that takes nothing, and then for the peer's
    /// own end. Closing earlier would cut off what the peer has yet to read. Default 10 s.
    pub linger: Duration,
}

impl<M: Machine> Default for DriverOptions<M> {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            limits: Limits::default(),
            events: 64,
            weigh: |_| 1,
            on_drop: None,
            linger: Duration::from_secs(10),
        }
    }
}

/// Drives `machine` over one byte stream: a TCP connection, TLS over it, a pipe, a serial line.
///
/// The machine hears [`Link::Up`](crate::Link::Up) first, [`Link::Ended`](crate::Link::Ended) at the peer's
/// FIN and [`Link::Down`](crate::Link::Down) when the stream breaks. [`Ask::Open`](crate::Ask::Open) fails as
/// unreachable.
///
/// A TCP connection is taken as it is. Machines write whole messages, so most want `TCP_NODELAY`.
pub fn stream<M: SendMachine + Machine<Addr = ()>>(
    runtime: &Arc<dyn Runtime>,
    machine: M,
    stream: impl Into<Box<dyn ByteStream>>,
    options: DriverOptions<M>,
) -> (Commands<M>, Events<M>) {
    let carrier = OneStream::new(stream, options.linger);
    start(runtime, machine, Box::new(carrier), options)
}

/// Drives `machine` over sockets, and opens more when it asks; see [`sockets`](super::sockets).
///
/// # Errors
///
/// The runtime cannot watch one of the sockets.
pub fn sockets<M: SendMachine + Machine<Addr = Path>>(
    runtime: &Arc<dyn Runtime>,
    machine: M,
    sockets: Sockets,
    options: DriverOptions<M>,
) -> io::Result<(Commands<M>, Events<M>)> {
    let table = sockets.into_table(runtime, options.linger)?;
    Ok(start(runtime, machine, Box::new(table), options))
}

/// Drives `machine` over numbered interfaces; see [`interfaces`](super::interfaces).
///
/// # Errors
///
/// The runtime cannot watch one of the interfaces.
pub fn interfaces<M: SendMachine + Machine<Addr = Hop>>(
    runtime: &Arc<dyn Runtime>,
    machine: M,
    interfaces: Interfaces,
    options: DriverOptions<M>,
) -> io::Result<(Commands<M>, Events<M>)> {
    let table = interfaces.into_table(runtime, options.linger)?;
    Ok(start(runtime, machine, Box::new(table), options))
}

fn start<M: SendMachine>(
    runtime: &Arc<dyn Runtime>,
    machine: M,
    carrier: Box<dyn Carrier<M>>,
    options: DriverOptions<M>,
) -> (Commands<M>, Events<M>) {
    let (clock, limits) = (options.clock, options.limits);
    let port = RawPort {
        events: ReceiveQueue::new(options.events.max(1)),
        options,
        commands: 1,
        outcome: None,
    };
    let shared = Shared::start(runtime, clock, limits, port, machine, carrier);
    (Commands(Arc::clone(&shared)), Events(shared))
}

/// What the application is told.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a machine tells or gives away")]
pub enum Notice<E> {
    /// The machine has something to tell.
    Event(E),
    /// The machine gave a stream away; it belongs to the application.
    Detached(DetachedStream),
}

/// Gives commands to a machine. Clones give them to the same.
///
/// Whoever gives commands must also take events, or drop the [`Events`]: while too many wait, commands wait
/// too.
#[derive(derive_more::Debug)]
#[debug("Commands(..)")]
pub struct Commands<M: SendMachine>(Arc<Shared<RawPort<M>>>);

/// Takes the events of a machine. Once it is dropped, events are discarded.
#[derive(derive_more::Debug)]
#[debug("Events(..)")]
pub struct Events<M: SendMachine>(Arc<Shared<RawPort<M>>>);

faces! {
    impl [<M: SendMachine>] Commands<M> {
        /// Gives the machine a command once few enough events wait. Commands that wait are given in order.
        ///
        /// A future that is dropped has given its command, or never will.
        ///
        /// # Errors
        ///
        /// The machine's refusal, or [`CommandError::Gone`].
        pub async fn command(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
            let mut command = Some(command);
            let given = self.0.until(Line::Command, |core, place| {
                let is_turn = place.is_first && core.port.has_room();
                if !core.is_over() && !is_turn {
                    return Poll::Pending;
                }
                let command = command.take();
                Poll::Ready(command.map_or(Err(CommandError::Gone), |it| core.command(it)))
            });
            given.await.unwrap_or(Err(CommandError::Gone))
        }

        /// Gives the machine a command if few enough events wait.
        ///
        /// # Errors
        ///
        /// The command itself, when too many events wait; else as [`command`](Self::command).
        pub fn try_command(
            &self,
            command: M::Command
        ) -> Result<Result<(), CommandError<M::Error>>, M::Command> {
            let mut command = Some(command);
            let given = self.0.with(|core| {
                let is_taken = core.is_over() || core.port.has_room();
                Some(core.command(command.take_if(|_| is_taken)?))
            });
            match (given, command) {
                (Ok(None), Some(command)) => Err(command),
                (Ok(Some(given)), _) => Ok(given),
                (Ok(None) | Err(_), _) => Ok(Err(CommandError::Gone)),
            }
        }

        /// Gives the machine a command even while too many events wait: one that ends things.
        ///
        /// # Errors
        ///
        /// As [`command`](Self::command).
        pub fn command_now(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
            let given = self.0.with(|core| core.command(command));
            given.unwrap_or(Err(CommandError::Gone))
        }

        /// Shows the machine to `look`; `None` when it panicked.
        pub fn with_machine<T>(&self, look: impl FnOnce(&M) -> T) -> Option<T> {
            self.0.with(|core| look(core.peek())).ok()
        }

        /// Waits until all that the machine wants to send so far is with the system.
        ///
        /// # Errors
        ///
        /// `BrokenPipe`: the machine ended with a broken stream before, or it panicked.
        pub async fn flush[flush_timeout](&self) -> io::Result<()> {
            let flushed = self.0.until(Line::Flush, |core, _| {
                match &core.port.outcome {
                    Some(Err(_)) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                    None if !core.is_flushed() => Poll::Pending,
                    _ => Poll::Ready(Ok(())),
                }
            });
            flushed.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        }

        /// Waits until the machine is done and what it sent is with the system.
        ///
        /// # Errors
        ///
        /// What broke the only stream of the machine, or `BrokenPipe` when the machine panicked.
        pub async fn closed[closed_timeout](&self) -> io::Result<()> {
            let closed = self.0.until(Line::End, |core, _| {
                match &core.port.outcome {
                    Some(Ok(())) => Poll::Ready(Ok(())),
                    Some(Err(error)) => Poll::Ready(Err(copy_of(error))),
                    None => Poll::Pending,
                }
            });
            closed.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        }
    }
}

faces! {
    impl [<M: SendMachine<Command: Clone>>] Commands<M> {
        /// Gives the machine a command, and again after each of its events while it refuses in a way that
        /// `is_temporary`.
        ///
        /// # Errors
        ///
        /// Another refusal, or [`CommandError::Gone`].
        pub async fn command_when(&self, command: M::Command, is_temporary: fn(&M::Error) -> bool) -> Result<(), CommandError<M::Error>> {
            let given = self.0.until(Line::Retry, |core, _| {
                if !core.is_over() && !core.port.has_room() {
                    return Poll::Pending;
                }
                match core.command(command.clone()) {
                    Err(CommandError::Refused(why)) if is_temporary(&why) => Poll::Pending,
                    given => Poll::Ready(given),
                }
            });
            given.await.unwrap_or(Err(CommandError::Gone))
        }
    }
}

faces! {
    impl [<M: SendMachine>] Events<M> {
        /// Waits for what the machine has to tell. `None` says that nothing will come: the machine is done,
        /// and what it sent is with the system.
        pub async fn recv(&mut self) -> Option<Notice<M::Event>> {
            let next = self.0.until(Line::Event, |core, _| {
                match core.take() {
                    None if core.port.outcome.is_none() => Poll::Pending,
                    next => Poll::Ready(next),
                }
            });
            next.await.unwrap_or(None)
        }

        /// Returns what the machine has told already, if anything.
        pub fn try_recv(&mut self) -> Option<Notice<M::Event>> {
            self.0.with(Core::take).ok().flatten()
        }

        /// Tells whether nothing will come any more.
        #[must_use]
        pub fn is_finished(&self) -> bool {
            let is_finished = self.0.with(|core| {
                core.port.events.is_empty() && core.port.outcome.is_some()
            });
            is_finished.unwrap_or(true)
        }
    }
}

impl<M: SendMachine> Clone for Commands<M> {
    fn clone(&self) -> Self {
        // Behind a panic nobody counts.
        let _ = self.0.with(|core| core.port.commands += 1);
        Self(Arc::clone(&self.0))
    }
}

impl<M: SendMachine> Drop for Commands<M> {
    fn drop(&mut self) {
        let _ = self.0.with(|core| {
            core.port.commands -= 1;
            if core.port.commands > 0 || core.is_over() {
                return;
            }
            // For a machine that is not driven any more once nobody can reach it.
            core.touch();
            if let Some(command) = core.port.options.on_drop.take() {
                // A machine that refuses it is closing already, and nobody is left to be told.
                let _ = core.give(command);
            }
        });
    }
}

impl<M: SendMachine> Drop for Events<M> {
    fn drop(&mut self) {
        let discarded = self.0.with(|core| {
            core.wakes.first(Line::Command);
            core.wakes.all(Line::Retry);
            core.port.events.close()
        });
        drop(discarded);
    }
}

/// What handles do under the lock.
impl<M: SendMachine> Core<RawPort<M>> {
    fn command(&mut self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        if self.is_over() {
            return Err(CommandError::Gone);
        }
        self.give(command).map_err(CommandError::Refused)
    }

    fn take(&mut self) -> Option<Notice<M::Event>> {
        let had_room = self.port.events.has_room();
        let notice = self.port.events.take()?;
        if !had_room && self.port.events.has_room() {
            self.wakes.first(Line::Command);
            self.wakes.all(Line::Retry);
        }
        Some(notice)
    }

    fn put(&mut self, notice: Notice<M::Event>, weight: usize) {
        self.port.events.put(notice, weight);
        self.wakes.first(Line::Event);
        self.wakes.all(Line::Retry);
    }
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    /// That few enough events wait.
    Command,
    /// Any event, after a refusal that is temporary.
    Retry,
    Event,
    Flush,
    End,
}

/// Events that wait to be taken, and who is left to take and to command.
struct RawPort<M: SendMachine> {
    options: DriverOptions<M>,
    events: ReceiveQueue<Notice<M::Event>>,
    /// Handles that can give commands.
    commands: usize,
    /// How the driver ended.
    outcome: Option<io::Result<()>>,
}

impl<M: SendMachine> Port for RawPort<M> {
    type Machine = M;
    type Line = Line;

    fn deliver(core: &mut Core<Self>, event: EventOf<Self>) {
        let weight = (core.port.options.weigh)(&event);
        core.put(Notice::Event(event), weight);
    }

    fn has_room(&self) -> bool {
        self.events.has_room()
    }

    fn flushed(core: &mut Core<Self>) {
        core.wakes.all(Line::Flush);
    }

    fn detached(core: &mut Core<Self>, stream: DetachedStream) {
        core.put(Notice::Detached(stream), 1);
    }

    fn is_abandoned(&self) -> bool {
        self.commands == 0
    }

    fn end(&mut self, _: &mut M, outcome: io::Result<()>) {
        self.outcome = Some(outcome);
    }
}

/// `io::Error` cannot be cloned, and several may wait for the end.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
