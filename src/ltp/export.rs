//! The sending role: blocks, checkpoints, and what reports do to them.

mod ends;
mod gather;
mod pieces;
mod reports;
mod rows;
mod saved;
mod table;
mod write;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

pub(super) use self::pieces::Piece;
pub(super) use self::saved::SavedExport;
pub(super) use self::table::Exports;
use super::api::{Block, Error, Red, Side};
use super::auth::KeyHash;
use super::beyond::{BlockFlow, DuplicateRepairs};
use super::config::Direction;
use super::context::{Context, Core, ExportTimer, Lateness, Node, Step, TimerKind};
use super::end_cause::{EndCause, Limit};
use super::engine::Engine;
use super::peer::{Control, Role};
use super::report::spilled;
use super::report_history::ReportHistory;
use super::stage::Stage;
use super::wire::{Mark, Reason, Report, SessionId};
use crate::kit::{RangeSet, TimerId};
use crate::{Addr, Instant, Tag};

/// A session in which a block is sent.
#[derive(Debug)]
pub(super) struct ExportSession {
    pub(super) slot: u32,
    /// The key that the session named (RFC 5327 section 2.1).
    pub(super) key_hash: Option<KeyHash>,
    pub(super) stage: Stage<Sending>,
}

/// A block that is being sent. Most blocks are small and arrive at once, and need no more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sending {
    pub(super) tag: Tag,
    client: u64,
    #[cfg_attr(feature = "serde", serde(with = "crate::hex"))]
    pub(super) block: Bytes,
    /// Octets of the red part.
    pub(super) red: u64,
    /// Octets that were sent at least once.
    pub(super) next: u64,
    /// The serial numbers of the first checkpoint and of the next one.
    first_serial: u64,
    pub(super) serial: u64,
    /// Segments since the last checkpoint of the first pass.
    #[cfg_attr(feature = "serde", serde(skip))]
    unchecked: u32,
    /// Whether [`Event::Sent`](super::Event::Sent) is still to be reported.
    notifies_sent: bool,
    wants_checkpoint: bool,
    /// Checkpoints that await their reports, in the order of their serial numbers.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) checkpoints: SmallVec<[Outstanding; 1]>,
    repair: Option<Box<RepairState>>,
}

/// What is known about octets that were lost, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct RepairState {
    /// Octets that may have been sent before a restart; 0 without a restart.
    pub(super) may_have_left: u64,
    /// Where the last checkpoint of the first pass ends.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) checked: u64,
    /// The claims of all reports. Claims are binding (RFC 5326 section 6.22).
    pub(super) claimed: RangeSet,
    /// The reports that were used.
    history: ReportHistory,
    /// Lower bound and serial number of the report with the lowest bound. A checkpoint that cites it asks about
    /// everything from there.
    lowest: Option<(u64, u64)>,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) queue: VecDeque<Repair>,
    /// Whether the session is queued for repairs.
    #[cfg_attr(feature = "serde", serde(skip))]
    is_queued: bool,
    problems: u32,
    #[cfg_attr(feature = "serde", serde(skip))]
    guard: Option<TimerId>,
    /// How often a checkpoint was sent since a report last claimed anything. Whoever answers without that answers as if
    /// not at all.
    #[cfg_attr(feature = "serde", serde(skip))]
    tries: u16,
    /// Repairs to send once more while nothing else waits.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) duplicates: DuplicateRepairs,
    /// The offset up to which losses of the first pass were counted.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) reported_up_to: u64,
    /// What the flow keeps of the block.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) flow: BlockFlow,
    /// The timer of reports whose rest is awaited.
    #[cfg_attr(feature = "serde", serde(skip))]
    delay: Option<TimerId>,
}

impl RepairState {
    const NONE: Self = Self {
        may_have_left: 0,
        checked: 0,
        claimed: RangeSet::new(),
        history: ReportHistory::NONE,
        lowest: None,
        queue: VecDeque::new(),
        is_queued: false,
        problems: 0,
        guard: None,
        tries: 0,
        duplicates: DuplicateRepairs::NONE,
        reported_up_to: 0,
        flow: BlockFlow::NONE,
        delay: None,
    };
}

