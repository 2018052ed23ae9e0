//! How much may be under way to a near peer.
//!
//! LTP has no flow control: a sender on the same desk fills the socket of its peer faster than that is read,
//! and most of a block is sent twice. With a window ([`Peer::window`](super::Peer::window)) the first pass
//! stops once so many red octets were sent that no report has claimed. A discretionary checkpoint follows
//! every quarter of it, so that reports come back, and the sender goes on, well before it is used up.

use super::engine::Engine;
use super::peer::PeerState;
use super::sender::Sending;
use crate::Addr;

/// Checkpoints in one window: with fewer the line runs dry between two reports, more are only overhead.
const CHECKPOINTS: u64 = 4;

/// What is under way to a peer.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Red octets that were sent and that no report has claimed.
    pub(super) octets: u64,
    /// The window is used up, and first passes wait.
    pub(super) is_held: bool,
}

impl<A> PeerState<A> {
    /// Up to where the first pass of a session may go until a segment has to be a checkpoint; `None` for as
    /// far as it likes.
    pub(super) fn checkpoint_due(&self, sending: &Sending) -> Option<u64> {
        let window = self.config.window?.get();
        let left = window.saturating_sub(self.in_flight.octets);
        let used_up = sending.next.saturating_add(left);
        Some(used_up.min(sending.checked.saturating_add(window / CHECKPOINTS)))
    }

    fn is_used_up(&self) -> bool {
        let window = self.config.window;
        window.is_some_and(|window| self.in_flight.octets >= window.get())
    }
}

impl Sending {
    /// Red octets that have left and were not claimed.
    pub(super) fn in_flight(&self) -> u64 {
        let octets = self.next.min(self.red).saturating_sub(self.claimed.len());
        if self.counts_in_flight() { octets } else { 0 }
    }

    /// Whether something will come back, or what was lost is about to be sent again.
    pub(super) fn awaits_report(&self) -> bool {
        !self.checkpoints.is_empty() || !self.repairs.is_empty() || self.delay.is_some()
    }
}

impl<A: Addr> Engine<A> {
    /// Whether the first passes to a peer have to wait for reports; the session is the next in line.
    ///
    /// They do not when nothing would come of waiting: a window that shrank may leave a session without a
    /// checkpoint, and a peer may lose all its reports on the last one. The next segment is one then.
    pub(super) fn is_window_full(&mut self, slot: u32, number: u64) -> bool {
        if !self.peer(slot).is_some_and(PeerState::is_used_up) {
            return false;
        }
        let is_awaiting = self
            .sending(number)
            .is_some_and(|(_, sending)| sending.next == 0 || sending.awaits_report());
        if let Some(peer) = self.peer_mut(slot)
            && is_awaiting
        {
            peer.in_flight.is_held = true;
        }
        is_awaiting
    }

    /// Notes that red octets left for the first time.
    pub(super) fn add_in_flight(&mut self, slot: u32, octets: u64) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.octets += octets;
        }
    }

    /// Notes that octets are no longer under way, and lets first passes go on.
    pub(super) fn remove_in_flight(&mut self, slot: u32, octets: u64) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.octets = peer.in_flight.octets.saturating_sub(octets);
        }
        self.release_first_passes(slot);
    }

    /// Lets first passes try again whether they have to wait.
    pub(super) fn release_first_passes(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.is_held = false;
        }
        self.mark_ready(slot);
    }
}
