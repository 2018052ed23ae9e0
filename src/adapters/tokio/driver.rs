//! The one loop: drain the machine, look at the inputs, wait.
//!
//! It knows neither the protocol nor the sockets. What carries octets is a [`Carriers`], what the
//! application talks to is a [`Front`].

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::Sleep;

use super::scratch;
use crate::adapters::{Clock, Detached};
use crate::{Ask, Instant, Limits, Link, Machine, Output, Transmit};

/// Sends in a row before the inputs are looked at, so that a busy sender still hears its peers.
pub(super) const SENDS: usize = 64;

/// Commands in a row before the machine is drained.
const COMMANDS: usize = 64;

/// Turns in a row before other tasks of the runtime get theirs.
const TURNS: usize = 32;

/// What carries the octets of one kind of address.
pub(super) trait Carriers<M: Machine> {
    /// What a machine can give away.
    type Stream;

    /// Sends what is in `tx` and never waits.
    fn send(&mut self, cx: &mut Context<'_>, tx: &mut Transmit<M::Addr>) -> Sent<M::Addr>;

    /// Does what the machine asks. What there is to answer comes as an input.
    fn answer(&mut self, ask: Ask<M::Addr>);

    /// Looks at every input once, gives what there is to the machine, and tells whether there was any.
    ///
    /// Unless `may_read`, octets, ends and new streams are left where they are.
    fn poll_inputs(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut M,
        may_read: bool,
    ) -> bool;

    /// Returns a stream that the machine gave away.
    fn handed(&mut self) -> Option<Detached<Self::Stream>>;

    /// Tells whether all that was sent is known to be with the system.
    fn is_flushed(&self) -> bool {
        false
    }

    /// Tells what can still come of the carriers.
    fn outlook(&self) -> Outlook;

    /// Closes everything in good order; ready once all that was sent is with the system.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits, behind [`poll_finish`](Self::poll_finish), until the last socket is gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What became of a send.
pub(super) enum Sent<A> {
    /// The carrier took it.
    All,
    /// The stream keeps the rest in its outbox; the machine must be told `Full`.
    Full(A),
    /// The UDP socket is full. `tx` is untouched and to be sent again.
    Held,
}

/// What can still come of the carriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Inputs.
    Alive,
    /// Nothing, unless the machine asks for it.
    Empty,
    /// Nothing: the only stream was given away.
    Detached,
}

/// The application as the loop sees it.
pub(super) trait Front<M: Machine, S> {
    /// Takes an event; never refuses, so that asks and sends behind it are not held up.
    fn event(&mut self, event: M::Event);

    /// Takes a stream that the machine gave away.
    fn handed(&mut self, handed: Detached<S>);

    /// Waits until few enough events wait for the application.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()>;

