//! Copies of signals, and duplicate repairs while the line is idle.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::time::Duration;

use crate::kit::TimerId;
use crate::ltp::context::{Context, ExportTimer, ImportTimer};
use crate::ltp::export::{Outstanding, Piece, Repair, Sending};
use crate::ltp::import::Reception;
use crate::ltp::output::{Unwritten, Written};
use crate::ltp::peer::{Control, PeerState};
use crate::ltp::report::Issued;
use crate::ltp::wire::{Color, Mark};
use crate::transmit::TransmitBuffer;

/// The repairs of a session that are sent once more while nothing else waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::ltp) struct DuplicateRepairs {
    queue: VecDeque<Duplicate>,
    /// Whether the session is queued for it.
    pub(in crate::ltp) is_queued: bool,
}

/// What was sent again under one checkpoint. It is sent once more in each round until the checkpoint is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Duplicate {
    serial: u64,
    rounds: u8,
    /// The index of the next gap, and the offset within it.
    at: usize,
    from: u64,
}

impl DuplicateRepairs {
    pub(in crate::ltp) const NONE: Self = Self {
        queue: VecDeque::new(),
        is_queued: false,
    };

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        self.queue.capacity() * size_of::<Duplicate>()
    }
}

impl PeerState {
    /// Returns the time between two copies.
    fn pause(&self) -> Duration {
        self.config.redundancy.spacing() / u32::from(self.copies().max(1))
    }

    pub(in crate::ltp) fn is_auto(&self) -> bool {
        self.config.redundancy.adaptive().is_some()
    }
}

impl Context<'_> {
    /// Stores a timer in the place of another one, if there is a place.
    fn replace(&mut self, place: Option<&mut Option<TimerId>>, timer: Option<TimerId>) {
        let unused = match place {
            Some(place) => mem::replace(place, timer),
            None => timer,
        };
        self.stop(unused);
    }
}

// Reports.

impl Issued {
    /// Notes that the report, or a copy of it, was sent. Each one that arrives is acknowledged.
    pub(in crate::ltp) fn on_left(&mut self, cx: &mut Context<'_>) {
        self.latest = cx.departure();
        self.copy = None;
        if cx.peer.is_auto() {
            let now = cx.node.now;
            let until = cx.peer.answer(now).deadline;
            let line = &mut cx.peer.line;
            line.on_report_sent(now, cx.session, self.serial, until);
        }
    }
}

impl Reception {
    /// Notes that a copy of a report was sent, and sends the next of `left` copies. Its timer restarts with its latest
    /// copy, since the answer may be to that.
    pub(in crate::ltp) fn report_copied(
        &mut self,
        (serial, left): (u64, u8),
        cx: &mut Context<'_>,
    ) {
        if let Some(issued) = self.issued(serial) {
            issued.on_left(cx);
            let timer = cx.await_answer(ImportTimer::Report(serial));
            cx.replace(
                Some(&mut issued.timer).filter(|timer| timer.is_some()),
                timer,
            );
        }
        self.copy_report(serial, left - 1, cx);
    }

    pub(in crate::ltp) fn copy_report(&mut self, serial: u64, left: u8, cx: &mut Context<'_>) {
        if left == 0 {
            return;
        }
        let pause = cx.peer.pause();
        if pause.is_zero() {
            self.copy_report_now(serial, left, cx);
            return;
        }
        let at = cx.node.now + pause;
        let timer = cx.start_local(at, ImportTimer::ReportCopy { serial, left });
        let issued = self.issued(serial).map(|issued| &mut issued.copy);
        cx.replace(issued, timer);
    }

    pub(in crate::ltp) fn copy_report_now(&mut self, serial: u64, left: u8, cx: &mut Context<'_>) {
        if let Some(issued) = self.issued(serial) {
            issued.copy = None;
        }
        let (session, left) = (cx.session, Some(left));
        cx.queue(Control::Report {
            session,
            serial,
            left,
        });
    }

    /// Returns how many copies a report gets. Before the end of the red part was received further checkpoints follow, and
    /// their reports start at the first gap and say the same.
    pub(in crate::ltp) fn report_copies(&self, peer: &PeerState) -> u8 {
        if peer.is_auto() && self.red.is_none() {
            0
        } else {
            peer.copies()
        }
    }
}

impl Sending {
    // Checkpoints.

    /// Restarts the timer of a checkpoint with its latest copy.
    pub(in crate::ltp) fn restart_checkpoint_timer(&mut self, serial: u64, cx: &mut Context<'_>) {
        let timer = cx.await_answer(ExportTimer::Checkpoint(serial));
        let known = self.checkpoint_mut(serial).map(|one| &mut one.timer);
        cx.replace(known.filter(|timer| timer.is_some()), timer);
    }

    /// Sends copies of a checkpoint that was sent for the first time, or again. On the first pass of a block there are
    /// none: a later checkpoint asks the same.
    pub(in crate::ltp) fn copy_checkpoint(&mut self, serial: u64, cx: &mut Context<'_>) {
        if cx.peer.is_auto() {
            if self.next < self.red {
                return;
            }
            self.drop_copies(serial, cx);
        }
        let left = cx.peer.copies();
        self.on_copy_sent(serial, left.saturating_add(1), cx);
    }

    /// Sends the next of `left` copies.
    pub(in crate::ltp) fn on_copy_sent(&mut self, serial: u64, left: u8, cx: &mut Context<'_>) {
        let left = left.saturating_sub(1);
        if left == 0 {
            return;
        }
        self.copy_checkpoint_after(cx.peer.pause(), serial, left, cx);
    }

