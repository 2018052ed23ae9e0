//! Report segments on one checkpoint, gathered, and what their answer is; and what a block teaches the flow.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter::once;
use core::mem;
use core::ops::Range;
use core::time::Duration;

use super::{Continued, Outcome, Outstanding, Repair, RepairState, Retransmission, Sending};
use crate::kit::RangeSet;
use crate::ltp::beyond::{BlockFlow, Hello, Repairs, ReportRound, Round};
use crate::ltp::context::{Context, ExportTimer, Node};
use crate::ltp::end_cause::{EndCause, Limit};
use crate::ltp::peer::MANY_REPORTS;
use crate::ltp::wire::Report;

/// An answer that comes so long after the light times has waited behind octets in a queue.
const LATE: Duration = Duration::from_secs(1);
/// Octets of a red part that the queue of a slow line may not take at once.
const MANY_IN_QUEUE: u64 = 1 << 16;
/// The number of parts in which much is sent again, so that reports tell early whether the rate is right.
const MAX_PARTS: u64 = 16;

impl Sending {
    /// Returns the same block, to be sent from its start, without checkpoints before its end.
    pub(super) fn again(self, node: &mut Node) -> Self {
        let first_serial = node.first_serial();
        Self {
            next: 0,
            first_serial,
            serial: first_serial,
            unchecked: 0,
            wants_checkpoint: false,
            checkpoints: smallvec::SmallVec::new(),
            repair: Some(Box::new(RepairState {
                flow: BlockFlow {
                    is_second: true,
                    ..BlockFlow::NONE
                },
                ..RepairState::NONE
            })),
            ..self
        }
    }

    // Sending.

    /// Returns what the next segment of the first pass says about this engine, if it does.
    #[inline]
    pub(super) fn hello(&self, cx: &Context<'_>) -> Option<Hello> {
        let is_due = self.repair().flow.hello == Some(0) && self.next < self.red;
        (is_due && cx.peer.flow.has_hello()).then_some(cx.node.hello)
    }

    /// Notes when the first segment leaves, if that may teach the flow something.
    pub(super) fn begin_first_part(&mut self, cx: &Context<'_>) {
        // A block of one segment tells nothing about losses.
        let is_long = || self.red > cx.peer.config.segment as u64;
        if self.next == 0 && cx.peer.flow.is_estimated() && is_long() {
            let flow = &mut self.repair_mut().flow;
            flow.started = Some(cx.node.now);
            flow.part = flow.started;
        }
    }

    /// Returns after which time a checkpoint is sent once more if no answer has come: that of the end and the first two
    /// retransmissions of a long block, and of any on a line that is known to lose segments. ION counts it
    /// only where gaps are left, and allows more of them the longer a block is. A near engine of this crate gets one of the
    /// end after twice the round trip: its window may overflow the queue of a slow line.
    pub(super) fn flow_copy(&self, checkpoint: &Outstanding, cx: &Context<'_>) -> Option<Duration> {
        if !cx.peer.flow.is_estimated() || !cx.peer.is_plain() {
            return None;
        }
        let cycle = checkpoint.cycle;
        let is_last = self.next >= self.red;
        let is_wanted = (cycle > 0 && cx.peer.flow.is_lossy())
            || (cycle <= 2 && is_last && self.red >= MANY_REPORTS);
        if let Some(pause) = cx.peer.flow.end_copy()
            && cycle == 0
            && is_last
            && self.red >= MANY_IN_QUEUE
        {
            return Some(pause);
        }
        (is_wanted && !checkpoint.asks_again).then(|| cx.peer.flow.gathering_time())
    }

    /// Asks once more, under another serial number, what a checkpoint behind a retransmission has asked. HDTN ignores a
    /// copy of it, so its lost report would cost a timeout there. False if a copy is sent.
    pub(in crate::ltp) fn ask_again(&mut self, serial: u64, cx: &mut Context<'_>) -> bool {
        let is_automatic = cx.peer.flow.is_estimated() && cx.peer.is_plain();
        let asked = self.checkpoint(serial);
        let Some(asked) = asked.filter(|one| one.cycle > 0 && is_automatic) else {
            return false;
        };
        let (cited, gaps) = ((asked.lower, asked.report), [asked.range.clone()]);
        let run = Retransmission {
            is_repeated: true,
            asks_again: true,
            ..Retransmission::new(cited, asked.cycle, gaps)
        };
        self.push_repair(Repair::Retransmission(run), cx);
        true
    }

    // Reports.

