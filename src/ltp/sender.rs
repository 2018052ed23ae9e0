//! The sending role: blocks, checkpoints, and what reports do to them.

mod ends;
mod learn;
mod receiver_restart;
mod saved;
mod single_segment;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::once;
use core::mem;
use core::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

pub(super) use self::learn::segments;
pub(super) use self::single_segment::{Left, SingleSegment};
use super::api::{Block, Error, Event, Red, Side};
use super::auth::KeyHash;
use super::config::{Direction, Numbers};
use super::engine::{Engine, TimerKind};
use super::outgoing::DuplicateRepairs;
use super::peer::{Control, Role};
use super::report::spilled;
use super::wire::{Mark, Reason, Report, SessionId};
use crate::kit::RangeSet;
use crate::kit::TimerId;
use crate::{Addr, Instant, Tag};

/// First serial numbers are below this (CCSDS 734.1-B-1).
pub(super) const FIRST_SERIALS: u64 = 1 << 14;
/// The maximum number of ranges of report serial numbers. Peers count up, so there are few.
const MAX_SERIAL_RANGES: usize = 1024;

/// A session in which a block is sent.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) slot: u32,
    /// The key that the session named (RFC 5327 section 2.1).
    pub(super) key_hash: Option<KeyHash>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Sending(Box<Sending>),
    Single(SingleSegment),
    Cancelling(Cancel),
}

/// A cancellation that awaits its acknowledgment, in either role.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) reason: Reason,
    pub(super) tries: u8,
    pub(super) timer: Option<TimerId>,
}

