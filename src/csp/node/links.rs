//! Which interfaces and hops take packets.

use alloc::vec::Vec;

use crate::{Addr as _, Hop, Link};

/// Hops that a set names beside their interfaces. Beyond it the whole interface is named.
const MAX_HOPS: usize = 64;

/// Which interfaces and hops take packets.
#[derive(Debug)]
pub(super) struct Links {
    full: HopSet,
    down: HopSet,
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
    pub(super) fn new() -> Self {
        Self {
            full: HopSet::new(),
            down: HopSet::new(),
        }
    }

    pub(super) const fn footprint() -> usize {
        2 * MAX_HOPS * size_of::<Hop>()
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
