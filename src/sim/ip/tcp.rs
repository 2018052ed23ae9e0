//! One TCP connection.
//!
//! It has what lines with losses and NATs with filters need: handshake, simultaneous open, cumulative
//! acknowledgements, retransmission after a timeout and after three duplicate acknowledgements, flow control
//! with window probes, FIN and RST. It has no congestion control. Sequence numbers have 64 bits and do not
//! wrap.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use super::super::TcpFlags;
use super::super::pipe::Owner;
use crate::{Cause, Instant, Tag};

/// The TCP parameters of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// The first retransmission timeout. Each further one is twice as long. Measured round trips replace it.
    pub first_timeout: Duration,
    /// The least timeout that round trips can give.
    pub least_timeout: Duration,
    /// How often a SYN is sent again before the connection fails.
    pub syn_tries: u32,
    /// How often data are sent again before the connection is dropped.
    pub tries: u32,
    /// The octets of data in one segment.
    pub segment: usize,
    /// The octets written but not acknowledged at which a machine gets [`Link::Full`](crate::Link::Full).
    pub send_buffer: usize,
    /// The octets that may be unread.
    pub window: usize,
    /// How long the end that closed first stays in TIME-WAIT.
    pub time_wait: Duration,
}

impl Tcp {
    /// The parameters of Linux.
    pub const LINUX: Self = Self {
        first_timeout: Duration::from_secs(1),
        least_timeout: Duration::from_millis(200),
        syn_tries: 6,
        tries: 15,
        segment: 1460,
        send_buffer: 1 << 17,
        window: 1 << 17,
        time_wait: Duration::from_secs(60),
    };
}

impl Default for Tcp {
    /// Returns [`LINUX`](Self::LINUX).
    fn default() -> Self {
        Self::LINUX
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct TcpHeader {
    pub(in super::super) flags: TcpFlags,
    pub(super) seq: u64,
    pub(super) ack: u64,
    pub(super) window: usize,
}

impl TcpHeader {
    /// Returns the RST with which a closed port, or a NAT, answers.
    pub(super) fn refusal(self, len: usize) -> Self {
        let flags = TcpFlags {
            rst: true,
            ack: !self.flags.ack,
            ..TcpFlags::default()
        };
        Self {
            flags,
            seq: self.ack,
            ack: self.seq + self.sequence_len(len),
            window: 0,
        }
    }

    /// Returns the length in sequence numbers: SYN and FIN count as one octet each.
    fn sequence_len(self, len: usize) -> u64 {
        wide(len) + u64::from(self.flags.syn) + u64::from(self.flags.fin)
    }
}

/// A segment to send.
#[derive(Debug)]
pub(super) struct OutgoingSegment {
    pub(super) segment: TcpHeader,
    pub(super) data: Bytes,
    pub(super) is_repeated: bool,
}

/// What the owner of a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpEvent {
    Opened,
    Failed(Cause),
    Down(Cause),
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenedBy {
    /// The machine.
    Asked(Tag),
    /// The script.
    Dialled,
    /// The peer.
    Accepted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpState {
    SynSent,
    SynReceived,
    Open,
    /// Closed, but able to repeat the last acknowledgement.
    TimeWait,
}

/// The state of the peer's FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerFin {
    No,
    Arrived,
    Reported,
}

#[derive(Debug)]
pub(super) struct TcpConnection {
    pub(super) owner: Owner,
    pub(super) origin: OpenedBy,
    pub(super) state: TcpState,
    pub(super) deadline: Option<Instant>,
    /// The time of the earliest timer event in the queue.
    pub(super) scheduled: Option<Instant>,
    pub(super) is_full: bool,
    pub(super) unread: BytesMut,
    pub(super) ending: PeerFin,
    tcp: Tcp,
    /// The oldest number that is not acknowledged. Once open, it is that of the first octet in `outbox`.
    una: u64,
    /// The next number to send, and the end of what was sent before a retransmission.
    next: u64,
    most: u64,
    outbox: BytesMut,
    fin: OwnFin,
    peer_window: usize,
    expected: u64,
    early: BTreeMap<u64, Bytes>,
    early_fin: Option<u64>,
    is_first_to_close: bool,
    timeout: Duration,
    tries: u32,
    round_trip: Option<(Duration, Duration)>,
    timed: Option<(u64, Instant)>,
    same_acks: u32,
}

/// The state of our own FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnFin {
    No,
    Wanted,
    Acknowledged,
}

impl TcpConnection {
    pub(super) fn new(tcp: Tcp, first: u64, origin: OpenedBy) -> Self {
        Self {
            owner: Owner::Machine,
            origin,
            state: TcpState::SynSent,
            deadline: None,
            scheduled: None,
            is_full: false,
            unread: BytesMut::new(),
            ending: PeerFin::No,
            tcp,
            una: first,
            next: first + 1,
            most: first,
            outbox: BytesMut::new(),
            fin: OwnFin::No,
            peer_window: tcp.segment,
            expected: 0,
            early: BTreeMap::new(),
            early_fin: None,
            is_first_to_close: false,
            timeout: tcp.first_timeout,
            tries: 0,
            round_trip: None,
            timed: None,
            same_acks: 0,
        }
    }

