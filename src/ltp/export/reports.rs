//! What reports do to a block that is being sent (RFC 5326 section 6.13).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::{Continued, NOTHING_LOST, Outcome, Outstanding, RepairState, Sending};
use crate::ltp::context::Context;
use crate::ltp::end_cause::Limit;
use crate::ltp::report_history::{Reported, Verdict};
use crate::ltp::wire::{Mark, Report};

/// The part of a segment of which the octets are progress.
const SMALL_PART: usize = 8;

/// The claims that a report takes back.
#[derive(Debug, Clone, Copy, Default)]
struct Revoked {
    octets: u64,
    /// Where all claims ended, if the receiver started anew and has nothing of them.
    end: Option<u64>,
}

impl Sending {
    /// Whether a report claims octets that were never sent, or has one serial number too many.
    pub(super) fn is_contradicted_by(&self, report: &Report<'_>) -> bool {
        let repair = self.repair();
        report.scope.end > self.red.min(self.next.max(repair.may_have_left))
            || repair.history.is_full()
    }

    /// Whether a checkpoint with a serial number was sent, or may have been before a restart.
    pub(super) const fn has_sent(&self, serial: u64) -> bool {
        self.first_serial <= serial && serial < self.serial
    }

    pub(super) fn on_report(&mut self, report: &Report<'_>, cx: &mut Context<'_>) -> Continued {
        let (serial, checkpoint) = (report.serial, report.checkpoint);
        if checkpoint != 0 && !self.has_sent(checkpoint) {
            // Whoever made it does not know the session.
            cx.node.stats.unknown_checkpoint += 1;
            return Ok(());
        }
        let is_whole = report.claims_all(self.red);
        let mut scope = Range::from(report.scope);
        if is_whole && self.next == self.len() {
            let claimed = self.repair().claimed.len();
            cx.peer.flow.on_claimed(self.red.saturating_sub(claimed));
            self.learn_losses(checkpoint, &scope, true, cx);
            self.learn_last_round(checkpoint, report, cx);
            cx.node.stats.positive_reports_received += 1;
            return Err(Outcome::Complete);
        }
        let clears_doubt = |repair: &mut Box<RepairState>| repair.history.clears_doubt(serial);
        if self.repair.as_mut().is_some_and(clears_doubt) && self.next == self.len() {
            cx.node.stats.positive_reports_received += 1;
            return Err(Outcome::Complete);
        }
        let claims: Vec<Range<u64>> = report.claims.iter().collect();
        let Some(revoked) = self.weigh(report, &claims) else {
            return Ok(());
        };
        let counted = u64::from(self.counts_in_flight());
        let least = self.least_progress(cx);
        let repair = self.repair_mut();
        repair.history.note(serial, is_whole);
        repair.history.note_claims(serial, &claims, &repair.claimed);
        let claims = claims.into_iter();
        let claimed: u64 = claims.map(|claim| repair.claimed.insert(claim)).sum();
        cx.peer.flow.on_claimed(claimed);
        if repair.lowest.is_none_or(|(lower, _)| scope.start < lower) {
            repair.lowest = Some((scope.start, serial));
        }
        if claimed >= least || revoked.end.is_some() {
            repair.tries = 0;
            self.stop_guard(cx);
        }
        if let Some(end) = revoked.end {
            self.forget_old_reports(cx);
            // What was claimed before is sent again, whether or not the report covers it.
            scope = 0..scope.end.max(end);
        }
        let reported_up_to = self.repair().reported_up_to;
        let has_gaps = !self.repair().claimed.covers(&scope);
        self.learn_losses(checkpoint, &scope, false, cx);
        let answered = self.answer_checkpoint(checkpoint, cx);
        let tells = |range: &Range<u64>| scope.start <= range.start && range.end <= scope.end;
        self.drop_answered_checkpoints(checkpoint, tells, cx);
        if revoked.end.is_some() {
            cx.peer.flow.forget();
            cx.peer.apply_flow();
        }
        cx.peer.in_flight.octets += counted * revoked.octets;
        cx.peer.remove_in_flight(cx.node, counted * claimed);
        if has_gaps {
            cx.node.stats.negative_reports_received += 1;
        } else {
            cx.node.stats.positive_reports_received += 1;
        }
        let is_useless = answered
            .as_ref()
            .is_some_and(|one| self.is_useless(one, least));
        let limit = cx.peer.config.limits.checkpoint_retries;
        if is_useless && self.repair().tries > limit.into() {
            return Err(Outcome::Failed(cx.unanswered(Limit::CheckpointRetries)));
        }
        let told = (serial, scope);
        self.gather(
            (checkpoint, told),
            answered,
            (reported_up_to, is_useless),
            cx,
        )?;
        self.check_progress(cx)
    }

