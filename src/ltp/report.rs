//! The reports of a receiver: scopes, claims, and retransmission.

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use super::beyond::{Hello, segments};
use super::context::{Context, ImportTimer, Step};
use super::import::Reception;
use super::output::{Out, WriteResult};
use super::peer::Control;
use super::sdnv::Head;
use super::wire::{Body, Checkpoint, Claims, Reason, Report, claim_len, report_head_len};
use crate::Instant;
use crate::kit::{RangeSet, TimerId};

/// The maximum number of lower bounds kept for checkpoints that cite a past report.
const MAX_BOUNDS: usize = 256;
/// The maximum number of ranges of checkpoint serial numbers. Peers count up, so there are few.
const MAX_SERIAL_RANGES: usize = 1024;
/// The maximum number of received ranges with which a report starts at the first gap and repeats what earlier
/// reports said.
const MAX_REPEATED_RANGES: usize = 64;
/// Octets of the claim count at most: a segment has no room for 2^21 claims.
const COUNT: usize = 3;

/// The body of a report. One claim fits without an allocation. It is empty for a report on all of a red part.
type Octets = SmallVec<[u8; 32]>;

/// What is kept of the reports of one session, beside those that await their acknowledgments.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The serial number of the first report.
    first: u64,
    /// Serial numbers of the checkpoints received.
    checkpoints: RangeSet,
    /// The upper bound of the last primary report.
    primary: u64,
    /// Serial numbers, ascending, and lower bounds of past reports.
    bounds: SmallVec<[(u64, u64); 1]>,
    /// The number of reports with gaps.
    problems: u32,
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
#[derive(Debug)]
pub(super) struct Issued {
    serial: u64,
    checkpoint: u64,
    body: Octets,
    tries: u8,
    pub(super) timer: Option<TimerId>,
    is_queued: bool,
    /// When it was sent first, when its timer started, and when it or a copy was sent last.
    first: Instant,
    left: Instant,
    pub(super) latest: Instant,
    len: usize,
    /// The timer of its next copy.
    pub(super) copy: Option<TimerId>,
    /// Whether it claims the whole red part.
    tells_all: bool,
}

impl Issued {
    const fn new(serial: u64, checkpoint: u64, body: Octets, tells_all: bool) -> Self {
        Self {
            serial,
            checkpoint,
            body,
            tries: 0,
            timer: None,
            is_queued: false,
            first: Instant::ZERO,
            left: Instant::ZERO,
            latest: Instant::ZERO,
            len: 0,
            copy: None,
            tells_all,
        }
    }

    /// Makes the report on all of a red part. Its body follows from that.
    pub(super) fn on_all(serial: u64, checkpoint: u64) -> Self {
        Self::new(serial, checkpoint, Octets::new(), true)
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
            let seen = issued.checkpoint..issued.checkpoint.saturating_add(1);
            reports.checkpoints.insert(seen);
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
    fn scope(&mut self, checkpoint: Checkpoint, upper: u64) -> Range<u64> {
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
            bound.map_or(0, |(_, lower)| *lower)
        };
        // An overtaken checkpoint would have an empty scope and so no report, and by section 6.7 its sender would give
        // up. The lower bound may always be 0.
        if lower < upper {
            lower..upper
        } else {
            0..upper
        }
    }

    fn note_bound(&mut self, serial: u64, lower: u64) {
        if self.bounds.len() == MAX_BOUNDS {
            self.bounds.remove(0);
        }
        self.bounds.push((serial, lower));
    }

    /// Treats a checkpoint as not received, because its report could not be made.
    fn forget_checkpoint(&mut self, serial: u64) {
        self.checkpoints = without(&self.checkpoints, &mut [serial]);
    }

    pub(super) const fn primary(&self) -> u64 {
        self.primary
    }

    pub(super) const fn problems(&self) -> u32 {
        self.problems
    }

