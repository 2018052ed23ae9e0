//! Receivers that a restart made forget what they claimed.

use core::ops::Range;

use super::Sending;
use crate::ltp::ranges::RangeSet;
use crate::ltp::wire::Report;

/// Reports that may be lost in a row before the next one counts as a jump.
const MOST_LOST: u64 = 1024;

impl Sending {
    /// Gives up claims that the report denies, if its serial number jumps.
    ///
    /// Claims are binding (RFC 5326 section 6.22), and a report that was overtaken, or that does not fit all of
    /// them in, denies nothing. But serial numbers count up by one, and begin anew where a receiver lost its
    /// memory; what such a one leaves out it does not have, and a sender that held on to the claim would take
    /// the block for delivered.
    ///
    /// Returns how many octets that were.
    pub(super) fn heed_denials(&mut self, report: &Report<'_>) -> u64 {
        let jumps = report.serial > self.reports.end().saturating_add(MOST_LOST);
        let is_anew = !self.reports.is_empty() && jumps;
        let scope = Range::from(report.scope);
        if !is_anew || !self.is_denied(report, &scope) {
            return 0;
        }
        let mut left = RangeSet::new();
        for claim in self.claimed.within(0..scope.start) {
            left.insert(claim);
        }
        for claim in self.claimed.within(scope.end..u64::MAX) {
            left.insert(claim);
        }
        let denied = self.claimed.len() - left.len();
        self.claimed = left;
        denied
    }

    fn is_denied(&self, report: &Report<'_>, scope: &Range<u64>) -> bool {
        let mut from = scope.start;
        report
            .claims
            .iter()
            .map(|claim| (claim.start, claim.end))
            .chain([(scope.end, scope.end)])
            .any(|(start, end)| {
                let gap = from..start;
                from = end;
                gap.start < gap.end && self.claimed.meets(gap)
            })
    }
}
