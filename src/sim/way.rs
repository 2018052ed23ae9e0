//! One direction of a line at work: first the medium, which takes datagrams one after the other, then the
//! flight, in which faults happen.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::dice::{Dice, wire_time};
use super::line::Doom;
use super::{Carrier, Line, Queue, Sight, Why};
use crate::{Instant, Seed};

/// What sends bits on a line, one datagram at a time.
#[derive(Debug, Default)]
pub(super) struct Medium {
    busy_until: Instant,
}

/// What the medium does with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Its last bit is sent then. The time of `filled` is when a queue that this datagram filled is half
    /// empty again.
    Sent {
        at: Instant,
        filled: Option<Instant>,
    },
    Lost(Why),
    /// There is room at that time.
    Held(Instant),
}

impl Medium {
    pub(super) fn depart(&mut self, line: &Line, now: Instant, len: usize) -> Departure {
        if line.mtu.is_some_and(|mtu| len > mtu) {
            return Departure::Lost(Why::TooLong);
        }
        let starts = self.busy_until.max(now);
        let octets = len.saturating_add(line.overhead);
        let takes = line
            .rate
            .map_or(Duration::ZERO, |rate| wire_time(octets, rate));
        let ends = starts + takes;
        if let Some(refusal) = self.refuse(line, now, ends) {
            return refusal;
        }
        let fits = |(opens, closes)| opens <= starts && ends <= closes;
        if !line.contacts.window_at(starts).is_some_and(fits) {
            return Departure::Lost(Why::NoContact);
        }
        self.busy_until = ends;
        Departure::Sent {
            at: ends,
            filled: self.filled(line, now),
        }
    }

    /// A queue is measured in the time that the line needs for it, which saves keeping its entries.
    fn refuse(&self, line: &Line, now: Instant, ends: Instant) -> Option<Departure> {
        let rate = line.rate?;
        if self.busy_until <= now {
            return None;
        }
        let limit = match line.queue {
            Queue::Unlimited | Queue::Signal(_) => return None,
            Queue::Drop(limit) | Queue::Hold(limit) => wire_time(limit, rate),
        };
        let excess = (ends - now).saturating_sub(limit);
        if excess.is_zero() {
            return None;
        }
        Some(match line.queue {
            // The line is idle at the latest when all that waits is sent, and an idle line takes anything.
            Queue::Hold(_) => Departure::Held((now + excess).min(self.busy_until)),
            _ => Departure::Lost(Why::QueueFull),
        })
    }

    fn filled(&self, line: &Line, now: Instant) -> Option<Instant> {
        let (Queue::Signal(limit), Some(rate)) = (line.queue, line.rate) else {
            return None;
        };
        let waits = self.busy_until - now;
        let full = wire_time(limit, rate);
        (waits >= full).then(|| now + waits.saturating_sub(full / 2))
    }

    /// Drops when the queue is over its limit, whatever the line says: nobody is there to be held.
    pub(super) fn depart_in_network(&mut self, line: &Line, now: Instant, len: usize) -> Departure {
        let over = match (line.queue, line.rate) {
            (Queue::Hold(limit) | Queue::Signal(limit), Some(rate)) if self.busy_until > now => {
                let octets = len.saturating_add(line.overhead);
                (self.busy_until - now) + wire_time(octets, rate) > wire_time(limit, rate)
            }
            _ => false,
        };
        if over {
            return Departure::Lost(Why::QueueFull);
        }
        match self.depart(line, now, len) {
            Departure::Held(_) => Departure::Lost(Why::QueueFull),
            departure => departure,
        }
    }
}

/// The faults of one direction, with a chance of their own.
#[derive(Debug)]
pub(super) struct Flight {
    dice: Dice,
    latest: Instant,
    is_bad: bool,
    /// How many of each kind of chosen datagrams there were; most lines choose none.
    counted: Option<Box<[u64]>>,
}

/// What comes of a datagram in flight.
#[derive(Debug)]
pub(super) struct Flown {
    pub(super) fate: Result<Landing, Why>,
    pub(super) copy: Option<Landing>,
}

#[derive(Debug)]
pub(super) struct Landing {
    pub(super) at: Instant,
    pub(super) octets: Bytes,
    pub(super) is_corrupted: bool,
}