impl Cancel {
    pub(super) const fn new(reason: Reason) -> Self {
        Self {
            reason,
            tries: 0,
            timer: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Sending {
    pub(super) tag: Tag,
    pub(super) client: u64,
    pub(super) block: Bytes,
    /// Octets of the block, and of its red part.
    pub(super) len: u64,
    pub(super) red: u64,
    /// Octets that were sent at least once.
    pub(super) next: u64,
    /// Octets that may have been sent before a restart; 0 without a restart.
    may_have_left: u64,
    /// Whether [`Event::Sent`] is still to be reported.
    notifies_sent: bool,
    /// The serial number of the next checkpoint.
    pub(super) serial: u64,
    /// Segments since the last checkpoint of the first pass.
    pub(super) unchecked: u32,
    /// Where the last checkpoint of the first pass ends.
    pub(super) checked: u64,
    pub(super) wants_checkpoint: bool,
    /// The claims of all reports. Claims are binding (RFC 5326 section 6.22).
    pub(super) claimed: RangeSet,
    /// Serial numbers of the reports handled.
    reports: RangeSet,
    /// Lower bound and serial number of the report with the lowest bound. A checkpoint that cites it asks about
    /// everything from there.
    lowest: Option<(u64, u64)>,
    pub(super) checkpoints: SmallVec<[Outstanding; 1]>,
    pub(super) repairs: VecDeque<Repair>,
    pub(super) is_repairing: bool,
    problems: u32,
    guard: Option<TimerId>,
    guard_tries: u8,
    /// Repairs to send once more while nothing else waits.
    pub(super) spare: DuplicateRepairs,
    /// The offset up to which losses of the first pass were counted.
    reported_up_to: u64,
    /// Reports with gaps that are answered later, together.
    delayed: Vec<PendingReport>,
    pub(super) delay: Option<TimerId>,
}

/// A checkpoint that awaits its report.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) serial: u64,
    pub(super) report: u64,
    pub(super) range: Range<u64>,
    pub(super) mark: Mark,
    /// The number of retransmission cycles that led to it.
    pub(super) cycle: u32,
    pub(super) tries: u8,
    pub(super) timer: Option<TimerId>,
    /// The timer of its next copy.
    pub(super) copy: Option<TimerId>,
    /// When it was sent first and last, and its length in octets.
    pub(super) first: Instant,
    pub(super) latest: Instant,
    pub(super) len: usize,
    /// The octets that were sent again before it. The report that answers it covers them.
    pub(super) retransmitted: Vec<Range<u64>>,
}

impl Outstanding {
    pub(super) fn timers(&self) -> impl Iterator<Item = TimerId> + use<> {
        [self.timer, self.copy].into_iter().flatten()
    }
}

/// A retransmission to be sent.
#[derive(Debug)]
pub(super) enum Repair {
    Retransmission(Retransmission),
    /// A checkpoint whose timer expired.
    CheckpointRetry(u64),
    /// Further copies of a checkpoint that was just sent.
    CheckpointCopies {
        serial: u64,
        left: u8,
    },
}

/// Missing octets, the last of which are sent in a checkpoint.
#[derive(Debug)]
pub(super) struct Retransmission {
    pub(super) report: u64,
    pub(super) cycle: u32,
    pub(super) gaps: Vec<Range<u64>>,
    /// The index of the gap being sent, and the offset within it.
    pub(super) at: usize,
    pub(super) from: u64,
}

/// A report with gaps that is still to be answered.
#[derive(Debug, Clone)]
struct PendingReport {
    report: u64,
    /// The checkpoint that the report answers.
    checkpoint: u64,
    scope: Range<u64>,
    cycle: u32,
}

impl State {
    /// Returns the tag of a block that is being sent.
    #[inline]
    pub(super) fn tag(&self) -> Option<Tag> {
        match self {
            Self::Sending(sending) => Some(sending.tag),
            Self::Single(single) => Some(single.tag),
            Self::Cancelling(_) => None,
        }
    }
}

impl Sending {
    fn is_claimed(&self) -> bool {
        self.claimed.len() == self.red
    }

    /// Whether a report or a segment is to be expected without the guard timer.
    fn is_going_on(&self) -> bool {
        self.next < self.red || self.awaits_report()
    }

    /// Returns what is under repair: queued, or sent again behind `checkpoint`, so that a report on that checkpoint says
    /// nothing about it. What was sent again before the checkpoint and is still missing was lost again.
    fn under_repair(&self, checkpoint: u64) -> RangeSet {
        let mut set = RangeSet::new();
        let queued = self.repairs.iter().filter_map(|repair| match repair {
            Repair::Retransmission(retransmission) => Some(&retransmission.gaps),
            Repair::CheckpointRetry(_) | Repair::CheckpointCopies { .. } => None,
        });
        let in_flight = self
            .checkpoints
            .iter()
            .filter(|one| one.serial >= checkpoint)
            .map(|one| &one.retransmitted);
        for gap in in_flight.chain(queued).flatten() {
            set.insert(gap.clone());
        }
        set
    }

    /// Returns the bytes of memory beside the block.
    pub(super) fn memory_used(&self) -> usize {
        let retransmissions: usize = self
            .checkpoints
            .iter()
            .map(|checkpoint| checkpoint.retransmitted.capacity())
            .chain(self.repairs.iter().map(|repair| match repair {
                Repair::Retransmission(retransmission) => retransmission.gaps.capacity(),
                Repair::CheckpointRetry(_) | Repair::CheckpointCopies { .. } => 0,
            }))
            .sum();
        size_of::<Self>()
            + self.claimed.memory_used()
            + self.reports.memory_used()
            + spilled(&self.checkpoints) * size_of::<Outstanding>()
            + self.repairs.capacity() * size_of::<Repair>()
            + self.delayed.capacity() * size_of::<PendingReport>()
            + self.spare.memory_used()
            + retransmissions * size_of::<Range<u64>>()
    }
}

impl<A: Addr> Engine<A> {
    // Requests.

    /// Sends a block, and returns its session (RFC 5326 section 4.1).
    ///
    /// # Errors
    ///
    /// Unknown peer, a tag in use, or an invalid block. After [`Error::Full`], [`Event::Room`] follows when there is
    /// room for it.
    pub fn send_block(&mut self, now: Instant, block: Block) -> Result<SessionId, Error> {
        self.advance(now);
        let slot = *self
            .by_id
            .get(&block.to)
            .ok_or(Error::UnknownPeer(block.to))?;
        let octets = block.data.len();
        // Bound: usize has at most 64 bits.
        let len = octets as u64;
        let red = match block.red {
            Red::All => len,
            Red::Octets(red) => red,
        };
        if len == 0 {
            return Err(Error::Empty);
        }
        if red > len {
            return Err(Error::RedTooLong { red, len });
        }
        if octets > self.config.export_octets {
            let limit = self.config.export_octets;
            return Err(Error::TooLong { len: octets, limit });
        }
        if self.tags.get(block.tag, &self.exports).is_some() {
            return Err(Error::TagInUse(block.tag));
        }
        let direction = self.peer(slot).map(|peer| peer.config.direction);
        let is_possible = match direction.unwrap_or_default() {
            Direction::Both => true,
            Direction::SendOnly => red == 0,
            Direction::ReceiveOnly => false,
        };
        if !is_possible {
            return Err(Error::Direction(block.to));
        }
        if let Some(full) = self.export_limit(slot, octets) {
            self.block_peer(slot, octets);
            return Err(full);
        }
        let number = self.draw_number();
        self.begin_export(slot, number, block, red);
        Ok(SessionId {
            originator: self.config.engine,
            number,
        })
    }

    fn begin_export(&mut self, slot: u32, number: u64, block: Block, red: u64) {
        let octets = block.data.len();
        let single = SingleSegment {
            tag: block.tag,
            client: block.client,
            block: block.data,
            serial: self.first_serial(),
            left: None,
        };
        let segment = self.peer(slot).map_or(0, |peer| peer.config.segment);
        let is_single = octets <= segment && red == single.len() && !self.config.notify_sent;
        let state = if is_single {
            State::Single(single)
        } else {
            State::Sending(Box::new(Sending {
                red,
                notifies_sent: self.config.notify_sent,
                ..single.expand()
            }))
        };
        let export = Export {
            slot,
            key_hash: None,
            state,
        };
        self.insert_export(number, export);
        self.export_octets += octets;
        if let Some(peer) = self.peer_mut(slot) {
            peer.exports += 1;
            peer.fresh.push_back(number);
        }
        self.mark_ready(slot);
    }

    /// Adds a session, and the tag of its block if it is being sent.
    pub(super) fn insert_export(&mut self, number: u64, export: Export) {
        let tag = export.state.tag();
        let place = self.exports.insert(number, export);
        if let (Some(tag), Some(place)) = (tag, place) {
            self.tags.insert(tag, place, &self.exports);
        }
    }

    /// Returns the session of the block with a tag.
    pub(super) fn tagged(&self, tag: Tag) -> Option<u64> {
        self.tags.get(tag, &self.exports)
    }

    /// Draws a session number that no session has and no peer may remember (RFC 5326 sections 3.1 and 9.1).
    pub(super) fn draw_number(&mut self) -> u64 {
        loop {
            let number = match self.config.numbers {
                Numbers::Bits32 => 1 + self.rng.below(u64::from(u32::MAX)),
                Numbers::Bits64 => self.rng.next_u64().max(1),
            };
            let session = SessionId {
                originator: self.config.engine,
                number,
            };
            if !self.exports.contains_key(&number)
                && self.closed.admit((Role::Sender, session)).is_none()
            {
                return number;
            }
        }
    }

    /// Returns the limit that a block of `octets` would exceed.
    fn export_limit(&self, slot: u32, octets: usize) -> Option<Error> {
        let peer = self.peer(slot)?;
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let window = (count(peer.exports), count(peer.config.max_exports));
        let sessions = (self.exports.len(), count(self.config.max_exports));
        let events = (self.events.len(), count(self.config.max_events));
        [window, sessions, events]
            .into_iter()
            .find(|(held, limit)| held >= limit)
            .or_else(|| {
                let limit = self.config.export_octets;
                (octets > limit - self.export_octets).then_some((self.export_octets, limit))
            })
            .map(|(held, limit)| Error::Full { held, limit })
    }

    pub(super) fn block_peer(&mut self, slot: u32, octets: usize) {
        if let Some(peer) = self.peer_mut(slot)
            && peer.blocked_peers.replace(octets).is_none()
        {
            self.blocked_peers.push_back(slot);
        }
    }

    /// Reports room, once to each peer for which a block was refused.
    pub(super) fn unblock_peers(&mut self) {
        for _ in 0..self.blocked_peers.len() {
            let Some(slot) = self.blocked_peers.pop_front() else {
                return;
            };
            let octets = self
                .peer(slot)
                .and_then(|peer| peer.blocked_peers)
                .unwrap_or(0);
            if self.export_limit(slot, octets).is_some() {
                self.blocked_peers.push_back(slot);
                continue;
            }
            let peer = self.peer_mut(slot).map(|peer| {
                peer.blocked_peers = None;
                peer.id
            });
            if let Some(peer) = peer {
                self.push_event(Event::Room { peer }, 0);
            }
        }
    }

    /// Makes the next red segment of a block a checkpoint (RFC 5325 section 3.3).
    ///
    /// # Errors
    ///
    /// No block with this tag is being sent.
    pub fn checkpoint(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        let number = self.tagged(tag).ok_or(Error::UnknownTag(tag))?;
        if let Some((_, sending)) = self.sending(number) {
            sending.wants_checkpoint = true;
        }
        Ok(())
    }

    /// Cancels the transmission of a block (RFC 5326 section 4.2). If none of it was sent, the peer is not told.
    ///
    /// # Errors
    ///
    /// No block with this tag is being sent.
    pub fn cancel(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        let number = self.tagged(tag).ok_or(Error::UnknownTag(tag))?;
        self.fail(number, Side::Local, Reason::USER);
        Ok(())
    }

    pub(super) fn sending(&mut self, number: u64) -> Option<(u32, &mut Sending)> {
        let export = self.exports.get_mut(&number)?;
        Some((export.slot, export.state.sending()?))
    }

    // Input.

    /// Handles an RS (RFC 5326 section 6.13).
    pub(super) fn on_report(&mut self, slot: u32, session: SessionId, report: &Report<'_>) {
        if self.single_reported(slot, session, report) {
            return;
        }
        let serial = report.serial;
        let scope = Range::from(report.scope);
        if let Some((_, sending)) = self.sending(session.number)
            // The report claims octets that were never sent.
            && (scope.end > sending.red.min(sending.next.max(sending.may_have_left))
                || sending.reports.count() >= MAX_SERIAL_RANGES)
        {
            self.stats.malformed += 1;
            return;
        }
        // Also for an unknown session and a repeated report: the peer repeats it until then.
        self.queue(slot, Control::ReportAck { session, serial });
        let Some((slot, sending)) = self.sending(session.number) else {
            return;
        };
        if sending.reports.intersects(serial..serial.saturating_add(1)) {
            return;
        }
        let revoked = sending.detect_receiver_restart(serial);
        sending.reports.insert(serial..serial.saturating_add(1));
        let claimed: u64 = report
            .claims
            .iter()
            .map(|claim| sending.claimed.insert(claim))
            .sum();
        let counted = u64::from(sending.counts_in_flight());
        if sending.lowest.is_none_or(|(lower, _)| scope.start < lower) {
            sending.lowest = Some((scope.start, serial));
        }
        sending.guard_tries = 0;
        let has_gaps = !sending.claimed.covers(&scope);
        self.add_in_flight(slot, counted * revoked);
        self.learn_losses(session.number, report.checkpoint, &scope);
        let cycle = self.answer_checkpoint(session.number, report.checkpoint);
        if let Some((_, sending)) = self.sending(session.number) {
            for timer in sending.drop_answered_checkpoints(report.checkpoint, &scope) {
                self.stop(Some(timer));
            }
        }
        if has_gaps {
            self.stats.negative_reports_received += 1;
            let pending = PendingReport {
                report: serial,
                checkpoint: report.checkpoint,
                scope,
                cycle: cycle + 1,
            };
            self.pending(slot, session.number, pending);
        } else {
            self.stats.positive_reports_received += 1;
        }
        self.remove_in_flight(slot, counted * claimed);
        self.check_progress(session.number);
    }

    /// Stops the timer of the checkpoint that a report answers, and returns its retransmission cycle.
    ///
    /// A report on an unknown checkpoint changes nothing here; its claims hold all the same. So it is with checkpoint
    /// serial number 0, by which ION and HDTN report everything, also beyond the end of the red part (capture 16).
    fn answer_checkpoint(&mut self, number: u64, serial: u64) -> u32 {
        let Some((slot, sending)) = self.sending(number) else {
            return 0;
        };
        let place = sending
            .checkpoints
            .iter()
            .position(|one| one.serial == serial);
        let Some(place) = place else {
            return 0;
        };
        let checkpoint = sending.checkpoints.remove(place);
        for timer in checkpoint.timers() {
            self.stop(Some(timer));
        }
        self.learn_answer(slot, &checkpoint);
        checkpoint.cycle
    }

    /// Answers a report with gaps at once, or later together with others.
    fn pending(&mut self, slot: u32, number: u64, pending: PendingReport) {
        let delay = self
            .peer(slot)
            .map(|peer| peer.config.repair_delay)
            .unwrap_or_default();
        if delay.is_zero() {
            self.repair(number, &pending);
            return;
        }
        let at = self.now + delay;
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.delayed.push(pending);
        if sending.delay.is_none() {
            let timer = self.set_local(slot, at, TimerKind::Repair { number });
            if let Some((_, sending)) = self.sending(number) {
                sending.delay = timer;
            }
        }
    }

    pub(super) fn repair_due(&mut self, number: u64) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.delay = None;
        let mut pending = mem::take(&mut sending.delayed);
        pending.sort_by_key(|pending| pending.scope.start);
        for pending in &pending {
            self.repair(number, pending);
        }
        self.check_progress(number);
    }

    /// Queues exactly the missing octets. ION drops a segment that overlaps what it has.
    fn repair(&mut self, number: u64, pending: &PendingReport) {
        let Some((slot, sending)) = self.sending(number) else {
            return;
        };
        let told = if pending.checkpoint < sending.serial {
            pending.checkpoint
        } else {
            0
        };
        let under_repair = sending.under_repair(told);
        let mut gaps = Vec::new();
        for gap in sending.claimed.gaps(pending.scope.clone()) {
            gaps.extend(under_repair.gaps(gap));
        }
        let Some(from) = gaps.first().map(|gap: &Range<u64>| gap.start) else {
            return;
        };
        gaps.shrink_to_fit();
        sending.problems += 1;
        let problems = sending.problems;
        let run = Repair::Retransmission(Retransmission {
            report: pending.report,
            cycle: pending.cycle,
            gaps,
            at: 0,
            from,
        });
        // Copies follow what was not sent once.
        let copies = |repair: &Repair| matches!(repair, Repair::CheckpointCopies { .. });
        let place = sending.repairs.iter().position(copies);
        let place = place.unwrap_or(sending.repairs.len());
        sending.repairs.insert(place, run);
        let Some(config) = self.peer(slot).map(|peer| &peer.config) else {
            return;
        };
        if problems > config.problem_limit {
            self.fail(number, Side::Local, Reason::RETRANSMISSION_LIMIT);
        } else if pending.cycle > config.cycle_limit {
            self.fail(number, Side::Local, Reason::CYCLE_LIMIT);
        } else {
            self.queue_repairs(number);
        }
    }

    /// Queues a session for retransmissions.
    pub(super) fn queue_repairs(&mut self, number: u64) {
        let Some((slot, sending)) = self.sending(number) else {
            return;
        };
        if mem::replace(&mut sending.is_repairing, true) {
            return;
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.repairs.push_back(number);
        }
        self.mark_ready(slot);
    }

    /// Completes a session when everything is claimed and sent. Starts the guard timer of a session that awaits
    /// nothing: one of several reports may be lost for good (ION issue 14).
    pub(super) fn check_progress(&mut self, number: u64) {
        let Some((slot, sending)) = self.sending(number) else {
            return;
        };
        if sending.is_claimed() {
            sending.repairs.clear();
            sending.delayed.clear();
            if sending.next == sending.len {
                self.complete(number);
            } else {
                self.stop_checkpoints(number);
            }
            return;
        }
        let guard = sending.guard.take();
        let is_idle = !sending.is_going_on();
        self.stop(guard);
        self.release_first_passes(slot);
        if !is_idle {
            return;
        }
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, 0)) else {
            return;
        };
        let timer = self.set(slot, due, TimerKind::ExportGuard { number });
        if let Some((_, sending)) = self.sending(number) {
            sending.guard = timer;
        }
    }

    fn stop_checkpoints(&mut self, number: u64) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let checkpoints = mem::take(&mut sending.checkpoints);
        for timer in checkpoints.iter().flat_map(Outstanding::timers) {
            self.stop(Some(timer));
        }
    }

    /// Asks about everything that is missing, by a checkpoint with the last missing octet that cites the report with the
    /// lowest bound.
    pub(super) fn export_guard_expired(&mut self, number: u64) {
        let Some((slot, sending)) = self.sending(number) else {
            return;
        };
        sending.guard = None;
        let tries = sending.guard_tries;
        sending.guard_tries = tries.saturating_add(1);
        let limit = self
            .peer(slot)
            .map_or(0, |peer| peer.config.checkpoint_retries);
        if tries >= limit {
            self.fail(number, Side::Local, Reason::RETRANSMISSION_LIMIT);
            return;
        }
        self.probe(number);
    }

    /// Queues a checkpoint with the last missing octet.
    fn probe(&mut self, number: u64) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let mut missing = sending.claimed.gaps(0..sending.red);
        let Some(first) = missing.next() else {
            return;
        };
        let end = missing.last().unwrap_or(first.clone()).end;
        let cited = sending.lowest.filter(|(lower, _)| *lower <= first.start);
        sending
            .repairs
            .push_back(Repair::Retransmission(Retransmission {
                report: cited.map_or(0, |(_, serial)| serial),
                cycle: 0,
                gaps: once(end - 1..end).collect(),
                at: 0,
                from: end - 1,
            }));
        self.queue_repairs(number);
    }

    /// Repeats a checkpoint whose timer expired (RFC 5326 section 6.7).
    pub(super) fn checkpoint_expired(&mut self, number: u64, serial: u64) {
        let Some((slot, _)) = self.sending(number) else {
            return;
        };
        let is_auto = self
            .peer(slot)
            .is_some_and(|peer| peer.config.redundancy.adaptive().is_some());
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let Some(place) = sending
            .checkpoints
            .iter()
            .position(|one| one.serial == serial)
        else {
            return;
        };
        let Some(checkpoint) = sending.checkpoints.get_mut(place) else {
            return;
        };
        checkpoint.timer = None;
        let tries = checkpoint.tries;
        // It was overtaken: section 6.11 may forbid a report on it, and no octets depend on it.
        let is_moot = checkpoint.mark == Mark::None
            && checkpoint
                .retransmitted
                .iter()
                .all(|gap| sending.claimed.covers(gap))
            && sending.claimed.covers(&checkpoint.range);
        // Where reports start at the first gap, the report on a later checkpoint covers the same, and comes sooner.
        let is_overtaken = is_auto
            && checkpoint.mark == Mark::None
            && sending.checkpoints.iter().any(|one| one.serial > serial);
        if is_moot || is_overtaken {
            let checkpoint = sending.checkpoints.remove(place);
            self.stop(checkpoint.copy);
            self.learn_silence(slot);
            self.check_progress(number);
            return;
        }
        let limit = self
            .peer(slot)
            .map_or(0, |peer| peer.config.checkpoint_retries);
        if tries > limit {
            self.fail(number, Side::Local, Reason::RETRANSMISSION_LIMIT);
            return;
        }
        self.learn_silence(slot);
        if let Some((_, sending)) = self.sending(number) {
            sending.repairs.push_back(Repair::CheckpointRetry(serial));
        }
        self.queue_repairs(number);
    }

    /// Handles a CR (RFC 5326 section 6.17). ION sends one for each segment that comes (capture 10).
    pub(super) fn on_cancel_by_receiver(&mut self, slot: u32, session: SessionId, reason: Reason) {
        let to = Role::Receiver;
        self.queue(slot, Control::CancelAck { session, to });
        self.fail(session.number, Side::Remote, reason);
    }

    /// Handles a CAS (RFC 5326 section 6.18).
    pub(super) fn on_cancel_ack_to_sender(&mut self, session: SessionId) {
        if !self.on_ping_answered(session) && self.sending(session.number).is_none() {
            self.close_export(session.number);
        }
    }
}
