//! What is sent, in which order, and the timers that start with it.

mod duplicates;
mod pieces;
mod plain;
mod single_segment;

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::slice;

pub(super) use self::duplicates::DuplicateRepairs;
use self::pieces::{Frame, MANY, Piece};
use super::api::Side;
use super::engine::{Engine, KEEPALIVE, TimerKind};
use super::peer::{Control, PeerState, Role};
use super::receiver::Stage;
use super::sender::{Outstanding, Repair, State};
use super::wire::{
    Body, Checkpoint, Claims, Color, Data, Reason, Report, SessionId, header, header_len,
};
use crate::{Addr, Transmit};

/// The result of writing a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteResult {
    /// The segment was written, with this many octets.
    Written(usize),
    /// The batch has no room.
    NoRoom,
    /// The segment fits no datagram, or there is nothing to write any more.
    Impossible,
}

/// What is sent next. The numbers are those of sessions.
#[derive(Debug, Clone, Copy)]
enum Work {
    Control(Control),
    Repair(u64),
    Fresh(u64),
    DuplicateRepairs(u64),
}

/// Whether the batch has room for a further segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    HasRoom,
    Full,
}

impl<A: Addr> Engine<A> {
    /// Writes one batch for a peer: control segments first, so that no report waits behind a block, then
    /// retransmissions, then first passes.
    pub(super) fn fill(&mut self, slot: u32, tx: &mut Transmit<A>) {
        while let Some(work) = self.next_work(slot) {
            let batch = match work {
                Work::Control(control) => self.send_control(slot, control, tx),
                Work::Fresh(number) => self.send_first_pass(slot, number, tx),
                Work::Repair(number) => self.send_repair(slot, number, tx),
                Work::DuplicateRepairs(number) => self.send_duplicate(slot, number, tx),
            };
            if batch == Batch::Full {
                return;
            }
        }
    }

    #[inline]
    fn next_work(&mut self, slot: u32) -> Option<Work> {
        let peer = self.peer(slot)?;
        if !peer.may_send() || (peer.flow.pacing().is_some() && !self.is_within_rate(slot)) {
            return None;
        }
        let peer = self.peer(slot)?;
        if let Some(control) = peer.control.front() {
            Some(Work::Control(*control))
        } else if let Some(number) = peer.repairs.front() {
            Some(Work::Repair(*number))
        } else if let Some(number) = peer.next_first_pass() {
            Some(Work::Fresh(number))
        } else {
            peer.spare
                .front()
                .map(|number| Work::DuplicateRepairs(*number))
        }
    }

    /// Whether the rate allows the next segment. Otherwise a timer is started.
    fn is_within_rate(&mut self, slot: u32) -> bool {
        let Some(at) = self
            .peer(slot)
            .and_then(|peer| peer.pacer.blocked_until(self.now))
        else {
            return true;
        };
        let pace = self.set_local(slot, at, TimerKind::Pace);
        if let Some(peer) = self.peer_mut(slot) {
            peer.pace = pace;
        }
        false
    }

    // Control segments.

    fn send_control(&mut self, slot: u32, control: Control, tx: &mut Transmit<A>) -> Batch {
        let put = match control {
            Control::ReportAck { session, serial } => {
                self.put_body(slot, session, &Body::ReportAck(serial), tx)
            }
            Control::CancelAck { session, to } => {
                let body = match to {
                    Role::Sender => Body::CancelAckToSender,
                    Role::Receiver => Body::CancelAckToReceiver,
                };
                self.put_body(slot, session, &body, tx)
            }
            Control::Report { session, serial }
            | Control::ReportCopy {
                session, serial, ..
            } => self.put_report(slot, session, serial, tx),
            Control::Final {
                session,
                serial,
                checkpoint,
                red,
            } => {
                let all = 0..red;
                let body = Body::Report(Report {
                    serial,
                    checkpoint,
                    scope: (0..red).into(),
                    claims: Claims::new(slice::from_ref(&all)),
                });
                self.put_body(slot, session, &body, tx)
            }
            Control::Ping => self.put_ping(slot, tx),
            Control::KeepAlive => self.put_keepalive(slot, tx),
            Control::Cancel { session, by } | Control::CancelCopy { session, by, .. } => {
                self.put_cancel(slot, session, by, tx)
            }
        };
        if put == WriteResult::NoRoom {
            return Batch::Full;
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.control.pop_front();
        }
        let len = match put {
            WriteResult::Written(len) => len,
            WriteResult::NoRoom | WriteResult::Impossible => 0,
        };
        self.on_control_sent(slot, control, len);
        Batch::HasRoom
    }

