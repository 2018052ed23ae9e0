//! What is sent, in which order: control segments, so that no report waits behind a block, then retransmissions, then
//! first passes.

use alloc::vec::Vec;
use core::slice;

use super::beyond::Hello;
use super::context::{Cancel, Context, Core, Node, TimerKind};
use super::engine::{Engine, MAX_STEPS};
use super::export::{ExportSession, Exports, Piece};
use super::import::{Imports, Reception};
use super::peer::{Control, PeerState, Queue, Role};
use super::sdnv::Head;
use super::wire::{Body, Claims, Color, Mark, Reason, Report, SessionId, header_len, put_header};
use crate::sync::Arc;
use crate::transmit::TransmitBuffer;
use crate::{Addr, Transmit};

/// A keep-alive (RFC 7122 section 3.4). By its length alone it could be a CAS.
pub(super) const KEEPALIVE: [u8; 4] = [0; 4];

/// Whether a segment was written, and further ones may be.
pub(super) type Written = Result<(), Unwritten>;

/// Why a segment was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// The batch has no room.
    NoRoom,
    /// The segment fits no datagram, or there is nothing to write any more.
    Impossible,
}

/// What is sent next.
#[derive(Debug, Clone, Copy)]
enum Work {
    Control(Control),
    /// Data of the session with this number.
    Data(Queue, u64),
}

impl<A: Addr> Engine<A> {
    /// Writes a batch for the next ready peer. Peers take turns, so that none waits for another's backlog. After many
    /// steps that write nothing, peers may be left that are ready.
    #[inline(never)]
    pub(super) fn send(&mut self, tx: &mut Transmit<A>) -> bool {
        let mut steps = MAX_STEPS;
        while steps > 0
            && let Some(slot) = self.core.node.ready.pop_front()
        {
            steps -= 1;
            self.core.peers.forget_ready(slot);
            let to = self.addresses.of(slot);
            let Some(out) = to.and_then(|to| tx.buffer_to(to)) else {
                continue;
            };
            let sessions = (&mut self.exports, &mut self.imports);
            self.core.fill(slot, sessions, &mut steps, out);
            if !out.is_empty() {
                if let Some(peer) = self.core.peers.get_mut(slot) {
                    peer.last_sent = self.core.node.now;
                }
                return true;
            }
        }
        false
    }
}

impl Exports {
    /// Writes data of a session. One that has ended leaves the queue.
    fn send(
        &mut self,
        slot: u32,
        (queue, number): (Queue, u64),
        core: &mut Core,
        tx: &mut TransmitBuffer,
    ) -> Written {
        let mut written = None;
        self.with(number, core, |export, cx| {
            let step;
            (written, step) = export.write(queue, tx, cx);
            step
        });
        if written.is_none()
            && let Some(peer) = core.peers.get_mut(slot)
        {
            peer.sessions(queue).pop_front();
        }
        written.unwrap_or(Ok(()))
    }
}

