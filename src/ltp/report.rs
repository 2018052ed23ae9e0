//! The reports of a receiver: scopes, claims, and retransmission.

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use super::engine::{Engine, TimerKind};
use super::peer::Control;
use super::receiver::Reception;
use super::sender::segments;
use super::wire::{
    Body, Checkpoint, Claims, Reason, Report, SessionId, claim_len, header_len, report_head_len,
};
use crate::kit::RangeSet;
use crate::kit::TimerId;
use crate::{Addr, Instant};

/// The maximum number of lower bounds kept for checkpoints that cite a past report.
const MAX_BOUNDS: usize = 256;
/// The maximum number of ranges of checkpoint serial numbers. Peers count up, so there are few.
const MAX_SERIAL_RANGES: usize = 1024;
/// The maximum number of received ranges with which a report starts at the first gap and repeats what earlier
/// reports said.
const MAX_REPEATED_RANGES: usize = 64;
/// Octets of the claim count at most: a segment has no room for 2^21 claims.
const COUNT: usize = 3;

/// The body of a report. One claim fits without an allocation.
type Octets = SmallVec<[u8; 32]>;

/// The reports of one session.
#[derive(Debug)]
pub(super) struct Reports {
    /// The serial numbers of the next report, and of the first one.
    serial: u64,
    first: u64,
    /// Reports that were not acknowledged.
    pending: SmallVec<[Issued; 1]>,
    /// Serial numbers of the checkpoints received.
    checkpoints: RangeSet,
    /// The upper bound of the last primary report.
    primary: u64,
    /// Serial numbers and lower bounds of past reports.
    bounds: SmallVec<[(u64, u64); 1]>,
    /// The number of reports with gaps.
    problems: u32,
    /// The offset up to which losses of the first pass were counted.
    reported_up_to: u64,
    /// Checkpoints whose report is delayed for segments in flight.
    delayed: Vec<(u64, Range<u64>)>,
    delay: Option<TimerId>,
    /// When a gap was last filled.
    pub(super) filled: Instant,
    octets: usize,
}

/// A report that awaits its acknowledgment. A repetition has the same claims (RFC 5326 section 6.8).
#[derive(Debug)]
struct Issued {
    serial: u64,
    checkpoint: u64,
    body: Octets,
    tries: u8,
    timer: Option<TimerId>,
    is_queued: bool,
    /// When it was sent first, when its timer started, and when it or a copy was sent last.
    first: Instant,
    left: Instant,
    latest: Instant,
    len: usize,
    /// The timer of its next copy.
    copy: Option<TimerId>,
    /// Whether it claims the whole red part.
    tells_all: bool,
}

/// The only report of a session that was whole with its first segment. It claims everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentReport {
    /// Octets of the red part.
    pub(super) red: u64,
    pub(super) checkpoint: u64,
    pub(super) serial: u64,
    /// When it was sent, its length in octets, and its timer.
    pub(super) left: Option<(Instant, usize, Option<TimerId>)>,
}

impl SentReport {
    pub(super) fn timer(&self) -> Option<TimerId> {
        self.left.and_then(|(_, _, timer)| timer)
    }
}

impl Reports {
    /// Returns the reports of a session that has made one report, on a segment received at `filled`.
    pub(super) fn after(told: &SentReport, filled: Instant) -> Self {
        let all = 0..told.red;
        let (at, len, timer) = told.left.unwrap_or((Instant::ZERO, 0, None));
        let mut reports = Self::new(told.serial);
        reports.serial = told.serial.saturating_add(1);
        reports.filled = filled;
        reports.primary = told.red;
        reports.reported_up_to = told.red;
        let seen = told.checkpoint..told.checkpoint.saturating_add(1);
        reports.checkpoints.insert(seen);
        reports.note_bound(told.serial, 0);
        let body = encode(told.serial, told.checkpoint, all.clone(), &[all]);
        reports.octets = spilled(&body);
        reports.pending.push(Issued {
            serial: told.serial,
            checkpoint: told.checkpoint,
            body,
            tries: u8::from(told.left.is_some()),
            timer,
            is_queued: told.left.is_none(),
            first: at,
            left: at,
            latest: at,
            len,
            copy: None,
            tells_all: true,
        });
        reports
    }

