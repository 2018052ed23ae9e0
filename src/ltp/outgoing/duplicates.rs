//! Copies of signals, and duplicate repairs while the line is idle.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::once;
use core::mem;
use core::ops::Range;
use core::time::Duration;

use super::{Batch, Piece, WriteResult};
use crate::kit::TimerId;
use crate::ltp::engine::{Engine, TimerKind};
use crate::ltp::peer::{Control, PeerState, Role};
use crate::ltp::sender::{Repair, Sending};
use crate::ltp::wire::{Color, Mark, SessionId};
use crate::{Addr, Instant, Transmit};

/// The repairs of a session that are sent once more while nothing else waits.
#[derive(Debug, Default)]
pub(in crate::ltp) struct DuplicateRepairs {
    queue: VecDeque<Duplicate>,
    /// Whether the session is queued for it.
    pub(in crate::ltp) is_queued: bool,
}

impl DuplicateRepairs {
    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let gaps: usize = self
            .queue
            .iter()
            .map(|queue_duplicates_of| queue_duplicates_of.gaps.capacity())
            .sum();
        self.queue.capacity() * size_of::<Duplicate>() + gaps * size_of::<Range<u64>>()
    }
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

impl<A: Addr> Engine<A> {
    // Control segments.

    /// Starts the timers of a control segment that was sent, or that fits no datagram and counts as lost (the cue of RFC
    /// 5326 sections 6.3 and 6.15).
    pub(super) fn on_control_sent(&mut self, slot: u32, control: Control, len: usize) {
        match control {
            Control::Report { session, serial } => {
                if self.single_report_sent(slot, session, serial, len) {
                    return;
                }
                if self.on_report_sent(slot, session, serial, len) {
                    let left = self.report_copies(slot, session);
                    self.copy_report(slot, session, serial, left);
                }
            }
            Control::ReportCopy {
                session,
                serial,
                left,
            } => {
                self.on_report_segment_sent(slot, session, serial);
                self.restart_report_timer(slot, session, serial, len);
                self.copy_report(slot, session, serial, left - 1);
            }
            Control::Cancel { session, by } => {
                match by {
                    Role::Sender => self.on_export_cancel_sent(slot, session.number, len),
                    Role::Receiver => self.on_import_cancel_sent(slot, session, len),
                }
                let left = self.peer(slot).map_or(0, PeerState::copies);
                self.copy_cancel(slot, session, by, left);
            }
            Control::CancelCopy { session, by, left } => {
                self.copy_cancel(slot, session, by, left - 1);
            }
            Control::Ping => self.on_ping_sent(slot, len),
            Control::ReportAck { .. }
            | Control::CancelAck { .. }
            | Control::Final { .. }
            | Control::KeepAlive => {}
        }
    }

    fn copy_cancel(&mut self, slot: u32, session: SessionId, by: Role, left: u8) {
        if left > 0 {
            self.queue(slot, Control::CancelCopy { session, by, left });
        }
    }

    /// Returns how many copies a report gets. Before the end of the red part was received further checkpoints follow, and
    /// their reports start at the first gap and say the same.
    fn report_copies(&mut self, slot: u32, session: SessionId) -> u8 {
        let Some(peer) = self.peer(slot) else {
            return 0;
        };
        let (copies, is_auto) = (peer.copies(), peer.config.redundancy.adaptive().is_some());
        let append_predicted = self
            .reception(session)
            .is_none_or(|reception| reception.is_open_ended());
        if is_auto && append_predicted {
            0
        } else {
            copies
        }
    }

    fn copy_report(&mut self, slot: u32, session: SessionId, serial: u64, left: u8) {
        if left == 0 {
            return;
        }
        let pause = self.pause(slot);
        if pause.is_zero() {
            self.copy_report_now(slot, session, serial, left);
            return;
        }
        let what = TimerKind::ReportCopy {
            session,
            serial,
            left,
        };
        let timer = self.set_local(slot, self.now + pause, what);
        let unused = match self.reception(session) {
            Some(reception) => reception.reports.set_copy_timer(serial, timer),
            None => timer,
        };
        self.stop(unused);
    }

    pub(in crate::ltp) fn copy_report_now(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
        left: u8,
    ) {
        if let Some(reception) = self.reception(session) {
            reception.reports.set_copy_timer(serial, None);
        }
        let copy = Control::ReportCopy {
            session,
            serial,
            left,
        };
        self.queue(slot, copy);
    }

