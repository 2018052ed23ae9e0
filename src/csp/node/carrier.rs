//! How packets leave: by an interface, or back to the node itself.

use alloc::vec::Vec;

use crate::csp::api::Stats;
use crate::csp::carriers::{InterfaceCodec, Pushed, push_packet};
use crate::csp::config::Config;
use crate::csp::ring::PacketRing;
use crate::csp::wire::{Flags, Header, crc32, tail};
use crate::{Addr as _, Hop, Link, Transmit};

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

    fn takes(&self, hop: Hop) -> bool {
        !self.full.contains(hop) && !self.down.contains(hop)
    }
}

/// What became of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It was written, or never can be.
    Done,
    /// It fits into the next transmit.
    Later,
    /// Its interface takes none.
    Blocked,
}

/// Writes packets to where they go.
pub(super) struct Carrier<'a, 'b> {
    pub(super) config: &'a Config,
    pub(super) links: &'a Links,
    pub(super) codecs: &'a mut [InterfaceCodec],
    pub(super) loopback: &'a mut PacketRing<()>,
    pub(super) stats: &'a mut Stats,
    pub(super) tx: &'b mut Transmit<Hop>,
}

/// Returns where packets to `address` go: the last of those routes that have most bits in common with it.
pub(super) fn route(config: &Config, address: u16) -> Option<Hop> {
    let routes = config.routes.iter();
    let routes = routes.filter(|route| route.contains(address, config.version));
    let route = routes.max_by_key(|route| route.prefix)?;
    Some(Hop {
        interface: route.interface,
        via: route.via.unwrap_or(address),
    })
}

impl Carrier<'_, '_> {
    /// Writes a packet with data in two pieces, and CRC32 if the header says so.
    pub(super) fn put(&mut self, header: Header, data: [&[u8]; 2]) -> Put {
        let version = self.config.version;
        let [first, second] = data;
        let sum = crc32(&[first, second]).to_be_bytes();
        let sum = if header.flags.contains(Flags::CRC32) {
            &sum[..]
        } else {
            &[]
        };
        if header.destination == self.config.address {
            let word = header.word(version);
            let pieces = [tail(&word, version), first, second, sum];
            return if self.loopback.push((), &pieces) {
                self.stats.sent += 1;
                Put::Done
            } else {
                Put::Blocked
            };
        }
        let Some(hop) = route(self.config, header.destination) else {
            // Every command was checked, and answers go only where a route leads.
            return Put::Done;
        };
        if !self.links.takes(hop) {
            return Put::Blocked;
        }
        let word = header.word(version);
        let (header, data) = (tail(&word, version), [first, second, sum]);
        let pushed = match self.codecs.get_mut(usize::from(hop.interface)) {
            Some(codec) => codec.push(self.tx, hop, header, &data),
            None => push_packet(self.tx, hop, header, &data),
        };
        match pushed {
            Pushed::Done => self.stats.sent += 1,
            Pushed::TooLong => self.stats.too_long += 1,
            Pushed::Later => return Put::Later,
        }
        Put::Done
    }

    /// Writes what is left of packets that were written in part. Returns false if the rest goes into the next transmit.
    pub(super) fn flush(&mut self) -> bool {
        for codec in &mut *self.codecs {
            if codec.pending().is_some_and(|hop| self.links.takes(hop)) {
                match codec.flush(self.tx) {
                    Pushed::Done => {}
                    Pushed::TooLong => self.stats.too_long += 1,
                    Pushed::Later => return false,
                }
            }
        }
        true
    }
}
