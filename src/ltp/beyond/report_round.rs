//! Report segments that answer the same checkpoint.
//!
//! A report with many claims comes as several segments (RFC 5326 section 6.11): from ION after each 20 claims. A
//! retransmission for each of them would end in a checkpoint of its own, and ION counts the checkpoints that find
//! gaps: a few dozen of them end the session. So they are gathered, and one retransmission answers all.

use alloc::vec::Vec;
use core::ops::Range;

use super::level::Round;
use crate::kit::RangeSet;

/// The number of separate scopes from which on a round does not wait for more.
const MAX_SCOPES: usize = 256;

/// The report segments on one checkpoint that have come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ltp) struct ReportRound {
    /// The serial number of the checkpoint; 0 for asynchronous reports.
    pub(in crate::ltp) checkpoint: u64,
    /// The retransmission cycle that an answer to the round begins (RFC 5326 section 6.22).
    pub(in crate::ltp) cycle: u32,
    /// What the checkpoint asked about.
    asked: Range<u64>,
    /// The lower bound and the serial number of the report with the lowest bound.
    pub(in crate::ltp) lowest: (u64, u64),
    scopes: RangeSet,
    /// What was sent ahead of the checkpoint and was not reported on before.
    part: Option<SentPart>,
}

/// A part of a block that left in one go: when, and its octets, which are not counted yet.
pub(in crate::ltp) type SentPart = (Round, Vec<Range<u64>>);

impl ReportRound {
    /// Begins a round of reports on a checkpoint that asked about `asked`.
    pub(in crate::ltp) const fn new(
        (checkpoint, cycle): (u64, u32),
        asked: Range<u64>,
        part: Option<SentPart>,
    ) -> Self {
        Self {
            checkpoint,
            cycle,
            asked,
            lowest: (u64::MAX, 0),
            scopes: RangeSet::new(),
            part,
        }
    }

    /// Adds a report segment.
    pub(in crate::ltp) fn add(&mut self, serial: u64, scope: Range<u64>) {
        if scope.start < self.lowest.0 {
            self.lowest = (scope.start, serial);
        }
        self.scopes.insert(scope);
    }

    /// Adds what another round says.
    pub(in crate::ltp) fn merge(&mut self, other: &Self) {
        self.lowest = self.lowest.min(other.lowest);
        self.cycle = self.cycle.max(other.cycle);
        for scope in other.scopes.within(0..u64::MAX) {
            self.scopes.insert(scope);
        }
    }

    /// Whether everything that the checkpoint asked about was reported on. What was claimed before need not be told again.
    pub(in crate::ltp) fn is_complete(&self, claimed: &RangeSet) -> bool {
        self.scopes.count() >= MAX_SCOPES
            || self
                .scopes
                .gaps(self.asked.clone())
                .all(|gap| claimed.covers(&gap))
    }

    /// Whether octets were reported on.
    pub(in crate::ltp) fn tells(&self, octets: &Range<u64>) -> bool {
        self.scopes.covers(octets)
    }

    /// Whether the last of what the checkpoint asked about was reported on.
    pub(in crate::ltp) fn reaches_end(&self) -> bool {
        self.scopes.end() >= self.asked.end
    }

    /// Returns lower bound and serial number of the report to cite: of the one with the lowest bound. A checkpoint that cites
    /// it asks about everything from there on (RFC 5326 section 6.11), so that one answer tells all. If the first segments
    /// of a report have not come, that is `earlier`, a report with a bound that is low enough.
    pub(in crate::ltp) fn cited(
        &self,
        earlier: Option<(u64, u64)>,
        claimed: &RangeSet,
    ) -> (u64, u64) {
        let (lower, _) = self.lowest;
        let before = self.asked.start..lower;
        if before.is_empty() || claimed.covers(&before) {
            return self.lowest;
        }
        let is_low = |(lower, _): &(u64, u64)| *lower <= self.asked.start;
        earlier.filter(is_low).unwrap_or(self.lowest)
    }

    /// Returns what the reports leave unclaimed. Outside of their scopes they say nothing; but if the last segments of a
    /// report have not come, the last octet is missing too, so that the next report tells about everything before it.
    pub(in crate::ltp) fn missing(&self, claimed: &RangeSet) -> Vec<Range<u64>> {
        let told = self.scopes.end();
        let mut missing = self.unclaimed(claimed);
        let last = self.asked.end.saturating_sub(1)..self.asked.end;
        if !missing.is_empty() && told < self.asked.end && !claimed.covers(&last) {
            missing.push(last);
        }
        missing
    }

    /// Returns what the reports leave unclaimed in their scopes.
    pub(in crate::ltp) fn unclaimed(&self, claimed: &RangeSet) -> Vec<Range<u64>> {
        let scopes = self.scopes.within(0..u64::MAX);
        scopes.flat_map(|scope| claimed.gaps(scope)).collect()
    }

    /// Returns how much was sent ahead of the checkpoint, and how much of that was claimed.
    pub(in crate::ltp) fn outcome(&self, claimed: &RangeSet) -> Option<Round> {
        let (mut round, ranges) = self.part.as_ref().map(|(part, ranges)| (*part, ranges))?;
        let told = ranges.iter();
        let told = told.flat_map(|range| self.scopes.within(range.clone()));
        for range in told {
            round.sent += range.end - range.start;
            let held = claimed.within(range);
            round.delivered += held.map(|held| held.end - held.start).sum::<u64>();
        }
        (round.sent > 0).then_some(round)
    }

