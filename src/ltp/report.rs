//! The reports of a receiver: scopes, claims, and retransmission.

mod piece;

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use self::piece::{Octets, first_piece};
use super::api::Service;
use super::beyond::{Hello, segments};
use super::context::{Context, ImportTimer, Lateness, Step};
use super::end_cause::{EndCause, Limit};
use super::import::{Awaited, Reception};
use super::output::{Unwritten, Written};
use super::peer::{Control, PeerState};
use super::wire::{Checkpoint, Mark, header_len};
use crate::Instant;
use crate::kit::{RangeSet, TimerId};
use crate::transmit::TransmitBuffer;

/// The maximum number of lower bounds kept for checkpoints that cite a past report.
const MAX_BOUNDS: usize = 256;
/// The maximum number of ranges of checkpoint serial numbers. Peers count up, so there are few.
const MAX_SERIAL_RANGES: usize = 1024;
/// The maximum number of received ranges with which a report starts at the first gap and repeats what earlier
/// reports said.
const MAX_REPEATED_RANGES: usize = 64;
/// The maximum number of reports that await their acknowledgments. The oldest gives way to a new one.
const MAX_PENDING: usize = 256;
/// Reports from the newest on that a new one may supersede.
const MAX_SUPERSEDED: usize = 16;
/// With fewer reports pending, none is superseded: each checkpoint has its own.
const MAX_REPEATED: usize = 8;
/// What is kept of the reports of one session, beside those that await their acknowledgments.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The serial number of the first report.
    pub(super) first: u64,
    /// The [`place`]s of the serial numbers of the checkpoints received.
    checkpoints: RangeSet,
    /// The upper bound of the last primary report.
    pub(super) primary: u64,
    /// Serial numbers, ascending, and lower bounds of past reports.
    bounds: SmallVec<[(u64, u64); 1]>,
    /// The number of reports with gaps.
    pub(super) problems: u32,
    /// The offset up to which losses of the first pass were counted.
    reported_up_to: u64,
    /// Checkpoints whose report is delayed for segments in flight.
    delayed: Vec<(u64, Range<u64>)>,
    pub(super) delay: Option<TimerId>,
    /// When a gap was last filled.
    pub(super) filled: Instant,
    /// Octets of the reports that await their acknowledgments.
    octets: usize,
    /// The number of segments in which the sender told that it is of this crate. Reports tell the same then.
    pub(super) hellos: u32,
}

/// A report that awaits its acknowledgment. A repetition has the same claims (RFC 5326 section 6.8).
#[derive(Debug, Default)]
pub(super) struct Issued {
    pub(super) serial: u64,
    checkpoint: u64,
    /// What it reports on. Until it is written first, that may be extended.
    scope: Range<u64>,
    /// Empty until it is written first, and for a report on everything.
    body: Octets,
    tries: u16,
    /// Octets that were held when it was sent last.
    held: u64,
    pub(super) timer: Option<TimerId>,
    /// Its place in the queue of the peer, where it was queued last. It may have been sent or dropped since.
    queued: u64,
    /// When it was sent first, when its timer started, and when it or a copy was sent last.
    first: Instant,
    left: Instant,
    pub(super) latest: Instant,
    /// The timer of its next copy.
    pub(super) copy: Option<TimerId>,
    /// Whether it claims the whole red part.
    tells_all: bool,
}

impl Issued {
    pub(super) fn new(serial: u64, checkpoint: u64, scope: Range<u64>, tells_all: bool) -> Self {
        Self {
            serial,
            checkpoint,
            scope,
            tells_all,
            ..Self::default()
        }
    }

    /// Whether it is neither under way nor about to be: it was withheld, or dropped from the queue of the peer.
    fn is_idle(&self, peer: &PeerState) -> bool {
        self.timer.is_none() && !peer.is_waiting(self.queued)
    }

