//! What is sent, in which order: control segments, so that no report waits behind a block, then retransmissions, then
//! first passes.

use alloc::vec::Vec;
use core::slice;

use super::beyond::Hello;
use super::context::{Context, Node, TimerKind};
use super::engine::Engine;
use super::export::Piece;
use super::peer::{Control, PeerState, Queue, Role};
use super::wire::{Body, Claims, Color, Mark, Reason, Report, SessionId, header, header_len};
use crate::{Addr, Transmit};

/// A keep-alive (RFC 7122 section 3.4). By its length alone it could be a CAS.
pub(super) const KEEPALIVE: [u8; 4] = [0; 4];

/// The result of writing a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// The segment was written, with this many octets.
    Written(usize),
    /// The batch has no room.
    NoRoom,
    /// The segment fits no datagram, or there is nothing to write any more.
    Impossible,
}

/// Whether the batch has room for a further segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    HasRoom,
    Full,
}

/// What is sent next.
#[derive(Debug, Clone, Copy)]
enum Work {
    Control(Control),
    /// Data of the session with this number.
    Data(Queue, u64),
}

impl<A: Addr> Engine<A> {
    /// Writes a batch for the next ready peer. Peers take turns, so that none waits for another's backlog.
    pub(super) fn send(&mut self, tx: &mut Transmit<A>) -> bool {
        while let Some(slot) = self.node.ready.pop_front() {
            if let Some(peer) = self.peers.get_mut(slot) {
                peer.is_ready = false;
            }
            self.fill(slot, tx);
            if let Some(peer) = self.peers.get_mut(slot) {
                peer.mark_ready(&mut self.node);
            }
            if !self.node.first_pass_done.is_empty() {
                let mut done = core::mem::take(&mut self.node.first_pass_done);
                let Self {
                    node,
                    peers,
                    exports,
                    ..
                } = self;
                for number in done.drain(..) {
                    exports.with(number, peers, node, |export, cx| {
                        export.after_first_pass(cx)
                    });
                }
                self.node.first_pass_done = done;
            }
            if !tx.is_empty() {
                if let Some(peer) = self.peers.get_mut(slot) {
                    peer.last_sent = self.node.now;
                }
                return true;
            }
        }
        false
    }

    fn fill(&mut self, slot: u32, tx: &mut Transmit<A>) {
        while let Some(peer) = self.peers.get_mut(slot)
            && let Some(work) = peer.next_work(&mut self.node)
        {
            let batch = match work {
                Work::Control(control) => self.send_control(slot, control, tx),
                Work::Data(queue, number) => self.send_data(slot, (queue, number), tx),
            };
            if batch == Batch::Full {
                return;
            }
        }
    }

    /// Writes data of a session. One that has ended leaves the queue.
    fn send_data(
        &mut self,
        slot: u32,
        (queue, number): (Queue, u64),
        tx: &mut Transmit<A>,
    ) -> Batch {
        let Self {
            node,
            peers,
            exports,
            ..
        } = self;
        let mut written = None;
        exports.with(number, peers, node, |export, cx| {
            let (batch, step) = export.write(queue, tx, cx);
            written = batch;
            step
        });
        if written.is_none()
            && let Some(peer) = peers.get_mut(slot)
        {
            peer.sessions(queue).pop_front();
        }
        written.unwrap_or(Batch::HasRoom)
    }

    /// Writes a control segment, and starts its timers. One that fits no datagram counts as lost (the cue of RFC 5326
    /// sections 6.3 and 6.15).
    fn send_control(&mut self, slot: u32, control: Control, tx: &mut Transmit<A>) -> Batch {
        match control {
            Control::Report {
                session,
                serial,
                left,
            } => return self.send_report(slot, session, (serial, left), tx),
            Control::Cancel { session, by, left } => {
                return self.send_cancel(slot, (session, by), left, tx);
            }
            _ => {}
        }
        let Some(peer) = self.peers.get_mut(slot) else {
            return Batch::Full;
        };
        let (put, is_ping) = peer.put_control(&mut self.node, control, tx);
        if put == WriteResult::NoRoom {
            return Batch::Full;
        }
        peer.control.pop_front();
        if is_ping {
            peer.on_ping_sent(&mut self.node, put.len());
        }
        Batch::HasRoom
    }