    fn put_report(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
        tx: &mut Transmit<A>,
    ) -> WriteResult {
        let Some(import) = self.imports.get_mut(&session) else {
            return WriteResult::Impossible;
        };
        let reception = match &import.stage {
            Stage::Receiving(reception) => reception,
            Stage::Single(single) => {
                let told = single.report;
                if told.serial != serial {
                    return WriteResult::Impossible;
                }
                return told.with_body(|body| self.put_body(slot, session, body, tx));
            }
            Stage::Cancelling(_) => return WriteResult::Impossible,
        };
        let Some(body) = reception.report_body(serial) else {
            return WriteResult::Impossible;
        };
        let peer = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.peers.get_mut(slot));
        let Some(peer) = peer.and_then(Option::as_deref_mut) else {
            return WriteResult::Impossible;
        };
        let put = put(peer, session, 8, body.len(), tx, |out| {
            out.extend_from_slice(body);
        });
        self.count(slot, put)
    }

    fn put_cancel(
        &mut self,
        slot: u32,
        session: SessionId,
        by: Role,
        tx: &mut Transmit<A>,
    ) -> WriteResult {
        let body = match by {
            Role::Sender => match self
                .exports
                .get(&session.number)
                .map(|export| &export.state)
            {
                Some(State::Cancelling(cancel)) => Body::CancelBySender(cancel.reason),
                Some(State::Sending(_) | State::Single(_)) | None => {
                    return WriteResult::Impossible;
                }
            },
            Role::Receiver => match self.imports.get(&session).map(|import| &import.stage) {
                Some(Stage::Cancelling(cancel)) => Body::CancelByReceiver(cancel.reason),
                Some(Stage::Receiving(_) | Stage::Single(_)) | None => {
                    return WriteResult::Impossible;
                }
            },
        };
        self.put_body(slot, session, &body, tx)
    }

    fn put_ping(&mut self, slot: u32, tx: &mut Transmit<A>) -> WriteResult {
        let ping = self.peer(slot).and_then(|peer| peer.ping.as_ref());
        let Some(number) = ping.map(|ping| ping.number) else {
            return WriteResult::Impossible;
        };
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        self.put_body(slot, session, &Body::CancelBySender(Reason::USER), tx)
    }

    fn put_keepalive(&mut self, slot: u32, tx: &mut Transmit<A>) -> WriteResult {
        let Some(to) = self.peer(slot).map(|peer| peer.config.address) else {
            return WriteResult::Impossible;
        };
        let is_written = tx.push(to, KEEPALIVE.len(), |out| out.extend_from_slice(&KEEPALIVE));
        written(is_written, KEEPALIVE.len(), tx)
    }

    fn put_body(
        &mut self,
        slot: u32,
        session: SessionId,
        body: &Body<'_>,
        tx: &mut Transmit<A>,
    ) -> WriteResult {
        let Some(peer) = self.peer_mut(slot) else {
            return WriteResult::Impossible;
        };
        let put = put_body(peer, session, body, tx);
        self.count(slot, put)
    }

    /// Counts what was written in the statistics and for the rate.
    fn count(&mut self, slot: u32, put: WriteResult) -> WriteResult {
        let now = self.now;
        match put {
            WriteResult::Written(len) => {
                self.stats.segments_sent += 1;
                if let Some(peer) = self.peer_mut(slot) {
                    peer.pacer.on_sent(now, len);
                }
            }
            WriteResult::Impossible => self.stats.oversize += 1,
            WriteResult::NoRoom => {}
        }
        put
    }

    // Retransmissions.

    fn send_repair(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Batch {
        let Some((_, sending)) = self.sending(number) else {
            self.leave_repairs(slot, number);
            return Batch::HasRoom;
        };
        match sending.repairs.front() {
            None => {
                sending.is_repairing = false;
                self.leave_repairs(slot, number);
                self.first_pass_done.push(number);
                Batch::HasRoom
            }
            Some(Repair::Retransmission(retransmission))
                if retransmission.gaps.get(retransmission.at).is_none() =>
            {
                sending.repairs.pop_front();
                Batch::HasRoom
            }
            Some(Repair::Retransmission(_)) => self.send_retransmission(slot, number, tx),
            Some(&Repair::CheckpointRetry(serial)) => {
                self.resend_checkpoint(slot, number, serial, None, tx)
            }
            Some(&Repair::CheckpointCopies { serial, left }) => {
                self.resend_checkpoint(slot, number, serial, Some(left), tx)
            }
        }
    }

    fn leave_repairs(&mut self, slot: u32, number: u64) {
        if let Some(peer) = self.peer_mut(slot)
            && peer.repairs.front() == Some(&number)
        {
            peer.repairs.pop_front();
        }
    }

    fn send_retransmission(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Batch {
        let Some(frame) = self.frame(slot, number) else {
            return Batch::Full;
        };
        let Some((_, sending)) = self.sending(number) else {
            return Batch::HasRoom;
        };
        let serial = sending.serial;
        let (red, len) = (sending.red, sending.len);
        let claimed = &sending.claimed;
        let Some(Repair::Retransmission(retransmission)) = sending.repairs.front_mut() else {
            return Batch::HasRoom;
        };
        if retransmission.is_untouched() {
            // Reports that came in the meantime may have claimed some of it.
            retransmission.gaps = retransmission
                .gaps
                .iter()
                .flat_map(|gap| claimed.gaps(gap.clone()))
                .collect();
            let Some(first) = retransmission.gaps.first() else {
                return Batch::HasRoom;
            };
            retransmission.from = first.start;
        }
        let Some(piece) = retransmission.next_piece(frame, serial, (red, len)) else {
            self.fail(number, Side::Local, Reason::SYSTEM);
            return Batch::HasRoom;
        };
        match self.put_piece(slot, number, frame, &piece, tx) {
            WriteResult::NoRoom => Batch::Full,
            WriteResult::Impossible => {
                self.fail(number, Side::Local, Reason::SYSTEM);
                Batch::HasRoom
            }
            WriteResult::Written(octets) => {
                self.stats.octets_resent += piece.range.end - piece.range.start;
                self.on_retransmission_sent(slot, number, &piece, octets);
                Batch::HasRoom
            }
        }
    }

    fn on_retransmission_sent(&mut self, slot: u32, number: u64, piece: &Piece, octets: usize) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let Some(Repair::Retransmission(retransmission)) = sending.repairs.front_mut() else {
            return;
        };
        retransmission.advance(piece.range.end);
        if let Color::Red(Some(checkpoint)) = piece.color {
            let (cycle, gaps) = (retransmission.cycle, mem::take(&mut retransmission.gaps));
            sending.repairs.pop_front();
            let range = piece.range.clone();
            self.on_checkpoint_sent(slot, number, (checkpoint, range), cycle, gaps, octets);
        }
    }

    /// Writes a checkpoint again, equal octet for octet (RFC 5326 section 3.2.1).
    fn resend_checkpoint(
        &mut self,
        slot: u32,
        number: u64,
        serial: u64,
        copies: Option<u8>,
        tx: &mut Transmit<A>,
    ) -> Batch {
        let frame = self.frame(slot, number);
        let now = self.now;
        let Some((_, sending)) = self.sending(number) else {
            return Batch::HasRoom;
        };
        let checkpoint = sending.checkpoints.iter().find(|one| one.serial == serial);
        let (Some(frame), Some(checkpoint)) = (frame, checkpoint) else {
            sending.repairs.pop_front();
            return Batch::HasRoom;
        };
        let piece = checkpoint.piece();
        let put = self.put_piece(slot, number, frame, &piece, tx);
        let len = match put {
            WriteResult::NoRoom => return Batch::Full,
            WriteResult::Written(len) => len,
            WriteResult::Impossible => 0,
        };
        if let Some((_, sending)) = self.sending(number) {
            sending.repairs.pop_front();
            sending.on_checkpoint_resent(serial, now);
            if let Some(left) = copies {
                self.restart_checkpoint_timer(slot, number, serial, len);
                self.on_copy_sent(slot, number, serial, left);
            } else {
                self.stats.checkpoints_resent += 1;
                self.time_checkpoint(slot, number, serial, len);
                self.copy_checkpoint(slot, number, serial);
            }
        }
        Batch::HasRoom
    }

    // First passes.

    fn send_first_pass(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Batch {
        if self.must_wait(slot, number) {
            return Batch::HasRoom;
        }
        if let Some(batch) = self.send_single(slot, number, tx) {
            return batch;
        }
        if let Some(batch) = self.send_plain(slot, number, tx) {
            return batch;
        }
        let frame = self.frame(slot, number);
        let is_due = frame.is_some_and(|frame| self.is_checkpoint_due(slot, number, frame));
        let (Some((_, sending)), Some(frame)) = (self.sending(number), frame) else {
            self.leave_first_passes(slot);
            return Batch::HasRoom;
        };
        let piece = sending.next_piece(frame, is_due);
        let Some(piece) = piece else {
            self.fail(number, Side::Local, Reason::SYSTEM);
            return Batch::HasRoom;
        };
        let put = self.put_piece(slot, number, frame, &piece, tx);
        match put {
            WriteResult::NoRoom => Batch::Full,
            WriteResult::Impossible => {
                self.fail(number, Side::Local, Reason::SYSTEM);
                Batch::HasRoom
            }
            WriteResult::Written(len) => {
                self.on_first_pass_sent(slot, number, &piece, len);
                Batch::HasRoom
            }
        }
    }

    /// Whether the next segment of a first pass must be a checkpoint, wherever it ends.
    fn is_checkpoint_due(&self, slot: u32, number: u64, frame: Frame) -> bool {
        let (Some(peer), Some(export)) = (self.peer(slot), self.exports.get(&number)) else {
            return false;
        };
        let State::Sending(sending) = &export.state else {
            return false;
        };
        let every = peer.config.checkpoint_every;
        let window = peer.checkpoint_due(sending);
        sending.wants_checkpoint
            || peer.is_last_of_contact(self.now)
            || every.is_some_and(|every| sending.unchecked + 1 >= every.get())
            || window.is_some_and(|due| frame.reaches(sending.next, due))
    }

    fn leave_first_passes(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.fresh.pop_front();
        }
    }

    fn on_first_pass_sent(&mut self, slot: u32, number: u64, piece: &Piece, len: usize) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.next = piece.range.end;
        sending.unchecked = sending.unchecked.saturating_add(1);
        let is_over = sending.next == sending.len;
        let counts = sending.counts_in_flight();
        if let (Color::Red(_), true) = (piece.color, counts) {
            self.add_in_flight(slot, piece.range.end - piece.range.start);
        }
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        if let Color::Red(Some(checkpoint)) = piece.color {
            sending.unchecked = 0;
            sending.checked = piece.range.end;
            sending.wants_checkpoint = false;
            let range = piece.range.clone();
            self.on_checkpoint_sent(slot, number, (checkpoint, range), 0, Vec::new(), len);
        }
        if is_over {
            self.leave_first_passes(slot);
            self.first_pass_done.push(number);
        }
    }

    // Checkpoints.

    fn on_checkpoint_sent(
        &mut self,
        slot: u32,
        number: u64,
        (checkpoint, range): (Checkpoint, Range<u64>),
        cycle: u32,
        retransmitted: Vec<Range<u64>>,
        len: usize,
    ) {
        let now = self.now;
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.serial = checkpoint.serial.saturating_add(1);
        sending.checkpoints.push(Outstanding {
            serial: checkpoint.serial,
            report: checkpoint.report,
            range,
            mark: checkpoint.mark,
            cycle,
            tries: 0,
            timer: None,
            copy: None,
            first: now,
            latest: now,
            len,
            retransmitted,
        });
        self.queue_duplicates_of(slot, number, checkpoint.serial);
        self.time_checkpoint(slot, number, checkpoint.serial, len);
        self.copy_checkpoint(slot, number, checkpoint.serial);
    }

    /// Starts the timer of a checkpoint that was sent (RFC 5326 section 6.2).
    fn time_checkpoint(&mut self, slot: u32, number: u64, serial: u64, len: usize) {
        let Some(due) = self.peer(slot).map(|peer| peer.answer(self.now, len)) else {
            return;
        };
        let timer = self.set(slot, due, TimerKind::Checkpoint { number, serial });
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        if let Some(checkpoint) = sending
            .checkpoints
            .iter_mut()
            .rfind(|one| one.serial == serial)
        {
            checkpoint.tries = checkpoint.tries.saturating_add(1);
            checkpoint.timer = timer;
        }
    }

    // Writing.

    /// Returns the limits of a data segment of a session.
    fn frame(&mut self, slot: u32, number: u64) -> Option<Frame> {
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let peer = self.peer(slot)?;
        let head = header_len(session) + peer.keys.overhead();
        let room = peer.config.segment.min(self.datagram).saturating_sub(head);
        let is_copied = peer.config.redundancy.adaptive().is_some() && peer.copies() > 1;
        let (_, sending) = self.sending(number)?;
        let is_long = usize::try_from(sending.red).is_ok_and(|red| red / MANY > room);
        Some(Frame {
            session,
            client: sending.client,
            room,
            is_small: is_copied && is_long,
        })
    }

    fn put_piece(
        &mut self,
        slot: u32,
        number: u64,
        frame: Frame,
        piece: &Piece,
        tx: &mut Transmit<A>,
    ) -> WriteResult {
        let Some(export) = self.exports.get(&number) else {
            return WriteResult::Impossible;
        };
        let State::Sending(sending) = &export.state else {
            return WriteResult::Impossible;
        };
        let Some(octets) = sending.octets(&piece.range) else {
            return WriteResult::Impossible;
        };
        let body = Body::Data(Data {
            client: frame.client,
            offset: piece.range.start,
            color: piece.color,
            octets,
        });
        let peer = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.peers.get_mut(slot));
        let Some(peer) = peer.and_then(Option::as_deref_mut) else {
            return WriteResult::Impossible;
        };
        let put = put_body(peer, frame.session, &body, tx);
        self.count(slot, put)
    }
}

