//! What a [`Recorder`](super::Recorder) writes down, call by call.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};
use core::fmt::Display;

use serde::Serialize;

use super::call::{Op, Record};
use super::json::{AskNote, CommandNote, EventNote, LinkNote, SnapshotNote};
use super::lane::Place;
use super::pages::Pages;
use super::pcapng::Direction;
use super::ways::{Lanes, Load, Ways};
use crate::{Ask, Instant, Link, Output, Transmit};

/// Octets of a reason for refusing.
const REASON: usize = 4096;
/// Streams handed over that are remembered.
const HANDED: usize = 1 << 14;

/// The pen: everything but the machine.
pub(super) struct Tape<A> {
    pages: Pages,
    ways: Ways<A>,
    /// When the poll that has not come back began.
    polling: Option<Instant>,
    /// Whether the command that has not come back is recorded.
    commanding: bool,
    /// Streams that belong to the application.
    handed: BTreeSet<A>,
}

impl<A: Place> Tape<A> {
    pub(super) fn new(pages: Pages, lanes: Lanes<A>) -> Self {
        Self {
            pages,
            ways: Ways::new(lanes),
            polling: None,
            commanding: false,
            handed: BTreeSet::new(),
        }
    }

    pub(super) fn set_lanes(&mut self, lanes: Lanes<A>) {
        self.ways = Ways::new(lanes);
    }

    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) const fn pages_mut(&mut self) -> &mut Pages {
        &mut self.pages
    }

    /// Writes the end, and the poll that a panic cut short.
    pub(super) fn finish(&mut self) {
        if let Some(now) = self.polling.take() {
            self.record(now, Op::NoReturn);
        }
        self.pages.finish();
    }

    fn record(&mut self, now: Instant, op: Op<'_>) {
        self.pages.record(&Record::Call(now, op));
    }

    /// Writes what the machine was restored from, before its first call.
    pub(super) fn restore(&mut self, now: Instant, snapshot: &impl Serialize) {
        if self.pages.begin_call() {
            self.pages
                .json(now, Direction::In, &SnapshotNote { snapshot }, Op::Restore);
        }
    }

    pub(super) fn receive(&mut self, now: Instant, from: A, octets: &[u8]) {
        if self.handed.contains(&from) || !self.pages.begin_call() {
            return;
        }
        let load = Load::Chunk(octets);
        self.ways.octets(
            &mut self.pages,
            now,
            from,
            Direction::In,
            &load,
            |from, packets| Op::Receive { from, packets },
        );
    }

    pub(super) fn link(&mut self, now: Instant, at: A, link: Link) {
        if matches!(link, Link::Up | Link::Opened(_)) {
            self.handed.remove(&at);
        }
        if !self.pages.begin_call() {
            return;
        }
        self.ways.show_link(&mut self.pages, now, at, link);
        self.pages
            .json(now, Direction::In, &LinkNote { link, at }, Op::Link);
    }

    /// Written before the machine sees it, so that a command which kills the machine is in the recording.
    pub(super) fn command(&mut self, now: Instant, command: &impl Serialize) {
        self.commanding = self.pages.begin_call();
        if self.commanding {
            self.pages
                .json(now, Direction::In, &CommandNote { command }, Op::Command);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, answer: Result<(), &impl Display>) {
        if !self.commanding {
            return;
        }
        match answer {
            Ok(()) => self.record(now, Op::Accepted),
            Err(error) => self.record(now, Op::Refused(refusal(error).as_bytes())),
        }
    }

    pub(super) fn begin_poll(&mut self, now: Instant, tx: &Transmit<A>) {
        if self.pages.begin_call() {
            self.pages.limits(tx.limits());
            self.polling = Some(now);
        }
    }

    pub(super) fn output<E: Serialize>(
        &mut self,
        now: Instant,
        output: &Output<A, E>,
        tx: &Transmit<A>,
    ) {
        if let Output::Ask(Ask::Detach { path, .. }) = output {
            self.hand_over(*path);
        }
        if self.polling.take().is_none() {
            return;
        }
        match output {
            Output::Transmit => self.transmit(now, tx),
            Output::Event(event) => {
                self.pages
                    .json(now, Direction::Out, &EventNote { event }, Op::Event);
            }
            Output::Ask(ask) => {
                self.ways.show_ask(&mut self.pages, now, ask);
                self.pages
                    .json(now, Direction::Out, &AskNote { ask }, Op::Ask);
            }
            Output::Yield => self.record(now, Op::Yield),
            Output::Idle(deadline) => self.record(now, Op::Idle(*deadline)),
            Output::Done => self.record(now, Op::Done),
        }
    }

    fn transmit(&mut self, now: Instant, tx: &Transmit<A>) {
        let Some(to) = tx.to() else {
            return self.record(now, Op::Nothing);
        };
        let (pages, ways) = (&mut self.pages, &mut self.ways);
        if tx.is_stream() {
            let load = Load::Chunk(tx.octets());
            ways.octets(pages, now, to, Direction::Out, &load, |to, packets| {
                Op::Stream { to, packets }
            });
        } else {
            let load = Load::Datagrams(tx.octets(), tx.segment_size());
            ways.octets(pages, now, to, Direction::Out, &load, |to, packets| {
                Op::Datagrams { to, packets }
            });
        }
    }

    fn hand_over(&mut self, path: A) {
        if self.handed.len() >= HANDED {
            self.handed.pop_first();
        }
        self.handed.insert(path);
    }
}

/// A reason as it is recorded: not longer than a record may be.
pub(super) fn refusal(error: &impl Display) -> String {
    let mut reason = error.to_string();
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