    /// Whether its claims are yet to be made.
    fn is_unwritten(&self) -> bool {
        self.tries == 0 && self.body.is_empty()
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = TimerId> + use<> {
        [self.timer, self.copy].into_iter().flatten()
    }
}

impl Reports {
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// Returns the reports of a session that came whole, with a segment at `filled`, and made one report, which may be
    /// acknowledged. The next one has the number `serial`.
    pub(super) fn after(serial: u64, red: u64, only: Option<&Issued>, filled: Instant) -> Self {
        let first = only.map_or(serial, |issued| issued.serial);
        let mut reports = Self {
            filled,
            primary: red,
            reported_up_to: red,
            octets: only.map_or(0, |issued| spilled(&issued.body)),
            ..Self::new(first)
        };
        if let Some(issued) = only {
            reports.checkpoints.insert(place(issued.checkpoint));
        }
        reports.note_bound(first, 0);
        reports
    }

    /// Returns the reports of a session from before a restart, any of which may be cited.
    pub(super) fn restore(checkpoints: RangeSet, primary: u64, problems: u32) -> Self {
        Self {
            checkpoints,
            primary,
            problems,
            ..Self::default()
        }
    }

    pub(super) fn memory_used(&self, pending: &SmallVec<[Issued; 1]>) -> usize {
        self.octets
            + spilled(pending) * size_of::<Issued>()
            + self.checkpoints.memory_used()
            + spilled(&self.bounds) * size_of::<(u64, u64)>()
            + self.delayed.capacity() * size_of::<(u64, Range<u64>)>()
    }

    /// Returns the scope of the report that answers a checkpoint (RFC 5326 section 6.11).
    fn scope(&mut self, checkpoint: Checkpoint, upper: u64, held: &RangeSet) -> Range<u64> {
        // Where there are many ranges, one that was reported before is reported, and not all of them time and again.
        let any = || match held.last_before(upper) {
            Some(last) if held.count() > MAX_REPEATED_RANGES => last.start,
            _ => 0,
        };
        let lower = if checkpoint.report == 0 {
            let lower = self.primary;
            self.primary = lower.max(upper);
            lower
        } else {
            let cited = checkpoint.report;
            let place = self
                .bounds
                .binary_search_by_key(&cited, |(serial, _)| *serial);
            let bound = place.ok().and_then(|place| self.bounds.get(place));
            bound.map_or_else(any, |(_, lower)| *lower)
        };
        // An overtaken checkpoint would have an empty scope and so no report, and by section 6.7 its sender would give
        // up.
        let lower = if lower < upper { lower } else { any() };
        // Nothing can be claimed where nothing is held, and a checkpoint without octets may be behind a gap.
        let last = held.last_before(upper).filter(|last| last.end <= lower);
        last.map_or(lower, |last| last.start)..upper
    }

    fn note_bound(&mut self, serial: u64, lower: u64) {
        if self.bounds.len() == MAX_BOUNDS {
            self.bounds.remove(0);
        }
        self.bounds.push((serial, lower));
    }

    /// Treats a checkpoint as not received, since its report could not be made or was dropped. When it comes again, it is
    /// answered anew.
    fn forget_checkpoint(&mut self, serial: u64) {
        self.checkpoints.remove(place(serial));
    }

    /// Delays the report on a checkpoint, which the other delayed ones may precede.
    fn delay_until(&mut self, at: Instant, on: (u64, Range<u64>), cx: &mut Context<'_>) {
        self.delayed.push(on);
        if self.delay.is_none() {
            self.delay = cx.start_local(at, ImportTimer::DelayedReport);
        }
    }

    /// Returns the [`place`]s of the checkpoints whose reports were acknowledged.
    pub(super) fn answered(&self, pending: &[Issued]) -> RangeSet {
        let mut closed = self.checkpoints.clone();
        let delayed = self.delayed.iter().map(|(serial, _)| *serial);
        for serial in pending.iter().map(|one| one.checkpoint).chain(delayed) {
            closed.remove(place(serial));
        }
        closed
    }