    /// Waits for a command and gives it to the machine.
    fn poll_command(&mut self, cx: &Context<'_>, now: Instant, machine: &mut M) -> Poll<()>;

    /// Tells whether commands are taken while too much waits for the application. Only for machines whose
    /// commands make no events without bound.
    fn takes_commands_when_full(&self) -> bool {
        false
    }

    /// Tells whether nobody can give a command any more.
    fn is_gone(&self) -> bool;

    /// Returns when to ask it for a command again, should there be none until then.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Hears that all the machine has sent so far is with the system.
    fn flushed(&mut self) {}

    /// Hears that the driver is about to rest: whoever waits for an event may be called.
    fn rest(&mut self);
}

/// A machine with all it needs: a task that ends when the machine is done and the last socket is closed.
pub(super) struct Driver<M: Machine, C, F> {
    /// None once the application was told of the end.
    running: Option<Running<M, F>>,
    carriers: C,
    finished: io::Result<()>,
}

/// What only lives as long as the application is to hear of it.
struct Running<M: Machine, F> {
    machine: M,
    front: F,
    clock: Clock,
    limits: Limits,
    timer: Timer,
    /// What a full UDP socket would not take. The machine is not polled meanwhile.
    held: Option<Transmit<M::Addr>>,
    /// The machine is done, or nothing can reach it any more.
    is_over: bool,
}

/// How a drain ended.
enum Drained {
    /// The machine has nothing to say until then.
    Idle(Option<Instant>),
    /// It has more, but the inputs come first.
    Paused,
    /// A UDP socket is full.
    Held,
    /// The machine is done.
    Done,
}

/// How a turn ended.
enum Turn {
    /// There may be more to do.
    Busy,
    /// Every input will call.
    Quiet,
    /// Nothing will ever come again.
    Over,
}

impl<M, C, F> Driver<M, C, F>
where
    M: Machine,
    C: Carriers<M>,
    F: Front<M, C::Stream>,
{
    pub(super) fn new(machine: M, carriers: C, front: F, clock: Clock, limits: Limits) -> Self {
        Self {
            running: Some(Running {
                machine,
                front,
                clock,
                limits,
                timer: Timer::default(),
                held: None,
                is_over: false,
            }),
            carriers,
            finished: Ok(()),
        }
    }

    /// Makes the task.
    ///
    /// The loop has a budget of its own. With tokio's, a write would seem to block when there is none left,
    /// and the machine would hear of a full stream that is not.
    pub(super) fn run(self) -> Unconstrained<Self> {
        unconstrained(self)
    }
}

/// Nothing in it is ever pinned. Polled by hand it takes half the memory of an `async fn`, which counts
/// when thousands of connections are idle.
impl<M: Machine, C, F> Unpin for Driver<M, C, F> {}

impl<M, C, F> Future for Driver<M, C, F>
where
    M: Machine,
    C: Carriers<M>,
    F: Front<M, C::Stream>,
{
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            running,
            carriers,
            finished,
        } = &mut *self;
        if let Some(state) = running {
            if !state.is_over {
                let polled = state.poll(cx, carriers);
                state.front.rest();
                ready!(polled);
                state.is_over = true;
            }
            *finished = ready!(carriers.poll_finish(cx));
            while let Some(handed) = carriers.handed() {
                state.front.handed(handed);
            }
            // The application hears of the end when its last octet is on the way, not when the peer is
            // gone.
            *running = None;
        }
        ready!(carriers.poll_gone(cx));
        Poll::Ready(core::mem::replace(finished, Ok(())))
    }
}