    pub(super) fn new(serial: u64) -> Self {
        Self {
            serial,
            first: serial,
            pending: SmallVec::new(),
            checkpoints: RangeSet::new(),
            primary: 0,
            bounds: SmallVec::new(),
            problems: 0,
            reported_up_to: 0,
            delayed: Vec::new(),
            delay: None,
            filled: Instant::ZERO,
            octets: 0,
        }
    }

    /// Whether no report awaits an acknowledgment or is delayed.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.delayed.is_empty()
    }

    pub(super) const fn next_serial(&self) -> u64 {
        self.serial
    }

    /// Returns the serial numbers of the checkpoints whose reports were acknowledged.
    pub(super) fn answered(&self) -> RangeSet {
        let mut open: Vec<u64> = self.pending.iter().map(|one| one.checkpoint).collect();
        open.extend(self.delayed.iter().map(|(serial, _)| *serial));
        open.sort_unstable();
        open.push(u64::MAX);
        let mut answered = RangeSet::new();
        let mut from = 0;
        for serial in open {
            for range in self.checkpoints.within(from..serial) {
                answered.insert(range);
            }
            from = serial.saturating_add(1);
        }
        answered
    }

    pub(super) const fn primary(&self) -> u64 {
        self.primary
    }

    pub(super) const fn problems(&self) -> u32 {
        self.problems
    }

    /// Returns the reports of a session from before a restart.
    pub(super) fn restore(serial: u64, checkpoints: RangeSet, primary: u64, problems: u32) -> Self {
        Self {
            checkpoints,
            primary,
            problems,
            // Reports from before the restart may be cited.
            first: 0,
            ..Self::new(serial)
        }
    }

    /// Whether a report with this serial number may be one of these.
    fn may_have_issued(&self, serial: u64) -> bool {
        (self.first..self.serial).contains(&serial)
    }

    pub(super) fn body(&self, serial: u64) -> Option<&[u8]> {
        self.pending
            .iter()
            .find(|one| one.serial == serial)
            .map(|one| one.body.as_slice())
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = TimerId> {
        self.pending
            .iter()
            .flat_map(|one| [one.timer, one.copy])
            .flatten()
            .chain(self.delay)
    }

    pub(super) fn memory_used(&self) -> usize {
        self.octets
            + spilled(&self.pending) * size_of::<Issued>()
            + self.checkpoints.memory_used()
            + spilled(&self.bounds) * size_of::<(u64, u64)>()
            + self.delayed.capacity() * size_of::<(u64, Range<u64>)>()
    }

    /// Notes that a report, or a copy of it, was sent.
    pub(super) fn on_copy_sent(&mut self, serial: u64, now: Instant) {
        if let Some(issued) = self.find(serial) {
            issued.latest = now;
            issued.copy = None;
        }
    }

    /// Replaces the timer of a report, and returns the one to stop.
    pub(super) fn replace_timer(&mut self, serial: u64, timer: Option<TimerId>) -> Option<TimerId> {
        match self.find(serial).filter(|issued| issued.timer.is_some()) {
            Some(issued) => core::mem::replace(&mut issued.timer, timer),
            None => timer,
        }
    }

    /// Replaces the timer of the next copy, and returns the one to stop.
    pub(super) fn set_copy_timer(
        &mut self,
        serial: u64,
        timer: Option<TimerId>,
    ) -> Option<TimerId> {
        match self.find(serial) {
            Some(issued) => core::mem::replace(&mut issued.copy, timer),
            None => timer,
        }
    }

    fn find(&mut self, serial: u64) -> Option<&mut Issued> {
        self.pending.iter_mut().find(|one| one.serial == serial)
    }

    /// Returns the scope of the report that answers a checkpoint (RFC 5326 section 6.11).
    fn scope(&mut self, checkpoint: Checkpoint, upper: u64) -> Range<u64> {
        let lower = match checkpoint.report {
            0 => {
                let lower = self.primary;
                self.primary = lower.max(upper);
                lower
            }
            cited => {
                let bound = self
                    .bounds
                    .iter()
                    .rev()
                    .find(|(serial, _)| *serial == cited);
                bound.map_or(0, |(_, lower)| *lower)
            }
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
}

impl<A: Addr> Engine<A> {
    /// Answers a checkpoint: a new one by a report (RFC 5326 section 6.11), a repeated one by its reports (section
    /// 6.8).
    pub(super) fn on_checkpoint(
        &mut self,
        slot: u32,
        session: SessionId,
        checkpoint: Checkpoint,
        upper: u64,
    ) {
        let is_forgetful = self.is_forgetful;
        let Some(config) = self.peer(slot).map(|peer| &peer.config) else {
            return;
        };
        let (delay, segment) = (config.report_delay, config.segment);
        let is_auto = config.redundancy.adaptive().is_some();
        let Some(reception) = self.reception(session) else {
            return;
        };
        let complete = reception.complete_red();
        let reports = &mut reception.reports;
        if reports.checkpoints.count() >= MAX_SERIAL_RANGES || upper == 0 {
            return;
        }
        let serial = checkpoint.serial;
        if reports.checkpoints.insert(serial..serial.saturating_add(1)) == 0 {
            self.report_again(slot, session, serial);
            return;
        }
        // The checkpoint cites a report of a session that was lost in a restart, together with its claims. The peer
        // would never send the claimed octets again, and take the block for delivered.
        if is_forgetful && checkpoint.report != 0 && !reports.may_have_issued(checkpoint.report) {
            self.cancel_import(session, Reason::SYSTEM);
            return;
        }
        let mut scope = reports.scope(checkpoint, upper);
        let missing = reception.held.run_from(0);
        if is_auto && reception.held.count() <= MAX_REPEATED_RANGES {
            scope = scope.start.min(missing)..scope.end.max(reception.held.end());
        }
        let (sent, lost) = reception.count_losses(checkpoint, upper, segment);
        if let Some(peer) = self.peer_mut(slot).filter(|_| sent > 0) {
            peer.line.came(sent, lost);
        }
        let Some(reception) = self.reception(session) else {
            return;
        };
        // RFC 5326 section 6.11 leaves both bounds open, and one claim on everything ends the session at the sender.
        let scope = complete.map_or(scope, |red| 0..red);
        if complete.is_some() || delay.is_zero() || reception.held.covers(&scope) {
            self.report(slot, session, serial, scope);
            return;
        }
        reception.reports.delayed.push((serial, scope));
        if reception.reports.delay.is_none() {
            let timer =
                self.set_local(slot, self.now + delay, TimerKind::DelayedReport { session });
            if let Some(reception) = self.reception(session) {
                reception.reports.delay = timer;
            }
        }
    }

    /// Sends the delayed reports of a session, unless a gap was filled in the meantime.
    pub(super) fn delayed_report_due(&mut self, session: SessionId) {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return;
        };
        let delay = self
            .peer(slot)
            .map(|peer| peer.config.report_delay)
            .unwrap_or_default();
        let now = self.now;
        let Some(reception) = self.reception(session) else {
            return;
        };
        reception.reports.delay = None;
        let again = reception.reports.filled + delay;
        if again > now {
            let timer = self.set_local(slot, again, TimerKind::DelayedReport { session });
            if let Some(reception) = self.reception(session) {
                reception.reports.delay = timer;
            }
            return;
        }
        self.answer_delayed(session);
        self.recharge(session);
    }

    /// Answers every delayed checkpoint with what was received until now. False if there is none.
    pub(super) fn answer_delayed(&mut self, session: SessionId) -> bool {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return false;
        };
        let Some(reception) = self.reception(session) else {
            return false;
        };
        let timer = reception.reports.delay.take();
        let delayed = core::mem::take(&mut reception.reports.delayed);
        let complete = reception.complete_red();
        self.stop(timer);
        let any = !delayed.is_empty();
        for (serial, scope) in delayed {
            let scope = complete.map_or(scope, |red| 0..red);
            self.report(slot, session, serial, scope);
        }
        any
    }

    /// Makes a report, in as many segments as it takes. Without memory for it, the checkpoint counts as not received,
    /// and is repeated by its sender.
    pub(super) fn report(
        &mut self,
        slot: u32,
        session: SessionId,
        checkpoint: u64,
        scope: Range<u64>,
    ) {
        let free = self.free_octets_for(slot);
        let datagram = self.datagram;
        let Some(peer) = self.peer(slot) else {
            return;
        };
        if !peer.can_send() {
            // Receive-only: a report cannot be sent, and the peer does not wait for it.
            return;
        }
        let room = peer.config.segment.min(datagram);
        let room = room.saturating_sub(header_len(session) + peer.keys.overhead());
        let problem_limit = peer.config.problem_limit;
        let Some(reception) = self.reception(session) else {
            return;
        };
        let has_gaps = !reception.held.covers(&scope);
        if has_gaps {
            reception.reports.problems += 1;
        }
        if reception.reports.problems > problem_limit {
            self.cancel_import(session, Reason::RETRANSMISSION_LIMIT);
            return;
        }
        let Some(issued) = reception.issue(checkpoint, &scope, room, free) else {
            reception.reports.forget_checkpoint(checkpoint);
            self.stats.no_room += 1;
            return;
        };
        if has_gaps {
            self.stats.negative_reports_sent += 1;
        } else {
            self.stats.positive_reports_sent += 1;
        }
        for serial in issued {
            self.queue_report(slot, session, serial);
        }
    }

    fn queue_report(&mut self, slot: u32, session: SessionId, serial: u64) {
        if self.queue(slot, Control::Report { session, serial }) {
            if let Some(issued) = self
                .reception(session)
                .and_then(|reception| reception.reports.find(serial))
            {
                issued.is_queued = true;
            }
        } else {
            // Treated as lost on the line: the timer repeats it.
            self.on_report_sent(slot, session, serial, 0);
        }
    }

    /// Starts the timer of a report that was sent (RFC 5326 section 6.3). False if it was acknowledged before.
    pub(super) fn on_report_sent(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
        len: usize,
    ) -> bool {
        let now = self.now;
        let Some(due) = self.peer(slot).map(|peer| peer.answer(now, len)) else {
            return false;
        };
        if self
            .reception(session)
            .is_none_or(|reception| reception.reports.find(serial).is_none())
        {
            return false;
        }
        let timer = self.set(slot, due, TimerKind::Report { session, serial });
        let issued = self
            .reception(session)
            .and_then(|reception| reception.reports.find(serial));
        let Some(issued) = issued else {
            return false;
        };
        issued.is_queued = false;
        issued.left = now;
        issued.tries = issued.tries.saturating_add(1);
        issued.timer = timer;
        issued.len = len;
        if issued.tries == 1 {
            issued.first = now;
        }
        if issued.tries > 1 {
            self.stats.reports_resent += 1;
        }
        self.on_report_segment_sent(slot, session, serial);
        true
    }

    /// Repeats a report whose timer expired (RFC 5326 section 6.8).
    pub(super) fn report_expired(&mut self, session: SessionId, serial: u64) {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return;
        };
        let limit = self.peer(slot).map_or(0, |peer| peer.config.report_retries);
        let Some(reception) = self.reception(session) else {
            return;
        };
        let is_delivered = reception.is_delivered;
        let Some(issued) = reception.reports.find(serial) else {
            return;
        };
        issued.timer = None;
        if issued.tries <= limit {
            if let Some(peer) = self.peer_mut(slot) {
                peer.line.exchanged(false);
            }
            self.queue_report(slot, session, serial);
        } else if is_delivered {
            // ION never acknowledges the reports of a session that it completed. Nothing has failed; a sender that still
            // asks is answered from the memory of closed sessions.
            let issued = reception.reports.acknowledge(serial);
            self.stop(issued.and_then(|issued| issued.copy));
            self.recharge(session);
            self.close_if_over(session);
        } else {
            self.cancel_import(session, Reason::RETRANSMISSION_LIMIT);
        }
    }

    /// Repeats the reports on a repeated checkpoint that were not acknowledged, unless they are in flight (RFC 5326
    /// section 6.8).
    fn report_again(&mut self, slot: u32, session: SessionId, checkpoint: u64) {
        let Some((limit, round)) = self.peer(slot).map(|peer| {
            (
                peer.config.report_retries,
                peer.config.owlt_in + peer.config.owlt_out,
            )
        }) else {
            return;
        };
        let now = self.now;
        let Some(reception) = self.reception(session) else {
            return;
        };
        // Copies of a checkpoint must not use up the retries, which belong to the timers.
        let due: Vec<(u64, Option<TimerId>)> = reception
            .reports
            .pending
            .iter_mut()
            .filter(|one| one.checkpoint == checkpoint && !one.is_queued && one.tries <= limit)
            .filter(|one| now > one.left && now - one.left >= round)
            .map(|one| (one.serial, one.timer.take()))
            .collect();
        for (serial, timer) in due {
            self.stop(timer);
            self.queue_report(slot, session, serial);
        }
    }

    /// Handles an RA (RFC 5326 section 6.14).
    pub(super) fn on_report_ack(&mut self, slot: u32, session: SessionId, serial: u64) {
        let now = self.now;
        if let Some(peer) = self.peer_mut(slot) {
            peer.line.report_acknowledged(session, serial);
        }
        if self.single_acknowledged(slot, session, serial) {
            return;
        }
        let Some(reception) = self.reception(session) else {
            return;
        };
        let Some(issued) = reception.reports.acknowledge(serial) else {
            return;
        };
        self.stop(issued.timer);
        self.stop(issued.copy);
        if let Some(peer) = self.peer_mut(slot).filter(|_| issued.tries > 0) {
            peer.answered(now, issued.first, issued.latest, issued.len);
            if issued.tries == 1 && issued.first == issued.latest {
                peer.line.exchanged(true);
            }
        }
        if issued.tells_all {
            self.drop_reports(session);
        }
        self.recharge(session);
        self.close_if_over(session);
    }

    /// Drops all reports: the sender has everything. Its acknowledgments of other reports may be lost for good, and
    /// repeating those would only keep the session.
    fn drop_reports(&mut self, session: SessionId) {
        while let Some(issued) = self
            .reception(session)
            .and_then(|reception| reception.reports.take_pending())
        {
            self.stop(issued.timer);
            self.stop(issued.copy);
        }
    }
}