    fn send_report(
        &mut self,
        slot: u32,
        session: SessionId,
        (serial, left): (u64, Option<u8>),
        tx: &mut Transmit<A>,
    ) -> Batch {
        let Self {
            node,
            peers,
            imports,
            ..
        } = self;
        let import = imports.table.find(&session);
        let import = import.and_then(|place| imports.table.at_mut(place));
        let mut reception = import.and_then(|(_, import)| import.reception());
        let Some(mut cx) = peers.context(slot, node, session) else {
            return Batch::Full;
        };
        let put = reception
            .as_mut()
            .map_or(WriteResult::Impossible, |reception| {
                reception.put_report(serial, tx, &mut cx)
            });
        if put == WriteResult::NoRoom {
            return Batch::Full;
        }
        cx.peer.control.pop_front();
        match (left, reception) {
            (Some(left), reception) => cx.report_copied(reception, (serial, left), put.len()),
            (None, Some(reception)) => reception.on_report_sent(serial, put.len(), true, &mut cx),
            (None, None) => {}
        }
        Batch::HasRoom
    }

    fn send_cancel(
        &mut self,
        slot: u32,
        (session, by): (SessionId, Role),
        left: Option<u8>,
        tx: &mut Transmit<A>,
    ) -> Batch {
        let Self {
            node,
            peers,
            exports,
            imports,
        } = self;
        let Some(mut cx) = peers.context(slot, node, session) else {
            return Batch::Full;
        };
        let mut write = |body: Option<Body<'_>>, cx: &mut Context<'_, A>| {
            body.map_or(WriteResult::Impossible, |body| cx.put_body(&body, tx))
        };
        let put = match by {
            Role::Sender => {
                let export = exports.table.find(&session.number);
                let mut export = export.and_then(|place| exports.table.at_mut(place));
                let reason = export
                    .as_ref()
                    .and_then(|(_, export)| export.cancel_reason());
                let put = write(reason.map(Body::CancelBySender), &mut cx);
                if let Some((_, export)) = &mut export
                    && left.is_none()
                    && put != WriteResult::NoRoom
                {
                    export.on_cancel_sent(put.len(), &mut cx);
                }
                put
            }
            Role::Receiver => {
                let import = imports.table.find(&session);
                let mut import = import.and_then(|place| imports.table.at_mut(place));
                let reason = import
                    .as_ref()
                    .and_then(|(_, import)| import.cancel_reason());
                let put = write(reason.map(Body::CancelByReceiver), &mut cx);
                if let Some((_, import)) = &mut import
                    && left.is_none()
                    && put != WriteResult::NoRoom
                {
                    import.on_cancel_sent(put.len(), &mut cx);
                }
                put
            }
        };
        if put == WriteResult::NoRoom {
            return Batch::Full;
        }
        let (peer, node) = (cx.peer, cx.node);
        peer.control.pop_front();
        let left = left.map_or_else(|| peer.copies(), |left| left - 1);
        if left > 0 {
            let left = Some(left);
            peer.queue(node, Control::Cancel { session, by, left });
        }
        Batch::HasRoom
    }
}

impl WriteResult {
    /// Returns the octets written.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Written(len) => len,
            Self::NoRoom | Self::Impossible => 0,
        }
    }
}