    /// Sends the next of `left` copies after a time.
    pub(in crate::ltp) fn copy_checkpoint_after(
        &mut self,
        pause: Duration,
        serial: u64,
        left: u8,
        cx: &mut Context<'_>,
    ) {
        if pause.is_zero() {
            self.copy_checkpoint_now(serial, left, cx);
            return;
        }
        let timer = cx.start_local(
            cx.node.now + pause,
            ExportTimer::CheckpointCopy { serial, left },
        );
        let known = self.checkpoint_mut(serial).map(|one| &mut one.copy);
        cx.replace(known, timer);
    }

    pub(in crate::ltp) fn copy_checkpoint_now(
        &mut self,
        serial: u64,
        left: u8,
        cx: &mut Context<'_>,
    ) {
        let Some(one) = self.checkpoint_mut(serial) else {
            return;
        };
        one.copy = None;
        if !self.ask_again(serial, cx) {
            let copies = Some(left);
            self.push_repair(Repair::Checkpoint { serial, copies }, cx);
        }
    }

    /// Drops the copies of retransmitted checkpoints that were not sent: the report on a later checkpoint covers the
    /// same. The end of the red part stays, since only it tells the length.
    fn drop_copies(&mut self, but: u64, cx: &mut Context<'_>) {
        let is_old = |one: &&mut Outstanding| one.mark == Mark::None && one.serial < but;
        let mut dropped = Vec::new();
        for one in self.checkpoints.iter_mut().filter(is_old) {
            cx.stop(one.copy.take());
            dropped.push(one.serial);
        }
        if !dropped.is_empty() {
            let is_copy = |repair: &Repair| matches!(repair, Repair::Checkpoint { serial, copies: Some(_) } if dropped.contains(serial));
            self.repair_mut().queue.retain(|repair| !is_copy(repair));
        }
    }

    // Duplicate repairs.

    /// Queues the octets that were sent again under a checkpoint to be sent once more while the line is idle. So is the
    /// end of a first pass whose start was reported on during the pass, since it was sent within a round trip.
    pub(in crate::ltp) fn queue_duplicates_of(&mut self, serial: u64, cx: &mut Context<'_>) {
        let Some(adaptive) = cx.peer.config.redundancy.adaptive() else {
            return;
        };
        let rounds = adaptive.duplicate_repairs.min(cx.peer.copies());
        let reported = self.repair().reported_up_to;
        let checkpoint = self.checkpoint_mut(serial);
        let has_any = checkpoint.is_some_and(|one| one.duplicate(0, reported).is_some());
        if rounds == 0 || !has_any {
            return;
        }
        let duplicates = &mut self.repair_mut().duplicates;
        duplicates.queue.push_back(Duplicate {
            serial,
            rounds,
            at: 0,
            from: 0,
        });
        if !mem::replace(&mut duplicates.is_queued, true) {
            cx.peer.spare.push_back(cx.session.number);
        }
    }

    pub(in crate::ltp) fn send_duplicate(
        &mut self,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Written {
        let frame = self.frame(None, cx);
        let Some(range) = self.next_duplicate() else {
            self.repair_mut().duplicates.is_queued = false;
            cx.peer.spare.pop_front();
            return Ok(());
        };
        let color = Color::Red(None);
        let fit = frame.fit(range.start, color).unwrap_or(range.end);
        let end = range.end.min(range.start.saturating_add(fit));
        let piece = Piece::new(range.start..end, color);
        match self.put_piece(&piece, None, tx, cx) {
            full @ Err(Unwritten::NoRoom) => return full,
            Ok(()) => cx.node.stats.octets_resent += end - range.start,
            Err(Unwritten::Impossible) => {}
        }
        if let Some(duplicate) = self.repair_mut().duplicates.queue.front_mut() {
            duplicate.from = end;
        }
        Ok(())
    }

    /// Returns the next octets to send of those that nobody has claimed.
    fn next_duplicate(&mut self) -> Option<Range<u64>> {
        loop {
            let repair = self.repair();
            let front = repair.duplicates.queue.front()?;
            let checkpoint = self.checkpoint(front.serial);
            let checkpoint = checkpoint.filter(|_| front.rounds > 0);
            let gap = checkpoint.map(|one| one.duplicate(front.at, repair.reported_up_to));
            let left = gap.iter().flatten();
            let left = left.map(|gap| front.from.max(gap.start)..gap.end);
            let mut left = left.filter(|left| !left.is_empty());
            if let Some(next) = left.find_map(|left| repair.claimed.gaps(left).next()) {
                return Some(next);
            }
            let queue = &mut self.repair_mut().duplicates.queue;
            let front = queue.front_mut()?;
            front.from = 0;
            match gap {
                Some(Some(_)) => front.at += 1,
                Some(None) => {
                    front.rounds -= 1;
                    front.at = 0;
                }
                None => {
                    queue.pop_front();
                }
            }
        }
    }
}

impl Outstanding {
    /// Returns the gap of an index among the octets covered by the checkpoint, without its own, which are sent with its
    /// copies. Of a first pass that is what was not `reported` on, if a part of it was.
    fn duplicate(&self, at: usize, reported: u64) -> Option<Range<u64>> {
        let begin = self.range.start;
        let gap = if self.retransmitted.is_empty() {
            let is_end = self.mark != Mark::None && reported > 0 && at == 0;
            is_end.then_some(reported..begin)
        } else {
            let gap = self.retransmitted.get(at)?;
            Some(gap.start..gap.end.min(begin))
        };
        gap.filter(|gap| at > 0 || !gap.is_empty())
    }
}
