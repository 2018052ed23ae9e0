//! The window: how many octets may be in flight to a near peer.
//!
//! LTP has no flow control. A fast sender overflows the receive buffer of a near peer's socket, and most of a block
//! is sent twice. With a window ([`Flow::Window`](super::Flow::Window)), first passes stop when that many red
//! octets were sent and not claimed by a report. A discretionary checkpoint is sent after every quarter of the
//! window, so that reports arrive before it is used up.

use super::engine::Engine;
use super::peer::PeerState;
use super::sender::Sending;
use crate::Addr;

/// Checkpoints in one window. With fewer the line falls idle between two reports; more are only overhead.
const CHECKPOINTS: u64 = 4;

/// What is in flight to a peer.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Red octets that were sent and that no report has claimed.
    pub(super) octets: u64,
    /// Whether the window is used up, and first passes wait.
    pub(super) is_held: bool,
}

impl<A> PeerState<A> {
    /// Returns the offset at which the first pass of a session must send a checkpoint. `None` without a window.
    pub(super) fn checkpoint_due(&self, sending: &Sending) -> Option<u64> {
        let window = self.flow.window()?.get();
        let left = window.saturating_sub(self.in_flight.octets);
        let used_up = sending.next.saturating_add(left);
        Some(used_up.min(sending.checked.saturating_add(window / CHECKPOINTS)))
    }

    fn is_used_up(&self) -> bool {
        let window = self.flow.window();
        window.is_some_and(|window| self.in_flight.octets >= window.get())
    }
}

impl Sending {
    /// Returns the red octets that were sent and not claimed.
    pub(super) fn in_flight(&self) -> u64 {
        let octets = self.next.min(self.red).saturating_sub(self.claimed.len());
        if self.counts_in_flight() { octets } else { 0 }
    }

    /// Whether a report is awaited, or a retransmission is about to be sent.
    pub(super) fn awaits_report(&self) -> bool {
        !self.checkpoints.is_empty() || !self.repairs.is_empty() || self.delay.is_some()
    }
}

impl<A: Addr> Engine<A> {
    /// Whether the first passes to a peer have to wait for reports. The session is the next to send.
    ///
    /// They do not wait if no report would come: a window that shrank may leave a session without a checkpoint, and a
    /// peer may lose all its reports on the last one. The next segment is a checkpoint then.
    pub(super) fn must_wait(&mut self, slot: u32, number: u64) -> bool {
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

    /// Counts red octets that were sent for the first time.
    pub(super) fn add_in_flight(&mut self, slot: u32, octets: u64) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.octets += octets;
        }
    }

    /// Removes octets that are no longer in flight, and lets first passes go on.
    pub(super) fn remove_in_flight(&mut self, slot: u32, octets: u64) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.octets = peer.in_flight.octets.saturating_sub(octets);
        }
        self.release_first_passes(slot);
    }

    /// Lets first passes check again whether they have to wait.
    pub(super) fn release_first_passes(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.in_flight.is_held = false;
        }
        self.mark_ready(slot);
    }
}
