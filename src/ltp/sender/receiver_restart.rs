//! Receivers that lost their state in a restart.

use core::mem;

use super::Sending;

/// The number of reports lost in a row from which on the next one counts as a jump.
const MAX_LOST: u64 = 1 << 14;

impl Sending {
    /// Drops all claims if the serial number of a report jumps, and returns how many octets were claimed.
    ///
    /// Claims are binding (RFC 5326 section 6.22). But report serial numbers count up by one, and start anew when a
    /// receiver lost its state. It then has only what it claims from here on, and a sender that kept the old claims
    /// would take the block for delivered. If that many reports were lost on the line, the session costs one more round
    /// of reports.
    pub(super) fn detect_receiver_restart(&mut self, serial: u64) -> u64 {
        let next = self.reports.end();
        if next == 0 || serial <= next.saturating_add(MAX_LOST) {
            return 0;
        }
        // A checkpoint that cites a forgotten report would end the session.
        self.lowest = None;
        mem::take(&mut self.claimed).len()
    }

    /// Whether octets of this session count as in flight. What was sent before a restart is not known well enough.
    pub(in crate::ltp) const fn counts_in_flight(&self) -> bool {
        self.may_have_left == 0
    }
}