impl<A: Addr> PeerState<A> {
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
        let repair = self.repairs.front().copied();
        let data = repair.map(|number| (Queue::Repairs, number));
        let (queue, number) = data
            .or_else(|| Some((Queue::FirstPasses, self.next_first_pass()?)))
            .or_else(|| Some((Queue::Duplicates, *self.spare.front()?)))?;
        Some(Work::Data(queue, number))
    }

    /// Writes a control segment that concerns no open session. True for a ping.
    fn put_control(
        &mut self,
        node: &mut Node,
        control: Control,
        tx: &mut Transmit<A>,
    ) -> (WriteResult, bool) {
        let put = match control {
            Control::ReportAck { session, serial } => {
                self.put_body(node, session, &Body::ReportAck(serial), tx)
            }
            Control::CancelAck { session, to } => {
                let body = match to {
                    Role::Sender => Body::CancelAckToSender,
                    Role::Receiver => Body::CancelAckToReceiver,
                };
                self.put_body(node, session, &body, tx)
            }
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
                self.put_body(node, session, &body, tx)
            }
            Control::Ping => {
                let Some(number) = self.ping.as_ref().map(|ping| ping.number) else {
                    return (WriteResult::Impossible, true);
                };
                let body = Body::CancelBySender(Reason::USER);
                let put = self.put_body(node, node.own_session(number), &body, tx);
                return (put, true);
            }
            Control::KeepAlive => {
                let len = KEEPALIVE.len();
                let is_written = tx.push(self.config.address, len, |out| {
                    out.extend_from_slice(&KEEPALIVE)
                });
                written(is_written, len, tx)
            }
            Control::Report { .. } | Control::Cancel { .. } => WriteResult::Impossible,
        };
        (put, false)
    }

    /// Writes one segment into the batch. Without authentication the header is copied in one move.
    #[inline]
    pub(super) fn put_body(
        &mut self,
        node: &mut Node,
        session: SessionId,
        body: &Body<'_>,
        tx: &mut Transmit<A>,
    ) -> WriteResult {
        let mut head = header(body.code(), session, 0);
        let behind = match self.keys.overhead() {
            0 => body.put_fields(&mut head),
            _ => None,
        };
        let Some(behind) = behind else {
            let len = body.wire_len();
            return self.put((node, session), (body.code(), len), None, tx, |out| {
                body.encode(out)
            });
        };
        let len = head.octets().len() + behind.len();
        let is_written = tx.push(self.config.address, len, |out| {
            head.put(out);
            out.extend_from_slice(behind);
        });
        self.count(node, written(is_written, len, tx))
    }

    /// Writes one segment with a content of `len` octets into the batch, with a hello among its header extensions or not.
    fn put(
        &mut self,
        (node, session): (&mut Node, SessionId),
        (code, len): (u8, usize),
        hello: Option<Hello>,
        tx: &mut Transmit<A>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> WriteResult {
        let keys = &self.keys;
        let whole = header_len(session) + keys.overhead() + Hello::len(hello) + len;
        let counts = keys.counts() + (u8::from(hello.is_some()) << 4);
        let is_written = tx.push(self.config.address, whole, |out| {
            let start = out.len();
            header(code, session, counts).put(out);
            keys.put_header(out);
            out.extend(hello.into_iter().flat_map(Hello::encode));
            write(out);
            keys.put_trailer(out, start);
        });
        self.count(node, written(is_written, whole, tx))
    }

    /// Counts what was written in the statistics and for the rate.
    fn count(&mut self, node: &mut Node, put: WriteResult) -> WriteResult {
        match put {
            WriteResult::Written(len) => {
                node.stats.segments_sent += 1;
                self.pacer.on_sent(node.now, len);
            }
            WriteResult::Impossible => node.stats.oversize += 1,
            WriteResult::NoRoom => {}
        }
        put
    }
}

impl<A: Addr> Context<'_, A> {
    /// Writes one segment of the session into the batch.
    #[inline]
    pub(super) fn put_body(&mut self, body: &Body<'_>, tx: &mut Transmit<A>) -> WriteResult {
        self.peer.put_body(self.node, self.session, body, tx)
    }

    /// Writes one segment of the session with a content of `len` octets into the batch.
    pub(super) fn put_segment(
        &mut self,
        (code, len): (u8, usize),
        hello: Option<Hello>,
        tx: &mut Transmit<A>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> WriteResult {
        let place = (&mut *self.node, self.session);
        self.peer.put(place, (code, len), hello, tx, write)
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

fn written<A: Addr>(is_written: bool, len: usize, tx: &Transmit<A>) -> WriteResult {
    match is_written {
        true => WriteResult::Written(len),
        false if tx.is_empty() => WriteResult::Impossible,
        false => WriteResult::NoRoom,
    }
}
