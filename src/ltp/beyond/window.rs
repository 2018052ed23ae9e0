//! The window: how many octets may be in flight to a near peer.
//!
//! LTP has no flow control. A fast sender overflows the receive buffer of a near peer's socket, and most of a block
//! is sent twice. With a window ([`Flow::Window`](super::Flow::Window)), first passes stop when that many red
//! octets were sent and not claimed by a report. A discretionary checkpoint is sent after every quarter of the
//! window, so that reports arrive before it is used up.

use crate::ltp::context::{Context, Node};
use crate::ltp::export::Sending;
use crate::ltp::peer::PeerState;

/// What is in flight to a peer.
#[derive(Debug, Default)]
pub(in crate::ltp) struct InFlight {
    /// Red octets that were sent and that no report has claimed.
    pub(in crate::ltp) octets: u64,
    /// Whether the window is used up, and first passes wait.
    pub(in crate::ltp) is_held: bool,
}

impl PeerState {
    /// Returns the offset at which the first pass of a session must send a checkpoint. `None` if none
    /// may precede its end.
    pub(in crate::ltp) fn checkpoint_due(&self, sending: &Sending) -> Option<u64> {
        let due = sending.repair().checked.saturating_add(self.interval?);
        Some(self.window.map_or(due, |window| {
            let left = window.get().saturating_sub(self.in_flight.octets);
            sending.next.saturating_add(left).min(due)
        }))
    }

    fn is_used_up(&self) -> bool {
        let window = self.window;
        window.is_some_and(|window| self.in_flight.octets >= window.get())
    }

    /// Removes octets that are no longer in flight, and lets first passes go on.
    pub(in crate::ltp) fn remove_in_flight(&mut self, node: &mut Node, octets: u64) {
        self.in_flight.octets = self.in_flight.octets.saturating_sub(octets);
        self.release_first_passes(node);
    }

    /// Lets first passes check again whether they have to wait.
    pub(in crate::ltp) fn release_first_passes(&mut self, node: &mut Node) {
        self.in_flight.is_held = false;
        self.mark_ready(node);
    }
}

impl Sending {
    /// Returns the red octets that were sent and not claimed.
    pub(in crate::ltp) fn in_flight(&self) -> u64 {
        let claimed = self.repair().claimed.len();
        let octets = self.next.min(self.red).saturating_sub(claimed);
        if self.counts_in_flight() { octets } else { 0 }
    }

    /// Whether octets of this session count as in flight. What was sent before a restart is not known well enough.
    pub(in crate::ltp) fn counts_in_flight(&self) -> bool {
        self.repair().may_have_left == 0
    }

    /// Whether the first pass has to wait for reports. The session is the next to send.
    ///
    /// It does not wait if no report would come: a window that shrank may leave a session without a checkpoint, and a
    /// peer may lose all its reports on the last one. The next segment is a checkpoint then.
    pub(in crate::ltp) fn must_wait(&self, cx: &mut Context<'_>) -> bool {
        let must_wait = cx.peer.is_used_up() && (self.next == 0 || self.awaits_report());
        cx.peer.in_flight.is_held |= must_wait;
        must_wait
    }
}