    /// Sends the SYN of an active open.
    pub(super) fn open(&mut self, now: Instant, out: &mut Vec<OutgoingSegment>) {
        self.send_syn(now, out);
    }

    /// Answers the SYN of a peer, as a listener or in a simultaneous open.
    pub(super) fn answer(&mut self, now: Instant, syn: TcpHeader, out: &mut Vec<OutgoingSegment>) {
        self.state = TcpState::SynReceived;
        self.expected = syn.seq + 1;
        self.peer_window = syn.window;
        self.send_syn(now, out);
    }

    fn send_syn(&mut self, now: Instant, out: &mut Vec<OutgoingSegment>) {
        let flags = match self.state {
            TcpState::SynReceived => TcpFlags::SYN_ACK,
            _ => TcpFlags::SYN,
        };
        self.emit(self.una, flags, Bytes::new(), out);
        self.deadline = Some(now + self.timeout);
    }

    fn emit(&mut self, seq: u64, flags: TcpFlags, data: Bytes, out: &mut Vec<OutgoingSegment>) {
        let segment = TcpHeader {
            flags,
            seq,
            ack: self.expected,
            window: self.window(),
        };
        let end = seq + segment.sequence_len(data.len());
        out.push(OutgoingSegment {
            segment,
            data,
            // The SYN of a SYN+ACK is not the one sent before.
            is_repeated: end > seq && end <= self.most && !(flags.syn && self.tries == 0),
        });
        self.most = self.most.max(end);
    }

    fn acknowledge(&mut self, out: &mut Vec<OutgoingSegment>) {
        self.emit(self.next, TcpFlags::ACK, Bytes::new(), out);
    }

    fn window(&self) -> usize {
        self.tcp.window.saturating_sub(self.unread.len())
    }

    pub(super) fn write(&mut self, now: Instant, octets: &[u8], out: &mut Vec<OutgoingSegment>) {
        if self.fin == OwnFin::No {
            self.outbox.extend_from_slice(octets);
            self.push(now, out);
        }
    }

    /// Tells whether the writer has filled the send buffer.
    pub(super) fn is_over_full(&self) -> bool {
        self.outbox.len() >= self.tcp.send_buffer
    }

    /// Tells whether half of the send buffer is free.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() <= self.tcp.send_buffer / 2
    }

    pub(super) fn finish(&mut self, now: Instant, out: &mut Vec<OutgoingSegment>) {
        if self.fin == OwnFin::No {
            self.fin = OwnFin::Wanted;
            self.push(now, out);
        }
    }

    pub(super) fn reset(&mut self, out: &mut Vec<OutgoingSegment>) {
        if matches!(self.state, TcpState::SynReceived | TcpState::Open) {
            self.emit(self.next, TcpFlags::RST, Bytes::new(), out);
        }
    }

    /// Takes up to `len` unread octets. The peer gets the new window if it had to wait.
    pub(super) fn take(&mut self, len: usize, out: &mut Vec<OutgoingSegment>) -> BytesMut {
        let before = self.window();
        let chunk = self.unread.split_to(len.min(self.unread.len()));
        if before < self.tcp.segment && self.window() >= self.tcp.segment {
            self.acknowledge(out);
        }
        chunk
    }

    /// Tells whether both directions are closed and the owner has read all.
    pub(super) fn is_over(&self) -> bool {
        let is_read = match self.owner {
            Owner::Machine => self.ending == PeerFin::Reported,
            Owner::Script(_) | Owner::Nobody => self.ending != PeerFin::No,
        };
        self.state == TcpState::Open && self.fin == OwnFin::Acknowledged && is_read
    }

    /// Ends the connection. Returns whether it stays in TIME-WAIT.
    pub(super) fn rest(&mut self, now: Instant) -> bool {
        self.state = TcpState::TimeWait;
        self.deadline = Some(now + self.tcp.time_wait);
        self.is_first_to_close
    }

    fn data_end(&self) -> u64 {
        self.una + wide(self.outbox.len())
    }

