//! Which interfaces and hops take packets.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::csp::config::Config;
use crate::kit::Pacer;
use crate::{Addr as _, Hop, Instant, Link};

/// Hops that a set names beside their interfaces. Beyond it the whole interface is named.
const MAX_HOPS: usize = 64;
/// Paced packets that may leave back to back: at least these, or what the rate allows in so much of a second.
const BURST: u32 = 4;
const BURST_RATE: u32 = 250;

/// Which interfaces and hops take packets.
#[derive(Debug)]
pub(super) struct Links {
    full: HopSet,
    down: HopSet,
    /// Of each interface, for packets that wait.
    pacers: Vec<Pacer>,
}

/// Interfaces, and hops over others.
#[derive(Debug)]
struct HopSet {
    /// A bit for each interface.
    interfaces: [u64; 4],
    hops: Vec<Hop>,
}

impl HopSet {
    fn new() -> Self {
        Self {
            interfaces: [0; 4],
            hops: Vec::with_capacity(MAX_HOPS),
        }
    }

    fn word(&mut self, interface: u8) -> Option<&mut u64> {
        self.interfaces.get_mut(usize::from(interface / 64))
    }

    fn insert(&mut self, at: Hop) {
        if self.hops.contains(&at) {
            return;
        }
        if at != at.carrier() && self.hops.len() < MAX_HOPS {
            return self.hops.push(at);
        }
        if let Some(word) = self.word(at.interface) {
            *word |= 1 << (at.interface % 64);
        }
    }

    fn remove(&mut self, at: Hop) {
        self.hops.retain(|hop| *hop != at);
        if at != at.carrier() {
            return;
        }
        if let Some(word) = self.word(at.interface) {
            *word &= !(1 << (at.interface % 64));
        }
    }

    fn contains(&self, hop: Hop) -> bool {
        let word = self.interfaces.get(usize::from(hop.interface / 64));
        let is_named = word.is_some_and(|word| word & 1 << (hop.interface % 64) != 0);
        is_named || self.hops.contains(&hop)
    }
}

impl Links {
    pub(super) fn new(config: &Config) -> Self {
        let interfaces = config.interfaces.iter();
        let pacers = interfaces.map(|interface| {
            let rate = interface.max_throughput;
            let least = u32::from(config.max_data).saturating_mul(BURST);
            let burst = least.max(rate.unwrap_or_default() / BURST_RATE);
            Pacer::new(rate.and_then(|it| NonZeroU64::new(it.max(1).into())), burst)
        });
        Self {
            full: HopSet::new(),
            down: HopSet::new(),
            pacers: pacers.collect(),
        }
    }

    pub(super) const fn footprint(interfaces: usize) -> usize {
        2 * MAX_HOPS * size_of::<Hop>() + interfaces * size_of::<Pacer>()
    }

    /// Returns the interface of a hop, if packets that wait are paced there.
    #[cfg(feature = "dtp")]
    pub(super) fn paced(&mut self, hop: Hop) -> Option<&mut Pacer> {
        let pacer = self.pacers.get_mut(usize::from(hop.interface));
        pacer.filter(|pacer| pacer.is_limited())
    }

    /// Returns when an interface takes the next packet that waits.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let pacers = self.pacers.iter();
        pacers.filter_map(|pacer| pacer.blocked_until(now)).min()
    }

    pub(super) fn on_cue(&mut self, at: Hop, state: Link) {
        match state {
            Link::Full => self.full.insert(at),
            Link::Free => self.full.remove(at),
            Link::Up | Link::Opened(_) => self.down.remove(at),
            Link::Down(_) => {
                self.down.insert(at);
                self.full.remove(at);
            }
            Link::Ended | Link::Failed(..) => {}
        }
    }

    pub(super) fn takes(&self, hop: Hop) -> bool {
        !self.full.contains(hop) && !self.is_down(hop)
    }

    pub(super) fn is_down(&self, hop: Hop) -> bool {
        self.down.contains(hop)
    }
}
