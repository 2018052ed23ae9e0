//! A machine on datagrams that keeps the laws, and can be made to violate one.
//!
//! It probes its neighbours: a number from the seed, sent up to three times, and answered by the same
//! number. A datagram `?` is answered by `!`.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::lines::Refused;
use crate::laws::{InputMemory, LawSubject};
use crate::{
    Addr as _, Ask, Hop, Instant, Limits, Link, Machine, Output, Rng, Seed, Tag, Transmit,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_TRIES: u8 = 3;
const MAX_PROBES: usize = 8;
/// Probes that one call gives up.
const MAX_GIVEN_UP: usize = 2;
const MAX_ANSWERS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub(super) enum Fault {
    None,
    LongDatagram,
    LongBatch,
    WritesWhenDown,
    AnswersWhenFull,
    RemembersAll,
    TimerFromTheClock,
    WritesAfterCancel,
    YieldsForEver,
    OctetsUnderYield,
    AnswersLong,
    AllocatesByNumber,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub(super) enum Command {
    /// Probes one of the four neighbours, by this number modulo 4.
    Probe(u8),
    Open(Tag),
    /// Cancels one of the opens, by this number modulo their count.
    Cancel(u8),
    Stop,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Answered(Hop),
    Silent(Hop),
    Opened(Hop),
}

struct Probe {
    number: [u8; 8],
    tries: u8,
    /// Set while the answer is awaited; otherwise the probe is to be sent.
    deadline: Option<Instant>,
}

pub(super) const fn neighbour(number: u8) -> Hop {
    Hop {
        interface: 0,
        via: (number % 4) as u16,
    }
}

/// The first path that it opens: a neighbour, so that generated steps concern it.
pub(super) const OPENED: Hop = neighbour(1);

pub(super) struct Beacon {
    fault: Fault,
    rng: Rng,
    now: Instant,
    probes: BTreeMap<Hop, Probe>,
    answers: VecDeque<Hop>,
    events: VecDeque<Event>,
    asks: VecDeque<Ask<Hop>>,
    full: BTreeSet<Hop>,
    down: BTreeSet<Hop>,
    known: Vec<Hop>,
    /// The paths that were asked for; `None` until they are opened.
    opens: BTreeMap<Tag, Option<Hop>>,
    is_stopped: bool,
    /// Neighbours that a command has named.
    named: BTreeSet<Hop>,
    /// Bytes that are held for the numbers in datagrams.
    allocated: u64,
}

/// Tells whether the set has an address or its carrier.
fn applies_to(set: &BTreeSet<Hop>, at: Hop) -> bool {
    set.contains(&at) || set.contains(&at.carrier())
}

impl Beacon {
    fn may_write(&self, to: Hop) -> bool {
        let is_full = applies_to(&self.full, to) && self.fault != Fault::AnswersWhenFull;
        let is_down = applies_to(&self.down, to) && self.fault != Fault::WritesWhenDown;
        !is_full && !is_down
    }

    /// A probe ends in an event, so both count.
    fn has_room(&self) -> bool {
        self.probes.len() + self.events.len() < MAX_PROBES
    }

    /// Fires the timers that are due; those of a neighbour that is down are frozen. Returns whether more
    /// probes are to be given up than one call does.
    fn fire_timers(&mut self) -> bool {
        for (at, probe) in &mut self.probes {
            if !applies_to(&self.down, *at)
                && probe.deadline.is_some_and(|deadline| deadline <= self.now)
            {
                probe.deadline = None;
            }
        }
        let given_up: Vec<Hop> = self
            .probes
            .iter()
            .filter(|(_, probe)| probe.tries == MAX_TRIES && probe.deadline.is_none())
            .map(|(at, _)| *at)
            .collect();
        for at in given_up.iter().take(MAX_GIVEN_UP) {
            self.probes.remove(at);
            self.events.push_back(Event::Silent(*at));
        }
        given_up.len() > MAX_GIVEN_UP
    }

    fn deadline(&self) -> Option<Instant> {
        self.probes
            .iter()
            .filter(|(at, _)| !applies_to(&self.down, **at))
            .filter_map(|(_, probe)| probe.deadline)
            .min()
    }

    fn write_answers(&mut self, tx: &mut Transmit<Hop>) -> bool {
        let Some(place) = self.answers.iter().position(|to| self.may_write(*to)) else {
            return false;
        };
        let to = self.answers.remove(place).unwrap();
        match self.fault {
            Fault::LongDatagram => {
                *tx = Transmit::new(Limits::new(2000, 64, 1 << 16));
                tx.push(to, 2000, |out| out.resize(2000, b'!'))
            }
            Fault::LongBatch => {
                *tx = Transmit::new(Limits::new(2000, 64, 1 << 16));
                (0..64).all(|_| tx.push(to, 1, |out| out.push(b'!')))
            }
            Fault::AnswersLong => tx.push(to, 600, |out| out.resize(600, b'!')),
            _ => tx.push(to, 1, |out| out.push(b'!')),
        }
    }

    fn write_probes(&mut self, tx: &mut Transmit<Hop>) -> bool {
        let ready = self
            .probes
            .iter()
            .find(|(at, probe)| probe.deadline.is_none() && self.may_write(**at));
        let Some((&to, _)) = ready else {
            return false;
        };
        let probe = self.probes.get_mut(&to).unwrap();
        let number = probe.number;
        if !tx.push(to, number.len(), |out| out.extend_from_slice(&number)) {
            // A probe exceeds the limits, so it can never be answered.
            self.probes.remove(&to);
            self.events.push_back(Event::Silent(to));
            return false;
        }
        probe.tries += 1;
        probe.deadline = Some(self.now + ANSWER_TIMEOUT * u32::from(probe.tries));
        true
    }
}

impl Machine for Beacon {
    type Addr = Hop;
    type Command = Command;
    type Event = Event;
    type Error = Refused;

    fn receive(&mut self, now: Instant, from: Hop, octets: &[u8]) {
        self.now = self.now.max(now);
        if self.fault == Fault::RemembersAll {
            self.known.extend([from; 16]);
        }
        if self.fault == Fault::AllocatesByNumber
            && let Ok(number) = octets.try_into()
        {
            self.allocated = u64::from_be_bytes(number);
        }
        if octets == b"?" && self.answers.len() < MAX_ANSWERS && !self.is_stopped {
            self.answers.push_back(from);
        } else if self
            .probes
            .get(&from)
            .is_some_and(|probe| probe.number == octets)
        {
            self.probes.remove(&from);
            self.events.push_back(Event::Answered(from));
        }
    }

    fn link(&mut self, now: Instant, at: Hop, state: Link) {
        self.now = self.now.max(now);
        match state {
            Link::Full => drop(self.full.insert(at)),
            Link::Free => drop(self.full.remove(&at)),
            Link::Down(_) => {
                self.down.insert(at);
                self.opens.retain(|_, path| *path != Some(at));
            }
            Link::Failed(tag, _) => drop(self.opens.remove(&tag)),
            Link::Opened(tag) => {
                self.down.remove(&at);
                if let Some(path) = self.opens.get_mut(&tag) {
                    *path = Some(at);
                }
                if self.has_room() && !self.is_stopped {
                    self.events.push_back(Event::Opened(at));
                }
            }
            Link::Up => drop(self.down.remove(&at)),
            Link::Ended => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> Result<(), Refused> {
        let now = if self.fault == Fault::TimerFromTheClock {
            now
        } else {
            self.now.max(now)
        };
        self.now = self.now.max(now);
        match command {
            _ if self.is_stopped => Err(Refused),
            Command::Stop => {
                self.is_stopped = true;
                self.probes.clear();
                Ok(())
            }
            Command::Cancel(number) => {
                let nth = usize::from(number).checked_rem(self.opens.len());
                let tag = nth.and_then(|nth| self.opens.keys().nth(nth).copied());
                let tag = tag.ok_or(Refused)?;
                let path = self.opens.remove(&tag).flatten();
                self.asks.push_back(Ask::Cancel(tag));
                if let Some(path) = path.filter(|_| self.fault != Fault::WritesAfterCancel) {
                    self.down.insert(path);
                }
                Ok(())
            }
            Command::Open(tag) if self.asks.len().max(self.opens.len()) < MAX_PROBES => {
                self.opens.insert(tag, None);
                let path = neighbour(0);
                self.asks.push_back(Ask::Open { tag, path });
                Ok(())
            }
            Command::Probe(number) if self.has_room() => {
                let at = neighbour(number);
                self.named.insert(at);
                let number = self.rng.next_u64().to_be_bytes();
                // The fault starts the timer before the probe is written, and from an unchecked clock.
                let deadline =
                    (self.fault == Fault::TimerFromTheClock).then_some(now + ANSWER_TIMEOUT);
                self.probes.insert(
                    at,
                    Probe {
                        number,
                        tries: 0,
                        deadline,
                    },
                );
                Ok(())
            }
            Command::Open(_) | Command::Probe(_) => Err(Refused),
        }
    }

    fn poll(&mut self, now: Instant, tx: &mut Transmit<Hop>) -> Output<Hop, Event> {
        tx.clear();
        self.now = self.now.max(now);
        if self.fire_timers() {
            return Output::Yield;
        }
        if self.fault == Fault::YieldsForEver && !self.answers.is_empty() {
            return Output::Yield;
        }
        if self.fault == Fault::OctetsUnderYield && self.write_answers(tx) {
            return Output::Yield;
        }
        if self.events.is_empty() {
            if let Some(ask) = self.asks.pop_front() {
                return Output::Ask(ask);
            }
            if self.write_answers(tx) || self.write_probes(tx) {
                return Output::Transmit;
            }
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if self.is_stopped && self.answers.is_empty() {
            return Output::Done;
        }
        Output::Idle(self.deadline())
    }
}

impl LawSubject for Beacon {
    type Config = Fault;

    fn make(fault: &Fault, seed: Seed) -> Option<Self> {
        Some(Self {
            fault: *fault,
            rng: seed.child("beacon").rng(),
            now: Instant::ZERO,
            probes: BTreeMap::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            asks: VecDeque::new(),
            full: BTreeSet::new(),
            down: BTreeSet::new(),
            known: Vec::new(),
            opens: BTreeMap::new(),
            is_stopped: false,
            named: BTreeSet::new(),
            allocated: 0,
        })
    }

    fn memory_limit(_: &Fault) -> usize {
        1024
    }

    fn memory_used(&self) -> usize {
        self.probes.len() * size_of::<(Hop, Probe)>()
            + (self.answers.len() + self.known.len()) * size_of::<Hop>()
            + self.events.len() * size_of::<Event>()
            + self.asks.len() * size_of::<Ask<Hop>>()
            + self.opens.len() * size_of::<(Tag, Option<Hop>)>()
    }

    fn is_stream(_: &Fault, _: Hop) -> bool {
        false
    }

    fn is_stranger(&self, at: Hop) -> bool {
        !self.named.contains(&at)
    }

    fn memory_for_input(&self) -> InputMemory {
        InputMemory {
            octets: usize::try_from(self.allocated).unwrap_or(usize::MAX),
            sessions: 1,
            continued: 0,
        }
    }

    fn route(at: Hop, _: &[Hop]) -> Hop {
        neighbour(at.via.to_le_bytes()[0])
    }

    fn bound(_: Hop, nth: usize) -> Hop {
        neighbour(nth.to_le_bytes()[0].wrapping_add(1))
    }

    #[cfg(feature = "arbitrary")]
    fn arbitrary_octets(
        _: &Fault,
        u: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<Vec<u8>> {
        Ok(if u.arbitrary()? {
            b"?".to_vec()
        } else {
            u.arbitrary::<[u8; 8]>()?.to_vec()
        })
    }
}