    /// Returns how many segments of the first pass a checkpoint covers that no earlier one did, and how many of them
    /// are missing. The checkpoint itself does not count: a lost one is not seen.
    fn count_losses(
        &mut self,
        held: &RangeSet,
        checkpoint: Checkpoint,
        upper: u64,
        segment: usize,
    ) -> (u64, u64) {
        let told = self.reported_up_to..upper;
        if checkpoint.report != 0 || told.is_empty() {
            return (0, 0);
        }
        self.reported_up_to = upper;
        let gaps = held.gaps(told.clone());
        let lost = gaps.map(|gap| segments(gap.end - gap.start, segment)).sum();
        let sent = segments(told.end - told.start, segment).saturating_sub(1);
        (sent, lost)
    }
}

/// Returns where a serial number is in a set. None is 0, and the highest has its place in a half-open range.
const fn place(serial: u64) -> Range<u64> {
    serial.saturating_sub(1)..serial
}

impl Reception {
    /// Whether a report awaits an acknowledgment or is delayed.
    pub(super) fn has_reports(&self) -> bool {
        let parts = self.parts.as_ref();
        !self.pending.is_empty() || parts.is_some_and(|parts| !parts.reports.delayed.is_empty())
    }

    /// Whether a report with a serial number was made in the session.
    pub(super) fn has_issued(&self, serial: u64) -> bool {
        let parts = self.parts.as_ref();
        let first = parts.map_or(self.serial.saturating_sub(1), |parts| parts.reports.first);
        serial > 0 && (first..self.serial).contains(&serial)
    }

    pub(super) fn place_of(&self, serial: u64) -> Option<usize> {
        self.pending
            .binary_search_by_key(&serial, |one| one.serial)
            .ok()
    }

    /// Returns a report that awaits its acknowledgment.
    #[inline]
    pub(super) fn issued(&mut self, serial: u64) -> Option<&mut Issued> {
        let place = self.place_of(serial)?;
        self.pending.get_mut(place)
    }

