//! What a session sends next, and the timers that start with it.

use core::mem;
use core::ops::Range;

use super::pieces::{Frame, MANY, Piece};
use super::{ExportSession, Outstanding, Repair, Retransmission, Sending};
use crate::ltp::beyond::{HELLO_INTERVAL, Hello};
use crate::ltp::context::{Context, ExportTimer, Step};
use crate::ltp::end_cause::EndCause;
use crate::ltp::output::{Unwritten, Written};
use crate::ltp::peer::Queue;
use crate::ltp::wire::{Body, Checkpoint, Color, Data};
use crate::transmit::TransmitBuffer;

impl ExportSession {
    /// Writes the next segment that a queue of the peer asks for, or several of a first pass. `None` if there is no
    /// block to send any more.
    #[inline]
    pub(in crate::ltp) fn write(
        &mut self,
        queue: Queue,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> (Option<Written>, Step) {
        let Some(sending) = self.stage.open_mut() else {
            return (None, Step::Continues);
        };
        let written = match queue {
            Queue::FirstPasses => sending.send_first_pass(tx, cx),
            Queue::Repairs => sending.send_repair(tx, cx),
            Queue::Duplicates => sending.send_duplicate(tx, cx),
        };
        let step = match written {
            Err(Unwritten::Impossible) => self.fail(EndCause::NoRoomInDatagram, cx),
            Err(Unwritten::NoRoom) | Ok(()) => Step::Continues,
        };
        (Some(written), step)
    }
}

impl Sending {
    // Retransmissions.

    fn send_repair(&mut self, tx: &mut TransmitBuffer, cx: &mut Context<'_>) -> Written {
        let repair = self.repair_mut();
        match repair.queue.front() {
            None => {
                repair.is_queued = false;
                cx.peer.repairs.pop_front();
                cx.node.first_pass_done.push(cx.session.number);
                Ok(())
            }
            Some(Repair::Retransmission(run)) if run.gaps.is_empty() => {
                repair.queue.pop_front();
                Ok(())
            }
            Some(Repair::Retransmission(_)) => self.send_retransmission(tx, cx),
            Some(&Repair::Checkpoint { serial, copies }) => {
                self.resend_checkpoint(serial, copies, tx, cx)
            }
        }
    }

    fn send_retransmission(&mut self, tx: &mut TransmitBuffer, cx: &mut Context<'_>) -> Written {
        let frame = self.frame(None, cx);
        let (serial, red, len) = (self.serial, self.red, self.len());
        let repair = self.repair_mut();
        let claimed = &repair.claimed;
        let Some(Repair::Retransmission(run)) = repair.queue.front_mut() else {
            return Ok(());
        };
        if run.sent.is_empty() {
            // Reports that came in the meantime may have claimed some of it.
            let gaps = run.gaps.iter();
            run.gaps = gaps.flat_map(|gap| claimed.gaps(gap.clone())).collect();
            if run.gaps.is_empty() {
                return Ok(());
            }
        }
        let piece = run.next_piece(frame, serial, (red, len));
        let piece = piece.ok_or(Unwritten::Impossible)?;
        if !run.is_repeated {
            run.since.get_or_insert(cx.node.now);
        }
        if cx.must_space(&piece) {
            return Ok(());
        }
        self.put_piece(&piece, None, tx, cx)?;
        cx.node.stats.octets_resent += piece.range.end - piece.range.start;
        let repair = self.repair_mut();
        repair.history.note_resent(piece.range.clone());
        if let Some(Repair::Retransmission(run)) = repair.queue.front_mut() {
            run.advance(piece.range.clone());
            if let Color::Red(Some(checkpoint)) = piece.color {
                let run = mem::take(run);
                repair.queue.pop_front();
                self.on_checkpoint_sent((checkpoint, piece.range), run, cx);
            }
        }
        Ok(())
    }

