//! Fragments that come without connection, by their senders.

use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;
use crate::csp::api::{Endpoint, Event, SfpFault};
use crate::csp::config::Config;
use crate::csp::sfp::{Reassembly, Step};

/// How long the next fragment is awaited.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a sender of several fragments keeps its place from others while it is silent.
const PATIENCE_IF_FULL: Duration = Duration::from_secs(1);

/// How far the fragments of each sender have come.
#[derive(Debug)]
pub(super) struct FragmentSenders {
    senders: Vec<Sender>,
    limit: usize,
}

#[derive(Debug)]
struct Sender {
    port: u8,
    from: Endpoint,
    reassembly: Reassembly,
    deadline: Instant,
    /// Whether one followed on the first.
    has_gone_on: bool,
}

/// What becomes of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SenderStep {
    Step(Step),
    /// Others have all places.
    Full,
    /// A sender has given its place, and is told so; the fragment is to be given again.
    GaveWay {
        port: u8,
        from: Endpoint,
    },
}

impl FragmentSenders {
    pub(super) fn new(config: &Config) -> Self {
        let limit = usize::from(config.sfp_senders);
        Self {
            senders: Vec::with_capacity(limit),
            limit,
        }
    }

    pub(super) fn footprint(config: &Config) -> usize {
        usize::from(config.sfp_senders) * size_of::<Sender>()
    }

    /// Takes a fragment with its trailer to a port.
    pub(super) fn step(
        &mut self,
        now: Instant,
        (port, from): (u8, Endpoint),
        octets: &[u8],
        limit: u32,
    ) -> SenderStep {
        let is_of = |it: &Sender| it.port == port && it.from == from;
        let place = self.senders.iter().position(is_of);
        let known = place.and_then(|at| self.senders.get_mut(at));
        let mut reassembly = known.map_or(Reassembly::Idle, |it| it.reassembly);
        let step = reassembly.step(octets, limit);
        let is_full = place.is_none() && self.senders.len() >= self.limit;
        if is_full && reassembly.is_underway() {
            return self.give_way(now);
        }
        if let Some(at) = place {
            self.senders.swap_remove(at);
        }
        if reassembly.is_underway() {
            self.senders.push(Sender {
                port,
                from,
                reassembly,
                deadline: now + PATIENCE,
                has_gone_on: place.is_some(),
            });
        }
        SenderStep::Step(step)
    }

    /// Frees the place of the sender that is silent longest: of those with a first fragment alone, which anybody may
    /// send; else of those that are silent for a second.
    fn give_way(&mut self, now: Instant) -> SenderStep {
        let senders = self.senders.iter().enumerate();
        let first = senders.min_by_key(|(_, it)| (it.has_gone_on, it.deadline));
        let is_silent = |it: &Sender| it.deadline + PATIENCE_IF_FULL <= now + PATIENCE;
        match first {
            Some((at, it)) if !it.has_gone_on || is_silent(it) => {
                let Sender { port, from, .. } = self.senders.swap_remove(at);
                SenderStep::GaveWay { port, from }
            }
            _ => SenderStep::Full,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.senders.iter().map(|it| it.deadline).min()
    }

    /// Gives up a sender that was silent too long.
    pub(super) fn next_timed_out(&mut self, now: Instant) -> Option<Event> {
        let at = self.senders.iter().position(|it| it.deadline <= now)?;
        let Sender { port, from, .. } = self.senders.swap_remove(at);
        let fault = SfpFault::TimedOut;
        Some(Event::FragmentDatagramsFailed { port, from, fault })
    }
}
