//! Two recorded connections and a line between them, in simulated time.

use std::collections::VecDeque;
use std::time::Duration;

use farlink::cotp::{Command, Config, Connection, Error, Event};
use farlink::record::Recorder;
use farlink::{Ask, Cause, Instant, Limits, Link, Machine as _, Output, Transmit};

use crate::sink::Sink;

/// The most calls of one story; one that needs more does not end.
const MOST_TURNS: usize = 100_000;

/// The line between the two ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) delay: Duration,
    /// The largest chunk, in octets.
    pub(crate) chunk: usize,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Initiator,
    Responder,
}

/// Octets or a cue in transit.
enum Parcel {
    Octets(Vec<u8>),
    Cue(Link),
}

/// One end, and what is in transit to it.
struct End {
    machine: Recorder<Connection>,
    file: Sink,
    events: Vec<Event>,
    inbound: VecDeque<(Instant, Parcel)>,
    deadline: Option<Instant>,
    /// Octets that still arrive before the line is cut.
    credit: Option<usize>,
    done: bool,
}

/// A story: two ends that are recorded.
pub(crate) struct World {
    now: Instant,
    line: Line,
    tx: Transmit<()>,
    ends: [End; 2],
}

impl End {
    fn new(config: Config, seed: u64) -> Self {
        let file = Sink::default();
        Self {
            machine: file.recorder(config, seed),
            file,
            events: Vec::new(),
            inbound: VecDeque::new(),
            deadline: None,
            credit: None,
            done: false,
        }
    }

    /// Returns the time of the next arrival, unless it is not wanted.
    fn arrival(&self) -> Option<Instant> {
        let first = self.inbound.front();
        let wanted = first.filter(|_| self.done || self.machine.wants(()));
        wanted.map(|(time, _)| *time)
    }

    /// Returns the time of the next arrival or deadline.
    fn next(&self) -> Option<Instant> {
        [self.arrival(), self.deadline].into_iter().flatten().min()
    }
}

impl World {
    /// Makes both ends and brings the line up.
    pub(crate) fn new(initiator: Config, responder: Config, line: Line) -> Self {
        let mut world = Self {
            now: Instant::ZERO,
            line,
            tx: Transmit::new(Limits::stream(1460)),
            ends: [End::new(initiator, 1), End::new(responder, 2)],
        };
        for index in [0, 1] {
            world.deliver(index, Parcel::Cue(Link::Up));
        }
        world
    }

    /// Makes both ends and runs them until both are idle.
    pub(crate) fn settled(initiator: Config, responder: Config, line: Line) -> Self {
        let mut world = Self::new(initiator, responder, line);
        world.settle();
        world
    }

