//! What the machine tells: events that wait for the application, and what the driver itself waits for.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use super::stream::{Options, Sort};
use crate::{Machine, Tag};

/// Events that wait for the application.
pub(super) struct News<E> {
    queue: VecDeque<E>,
    weight: usize,
    limit: usize,
    sort: fn(&E) -> Sort,
    /// How often there may have been room again.
    rooms: u64,
    /// `rooms` when those who wait for room were woken for the last time.
    rooms_told: u64,
    /// Whoever waits for an answer, and how far it has come.
    answers: Vec<(Tag, Answer)>,
    is_ended: bool,
    is_unwanted: bool,
}

/// How far the answer to a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Due,
    /// The machine gave it, but what it wrote before is not with the system yet.
    Told,
    Given,
}

impl<E> News<E> {
    pub(super) fn new<M: Machine<Event = E>>(options: &Options<M>) -> Self {
        Self {
            queue: VecDeque::new(),
            weight: 0,
            limit: options.events.max(1),
            sort: options.sort,
            rooms: 0,
            rooms_told: 0,
            answers: Vec::new(),
            is_ended: false,
            is_unwanted: false,
        }
    }

    pub(super) fn push(&mut self, event: E) {
        match (self.sort)(&event) {
            Sort::Event(weight) => self.keep(event, weight),
            Sort::End(weight) => {
                self.is_ended = true;
                self.rooms += 1;
                self.keep(event, weight);
            }
            Sort::Room => self.rooms += 1,
            Sort::Answer(tag) => {
                for (_, answer) in self.answers.iter_mut().filter(|(due, _)| *due == tag) {
                    *answer = Answer::Told;
                }
            }
        }
    }

    fn keep(&mut self, event: E, weight: usize) {
        if !self.is_unwanted {
            self.weight = self.weight.saturating_add(weight);
            self.queue.push_back(event);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.weight >= self.limit
    }

    /// Everything that was written is with the system.
    pub(super) fn give_answers(&mut self) {
        for (_, answer) in &mut self.answers {
            if *answer == Answer::Told {
                *answer = Answer::Given;
            }
        }
    }

    pub(super) fn await_answer(&mut self, tag: Tag) {
        self.answers.push((tag, Answer::Due));
    }

    pub(super) fn is_answered(&self, tag: Tag) -> bool {
        self.answers.contains(&(tag, Answer::Given))
    }

    pub(super) fn forget_answer(&mut self, tag: Tag) {
        self.answers.retain(|(due, _)| *due != tag);
    }

    /// Tells whether the machine said that nothing more will come.
    pub(super) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Swaps what waits for an empty queue.
    pub(super) fn take(&mut self, taken: &mut VecDeque<E>) {
        self.weight = 0;
        mem::swap(&mut self.queue, taken);
    }

    /// Discards every event from here on, and returns those that wait.
    pub(super) fn refuse(&mut self) -> VecDeque<E> {
        self.is_unwanted = true;
        self.weight = 0;
        mem::take(&mut self.queue)
    }

    /// Tells whether the application dropped its end.
    pub(super) const fn is_unwanted(&self) -> bool {
        self.is_unwanted
    }

    /// Counts how often there may have been room again in the machine.
    pub(super) const fn rooms(&self) -> u64 {
        self.rooms
    }

    /// Notes that there may be room in the machine.
    pub(super) const fn make_room(&mut self) {
        self.rooms += 1;
    }

    /// Tells, once, that there may be room.
    pub(super) const fn has_new_room(&mut self) -> bool {
        let is_new = self.rooms_told != self.rooms;
        self.rooms_told = self.rooms;
        is_new
    }
}