    /// Writes a checkpoint again, equal octet for octet (RFC 5326 section 3.2.1).
    fn resend_checkpoint(
        &mut self,
        serial: u64,
        copies: Option<u8>,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Written {
        let Some(piece) = self.checkpoint(serial).map(Outstanding::piece) else {
            self.repair_mut().queue.pop_front();
            return Ok(());
        };
        let fit = self.frame(None, cx).fit(piece.range.start, piece.color);
        if fit.is_none_or(|fit| fit < piece.range.end - piece.range.start) {
            self.cut_anew(serial, cx);
            return Ok(());
        }
        let put = self.put_piece(&piece, None, tx, cx);
        if put == Err(Unwritten::NoRoom) {
            return put;
        }
        self.repair_mut().queue.pop_front();
        if let Some(checkpoint) = self.checkpoint_mut(serial) {
            checkpoint.latest = cx.departure();
            if checkpoint.first < cx.node.now {
                // A copy that leaves at once finds the same receiver.
                self.repair_mut().history.note_resent(piece.range);
            }
        }
        if let Some(left) = copies {
            self.restart_checkpoint_timer(serial, cx);
            self.on_copy_sent(serial, left, cx);
            return Ok(());
        }
        cx.node.stats.checkpoints_resent += 1;
        if let Some(checkpoint) = self.checkpoint_mut(serial) {
            checkpoint.tries = checkpoint.tries.saturating_add(1);
            let due = cx.peer.answer_of(checkpoint.tries, cx.node.now);
            checkpoint.timer = cx.start(due, ExportTimer::Checkpoint(serial));
        }
        self.begin_copies(serial, cx);
        Ok(())
    }

    /// Sees to the copies of a checkpoint that was sent for the first time or because its timer expired.
    fn begin_copies(&mut self, serial: u64, cx: &mut Context<'_>) {
        let checkpoint = self.checkpoint(serial);
        match checkpoint.and_then(|checkpoint| self.flow_copy(checkpoint, cx)) {
            Some(pause) => self.copy_checkpoint_after(pause, serial, 1, cx),
            None => self.copy_checkpoint(serial, cx),
        }
    }

    /// Sends the octets of a checkpoint that is too long for a segment of today in shorter ones. The last of them asks
    /// for the same report under another serial number.
    fn cut_anew(&mut self, serial: u64, cx: &mut Context<'_>) {
        let Some(place) = self.place_of(serial) else {
            return;
        };
        let checkpoint = self.checkpoints.remove(place);
        cx.stop(checkpoint.timers());
        let queue = &mut self.repair_mut().queue;
        queue.pop_front();
        let cited = (checkpoint.lower, checkpoint.report);
        let run = Retransmission::new(cited, checkpoint.cycle, [checkpoint.range]);
        queue.push_front(Repair::Retransmission(run));
    }

    // First passes.

    fn send_first_pass(&mut self, tx: &mut TransmitBuffer, cx: &mut Context<'_>) -> Written {
        if self.must_wait(cx) {
            return Ok(());
        }
        let hello = self.hello(cx);
        let frame = self.frame(hello, cx);
        // Segments with extensions are written one by one, and so is what one holds. Bound: usize has at most 64 bits.
        let is_long = self.red.saturating_sub(self.next) > frame.room as u64;
        let is_row = is_long && hello.is_none() && cx.peer.keys.overhead() == 0;
        if is_row && let Some(written) = self.send_rows(frame, tx, cx) {
            return written;
        }
        let is_due = self.is_checkpoint_due(frame, cx);
        let piece = self.next_piece(frame, is_due);
        let piece = piece.ok_or(Unwritten::Impossible)?;
        if self.next > 0 && cx.must_space(&piece) {
            return Ok(());
        }
        self.put_piece(&piece, hello, tx, cx)?;
        if hello.is_some() {
            cx.peer.flow.on_hello_sent(cx.node.now);
        }
        self.on_first_pass_sent(piece, cx);
        Ok(())
    }

    /// Whether the next segment of the first pass must be a checkpoint, wherever it ends.
    fn is_checkpoint_due(&self, frame: Frame, cx: &Context<'_>) -> bool {
        let every = cx.peer.checkpoint_every();
        let window = cx.peer.checkpoint_due(self);
        cx.peer.must_check(self.wants_checkpoint, cx.node.now)
            || every.is_some_and(|every| self.unchecked + 1 >= every.get())
            || window.is_some_and(|due| frame.reaches(self.next, due))
    }

    fn on_first_pass_sent(&mut self, piece: Piece, cx: &mut Context<'_>) {
        self.begin_first_part(cx);
        if let Some(repair) = &mut self.repair {
            repair.flow.on_segments(1, HELLO_INTERVAL);
        }
        self.next = piece.range.end;
        self.unchecked = self.unchecked.saturating_add(1);
        if matches!(piece.color, Color::Red(_)) && self.counts_in_flight() {
            cx.peer.in_flight.octets += piece.range.end - piece.range.start;
        }
        if let Color::Red(Some(checkpoint)) = piece.color {
            self.unchecked = 0;
            self.wants_checkpoint = false;
            let run = Retransmission {
                since: self.repair().flow.part,
                ..Retransmission::default()
            };
            if self.next < self.red {
                let repair = self.repair_mut();
                repair.checked = piece.range.end;
                repair.flow.part = Some(cx.node.now);
            }
            self.on_checkpoint_sent((checkpoint, piece.range), run, cx);
        }
        cx.peer.begun = Some(cx.session.number);
        if self.next == self.len() {
            cx.peer.fresh.pop_front();
            if self.has_more_to_do() {
                cx.node.first_pass_done.push(cx.session.number);
            }
        }
    }

    /// Starts the timer of a checkpoint that was sent for the first time (RFC 5326 section 6.2).
    fn on_checkpoint_sent(
        &mut self,
        (checkpoint, range): (Checkpoint, Range<u64>),
        run: Retransmission,
        cx: &mut Context<'_>,
    ) {
        let serial = checkpoint.serial;
        self.serial = serial.saturating_add(1);
        if self.next < self.red {
            self.repair_mut().flow.has_early_checkpoint = true;
        }
        let (repair, left) = (self.repair(), cx.departure());
        let before = if run.sent.is_empty() { 0 } else { repair.tries };
        let outstanding = Outstanding {
            serial,
            report: checkpoint.report,
            range,
            mark: checkpoint.mark,
            cycle: run.cycle,
            tries: before.saturating_add(1),
            timer: cx.await_answer(ExportTimer::Checkpoint(serial)),
            copy: None,
            first: left,
            latest: left,
            after: repair.history.highest(),
            claimed: repair.claimed.len(),
            retransmitted: run.sent,
            lower: run.lower,
            since: run.since,
            asks_again: run.asks_again,
            is_behind_lost: false,
        };
        self.checkpoints.push(outstanding);
        self.queue_duplicates_of(serial, cx);
        self.begin_copies(serial, cx);
    }

    // Writing.

    /// Returns the limits of a data segment.
    pub(in crate::ltp) fn frame(&self, hello: Option<Hello>, cx: &Context<'_>) -> Frame {
        let room = cx.segment_room(hello);
        let is_copied = cx.peer.is_auto() && cx.peer.copies() > 1;
        let is_long = || usize::try_from(self.red).is_ok_and(|red| red / MANY > room);
        Frame {
            client: self.client,
            room,
            is_small: is_copied && is_long(),
        }
    }

    #[inline]
    pub(in crate::ltp) fn put_piece(
        &self,
        piece: &Piece,
        hello: Option<Hello>,
        tx: &mut TransmitBuffer,
        cx: &mut Context<'_>,
    ) -> Written {
        let octets = self.octets(&piece.range).ok_or(Unwritten::Impossible)?;
        let body = Body::Data(Data {
            client: self.client,
            offset: piece.range.start,
            color: piece.color,
            octets,
        });
        cx.put_body(&body, hello, tx)
    }
}