/// The state of a block of which nothing was lost so far.
static NOTHING_LOST: RepairState = RepairState::NONE;

/// A checkpoint that awaits its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub(super) serial: u64,
    pub(super) report: u64,
    pub(super) range: Range<u64>,
    pub(super) mark: Mark,
    /// The number of retransmission cycles that led to it.
    cycle: u32,
    pub(super) tries: u16,
    pub(super) timer: Option<TimerId>,
    /// The timer of its next copy.
    pub(super) copy: Option<TimerId>,
    /// When it left first and last.
    pub(super) first: Instant,
    pub(super) latest: Instant,
    /// The highest report serial number that had come when it was sent first. The report that answers it is a later one.
    after: u64,
    /// The octets that were sent again before it. The report that answers it covers them.
    pub(super) retransmitted: Vec<Range<u64>>,
    /// The lower bound of the report that it cites.
    lower: u64,
    /// When what was sent ahead of it began to leave. `None` if losses of it cannot be told.
    since: Option<Instant>,
    /// The octets that were claimed when it was sent first.
    claimed: u64,
    /// Whether it asks once more what the checkpoint before it has asked.
    asks_again: bool,
    /// Whether a checkpoint before it was not answered, so that its report does not tell when octets arrived.
    is_behind_lost: bool,
}

impl Outstanding {
    /// Whether it was sent ahead of all reports.
    pub(super) const fn is_of_first_pass(&self) -> bool {
        self.report == 0 && self.retransmitted.is_empty()
    }

    fn timers(&self) -> impl Iterator<Item = TimerId> + use<> {
        [self.timer, self.copy].into_iter().flatten()
    }
}

/// A retransmission to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repair {
    Retransmission(Retransmission),
    /// A checkpoint: the first of so many further copies of one that was just sent, or one whose timer expired.
    Checkpoint {
        serial: u64,
        copies: Option<u8>,
    },
}

/// Missing octets, the last of which are sent in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Retransmission {
    report: u64,
    cycle: u32,
    /// What is yet to be sent, and what was.
    gaps: VecDeque<Range<u64>>,
    sent: Vec<Range<u64>>,
    /// The lower bound of the report.
    lower: u64,
    /// When the first of it left. `None` as well if octets are sent several times, so that losses cannot be told.
    since: Option<Instant>,
    is_repeated: bool,
    /// Whether it is only a checkpoint which asks once more what another one has asked.
    asks_again: bool,
}

impl Retransmission {
    fn new(
        (lower, report): (u64, u64),
        cycle: u32,
        gaps: impl IntoIterator<Item = Range<u64>>,
    ) -> Self {
        Self {
            report,
            cycle,
            gaps: gaps.into_iter().collect(),
            lower,
            ..Self::default()
        }
    }

    /// Adds octets that are missing, to be sent under the same checkpoint. It stays at the end, and cites the report
    /// with the lower bound, so that its answer covers them.
    fn add(&mut self, (lower, report): (u64, u64), cycle: u32, gaps: Vec<Range<u64>>) {
        if lower < self.lower {
            (self.lower, self.report) = (lower, report);
        }
        self.cycle = self.cycle.max(cycle);
        self.gaps.extend(gaps);
        let gaps = self.gaps.make_contiguous();
        gaps.sort_unstable_by_key(|gap| gap.start);
    }
}

/// How the session of a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything was sent, and all of the red part is claimed.
    Complete,
    Failed(EndCause),
}

/// Whether a session goes on after an input, or how it ends.
type Continued = Result<(), Outcome>;

impl ExportSession {
    /// Starts a session for a block whose red part has `red` octets. With a hello, the first segment says that this engine
    /// is of this crate.
    fn new(slot: u32, block: Block, red: u64, has_hello: bool, node: &mut Node) -> Self {
        let first_serial = node.first_serial();
        let mut sending = Sending {
            tag: block.tag,
            client: block.client,
            block: block.data,
            red,
            next: 0,
            first_serial,
            serial: first_serial,
            unchecked: 0,
            notifies_sent: node.config.notify_sent,
            wants_checkpoint: false,
            checkpoints: SmallVec::new(),
            repair: None,
        };
        if has_hello {
            sending.repair_mut().flow.hello = Some(0);
        }
        Self {
            slot,
            key_hash: None,
            stage: Stage::Open(sending),
        }
    }