    /// Writes a report.
    pub(super) fn put_report(
        &mut self,
        serial: u64,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Written {
        let hello = self.hello(cx);
        let red = self.red.unwrap_or(0);
        let issued = self.issued(serial).ok_or(Unwritten::Impossible)?;
        let checkpoint = issued.checkpoint;
        if issued.tells_all {
            return cx.put_report_on_all((serial, checkpoint), red, hello, tx);
        }
        let is_written_first = issued.body.is_empty();
        if issued.body.len() > cx.segment_room(None) {
            // Shorter ones report on its scope, under other serial numbers.
            let scope = issued.scope.clone();
            self.acknowledge(serial, cx);
            if !self.issue(checkpoint, scope, cx) {
                self.parts().reports.forget_checkpoint(checkpoint);
            }
            self.recharge(cx);
            return Err(Unwritten::Impossible);
        }
        if is_written_first && !self.make_body(serial, cx) {
            // Nothing is held in its scope, which may not be said (RFC 5326 section 3.2.2).
            self.drop_report(serial, cx);
            return Err(Unwritten::Impossible);
        }
        let issued = self.issued(serial).ok_or(Unwritten::Impossible)?;
        let body = &issued.body;
        // A report that was made before the sender told may be as long as a segment.
        let hello = hello.filter(|_| body.len() <= cx.segment_room(hello));
        let put = cx.put_segment((8, body.len()), hello, tx, |out| {
            out.extend_from_slice(body);
        });
        if is_written_first {
            self.settle_body(serial, put, cx);
        }
        put
    }

    /// Encodes as much of a report as fits a segment, and issues another one for the rest. False if there is nothing.
    fn make_body(&mut self, serial: u64, cx: &mut Context<'_>) -> bool {
        let room = cx.segment_room(self.hello(cx));
        let next = self.serial;
        let Some(place) = self.place_of(serial) else {
            return false;
        };
        let (Some(issued), Some(parts)) = (self.pending.get_mut(place), &mut self.parts) else {
            return false;
        };
        let (checkpoint, scope) = (issued.checkpoint, issued.scope.clone());
        let made = first_piece(&parts.red.held, &scope, room, checkpoint, serial);
        let Some((body, end)) = made else {
            return false;
        };
        parts.reports.octets += spilled(&body);
        issued.body = body;
        issued.scope.end = end;
        if end < scope.end {
            parts.reports.note_bound(next, end);
            self.serial = next.saturating_add(1);
            self.pending
                .push(Issued::new(next, checkpoint, end..scope.end, false));
            self.queue_report(next, cx);
        }
        true
    }

    /// Keeps the body of a report for its repetitions. Without memory for it, a report that was written is not repeated,
    /// and one that was not is made again.
    fn settle_body(&mut self, serial: u64, put: Written, cx: &mut Context<'_>) {
        let is_kept = self.weight() <= self.parts().memory_limit() && cx.free_octets() > 0;
        if !is_kept && put != Err(Unwritten::NoRoom) {
            self.drop_report(serial, cx);
        }
        self.recharge(cx);
    }

    /// Returns how many octets of the red part are held while it is incomplete.
    fn octets_held(&self) -> u64 {
        let parts = self.parts.as_ref();
        parts.map_or(0, |parts| parts.red.held.len())
    }

    /// Drops a report, and forgets its checkpoint.
    fn drop_report(&mut self, serial: u64, cx: &mut Context<'_>) {
        if let Some(checkpoint) = self.issued(serial).map(|dropped| dropped.checkpoint) {
            self.acknowledge(serial, cx);
            let is_answered = self.pending.iter().any(|one| one.checkpoint == checkpoint);
            if !is_answered && checkpoint > 0 {
                self.parts().reports.forget_checkpoint(checkpoint);
            }
        }
    }

    /// Returns what reports say about this engine, if the sender told that it is of this crate.
    fn hello(&self, cx: &Context<'_>) -> Option<Hello> {
        let parts = self.parts.as_ref();
        let is_known = parts.is_some_and(|parts| parts.reports.hellos > 0);
        is_known.then_some(cx.node.hello)
    }

    /// Answers a hello by a report on what was received, if no other report will: the first, and every one whose number
    /// is a power of two, since answers may be lost.
    pub(super) fn answer_hello(&mut self, cx: &mut Context<'_>) -> Result<Step, EndCause> {
        let is_complete = self.complete_red().is_some();
        let parts = self.parts();
        parts.reports.hellos = parts.reports.hellos.saturating_add(1);
        let is_due = parts.reports.hellos.is_power_of_two() && !is_complete;
        let scope = 0..parts.red.held.end();
        if is_due && scope.end > 0 {
            self.report(0, scope, cx)?;
            self.recharge(cx);
        }
        Ok(Step::Continues)
    }

    /// Answers a checkpoint: a new one by a report (RFC 5326 section 6.11), a repeated one by its reports (section
    /// 6.8).
    pub(super) fn on_checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        upper: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), EndCause> {
        let config = &cx.peer.config;
        let (delay, segment) = (config.timers.report_delay, config.segment);
        let is_auto = cx.peer.is_auto();
        let (complete, may_be_cited) = (self.complete_red(), self.has_issued(checkpoint.report));
        let serial = checkpoint.serial;
        let parts = self.parts();
        let (reports, held) = (&mut parts.reports, &parts.red.held);
        // A checkpoint without octets at the beginning is answered by what is held.
        let upper = if upper == 0 { held.end() } else { upper };
        if reports.checkpoints.count() >= MAX_SERIAL_RANGES {
            let oldest = reports.checkpoints.within(0..u64::MAX).next();
            reports.checkpoints.remove(oldest.unwrap_or(0..0));
        }
        if reports.checkpoints.insert(place(serial)) == 0 {
            self.report_again(serial, cx);
            return Ok(());
        }
        // The checkpoint cites a report that this engine made before it lost its state, together with the claims in it.
        // The peer would never send the claimed octets again, and take the block for delivered.
        if checkpoint.report != 0 && !may_be_cited {
            return Err(EndCause::StateLost);
        }
        let mut scope = reports.scope(checkpoint, upper, held);
        if is_auto && held.count() <= MAX_REPEATED_RANGES {
            scope = scope.start.min(held.run_from(0))..scope.end.max(held.end());
        }
        let (sent, lost) = reports.count_losses(held, checkpoint, upper, segment);
        if sent > 0 {
            cx.peer.line.came(sent, lost);
        }
        let is_discretionary = checkpoint.mark == Mark::None && checkpoint.report == 0;
        if is_auto && is_discretionary && complete.is_none() && cx.node.now < cx.peer.next_report {
            // The report on the last of them says what those on all would.
            reports.delayed.clear();
            reports.delay_until(cx.peer.next_report, (serial, scope), cx);
            return Ok(());
        }
        // RFC 5326 section 6.11 leaves both bounds open, and one claim on everything ends the session at the sender.
        let scope = complete.map_or(scope, |red| 0..red);
        if complete.is_some() || delay.is_zero() || held.covers(&scope) {
            return self.report(serial, scope, cx);
        }
        let same = reports.delayed.iter_mut().rev().take(MAX_SUPERSEDED);
        let mut same = same.filter(|(_, old)| old.start == scope.start && old.end <= scope.end);
        if let Some(one) = same.next() {
            let (old, _) = core::mem::replace(one, (serial, scope));
            reports.forget_checkpoint(old);
            return Ok(());
        }
        reports.delay_until(cx.node.now + delay, (serial, scope), cx);
        Ok(())
    }