impl Core {
    /// Writes what a peer has to send, as far as the batch has room.
    fn fill(
        &mut self,
        slot: u32,
        (exports, imports): (&mut Exports, &mut Imports),
        steps: &mut usize,
        tx: &mut TransmitBuffer,
    ) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.is_ready = false;
        }
        let mut written = Ok(());
        while let Some(peer) = self.peers.get_mut(slot) {
            if *steps == 0 || written == Err(Unwritten::NoRoom) {
                peer.mark_ready(&mut self.node);
                break;
            }
            let Some(work) = peer.next_work(&mut self.node) else {
                break;
            };
            *steps -= 1;
            written = match work {
                Work::Control(control) => self.send_control(slot, control, (exports, imports), tx),
                Work::Data(queue, number) => exports.send(slot, (queue, number), self, tx),
            };
        }
        if !self.node.first_pass_done.is_empty() {
            let mut done = core::mem::take(&mut self.node.first_pass_done);
            for number in done.drain(..) {
                exports.with(number, self, ExportSession::after_first_pass);
            }
            self.node.first_pass_done = done;
        }
    }

    /// Writes a control segment, and starts its timers. One that fits no datagram counts as lost (the cue of RFC 5326
    /// sections 6.3 and 6.15).
    fn send_control(
        &mut self,
        slot: u32,
        control: Control,
        (exports, imports): (&mut Exports, &mut Imports),
        tx: &mut TransmitBuffer,
    ) -> Written {
        let session = control.session();
        let Some(mut cx) = self.context(slot, session) else {
            return Err(Unwritten::NoRoom);
        };
        let (mut reception, mut cancel) = (None, None);
        match control {
            Control::Report { .. } => {
                let import = imports.table.find_mut(&session);
                reception = import.and_then(|import| import.stage.open_mut());
            }
            Control::Cancel { by, .. } => cancel = cancel_of((by, session), exports, imports),
            _ => {}
        }
        let put = cx.put_control(control, reception.as_deref_mut(), cancel.as_deref(), tx);
        if put == Err(Unwritten::NoRoom) {
            return put;
        }
        cx.peer.pop_control();
        match (control, reception, cancel) {
            (Control::Report { serial, left, .. }, Some(reception), _) => match left {
                Some(left) => reception.report_copied((serial, left), &mut cx),
                None => reception.on_report_sent(serial, true, &mut cx),
            },
            (Control::Cancel { by, left, .. }, _, Some(cancel)) => {
                if left.is_none() {
                    cancel.on_sent(by, &mut cx);
                }
                let left = left.map_or_else(|| cx.peer.copies(), |left| left - 1);
                if left > 0 {
                    let left = Some(left);
                    cx.queue(Control::Cancel { session, by, left });
                }
            }
            (Control::Ping, ..) => cx.peer.on_ping_sent(cx.node),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the cancellation of a session by one side, if it is being cancelled.
fn cancel_of<'a>(
    (by, session): (Role, SessionId),
    exports: &'a mut Exports,
    imports: &'a mut Imports,
) -> Option<&'a mut Cancel> {
    match by {
        Role::Sender => exports.table.find_mut(&session.number)?.stage.cancel_mut(),
        Role::Receiver => imports.table.find_mut(&session)?.stage.cancel_mut(),
    }
}

impl PeerState {
    #[inline]
    fn next_work(&mut self, node: &mut Node) -> Option<Work> {
        if !self.may_send() {
            return None;
        }
        if self.pacer.is_limited()
            && let Some(at) = self.pacer.blocked_until(node.now)
        {
            self.pace = self.start_local(node, at, TimerKind::Pace);
            return None;
        }
        if let Some(control) = self.control.front() {
            return Some(Work::Control(*control));
        }
        let (queue, number) = match (self.repairs.front(), self.next_first_pass()) {
            // A block that has begun would seem to be given up if it waited for all repairs of others.
            (Some(_), Some(begun)) if self.begun == Some(begun) && self.is_first_pass_next => {
                (Queue::FirstPasses, begun)
            }
            (Some(repair), _) => (Queue::Repairs, *repair),
            (None, Some(number)) => (Queue::FirstPasses, number),
            (None, None) => (Queue::Duplicates, *self.spare.front()?),
        };
        self.is_first_pass_next = queue == Queue::Repairs;
        Some(Work::Data(queue, number))
    }
}