/// Writes one segment into the batch. Without authentication the header is copied in one move.
#[inline]
fn put_body<A: Addr>(
    peer: &PeerState<A>,
    session: SessionId,
    body: &Body<'_>,
    tx: &mut Transmit<A>,
) -> WriteResult {
    let mut head = header(body.code(), session, 0);
    let behind = match peer.keys.overhead() {
        0 => body.put_fields(&mut head),
        _ => None,
    };
    let Some(behind) = behind else {
        return put(peer, session, body.code(), body.wire_len(), tx, |out| {
            body.encode(out);
        });
    };
    let len = head.octets().len() + behind.len();
    let is_written = tx.push(peer.config.address, len, |out| {
        head.put(out);
        out.extend_from_slice(behind);
    });
    written(is_written, len, tx)
}

fn written<A: Addr>(is_written: bool, len: usize, tx: &Transmit<A>) -> WriteResult {
    match is_written {
        true => WriteResult::Written(len),
        false if tx.is_empty() => WriteResult::Impossible,
        false => WriteResult::NoRoom,
    }
}

/// Writes one segment into the batch.
fn put<A: Addr>(
    peer: &PeerState<A>,
    session: SessionId,
    code: u8,
    len: usize,
    tx: &mut Transmit<A>,
    write: impl FnOnce(&mut Vec<u8>),
) -> WriteResult {
    let keys = &peer.keys;
    let whole = header_len(session) + keys.overhead() + len;
    let is_written = tx.push(peer.config.address, whole, |out| {
        let start = out.len();
        header(code, session, keys.counts()).put(out);
        keys.put_header(out);
        write(out);
        keys.put_trailer(out, start);
    });
    written(is_written, whole, tx)
}
