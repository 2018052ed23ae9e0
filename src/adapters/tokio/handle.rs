//! What an application holds of a machine that a driver owns.

use core::error::Error;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use tokio::sync::oneshot;

use super::channel::{NotSent, Receiver, Sender, channel};
use super::driver::Front;
use crate::adapters::{Clock, CommandError, Detached};
use crate::{Instant, Limits, Machine};

/// How a driver treats its machine and its application.
pub struct Options<M: Machine> {
    /// The origin of time. Drivers that share a clock see the same instants. Default: one of its own.
    pub clock: Clock,
    /// How much one poll may send. Default 64 KiB.
    pub limits: Limits,
    /// Commands that may wait for the machine, at least 1. Default 64.
    pub commands: usize,
    /// How much may wait to be taken by the application, as weighed by `weigh`. While as much as this
    /// waits, and until half of it is taken, the driver takes no commands and reads nothing. Default 64.
    pub events: usize,
    /// How much an event counts. Default: 1 each.
    pub weigh: fn(&M::Event) -> usize,
    /// What the machine is told once the last [`Commands`] was dropped.
    ///
    /// Without it the driver goes on until the machine is done, or until nothing can reach it any more.
    /// Default `None`.
    pub on_drop: Option<M::Command>,
    /// How long a stream that is to be closed waits for a peer that takes nothing, and then for the
    /// peer's own end. Closing earlier would cut off what the peer has yet to read. Default 10 s.
    pub linger: Duration,
}

impl<M: Machine> Default for Options<M> {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            limits: Limits::default(),
            commands: 64,
            events: 64,
            weigh: |_| 1,
            on_drop: None,
            linger: Duration::from_secs(10),
        }
    }
}

/// What an application hears.
#[derive(Debug)]
pub enum Notice<E, S> {
    /// The machine has something to tell.
    Event(E),
    /// The machine gave a stream away; it belongs to the application.
    Detached(Detached<S>),
}

/// Both ends of an application's talk with a machine.
///
/// Who sends commands must also take events, or drop the [`Events`]: while too many wait, commands wait
/// too.
pub struct Handle<M: Machine, S> {
    commands: Commands<M>,
    events: Events<M::Event, S>,
}

impl<M: Machine, S> Handle<M, S> {
    /// Gives a command to the machine and waits for its answer.
    ///
    /// # Errors
    ///
    /// The machine's refusal, or [`CommandError::Gone`].
    pub async fn command(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        self.commands.command(command).await
    }

    /// Waits for what the machine has to tell; `None` at the end of the driver.
    pub async fn event(&mut self) -> Option<Notice<M::Event, S>> {
        self.events.next().await
    }

    /// Parts the two ends, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (Commands<M>, Events<M::Event, S>) {
        (self.commands, self.events)
    }
}

impl<M: Machine, S> fmt::Debug for Handle<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// The way of commands to a machine. Clones share it.
pub struct Commands<M: Machine>(Sender<Envelope<M::Command, M::Error>>);

impl<M: Machine> Commands<M> {
    /// Gives a command to the machine and waits for its answer.
    ///
    /// # Errors
    ///
    /// The machine's refusal, or [`CommandError::Gone`].
    pub async fn command(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        self.submit(command).await?.await
    }

    /// Waits for a place in the queue and puts a command there.
    ///
    /// Commands are taken in order. The answer comes through what is returned, so many may be under way
    /// at once; who drops it does not want to know.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the driver ended.
    pub async fn submit(&self, command: M::Command) -> Result<Answer<M::Error>, Gone> {
        let (envelope, answer) = envelope(command);
        self.0.send(envelope, 1).await.map_err(|_| Gone)?;
        Ok(answer)
    }

    /// Puts a command into the queue if there is a place.
    ///
    /// # Errors
    ///
    /// The command itself, when there is no place or the driver ended.
    pub fn try_submit(&self, command: M::Command) -> Result<Answer<M::Error>, M::Command> {
        let (envelope, answer) = envelope(command);
        match self.0.try_send(envelope, 1) {
            Ok(()) => Ok(answer),
            Err(NotSent::Full(envelope) | NotSent::Gone(envelope)) => Err(envelope.command),
        }
    }
}

