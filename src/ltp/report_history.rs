//! The reports of one session, and whether one and the same receiver can have made all of them.
//!
//! Claims are binding (RFC 5326 section 6.22), but a receiver that starts anew has nothing of what it claimed before.
//! A sender that put the claims of both together would take a block for delivered that is nowhere whole. Three things
//! tell it. Report serial numbers count up by one from a random start (section 3.2.2). Of two reports the one with the
//! higher serial number was made later, and claims whatever the other claimed in its scope. And the report that answers
//! a checkpoint was made after the checkpoint was sent, so after all reports that had come by then.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use crate::kit::RangeSet;

/// Reports of a session that may be lost in a row on the line, or overtake each other. The first one that comes is
/// therefore not the first that was made, and those of up to so many before it may come yet.
const MAX_LOST: u64 = 64;
/// The maximum number of ranges of serial numbers. Receivers count up, so there are few.
const MAX_RANGES: usize = 1024;

/// Reports that are kept until it is known of which receiver they are.
const MAX_APART: usize = 64;

/// The serial numbers of the reports that were used.
///
/// Serial numbers are never 0, and one less is kept of each, so that the highest fits a half-open range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct ReportHistory {
    serials: RangeSet,
    /// Whether one report claimed the whole red part.
    is_whole: bool,
    /// From the first to the last report that are known to be of one receiver.
    #[cfg_attr(feature = "serde", serde(skip))]
    one: Range<u64>,
    /// What these claim, and the other reports. `None` without others.
    #[cfg_attr(feature = "serde", serde(skip))]
    apart: Option<Apart>,
    /// What was sent more than once. A receiver that started anew may have that again.
    #[cfg_attr(feature = "serde", serde(skip))]
    resent: RangeSet,
    /// The serial numbers of reports that together claimed everything, while some between them were missing.
    #[cfg_attr(feature = "serde", serde(skip))]
    doubted: RangeSet,
}

/// What one receiver claims, and reports that may be of another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Apart {
    claimed: RangeSet,
    /// Their serial numbers, each less one, and claims.
    others: Vec<(u64, Vec<Range<u64>>)>,
}

/// A report that came.
#[derive(Debug, Clone)]
pub(super) struct Reported<'a> {
    pub(super) serial: u64,
    pub(super) scope: Range<u64>,
    /// The claims in ascending order, as ranges of the block.
    pub(super) claims: &'a [Range<u64>],
    /// The highest report serial number that had come when the cited checkpoint was sent first, if that is known.
    pub(super) after: Option<u64>,
    /// The number of checkpoints that may have drawn reports which did not come.
    pub(super) unanswered: u64,
}

/// What a report says about the reports before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It came before.
    Repeated,
    /// There are too many gaps in the serial numbers to keep account.
    Incoherent,
    /// It agrees with them.
    Agrees,
    /// It can only be older than they are, and lacks these octets; or its receiver started anew. What is uncertain is
    /// sent again.
    Older(RangeSet),
    /// Its receiver started anew, and has nothing of what was claimed before.
    Restarted,
}

impl ReportHistory {
    pub(super) const NONE: Self = Self {
        serials: RangeSet::new(),
        is_whole: false,
        one: 0..0,
        apart: None,
        resent: RangeSet::new(),
        doubted: RangeSet::new(),
    };

    /// Returns what a snapshot keeps.
    pub(super) fn saved(&self) -> Self {
        Self {
            serials: self.serials.clone(),
            is_whole: self.is_whole,
            ..Self::NONE
        }
    }

    /// Goes on after a restart of this engine.
    pub(super) fn resume(&mut self) {
        self.one = self.serials.within(0..u64::MAX).next().unwrap_or(0..0);
        // What was sent again before is not saved, nor what each report claimed.
        self.resent.insert(0..u64::MAX);
        if !self.is_one() {
            self.apart = Some(Apart::default());
        }
    }