    /// Sends the delayed reports of a session, unless a gap was filled in the meantime.
    pub(super) fn delayed_report_due(&mut self, cx: &mut Context<'_>) -> Result<Step, EndCause> {
        let reports = &mut self.parts().reports;
        reports.delay = None;
        let again = reports.filled + cx.peer.config.timers.report_delay;
        if again > cx.node.now {
            reports.delay = cx.start_local(again, ImportTimer::DelayedReport);
            return Ok(Step::Continues);
        }
        self.answer_delayed(cx)?;
        self.recharge(cx);
        Ok(Step::Continues)
    }

    /// Answers every delayed checkpoint with what was received until now. False if there is none.
    pub(super) fn answer_delayed(&mut self, cx: &mut Context<'_>) -> Result<bool, EndCause> {
        let complete = self.complete_red();
        let reports = &mut self.parts().reports;
        cx.stop(reports.delay.take());
        let delayed = core::mem::take(&mut reports.delayed);
        let any = !delayed.is_empty();
        for (serial, scope) in delayed {
            let scope = complete.map_or(scope, |red| 0..red);
            self.report(serial, scope, cx)?;
        }
        Ok(any)
    }

    /// Makes a report, in as many segments as it takes. Without memory for it, the checkpoint counts as not received,
    /// and is repeated by its sender.
    pub(super) fn report(
        &mut self,
        checkpoint: u64,
        scope: Range<u64>,
        cx: &mut Context<'_>,
    ) -> Result<(), EndCause> {
        if !cx.peer.can_send() {
            // Receive-only: a report cannot be sent, and the peer does not wait for it.
            return Ok(());
        }
        let parts = self.parts();
        let has_gaps = !parts.red.held.covers(&scope);
        parts.reports.problems += u32::from(has_gaps);
        if parts.reports.problems > cx.peer.config.limits.problems {
            let limit = cx.peer.config.limits.problems;
            return Err(EndCause::over(Limit::Problems, limit));
        }
        if has_gaps {
            cx.node.stats.negative_reports_sent += 1;
        } else {
            cx.node.stats.positive_reports_sent += 1;
        }
        if !self.issue(checkpoint, scope, cx) {
            self.parts().reports.forget_checkpoint(checkpoint);
            cx.node.stats.no_room += 1;
        }
        Ok(())
    }

    /// Issues a report on a scope. One that waits to be written is extended, and one that says less dropped. False
    /// without memory for it.
    fn issue(&mut self, checkpoint: u64, scope: Range<u64>, cx: &mut Context<'_>) -> bool {
        let complete = self.complete_red();
        let tells_all = complete.is_some_and(|red| scope == (0..red));
        if self.supersede(checkpoint, &scope, tells_all, cx) {
            return true;
        }
        let (len, capacity) = (self.pending.len(), self.pending.capacity());
        let growth = if len < capacity {
            0
        } else {
            2 * (capacity + 1) * size_of::<Issued>()
        };
        let free = cx.free_octets().min(self.free_within_input());
        if growth > free {
            return false;
        }
        let serial = self.serial;
        self.serial = serial.saturating_add(1);
        self.parts().reports.note_bound(serial, scope.start);
        let issued = Issued::new(serial, checkpoint, scope, tells_all);
        self.pending.push(issued);
        self.queue_report(serial, cx);
        true
    }