    /// Notes that a report, or a copy of it, was sent. Each one that arrives is acknowledged.
    pub(in crate::ltp) fn on_report_segment_sent(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
    ) {
        let now = self.now;
        if let Some(reception) = self.reception(session) {
            reception.reports.on_copy_sent(serial, now);
        }
        if let Some(peer) = self.peer_mut(slot)
            && peer.config.redundancy.adaptive().is_some()
        {
            let until = peer.answer(now, 0).deadline;
            peer.line.on_report_sent(now, session, serial, until);
        }
    }

    /// Restarts the timer of a report with its latest copy, since the answer may be to that.
    fn restart_report_timer(&mut self, slot: u32, session: SessionId, serial: u64, len: usize) {
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, len)) else {
            return;
        };
        let timer = self.set(slot, due, TimerKind::Report { session, serial });
        let unused = match self.reception(session) {
            Some(reception) => reception.reports.replace_timer(serial, timer),
            None => timer,
        };
        self.stop(unused);
    }

    /// Restarts the timer of a checkpoint with its latest copy.
    pub(super) fn restart_checkpoint_timer(
        &mut self,
        slot: u32,
        number: u64,
        serial: u64,
        len: usize,
    ) {
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, len)) else {
            return;
        };
        let timer = self.set(slot, due, TimerKind::Checkpoint { number, serial });
        let unused = match self.sending(number) {
            Some((_, sending)) => sending.replace_timer(serial, timer),
            None => timer,
        };
        self.stop(unused);
    }

    /// Returns the time between two copies.
    fn pause(&self, slot: u32) -> Duration {
        let Some(peer) = self.peer(slot) else {
            return Duration::ZERO;
        };
        peer.config.redundancy.spacing() / u32::from(peer.copies().max(1))
    }

    // Checkpoints.

    /// Sends copies of a checkpoint that was sent for the first time, or again. On the first pass of a block there are
    /// none: a later checkpoint asks the same.
    pub(super) fn copy_checkpoint(&mut self, slot: u32, number: u64, serial: u64) {
        let Some(peer) = self.peer(slot) else {
            return;
        };
        let (left, is_auto) = (peer.copies(), peer.config.redundancy.adaptive().is_some());
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        if is_auto && sending.next < sending.red {
            return;
        }
        if is_auto {
            for timer in sending.drop_copies(serial) {
                self.stop(Some(timer));
            }
        }
        self.on_copy_sent(slot, number, serial, left.saturating_add(1));
    }

    /// Sends the next of `left` copies.
    pub(super) fn on_copy_sent(&mut self, slot: u32, number: u64, serial: u64, left: u8) {
        let left = left.saturating_sub(1);
        if left == 0 {
            return;
        }
        let pause = self.pause(slot);
        if pause.is_zero() {
            self.copy_checkpoint_now(number, serial, left);
            return;
        }
        let what = TimerKind::CheckpointCopy {
            number,
            serial,
            left,
        };
        let timer = self.set_local(slot, self.now + pause, what);
        let unused = match self.sending(number) {
            Some((_, sending)) => sending.set_copy_timer(serial, timer),
            None => timer,
        };
        self.stop(unused);
    }

    pub(in crate::ltp) fn copy_checkpoint_now(&mut self, number: u64, serial: u64, left: u8) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.set_copy_timer(serial, None);
        sending
            .repairs
            .push_back(Repair::CheckpointCopies { serial, left });
        self.queue_repairs(number);
    }

    // Duplicate repairs.

    /// Queues the octets that were sent again under a checkpoint to be sent once more while the line is idle. So is the
    /// end of a first pass whose start was reported on during the pass, since it was sent within a round trip.
    pub(super) fn queue_duplicates_of(&mut self, slot: u32, number: u64, serial: u64) {
        let Some(peer) = self.peer(slot) else {
            return;
        };
        let most = peer
            .config
            .redundancy
            .adaptive()
            .map_or(0, |adaptive| adaptive.duplicate_repairs);
        let rounds = most.min(peer.copies());
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let gaps = sending.duplicate_gaps(serial);
        if rounds == 0 || gaps.is_empty() {
            return;
        }
        sending.spare.queue.push_back(Duplicate {
            serial,
            gaps,
            rounds,
            at: 0,
            from: 0,
        });
        if !mem::replace(&mut sending.spare.is_queued, true)
            && let Some(peer) = self.peer_mut(slot)
        {
            peer.spare.push_back(number);
        }
    }

    pub(super) fn send_duplicate(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Batch {
        let frame = self.frame(slot, number);
        let (Some((_, sending)), Some(frame)) = (self.sending(number), frame) else {
            self.leave_duplicates(slot);
            return Batch::HasRoom;
        };
        let Some(range) = sending.next_duplicate() else {
            sending.spare.is_queued = false;
            self.leave_duplicates(slot);
            return Batch::HasRoom;
        };
        let color = Color::Red(None);
        let fit = frame.fit(range.start, color).unwrap_or(range.end);
        let end = range.end.min(range.start.saturating_add(fit));
        let piece = Piece {
            range: range.start..end,
            color,
        };
        match self.put_piece(slot, number, frame, &piece, tx) {
            WriteResult::NoRoom => return Batch::Full,
            WriteResult::Written(_) => self.stats.octets_resent += end - range.start,
            WriteResult::Impossible => {}
        }
        if let Some((_, sending)) = self.sending(number)
            && let Some(queue_duplicates_of) = sending.spare.queue.front_mut()
        {
            queue_duplicates_of.from = end;
        }
        Batch::HasRoom
    }

    fn leave_duplicates(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.spare.pop_front();
        }
    }
}

