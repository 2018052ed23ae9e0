//! The lock around a machine: how handles get in, how they wait, and the driver that takes the turns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::event_loop::{Carrier, CarrierOf, Core, Io, Phase, Port};
use super::runtime::{Runtime, Timer};
use super::waiters::WaitStatus;
use crate::adapters::Clock;
use crate::{Instant, Limits};

/// Turns in a row before the driver lets other tasks of its runtime run.
const TURNS: usize = 32;

/// Turns that a caller takes before it waits, where callers drive.
const CALLER_TURNS: usize = 4;

/// The connection or node is not driven any more: it ended, its driver was stopped, or it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[display("closed")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to tell")]
pub struct Closed;

/// A machine, shared between its driver and its handles.
pub(crate) struct Shared<P: Port> {
    state: Mutex<State<P>>,
    /// Held by whoever waits for the other lock. A mutex is not fair: a driver with much to do would take it
    /// again and again, so now and then it waits for those who wait.
    entrance: Mutex<()>,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
}

struct State<P: Port> {
    core: Core<P>,
    /// None once the driver is gone.
    carrier: Option<Box<CarrierOf<P>>>,
    /// The driver's. None until its first poll.
    waker: Option<Waker>,
    /// The driver was woken and has not begun a turn since.
    is_woken: bool,
    /// When the driver's timer fires, or will be set to fire.
    armed: Option<Instant>,
    /// Turns that a caller takes before it waits; none where the driver alone does.
    caller_turns: usize,
    /// Somebody takes a turn, or panicked in it.
    is_turn: bool,
    /// The machine or the port panicked.
    is_broken: bool,
}

impl<P: Port> Shared<P> {
    /// Starts to drive `machine`, in a task of `runtime`. `clock` is the origin of its time, and `limits` say how
    /// much one poll may send.
    pub(crate) fn start(
        runtime: &Arc<dyn Runtime>,
        clock: Clock,
        limits: Limits,
        port: P,
        mut machine: P::Machine,
        mut carrier: Box<dyn Carrier<P::Machine>>,
    ) -> Arc<Self> {
        carrier.begin(clock.at(runtime.now()), &mut machine);
        report!(
            debug,
            machine = core::any::type_name::<P::Machine>(),
            "driver starts"
        );
        let limits = match limits.receive_buffer {
            0 => limits.with_receive_buffer(carrier.receive_buffer()),
            _ => limits,
        };
        let shared = Arc::new(Self {
            state: Mutex::new(State {
                core: Core::new(port, machine, limits),
                carrier: Some(carrier),
                waker: None,
                is_woken: true,
                armed: None,
                caller_turns: usize::from(runtime.callers_drive()) * CALLER_TURNS,
                is_turn: false,
                is_broken: false,
            }),
            entrance: Mutex::new(()),
            runtime: Arc::clone(runtime),
            clock,
        });
        runtime.spawn(Box::pin(Driver {
            shared: Arc::clone(&shared),
            timer: None,
            armed: None,
        }));
        shared
    }

    /// Returns the runtime that drives the machine.
    pub(crate) const fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The only way in: locks, reads the clock once, acts, drains the machine or wakes the driver,
    /// unlocks, wakes.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the machine or the port panicked.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core<P>) -> T) -> Result<T, Closed> {
        self.enter(|state| {
            let result = state.act(act);
            state.leave();
            result
        })
    }

    /// Waits in `line` until `look` is ready. `look` runs for everybody that was woken and is told how
    /// they stand; it may act on the machine.
    ///
    /// A wait that is dropped leaves its line and wakes the next one, so nothing is lost with it.
    pub(crate) fn until<T>(
        &self,
        line: P::Line,
        mut look: impl FnMut(&mut Core<P>, WaitStatus) -> Poll<T>,
    ) -> impl Future<Output = Result<T, Closed>> {
        let (shared, ticket) = (self, None);
        let mut waiter = Waiter {
            shared,
            line,
            ticket,
        };
        poll_fn(move |cx| waiter.poll(cx, &mut look))
    }

    /// Ends it where it stands, and closes its carrier at once.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        let mut carrier = state.carrier.take();
        if let Some(carrier) = &mut carrier {
            state.core.stop(&mut **carrier);
        }
        // A driver that sleeps ends with its next turn.
        state.call_driver();
        let woken = state.core.wakes.take();
        // Outside the lock: it may hold handles.
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        drop(carrier);
    }

    fn enter<T>(&self, act: impl FnOnce(&mut State<P>) -> T) -> Result<T, Closed> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(Closed);
        }
        // Under the lock: the machine sees time go on from call to call.
        state.core.now = self.clock.at(self.runtime.now());
        let result = catch_unwind(AssertUnwindSafe(|| act(&mut state)));
        if result.is_err() {
            report!(error, "a machine panicked");
            state.is_broken = true;
            state.core.wakes.everybody();
            state.call_driver();
        }
        let woken = state.core.wakes.take();
        let is_turn = state.is_turn;
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        result.or_else(|panic| {
            // A machine that panics in a turn is no fault of whoever takes the turn.
            if is_turn {
                return Err(Closed);
            }
            resume_unwind(panic)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        let state = match self.state.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let _waiting = self.entrance.lock();
                self.state.lock()
            }
            Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
            Ok(state) => Ok(state),
        };
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Port> State<P> {
    /// Acts on the core, and notes whether the driver must look again because there is room to read.
    fn act<T>(&mut self, act: impl FnOnce(&mut Core<P>) -> T) -> T {
        let had_room = self.core.port.has_room();
        let result = act(&mut self.core);
        if !had_room && self.core.port.has_room() {
            self.core.is_busy = true;
        }
        result
    }

    /// Takes a turn for the driver, which looks at the inputs or only sends what the machine has to say.
    fn turn(&mut self, looks: bool) {
        if let Some(carrier) = &mut self.carrier {
            self.is_turn = true;
            let io = &mut Io {
                carrier: &mut **carrier,
                waker: self.waker.as_ref().unwrap_or(Waker::noop()),
            };
            self.core.turn(io, looks);
            self.is_turn = false;
        }
    }

    /// Sends what the machine has to say, if callers do, and wakes the driver when there is something left.
    fn leave(&mut self) {
        if self.caller_turns > 0 && self.core.is_dirty {
            self.turn(false);
        }
        let core = &self.core;
        let is_later = |due: Instant| self.armed.is_none_or(|armed| due < armed);
        if core.is_dirty || core.is_busy || core.deadline.is_some_and(is_later) {
            self.call_driver();
        }
    }

    fn call_driver(&mut self) {
        if let Some(waker) = self.waker.as_ref().filter(|_| !self.is_woken) {
            self.core.wakes.add(waker.clone());
            self.is_woken = true;
        }
    }
}

