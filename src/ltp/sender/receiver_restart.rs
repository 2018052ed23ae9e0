//! Receivers that a restart made forget what they claimed.

use core::mem;

use super::Sending;

/// Reports that may be lost in a row before the next one counts as a jump.
const MOST_LOST: u64 = 1 << 14;

impl Sending {
    /// Gives up all claims when the serial number of a report jumps. Returns how many octets they were.
    ///
    /// Claims are binding (RFC 5326 section 6.22). But serial numbers count up by one, and begin anew where a
    /// receiver lost its memory: it has nothing then but what it claims from here on, and a sender that held
    /// on to the rest would take the block for delivered. Should that many reports have been lost in truth,
    /// the session costs one more round of reports.
    pub(super) fn detect_receiver_restart(&mut self, serial: u64) -> u64 {
        let next = self.reports.end();
        if next == 0 || serial <= next.saturating_add(MOST_LOST) {
            return 0;
        }
        // To cite what was forgotten would end the session.
        self.lowest = None;
        mem::take(&mut self.claimed).len()
    }

    /// Whether its octets count as under way. Those that left before a restart are not known well enough.
    pub(in crate::ltp) const fn counts_in_flight(&self) -> bool {
        self.may_have_left == 0
    }
}