    /// Judges a report by those before it, which claimed `claimed` in all.
    pub(super) fn judge(&self, report: &Reported<'_>, claimed: &RangeSet) -> Verdict {
        let at = report.serial.saturating_sub(1);
        if self.serials.intersects(at..report.serial) {
            return Verdict::Repeated;
        }
        if self.is_full() {
            return Verdict::Incoherent;
        }
        let Some(first) = self.first() else {
            return Verdict::Agrees;
        };
        let highest = self.highest();
        let most = highest
            .saturating_add(MAX_LOST)
            .saturating_add(report.unanswered);
        let is_before = report.serial.saturating_add(MAX_LOST) < first
            || report.after.is_some_and(|after| report.serial < after);
        if is_before || report.serial > most {
            return Verdict::Restarted;
        }
        let revoked = revoked(report, claimed);
        let own = self.apart.as_ref().map_or(claimed, |apart| &apart.claimed);
        match (revoked.is_empty(), report.serial > highest) {
            (true, _) => Verdict::Agrees,
            (false, true) => Verdict::Restarted,
            // It was overtaken by reports of the same receiver.
            (false, false) if self.one.contains(&at) || self.claims_again(report.claims, own) => {
                Verdict::Agrees
            }
            (false, false) => Verdict::Older(revoked),
        }
    }

    /// Whether there are too many gaps in the serial numbers for one more.
    pub(super) fn is_full(&self) -> bool {
        self.serials.count() >= MAX_RANGES
    }

    /// Whether there are no more gaps than reports that came can have left.
    pub(super) fn is_within_limit(&self) -> bool {
        self.serials.count() <= MAX_RANGES
    }

    /// Notes a report whose claims are used. `is_whole` tells whether it claims the whole red part.
    pub(super) fn note(&mut self, serial: u64, is_whole: bool) {
        let at = serial.saturating_sub(1);
        self.serials.insert(at..serial);
        self.is_whole |= is_whole;
        let follows = self.one.is_empty()
            || at < self.one.start && self.serials.covers(&(at..self.one.start))
            || at >= self.one.end && self.serials.covers(&(self.one.end..serial));
        if follows {
            self.join(serial);
        }
    }

    /// Notes octets that are sent once more.
    pub(super) fn note_resent(&mut self, octets: Range<u64>) {
        self.resent.insert(octets);
    }

    /// Notes what the report with a serial number claims, before that is added to `claimed`.
    ///
    /// Reports may be missing for good: a receiver does not repeat them once others have told everything. But one that
    /// started anew has nothing of what it claimed before and was sent once. Whoever claims that again is the same.
    pub(super) fn note_claims(&mut self, serial: u64, claims: &[Range<u64>], claimed: &RangeSet) {
        if self.is_one() {
            self.apart = None;
            return;
        }
        let mut apart = self.apart.take().unwrap_or_else(|| Apart {
            claimed: claimed.clone(),
            others: Vec::new(),
        });
        let at = serial.saturating_sub(1);
        if self.claims_again(claims, &apart.claimed) {
            self.join(serial);
        }
        if apart.others.len() < MAX_APART || self.one.contains(&at) {
            apart.others.push((at, claims.to_vec()));
        }
        while let Some(place) = apart.others.iter().position(|(at, claims)| {
            self.one.contains(at) || self.claims_again(claims, &apart.claimed)
        }) {
            let (at, claims) = apart.others.swap_remove(place);
            self.join(at.saturating_add(1));
            for claim in claims {
                apart.claimed.insert(claim);
            }
        }
        self.apart = Some(apart).filter(|_| !self.is_one());
    }

    /// Notes that a report is of the receiver of the others, and with it those that follow it without a gap.
    fn join(&mut self, serial: u64) {
        let at = serial.saturating_sub(1);
        let end = self.serials.run_from(at);
        let start = self.serials.last_before(serial).map_or(at, |run| run.start);
        self.one = if self.one.is_empty() {
            start..end
        } else {
            self.one.start.min(start)..self.one.end.max(end)
        };
    }