    /// Sends what fits into the peer's window.
    fn push(&mut self, now: Instant, out: &mut Vec<OutgoingSegment>) {
        if self.state != TcpState::Open {
            return;
        }
        let limit = self.data_end().min(self.una + wide(self.peer_window));
        while self.next < limit {
            let end = limit.min(self.next + wide(self.tcp.segment));
            self.send_data(self.next, end, out);
            if self.timed.is_none() && end == self.most {
                self.timed = Some((end, now));
            }
            self.next = end;
        }
        if self.fin == OwnFin::Wanted && self.next == self.data_end() {
            self.send_fin(out);
            self.next += 1;
        }
        self.arm(now);
    }

    fn send_data(&mut self, from: u64, to: u64, out: &mut Vec<OutgoingSegment>) {
        let range = narrow(from - self.una)..narrow(to - self.una);
        let data = self.outbox.get(range).map(Bytes::copy_from_slice);
        self.emit(from, TcpFlags::ACK, data.unwrap_or_default(), out);
    }

    fn send_fin(&mut self, out: &mut Vec<OutgoingSegment>) {
        let flags = TcpFlags::FIN_ACK;
        self.emit(self.data_end(), flags, Bytes::new(), out);
    }

    /// Sets the timer if octets are not acknowledged, or the window is closed.
    fn arm(&mut self, now: Instant) {
        let is_shut = !self.outbox.is_empty() && self.next == self.una;
        if self.next > self.una || is_shut {
            self.deadline = self.deadline.or(Some(now + self.timeout));
        } else {
            self.deadline = None;
        }
    }

    /// Handles the timer.
    pub(super) fn time_out(
        &mut self,
        now: Instant,
        out: &mut Vec<OutgoingSegment>,
    ) -> Option<TcpEvent> {
        self.tries += 1;
        self.timeout = self.timeout.saturating_mul(2).min(Duration::from_secs(120));
        self.timed = None;
        match self.state {
            TcpState::TimeWait => return None,
            TcpState::SynSent | TcpState::SynReceived if self.tries > self.tcp.syn_tries => {
                return Some(TcpEvent::Failed(Cause::TimedOut));
            }
            TcpState::SynSent | TcpState::SynReceived => self.send_syn(now, out),
            TcpState::Open if self.tries > self.tcp.tries => {
                return Some(TcpEvent::Down(Cause::TimedOut));
            }
            TcpState::Open => {
                self.resend(out);
                self.deadline = Some(now + self.timeout);
            }
        }
        None
    }

    /// Sends the first segment again, with at least one octet whatever the window.
    fn resend(&mut self, out: &mut Vec<OutgoingSegment>) {
        if self.outbox.is_empty() {
            if self.fin == OwnFin::Wanted {
                self.send_fin(out);
            }
            return;
        }
        let len = self
            .peer_window
            .clamp(1, self.tcp.segment)
            .min(self.outbox.len());
        let end = self.una + wide(len);
        self.send_data(self.una, end, out);
        // With a closed window the octet is a probe, and does not count as sent.
        self.next = if self.peer_window == 0 { self.una } else { end };
    }