impl<M: Machine> Clone for Commands<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine> fmt::Debug for Commands<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}

/// The way of events from a machine. Once it is dropped, events are discarded.
pub struct Events<E, S>(Receiver<Notice<E, S>>);

impl<E, S> Events<E, S> {
    /// Waits for what the machine has to tell; `None` at the end of the driver.
    pub async fn next(&mut self) -> Option<Notice<E, S>> {
        self.0.next().await
    }

    /// Returns what the machine has told already, if anything.
    pub fn try_next(&mut self) -> Option<Notice<E, S>> {
        self.0.try_next()
    }
}

impl<E, S> fmt::Debug for Events<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The machine's answer to a command that was submitted.
#[derive(Debug)]
#[must_use = "a refusal is told here and nowhere else"]
pub struct Answer<E>(oneshot::Receiver<Result<(), E>>);

impl<E> Future for Answer<E> {
    type Output = Result<(), CommandError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(answer) => answer.map_err(CommandError::Refused),
            Err(_) => Err(CommandError::Gone),
        })
    }
}

/// The driver has ended, and the machine with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the driver has ended")
    }
}

impl Error for Gone {}

impl<E> From<Gone> for CommandError<E> {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

struct Envelope<C, E> {
    command: C,
    answer: oneshot::Sender<Result<(), E>>,
}

fn envelope<C, E>(command: C) -> (Envelope<C, E>, Answer<E>) {
    let (sender, receiver) = oneshot::channel();
    let envelope = Envelope {
        command,
        answer: sender,
    };
    (envelope, Answer(receiver))
}

/// The driver's side of a [`Handle`].
pub(super) struct Desk<M: Machine, S> {
    /// None once every `Commands` was dropped.
    commands: Option<Receiver<Envelope<M::Command, M::Error>>>,
    events: Sender<Notice<M::Event, S>>,
    weigh: fn(&M::Event) -> usize,
    on_drop: Option<M::Command>,
}

impl<M: Machine, S> Desk<M, S> {
    /// Opens a desk, and makes the handle that talks to it.
    pub(super) fn open(options: Options<M>) -> (Handle<M, S>, Self) {
        let (command_sender, command_receiver) = channel(options.commands);
        let (event_sender, event_receiver) = channel(options.events);
        let handle = Handle {
            commands: Commands(command_sender),
            events: Events(event_receiver),
        };
        let desk = Self {
            commands: Some(command_receiver),
            events: event_sender,
            weigh: options.weigh,
            on_drop: options.on_drop,
        };
        (handle, desk)
    }
}

impl<M: Machine, S> Front<M, S> for Desk<M, S> {
    fn event(&mut self, event: M::Event) {
        let weight = (self.weigh)(&event);
        self.events.lay(Notice::Event(event), weight);
    }

    fn handed(&mut self, handed: Detached<S>) {
        self.events.lay(Notice::Detached(handed), 1);
    }

    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.events.poll_room(cx)
    }

    fn poll_command(&mut self, cx: &Context<'_>, now: Instant, machine: &mut M) -> Poll<()> {
        let Some(commands) = &mut self.commands else {
            return Poll::Pending;
        };
        if let Some(envelope) = ready!(commands.poll_next(cx)) {
            let answer = machine.command(now, envelope.command);
            // Who dropped the receiver does not want to know.
            let _ = envelope.answer.send(answer);
            return Poll::Ready(());
        }
        self.commands = None;
        if let Some(command) = self.on_drop.take() {
            // A machine that refuses it is closing already, and nobody is left to be told.
            let _ = machine.command(now, command);
        }
        Poll::Ready(())
    }

    fn is_gone(&self) -> bool {
        self.commands.is_none()
    }

    fn rest(&mut self) {
        self.events.ring();
    }
}