    /// Delivers everything in transit and runs both ends until they are idle.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            let arrivals = self.ends.iter().filter_map(End::arrival);
            let horizon = arrivals.max().unwrap_or(self.now);
            if !self.turn(horizon.max(self.now)) {
                return;
            }
        }
        panic!("the story does not end");
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..MOST_TURNS {
            if !self.turn(until) {
                return self.now = until;
            }
        }
        panic!("the story does not end");
    }

    /// Gives a command and runs both ends until they are idle.
    pub(crate) fn command(&mut self, side: Side, command: Command) {
        self.push(side, command).expect("it is accepted");
        self.settle();
    }

    /// Gives a command.
    pub(crate) fn push(&mut self, side: Side, command: Command) -> Result<(), Error> {
        // Time passes between two acts of a person.
        self.now += Duration::from_millis(1);
        let now = self.now;
        let end = self.end(side);
        end.deadline = Some(now);
        end.machine.command(now, command)
    }

    /// Ends the stream towards `side` after this number of octets.
    pub(crate) fn cut(&mut self, side: Side, octets: usize) {
        self.end(side).credit = Some(octets);
    }

    /// Delivers octets to `side` that the other end did not send.
    pub(crate) fn inject(&mut self, side: Side, octets: &[u8]) {
        self.deliver(index(side), Parcel::Octets(octets.to_vec()));
        self.settle();
    }

    /// Resets the stream at both ends; what is in transit is lost.
    pub(crate) fn reset(&mut self) {
        self.now += Duration::from_millis(1);
        for index in [0, 1] {
            self.ends[index].inbound.clear();
            self.deliver(index, Parcel::Cue(Link::Down(Cause::Reset)));
        }
        self.settle();
    }

    /// Returns the events at `side`.
    pub(crate) fn events(&self, side: Side) -> &[Event] {
        &self.ends[index(side)].events
    }

    /// Expects that the connection ended with these reasons at the two ends.
    pub(crate) fn ended(self, expected: [&str; 2]) -> Self {
        let ends = self.ends.each_ref().map(|end| match end.events.last() {
            Some(Event::Failed(end)) => format!("failed: {end}"),
            Some(Event::Closed(end)) => end.to_string(),
            other => panic!("it goes on: {other:?}"),
        });
        assert_eq!(ends, expected);
        self
    }

    /// Ends the recordings: that of the initiator, then that of the responder.
    pub(crate) fn files(self) -> [Vec<u8>; 2] {
        self.ends.map(|end| {
            drop(end.machine);
            end.file.octets()
        })
    }

    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[index(side)]
    }

    /// Delivers the next arrival of one end, or reaches its deadline. Returns false when there is neither until
    /// then.
    fn turn(&mut self, until: Instant) -> bool {
        let next = [0, 1].map(|index| (self.ends[index].next(), index));
        let due = next.into_iter().filter(|(time, _)| time.is_some()).min();
        let Some((Some(time), index)) = due.filter(|(time, _)| *time <= Some(until)) else {
            return false;
        };
        self.now = self.now.max(time);
        let end = &mut self.ends[index];
        if end.arrival().is_none_or(|time| time > self.now) {
            self.drain(index);
        } else if let Some((_, parcel)) = end.inbound.pop_front() {
            self.deliver(index, parcel);
        }
        true
    }

    fn deliver(&mut self, index: usize, parcel: Parcel) {
        let end = &mut self.ends[index];
        match parcel {
            _ if end.done => {}
            Parcel::Octets(octets) => end.machine.receive(self.now, (), &octets),
            Parcel::Cue(cue) => end.machine.link(self.now, (), cue),
        }
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        let end = &mut self.ends[index];
        end.deadline = None;
        if end.done {
            return;
        }
        loop {
            let end = &mut self.ends[index];
            match end.machine.poll(self.now, &mut self.tx) {
                Output::Transmit => self.send(1 - index),
                Output::Event(event) => end.events.push(event),
                Output::Ask(Ask::Finish(()) | Ask::Close(())) => {
                    self.post(1 - index, Parcel::Cue(Link::Ended));
                }
                Output::Ask(Ask::Abort(())) => {
                    self.post(1 - index, Parcel::Cue(Link::Down(Cause::Reset)));
                }
                Output::Ask(_) | Output::Yield => {}
                Output::Idle(deadline) => return end.deadline = deadline,
                Output::Done => return end.done = true,
            }
        }
    }

    /// Sends what is in `tx`, in chunks, up to the cut of the line.
    fn send(&mut self, to: usize) {
        let octets = self.tx.octets().to_vec();
        for piece in octets.chunks(self.line.chunk) {
            let credit = self.ends[to].credit;
            let through = credit.map_or(piece.len(), |credit| credit.min(piece.len()));
            if credit == Some(0) {
                return;
            }
            self.post(to, Parcel::Octets(piece[..through].to_vec()));
            if let Some(credit) = credit {
                self.ends[to].credit = Some(credit - through);
                if credit == through {
                    self.post(to, Parcel::Cue(Link::Ended));
                }
            }
        }
    }

    fn post(&mut self, to: usize, parcel: Parcel) {
        let time = self.now + self.line.delay;
        self.ends[to].inbound.push_back((time, parcel));
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::Initiator => 0,
        Side::Responder => 1,
    }
}
