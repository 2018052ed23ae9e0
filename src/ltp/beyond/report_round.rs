//! Report segments that answer the same checkpoint.
//!
//! A report with many claims comes as several segments (RFC 5326 section 6.11): from ION after each 20 claims. A
//! retransmission for each of them would end in a checkpoint of its own, and ION counts the checkpoints that find
//! gaps: a few dozen of them end the session. So they are gathered, and one retransmission answers all.

use core::ops::Range;

use crate::kit::RangeSet;

/// The number of separate scopes from which on a round does not wait for more.
const MAX_SCOPES: usize = 256;

/// The report segments on one checkpoint that have come so far.
#[derive(Debug)]
pub(in crate::ltp) struct ReportRound {
    /// The serial number of the checkpoint; 0 for asynchronous reports.
    pub(in crate::ltp) checkpoint: u64,
    /// The retransmission cycle that an answer to the round begins (RFC 5326 section 6.22).
    pub(in crate::ltp) cycle: u32,
    /// The lower bound and the serial number of the report with the lowest bound.
    lowest: (u64, u64),
    scopes: RangeSet,
}

impl ReportRound {
    /// Begins a round with a report segment.
    pub(in crate::ltp) fn new(checkpoint: u64, cycle: u32, serial: u64, scope: Range<u64>) -> Self {
        let lowest = (scope.start, serial);
        let mut scopes = RangeSet::new();
        scopes.insert(scope);
        Self {
            checkpoint,
            cycle,
            lowest,
            scopes,
        }
    }

    /// Adds a report segment.
    pub(in crate::ltp) fn add(&mut self, serial: u64, scope: Range<u64>) {
        if scope.start < self.lowest.0 {
            self.lowest = (scope.start, serial);
        }
        self.scopes.insert(scope);
    }

    /// Whether everything that the checkpoint asked about was reported on. It asked about `asked`; what was claimed
    /// before need not be told again.
    pub(in crate::ltp) fn is_complete(&self, asked: &Range<u64>, claimed: &RangeSet) -> bool {
        self.scopes.count() >= MAX_SCOPES
            || self
                .scopes
                .gaps(asked.clone())
                .all(|gap| claimed.covers(&gap))
    }

    /// Returns the serial number of the report with the lowest bound. A checkpoint that cites it asks about everything
    /// from there on (RFC 5326 section 6.11), so that one answer tells all.
    pub(in crate::ltp) const fn cited(&self) -> u64 {
        self.lowest.1
    }

    /// Returns what the reports leave unclaimed. Outside of their scopes they say nothing.
    pub(in crate::ltp) fn missing(&self, claimed: &RangeSet) -> impl Iterator<Item = Range<u64>> {
        let all = 0..self.scopes.end();
        self.scopes
            .within(all)
            .flat_map(|scope| claimed.gaps(scope))
    }

    /// Returns the bytes of memory beside the round itself.
    pub(in crate::ltp) const fn memory_used(&self) -> usize {
        self.scopes.memory_used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn claims(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    fn missing(round: &ReportRound, claimed: &RangeSet) -> Vec<Range<u64>> {
        round.missing(claimed).collect()
    }

    #[test]
    fn a_report_of_one_segment_is_a_whole_round() {
        let round = ReportRound::new(7, 1, 100, 0..1000);
        let claimed = claims(&[0..400, 500..1000]);

        assert!(round.is_complete(&(0..1000), &claimed));
        assert_eq!(missing(&round, &claimed), [400..500]);
        assert_eq!(round.cited(), 100);
    }

    #[test]
    fn a_round_is_complete_when_scopes_tile_in_any_order() {
        let claimed = claims(&[0..100, 300..400, 700..800]);
        let mut round = ReportRound::new(7, 1, 102, 600..1000);
        assert!(!round.is_complete(&(0..1000), &claimed));

        round.add(100, 0..300);
        assert!(!round.is_complete(&(0..1000), &claimed));
        round.add(101, 300..600);

        assert!(round.is_complete(&(0..1000), &claimed));
        assert_eq!(round.cited(), 100, "the one with the lowest bound");
        assert_eq!(missing(&round, &claimed), [100..300, 400..700, 800..1000]);
    }

    #[test]
    fn what_was_claimed_before_need_not_be_reported_again() {
        let claimed = claims(&[0..600, 900..1000]);
        let round = ReportRound::new(7, 1, 5, 500..1000);

        assert!(round.is_complete(&(0..1000), &claimed));
    }

    #[test]
    fn what_no_segment_told_is_not_missing() {
        let claimed = claims(&[0..100]);
        let mut round = ReportRound::new(7, 1, 5, 0..200);
        round.add(7, 500..600);

        assert!(!round.is_complete(&(0..600), &claimed));
        assert_eq!(missing(&round, &claimed), [100..200, 500..600]);
    }

    #[test]
    fn a_report_beyond_its_checkpoint_counts_whole() {
        let claimed = claims(&[0..900, 1400..2000]);
        let round = ReportRound::new(7, 1, 5, 0..2000);

        assert!(round.is_complete(&(0..1000), &claimed));
        assert_eq!(missing(&round, &claimed), [900..1400]);
    }

    #[test]
    fn scattered_scopes_are_bounded() {
        let mut round = ReportRound::new(7, 1, 1, 0..1);
        for serial in 1..256 {
            assert!(
                !round.is_complete(&(0..10_000), &RangeSet::new()),
                "{serial}"
            );
            round.add(serial + 1, serial * 10..serial * 10 + 1);
        }

        assert!(round.is_complete(&(0..10_000), &RangeSet::new()));
    }
}