    /// Whether claims repeat one of what was sent once.
    fn claims_again(&self, claims: &[Range<u64>], claimed: &RangeSet) -> bool {
        let mut again = claims
            .iter()
            .flat_map(|claim| claimed.within(claim.clone()));
        again.any(|again| !self.resent.covers(&again))
    }

    /// Whether all reports are known to be of one receiver.
    fn is_one(&self) -> bool {
        let first = self.first().map_or(0, |first| first - 1);
        self.one.start <= first && self.highest() <= self.one.end
    }

    /// Forgets all reports: their receiver started anew.
    pub(super) fn forget(&mut self) {
        let resent = mem::take(&mut self.resent);
        *self = Self {
            resent,
            ..Self::NONE
        };
    }

    /// Forgets the claims of all reports, which together are everything: their receiver may have started anew between them.
    /// It did not if those that are missing come after all.
    pub(super) fn doubt(&mut self) {
        let doubted = mem::take(&mut self.serials);
        self.forget();
        self.doubted = doubted;
    }

    /// Whether a report is among those that are doubted, or would be.
    pub(super) fn doubts(&self, serial: u64) -> bool {
        let first = self.doubted.within(0..u64::MAX).next();
        first.is_some_and(|first| first.start < serial) && serial <= self.doubted.end()
    }

    /// Notes a report that may be a missing one of those that are doubted. Returns whether none is missing any more.
    pub(super) fn clears_doubt(&mut self, serial: u64) -> bool {
        let at = serial.saturating_sub(1);
        self.doubts(serial) && self.doubted.insert(at..serial) > 0 && self.doubted.count() == 1
    }

    /// Whether one receiver made all reports: one of them claims everything, none is missing between them, or later ones
    /// claim again what earlier ones did. The first serial number of a receiver that started anew follows the last one
    /// before by chance in one of 16,383 cases.
    pub(super) fn is_of_one_receiver(&self, red: u64) -> bool {
        let has_all = |apart: &Apart| apart.claimed.len() >= red;
        self.is_whole || self.is_one() || self.apart.as_ref().is_some_and(has_all)
    }

    /// Returns the highest serial number noted, or 0.
    pub(super) fn highest(&self) -> u64 {
        self.serials.end()
    }

    fn first(&self) -> Option<u64> {
        let first = self.serials.within(0..u64::MAX).next()?;
        Some(first.start.saturating_add(1))
    }

    pub(super) fn memory_used(&self) -> usize {
        self.serials.memory_used()
            + self.apart.as_ref().map_or(0, Apart::memory_used)
            + self.resent.memory_used()
            + self.doubted.memory_used()
    }
}

impl Apart {
    fn memory_used(&self) -> usize {
        let claims = self.others.iter().map(|(_, claims)| claims.capacity());
        self.claimed.memory_used()
            + self.others.capacity() * size_of::<(u64, Vec<Range<u64>>)>()
            + claims.sum::<usize>() * size_of::<Range<u64>>()
    }
}

/// Returns what was claimed in the scope of a report and is not any more.
fn revoked(report: &Reported<'_>, claimed: &RangeSet) -> RangeSet {
    let mut revoked = RangeSet::new();
    let mut from = report.scope.start;
    let end = report.scope.end..report.scope.end;
    for claim in report.claims.iter().chain([&end]) {
        for lost in claimed.within(from..claim.start) {
            revoked.insert(lost);
        }
        from = claim.end;
    }
    revoked
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a list of one claim is meant, not its octets"
)]
mod tests {
    use super::*;

