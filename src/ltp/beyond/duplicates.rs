//! Copies of signals, and duplicate repairs while the line is idle.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::once;
use core::mem;
use core::ops::Range;
use core::time::Duration;

use crate::ltp::context::{Context, ExportTimer, ImportTimer};
use crate::ltp::export::{Outstanding, Piece, Repair, Sending};
use crate::ltp::import::Reception;
use crate::ltp::output::{Batch, Out, WriteResult};
use crate::ltp::peer::{Control, PeerState};
use crate::ltp::wire::{Color, Mark};

/// The repairs of a session that are sent once more while nothing else waits.
#[derive(Debug)]
pub(in crate::ltp) struct DuplicateRepairs {
    queue: VecDeque<Duplicate>,
    /// Whether the session is queued for it.
    pub(in crate::ltp) is_queued: bool,
}

/// What was sent again under one checkpoint. It is sent once more in each round until the checkpoint is answered.
#[derive(Debug)]
struct Duplicate {
    serial: u64,
    gaps: Vec<Range<u64>>,
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
        let gaps = self.queue.iter().map(|one| one.gaps.capacity());
        self.queue.capacity() * size_of::<Duplicate>()
            + gaps.sum::<usize>() * size_of::<Range<u64>>()
    }
}

impl PeerState {
    /// Returns the time between two copies.
    fn pause(&self) -> Duration {
        self.config.redundancy.spacing() / u32::from(self.copies().max(1))
    }

    fn is_auto(&self) -> bool {
        self.config.redundancy.adaptive().is_some()
    }
}

// Reports.

impl Context<'_> {
    /// Notes that a copy of a report was sent, and sends the next of `left` copies. Its timer restarts with its latest
    /// copy, since the answer may be to that.
    pub(in crate::ltp) fn report_copied(
        &mut self,
        mut reception: Option<&mut Reception>,
        (serial, left): (u64, u8),
    ) {
        self.note_report(reception.as_deref_mut(), serial);
        let timer = self.await_answer(ImportTimer::Report(serial));
        let issued = reception.as_deref_mut().and_then(|one| one.issued(serial));
        let unused = match issued.filter(|issued| issued.timer.is_some()) {
            Some(issued) => mem::replace(&mut issued.timer, timer),
            None => timer,
        };
        self.stop(unused);
        self.copy_report(reception, serial, left - 1);
    }

    /// Notes that a report, or a copy of it, was sent. Each one that arrives is acknowledged.
    pub(in crate::ltp) fn note_report(&mut self, reception: Option<&mut Reception>, serial: u64) {
        let (now, departure) = (self.node.now, self.departure());
        if let Some(issued) = reception.and_then(|one| one.issued(serial)) {
            issued.latest = departure;
            issued.copy = None;
        }
        if self.peer.is_auto() {
            let until = self.peer.answer(now).deadline;
            let (line, session) = (&mut self.peer.line, self.session);
            line.on_report_sent(now, session, serial, until);
        }
    }

    pub(in crate::ltp) fn copy_report(
        &mut self,
        reception: Option<&mut Reception>,
        serial: u64,
        left: u8,
    ) {
        if left == 0 {
            return;
        }
        let pause = self.peer.pause();
        if pause.is_zero() {
            self.copy_report_now(reception, serial, left);
            return;
        }
        let at = self.node.now + pause;
        let timer = self.start_local(at, ImportTimer::ReportCopy { serial, left });
        let unused = match reception.and_then(|one| one.issued(serial)) {
            Some(issued) => mem::replace(&mut issued.copy, timer),
            None => timer,
        };
        self.stop(unused);
    }

    pub(in crate::ltp) fn copy_report_now(
        &mut self,
        reception: Option<&mut Reception>,
        serial: u64,
        left: u8,
    ) {
        if let Some(issued) = reception.and_then(|one| one.issued(serial)) {
            issued.copy = None;
        }
        let (session, left) = (self.session, Some(left));
        self.queue(Control::Report {
            session,
            serial,
            left,
        });
    }
}