impl Reports {
    /// Removes a report. The caller stops its timers.
    fn acknowledge(&mut self, serial: u64) -> Option<Issued> {
        let place = self.pending.iter().position(|one| one.serial == serial)?;
        let issued = self.pending.remove(place);
        self.octets -= spilled(&issued.body);
        Some(issued)
    }

    fn take_pending(&mut self) -> Option<Issued> {
        let issued = self.pending.pop()?;
        self.octets -= spilled(&issued.body);
        Some(issued)
    }

    /// Treats a checkpoint as not received, because its report could not be made.
    fn forget_checkpoint(&mut self, serial: u64) {
        let mut kept = RangeSet::new();
        let before = self.checkpoints.within(0..serial);
        for range in before.chain(self.checkpoints.within(serial.saturating_add(1)..u64::MAX)) {
            kept.insert(range);
        }
        self.checkpoints = kept;
    }
}

impl Reception {
    /// Returns how many segments of the first pass a checkpoint covers that no earlier one did, and how many of them
    /// are missing. The checkpoint itself does not count: a lost one is not seen.
    fn count_losses(&mut self, checkpoint: Checkpoint, upper: u64, segment: usize) -> (u64, u64) {
        let told = self.reports.reported_up_to..upper;
        if checkpoint.report != 0 || told.is_empty() {
            return (0, 0);
        }
        self.reports.reported_up_to = upper;
        let gaps = self.held.gaps(told.clone());
        let lost = gaps.map(|gap| segments(gap.end - gap.start, segment)).sum();
        let sent = segments(told.end - told.start, segment).saturating_sub(1);
        (sent, lost)
    }

