//! What leaves, in which order, and the timers that start with it.

mod brief;
mod copies;
mod pieces;
mod plain;

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::slice;

pub(super) use self::copies::Spare;
use self::pieces::{Frame, MANY, Piece};
use super::api::Side;
use super::engine::{Engine, KEEPALIVE, What};
use super::receiver::Stage;
use super::sender::{Outstanding, Repair, State};
use super::span::{Control, Role, Span};
use super::wire::{
    Body, Checkpoint, Claims, Color, Data, Reason, Report, SessionId, header, header_len,
};
use crate::{Addr, Transmit};

/// What became of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    /// So many octets left.
    Written(usize),
    /// The batch is full.
    Later,
    /// No datagram can hold it, or there is nothing to write any more.
    Never,
}

/// What leaves next; the numbers are those of sessions.
#[derive(Debug, Clone, Copy)]
enum Work {
    Control(Control),
    Repair(u64),
    Fresh(u64),
    Spare(u64),
}

/// Whether to go on filling the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Full,
}

impl<A: Addr> Engine<A> {
    /// Writes one batch for a peer: control first, so that no report waits behind a block, then repairs,
    /// then first passes.
    pub(super) fn fill(&mut self, slot: u32, tx: &mut Transmit<A>) {
        while let Some(work) = self.next_work(slot) {
            let turn = match work {
                Work::Control(control) => self.send_control(slot, control, tx),
                Work::Fresh(number) => self.send_fresh(slot, number, tx),
                Work::Repair(number) => self.send_repair(slot, number, tx),
                Work::Spare(number) => self.send_spare(slot, number, tx),
            };
            if turn == Turn::Full {
                return;
            }
        }
    }

    #[inline]
    fn next_work(&mut self, slot: u32) -> Option<Work> {
        let span = self.span(slot)?;
        if !span.may_send() || (span.config.rate.is_some() && !self.may_pace(slot)) {
            return None;
        }
        let span = self.span(slot)?;
        if let Some(control) = span.control.front() {
            Some(Work::Control(*control))
        } else if let Some(number) = span.repairs.front() {
            Some(Work::Repair(*number))
        } else if let Some(number) = span.fresh_next() {
            Some(Work::Fresh(number))
        } else {
            span.spare.front().map(|number| Work::Spare(*number))
        }
    }

    /// Whether the rate lets the next segment go; else a timer tells when.
    fn may_pace(&mut self, slot: u32) -> bool {
        let Some(at) = self
            .span(slot)
            .and_then(|span| span.pacer.blocked_until(self.now))
        else {
            return true;
        };
        let pace = self.set_local(slot, at, What::Pace);
        if let Some(span) = self.span_mut(slot) {
            span.pace = pace;
        }
        false
    }

    // Control.

    fn send_control(&mut self, slot: u32, control: Control, tx: &mut Transmit<A>) -> Turn {
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
        if put == Put::Later {
            return Turn::Full;
        }
        if let Some(span) = self.span_mut(slot) {
            span.control.pop_front();
        }
        let len = match put {
            Put::Written(len) => len,
            Put::Later | Put::Never => 0,
        };
        self.control_left(slot, control, len);
        Turn::More
    }