impl Context<'_> {
    /// Writes a control segment. It is impossible where there is nothing to write any more.
    fn put_control(
        &mut self,
        control: Control,
        reception: Option<&mut Reception>,
        cancel: Option<&Cancel>,
        tx: &mut TransmitBuffer,
    ) -> Written {
        let body = match control {
            Control::Report { serial, .. } => {
                let reception = reception.ok_or(Unwritten::Impossible)?;
                return reception.put_report(serial, tx, self);
            }
            Control::Final {
                serial,
                checkpoint,
                red,
                ..
            } => return self.put_report_on_all((serial, checkpoint), red, None, tx),
            Control::KeepAlive => {
                return self.push(KEEPALIVE.len(), tx, |out| out.extend_from_slice(&KEEPALIVE));
            }
            Control::ReportAck { serial, .. } => Some(Body::ReportAck(serial)),
            Control::CancelAck { to, .. } => Some(match to {
                Role::Sender => Body::CancelAckToSender,
                Role::Receiver => Body::CancelAckToReceiver,
            }),
            Control::Cancel { by, .. } => cancel.map(|cancel| match by {
                Role::Sender => Body::CancelBySender(cancel.reason),
                Role::Receiver => Body::CancelByReceiver(cancel.reason),
            }),
            Control::Ping => self.peer.ping.as_ref().map(|ping| {
                self.session = self.node.own_session(ping.number);
                Body::CancelBySender(Reason::USER)
            }),
        };
        let body = body.ok_or(Unwritten::Impossible)?;
        self.put_body(&body, None, tx)
    }

    /// Writes a report that claims all of a red part.
    pub(super) fn put_report_on_all(
        &mut self,
        (serial, checkpoint): (u64, u64),
        red: u64,
        hello: Option<Hello>,
        tx: &mut TransmitBuffer,
    ) -> Written {
        let all = 0..red;
        let body = Body::Report(Report {
            serial,
            checkpoint,
            scope: (0..red).into(),
            claims: Claims::new(slice::from_ref(&all)),
        });
        self.put_body(&body, hello, tx)
    }

    /// Writes one segment of the session into the batch, with a hello or without. Without extensions the header is copied
    /// in one move.
    #[inline]
    pub(super) fn put_body(
        &mut self,
        body: &Body<'_>,
        hello: Option<Hello>,
        tx: &mut TransmitBuffer,
    ) -> Written {
        let is_plain = self.peer.keys.overhead() == 0 && hello.is_none();
        let Some(behind) = body.octets().filter(|_| is_plain) else {
            let len = body.wire_len();
            return self.put_segment((body.code(), len), hello, tx, |out| body.encode(out));
        };
        let mut head = Head::new();
        put_header(&mut head, body.code(), self.session, 0);
        body.put_fields(&mut head);
        let len = head.octets().len() + behind.len();
        self.put(len, tx, |out| {
            head.put(out);
            if !behind.is_empty() {
                out.extend_from_slice(behind);
            }
        })
    }

    /// Writes one segment of the session with a content of `len` octets into the batch, with a hello among its header
    /// extensions or not.
    pub(super) fn put_segment(
        &mut self,
        (code, len): (u8, usize),
        hello: Option<Hello>,
        tx: &mut TransmitBuffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Written {
        let (session, keys) = (self.session, Arc::clone(&self.peer.keys));
        let whole = header_len(session) + keys.overhead() + Hello::len(hello) + len;
        let counts = keys.counts() + (u8::from(hello.is_some()) << 4);
        self.put(whole, tx, |out| {
            let start = out.len();
            let mut head = Head::new();
            put_header(&mut head, code, session, counts);
            head.put(out);
            keys.put_header(out);
            out.extend(hello.into_iter().flat_map(Hello::encode));
            write(out);
            keys.put_trailer(out, start);
        })
    }

    /// Writes a segment of `len` octets, and counts it in the statistics and for the rate.
    #[inline]
    fn put(
        &mut self,
        len: usize,
        tx: &mut TransmitBuffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Written {
        let written = self.push(len, tx, write);
        match written {
            Ok(()) => {
                self.node.stats.segments_sent += 1;
                self.peer.pacer.on_sent(self.node.now, len);
            }
            Err(Unwritten::Impossible) => self.node.stats.oversize += 1,
            Err(Unwritten::NoRoom) => {}
        }
        written
    }

    /// Writes a datagram of `len` octets, if it may leave yet.
    #[inline]
    fn push(
        &mut self,
        len: usize,
        tx: &mut TransmitBuffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Written {
        if !self.peer.may_spend(self.node, len) {
            return Err(Unwritten::NoRoom);
        }
        if !tx.push(len, write) {
            return Err(if tx.is_empty() {
                Unwritten::Impossible
            } else {
                Unwritten::NoRoom
            });
        }
        self.node.strangers.left(self.peer.account, len);
        Ok(())
    }

    /// Whether a segment that asks for the report on a whole part has to wait, so that a full receive buffer does not take
    /// it. A timer is started then.
    pub(super) fn must_space(&mut self, piece: &Piece) -> bool {
        let Color::Red(Some(checkpoint)) = piece.color else {
            return false;
        };
        if checkpoint.mark == Mark::None && checkpoint.report == 0 {
            return false;
        }
        let burst = self.peer.flow.last_burst();
        let at = burst.and_then(|burst| self.peer.pacer.blocked_beyond(self.node.now, burst));
        let Some(at) = at else {
            return false;
        };
        self.peer.pace = self.peer.start_local(self.node, at, TimerKind::Pace);
        true
    }

    /// Returns the octets for the content of a segment of the session.
    pub(super) fn segment_room(&self, hello: Option<Hello>) -> usize {
        let head = header_len(self.session) + self.peer.keys.overhead() + Hello::len(hello);
        let segment = self.peer.config.segment.min(self.node.datagram);
        segment.saturating_sub(head)
    }
}
