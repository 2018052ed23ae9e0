//! Who waits for what: lines of waiters, first come, first served.

use alloc::collections::BTreeMap;
use core::mem;
use core::task::Waker;

use smallvec::SmallVec;

/// A place in a line, never given twice.
type Ticket = u64;

/// Wakers to be called once the lock is released. The first few need no memory of their own.
pub(super) type WakeList = SmallVec<[Waker; 3]>;

/// The waiters of one connection or node, and the wakers to be called once its lock is released.
#[derive(Debug)]
pub(crate) struct Wakes<L> {
    waiters: BTreeMap<(L, Ticket), Waiter>,
    tickets: Ticket,
    woken: WakeList,
}

#[derive(Debug, Default)]
struct Waiter {
    /// None while its owner was woken and has not looked since, or is looking.
    waker: Option<Waker>,
    is_interrupted: bool,
}

/// How a waiter stands when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitStatus {
    /// Nobody has waited longer in this line.
    pub(crate) is_first: bool,
    /// [`Wakes::interrupt`] was called since it began to wait.
    pub(crate) is_interrupted: bool,
}

impl<L: Copy + Ord> Wakes<L> {
    pub(super) fn new() -> Self {
        Self {
            waiters: BTreeMap::new(),
            tickets: 0,
            woken: WakeList::new(),
        }
    }

    /// Wakes whoever has waited longest in `line`. Leaving the line, it wakes the next.
    pub(crate) fn first(&mut self, line: L) {
        if let Some((_, waiter)) = self.waiters.range_mut(whole(line)).next() {
            self.woken.extend(waiter.waker.take());
        }
    }

    /// Wakes all that wait in `line`.
    pub(crate) fn all(&mut self, line: L) {
        for (_, waiter) in self.waiters.range_mut(whole(line)) {
            self.woken.extend(waiter.waker.take());
        }
    }

    /// Wakes all that wait in `line` and tells them that they were interrupted.
    pub(crate) fn interrupt(&mut self, line: L) {
        for (_, waiter) in self.waiters.range_mut(whole(line)) {
            waiter.is_interrupted = true;
        }
        self.all(line);
    }

    /// Wakes all that wait for anything.
    pub(crate) fn everybody(&mut self) {
        for waiter in self.waiters.values_mut() {
            self.woken.extend(waiter.waker.take());
        }
    }

    /// Tells whether nobody waits in `line`.
    pub(crate) fn is_empty(&self, line: L) -> bool {
        self.waiters.range(whole(line)).next().is_none()
    }

    /// Tells how the holder of `ticket`, or a newcomer, stands in `line`.
    pub(super) fn place(&self, line: L, ticket: Option<Ticket>) -> WaitStatus {
        let first = self.waiters.range(whole(line)).next();
        let waiter = ticket.and_then(|ticket| self.waiters.get(&(line, ticket)));
        WaitStatus {
            is_first: first.is_none_or(|((_, first), _)| Some(*first) == ticket),
            is_interrupted: waiter.is_some_and(|waiter| waiter.is_interrupted),
        }
    }

    /// Takes the waker of a waiter that is about to look, so that what it does itself does not wake it.
    pub(super) fn lift(&mut self, line: L, ticket: Option<Ticket>) -> Option<Waker> {
        let ticket = ticket?;
        self.waiters.get_mut(&(line, ticket))?.waker.take()
    }

    /// Waits in `line` under a ticket, drawn at the first time.
    pub(super) fn wait(&mut self, line: L, ticket: &mut Option<Ticket>, waker: Waker) {
        let ticket = *ticket.get_or_insert_with(|| {
            self.tickets += 1;
            self.tickets
        });
        self.waiters.entry((line, ticket)).or_default().waker = Some(waker);
    }

    /// Leaves the line, and wakes who is first now in its place. The waker is to be dropped outside the
    /// lock.
    pub(super) fn leave(&mut self, line: L, ticket: &mut Option<Ticket>) -> Option<Waker> {
        let ticket = ticket.take()?;
        let waiter = self.waiters.remove(&(line, ticket))?;
        self.first(line);
        waiter.waker
    }

    /// Adds a waker to those to be called.
    pub(super) fn add(&mut self, waker: Waker) {
        self.woken.push(waker);
    }

    /// Takes out who is to be woken.
    pub(super) fn take(&mut self) -> WakeList {
        mem::take(&mut self.woken)
    }
}

fn whole<L: Copy>(line: L) -> core::ops::RangeInclusive<(L, Ticket)> {
    (line, Ticket::MIN)..=(line, Ticket::MAX)
}