    /// Where there are many reports, extends or drops one that says less than one on `scope`. True if it waits to be
    /// written first, and answers the checkpoint now.
    fn supersede(
        &mut self,
        checkpoint: u64,
        scope: &Range<u64>,
        tells_all: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        if self.pending.len() >= MAX_REPEATED {
            let newest = self.pending.iter_mut().rev().take(MAX_SUPERSEDED);
            let old = newest.filter(|one| one.scope.start == scope.start);
            let mut old = old.filter(|one| one.scope.end <= scope.end);
            match old.next() {
                // What says all may have to wait longer than what is queued.
                Some(one)
                    if one.is_unwritten()
                        && cx.peer.is_waiting(one.queued)
                        && self.awaits.is_none() =>
                {
                    one.scope = scope.clone();
                    one.tells_all = tells_all;
                    let old = core::mem::replace(&mut one.checkpoint, checkpoint);
                    if old > 0 {
                        self.parts().reports.forget_checkpoint(old);
                    }
                    return true;
                }
                Some(one) => {
                    let serial = one.serial;
                    self.drop_report(serial, cx);
                }
                None => {}
            }
        }
        while self.pending.len() >= MAX_PENDING
            && let Some(serial) = self.pending.first().map(|one| one.serial)
        {
            self.drop_report(serial, cx);
        }
        false
    }

    pub(super) fn queue_report(&mut self, serial: u64, cx: &mut Context<'_>) {
        if self.issued(serial).is_some_and(|issued| issued.tells_all) && self.awaits.is_some() {
            return;
        }
        let report = Control::Report {
            session: cx.session,
            serial,
            left: None,
        };
        if !cx.queue(report) {
            // Treated as lost on the line: the timer repeats it.
            self.on_report_sent(serial, false, cx);
        } else if let Some(issued) = self.issued(serial) {
            issued.queued = cx.peer.control_end();
        }
    }

    /// Withholds the reports that claim all of a red part, if it has to be taken or stored first. Those not yet written
    /// would claim by then what completed it, and are dropped.
    pub(super) fn withhold(&mut self, cx: &mut Context<'_>) {
        let is_scattered = self.service == Service::Scattered;
        if !is_scattered && !cx.node.services.is_on_demand(self.client) {
            return;
        }
        self.awaits = Some(Awaited::Delivery);
        while let Some(one) = self.pending.iter().find(|one| one.body.is_empty()) {
            let serial = one.serial;
            self.drop_report(serial, cx);
        }
    }

    /// Queues the reports that waited until the block was taken or stored, or were dropped from the queue of the peer.
    pub(super) fn queue_withheld(&mut self, cx: &mut Context<'_>) {
        let waiting = self.pending.iter();
        let waiting = waiting.filter(|one| one.is_idle(cx.peer));
        let serials: SmallVec<[u64; 4]> = waiting.map(|one| one.serial).collect();
        for serial in serials {
            self.queue_report(serial, cx);
        }
    }

    /// Starts the timer of a report that was sent (RFC 5326 section 6.3), unless it was acknowledged before. `has_left`
    /// says that it was written, and gets copies.
    pub(super) fn on_report_sent(&mut self, serial: u64, has_left: bool, cx: &mut Context<'_>) {
        let held = self.octets_held();
        let Some(issued) = self.issued(serial) else {
            return;
        };
        issued.held = held;
        issued.on_left(cx);
        issued.left = issued.latest;
        issued.tries = issued.tries.saturating_add(1);
        let due = cx.peer.answer_of(issued.tries, cx.node.now);
        issued.timer = cx.start(due, ImportTimer::Report(serial));
        if issued.tries == 1 {
            issued.first = issued.latest;
        } else {
            cx.node.stats.reports_resent += 1;
        }
        if cx.peer.is_auto() {
            let len = issued.body.len() + header_len(cx.session);
            cx.peer.note_report(cx.node.now, len);
        }
        if has_left {
            let left = self.report_copies(cx.peer);
            self.copy_report(serial, left, cx);
        }
    }

