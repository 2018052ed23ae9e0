//! One machine on one byte stream.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::io;
use std::net::TcpStream;
use std::thread;

use super::Carrier;
use super::drive::Drive;
use super::shared::{Found, Shared};
use super::threads;
use crate::adapters::{Clock, CommandError, Detached};
use crate::{Instant, Limits, Machine, Tag};

/// What becomes of commands while too much waits for the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// They wait too, so that their own events do not pile up.
    #[default]
    HoldCommands,
    /// They are taken. Only for machines whose commands make no events without bound.
    TakeCommands,
}

/// How a machine is driven.
pub struct Options<M: Machine> {
    /// The clock that the machine lives by. Default: one of its own.
    pub clock: Clock,
    /// How much one poll may send. Default 64 KiB.
    pub limits: Limits,
    /// How much may wait to be taken by the application, as weighed by `sort`. While as much as this waits,
    /// the loop takes no commands and reads nothing. Default 64.
    pub events: usize,
    /// Tells what an event is to the driver. Default: an event that weighs 1.
    pub sort: fn(&M::Event) -> Sort,
    /// The command that the machine gets when the last [`Handle`] is dropped. Without one it goes on until
    /// it is done. Default `None`.
    pub on_drop: Option<M::Command>,
    /// What becomes of commands while too much waits for the application. Default: they wait.
    pub when_full: WhenFull,
    /// How long a stream that is to be closed waits for a peer that takes nothing, until it is aborted, and
    /// then for the peer's own end. Closing earlier would cut off what the peer has yet to read. Default
    /// 10 s.
    pub linger: Duration,
}

impl<M: Machine> Default for Options<M> {
    fn default() -> Self {
        Self {
            clock: Clock::new(),
            limits: Limits::stream(1 << 16),
            events: 64,
            sort: |_| Sort::Event(1),
            on_drop: None,
            when_full: WhenFull::HoldCommands,
            linger: Duration::from_secs(10),
        }
    }
}

/// What an event is to a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The application's; it weighs so much while it waits.
    Event(usize),
    /// It says that there is room again after a refusal, which ends the waits of
    /// [`Handle::command_when`]. The application does not see it.
    Room,
    /// It ends the wait of [`Handle::ask`] for this tag. The application does not see it.
    Answer(Tag),
    /// The application's, weighing so much; and nothing that is waited for will come any more.
    End(usize),
}

/// Drives `machine` over `stream` until it is done, and closes the stream then.
///
/// Commands run in the thread that gives them, up to the send itself. Three threads do the rest, and none
/// outlives the connection: one reads, one writes what the stream did not take at once, one fires timers.
///
/// # Errors
///
/// The system's own: the stream cannot be set up, or a thread cannot be started.
pub fn start<M, S>(
    machine: M,
    stream: S,
    options: Options<M>,
) -> io::Result<(Handle<M, S>, Events<M, S>)>
where
    M: Machine<Addr = (), Command: Send, Event: Send> + Send + 'static,
    S: Carrier,
{
    stream.block(Some(threads::SHORTEST_READ), Some(threads::LONGEST_WRITE))?;
    let clock = options.clock;
    let cut = Arc::new(AtomicBool::new(false));
    let stream = Arc::new(stream);
    let drive = Drive::new(machine, Arc::clone(&stream), Arc::clone(&cut), options);
    let shared = Arc::new(Shared::new(drive, clock, cut));
    shared.with(Drive::begin);
    if let Err(error) = threads::spawn(&shared, stream) {
        shared.with(Drive::call_off);
        return Err(error);
    }
    let events = Events {
        shared: Arc::clone(&shared),
        taken: VecDeque::new(),
    };
    Ok((Handle { shared }, events))
}

/// The commanding end of a driven machine; clones command the same machine.
pub struct Handle<M: Machine<Addr = ()>, S: Carrier = TcpStream> {
    shared: Arc<Shared<M, S>>,
}

impl<M: Machine<Addr = ()>, S: Carrier> Handle<M, S> {
    /// Gives the machine a command, and sends what comes of it.
    ///
    /// It waits while events wait in a full channel: who commands must also take events, or drop their
    /// receiver. It does not wait for the peer.
    ///
    /// # Errors
    ///
    /// The machine's refusal, or that it is done.
    pub fn command(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        self.when_room(|drive| drive.command(command))
    }