    /// Returns the tag of a block that is being sent.
    #[inline]
    pub(super) fn tag(&self) -> Option<Tag> {
        self.stage.open().map(|sending| sending.tag)
    }

    /// Lets the block that is being sent do something.
    fn sending(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Sending, &mut Context<'_>) -> Continued,
    ) -> Step {
        match self.stage.open_mut().map(|sending| act(sending, cx)) {
            None | Some(Ok(())) => Step::Continues,
            Some(Err(Outcome::Complete)) => self.complete(cx),
            Some(Err(Outcome::Failed(cause))) => self.fail(cause, cx),
        }
    }

    /// Handles an RS (RFC 5326 section 6.13).
    pub(super) fn on_report(&mut self, report: &Report<'_>, cx: &mut Context<'_>) -> Step {
        if let Stage::Open(sending) = &self.stage
            && sending.is_contradicted_by(report)
        {
            cx.node.stats.malformed += 1;
            return Step::Continues;
        }
        let step = self.sending(cx, |sending, cx| sending.on_report(report, cx));
        // A receiver whose claims are all acknowledged closes its session (section 6.14), and licklider's answers no
        // question then.
        if !matches!(&self.stage, Stage::Open(sending) if sending.doubts(report.serial)) {
            // Also for a repeated report, and in a session that is cancelled: the peer repeats it until then.
            cx.queue(Control::ReportAck {
                session: cx.session,
                serial: report.serial,
            });
        }
        step
    }

    /// Handles a CR (RFC 5326 section 6.17). ION sends one for each segment that comes (capture 10).
    pub(super) fn on_cancel(&mut self, reason: Reason, cx: &mut Context<'_>) -> Step {
        if reason == Reason::RETRANSMISSION_LIMIT && self.limit_exceeded(cx) {
            return Step::Restarts;
        }
        self.fail_with((Side::Remote, reason, EndCause::Peer), cx)
    }

    /// Returns when the signal left whose answer a timer waits for, or the end of time if that is not known. `None` if it is
    /// not awaited any more.
    pub(super) fn awaits(&self, timer: ExportTimer) -> Option<Instant> {
        match (&self.stage, timer) {
            (Stage::Open(sending), ExportTimer::Checkpoint(serial)) => {
                Some(sending.checkpoints.get(sending.place_of(serial)?)?.latest)
            }
            (Stage::Open(sending), ExportTimer::Guard) => sending
                .repair()
                .guard
                .map(|_| Instant::from_nanos(u64::MAX)),
            _ => None,
        }
    }

    pub(super) fn on_timer(&mut self, timer: ExportTimer, cx: &mut Context<'_>) -> Step {
        match timer {
            ExportTimer::Checkpoint(serial) => {
                self.sending(cx, |sending, cx| sending.checkpoint_expired(serial, cx))
            }
            ExportTimer::CheckpointCopy { serial, left } => self.sending(cx, |sending, cx| {
                sending.copy_checkpoint_now(serial, left, cx);
                Ok(())
            }),
            ExportTimer::Repair => self.sending(cx, Sending::repair_due),
            ExportTimer::Guard => self.sending(cx, Sending::guard_expired),
            ExportTimer::Cancel => match self.stage.cancel_mut() {
                Some(cancel) => cancel.expired(Role::Sender, cx),
                None => Step::Continues,
            },
        }
    }
}

impl Sending {
    /// Returns the octets of the block.
    pub(super) const fn len(&self) -> u64 {
        // Bound: usize has at most 64 bits.
        self.block.len() as u64
    }

    #[inline]
    pub(super) fn repair(&self) -> &RepairState {
        self.repair.as_deref().unwrap_or(&NOTHING_LOST)
    }

