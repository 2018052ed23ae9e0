//! A machine that carries out commands of the script, and records all its inputs as events.

use alloc::collections::{BTreeSet, VecDeque};
use core::convert::Infallible;

use bytes::Bytes;
use farlink::sim::SimAddr;
use farlink::{Ask, Instant, Link, Machine, Output, Transmit};

/// A command of a scripted machine.
#[derive(Debug, Clone)]
pub(crate) enum Action<A> {
    /// Send a datagram.
    Push(A, Bytes),
    /// Write to a stream.
    Append(A, Bytes),
    Ask(Ask<A>),
    /// Set the deadline.
    WakeAt(Instant),
    /// Whether to read streams.
    Want(bool),
    /// Send each datagram back.
    Echo,
    /// Return `Done`.
    Stop,
}

/// An input of a scripted machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Observed<A> {
    Octets(A, Bytes),
    Link(A, Link),
    Woke,
}

#[derive(Debug)]
pub(crate) struct ScriptedMachine<A> {
    events: VecDeque<Observed<A>>,
    asks: VecDeque<Ask<A>>,
    sends: VecDeque<(A, Bytes, Kind)>,
    /// Carriers and addresses that are full.
    full: BTreeSet<A>,
    wake: Option<Instant>,
    echoes: bool,
    refuses: bool,
    stops: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Datagram,
    Stream,
}

impl<A> Default for ScriptedMachine<A> {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            asks: VecDeque::new(),
            sends: VecDeque::new(),
            full: BTreeSet::new(),
            wake: None,
            echoes: false,
            refuses: false,
            stops: false,
        }
    }
}

impl<A: SimAddr> Machine for ScriptedMachine<A> {
    type Addr = A;
    type Command = Action<A>;
    type Event = Observed<A>;
    type Error = Infallible;

    fn receive(&mut self, _: Instant, from: A, octets: &[u8]) {
        let octets = Bytes::copy_from_slice(octets);
        if self.echoes {
            self.sends.push_back((from, octets.clone(), Kind::Datagram));
        }
        self.events.push_back(Observed::Octets(from, octets));
    }

    fn link(&mut self, _: Instant, at: A, state: Link) {
        let _ = match state {
            Link::Full | Link::Down(_) => self.full.insert(at),
            Link::Free | Link::Up => self.full.remove(&at),
            _ => false,
        };
        self.events.push_back(Observed::Link(at, state));
    }

    fn command(&mut self, _: Instant, command: Action<A>) -> Result<(), Infallible> {
        match command {
            Action::Push(to, octets) => self.sends.push_back((to, octets, Kind::Datagram)),
            Action::Append(to, octets) => self.sends.push_back((to, octets, Kind::Stream)),
            Action::Ask(ask) => self.asks.push_back(ask),
            Action::WakeAt(at) => self.wake = Some(at),
            Action::Want(wants) => self.refuses = !wants,
            Action::Echo => self.echoes = true,
            Action::Stop => self.stops = true,
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<A>) -> Output<A, Observed<A>> {
        tx.clear();
        if self.wake.is_some_and(|wake| wake <= now) {
            self.wake = None;
            self.events.push_back(Observed::Woke);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(ask) = self.asks.pop_front() {
            return Output::Ask(ask);
        }
        self.fill(tx);
        if !tx.is_empty() {
            return Output::Transmit;
        }
        if self.stops {
            return Output::Done;
        }
        Output::Idle(self.wake)
    }

    fn wants(&self, _: A) -> bool {
        !self.refuses
    }
}

impl<A: SimAddr> ScriptedMachine<A> {
    fn fill(&mut self, tx: &mut Transmit<A>) {
        let mut waiting = VecDeque::new();
        while let Some((to, mut octets, kind)) = self.sends.pop_front() {
            let is_blocked = self.full.contains(&to)
                || self.full.contains(&to.carrier())
                || waiting
                    .iter()
                    .any(|(other, ..): &(A, Bytes, Kind)| *other == to);
            let room = match kind {
                Kind::Stream => tx.room_in_stream(to).min(octets.len()),
                Kind::Datagram => octets.len(),
            };
            let part = octets.slice(..room);
            let write = |out: &mut Vec<u8>| out.extend_from_slice(&part);
            let is_sent = !is_blocked
                && match kind {
                    Kind::Datagram => tx.push(to, room, write),
                    Kind::Stream => tx.append(to, room, write),
                };
            if !is_sent {
                waiting.push_back((to, octets, kind));
            } else if room < octets.len() {
                waiting.push_back((to, octets.split_off(room), kind));
            }
        }
        self.sends = waiting;
    }
}

/// Returns the octets that a machine received, with their times.
pub(crate) fn octets<A: SimAddr>(
    world: &farlink::sim::World,
    host: farlink::sim::Host<ScriptedMachine<A>>,
) -> Vec<(Instant, Bytes)> {
    let events = world.events(host);
    events
        .filter_map(|(time, event)| match event {
            Observed::Octets(_, octets) => Some((time, octets.clone())),
            _ => None,
        })
        .collect()
}

/// Returns the link cues of a machine, with their times.
pub(crate) fn links<A: SimAddr>(
    world: &farlink::sim::World,
    host: farlink::sim::Host<ScriptedMachine<A>>,
) -> Vec<(Instant, A, Link)> {
    let events = world.events(host);
    events
        .filter_map(|(time, event)| match event {
            Observed::Link(at, link) => Some((time, *at, *link)),
            _ => None,
        })
        .collect()
}
