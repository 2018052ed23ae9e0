//! The lock around a machine: how handles get in, how they wait, and the driver that takes the turns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::Clock;
use super::event_loop::{Carrier, Core, Phase, Port};
use super::runtime::{Runtime, Timer};
use super::waiters::{WaitStatus, Wakes};
use crate::{Instant, Limits};

/// Turns in a row before the driver lets other tasks of its runtime run.
const TURNS: usize = 32;

/// Turns that a caller takes before it waits, where callers drive.
const CALLER_TURNS: usize = 4;

/// The connection or node is not driven any more: it ended, its driver was stopped, or it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to tell")]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed")
    }
}

impl Error for Closed {}

/// What a machine is started with beside its port and carrier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// The origin of the machine's time.
    pub(crate) clock: Clock,
    /// How much one poll may send.
    pub(crate) limits: Limits,
}

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
    driver: DriverState,
    /// A caller takes a turn for the driver, and panicked in it if it is not in the lock any more.
    is_turn: bool,
}

/// What everybody knows of the driver.
struct DriverState {
    /// None until its first poll.
    waker: Option<Waker>,
    /// It was woken and has not begun a turn since.
    is_woken: bool,
    /// When its timer fires, or will be set to fire.
    armed: Option<Instant>,
}

impl<P: Port> Shared<P> {
    /// Starts to drive `machine`, in a task of `runtime`.
    pub(crate) fn start(
        runtime: &Arc<dyn Runtime>,
        setup: Setup,
        port: P,
        machine: P::Machine,
        carrier: Box<dyn Carrier<P::Machine>>,
    ) -> Arc<Self> {
        let (shared, driver) = Self::prepare(runtime, setup, port, machine, carrier);
        runtime.spawn(Box::pin(driver));
        shared
    }

    /// Does all that [`start`](Self::start) does but for running the driver.
    pub(crate) fn prepare(
        runtime: &Arc<dyn Runtime>,
        setup: Setup,
        port: P,
        mut machine: P::Machine,
        mut carrier: Box<dyn Carrier<P::Machine>>,
    ) -> (Arc<Self>, Driver<P>) {
        carrier.begin(setup.clock.at(runtime.now()), &mut machine);
        report!(
            debug,
            machine = core::any::type_name::<P::Machine>(),
            "driver starts"
        );
        let shared = Arc::new(Self {
            state: Mutex::new(State {
                core: Core::new(port, machine, carrier, setup.limits),
                driver: DriverState {
                    waker: None,
                    is_woken: true,
                    armed: None,
                },
                is_turn: false,
            }),
            entrance: Mutex::new(()),
            runtime: Arc::clone(runtime),
            clock: setup.clock,
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            timer: None,
            armed: None,
        };
        (shared, driver)
    }

    /// Returns the runtime that drives the machine.
    #[allow(
        dead_code,
        reason = "used by the ports of protocols, which are features"
    )]
    pub(crate) const fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Reads the one clock of machine, timers and handles.
    pub(crate) fn now(&self) -> Instant {
        self.clock.at(self.runtime.now())
    }

    /// The only way in: locks, reads the clock once, acts, drains the machine or wakes the driver,
    /// unlocks, wakes.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the machine or the port panicked.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&mut Core<P>, Instant) -> T,
    ) -> Result<T, Closed> {
        self.enter_as_caller(|state, now| {
            let result = state.act(|core| act(core, now));
            if self.runtime.callers_drive() {
                state.write(now);
            }
            state.call_driver();
            result
        })
    }

    /// Waits in `line` until `look` is ready. `look` runs for everybody that was woken and is told how
    /// they stand; it may act on the machine.
    ///
    /// A wait that is dropped leaves its line and wakes the next one, so nothing is lost with it.
    pub(crate) const fn until<T, F>(&self, line: P::Line, look: F) -> Until<'_, P, F>
    where
        F: FnMut(&mut Core<P>, Instant, WaitStatus) -> Poll<T>,
    {
        Until {
            shared: self,
            line,
            look,
            ticket: None,
        }
    }

    fn enter<T>(&self, act: impl FnOnce(&mut State<P>, Instant) -> T) -> Result<T, Closed> {
        // Dropped behind the lock, which is released first.
        let mut guard = PanicGuard {
            shared: self,
            is_set: false,
        };
        let mut state = self.lock()?;
        guard.is_set = true;
        // Under the lock: the machine sees time go on from call to call.
        let result = act(&mut state, self.now());
        let woken = state.core.wakes.take();
        drop(state);
        guard.is_set = false;
        woken.wake();
        Ok(result)
    }

    /// Enters for a handle. A machine that panics in a turn which the caller takes for the driver is no fault
    /// of the caller, whose own panics go on.
    fn enter_as_caller<T>(
        &self,
        act: impl FnOnce(&mut State<P>, Instant) -> T,
    ) -> Result<T, Closed> {
        if !self.runtime.callers_drive() {
            return self.enter(act);
        }
        catch_unwind(AssertUnwindSafe(|| self.enter(act))).unwrap_or_else(|panic| {
            if self.lock_anyway().is_turn {
                Err(Closed)
            } else {
                resume_unwind(panic)
            }
        })
    }

    fn lock(&self) -> Result<MutexGuard<'_, State<P>>, Closed> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(_)) => Err(Closed),
            Err(TryLockError::WouldBlock) => {
                let _waiting = self.entrance.lock();
                self.state.lock().map_err(|_| Closed)
            }
        }
    }

    /// Lets those in who wait for the lock.
    fn step_back(&self) {
        drop(self.entrance.lock());
    }

    /// Enters even after a panic, and only to end things.
    fn lock_anyway(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes everybody when the machine panics under the lock: they find the connection closed.
struct PanicGuard<'a, P: Port> {
    shared: &'a Shared<P>,
    is_set: bool,
}