    /// Encodes the reports on a scope. `None` without memory for them.
    fn issue(
        &mut self,
        checkpoint: u64,
        scope: &Range<u64>,
        room: usize,
        free: usize,
    ) -> Option<Range<u64>> {
        let first = self.reports.serial;
        let pieces = pieces(&self.held, scope, room, checkpoint, first);
        let weight: usize = pieces
            .iter()
            .map(|(_, body)| spilled(body) + 2 * size_of::<Issued>())
            .sum();
        if weight > free {
            return None;
        }
        let tells_all = self.complete_red().is_some_and(|red| *scope == (0..red));
        for (lower, body) in pieces {
            let serial = self.reports.serial;
            self.reports.serial = serial.saturating_add(1);
            self.reports.note_bound(serial, lower);
            self.reports.octets += spilled(&body);
            self.reports.pending.push(Issued {
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
            });
        }
        Some(first..self.reports.serial)
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
    if let [claim] = claims {
        return SmallVec::from_slice(report.head_with(claim).octets());
    }
    let body = Body::Report(report);
    let mut octets = Vec::with_capacity(body.wire_len());
    body.encode(&mut octets);
    SmallVec::from_vec(octets)
}

/// Returns the capacity of the heap allocation, in items.
pub(super) fn spilled<A: smallvec::Array>(few: &SmallVec<A>) -> usize {
    if few.spilled() { few.capacity() } else { 0 }
}