/// Whoever waits in a line; see [`Shared::until`].
struct Waiter<'a, P: Port> {
    shared: &'a Shared<P>,
    line: P::Line,
    ticket: Option<u64>,
}

impl<P: Port> Waiter<'_, P> {
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Core<P>, WaitStatus) -> Poll<T>,
    ) -> Poll<Result<T, Closed>> {
        let (line, ticket) = (self.line, &mut self.ticket);
        // Dropped outside the lock: a waker may be the last hold on a task, and that on handles.
        let mut mine = None;
        let outcome = self.shared.enter(|state| {
            mine = state.core.wakes.lift(line, *ticket);
            let mut turns = state.caller_turns;
            let outcome = loop {
                let place = state.core.wakes.place(line, *ticket);
                let outcome = state.act(|core| look(core, place));
                if outcome.is_ready() || turns == 0 {
                    break outcome;
                }
                state.turn(true);
                // What it brought may be just what is waited for.
                turns = if state.core.is_busy { turns - 1 } else { 0 };
            };
            if outcome.is_pending() {
                let known = mine.take_if(|known| known.will_wake(cx.waker()));
                let waker = known.unwrap_or_else(|| cx.waker().clone());
                state.core.wakes.wait(line, ticket, waker);
            } else {
                // Lifted already.
                let _ = state.core.wakes.leave(line, ticket);
            }
            state.leave();
            outcome
        });
        outcome.map_or(Poll::Ready(Err(Closed)), |outcome| outcome.map(Ok))
    }
}

impl<P: Port> Drop for Waiter<'_, P> {
    fn drop(&mut self) {
        let (line, ticket) = (self.line, &mut self.ticket);
        if ticket.is_some() {
            let leave = |state: &mut State<P>| state.core.wakes.leave(line, ticket);
            drop(self.shared.enter(leave));
        }
    }
}

/// The task that takes the turns of one machine. Dropping it before its end closes the carrier at once.
pub(crate) struct Driver<P: Port> {
    shared: Arc<Shared<P>>,
    timer: Option<Box<dyn Timer>>,
    /// When the timer fires; none once it has.
    armed: Option<Instant>,
}

impl<P: Port> Unpin for Driver<P> {}

impl<P: Port> Future for Driver<P> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let Ok((is_gone, is_busy, deadline)) = self.turn(cx) else {
                return Poll::Ready(());
            };
            if is_gone {
                return Poll::Ready(());
            }
            if !is_busy && self.poll_timer(cx, deadline).is_pending() {
                return Poll::Pending;
            }
        }
        // Lets those in who wait for the lock.
        drop(self.shared.entrance.lock());
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<P: Port> Driver<P> {
    /// Takes a turn. Returns whether it was the last one, whether another is due at once, and what the timer
    /// is to be set to.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(bool, bool, Option<Instant>), Closed> {
        let armed = &mut self.armed;
        let mut replaced = None;
        self.shared.enter(|state| {
            let waker = state.waker.as_ref();
            if !waker.is_some_and(|waker| waker.will_wake(cx.waker())) {
                replaced = state.waker.replace(cx.waker().clone());
            }
            state.is_woken = false;
            state.turn(true);
            // It has fired, seen or not.
            *armed = armed.filter(|armed| *armed > state.core.now);
            // An earlier timer stays: moving it costs more than a turn without input, now and then.
            let earlier = |due: Instant| armed.map_or(due, |armed| due.min(armed));
            state.armed = state.core.deadline.map(earlier);
            let is_gone = state.core.phase == Phase::Gone;
            (is_gone, state.core.is_busy, state.armed)
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(moment) = due.and_then(|due| self.shared.clock.moment(due)) else {
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some(timer) if self.armed == due => timer,
            Some(timer) => {
                timer.reset(moment);
                timer
            }
            none => none.insert(self.shared.runtime.timer(moment)),
        };
        self.armed = due;
        ready!(timer.poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}

impl<P: Port> Drop for Driver<P> {
    fn drop(&mut self) {
        // Dropped outside the lock: it may hold handles.
        let waker = self.shared.lock().waker.take();
        self.shared.abort();
        drop(waker);
    }
}

#[cfg(test)]
mod tests;