    /// Adds a report to those on the same checkpoint, and answers them if they are all, or once their rest is late. The
    /// second that claims nothing is answered when the checkpoint would have been repeated: a receiver without room has some then.
    pub(super) fn gather(
        &mut self,
        (checkpoint, told): (u64, (u64, Range<u64>)),
        answered: Option<Outstanding>,
        (reported_up_to, is_useless): (u64, bool),
        cx: &mut Context<'_>,
    ) -> Continued {
        let delay = if is_useless && self.repair().tries > 1 {
            cx.peer.timeout()
        } else {
            cx.peer.config.timers.repair_delay
        };
        let has_gaps = !self.repair().claimed.covers(&told.1);
        let begun = match answered {
            Some(answered) => Some(Self::round_of(answered, reported_up_to, cx)),
            None => has_gaps.then(|| ReportRound::new((checkpoint, 1), told.1.clone(), None)),
        };
        let is_adaptive = cx.peer.is_auto();
        let is_parallel = cx.peer.repairs() == Repairs::Parallel;
        let RepairState { flow, claimed, .. } = self.repair_mut();
        let round = flow.gather(checkpoint, told, begun, |round| {
            // Where the next checkpoint asks about the same, no part is waited for, or none before the last.
            is_adaptive || (is_parallel && round.reaches_end()) || round.is_complete(claimed)
        });
        if let Some(round) = round {
            if has_gaps && !delay.is_zero() {
                flow.rounds.push(round);
            } else {
                self.close_round(round, cx)?;
            }
        }
        let continued = self.answer_held(cx);
        self.await_rest(delay, cx);
        continued
    }

    /// Starts the timer of reports whose rest is awaited. A delay given by hand is not prolonged.
    fn await_rest(&mut self, delay: Duration, cx: &mut Context<'_>) {
        let repair = self.repair_mut();
        let is_timed = repair.delay.is_some();
        if repair.flow.rounds.is_empty() || (is_timed && !delay.is_zero()) {
            return;
        }
        cx.stop(repair.delay.take());
        let wait = if delay.is_zero() {
            cx.peer.flow.gathering_time()
        } else {
            delay
        };
        repair.delay = cx.start_local(cx.node.now + wait, ExportTimer::Repair);
    }

    /// Answers what has come of reports whose rest is late.
    pub(super) fn repair_due(&mut self, cx: &mut Context<'_>) -> Continued {
        let repair = self.repair_mut();
        repair.delay = None;
        let mut rounds = mem::take(&mut repair.flow.rounds);
        rounds.sort_by_key(|round| round.checkpoint);
        for round in rounds {
            self.close_round(round, cx)?;
        }
        self.check_progress(cx)
    }

    /// Returns the round that the first report on a checkpoint begins.
    fn round_of(checkpoint: Outstanding, reported_up_to: u64, cx: &Context<'_>) -> ReportRound {
        let (lower, ranges) = if checkpoint.is_of_first_pass() {
            let part = reported_up_to..checkpoint.range.start;
            (reported_up_to, once(part).collect())
        } else {
            (checkpoint.lower, checkpoint.retransmitted)
        };
        let light = cx.peer.config.timers.owlt_out + cx.peer.config.timers.owlt_in;
        let is_busy = cx.node.now - checkpoint.latest > light + LATE;
        let (first, latest) = (checkpoint.first, checkpoint.latest);
        let is_timed = cx.peer.flow.is_timed(cx.node.now, first, latest);
        let part = checkpoint.since.map(|since| Round {
            since,
            sent: 0,
            delivered: 0,
            busy: is_busy.then(|| (cx.node.now - since).saturating_sub(light)),
            is_delayed: cx.peer.flow.is_delayed(cx.node.now, latest),
            is_timed: is_timed && !(checkpoint.is_behind_lost && cx.peer.window.is_some()),
        });
        let asked = lower..checkpoint.range.end;
        let name = (checkpoint.serial, checkpoint.cycle + 1);
        ReportRound::new(name, asked, part.map(|part| (part, ranges)))
    }

    /// Learns from a round of reports, and answers it.
    fn close_round(&mut self, round: ReportRound, cx: &mut Context<'_>) -> Continued {
        learn_round(&round, &self.repair().claimed, cx);
        self.drop_answered_checkpoints(round.checkpoint, |range| round.tells(range), cx);
        self.answer_gaps(round, cx)
    }

    /// Answers what was held back for a retransmission that is over.
    fn answer_held(&mut self, cx: &mut Context<'_>) -> Continued {
        let flow = &self.repair().flow;
        let is_waiting = flow.held.is_none() || !flow.rounds.is_empty() || self.is_retransmitting();
        let repair = self.repair.as_mut().filter(|_| !is_waiting);
        match repair.and_then(|repair| repair.flow.held.take()) {
            Some(held) => self.answer_gaps(*held, cx),
            None => Ok(()),
        }
    }

    /// Whether a retransmission is queued, or was not reported on.
    fn is_retransmitting(&self) -> bool {
        let mut checkpoints = self.checkpoints.iter();
        self.repair().queue.iter().any(Repair::is_retransmission)
            || checkpoints.any(|one| one.cycle > 0 && !one.asks_again)
    }