impl<M: Machine, F> Running<M, F> {
    fn poll<C>(&mut self, cx: &mut Context<'_>, carriers: &mut C) -> Poll<()>
    where
        C: Carriers<M>,
        F: Front<M, C::Stream>,
    {
        for _ in 0..TURNS {
            match self.turn(cx, carriers) {
                Turn::Busy => {}
                Turn::Quiet => return Poll::Pending,
                Turn::Over => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn turn<C>(&mut self, cx: &mut Context<'_>, carriers: &mut C) -> Turn
    where
        C: Carriers<M>,
        F: Front<M, C::Stream>,
    {
        let now = self.now();
        let drained = self.drain(cx, now, carriers);
        while let Some(handed) = carriers.handed() {
            self.front.handed(handed);
        }
        if is_over(&drained, carriers.outlook(), self.front.is_gone()) {
            return Turn::Over;
        }
        let may_read = self.front.poll_room(cx).is_ready();
        let mut is_busy = carriers.poll_inputs(cx, now, &mut self.machine, may_read);
        if carriers.is_flushed() {
            self.front.flushed();
        }
        let may_command = may_read || self.front.takes_commands_when_full();
        if may_command && !matches!(drained, Drained::Held) {
            is_busy |= take_commands(cx, now, &mut self.front, &mut self.machine);
        }
        match drained {
            _ if is_busy => Turn::Busy,
            Drained::Idle(deadline) => {
                let deadlines = [deadline, self.front.deadline()];
                let deadline = deadlines.into_iter().flatten().min();
                match self.timer.poll(cx, &self.clock, deadline) {
                    Poll::Ready(()) => Turn::Busy,
                    Poll::Pending => Turn::Quiet,
                }
            }
            Drained::Held => Turn::Quiet,
            Drained::Paused | Drained::Done => Turn::Busy,
        }
    }

    /// Lets the machine say what it has to say, up to a number of sends.
    fn drain<C>(&mut self, cx: &mut Context<'_>, now: Instant, carriers: &mut C) -> Drained
    where
        C: Carriers<M>,
        F: Front<M, C::Stream>,
    {
        if let Some(mut tx) = self.held.take() {
            if let Sent::Held = carriers.send(cx, &mut tx) {
                self.held = Some(tx);
                return Drained::Held;
            }
            scratch::give(tx.take_memory());
        }
        let mut tx = Transmit::with_memory(self.limits, scratch::take());
        let drained = self.drain_into(cx, now, carriers, &mut tx);
        if let Drained::Held = drained {
            self.held = Some(tx);
        } else {
            scratch::give(tx.take_memory());
        }
        drained
    }

    fn drain_into<C>(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        carriers: &mut C,
        tx: &mut Transmit<M::Addr>,
    ) -> Drained
    where
        C: Carriers<M>,
        F: Front<M, C::Stream>,
    {
        let mut sends = 0;
        loop {
            match self.machine.poll(now, tx) {
                Output::Transmit => match carriers.send(cx, tx) {
                    Sent::All => {}
                    Sent::Full(at) => self.machine.link(now, at, Link::Full),
                    Sent::Held => return Drained::Held,
                },
                Output::Event(event) => {
                    self.front.event(event);
                    continue;
                }
                Output::Ask(ask) => {
                    carriers.answer(ask);
                    continue;
                }
                Output::Yield => return Drained::Paused,
                Output::Idle(deadline) => return Drained::Idle(deadline),
                Output::Done => return Drained::Done,
            }
            sends += 1;
            if sends == SENDS {
                return Drained::Paused;
            }
        }
    }

    /// Reads tokio's clock, which is the system's but stands still in a test that pauses it: the timers
    /// are tokio's too, and must agree with it.
    fn now(&self) -> Instant {
        self.clock.at(tokio::time::Instant::now().into_std())
    }
}

fn take_commands<M: Machine, S>(
    cx: &Context<'_>,
    now: Instant,
    front: &mut impl Front<M, S>,
    machine: &mut M,
) -> bool {
    for taken in 0..COMMANDS {
        if front.poll_command(cx, now, machine).is_pending() {
            return taken > 0;
        }
    }
    true
}

/// Tells whether the machine is done, or nothing can reach it any more.
fn is_over(drained: &Drained, outlook: Outlook, is_gone: bool) -> bool {
    match (drained, outlook) {
        (Drained::Done, _) | (Drained::Idle(_), Outlook::Detached) => true,
        (Drained::Idle(deadline), Outlook::Empty) => deadline.is_none() && is_gone,
        (Drained::Idle(_), Outlook::Alive) | (Drained::Paused | Drained::Held, _) => false,
    }
}

/// Wakes the task at a deadline.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the sleep ends; none once it has.
    armed: Option<Instant>,
}

impl Timer {
    /// Waits until `deadline`, or an earlier one that it was armed for: moving a timer costs more than
    /// the rare idle poll, and most deadlines only ever move on.
    fn poll(&mut self, cx: &mut Context<'_>, clock: &Clock, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let Some(moment) = clock.moment(deadline) else {
            return Poll::Pending;
        };
        // Tokio rounds up to its grain, so the machine finds the deadline due.
        let moment = tokio::time::Instant::from_std(moment);
        let is_early_enough = self.armed.is_some_and(|armed| armed <= deadline);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !is_early_enough {
                    sleep.as_mut().reset(moment);
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(moment))),
        };
        if !is_early_enough {
            self.armed = Some(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}