    /// Gives the machine a command, and gives it again after a refusal that `later` knows to pass, once
    /// there is room for it: see [`Sort::Room`].
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command).
    pub fn command_when(
        &self,
        command: &M::Command,
        later: impl Fn(&M::Error) -> bool,
    ) -> Result<(), CommandError<M::Error>>
    where
        M::Command: Clone,
    {
        loop {
            // Before the try, as its refusal may be answered before the wait begins.
            let before = self.shared.with(|drive| drive.rooms());
            match self.command(command.clone()) {
                Err(CommandError::Refused(error)) if later(&error) => {}
                outcome => return outcome,
            }
            self.shared.when(&self.shared.bells.waiting, |drive| {
                if before == Some(drive.rooms()) && !drive.is_done() {
                    Found::Nothing(None)
                } else {
                    Found::This(())
                }
            });
        }
    }

    /// Gives the machine a command that ends things, even while events wait in a full channel.
    ///
    /// # Errors
    ///
    /// The machine's refusal, or that it is done.
    pub fn command_last(&self, command: M::Command) -> Result<(), CommandError<M::Error>> {
        let outcome = self.shared.with(|drive| drive.command(command));
        outcome.unwrap_or(Err(CommandError::Gone))
    }

    /// Gives the machine a command, and waits until it answers by an event of the sort [`Sort::Answer`]
    /// with this tag, and what it wrote before that is with the system.
    ///
    /// A tag is to be used by one call at a time.
    ///
    /// # Errors
    ///
    /// The machine's refusal, or that it was done before it answered.
    pub fn ask(&self, command: M::Command, tag: Tag) -> Result<(), CommandError<M::Error>> {
        self.when_room(|drive| drive.ask(command, tag))?;
        let answered = self.shared.when(&self.shared.bells.callers, |drive| {
            drive
                .answered(tag)
                .map_or(Found::Nothing(None), Found::This)
        });
        match answered {
            Some(true) => Ok(()),
            _ => Err(CommandError::Gone),
        }
    }

    /// Waits until events are not in the way of commands.
    fn when_room(
        &self,
        give: impl FnOnce(&mut Drive<M, S>) -> Result<(), CommandError<M::Error>>,
    ) -> Result<(), CommandError<M::Error>> {
        let mut give = Some(give);
        let outcome = self.shared.when(&self.shared.bells.callers, |drive| {
            if !drive.is_done() && !drive.takes_commands() {
                return Found::Nothing(None);
            }
            let give = give.take();
            Found::This(give.map_or(Err(CommandError::Gone), |give| give(drive)))
        });
        outcome.unwrap_or(Err(CommandError::Gone))
    }

    /// Waits until the stream has taken everything that the machine wanted to send so far.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the stream ended before.
    pub fn flush(&self) -> io::Result<()> {
        let is_whole = self.shared.when(&self.shared.bells.callers, |drive| {
            if drive.is_unsent() {
                Found::Nothing(None)
            } else {
                Found::This(drive.is_whole())
            }
        });
        match is_whole {
            Some(true) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Shows the machine to `see`; `None` when it panicked.
    pub fn look<T>(&self, see: impl FnOnce(&M) -> T) -> Option<T> {
        self.shared.with(|drive| see(drive.machine()))
    }

    /// Waits until the machine is done, its stream is closed or handed over, and its threads have ended.
    pub fn wait(&self) {
        self.shared.when(&self.shared.bells.callers, |drive| {
            if drive.has_threads() {
                Found::Nothing(None)
            } else {
                Found::This(())
            }
        });
    }
}

impl<M: Machine<Addr = ()>, S: Carrier> Clone for Handle<M, S> {
    fn clone(&self) -> Self {
        self.shared.with(|drive| drive.handles += 1);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Machine<Addr = ()>, S: Carrier> Drop for Handle<M, S> {
    fn drop(&mut self) {
        self.shared.with(|drive| {
            drive.handles -= 1;
            if drive.handles == 0 {
                drive.forsake();
            }
        });
    }
}

impl<M: Machine<Addr = ()>, S: Carrier> fmt::Debug for Handle<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(..)")
    }
}

/// The receiving end of a driven machine. Once it is dropped, events are discarded.
pub struct Events<M: Machine<Addr = ()>, S: Carrier = TcpStream> {
    shared: Arc<Shared<M, S>>,
    /// Taken from the loop all at once, so that the lock is taken once per batch.
    taken: VecDeque<M::Event>,
}

impl<M: Machine<Addr = ()>, S: Carrier> Events<M, S> {
    /// Waits for the next event. `None` says that none will come: the machine is done, and what it sent
    /// has left.
    pub fn event(&mut self) -> Option<M::Event> {
        self.await_event(None)
    }

    /// Waits for the next event, at most for `limit`. `None` says that none came, or that none will.
    pub fn event_timeout(&mut self, limit: Duration) -> Option<M::Event> {
        let until = self.shared.clock.now() + limit;
        self.await_event(Some(until))
    }

    fn await_event(&mut self, until: Option<Instant>) -> Option<M::Event> {
        if let Some(event) = self.taken.pop_front() {
            return Some(event);
        }
        // In a flow the reader brings more at once; giving way to it costs a third of going to sleep.
        thread::yield_now();
        let taken = &mut self.taken;
        let clock = self.shared.clock;
        self.shared.when(&self.shared.bells.application, |drive| {
            let is_late = until.is_some_and(|until| until <= clock.now());
            if drive.take_news(taken) || drive.is_over() || is_late {
                Found::This(())
            } else {
                Found::Nothing(until)
            }
        });
        self.taken.pop_front()
    }

    /// Tells whether no further event will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_over = self
            .shared
            .with(|drive| drive.is_over() && !drive.has_news());
        self.taken.is_empty() && is_over.unwrap_or(true)
    }

    /// Waits until the machine hands its stream over. `None` says that it will not: the stream is closed.
    ///
    /// What had been read from the stream and was not seen by the machine is in [`Detached::early`].
    #[must_use]
    pub fn handed(&self) -> Option<Detached<S>> {
        self.shared
            .when(&self.shared.bells.application, |drive| {
                let handed = drive.take_handed();
                if handed.is_some() || !drive.may_hand() {
                    Found::This(handed)
                } else {
                    Found::Nothing(None)
                }
            })
            .flatten()
    }
}

impl<M: Machine<Addr = ()>, S: Carrier> Drop for Events<M, S> {
    fn drop(&mut self) {
        drop(self.shared.with(Drive::discard_news));
    }
}

impl<M: Machine<Addr = ()>, S: Carrier> fmt::Debug for Events<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events(..)")
    }
}