    /// Returns the bytes of memory beside the round itself.
    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let ranges = self.part.as_ref().map_or(0, |(_, part)| part.capacity());
        self.scopes.memory_used() + ranges * size_of::<Range<u64>>()
    }
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "sets of one range are meant"
)]
mod tests {
    use super::*;
    use crate::Instant;

    fn claims(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    fn round(asked: Range<u64>, serial: u64, scope: Range<u64>) -> ReportRound {
        let mut round = ReportRound::new((7, 1), asked, None);
        round.add(serial, scope);
        round
    }

    #[test]
    fn a_report_of_one_segment_is_a_whole_round() {
        let round = round(0..1000, 100, 0..1000);
        let claimed = claims(&[0..400, 500..1000]);

        assert!(round.is_complete(&claimed));
        assert_eq!(round.missing(&claimed), [400..500]);
        assert_eq!(round.cited(None, &claimed), (0, 100));
    }

    #[test]
    fn a_round_is_complete_when_scopes_tile_in_any_order() {
        let claimed = claims(&[0..100, 300..400, 700..800]);
        let mut round = round(0..1000, 102, 600..1000);
        assert!(!round.is_complete(&claimed));

        round.add(100, 0..300);
        assert!(!round.is_complete(&claimed));
        round.add(101, 300..600);

        assert!(round.is_complete(&claimed));
        assert_eq!(
            round.cited(None, &claimed),
            (0, 100),
            "the one with the lowest bound"
        );
        assert_eq!(round.missing(&claimed), [100..300, 400..700, 800..1000]);
    }

    #[test]
    fn what_was_claimed_before_need_not_be_reported_again() {
        let claimed = claims(&[0..600, 900..1000]);
        let round = round(0..1000, 5, 500..1000);

        assert!(round.is_complete(&claimed));
    }

    #[test]
    fn what_no_segment_told_is_not_missing_but_its_end_is_asked_about_again() {
        let claimed = claims(&[0..100]);
        let mut round = round(0..1000, 5, 0..200);
        round.add(7, 500..600);

        assert!(!round.is_complete(&claimed));
        assert_eq!(round.missing(&claimed), [100..200, 500..600, 999..1000]);
        let claimed = claims(&[0..100, 999..1000]);
        assert_eq!(round.missing(&claimed), [100..200, 500..600]);
        let claimed = claims(&[0..200, 500..600]);
        assert_eq!(round.missing(&claimed), [], "the guard timer asks");
    }

    #[test]
    fn an_earlier_report_is_cited_if_the_first_segments_of_this_one_have_not_come() {
        let round = round(0..1000, 5, 100..1000);

        let (without, with) = (claims(&[0..99]), claims(&[0..100]));
        assert_eq!(round.cited(Some((0, 2)), &without), (0, 2));
        assert_eq!(round.cited(Some((0, 2)), &with), (100, 5));
        assert_eq!(round.cited(Some((50, 2)), &without), (100, 5));
        assert_eq!(round.cited(None, &without), (100, 5));
    }

    #[test]
    fn a_report_beyond_its_checkpoint_counts_whole() {
        let claimed = claims(&[0..900, 1400..2000]);
        let round = round(0..1000, 5, 0..2000);

        assert!(round.is_complete(&claimed));
        assert_eq!(round.missing(&claimed), [900..1400]);
    }

    #[test]
    fn scattered_scopes_are_bounded() {
        let mut round = round(0..10_000, 1, 0..1);
        for serial in 1..256 {
            assert!(!round.is_complete(&RangeSet::new()), "{serial}");
            round.add(serial + 1, serial * 10..serial * 10 + 1);
        }

        assert!(round.is_complete(&RangeSet::new()));
    }

    #[test]
    fn rounds_merge_into_one_that_cites_the_lowest_report() {
        let mut first = round(0..1000, 9, 500..1000);

        first.merge(&round(0..300, 4, 0..300));

        assert_eq!(first.cited(None, &claims(&[])), (0, 4));
        assert_eq!(first.missing(&claims(&[0..250])), [250..300, 500..1000]);
    }

    #[test]
    fn the_outcome_counts_what_was_sent_ahead_of_the_checkpoint_as_far_as_it_was_told() {
        let since = Instant::from_nanos(5);
        let sent = Round {
            since,
            sent: 0,
            delivered: 0,
            busy: None,
            is_timed: true,
            is_delayed: false,
        };
        let part = (sent, [0..100, 200..400].into());
        let mut round = ReportRound::new((7, 1), 0..1000, Some(part));
        round.add(1, 0..300);

        let outcome = round.outcome(&claims(&[50..250, 900..1000]));

        let expected = Round {
            sent: 200,
            delivered: 100,
            ..sent
        };
        assert_eq!(outcome, Some(expected));
    }

    #[test]
    fn the_rest_of_a_report_tells_nothing_about_losses() {
        assert_eq!(round(0..9, 1, 0..9).outcome(&RangeSet::new()), None);
    }
}