    /// Returns how many octets a report must claim to count as progress. A receiver that claimed one octet a report would
    /// keep a session for as many rounds as the block has octets. Honest ones claim segments.
    fn least_progress(&self, cx: &Context<'_>) -> u64 {
        // Bound: usize has at most 64 bits.
        let part = (cx.segment_room(None) / SMALL_PART) as u64;
        let missing = self.red.saturating_sub(self.repair().claimed.len());
        part.min(missing).max(1)
    }

    /// Whether hardly anything was claimed since a checkpoint was sent that is answered. Then it was sent in vain, as if
    /// its answer had not come.
    fn is_useless(&mut self, answered: &Outstanding, least: u64) -> bool {
        let repair = self.repair_mut();
        let is_useless = repair.claimed.len().saturating_sub(answered.claimed) < least;
        if is_useless {
            repair.tries = repair.tries.max(answered.tries);
        }
        is_useless
    }

    /// Weighs a report against those before it, and takes back what they claimed and it denies. `None` for one that came
    /// before.
    fn weigh(&mut self, report: &Report<'_>, claims: &[Range<u64>]) -> Option<Revoked> {
        let asked = self.checkpoint(report.checkpoint);
        let reported = Reported {
            serial: report.serial,
            scope: report.scope.into(),
            claims,
            after: asked.map(|asked| asked.after),
            // Bound: usize has at most 64 bits.
            unanswered: self.checkpoints.len() as u64,
        };
        let repair = self.repair();
        match repair.history.judge(&reported, &repair.claimed) {
            Verdict::Repeated | Verdict::Incoherent => None,
            Verdict::Agrees => Some(Revoked::default()),
            Verdict::Older(lost) => {
                let repair = self.repair_mut();
                for octets in lost.within(0..u64::MAX) {
                    repair.claimed.remove(octets);
                }
                let (octets, end) = (lost.len(), None);
                Some(Revoked { octets, end })
            }
            Verdict::Restarted => {
                let repair = self.repair_mut();
                repair.history.forget();
                repair.lowest = None;
                let claimed = mem::take(&mut repair.claimed);
                let (octets, end) = (claimed.len(), Some(claimed.end()));
                Some(Revoked { octets, end })
            }
        }
    }

    /// Lets nothing cite a report of a receiver that started anew: such a checkpoint would end the session.
    fn forget_old_reports(&mut self, cx: &mut Context<'_>) {
        self.checkpoints.retain(|one| {
            if one.report != 0 {
                cx.stop(one.timers());
            }
            one.report == 0
        });
        let repair = self.repair_mut();
        cx.stop(repair.delay.take());
        repair.flow.clear();
        repair.queue.retain(|repair| repair.run().is_none());
    }

    /// Stops the timer of the checkpoint that a report answers, and returns it.
    ///
    /// A report on an unknown checkpoint changes nothing here; its claims hold all the same. So it is with checkpoint
    /// serial number 0, by which ION and HDTN report everything, also beyond the end of the red part (capture 16).
    pub(super) fn answer_checkpoint(
        &mut self,
        serial: u64,
        cx: &mut Context<'_>,
    ) -> Option<Outstanding> {
        let place = self.place_of(serial)?;
        let mut checkpoint = self.checkpoints.remove(place);
        cx.stop(checkpoint.timers());
        checkpoint.learn_answer(cx);
        if checkpoint.is_of_first_pass() {
            // The report also tells about what left ahead of those before it.
            let mut before = self.checkpoints.iter().take(place);
            let first = before.find(|one| one.is_of_first_pass());
            if let Some(first) = first {
                checkpoint.since = first.since;
                // Its report is lost or late, and the window may have been used up for a while.
                checkpoint.is_behind_lost = true;
            }
        }
        Some(checkpoint)
    }

    /// Drops the checkpoints sent before the one that reports answer if these cover what they asked for: their octets were
    /// told, or were claimed.
    ///
    /// A checkpoint that ends the red part stays until one is answered, since only it tells the length.
    pub(super) fn drop_answered_checkpoints(
        &mut self,
        checkpoint: u64,
        tells: impl Fn(&Range<u64>) -> bool,
        cx: &mut Context<'_>,
    ) {
        if checkpoint >= self.serial {
            return;
        }
        let claimed = &self.repair.as_deref().unwrap_or(&NOTHING_LOST).claimed;
        let is_told = |range: &Range<u64>| tells(range) || claimed.covers(range);
        let tells_end = tells(&(self.red.saturating_sub(1)..self.red));
        self.checkpoints.retain(|one| {
            let is_past = one.serial < checkpoint
                && (one.mark == Mark::None || tells_end)
                && is_told(&one.range)
                && one.retransmitted.iter().all(is_told);
            if is_past {
                cx.stop(one.timers());
            }
            !is_past
        });
    }
}
