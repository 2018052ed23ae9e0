//! One direction of a line at work: the medium sends datagrams one after the other, then faults apply.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::line::LineFault;
use super::rng::{LineRng, wire_time};
use super::{DropReason, Line, PacketKind, PacketView, Queue};
use crate::{Instant, Seed};

/// Sends bits, one datagram at a time.
#[derive(Debug, Default)]
pub(super) struct Medium {
    busy_until: Instant,
}

/// What the medium does with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Its last bit is sent at this time. If the datagram filled the queue, half of that is sent at `filled`.
    Sent {
        at: Instant,
        filled: Option<Instant>,
    },
    Lost(DropReason),
    /// There is room for it at this time.
    Held(Instant),
}

impl Medium {
    pub(super) fn depart(&mut self, line: &Line, now: Instant, len: usize) -> Departure {
        if line.mtu.is_some_and(|mtu| len > mtu) {
            return Departure::Lost(DropReason::TooLong);
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
            return Departure::Lost(DropReason::NoContact);
        }
        self.busy_until = ends;
        Departure::Sent {
            at: ends,
            filled: self.filled(line, now),
        }
    }

    /// Returns why a datagram is not sent. The queue is measured as the time that the line needs for it, so
    /// that no entries are kept.
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
            // The line is idle once all that waits is sent, and then takes anything.
            Queue::Hold(_) => Departure::Held((now + excess).min(self.busy_until)),
            _ => Departure::Lost(DropReason::QueueFull),
        })
    }

    fn filled(&self, line: &Line, now: Instant) -> Option<Instant> {
        let (Queue::Signal(limit), Some(rate)) = (line.queue, line.rate) else {
            return None;
        };
        let buffered = self.busy_until - now;
        let full = wire_time(limit, rate);
        (buffered >= full).then(|| now + buffered.saturating_sub(full / 2))
    }

    /// Sends a datagram of a NAT. It cannot be held, so the excess over any limit is dropped.
    pub(super) fn depart_in_network(&mut self, line: &Line, now: Instant, len: usize) -> Departure {
        let over = match (line.queue, line.rate) {
            (Queue::Hold(limit) | Queue::Signal(limit), Some(rate)) if self.busy_until > now => {
                let octets = len.saturating_add(line.overhead);
                (self.busy_until - now) + wire_time(octets, rate) > wire_time(limit, rate)
            }
            _ => false,
        };
        if over {
            return Departure::Lost(DropReason::QueueFull);
        }
        match self.depart(line, now, len) {
            Departure::Held(_) => Departure::Lost(DropReason::QueueFull),
            departure => departure,
        }
    }
}

/// The delay and the faults of one direction, with a random number generator of their own.
#[derive(Debug)]
pub(super) struct Propagation {
    rng: LineRng,
    latest: Instant,
    is_bad: bool,
    /// How many packets each rule has counted. Most lines have no rules.
    counted: Option<Box<[u64]>>,
}

/// What comes of a datagram.
#[derive(Debug)]
pub(super) struct Propagated {
    pub(super) delivery: Result<Landed, DropReason>,
    pub(super) copy: Option<Landed>,
}

#[derive(Debug)]
pub(super) struct Landed {
    pub(super) at: Instant,
    pub(super) octets: Bytes,
    pub(super) is_corrupted: bool,
}

impl Propagation {
    pub(super) fn new(seed: &Seed, line: &Line) -> Self {
        Self {
            rng: LineRng::new(seed),
            latest: Instant::ZERO,
            is_bad: false,
            counted: counters(line),
        }
    }

    /// Continues with another line, whose rules count from 1.
    pub(super) fn replace_line(&mut self, line: &Line) {
        self.counted = counters(line);
        self.is_bad = false;
    }

    /// Propagates a datagram whose last bit is sent at `sent`.
    pub(super) fn propagate(
        &mut self,
        line: &Line,
        sent: Instant,
        kind: PacketKind,
        octets: Bytes,
    ) -> Propagated {
        let mut late = None;
        let mut twice = false;
        let mut flip = None;
        let packet = PacketView {
            sent,
            kind,
            octets: &octets,
        };
        let faults = match self.counted.as_deref_mut() {
            Some(counted) => faults_of(line, counted, &packet),
            None => Vec::new(),
        };
        for fault in faults {
            match fault {
                LineFault::Lost => return Propagated::lost(DropReason::Rule),
                LineFault::Delayed(by) => late = Some(by),
                LineFault::Duplicated => twice = true,
                LineFault::BitFlipped(bit) => flip = Some(bit),
            }
        }
        if let Some(reason) = self.loss(line) {
            return Propagated::lost(reason);
        }
        if flip.is_none() && self.rng.happens(line.corruption) {
            let bits = u64::try_from(octets.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(8);
            flip = usize::try_from(self.rng.below(bits)).ok();
        }
        let at = self.arrival(line, sent, late);
        twice = twice || self.rng.happens(line.duplication);
        let copy = twice.then(|| Landed {
            at: self.arrival(line, sent, None),
            octets: octets.clone(),
            is_corrupted: false,
        });
        let landed = Landed {
            at,
            is_corrupted: flip.is_some() && !octets.is_empty(),
            octets: match flip {
                Some(bit) => flipped(&octets, bit),
                None => octets,
            },
        };
        Propagated {
            delivery: Ok(landed),
            copy,
        }
    }

    fn loss(&mut self, line: &Line) -> Option<DropReason> {
        if let Some(bursts) = line.bursts {
            let tcp_event = if self.is_bad {
                bursts.leave
            } else {
                bursts.enter
            };
            self.is_bad ^= self.rng.happens(tcp_event);
            if self.is_bad && self.rng.happens(bursts.loss) {
                return Some(DropReason::Burst);
            }
        }
        self.rng.happens(line.loss).then_some(DropReason::Random)
    }

    fn arrival(&mut self, line: &Line, sent: Instant, late: Option<Duration>) -> Instant {
        let variable_delay = line
            .variable_delay
            .as_ref()
            .map_or(Duration::ZERO, |variable_delay| variable_delay.delay(sent));
        let jitter = self.rng.spread(line.jitter);
        let at = sent + line.delay + variable_delay + jitter;
        if let Some(by) = late {
            return at + by;
        }
        if let Some(reorder) = line.reorder
            && self.rng.happens(reorder.probability)
        {
            return at + self.rng.spread(reorder.by);
        }
        self.latest = self.latest.max(at);
        self.latest
    }
}

impl Propagated {
    const fn lost(reason: DropReason) -> Self {
        Self {
            delivery: Err(reason),
            copy: None,
        }
    }
}

fn counters(line: &Line) -> Option<Box<[u64]>> {
    let kinds = line.rules.len();
    (kinds > 0).then(|| vec![0; kinds].into_boxed_slice())
}

/// Counts a packet for all rules, and returns the faults that apply to it.
fn faults_of(line: &Line, counted: &mut [u64], packet: &PacketView<'_>) -> Vec<LineFault> {
    let mut faults = Vec::new();
    for (rule, counted) in line.rules.iter().zip(counted) {
        if rule.counts(packet) {
            *counted += 1;
            if rule.applies_to(*counted) {
                faults.push(rule.fault);
            }
        }
    }
    faults
}

fn flipped(octets: &Bytes, bit: usize) -> Bytes {
    let mut changed = octets.to_vec();
    let index = (bit / 8).checked_rem(changed.len());
    if let Some(octet) = index.and_then(|index| changed.get_mut(index)) {
        *octet ^= 0x80 >> (bit % 8);
    }
    Bytes::from(changed)
}
