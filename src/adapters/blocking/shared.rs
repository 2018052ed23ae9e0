//! The lock around the loop, and the bells by which its threads wake each other.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use super::Carrier;
use super::drive::Drive;
use crate::adapters::Clock;
use crate::{Instant, Machine};

/// What the threads, the handles and the receiver of events hold together.
pub(super) struct Shared<M: Machine<Addr = ()>, S> {
    drive: Mutex<Drive<M, S>>,
    /// Threads on their way into the lock. A mutex is not fair, so the keeper steps back for them.
    entering: AtomicUsize,
    pub(super) clock: Clock,
    pub(super) bells: Bells,
    /// Calls off a write.
    pub(super) cut: Arc<AtomicBool>,
}

/// One bell for each party that sleeps until the loop has something for it.
#[derive(Default)]
pub(super) struct Bells {
    pub(super) keeper: Bell,
    pub(super) reader: Bell,
    pub(super) writer: Bell,
    /// Whoever waits for events.
    pub(super) application: Bell,
    /// Whoever waits for events to be taken, for an empty outbox or for the end.
    pub(super) callers: Bell,
    /// Whoever waits for room in the machine.
    pub(super) waiting: Bell,
}

impl Bells {
    const fn all(&self) -> [&Bell; 6] {
        let Self {
            keeper,
            reader,
            writer,
            application,
            callers,
            waiting,
        } = self;
        [keeper, reader, writer, application, callers, waiting]
    }
}

/// A condition variable that knows whether somebody sleeps on it and was not woken yet: ringing costs a
/// system call otherwise, and a thread that was woken may take long to come.
///
/// The fields change under the lock only.
#[derive(Default)]
pub(super) struct Bell {
    /// Threads that sleep, or are on their way back into the lock.
    asleep: AtomicUsize,
    is_awaited: AtomicBool,
    condvar: Condvar,
}

impl Bell {
    /// Tells whether it is to be rung, which is done then.
    fn is_due(&self, wakes: impl FnOnce() -> bool) -> bool {
        let is_due = self.is_awaited.load(Ordering::Relaxed) && wakes();
        if is_due {
            self.is_awaited.store(false, Ordering::Relaxed);
        }
        is_due
    }

    /// Tells whether a thread was woken and is not back in the lock.
    fn is_answered(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) > 0 && !self.is_awaited.load(Ordering::Relaxed)
    }

    fn ring(&self) {
        self.condvar.notify_all();
    }

    fn sleep<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        clock: &Clock,
        until: Option<Instant>,
    ) -> LockResult<MutexGuard<'a, T>> {
        self.asleep.fetch_add(1, Ordering::Relaxed);
        self.is_awaited.store(true, Ordering::Relaxed);
        let woken = match until {
            None => self.condvar.wait(guard),
            Some(until) => match self.condvar.wait_timeout(guard, clock.wait(until)) {
                Ok((guard, _)) => Ok(guard),
                Err(poisoned) => Err(PoisonError::new(poisoned.into_inner().0)),
            },
        };
        self.asleep.fetch_sub(1, Ordering::Relaxed);
        woken
    }
}

/// What somebody found who looked after what it waits for.
pub(super) enum Found<R> {
    /// It is there.
    This(R),
    /// Nothing yet; look again when the bell rings, or at this time.
    Nothing(Option<Instant>),
    /// There is more to do, but others first.
    More,
}

impl<M: Machine<Addr = ()>, S: Carrier> Shared<M, S> {
    pub(super) fn new(drive: Drive<M, S>, clock: Clock, cut: Arc<AtomicBool>) -> Self {
        Self {
            drive: Mutex::new(drive),
            entering: AtomicUsize::new(0),
            clock,
            bells: Bells::default(),
            cut,
        }
    }

    /// Does something with the loop, and wakes whoever waited for what came of it.
    ///
    /// `None` when the machine panicked: everything is over then.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Drive<M, S>) -> R) -> Option<R> {
        let _alarm = Alarm(&self.bells);
        let mut drive = self.enter().ok()?;
        let result = act(&mut drive);
        let woken = self.woken(&mut drive);
        drop(drive);
        woken.into_iter().flatten().for_each(Bell::ring);
        Some(result)
    }

    /// Looks after something whenever `bell` rings, until it is there.
    ///
    /// `None` when the machine panicked: everything is over then.
    pub(super) fn when<R>(
        &self,
        bell: &Bell,
        mut look: impl FnMut(&mut Drive<M, S>) -> Found<R>,
    ) -> Option<R> {
        let _alarm = Alarm(&self.bells);
        let mut drive = self.enter().ok()?;
        loop {
            let found = look(&mut drive);
            let woken = self.woken(&mut drive);
            let until = match found {
                Found::This(result) => {
                    drop(drive);
                    woken.into_iter().flatten().for_each(Bell::ring);
                    return Some(result);
                }
                Found::Nothing(until) => until,
                // Whoever comes in next finds the loop restless, and rings when it leaves.
                Found::More if self.is_expected() => None,
                Found::More => continue,
            };
            woken.into_iter().flatten().for_each(Bell::ring);
            drive = bell.sleep(drive, &self.clock, until).ok()?;
        }
    }

    /// Lets go of the stream if the machine panicked.
    pub(super) fn clear_wreck(&self) {
        if let Err(poisoned) = self.drive.lock() {
            poisoned.into_inner().abandon();
        }
    }

    fn enter(&self) -> LockResult<MutexGuard<'_, Drive<M, S>>> {
        match self.drive.try_lock() {
            Ok(drive) => return Ok(drive),
            Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
            Err(TryLockError::WouldBlock) => {}
        }
        self.entering.fetch_add(1, Ordering::Relaxed);
        let drive = self.drive.lock();
        self.entering.fetch_sub(1, Ordering::Relaxed);
        drive
    }

    /// Tells whether another thread is on its way into the lock, even if its bell has yet to be rung.
    fn is_expected(&self) -> bool {
        self.entering.load(Ordering::Relaxed) > 0
            || self.bells.all().into_iter().any(Bell::is_answered)
    }

    /// Returns the bells that have to ring.
    fn woken(&self, drive: &mut Drive<M, S>) -> [Option<&Bell>; 6] {
        let Bells {
            keeper,
            reader,
            writer,
            application,
            callers,
            waiting,
        } = &self.bells;
        [
            keeper.is_due(|| drive.wakes_keeper()).then_some(keeper),
            reader.is_due(|| drive.wakes_reader()).then_some(reader),
            writer.is_due(|| drive.wakes_writer()).then_some(writer),
            application
                .is_due(|| drive.wakes_application())
                .then_some(application),
            callers.is_due(|| drive.wakes_callers()).then_some(callers),
            waiting.is_due(|| drive.wakes_waiting()).then_some(waiting),
        ]
    }
}

/// Wakes everybody when the machine panics, so that they find the lock poisoned instead of sleeping on.
struct Alarm<'a>(&'a Bells);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.all().into_iter().for_each(Bell::ring);
        }
    }
}