impl Reception {
    /// Returns how many copies a report gets. Before the end of the red part was received further checkpoints follow, and
    /// their reports start at the first gap and say the same.
    pub(in crate::ltp) fn report_copies(&self, peer: &PeerState) -> u8 {
        if peer.is_auto() && self.is_open_ended() {
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
        let known = self.checkpoint_mut(serial);
        let unused = match known.filter(|one| one.timer.is_some()) {
            Some(one) => mem::replace(&mut one.timer, timer),
            None => timer,
        };
        cx.stop(unused);
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
        let unused = match self.checkpoint_mut(serial) {
            Some(one) => mem::replace(&mut one.copy, timer),
            None => timer,
        };
        cx.stop(unused);
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
            self.push_repair(Repair::CheckpointCopies { serial, left }, cx);
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
            self.repair_mut().queue.retain(
                |repair| !matches!(repair, Repair::CheckpointCopies { serial, .. } if dropped.contains(serial)),
            );
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
        let gaps = self.duplicate_gaps(serial);
        if rounds == 0 || gaps.is_empty() {
            return;
        }
        let duplicates = &mut self.repair_mut().duplicates;
        duplicates.queue.push_back(Duplicate {
            serial,
            gaps,
            rounds,
            at: 0,
            from: 0,
        });
        if !mem::replace(&mut duplicates.is_queued, true) {
            cx.peer.spare.push_back(cx.session.number);
        }
    }

    /// Returns the octets covered by a checkpoint, without its own, which are sent with its copies.
    fn duplicate_gaps(&self, serial: u64) -> Vec<Range<u64>> {
        let place = self.place_of(serial);
        let Some(one) = place.and_then(|place| self.checkpoints.get(place)) else {
            return Vec::new();
        };
        let begin = one.range.start;
        if !one.retransmitted.is_empty() {
            let gaps = one.retransmitted.iter();
            let before = gaps.map(|gap| gap.start..gap.end.min(begin));
            return before.filter(|gap| !gap.is_empty()).collect();
        }
        let reported = self.repair().reported_up_to;
        if one.mark == Mark::None || reported == 0 || reported >= begin {
            return Vec::new();
        }
        once(reported..begin).collect()
    }

    pub(in crate::ltp) fn send_duplicate(
        &mut self,
        tx: &mut Out<'_>,
        cx: &mut Context<'_>,
    ) -> Batch {
        let frame = self.frame(None, cx);
        let Some(range) = self.next_duplicate() else {
            self.repair_mut().duplicates.is_queued = false;
            cx.peer.spare.pop_front();
            return Batch::HasRoom;
        };
        let color = Color::Red(None);
        let fit = frame.fit(range.start, color).unwrap_or(range.end);
        let end = range.end.min(range.start.saturating_add(fit));
        let piece = Piece {
            range: range.start..end,
            color,
        };
        match self.put_piece(&piece, None, tx, cx) {
            WriteResult::NoRoom => return Batch::Full,
            WriteResult::Written(_) => cx.node.stats.octets_resent += end - range.start,
            WriteResult::Impossible => {}
        }
        if let Some(duplicate) = self.repair_mut().duplicates.queue.front_mut() {
            duplicate.from = end;
        }
        Batch::HasRoom
    }

    /// Returns the next octets to send of those that nobody has claimed.
    fn next_duplicate(&mut self) -> Option<Range<u64>> {
        loop {
            let serial = self.repair().duplicates.queue.front()?.serial;
            let is_open = self.place_of(serial).is_some();
            let repair = self.repair_mut();
            let queue = &mut repair.duplicates.queue;
            let duplicate = queue.front_mut()?;
            if !is_open || duplicate.rounds == 0 {
                queue.pop_front();
            } else if let Some(gap) = duplicate.gaps.get(duplicate.at) {
                let left = duplicate.from.max(gap.start)..gap.end;
                if !left.is_empty()
                    && let Some(next) = repair.claimed.gaps(left).next()
                {
                    return Some(next);
                }
                duplicate.at += 1;
                duplicate.from = 0;
            } else {
                duplicate.rounds -= 1;
                duplicate.at = 0;
                duplicate.from = 0;
            }
        }
    }
}