impl<P: Port> Drop for PanicGuard<'_, P> {
    fn drop(&mut self) {
        report!(error, "a machine panicked");
        if !self.is_set {
            return;
        }
        let woken = {
            let mut state = self.shared.lock_anyway();
            let State { core, driver, .. } = &mut *state;
            core.wakes.everybody();
            driver.wake(&mut core.wakes);
            core.wakes.take()
        };
        woken.wake();
    }
}

impl DriverState {
    fn wake<L: Copy + Ord>(&mut self, wakes: &mut Wakes<L>) {
        if !self.is_woken
            && let Some(waker) = &self.waker
        {
            self.is_woken = true;
            wakes.add(waker.clone());
        }
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

    /// Sends what the machine has to say, in the thread of the caller.
    fn write(&mut self, now: Instant) {
        if self.core.is_dirty {
            self.as_driver(|core, cx| core.write(cx, now));
        }
    }

    /// Takes a whole turn in the thread of the caller, and tells whether another may bring more.
    fn turn(&mut self, now: Instant) -> bool {
        self.as_driver(|core, cx| core.turn(cx, now));
        self.core.is_busy
    }

    fn as_driver(&mut self, act: impl FnOnce(&mut Core<P>, &mut Context<'_>)) {
        self.is_turn = true;
        let waker = self.driver.waker.as_ref().unwrap_or(Waker::noop());
        act(&mut self.core, &mut Context::from_waker(waker));
        self.is_turn = false;
    }

    /// Wakes the driver when there is something left for it.
    fn call_driver(&mut self) {
        let Self { core, driver, .. } = self;
        let is_early = match (core.deadline, driver.armed) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if core.is_dirty || core.is_busy || is_early {
            driver.wake(&mut core.wakes);
        }
    }
}

/// A wait for something in a line; see [`Shared::until`].
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Until<'a, P: Port, F> {
    shared: &'a Shared<P>,
    line: P::Line,
    look: F,
    ticket: Option<u64>,
}

/// Nothing in it is ever pinned.
impl<P: Port, F> Unpin for Until<'_, P, F> {}

impl<P, T, F> Future for Until<'_, P, F>
where
    P: Port,
    F: FnMut(&mut Core<P>, Instant, WaitStatus) -> Poll<T>,
{
    type Output = Result<T, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            shared,
            line,
            look,
            ticket,
        } = &mut *self;
        let callers_drive = shared.runtime.callers_drive();
        // Dropped outside the lock: a waker may be the last hold on a task, and that on handles.
        let mut mine = None;
        let outcome = shared.enter_as_caller(|state, now| {
            mine = state.core.wakes.lift(*line, *ticket);
            let mut turns = if callers_drive { CALLER_TURNS } else { 0 };
            let outcome = loop {
                let place = state.core.wakes.place(*line, *ticket);
                let outcome = state.act(|core| look(core, now, place));
                if outcome.is_ready() || turns == 0 {
                    break outcome;
                }
                turns -= 1;
                if !state.turn(now) {
                    // What it brought may be just what is waited for.
                    turns = 0;
                }
            };
            if callers_drive {
                state.write(now);
            }
            if outcome.is_pending() {
                let known = mine.take_if(|known| known.will_wake(cx.waker()));
                let waker = known.unwrap_or_else(|| cx.waker().clone());
                state.core.wakes.wait(*line, ticket, waker);
            } else {
                // Lifted already.
                let _ = state.core.wakes.leave(*line, ticket);
            }
            state.call_driver();
            outcome
        });
        drop(mine);
        match outcome {
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(Closed) => Poll::Ready(Err(Closed)),
        }
    }
}

impl<P: Port, F> Drop for Until<'_, P, F> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let (line, ticket) = (self.line, &mut self.ticket);
        let left = self
            .shared
            .enter(|state, _| state.core.wakes.leave(line, ticket));
        drop(left);
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
        self.shared.step_back();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<P: Port> Driver<P> {
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(bool, bool, Option<Instant>), Closed> {
        let Self { shared, armed, .. } = self;
        let mut replaced = None;
        let result = shared.enter(|state, now| {
            // It has fired, seen or not.
            *armed = armed.filter(|armed| *armed > now);
            let State { core, driver, .. } = state;
            if !driver
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                replaced = driver.waker.replace(cx.waker().clone());
            }
            driver.is_woken = false;
            core.turn(cx, now);
            // An earlier timer stays: moving it costs more than a turn without input, now and then.
            driver.armed = [*armed, core.deadline].into_iter().flatten().min();
            (core.phase == Phase::Gone, core.is_busy, core.deadline)
        });
        drop(replaced);
        result
    }

    /// Waits until `deadline`, or until an earlier one that the timer was set to before.
    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let Some(moment) = self.shared.clock.moment(deadline) else {
            return Poll::Pending;
        };
        let is_early_enough = self.armed.is_some_and(|armed| armed <= deadline);
        let timer = match &mut self.timer {
            Some(timer) => {
                if !is_early_enough {
                    timer.reset(moment);
                }
                timer
            }
            none => none.insert(self.shared.runtime.timer(moment)),
        };
        if !is_early_enough {
            self.armed = Some(deadline);
        }
        core::task::ready!(timer.poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}

impl<P: Port> Drop for Driver<P> {
    fn drop(&mut self) {
        let (carrier, waker, woken) = {
            let mut state = self.shared.lock_anyway();
            let State { core, driver, .. } = &mut *state;
            core.stop();
            (core.take_carrier(), driver.waker.take(), core.wakes.take())
        };
        woken.wake();
        drop((carrier, waker));
    }
}

#[cfg(test)]
mod tests;
