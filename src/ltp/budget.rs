//! The octets that an engine holds for blocks and events, and what is free.

use super::buffer_pool::BufferPool;
use super::peer::{Origin, PeerState};

/// The octets held, by what they are held for, and the limit of those that are received.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Octets of blocks being sent, and of failed ones that wait in events.
    pub(super) exports: usize,
    /// Octets of sessions in which blocks are received.
    imports: usize,
    /// Octets of events that were not polled or taken.
    pub(super) events: usize,
    /// Octets that wait in services opened on demand. They are part of `events` too.
    pub(super) waiting: usize,
    /// The maximum of `imports` and `events` together.
    limit: usize,
    /// Octets that wait of accepted peers, which are part of `waiting`.
    pub(super) strangers_waiting: usize,
    /// Octets of the sessions of accepted peers, which are part of `imports`, and the maximum of both.
    pub(super) strangers: usize,
    strangers_limit: usize,
    pub(super) pool: BufferPool,
}

impl Budget {
    pub(super) fn new(limit: usize, strangers_limit: usize) -> Self {
        Self {
            limit,
            strangers_limit,
            ..Self::default()
        }
    }

    /// Returns the octets of sessions in which blocks are received.
    #[cfg(any(test, feature = "laws"))]
    pub(super) const fn imports(&self) -> usize {
        self.imports
    }

    /// Returns the octets held for sessions, and for events that were not taken.
    pub(super) const fn held(&self) -> usize {
        self.exports + self.imports + self.events
    }

    /// Returns the octets that may yet be allocated for receiving, from all peers.
    pub(super) const fn free(&self) -> usize {
        self.limit.saturating_sub(self.imports + self.events)
    }

    /// Returns the octets that may yet be allocated for receiving from a peer.
    pub(super) fn free_for(&self, peer: &PeerState) -> usize {
        let left = peer
            .config
            .limits
            .import_octets
            .saturating_sub(peer.import_octets);
        let left = self.free().min(left);
        match peer.origin {
            Origin::Added => left,
            Origin::Accepted => left.min(self.free_for_strangers()),
        }
    }

    /// Returns the octets that may yet be allocated for the sessions of accepted peers.
    pub(super) const fn free_for_strangers(&self) -> usize {
        let held = self.strangers + self.strangers_waiting;
        self.strangers_limit.saturating_sub(held)
    }

    /// Whether more waits of accepted peers than half of what they may hold: the rest is for their sessions.
    pub(super) const fn has_much_waiting_of_strangers(&self) -> bool {
        self.strangers_waiting > self.strangers_limit / 2
    }

    /// Counts a session that held `before` octets and holds `after`.
    pub(super) fn charge(&mut self, peer: &mut PeerState, before: usize, after: usize) {
        self.imports = self.imports - before + after;
        if peer.origin == Origin::Accepted {
            self.strangers = self.strangers - before + after;
        }
        peer.import_octets = peer.import_octets - before + after;
    }

    /// Whether the pool holds more than sessions and events leave free.
    pub(super) const fn is_pool_too_large(&self) -> bool {
        self.pool.octets() > self.free()
    }
}