    fn put_report(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
        tx: &mut Transmit<A>,
    ) -> Put {
        let Some(import) = self.imports.get_mut(&session) else {
            return Put::Never;
        };
        let reception = match &import.stage {
            Stage::Receiving(reception) => reception,
            Stage::Brief(brief) => {
                let told = brief.told;
                if told.serial != serial {
                    return Put::Never;
                }
                return told.with_body(|body| self.put_body(slot, session, body, tx));
            }
            Stage::Cancelling(_) => return Put::Never,
        };
        let Some(body) = reception.report_body(serial) else {
            return Put::Never;
        };
        let span = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.spans.get_mut(slot));
        let Some(span) = span.and_then(Option::as_deref_mut) else {
            return Put::Never;
        };
        let put = put(span, session, 8, body.len(), tx, |out| {
            out.extend_from_slice(body);
        });
        self.count(slot, put)
    }

    fn put_cancel(&mut self, slot: u32, session: SessionId, by: Role, tx: &mut Transmit<A>) -> Put {
        let body = match by {
            Role::Sender => match self
                .exports
                .get(&session.number)
                .map(|export| &export.state)
            {
                Some(State::Cancelling(cancel)) => Body::CancelBySender(cancel.reason),
                Some(State::Sending(_) | State::Brief(_)) | None => return Put::Never,
            },
            Role::Receiver => match self.imports.get(&session).map(|import| &import.stage) {
                Some(Stage::Cancelling(cancel)) => Body::CancelByReceiver(cancel.reason),
                Some(Stage::Receiving(_) | Stage::Brief(_)) | None => return Put::Never,
            },
        };
        self.put_body(slot, session, &body, tx)
    }

    fn put_ping(&mut self, slot: u32, tx: &mut Transmit<A>) -> Put {
        let ping = self.span(slot).and_then(|span| span.ping.as_ref());
        let Some(number) = ping.map(|ping| ping.number) else {
            return Put::Never;
        };
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        self.put_body(slot, session, &Body::CancelBySender(Reason::USER), tx)
    }

    fn put_keepalive(&mut self, slot: u32, tx: &mut Transmit<A>) -> Put {
        let Some(to) = self.span(slot).map(|span| span.config.address) else {
            return Put::Never;
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
    ) -> Put {
        let Some(span) = self.span_mut(slot) else {
            return Put::Never;
        };
        let put = put_body(span, session, body, tx);
        self.count(slot, put)
    }

    /// Accounts for what was written, to the statistics and to the rate.
    fn count(&mut self, slot: u32, put: Put) -> Put {
        let now = self.now;
        match put {
            Put::Written(len) => {
                self.stats.segments_sent += 1;
                if let Some(span) = self.span_mut(slot) {
                    span.pacer.on_sent(now, len);
                }
            }
            Put::Never => self.stats.oversize += 1,
            Put::Later => {}
        }
        put
    }

    // Repairs.

    fn send_repair(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Turn {
        let Some((_, sending)) = self.sending(number) else {
            self.leave_line(slot, number);
            return Turn::More;
        };
        match sending.repairs.front() {
            None => {
                sending.is_repairing = false;
                self.leave_line(slot, number);
                self.departed.push(number);
                Turn::More
            }
            Some(Repair::Run(run)) if run.gaps.get(run.at).is_none() => {
                sending.repairs.pop_front();
                Turn::More
            }
            Some(Repair::Run(_)) => self.send_run(slot, number, tx),
            Some(&Repair::Again(serial)) => self.send_again(slot, number, serial, None, tx),
            Some(&Repair::Copies { serial, left }) => {
                self.send_again(slot, number, serial, Some(left), tx)
            }
        }
    }

    fn leave_line(&mut self, slot: u32, number: u64) {
        if let Some(span) = self.span_mut(slot)
            && span.repairs.front() == Some(&number)
        {
            span.repairs.pop_front();
        }
    }

    fn send_run(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Turn {
        let Some(frame) = self.frame(slot, number) else {
            return Turn::Full;
        };
        let Some((_, sending)) = self.sending(number) else {
            return Turn::More;
        };
        let serial = sending.serial;
        let (red, len) = (sending.red, sending.len);
        let claimed = &sending.claimed;
        let Some(Repair::Run(run)) = sending.repairs.front_mut() else {
            return Turn::More;
        };
        if run.is_untouched() {
            // Reports that came in the meantime may have claimed some of it.
            run.gaps = run
                .gaps
                .iter()
                .flat_map(|gap| claimed.gaps(gap.clone()))
                .collect();
            let Some(first) = run.gaps.first() else {
                return Turn::More;
            };
            run.from = first.start;
        }
        let Some(piece) = run.next_piece(frame, serial, (red, len)) else {
            self.fail(number, Side::Local, Reason::SYSTEM);
            return Turn::More;
        };
        match self.put_piece(slot, number, frame, &piece, tx) {
            Put::Later => Turn::Full,
            Put::Never => {
                self.fail(number, Side::Local, Reason::SYSTEM);
                Turn::More
            }
            Put::Written(octets) => {
                self.stats.octets_resent += piece.range.end - piece.range.start;
                self.run_went_on(slot, number, &piece, octets);
                Turn::More
            }
        }
    }

    fn run_went_on(&mut self, slot: u32, number: u64, piece: &Piece, octets: usize) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        let Some(Repair::Run(run)) = sending.repairs.front_mut() else {
            return;
        };
        run.advance(piece.range.end);
        if let Color::Red(Some(checkpoint)) = piece.color {
            let (cycle, gaps) = (run.cycle, mem::take(&mut run.gaps));
            sending.repairs.pop_front();
            let range = piece.range.clone();
            self.checkpoint_left(slot, number, (checkpoint, range), cycle, gaps, octets);
        }
    }

    /// Writes a checkpoint that was written before, octet for octet (RFC 5326 section 3.2.1).
    fn send_again(
        &mut self,
        slot: u32,
        number: u64,
        serial: u64,
        copies: Option<u8>,
        tx: &mut Transmit<A>,
    ) -> Turn {
        let frame = self.frame(slot, number);
        let now = self.now;
        let Some((_, sending)) = self.sending(number) else {
            return Turn::More;
        };
        let checkpoint = sending.checkpoints.iter().find(|one| one.serial == serial);
        let (Some(frame), Some(checkpoint)) = (frame, checkpoint) else {
            sending.repairs.pop_front();
            return Turn::More;
        };
        let piece = checkpoint.piece();
        let put = self.put_piece(slot, number, frame, &piece, tx);
        let len = match put {
            Put::Later => return Turn::Full,
            Put::Written(len) => len,
            Put::Never => 0,
        };
        if let Some((_, sending)) = self.sending(number) {
            sending.repairs.pop_front();
            sending.left_again(serial, now);
            if let Some(left) = copies {
                self.put_off_checkpoint(slot, number, serial, len);
                self.copy_left(slot, number, serial, left);
            } else {
                self.stats.checkpoints_resent += 1;
                self.time_checkpoint(slot, number, serial, len);
                self.copy_checkpoint(slot, number, serial);
            }
        }
        Turn::More
    }

    // First passes.

    fn send_fresh(&mut self, slot: u32, number: u64, tx: &mut Transmit<A>) -> Turn {
        if self.must_wait(slot, number) {
            return Turn::More;
        }
        if let Some(turn) = self.send_brief(slot, number, tx) {
            return turn;
        }
        if let Some(turn) = self.send_plain(slot, number, tx) {
            return turn;
        }
        let frame = self.frame(slot, number);
        let is_due = frame.is_some_and(|frame| self.is_checkpoint_due(slot, number, frame));
        let (Some((_, sending)), Some(frame)) = (self.sending(number), frame) else {
            self.leave_fresh(slot);
            return Turn::More;
        };
        let piece = sending.next_piece(frame, is_due);
        let Some(piece) = piece else {
            self.fail(number, Side::Local, Reason::SYSTEM);
            return Turn::More;
        };
        let put = self.put_piece(slot, number, frame, &piece, tx);
        match put {
            Put::Later => Turn::Full,
            Put::Never => {
                self.fail(number, Side::Local, Reason::SYSTEM);
                Turn::More
            }
            Put::Written(len) => {
                self.fresh_left(slot, number, &piece, len);
                Turn::More
            }
        }
    }

    /// Whether the next segment of a first pass is to be a checkpoint, wherever it ends.
    fn is_checkpoint_due(&self, slot: u32, number: u64, frame: Frame) -> bool {
        let (Some(span), Some(export)) = (self.span(slot), self.exports.get(&number)) else {
            return false;
        };
        let State::Sending(sending) = &export.state else {
            return false;
        };
        let every = span.config.checkpoint_every;
        let window = span.checkpoint_due(sending);
        sending.wants_checkpoint
            || span.is_last_of_contact(self.now)
            || every.is_some_and(|every| sending.unchecked + 1 >= every.get())
            || window.is_some_and(|due| frame.reaches(sending.next, due))
    }

    fn leave_fresh(&mut self, slot: u32) {
        if let Some(span) = self.span_mut(slot) {
            span.fresh.pop_front();
        }
    }

    fn fresh_left(&mut self, slot: u32, number: u64, piece: &Piece, len: usize) {
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        sending.next = piece.range.end;
        sending.unchecked = sending.unchecked.saturating_add(1);
        let is_over = sending.next == sending.len;
        let counts = sending.counts_in_flight();
        if let (Color::Red(_), true) = (piece.color, counts) {
            self.took_off(slot, piece.range.end - piece.range.start);
        }
        let Some((_, sending)) = self.sending(number) else {
            return;
        };
        if let Color::Red(Some(checkpoint)) = piece.color {
            sending.unchecked = 0;
            sending.checked = piece.range.end;
            sending.wants_checkpoint = false;
            let range = piece.range.clone();
            self.checkpoint_left(slot, number, (checkpoint, range), 0, Vec::new(), len);
        }
        if is_over {
            self.leave_fresh(slot);
            self.departed.push(number);
        }
    }

    // Checkpoints.

    fn checkpoint_left(
        &mut self,
        slot: u32,
        number: u64,
        (checkpoint, range): (Checkpoint, Range<u64>),
        cycle: u32,
        run: Vec<Range<u64>>,
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
            run,
        });
        self.echo(slot, number, checkpoint.serial);
        self.time_checkpoint(slot, number, checkpoint.serial, len);
        self.copy_checkpoint(slot, number, checkpoint.serial);
    }

    /// P2, RFC 5326 section 6.2.
    fn time_checkpoint(&mut self, slot: u32, number: u64, serial: u64, len: usize) {
        let Some(due) = self.span(slot).map(|span| span.answer(self.now, len)) else {
            return;
        };
        let timer = self.set(slot, due, What::Checkpoint { number, serial });
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

    /// What a data segment of a session may be.
    fn frame(&mut self, slot: u32, number: u64) -> Option<Frame> {
        let session = SessionId {
            originator: self.config.engine,
            number,
        };
        let span = self.span(slot)?;
        let head = header_len(session) + span.keys.overhead();
        let room = span.config.segment.min(self.datagram).saturating_sub(head);
        let is_copied = span.config.copies.auto().is_some() && span.copies() > 1;
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
    ) -> Put {
        let Some(export) = self.exports.get(&number) else {
            return Put::Never;
        };
        let State::Sending(sending) = &export.state else {
            return Put::Never;
        };
        let Some(octets) = sending.octets(&piece.range) else {
            return Put::Never;
        };
        let body = Body::Data(Data {
            client: frame.client,
            offset: piece.range.start,
            color: piece.color,
            octets,
        });
        let span = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.spans.get_mut(slot));
        let Some(span) = span.and_then(Option::as_deref_mut) else {
            return Put::Never;
        };
        let put = put_body(span, frame.session, &body, tx);
        self.count(slot, put)
    }
}