    pub(super) fn repair_mut(&mut self) -> &mut RepairState {
        self.repair
            .get_or_insert_with(|| Box::new(RepairState::NONE))
    }

    #[cfg(test)]
    pub(super) const fn lost_nothing(&self) -> bool {
        self.repair.is_none()
    }

    fn is_claimed(&self) -> bool {
        self.repair().claimed.len() == self.red
    }

    /// Whether a report is awaited, or a retransmission is about to be sent.
    pub(super) fn awaits_report(&self) -> bool {
        let repair = self.repair();
        !self.checkpoints.is_empty() || !repair.queue.is_empty() || repair.delay.is_some()
    }

    /// Whether a report or a segment is to be expected without the guard timer.
    fn is_going_on(&self) -> bool {
        self.next < self.red || self.awaits_report()
    }

    /// Returns the place of a checkpoint among those that await their reports.
    pub(super) fn place_of(&self, serial: u64) -> Option<usize> {
        self.checkpoints
            .binary_search_by_key(&serial, |one| one.serial)
            .ok()
    }

    pub(super) fn checkpoint(&self, serial: u64) -> Option<&Outstanding> {
        self.checkpoints.get(self.place_of(serial)?)
    }

    pub(super) fn checkpoint_mut(&mut self, serial: u64) -> Option<&mut Outstanding> {
        let place = self.place_of(serial)?;
        self.checkpoints.get_mut(place)
    }

    /// Returns what is under repair: queued, or sent again behind `checkpoint`, so that a report on that checkpoint says
    /// nothing about it. What was sent again before the checkpoint and is still missing was lost again.
    fn under_repair(&self, checkpoint: u64) -> RangeSet {
        let queued = self.repair().queue.iter().filter_map(Repair::run);
        let queued = queued.flat_map(|run| run.sent.iter().chain(&run.gaps));
        let sent = self.checkpoints.iter();
        let sent = sent.filter(|one| one.serial >= checkpoint);
        let mut under_repair = RangeSet::new();
        for gap in sent.flat_map(|one| &one.retransmitted).chain(queued) {
            under_repair.insert(gap.clone());
        }
        under_repair
    }

    /// Returns the bytes of memory beside the block and the entry in the table.
    pub(super) fn memory_used(&self) -> usize {
        let repair = self.repair();
        let sent = self.checkpoints.iter();
        let sent = sent.map(|one| one.retransmitted.capacity());
        let queued = repair.queue.iter().filter_map(Repair::run);
        let gaps = sent.chain(queued.map(|run| run.sent.capacity() + run.gaps.capacity()));
        self.repair.as_ref().map_or(0, |_| size_of::<RepairState>())
            + repair.claimed.memory_used()
            + repair.history.memory_used()
            + spilled(&self.checkpoints) * size_of::<Outstanding>()
            + repair.queue.capacity() * size_of::<Repair>()
            + repair.flow.memory_used()
            + repair.duplicates.memory_used()
            + gaps.sum::<usize>() * size_of::<Range<u64>>()
    }

    /// Queues a retransmission.
    pub(super) fn push_repair(&mut self, repair: Repair, cx: &mut Context<'_>) {
        self.repair_mut().queue.push_back(repair);
        self.queue_repairs(cx);
    }

    /// Queues the session for retransmissions.
    fn queue_repairs(&mut self, cx: &mut Context<'_>) {
        if !mem::replace(&mut self.repair_mut().is_queued, true) {
            cx.peer.repairs.push_back(cx.session.number);
            cx.peer.mark_ready(cx.node);
        }
    }

    /// Completes a session when everything is claimed and sent. Starts the guard timer of a session that awaits
    /// nothing: one of several reports may be lost for good (ION issue 14).
    fn check_progress(&mut self, cx: &mut Context<'_>) -> Continued {
        let is_claimed = self.is_claimed();
        if is_claimed && self.repair().history.is_of_one_receiver(self.red) {
            if let Some(repair) = &mut self.repair {
                repair.queue.clear();
                repair.flow.clear();
            }
            if self.next == self.len() {
                return Err(Outcome::Complete);
            }
            let checkpoints = mem::take(&mut self.checkpoints);
            cx.stop(checkpoints.iter().flat_map(Outstanding::timers));
            return Ok(());
        }
        cx.peer.release_first_passes(cx.node);
        let is_going_on = self.is_going_on();
        if is_going_on {
            self.stop_guard(cx);
        } else if self.repair().guard.is_none() {
            self.repair_mut().guard = cx.await_answer(ExportTimer::Guard);
        }
        Ok(())
    }

