//! Who waits for one thing, in order of arrival.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;

/// A place in a line, never given twice.
pub(crate) type Ticket = u64;

/// A line of those who wait. The first is called, and calls the next when it leaves with more left.
#[derive(Debug, Default)]
pub(super) struct Waiters(VecDeque<Waiter>);

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    waker: Waker,
    is_interrupted: bool,
}

impl Waiters {
    /// Waits under a ticket, which is drawn from `tickets` at the first time.
    pub(super) fn wait(
        &mut self,
        ticket: &mut Option<Ticket>,
        tickets: &mut Ticket,
        waker: &Waker,
    ) {
        if let Some(waiter) = ticket.and_then(|ticket| self.find(ticket)) {
            waiter.waker.clone_from(waker);
            return;
        }
        *tickets += 1;
        *ticket = Some(*tickets);
        self.0.push_back(Waiter {
            ticket: *tickets,
            waker: waker.clone(),
            is_interrupted: false,
        });
    }

    /// Leaves the line, wherever in it.
    pub(super) fn leave(&mut self, ticket: &mut Option<Ticket>) {
        if let Some(place) = ticket.take().and_then(|ticket| self.place(ticket)) {
            self.0.remove(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether nobody stands before the holder of `ticket`.
    pub(super) fn is_first(&self, ticket: Option<Ticket>) -> bool {
        self.0
            .front()
            .is_none_or(|first| Some(first.ticket) == ticket)
    }

    pub(super) fn call_first(&self, calls: &mut Vec<Waker>) {
        calls.extend(self.0.front().map(|first| first.waker.clone()));
    }

    pub(super) fn call_all(&self, calls: &mut Vec<Waker>) {
        calls.extend(self.0.iter().map(|waiter| waiter.waker.clone()));
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.0.iter().map(|waiter| waiter.ticket)
    }

    /// Calls all that wait, to hear that they were interrupted.
    pub(super) fn interrupt(&mut self, calls: &mut Vec<Waker>) {
        for waiter in &mut self.0 {
            waiter.is_interrupted = true;
        }
        self.call_all(calls);
    }

    /// Tells whether whoever holds `ticket` was interrupted.
    pub(super) fn is_interrupted(&self, ticket: Option<Ticket>) -> bool {
        let place = ticket.and_then(|ticket| self.place(ticket));
        place
            .and_then(|place| self.0.get(place))
            .is_some_and(|waiter| waiter.is_interrupted)
    }

    fn find(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let place = self.place(ticket)?;
        self.0.get_mut(place)
    }

    /// Tickets only grow towards the end of the line.
    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.0
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }
}
