//! The lock around a machine: how handles get in, how they wait, and the driver that takes the turns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::num::NonZeroUsize;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Clock;
use super::event_loop::{
    AddrOf, Carrier, CarrierOf, Core, Drained, Input, OCTETS, Phase, Port, SENDS, Step, Turn,
};
use super::runtime::{Runtime, Timer};
use super::scratch;
use super::waiters::WaitStatus;
use crate::{Instant, Limits, Link, Machine as _, Transmit};

/// Turns in a row before the driver lets other tasks of its runtime run.
const TURNS: usize = 32;

/// Turns that a caller takes before it waits, where callers drive.
const CALLER_TURNS: usize = 4;

/// The connection or node is not driven any more: it ended, its driver was stopped, or it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[display("closed")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to tell")]
pub struct Closed;

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
    /// Never locked over a system call.
    state: Mutex<State<P>>,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
}

struct State<P: Port> {
    core: Core<P>,
    /// None while somebody takes a turn, and once the driver is gone.
    carrier: Option<Box<CarrierOf<P>>>,
    /// The driver's. None until its first poll.
    waker: Option<Waker>,
    /// The driver was woken and has not begun a turn since.
    is_woken: bool,
    /// When the driver's timer fires, or will be set to fire.
    armed: Option<Instant>,
    callers_drive: bool,
    /// The machine, the port or the carrier panicked.
    is_broken: bool,
}

impl<P: Port> Shared<P> {
    /// Starts to drive `machine`, in a task of `runtime`.
    pub(crate) fn start(
        runtime: &Arc<dyn Runtime>,
        setup: Setup,
        port: P,
        machine: P::Machine,
        carrier: Box<dyn Carrier<AddrOf<P>>>,
    ) -> Arc<Self> {
        let (shared, driver) = Self::prepare(runtime, setup, port, machine, carrier);
        runtime.spawn(Box::pin(driver));
        shared
    }

    /// Does all that [`start`](Self::start) does but for running the driver.
    fn prepare(
        runtime: &Arc<dyn Runtime>,
        setup: Setup,
        port: P,
        machine: P::Machine,
        mut carrier: Box<dyn Carrier<AddrOf<P>>>,
    ) -> (Arc<Self>, Driver<P>) {
        report!(
            debug,
            machine = core::any::type_name::<P::Machine>(),
            "driver starts"
        );
        let limits = match setup.limits.receive_buffer {
            0 => setup.limits.with_receive_buffer(carrier.receive_buffer()),
            _ => setup.limits,
        };
        let shared = Arc::new(Self {
            state: Mutex::new(State {
                core: Core::new(port, machine, limits),
                carrier: None,
                waker: None,
                is_woken: true,
                armed: None,
                callers_drive: runtime.callers_drive(),
                is_broken: false,
            }),
            runtime: Arc::clone(runtime),
            clock: setup.clock,
        });
        carrier.begin(&mut &*shared);
        shared.lock().carrier = Some(carrier);
        let driver = Driver {
            shared: Arc::clone(&shared),
            timer: None,
            armed: None,
        };
        (shared, driver)
    }

    /// Returns the runtime that drives the machine.
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
        let (result, sends) = self.enter_as_caller(|state| {
            let result = state.act(|core| act(core, self.now()));
            (result, state.leave())
        })?;
        if sends {
            self.turn(false, None)?;
        }
        Ok(result)
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