    /// A report on 0 to 1000, and the claims of those before.
    fn report(serial: u64, claims: &[Range<u64>]) -> Reported<'_> {
        Reported {
            serial,
            scope: 0..1000,
            claims,
            after: None,
            unanswered: 0,
        }
    }

    fn noted(serials: &[u64]) -> ReportHistory {
        let mut history = ReportHistory::default();
        for serial in serials {
            history.note(*serial, false);
        }
        history
    }

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    #[test]
    fn the_first_report_agrees_whatever_it_says_and_comes_again_as_a_repeat() {
        let mut history = ReportHistory::default();
        let first = report(16_000, &[]);
        assert_eq!(history.judge(&first, &RangeSet::new()), Verdict::Agrees);

        history.note(16_000, false);

        assert_eq!(history.judge(&first, &RangeSet::new()), Verdict::Repeated);
    }

    #[test]
    fn a_later_report_that_lacks_a_claim_of_its_scope_is_of_a_receiver_that_started_anew() {
        let history = noted(&[100]);
        let claimed = set(&[0..400]);
        let judge = |claims: &[Range<u64>]| history.judge(&report(101, claims), &claimed);

        assert_eq!(judge(&[400..1000]), Verdict::Restarted);
        assert_eq!(judge(&[0..399, 400..1000]), Verdict::Restarted, "one octet");
        assert_eq!(judge(&[]), Verdict::Restarted, "no claim at all");
        assert_eq!(judge(&[0..400]), Verdict::Agrees);
        assert_eq!(judge(&[0..1000]), Verdict::Agrees);
    }

    #[test]
    fn claims_outside_of_the_scope_of_a_report_are_not_contradicted_by_it() {
        let history = noted(&[100]);
        let claimed = set(&[0..400, 900..1000]);
        let partial = Reported {
            scope: 400..900,
            ..report(101, &[500..600])
        };

        assert_eq!(history.judge(&partial, &claimed), Verdict::Agrees);
    }

    #[test]
    fn a_report_that_was_overtaken_may_lack_what_later_ones_claim_and_that_is_sent_again() {
        let mut history = noted(&[100, 102]);
        history.note_resent(0..1000);
        let claimed = set(&[0..800]);

        let older = history.judge(&report(101, &[0..300, 500..800]), &claimed);

        assert_eq!(older, Verdict::Older(set(&[300..500])));
        let mut one = noted(&[100, 102]);
        one.note_claims(102, &[0..800], &set(&[0..200]));
        let overtaken = one.judge(&report(101, &[0..300, 500..800]), &claimed);
        assert_eq!(overtaken, Verdict::Agrees, "of one receiver");
        assert_eq!(
            history.judge(&report(99, &[0..800]), &claimed),
            Verdict::Agrees
        );
    }

    #[test]
    fn a_report_made_after_a_checkpoint_has_a_higher_number_than_those_that_came_before_it() {
        let history = noted(&[100, 101]);
        let claimed = set(&[0..800]);
        let cited = |serial, after| Reported {
            after: Some(after),
            ..report(serial, &[0..1000])
        };

        assert_eq!(history.judge(&cited(99, 101), &claimed), Verdict::Restarted);
        assert_eq!(history.judge(&cited(99, 0), &claimed), Verdict::Agrees);
        assert_eq!(history.judge(&cited(102, 101), &claimed), Verdict::Agrees);
    }

    #[test]
    fn reports_are_doubted_no_more_when_those_between_them_have_come() {
        let mut history = noted(&[5, 7, 9]);
        history.doubt();
        assert_eq!(history.highest(), 0);

        for serial in [4, 5, 9, 10, 6, 6] {
            assert!(!history.clears_doubt(serial), "{serial}");
        }
        assert!(history.clears_doubt(8));
        assert!(!noted(&[5, 6]).clears_doubt(5), "nothing was doubted");
    }

    #[test]
    fn a_number_below_the_first_or_beyond_any_possible_one_is_of_a_receiver_that_started_anew() {
        let history = noted(&[14_809, 14_810]);
        let claimed = set(&[0..400]);
        let judge = |serial, unanswered| {
            let all = Reported {
                unanswered,
                ..report(serial, &[0..1000])
            };
            history.judge(&all, &claimed)
        };

        for serial in [1, 11_641, 14_744, 14_810 + 65, 16_383, u64::MAX] {
            assert_eq!(judge(serial, 0), Verdict::Restarted, "{serial}");
        }
        for serial in [14_745, 14_808, 14_811, 14_810 + 64] {
            assert_eq!(judge(serial, 0), Verdict::Agrees, "{serial}");
        }
        assert_eq!(
            judge(14_810 + 164, 100),
            Verdict::Agrees,
            "each drew a report"
        );
        assert_eq!(judge(14_810 + 165, 100), Verdict::Restarted);
    }

    #[test]
    fn reports_are_of_one_receiver_if_none_is_missing_or_one_claims_all() {
        assert!(noted(&[]).is_of_one_receiver(1000));
        assert!(noted(&[5]).is_of_one_receiver(1000));
        assert!(noted(&[7, 5, 6]).is_of_one_receiver(1000));
        assert!(!noted(&[5, 7]).is_of_one_receiver(1000));

        let mut history = noted(&[5, 7]);
        history.note(9, true);
        assert!(history.is_of_one_receiver(1000) && history.is_whole);
        history.forget();
        assert!(!history.is_whole);
        assert_eq!(history.highest(), 0);
    }

    #[test]
    fn a_report_that_claims_again_what_was_claimed_is_of_the_same_receiver_whatever_is_missing_between()
     {
        let claimed = set(&[0..400, 700..900]);
        let after = |number, claims: &[Range<u64>]| {
            let mut history = noted(&[5, 6]);
            history.note(number, false);
            history.note_resent(0..100);
            history.note_claims(number, claims, &claimed);
            history
        };

        assert!(after(9, &[0..400, 500..600]).is_of_one_receiver(1000));
        assert!(after(3, &[0..50, 700..701]).is_of_one_receiver(1000));
        assert!(after(7, &[500..600]).is_of_one_receiver(1000));
        assert!(!after(9, &[400..700]).is_of_one_receiver(1000));
        assert!(!after(9, &[0..100]).is_of_one_receiver(1000), "sent twice");

        // What it claimed itself before proves nothing.
        let mut history = after(9, &[400..700]);
        let more = set(&[0..900]);
        history.note(11, false);
        history.note_claims(11, &[400..700], &more);
        assert!(!history.is_of_one_receiver(1000));
        history.note(12, false);
        history.note_claims(12, &[300..700], &more);
        assert!(history.is_of_one_receiver(1000));
        history.note(14, false);
        assert!(!history.is_of_one_receiver(1000));
    }

    #[test]
    fn what_one_receiver_claims_alone_is_enough_whoever_made_the_other_reports() {
        let mut history = noted(&[5, 6]);
        history.note_resent(0..1000);
        let claimed = set(&[0..400]);
        history.note(3, false);
        history.note_claims(3, &[500..600], &claimed);
        history.note(7, false);
        history.note_claims(7, &[0..999], &set(&[0..400, 500..600]));
        assert!(!history.is_of_one_receiver(1000), "one octet");

        history.note(8, false);
        history.note_claims(8, &[900..1000], &set(&[0..999]));

        assert!(history.is_of_one_receiver(1000));
    }

    #[test]
    fn a_report_that_fills_a_gap_brings_the_claims_of_those_behind_it() {
        let mut history = noted(&[5]);
        history.note(7, false);
        history.note_claims(7, &[400..1000], &set(&[0..300]));
        history.note(2, false);
        history.note_claims(2, &[1200..1300], &set(&[0..300, 400..1000]));
        assert!(!history.is_of_one_receiver(1000));

        history.note(6, false);
        history.note_claims(6, &[300..400], &set(&[0..300, 400..1000, 1200..1300]));

        assert!(history.is_of_one_receiver(1000));
    }

    #[test]
    fn the_highest_number_of_all_is_one_like_the_others() {
        let mut history = noted(&[u64::MAX - 1]);
        let claimed = set(&[0..400]);
        let last = || report(u64::MAX, &[0..400]);
        assert_eq!(history.judge(&last(), &claimed), Verdict::Agrees);

        history.note(u64::MAX, false);

        assert!(history.is_of_one_receiver(1000));
        assert_eq!(history.judge(&last(), &claimed), Verdict::Repeated);
    }

    #[test]
    fn what_is_saved_and_restored_is_the_same() {
        let mut history = noted(&[1, 2, 7, 900]);
        history.is_whole = true;

        let mut restored = history.saved();
        restored.resume();

        assert_eq!(restored.serials, history.serials);
        assert!(restored.is_whole);
        for serial in [1, 2, 7, 900] {
            let again = report(serial, &[]);
            assert_eq!(restored.judge(&again, &RangeSet::new()), Verdict::Repeated);
        }
    }

    #[test]
    fn numbers_with_too_many_gaps_are_not_counted_on() {
        let numbers: Vec<u64> = (1..=1024).map(|number| 2 * number).collect();
        let history = noted(&numbers);

        let verdict = history.judge(&report(3, &[]), &RangeSet::new());

        assert_eq!(verdict, Verdict::Incoherent);
        assert_eq!(
            history.judge(&report(4, &[]), &RangeSet::new()),
            Verdict::Repeated
        );
    }

    /// Receivers that start anew at any time, over lines that lose, repeat and reorder reports. Whatever comes in
    /// whatever order: what the reports of a history claim together, one receiver has.
    #[test]
    fn reports_of_two_receivers_never_make_up_a_whole_block() {
        let mut rng = crate::Seed::from(11).rng();
        let (mut whole, mut restarts) = (0, 0);
        for _ in 0..20_000 {
            let block = 0..10;
            let mut made: Vec<(u64, RangeSet, Range<u64>)> = Vec::new();
            let mut alive = RangeSet::new();
            let mut serial = 1 + rng.below(16_383);
            let dies_at = rng.below(12);
            for step in 0..12 {
                if step == dies_at {
                    alive = RangeSet::new();
                    serial = 1 + rng.below(16_383);
                }
                let start = rng.below(10);
                alive.insert(start..start + 1 + rng.below(10 - start));
                // Reports from 0 as ION makes them, or from a bound further on.
                let lower = if rng.below(2) == 0 { 0 } else { rng.below(9) };
                made.push((serial, alive.clone(), lower..10));
                serial += 1;
            }
            let mut history = ReportHistory::default();
            history.note_resent(block.clone());
            let mut claimed = RangeSet::new();
            while !made.is_empty() {
                let near = rng.below(3).min(made.len() as u64 - 1);
                let (serial, held, scope) = made.remove(usize::try_from(near).unwrap());
                if rng.below(4) == 0 {
                    continue;
                }
                let claims: Vec<Range<u64>> = held.within(scope.clone()).collect();
                let report = Reported {
                    serial,
                    scope,
                    claims: &claims,
                    after: None,
                    unanswered: 0,
                };
                match history.judge(&report, &claimed) {
                    Verdict::Repeated | Verdict::Incoherent => continue,
                    Verdict::Agrees => {}
                    Verdict::Older(lost) => {
                        for octets in lost.within(0..u64::MAX) {
                            claimed.remove(octets);
                        }
                    }
                    Verdict::Restarted => {
                        restarts += 1;
                        history.forget();
                        claimed = RangeSet::new();
                    }
                }
                for claim in &claims {
                    claimed.insert(claim.clone());
                }
                history.note(serial, claims == [block.clone()]);
                if claimed.covers(&block) && history.is_of_one_receiver(10) {
                    whole += 1;
                    let one = held.covers(&block) || alive.covers(&block);
                    assert!(one, "{history:?} {held:?} {alive:?}");
                    break;
                }
            }
        }
        assert!(whole > 9000 && restarts > 9000, "{whole} {restarts}");
    }
}