impl Flight {
    pub(super) fn new(seed: &Seed, line: &Line) -> Self {
        Self {
            dice: Dice::new(seed),
            latest: Instant::ZERO,
            is_bad: false,
            counted: counters(line),
        }
    }

    /// Goes on with another line: its chosen datagrams are counted from 1.
    pub(super) fn turn_to(&mut self, line: &Line) {
        self.counted = counters(line);
        self.is_bad = false;
    }

    /// Sends a datagram whose last bit leaves at `sent`.
    pub(super) fn fly(
        &mut self,
        line: &Line,
        sent: Instant,
        carrier: Carrier,
        octets: Bytes,
    ) -> Flown {
        let mut late = None;
        let mut twice = false;
        let mut flip = None;
        let sight = Sight {
            sent,
            carrier,
            octets: &octets,
        };
        let dooms = match self.counted.as_deref_mut() {
            Some(counted) => chosen(line, counted, &sight),
            None => Vec::new(),
        };
        for doom in dooms {
            match doom {
                Doom::Lost => return Flown::lost(Why::Chosen),
                Doom::Late(by) => late = Some(by),
                Doom::Twice => twice = true,
                Doom::Flipped(bit) => flip = Some(bit),
            }
        }
        if let Some(why) = self.loss(line) {
            return Flown::lost(why);
        }
        if flip.is_none() && self.dice.happens(line.corruption) {
            let bits = u64::try_from(octets.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(8);
            flip = usize::try_from(self.dice.below(bits)).ok();
        }
        let at = self.arrival(line, sent, late);
        twice = twice || self.dice.happens(line.duplication);
        let copy = twice.then(|| Landing {
            at: self.arrival(line, sent, None),
            octets: octets.clone(),
            is_corrupted: false,
        });
        let landing = Landing {
            at,
            is_corrupted: flip.is_some() && !octets.is_empty(),
            octets: match flip {
                Some(bit) => flipped(&octets, bit),
                None => octets,
            },
        };
        Flown {
            fate: Ok(landing),
            copy,
        }
    }

    fn loss(&mut self, line: &Line) -> Option<Why> {
        if let Some(bursts) = line.bursts {
            let turn = if self.is_bad {
                bursts.leave
            } else {
                bursts.enter
            };
            self.is_bad ^= self.dice.happens(turn);
            if self.is_bad && self.dice.happens(bursts.loss) {
                return Some(Why::Burst);
            }
        }
        self.dice.happens(line.loss).then_some(Why::Rng)
    }

    fn arrival(&mut self, line: &Line, sent: Instant, late: Option<Duration>) -> Instant {
        let moving = line
            .moving
            .as_ref()
            .map_or(Duration::ZERO, |moving| moving.delay(sent));
        let jitter = self.dice.spread(line.jitter);
        let at = sent + line.delay + moving + jitter;
        if let Some(by) = late {
            return at + by;
        }
        if let Some(reorder) = line.reorder
            && self.dice.happens(reorder.probability)
        {
            return at + self.dice.spread(reorder.by);
        }
        self.latest = self.latest.max(at);
        self.latest
    }
}

impl Flown {
    const fn lost(why: Why) -> Self {
        Self {
            fate: Err(why),
            copy: None,
        }
    }
}

fn counters(line: &Line) -> Option<Box<[u64]>> {
    let kinds = line.chosen.len();
    (kinds > 0).then(|| vec![0; kinds].into_boxed_slice())
}

/// Counts a datagram, and tells what is to be done with it.
fn chosen(line: &Line, counted: &mut [u64], sight: &Sight<'_>) -> Vec<Doom> {
    let mut dooms = Vec::new();
    for (chosen, counted) in line.chosen.iter().zip(counted) {
        if chosen.counts(sight) {
            *counted += 1;
            if chosen.takes(*counted) {
                dooms.push(chosen.fate);
            }
        }
    }
    dooms
}

fn flipped(octets: &Bytes, bit: usize) -> Bytes {
    let mut changed = octets.to_vec();
    let place = (bit / 8).checked_rem(changed.len());
    if let Some(octet) = place.and_then(|place| changed.get_mut(place)) {
        *octet ^= 0x80 >> (bit % 8);
    }
    Bytes::from(changed)
}