    /// Locks, acts, unlocks, wakes.
    fn enter<T>(&self, act: impl FnOnce(&mut State<P>) -> T) -> Result<T, Closed> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(Closed);
        }
        let result = act(&mut state);
        let woken = state.core.wakes.take();
        drop(state);
        woken.wake();
        Ok(result)
    }

    /// Enters for a handle, whose own panics go on.
    fn enter_as_caller<T>(&self, act: impl FnOnce(&mut State<P>) -> T) -> Result<T, Closed> {
        let result = self.guard(|| self.enter(act));
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Does what may panic. If it does, everybody finds the connection closed.
    fn guard<T>(&self, act: impl FnOnce() -> T) -> thread::Result<T> {
        let result = catch_unwind(AssertUnwindSafe(act));
        if result.is_err() {
            report!(error, "a machine panicked");
            // Broken already if it panics again.
            let _ = self.enter(|state| {
                state.is_broken = true;
                state.core.wakes.everybody();
                state.call_driver();
            });
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn unless somebody does: drains the machine and, if it `looks`, looks at the inputs. Returns
    /// whether another is due at once. The driver gives its waker.
    ///
    /// A machine that panics in a turn is no fault of whoever takes it.
    fn turn(&self, looks: bool, driver: Option<&Waker>) -> Result<bool, Closed> {
        let mut replaced = None;
        let begun = self.enter(|state| {
            if let Some(waker) = driver {
                replaced = state.waker.replace(waker.clone());
                state.is_woken = false;
            }
            state.begin(looks)
        });
        let Some((mut carrier, waker, limits)) = begun? else {
            return Ok(false);
        };
        let mut tx = Transmit::with_memory(limits, scratch::take());
        let outcome = self.guard(|| self.drive(&mut *carrier, (&waker, looks), &mut tx));
        scratch::give(tx.take_memory());
        outcome.unwrap_or(Err(Closed))?;
        // Dropped outside the lock if the driver was stopped meanwhile.
        let mut carrier = Some(carrier);
        self.enter(|state| {
            if state.core.phase != Phase::Gone {
                state.carrier = carrier.take();
            }
            if driver.is_none() {
                state.call_if_needed();
            }
            state.core.is_busy || state.core.is_dirty
        })
    }

    fn drive(
        &self,
        carrier: &mut CarrierOf<P>,
        (waker, looks): (&Waker, bool),
        tx: &mut Transmit<AddrOf<P>>,
    ) -> Result<(), Closed> {
        if self.enter(|state| state.core.is_over())? {
            carrier.finish(self.now());
            let is_any = self.read_inputs(carrier, waker, false);
            return self.enter(|state| state.core.finish(carrier, is_any));
        }
        let drained = self.drain(carrier, waker, tx)?;
        let may_read = self.enter(|state| {
            let is_over = state.core.ends_by(carrier, &drained);
            (!is_over).then(|| state.core.port.has_room())
        })?;
        let Some(may_read) = may_read else {
            return Ok(());
        };
        let is_any = looks.then(|| self.read_inputs(carrier, waker, may_read));
        self.enter(|state| state.core.rest(self.now(), carrier, (&drained, is_any)))
    }

    /// Lets the machine say what it has to say, up to a number of sends and octets.
    fn drain(
        &self,
        carrier: &mut CarrierOf<P>,
        waker: &Waker,
        tx: &mut Transmit<AddrOf<P>>,
    ) -> Result<Drained, Closed> {
        let (mut sends, mut octets, mut full) = (0, 0, None);
        loop {
            let step = self.enter(|state| {
                let now = self.now();
                if let Some(full) = full.take() {
                    state.core.peek_mut().link(now, full, Link::Full);
                }
                if sends == SENDS || octets >= OCTETS {
                    return Step::End(Drained::Paused);
                }
                state.core.step(now, tx)
            });
            match step? {
                Step::End(drained) => return Ok(drained),
                Step::Ask(ask) => carrier.answer(self.now(), ask),
                Step::Send => {
                    sends += 1;
                    octets += tx.octets().len();
                    full = carrier.send(waker, tx);
                }
            }
        }
    }

    fn read_inputs(&self, carrier: &mut CarrierOf<P>, waker: &Waker, may_read: bool) -> bool {
        carrier.inputs(&mut Turn {
            waker,
            now: self.now(),
            machine: &mut &*self,
            may_read,
        })
    }

    fn input<T>(&self, act: impl FnOnce(&mut P::Machine, Instant) -> T) -> Option<T> {
        let given = self.enter(|state| act(state.core.peek_mut(), self.now()));
        given.ok()
    }
}

impl<P: Port> Input<AddrOf<P>> for &Shared<P> {
    fn receive(&mut self, from: AddrOf<P>, octets: &[u8]) {
        self.input(|machine, now| machine.receive(now, from, octets));
    }

    fn receive_batch(&mut self, from: AddrOf<P>, octets: &[u8], size: NonZeroUsize) {
        self.input(|machine, now| machine.receive_batch(now, from, octets, size));
    }

    fn link(&mut self, at: AddrOf<P>, state: Link) {
        self.input(|machine, now| machine.link(now, at, state));
    }

    fn wants(&mut self, from: AddrOf<P>) -> bool {
        let wants = self.input(|machine, _| machine.wants(from));
        wants.unwrap_or(false)
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

    /// Begins a turn, unless somebody takes one, who is to take another then.
    fn begin(&mut self, looks: bool) -> Option<(Box<CarrierOf<P>>, Waker, Limits)> {
        let carrier = self.carrier.take();
        self.core.is_busy = carrier.is_none() || self.core.is_busy && !looks;
        self.core.is_flushed = false;
        let waker = self.waker.as_ref().unwrap_or(Waker::noop());
        Some((carrier?, waker.clone(), self.core.limits))
    }

    /// Tells whether the caller is to send what the machine has to say. If not, the driver is.
    fn leave(&mut self) -> bool {
        if self.carrier.is_none() && self.core.phase != Phase::Gone {
            // Whoever takes the turn looks again.
            return false;
        }
        let sends = self.callers_drive && self.core.is_dirty;
        if !sends {
            self.call_if_needed();
        }
        sends
    }

    /// Wakes the driver when there is something left for it.
    fn call_if_needed(&mut self) {
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
        let mut turns = usize::from(shared.runtime.callers_drive()) * CALLER_TURNS;
        // Dropped outside the lock: a waker may be the last hold on a task, and that on handles.
        let mut mine = None;
        loop {
            let (outcome, sends) = shared.enter_as_caller(|state| {
                mine = mine.take().or(state.core.wakes.lift(*line, *ticket));
                let place = state.core.wakes.place(*line, *ticket);
                let outcome = state.act(|core| look(core, shared.now(), place));
                if outcome.is_ready() {
                    // Lifted already.
                    let _ = state.core.wakes.leave(*line, ticket);
                } else {
                    let waker = (turns == 0).then(|| {
                        let known = mine.take_if(|known| known.will_wake(cx.waker()));
                        known.unwrap_or_else(|| cx.waker().clone())
                    });
                    state.core.wakes.wait(*line, ticket, waker);
                }
                (outcome, state.leave())
            })?;
            let is_looking = outcome.is_pending() && turns > 0;
            let is_busy = (is_looking || sends) && shared.turn(is_looking, None)?;
            if !is_looking {
                return outcome.map(Ok);
            }
            // What it brought may be just what is waited for.
            turns = if is_busy { turns - 1 } else { 0 };
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
            .enter(|state| state.core.wakes.leave(line, ticket));
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
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<P: Port> Driver<P> {
    /// Takes a turn. Returns whether it was the last one, whether another is due at once, and what the timer
    /// is to be set to.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(bool, bool, Option<Instant>), Closed> {
        let is_busy = self.shared.turn(true, Some(cx.waker()))?;
        let armed = &mut self.armed;
        self.shared.enter(|state| {
            // It has fired, seen or not.
            let now = self.shared.now();
            *armed = armed.filter(|armed| *armed > now);
            // An earlier timer stays: moving it costs more than a turn without input, now and then.
            let earlier = |due: Instant| armed.map_or(due, |armed| due.min(armed));
            state.armed = state.core.deadline.map(earlier);
            (state.core.phase == Phase::Gone, is_busy, state.armed)
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
        let mut state = self.shared.lock();
        let mut carrier = state.carrier.take();
        let error = carrier.as_mut().and_then(|carrier| carrier.take_error());
        state.core.stop(error);
        let (waker, woken) = (state.waker.take(), state.core.wakes.take());
        // Outside the lock: both may hold handles.
        drop(state);
        woken.wake();
        drop((carrier, waker));
    }
}

#[cfg(test)]
mod tests;