    fn stop_guard(&mut self, cx: &mut Context<'_>) {
        if let Some(repair) = &mut self.repair {
            cx.stop(repair.guard.take());
        }
    }

    /// Whether it is open if the report with a serial number, and others that together claim everything, are of one
    /// receiver.
    fn doubts(&self, serial: u64) -> bool {
        let history = &self.repair().history;
        history.doubts(serial) || self.is_claimed() && !history.is_of_one_receiver(self.red)
    }

    /// Asks about everything that is missing, by a checkpoint with the last missing octet that cites the report with the
    /// lowest bound.
    fn guard_expired(&mut self, cx: &mut Context<'_>) -> Continued {
        let (is_claimed, counts) = (self.is_claimed(), self.counts_in_flight());
        let repair = self.repair_mut();
        repair.guard = None;
        // Whether its checkpoint counts in a silence is decided when that is late.
        let limit = cx.peer.config.limits.checkpoint_retries;
        if cx.late == Lateness::IsFinal || repair.tries >= limit.into() {
            return Err(Outcome::Failed(cx.unanswered(Limit::CheckpointRetries)));
        }
        if is_claimed {
            // The reports between those that came did not, though their receiver repeats them: it may have started anew
            // there, and only together with the one before have everything.
            repair.history.doubt();
            repair.lowest = None;
            let claimed = mem::take(&mut repair.claimed).len();
            cx.peer.in_flight.octets += u64::from(counts) * claimed;
        }
        self.probe(cx);
        Ok(())
    }

    /// Queues a checkpoint with the last octet that is missing of those that were sent.
    fn probe(&mut self, cx: &mut Context<'_>) {
        let repair = self.repair();
        let mut missing = repair.claimed.gaps(0..self.red.min(self.next));
        let Some(first) = missing.next() else {
            return;
        };
        let end = missing.last().unwrap_or(first.clone()).end;
        let cited = repair.lowest.filter(|(lower, _)| *lower <= first.start);
        let gaps = core::iter::once(end - 1..end);
        let run = Retransmission {
            is_repeated: true,
            ..Retransmission::new(cited.unwrap_or_default(), 0, gaps)
        };
        self.push_repair(Repair::Retransmission(run), cx);
    }

    /// Repeats a checkpoint whose timer expired (RFC 5326 section 6.7).
    fn checkpoint_expired(&mut self, serial: u64, cx: &mut Context<'_>) -> Continued {
        let is_auto = cx.peer.is_auto();
        let Some(place) = self.place_of(serial) else {
            return Ok(());
        };
        let is_last = place + 1 == self.checkpoints.len();
        let claimed = &self.repair.as_deref().unwrap_or(&NOTHING_LOST).claimed;
        let Some(checkpoint) = self.checkpoints.get_mut(place) else {
            return Ok(());
        };
        checkpoint.timer = None;
        let mut asked = checkpoint.retransmitted.iter();
        // It was overtaken: section 6.11 may forbid a report on it, and no octets depend on it.
        let is_moot = asked.all(|gap| claimed.covers(gap)) && claimed.covers(&checkpoint.range);
        // Where reports start at the first gap, the report on a later checkpoint covers the same, and comes sooner.
        let is_overtaken = is_auto && !is_last;
        if checkpoint.mark == Mark::None && (is_moot || is_overtaken) {
            let checkpoint = self.checkpoints.remove(place);
            cx.stop(checkpoint.copy);
            if is_moot {
                cx.peer.line.exchanged(false);
            }
            return self.check_progress(cx);
        }
        if cx.late != Lateness::IsFinal && cx.peer.must_ask(checkpoint.latest, cx.node.now) {
            let signal = TimerKind::Export(cx.session, ExportTimer::Checkpoint(serial));
            cx.peer.ask(cx.node, signal);
            return Ok(());
        }
        checkpoint.tries = cx.late.tries(checkpoint.tries);
        let tries = checkpoint.tries;
        if tries > cx.peer.config.limits.checkpoint_retries.into() {
            return Err(Outcome::Failed(cx.unanswered(Limit::CheckpointRetries)));
        }
        cx.peer.line.exchanged(false);
        cx.peer.back_off(cx.node.now);
        let repair = self.repair_mut();
        repair.tries = repair.tries.max(tries);
        self.push_repair(
            Repair::Checkpoint {
                serial,
                copies: None,
            },
            cx,
        );
        Ok(())
    }
}

