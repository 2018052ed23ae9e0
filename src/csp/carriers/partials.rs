//! Packets of which a part has come.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::FrameStats;
use crate::Instant;

/// How long nothing may come of a packet until it is dropped, as libcsp has it.
const STALE: Duration = Duration::from_secs(1);
/// Packets that are put together at a time.
pub(super) const PARTIALS: usize = 16;

/// A fixed number of unfinished packets, each with a key, a state and memory of its own.
#[derive(Debug)]
pub(super) struct Partials<S> {
    partials: Vec<Partial<S>>,
}

#[derive(Debug)]
pub(super) struct Partial<S> {
    /// `None` where there is no packet.
    key: Option<u32>,
    /// When the last part of it came.
    heard: Instant,
    pub(super) state: S,
    pub(super) octets: Vec<u8>,
}

impl<S: Copy + Default> Partials<S> {
    /// Allocates `octets` for each packet.
    pub(super) fn new(octets: usize) -> Self {
        let partials = (0..PARTIALS).map(|_| Partial {
            key: None,
            heard: Instant::ZERO,
            state: S::default(),
            octets: vec![0; octets],
        });
        Self {
            partials: partials.collect(),
        }
    }

    /// Returns the bytes that are allocated.
    pub(super) const fn footprint(octets: usize) -> usize {
        PARTIALS * (size_of::<Partial<S>>() + octets)
    }

    /// Drops the packets of which nothing came for too long.
    pub(super) fn expire(&mut self, now: Instant, stats: &mut FrameStats) {
        for partial in &mut self.partials {
            if partial.key.is_some() && partial.heard + STALE <= now {
                partial.key = None;
                stats.stale += 1;
            }
        }
    }

    /// Returns the place of a packet.
    pub(super) fn find(&self, key: u32) -> Option<usize> {
        self.partials.iter().position(|it| it.key == Some(key))
    }

    /// Returns the place of a packet, or one for it.
    pub(super) fn find_or_insert(&mut self, key: u32, stats: &mut FrameStats) -> usize {
        self.find(key).unwrap_or_else(|| self.insert(key, stats))
    }

    /// Returns a place for a packet, if need be that of the one that was heard of longest ago.
    pub(super) fn insert(&mut self, key: u32, stats: &mut FrameStats) -> usize {
        let places = self.partials.iter().enumerate();
        let oldest = places.min_by_key(|(_, it)| it.key.map(|_| it.heard));
        let at = oldest.map_or(0, |(at, _)| at);
        if let Some(partial) = self.partials.get_mut(at) {
            stats.displaced += u64::from(partial.key.is_some());
            partial.key = Some(key);
            partial.state = S::default();
        }
        at
    }

    /// Returns the state of the packet at a place.
    pub(super) fn state(&self, at: usize) -> Option<S> {
        self.partials.get(at).map(|partial| partial.state)
    }

    /// Sets the state of the packet at a place.
    pub(super) fn set(&mut self, at: usize, state: S) {
        if let Some(partial) = self.partials.get_mut(at) {
            partial.state = state;
        }
    }

    /// Lends the packet at a place of which a part comes.
    pub(super) fn hear(&mut self, at: usize, now: Instant) -> Option<&mut Partial<S>> {
        let partial = self.partials.get_mut(at)?;
        partial.heard = now;
        Some(partial)
    }

    /// Frees a place, and returns the octets that it held.
    pub(super) fn take(&mut self, at: usize) -> &mut [u8] {
        self.partials.get_mut(at).map_or(&mut [], |partial| {
            partial.key = None;
            &mut partial.octets
        })
    }

    /// Frees the places of the packets that are not kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(u32, &mut S) -> bool) {
        for partial in &mut self.partials {
            if let Some(key) = partial.key
                && !is_kept(key, &mut partial.state)
            {
                partial.key = None;
            }
        }
    }

    /// Frees all places.
    pub(super) fn clear(&mut self) {
        self.retain(|_, _| false);
    }
}

impl<S> Partial<S> {
    /// Puts octets at a place of the packet, if there is room.
    pub(super) fn put(&mut self, start: usize, octets: &[u8]) {
        let place = self.octets.get_mut(start..start + octets.len());
        debug_assert!(place.is_some(), "the caller has checked the length");
        if let Some(place) = place {
            place.copy_from_slice(octets);
        }
    }
}