    /// Handles a segment of the peer.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: TcpHeader,
        data: &Bytes,
        out: &mut Vec<OutgoingSegment>,
    ) -> Option<TcpEvent> {
        match self.state {
            TcpState::SynSent => self.receive_in_syn_sent(now, segment, out),
            TcpState::SynReceived => self.receive_in_syn_received(segment, data, out),
            TcpState::Open => self.receive_open(now, segment, data, out),
            TcpState::TimeWait => {
                if segment.flags.fin {
                    self.acknowledge(out);
                }
                None
            }
        }
    }

    fn receive_in_syn_sent(
        &mut self,
        now: Instant,
        segment: TcpHeader,
        out: &mut Vec<OutgoingSegment>,
    ) -> Option<TcpEvent> {
        let TcpFlags { syn, ack, rst, .. } = segment.flags;
        if ack && segment.ack != self.next {
            // It acknowledges an earlier connection between the same ports.
            if !rst {
                out.push(OutgoingSegment {
                    segment: segment.refusal(0),
                    data: Bytes::new(),
                    is_repeated: false,
                });
            }
            return None;
        }
        if rst {
            return ack.then_some(TcpEvent::Failed(Cause::Refused));
        }
        if !syn {
            return None;
        }
        if !ack {
            self.answer(now, segment, out);
            return None;
        }
        self.expected = segment.seq + 1;
        self.begin(segment);
        self.acknowledge(out);
        Some(TcpEvent::Opened)
    }

    fn begin(&mut self, segment: TcpHeader) {
        self.state = TcpState::Open;
        self.peer_window = segment.window;
        self.una = self.next;
        self.tries = 0;
        self.timeout = self.tcp.first_timeout;
        self.deadline = None;
    }

    fn receive_in_syn_received(
        &mut self,
        segment: TcpHeader,
        data: &Bytes,
        out: &mut Vec<OutgoingSegment>,
    ) -> Option<TcpEvent> {
        let TcpFlags { syn, ack, rst, .. } = segment.flags;
        if rst {
            return (segment.seq == self.expected).then_some(TcpEvent::Failed(Cause::Refused));
        }
        if syn && !ack {
            self.emit(self.una, TcpFlags::SYN_ACK, Bytes::new(), out);
            return None;
        }
        if !ack || segment.ack != self.next {
            return None;
        }
        self.begin(segment);
        if syn {
            self.acknowledge(out);
        } else {
            self.take_data(segment, data, out);
        }
        Some(TcpEvent::Opened)
    }

    fn receive_open(
        &mut self,
        now: Instant,
        segment: TcpHeader,
        data: &Bytes,
        out: &mut Vec<OutgoingSegment>,
    ) -> Option<TcpEvent> {
        let TcpFlags { syn, ack, rst, .. } = segment.flags;
        if rst {
            let window = self.expected..=self.expected + wide(self.window());
            return window
                .contains(&segment.seq)
                .then_some(TcpEvent::Down(Cause::Reset));
        }
        if syn {
            // Our acknowledgement of the SYN was lost.
            self.acknowledge(out);
            return None;
        }
        if ack {
            self.take_ack(now, segment, data.is_empty(), out);
        }
        self.take_data(segment, data, out);
        self.push(now, out);
        None
    }

    fn take_ack(
        &mut self,
        now: Instant,
        segment: TcpHeader,
        is_bare: bool,
        out: &mut Vec<OutgoingSegment>,
    ) {
        let before = self.peer_window;
        self.peer_window = segment.window;
        if segment.ack <= self.una || segment.ack > self.most {
            // A peer that answers probes is alive.
            if segment.window == 0 {
                self.tries = 0;
            }
            let is_same = is_bare && segment.ack == self.una && segment.window == before;
            if is_same && self.next > self.una && !segment.flags.fin {
                self.same_acks += 1;
                if self.same_acks == 3 {
                    let next = self.next;
                    self.resend(out);
                    self.next = next;
                    self.timed = None;
                }
            }
            return;
        }
        let taken = narrow(segment.ack - self.una);
        if taken > self.outbox.len() {
            self.fin = OwnFin::Acknowledged;
        }
        self.outbox.advance(taken.min(self.outbox.len()));
        self.una = segment.ack;
        self.next = self.next.max(self.una);
        self.same_acks = 0;
        self.tries = 0;
        self.measure(now);
        self.deadline = None;
        self.arm(now);
    }

    /// Updates the timeout from a round trip (RFC 6298 section 2), unless the octets were sent twice.
    fn measure(&mut self, now: Instant) {
        let Some((end, sent)) = self.timed.filter(|(end, _)| *end <= self.una) else {
            return;
        };
        debug_assert!(end <= self.una);
        self.timed = None;
        let took = now - sent;
        let (mean, spread) = match self.round_trip {
            None => (took, took / 2),
            Some((mean, spread)) => {
                let off = mean.abs_diff(took);
                ((mean * 7 + took) / 8, (spread * 3 + off) / 4)
            }
        };
        self.round_trip = Some((mean, spread));
        self.timeout = (mean + spread * 4).max(self.tcp.least_timeout);
    }

    fn take_data(&mut self, segment: TcpHeader, data: &Bytes, out: &mut Vec<OutgoingSegment>) {
        if data.is_empty() && !segment.flags.fin {
            return;
        }
        let end = self.expected + wide(self.window());
        let fits = narrow(end.saturating_sub(segment.seq)).min(data.len());
        if fits > 0 {
            self.early.insert(segment.seq, data.slice(..fits));
        }
        if segment.flags.fin && fits == data.len() {
            self.early_fin = Some(segment.seq + wide(data.len()));
        }
        while let Some(entry) = self.early.first_entry() {
            let (start, piece) = (*entry.key(), entry.get().clone());
            if start > self.expected {
                break;
            }
            entry.remove();
            let fresh = piece
                .get(narrow(self.expected - start)..)
                .unwrap_or_default();
            self.expected += wide(fresh.len());
            // If nobody reads any more, octets are acknowledged and dropped.
            if self.owner != Owner::Nobody {
                self.unread.extend_from_slice(fresh);
            }
        }
        if self.early_fin == Some(self.expected) && self.ending == PeerFin::No {
            self.expected += 1;
            self.ending = PeerFin::Arrived;
            self.is_first_to_close =
                self.next > self.data_end() || self.fin == OwnFin::Acknowledged;
        }
        self.acknowledge(out);
    }
}

const fn wide(len: usize) -> u64 {
    // Bound: no platform has more than 64 bits in a usize.
    len as u64
}

fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