impl Sending {
    /// Notes that a checkpoint was sent again.
    pub(super) fn on_checkpoint_resent(&mut self, serial: u64, now: Instant) {
        if let Some(one) = self.checkpoints.iter_mut().find(|one| one.serial == serial) {
            one.latest = now;
        }
    }

    /// Replaces the timer of a checkpoint, and returns the one to stop.
    fn replace_timer(&mut self, serial: u64, timer: Option<TimerId>) -> Option<TimerId> {
        let known = self.checkpoints.iter_mut().find(|one| one.serial == serial);
        match known.filter(|one| one.timer.is_some()) {
            Some(one) => mem::replace(&mut one.timer, timer),
            None => timer,
        }
    }

    /// Replaces the timer of the next copy, and returns the one to stop.
    fn set_copy_timer(&mut self, serial: u64, timer: Option<TimerId>) -> Option<TimerId> {
        match self.checkpoints.iter_mut().find(|one| one.serial == serial) {
            Some(one) => mem::replace(&mut one.copy, timer),
            None => timer,
        }
    }

    /// Drops the copies of retransmitted checkpoints that were not sent: the report on a later checkpoint covers the
    /// same. The end of the red part stays, since only it tells the length. Returns timers to stop.
    fn drop_copies(&mut self, but: u64) -> Vec<TimerId> {
        let mut timers = Vec::new();
        let mut dropped = Vec::new();
        let old = self.checkpoints.iter_mut();
        for one in old.filter(|one| one.mark == Mark::None && one.serial < but) {
            timers.extend(one.copy.take());
            dropped.push(one.serial);
        }
        self.repairs.retain(
            |repair| !matches!(repair, Repair::CheckpointCopies { serial, .. } if dropped.contains(serial)),
        );
        timers
    }

    /// Returns the octets covered by a checkpoint, without its own, which are sent with its copies.
    fn duplicate_gaps(&self, serial: u64) -> Vec<Range<u64>> {
        let Some(one) = self.checkpoints.iter().rfind(|one| one.serial == serial) else {
            return Vec::new();
        };
        let begin = one.range.start;
        if !one.retransmitted.is_empty() {
            let before = one
                .retransmitted
                .iter()
                .map(|gap| gap.start..gap.end.min(begin));
            return before.filter(|gap| !gap.is_empty()).collect();
        }
        let reported = self.reported();
        if one.mark == Mark::None || reported == 0 || reported >= begin {
            return Vec::new();
        }
        once(reported..begin).collect()
    }

    /// Returns the next octets to send of those that nobody has claimed.
    fn next_duplicate(&mut self) -> Option<Range<u64>> {
        while let Some(queue_duplicates_of) = self.spare.queue.front_mut() {
            let is_open = self
                .checkpoints
                .iter()
                .any(|one| one.serial == queue_duplicates_of.serial);
            if !is_open || queue_duplicates_of.rounds == 0 {
                self.spare.queue.pop_front();
            } else if let Some(gap) = queue_duplicates_of.gaps.get(queue_duplicates_of.at) {
                let left = queue_duplicates_of.from.max(gap.start)..gap.end;
                if !left.is_empty()
                    && let Some(next) = self.claimed.gaps(left).next()
                {
                    return Some(next);
                }
                queue_duplicates_of.at += 1;
                queue_duplicates_of.from = 0;
            } else {
                queue_duplicates_of.rounds -= 1;
                queue_duplicates_of.at = 0;
                queue_duplicates_of.from = 0;
            }
        }
        None
    }
}