    /// Returns the serial numbers of the checkpoints whose reports were acknowledged.
    pub(super) fn answered(&self, pending: &[Issued]) -> RangeSet {
        let mut open: Vec<u64> = pending.iter().map(|one| one.checkpoint).collect();
        open.extend(self.delayed.iter().map(|(serial, _)| *serial));
        without(&self.checkpoints, &mut open)
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

/// Returns the same set without some numbers.
fn without(set: &RangeSet, numbers: &mut [u64]) -> RangeSet {
    numbers.sort_unstable();
    let mut rest = RangeSet::new();
    let mut from = 0;
    for end in numbers.iter().copied().chain([u64::MAX]) {
        set.within(from..end).for_each(|range| {
            rest.insert(range);
        });
        from = end.saturating_add(1);
    }
    rest
}

impl Reception {
    /// Whether a report awaits an acknowledgment or is delayed.
    pub(super) fn has_reports(&self) -> bool {
        let parts = self.parts.as_ref();
        !self.pending.is_empty() || parts.is_some_and(|parts| !parts.reports.delayed.is_empty())
    }

    fn place_of(&self, serial: u64) -> Option<usize> {
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
        tx: &mut Out<'_>,
        cx: &mut Context<'_>,
    ) -> WriteResult {
        let hello = self.hello(cx);
        let red = self.red.unwrap_or(0);
        let Some(issued) = self.issued(serial) else {
            return WriteResult::Impossible;
        };
        let body = &issued.body;
        if body.is_empty() {
            return cx.put_report_on_all((serial, issued.checkpoint), red, hello, tx);
        }
        // A report that was made before the sender told may be as long as a segment.
        let hello = hello.filter(|_| body.len() <= cx.segment_room(hello));
        cx.put_segment((8, body.len()), hello, tx, |out| {
            out.extend_from_slice(body);
        })
    }

    /// Returns what reports say about this engine, if the sender told that it is of this crate.
    fn hello(&self, cx: &Context<'_>) -> Option<Hello> {
        let parts = self.parts.as_ref();
        let is_known = parts.is_some_and(|parts| parts.reports.hellos > 0);
        is_known.then_some(cx.node.hello)
    }

    /// Answers a hello by a report on what was received, if no other report will: the first, and every one whose number
    /// is a power of two, since answers may be lost.
    pub(super) fn answer_hello(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let is_complete = self.complete_red().is_some();
        let parts = self.parts();
        parts.reports.hellos = parts.reports.hellos.saturating_add(1);
        let is_due = parts.reports.hellos.is_power_of_two() && !is_complete;
        let scope = 0..parts.red.held.end();
        if is_due && scope.end > 0 {
            self.report(0, scope, cx)?;
            self.recharge(cx);
        }
        Ok(())
    }

    /// Answers a checkpoint: a new one by a report (RFC 5326 section 6.11), a repeated one by its reports (section
    /// 6.8).
    pub(super) fn on_checkpoint(
        &mut self,
        checkpoint: Checkpoint,
        upper: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), Reason> {
        let config = &cx.peer.config;
        let (delay, segment) = (config.report_delay, config.segment);
        let is_auto = config.redundancy.adaptive().is_some();
        let (complete, next) = (self.complete_red(), self.serial);
        let serial = checkpoint.serial;
        let parts = self.parts();
        let (reports, held) = (&mut parts.reports, &parts.red.held);
        if reports.checkpoints.count() >= MAX_SERIAL_RANGES || upper == 0 {
            return Ok(());
        }
        if reports.checkpoints.insert(serial..serial.saturating_add(1)) == 0 {
            self.report_again(serial, cx);
            return Ok(());
        }
        // The checkpoint cites a report of a session that was lost in a restart, together with its claims. The peer
        // would never send the claimed octets again, and take the block for delivered.
        let may_be_cited = (reports.first..next).contains(&checkpoint.report);
        if cx.node.is_forgetful && checkpoint.report != 0 && !may_be_cited {
            return Err(Reason::SYSTEM);
        }
        let mut scope = reports.scope(checkpoint, upper);
        if is_auto && held.count() <= MAX_REPEATED_RANGES {
            scope = scope.start.min(held.run_from(0))..scope.end.max(held.end());
        }
        let (sent, lost) = reports.count_losses(held, checkpoint, upper, segment);
        if sent > 0 {
            cx.peer.line.came(sent, lost);
        }
        // RFC 5326 section 6.11 leaves both bounds open, and one claim on everything ends the session at the sender.
        let scope = complete.map_or(scope, |red| 0..red);
        if complete.is_some() || delay.is_zero() || held.covers(&scope) {
            return self.report(serial, scope, cx);
        }
        reports.delayed.push((serial, scope));
        if reports.delay.is_none() {
            reports.delay = cx.start_local(cx.node.now + delay, ImportTimer::DelayedReport);
        }
        Ok(())
    }

    /// Sends the delayed reports of a session, unless a gap was filled in the meantime.
    pub(super) fn delayed_report_due(&mut self, cx: &mut Context<'_>) -> Result<Step, Reason> {
        let reports = &mut self.parts().reports;
        reports.delay = None;
        let again = reports.filled + cx.peer.config.report_delay;
        if again > cx.node.now {
            reports.delay = cx.start_local(again, ImportTimer::DelayedReport);
            return Ok(Step::Continues);
        }
        self.answer_delayed(cx)?;
        self.recharge(cx);
        Ok(Step::Continues)
    }

    /// Answers every delayed checkpoint with what was received until now. False if there is none.
    pub(super) fn answer_delayed(&mut self, cx: &mut Context<'_>) -> Result<bool, Reason> {
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
    ) -> Result<(), Reason> {
        if !cx.peer.can_send() {
            // Receive-only: a report cannot be sent, and the peer does not wait for it.
            return Ok(());
        }
        let (room, free) = (cx.segment_room(self.hello(cx)), cx.free_octets());
        let parts = self.parts();
        let has_gaps = !parts.red.held.covers(&scope);
        parts.reports.problems += u32::from(has_gaps);
        if parts.reports.problems > cx.peer.config.problem_limit {
            return Err(Reason::RETRANSMISSION_LIMIT);
        }
        let Some(issued) = self.issue(checkpoint, &scope, room, free) else {
            self.parts().reports.forget_checkpoint(checkpoint);
            cx.node.stats.no_room += 1;
            return Ok(());
        };
        if has_gaps {
            cx.node.stats.negative_reports_sent += 1;
        } else {
            cx.node.stats.positive_reports_sent += 1;
        }
        issued.for_each(|serial| self.queue_report(serial, cx));
        Ok(())
    }

    /// Encodes the reports on a scope. `None` without memory for them.
    fn issue(
        &mut self,
        checkpoint: u64,
        scope: &Range<u64>,
        room: usize,
        free: usize,
    ) -> Option<Range<u64>> {
        let (complete, first) = (self.complete_red(), self.serial);
        let parts = self.parts();
        let tells_all = complete.is_some_and(|red| *scope == (0..red));
        let pieces = if tells_all {
            SmallVec::from_buf([(0, Octets::new())])
        } else {
            pieces(&parts.red.held, scope, room, checkpoint, first)
        };
        let weight = |body: &Octets| spilled(body) + 2 * size_of::<Issued>();
        if pieces.iter().map(|(_, body)| weight(body)).sum::<usize>() > free {
            return None;
        }
        for (lower, body) in pieces {
            let serial = self.serial;
            self.serial = serial.saturating_add(1);
            let reports = &mut self.parts().reports;
            reports.note_bound(serial, lower);
            reports.octets += spilled(&body);
            let issued = Issued::new(serial, checkpoint, body, tells_all);
            self.pending.push(issued);
        }
        Some(first..self.serial)
    }

    pub(super) fn queue_report(&mut self, serial: u64, cx: &mut Context<'_>) {
        let report = Control::Report {
            session: cx.session,
            serial,
            left: None,
        };
        if !cx.queue(report) {
            // Treated as lost on the line: the timer repeats it.
            self.on_report_sent(serial, 0, false, cx);
        } else if let Some(issued) = self.issued(serial) {
            issued.is_queued = true;
        }
    }

    /// Starts the timer of a report that was sent (RFC 5326 section 6.3), unless it was acknowledged before. `has_left`
    /// says that it was written, and gets copies.
    pub(super) fn on_report_sent(
        &mut self,
        serial: u64,
        len: usize,
        has_left: bool,
        cx: &mut Context<'_>,
    ) {
        let now = cx.node.now;
        let Some(issued) = self.issued(serial) else {
            return;
        };
        issued.is_queued = false;
        issued.left = now;
        issued.tries = issued.tries.saturating_add(1);
        issued.timer = cx.await_answer(len, ImportTimer::Report(serial));
        issued.len = len;
        if issued.tries == 1 {
            issued.first = now;
        } else {
            cx.node.stats.reports_resent += 1;
        }
        cx.note_report(Some(self), serial);
        if has_left {
            let left = self.report_copies(cx.peer);
            cx.copy_report(Some(self), serial, left);
        }
    }

    /// Repeats a report whose timer expired (RFC 5326 section 6.8).
    pub(super) fn report_expired(
        &mut self,
        serial: u64,
        cx: &mut Context<'_>,
    ) -> Result<Step, Reason> {
        let limit = cx.peer.config.report_retries;
        let Some(issued) = self.issued(serial) else {
            return Ok(Step::Continues);
        };
        issued.timer = None;
        if issued.tries <= limit {
            cx.peer.line.exchanged(false);
            self.queue_report(serial, cx);
            return Ok(Step::Continues);
        }
        if !self.is_delivered {
            return Err(Reason::RETRANSMISSION_LIMIT);
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
        let (limit, round) = (config.report_retries, config.owlt_in + config.owlt_out);
        let now = cx.node.now;
        // Copies of a checkpoint must not use up the retries, which belong to the timers.
        let is_due = |one: &Issued| {
            one.checkpoint == checkpoint
                && !one.is_queued
                && one.tries <= limit
                && now > one.left
                && now - one.left >= round
        };
        let mut due = Vec::new();
        for issued in self.pending.iter_mut().filter(|one| is_due(one)) {
            cx.stop(issued.timer.take());
            due.push(issued.serial);
        }
        due.into_iter()
            .for_each(|serial| self.queue_report(serial, cx));
    }

    /// Handles an RA (RFC 5326 section 6.14).
    pub(super) fn on_report_ack(&mut self, serial: u64, cx: &mut Context<'_>) -> Step {
        let Some(issued) = self.acknowledge(serial, cx) else {
            return Step::Continues;
        };
        if issued.tries > 0 {
            let now = cx.node.now;
            cx.peer
                .answered(now, issued.first, issued.latest, issued.len);
            if issued.tries == 1 && issued.first == issued.latest {
                cx.peer.line.exchanged(true);
            }
        }
        if issued.tells_all {
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
    fn acknowledge(&mut self, serial: u64, cx: &mut Context<'_>) -> Option<Issued> {
        let place = self.place_of(serial)?;
        let issued = self.pending.remove(place);
        cx.stop_all(issued.timers());
        if let Some(parts) = &mut self.parts {
            parts.reports.octets -= spilled(&issued.body);
        }
        Some(issued)
    }
}

/// Splits a report into pieces of at most `room` octets.
///
/// The pieces tile the scope: each ends where the first claim of the next one starts, so a gap between two belongs
/// to the earlier one, as in ION. Each has at least one claim (RFC 5326 section 3.2.2).
fn pieces(
    held: &RangeSet,
    scope: &Range<u64>,
    room: usize,
    checkpoint: u64,
    first: u64,
) -> SmallVec<[(u64, Octets); 1]> {
    let mut pieces = SmallVec::new();
    let mut claims: SmallVec<[Range<u64>; 4]> = SmallVec::new();
    let mut lower = scope.start;
    let mut serial = first;
    let opening =
        |serial, lower| report_head_len(serial, checkpoint, (lower..scope.end).into()) + COUNT;
    let mut len = opening(serial, lower);
    for claim in held.within(scope.clone()) {
        let more = claim_len(&claim, lower);
        if len + more > room && !claims.is_empty() {
            pieces.push((
                lower,
                encode(serial, checkpoint, lower..claim.start, &claims),
            ));
            claims.clear();
            lower = claim.start;
            serial = serial.saturating_add(1);
            len = opening(serial, lower);
        }
        len += claim_len(&claim, lower);
        claims.push(claim);
    }
    if !claims.is_empty() {
        pieces.push((lower, encode(serial, checkpoint, lower..scope.end, &claims)));
    }
    pieces
}

fn encode(serial: u64, checkpoint: u64, scope: Range<u64>, claims: &[Range<u64>]) -> Octets {
    let report = Report {
        serial,
        checkpoint,
        scope: scope.into(),
        claims: Claims::new(claims),
    };
    let body = Body::Report(report);
    let mut head = Head::new();
    if body.put_fields(&mut head).is_some() {
        return SmallVec::from_slice(head.octets());
    }
    let mut octets = Vec::with_capacity(body.wire_len());
    body.encode(&mut octets);
    SmallVec::from_vec(octets)
}

/// Returns the capacity of the heap allocation, in items.
pub(super) fn spilled<A: smallvec::Array>(few: &SmallVec<A>) -> usize {
    if few.spilled() { few.capacity() } else { 0 }
}