    /// Repeats a report whose timer expired (RFC 5326 section 6.8).
    pub(super) fn report_expired(
        &mut self,
        serial: u64,
        cx: &mut Context<'_>,
    ) -> Result<Step, EndCause> {
        let limit = cx.peer.config.limits.report_retries.into();
        let held = self.octets_held();
        let Some(issued) = self.issued(serial) else {
            return Ok(Step::Continues);
        };
        issued.timer = None;
        let late = match cx.late {
            // The acknowledgment may wait behind what comes, in the queue of a slow line.
            Lateness::Counts if held > issued.held => Lateness::Probes,
            late => late,
        };
        issued.tries = late.tries(issued.tries);
        if issued.tries <= limit {
            cx.peer.line.exchanged(false);
            cx.peer.back_off(cx.node.now);
            self.queue_report(serial, cx);
            return Ok(Step::Continues);
        }
        if !self.is_delivered {
            return Err(cx.unanswered(Limit::ReportRetries));
        }
        // ION never acknowledges the reports of a session that it completed. Nothing has failed; a sender that still
        // asks is answered from the memory of closed sessions.
        self.acknowledge(serial, cx);
        self.recharge(cx);
        Ok(self.close_if_over())
    }

    /// Repeats the reports on a repeated checkpoint that were not acknowledged, unless they are in flight (RFC 5326
    /// section 6.8).
    fn report_again(&mut self, checkpoint: u64, cx: &mut Context<'_>) {
        let config = &cx.peer.config;
        let (limit, round) = (config.limits.report_retries, config.timers.light());
        let now = cx.node.now;
        // Copies of a checkpoint must not use up the retries, which belong to the timers.
        let is_due = |one: &Issued| {
            one.checkpoint == checkpoint
                && !cx.peer.is_waiting(one.queued)
                && one.tries <= limit.into()
                && now > one.left
                && now - one.left >= round
        };
        let due = self.pending.iter().filter(|one| is_due(one));
        let due: Vec<u64> = due.map(|one| one.serial).collect();
        for serial in due {
            let timer = self.issued(serial).and_then(|one| one.timer.take());
            cx.stop(timer);
            self.queue_report(serial, cx);
        }
    }

    /// Handles an RA (RFC 5326 section 6.14).
    pub(super) fn on_report_ack(&mut self, serial: u64, cx: &mut Context<'_>) -> Step {
        let Some(issued) = self.issued(serial) else {
            if !self.has_issued(serial) {
                cx.node.strangers.cite_wrong(cx.peer.account);
            }
            return Step::Continues;
        };
        if issued.tries > 0 {
            cx.node.strangers.prove(cx.peer.account);
            cx.peer.answered(cx.node.now, issued.first, issued.latest);
            if issued.tries == 1 && issued.first == issued.latest {
                cx.peer.line.exchanged(true);
            }
        }
        let tells_all = issued.tells_all;
        self.acknowledge(serial, cx);
        if tells_all {
            // The sender has everything. Its acknowledgments of other reports may be lost for good, and repeating those
            // would only keep the session.
            while let Some(serial) = self.pending.last().map(|one| one.serial) {
                self.acknowledge(serial, cx);
            }
        }
        self.recharge(cx);
        self.close_if_over()
    }

    /// Removes a report, and stops its timers.
    fn acknowledge(&mut self, serial: u64, cx: &mut Context<'_>) {
        let Some(place) = self.place_of(serial) else {
            return;
        };
        if let Some(issued) = self.pending.get(place) {
            cx.stop(issued.timers());
            if let Some(parts) = &mut self.parts {
                parts.reports.octets -= spilled(&issued.body);
            }
        }
        // Most sessions have one, which is not moved.
        if place + 1 == self.pending.len() {
            self.pending.truncate(place);
        } else {
            self.pending.remove(place);
        }
        self.guard_again(cx);
    }
}

/// Returns the capacity of the heap allocation, in items.
pub(super) fn spilled<A: smallvec::Array>(few: &SmallVec<A>) -> usize {
    if few.spilled() { few.capacity() } else { 0 }
}