    /// Queues exactly the missing octets: ION drops a segment that overlaps what it has. While a retransmission is under
    /// way, and only one may be, they join it if its checkpoint has not left, and wait for its report otherwise.
    fn answer_gaps(&mut self, round: ReportRound, cx: &mut Context<'_>) -> Continued {
        let is_serial = cx.peer.repairs() == Repairs::OneByOne && self.next >= self.red;
        let must_wait = is_serial && self.is_retransmitting();
        let told = Some(round.checkpoint).filter(|told| *told < self.serial);
        let under_repair = self.under_repair(told.unwrap_or(0));
        let is_adaptive = cx.peer.is_auto();
        let repair = self.repair_mut();
        let (cited, missing) = if is_adaptive {
            (round.lowest, round.unclaimed(&repair.claimed))
        } else {
            let cited = round.cited(repair.lowest, &repair.claimed);
            (cited, round.missing(&repair.claimed))
        };
        let missing = missing.into_iter();
        let gaps: Vec<Range<u64>> = missing.flat_map(|gap| under_repair.gaps(gap)).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        if must_wait {
            let queued = repair.queue.iter_mut().find(|one| one.is_retransmission());
            match queued {
                Some(Repair::Retransmission(run)) if !run.is_repeated => {
                    run.add(cited, round.cycle, gaps);
                }
                _ => repair.flow.hold(round),
            }
            return Ok(());
        }
        repair.problems += 1;
        self.queue_retransmission(cited, round.cycle, gaps, cx);
        let problems = self.repair().problems;
        let limit = cx.peer.config.limits.problems;
        if problems > limit {
            return Err(Outcome::Failed(EndCause::over(Limit::Problems, limit)));
        }
        let limit = cx.peer.config.limits.cycles;
        if round.cycle > limit {
            return Err(Outcome::Failed(EndCause::over(Limit::Cycles, limit)));
        }
        self.queue_repairs(cx);
        Ok(())
    }

    /// Queues a retransmission of gaps, or several after each other where early reports on it tell whether the rate is
    /// right.
    fn queue_retransmission(
        &mut self,
        cited: (u64, u64),
        cycle: u32,
        gaps: Vec<Range<u64>>,
        cx: &Context<'_>,
    ) {
        let octets: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
        let copies = usize::try_from(cx.peer.repair_copies(octets)).unwrap_or(1);
        let each = cx.peer.flow.repair_interval().filter(|_| copies == 1);
        let each = each.map_or(u64::MAX, |each| each.max(octets.div_ceil(MAX_PARTS)));
        let queue = &mut self.repair_mut().queue;
        // Copies follow what was not sent once.
        let is_copy = |repair: &Repair| matches!(repair, Repair::Checkpoint { copies, .. } if copies.is_some());
        let place = queue.iter().position(is_copy);
        let mut place = place.unwrap_or(queue.len());
        let len = gaps.len() * copies;
        let (mut gaps, mut rest) = (gaps.into_iter().cycle().take(len), None);
        loop {
            let part = next_part(&mut gaps, &mut rest, each);
            if part.is_empty() {
                return;
            }
            let run = Retransmission {
                is_repeated: copies > 1,
                ..Retransmission::new(cited, cycle, part)
            };
            queue.insert(place, Repair::Retransmission(run));
            place += 1;
        }
    }

    // Learning.

    /// Learns from the report on a checkpoint that claims everything.
    pub(super) fn learn_last_round(
        &mut self,
        checkpoint: u64,
        report: &Report<'_>,
        cx: &mut Context<'_>,
    ) {
        if self.repair.is_none() {
            // There was one round, which tells the time alone.
            let red = self.red.min(MANY_IN_QUEUE);
            if let Some(answered) = self.checkpoint_mut(checkpoint) {
                answered.learn_answer(cx);
                cx.peer.flow.on_passed(red, cx.node.now - answered.first);
            }
        } else if let Some(answered) = self.answer_checkpoint(checkpoint, cx) {
            let reported_up_to = self.repair().reported_up_to;
            if answered.is_of_first_pass() {
                let passed = self.red.saturating_sub(reported_up_to).min(MANY_IN_QUEUE);
                cx.peer.flow.on_passed(passed, cx.node.now - answered.first);
            }
            let mut round = Self::round_of(answered, reported_up_to, cx);
            round.add(report.serial, report.scope.into());
            let mut all = RangeSet::new();
            all.insert(0..self.red);
            learn_round(&round, &all, cx);
        }
    }

    /// Learns from the success of the block.
    pub(super) fn learn_success(&self, cx: &mut Context<'_>) {
        let now = cx.node.now;
        if let Some(started) = self.repair().flow.started
            && cx.peer.flow.on_complete(now, started, self.red)
        {
            cx.peer.apply_flow();
        }
    }
}

fn learn_round(round: &ReportRound, claimed: &RangeSet, cx: &mut Context<'_>) {
    if let Some(outcome) = round.outcome(claimed)
        && cx.peer.flow.on_round(cx.node.now, &outcome)
    {
        cx.peer.apply_flow();
    }
}

/// Takes up to `each` octets from the front of gaps. The rest of one that is cut is kept.
fn next_part(
    gaps: &mut impl Iterator<Item = Range<u64>>,
    rest: &mut Option<Range<u64>>,
    each: u64,
) -> Vec<Range<u64>> {
    let (mut part, mut left) = (Vec::new(), each);
    while left > 0
        && let Some(gap) = rest.take().or_else(|| gaps.next())
    {
        let end = gap.end.min(gap.start.saturating_add(left));
        left -= end - gap.start;
        *rest = Some(end..gap.end).filter(|rest| !rest.is_empty());
        part.push(gap.start..end);
    }
    part
}