/// Writes one segment into the batch, all but its data in one move if nothing has to be signed.
#[inline]
fn put_body<A: Addr>(
    span: &Span<A>,
    session: SessionId,
    body: &Body<'_>,
    tx: &mut Transmit<A>,
) -> Put {
    let mut head = header(body.code(), session, 0);
    let behind = match span.keys.overhead() {
        0 => body.put_fields(&mut head),
        _ => None,
    };
    let Some(behind) = behind else {
        return put(span, session, body.code(), body.wire_len(), tx, |out| {
            body.encode(out);
        });
    };
    let len = head.octets().len() + behind.len();
    let is_written = tx.push(span.config.address, len, |out| {
        head.put(out);
        out.extend_from_slice(behind);
    });
    written(is_written, len, tx)
}

fn written<A: Addr>(is_written: bool, len: usize, tx: &Transmit<A>) -> Put {
    match is_written {
        true => Put::Written(len),
        false if tx.is_empty() => Put::Never,
        false => Put::Later,
    }
}

/// Writes one segment into the batch.
fn put<A: Addr>(
    span: &Span<A>,
    session: SessionId,
    code: u8,
    len: usize,
    tx: &mut Transmit<A>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Put {
    let keys = &span.keys;
    let whole = header_len(session) + keys.overhead() + len;
    let is_written = tx.push(span.config.address, whole, |out| {
        let start = out.len();
        header(code, session, keys.counts()).put(out);
        keys.put_header(out);
        write(out);
        keys.put_trailer(out, start);
    });
    written(is_written, whole, tx)
}