impl Repair {
    /// Whether octets are sent again that a report has left unclaimed.
    fn is_retransmission(&self) -> bool {
        self.run().is_some_and(|run| !run.asks_again)
    }

    const fn run(&self) -> Option<&Retransmission> {
        match self {
            Self::Retransmission(run) => Some(run),
            Self::Checkpoint { .. } => None,
        }
    }
}

impl<A: Addr> Engine<A> {
    /// Sends a block, and returns its session (RFC 5326 section 4.1).
    ///
    /// # Errors
    ///
    /// Unknown peer, a tag in use, or an invalid block. After [`Error::Full`], [`Event::Room`](super::Event::Room)
    /// follows when there is room for it.
    pub fn send_block(&mut self, now: Instant, block: Block) -> Result<SessionId, Error> {
        self.advance(now);
        let slot = self.core.peers.slot(block.to)?;
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
        let limit = self.core.node.config.limits.export_octets;
        if octets > limit {
            return Err(Error::TooLong { len: octets, limit });
        }
        let Self { core, exports, .. } = self;
        let Core { node, peers } = core;
        if exports.place_of(block.tag).is_ok() {
            return Err(Error::TagInUse(block.tag));
        }
        let peer = peers.get_mut(slot).ok_or(Error::UnknownPeer(block.to))?;
        let is_possible = match peer.config.direction {
            Direction::Both => true,
            Direction::SendOnly => red == 0,
            Direction::ReceiveOnly => false,
        };
        if !is_possible {
            return Err(Error::Direction(block.to));
        }
        if let Some(full) = exports.limit(peer, octets, node) {
            peers.block(slot, octets);
            return Err(full);
        }
        let number = node.draw_number(|number| exports.table.contains(&number));
        let has_hello = red > 0 && node.config.hello && peer.flow.begin_block();
        // Bound: usize has at most 64 bits.
        if peer.flow.is_estimated() && !peer.silence.was_heard() && red > peer.config.segment as u64
        {
            // The answer to what follows may take long.
            node.asked.push(slot);
        }
        let export = ExportSession::new(slot, block, red, has_hello, node);
        exports.insert(number, export, peer);
        node.budget.exports += octets;
        peer.name(node);
        peer.fresh.push_back(number);
        peer.mark_ready(node);
        Ok(node.own_session(number))
    }

    /// Makes the next red segment of a block a checkpoint (RFC 5325 section 3.3).
    ///
    /// # Errors
    ///
    /// No block with this tag is being sent.
    pub fn checkpoint(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        let place = self.exports.place_of(tag)?;
        self.exports.run(place, &mut self.core, |export, cx| {
            export.sending(cx, |sending, _| {
                sending.wants_checkpoint = true;
                Ok(())
            })
        });
        Ok(())
    }

    /// Cancels the transmission of a block (RFC 5326 section 4.2). If none of it was sent, the peer is not told.
    ///
    /// # Errors
    ///
    /// No block with this tag is being sent.
    pub fn cancel(&mut self, now: Instant, tag: Tag) -> Result<(), Error> {
        self.advance(now);
        let place = self.exports.place_of(tag)?;
        self.exports.run(place, &mut self.core, |export, cx| {
            export.fail(EndCause::Application, cx)
        });
        Ok(())
    }
}
