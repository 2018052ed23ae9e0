//! The TCP connections of a host, between segments, its machine, and detached streams.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::pipe::Owner;
use super::super::{AnyAddr, DetachedStream, DropReason, HostId, Node, PacketKind, World};
use super::IpHeader;
use super::stack::Pair;
use super::tcp::{OpenedBy, OutgoingSegment, PeerFin, TcpEvent, TcpHeader, TcpState};
use crate::{Cause, Link, Path, Tag};

/// The timer of a connection.
pub(in super::super) struct TcpTimer {
    pub(in super::super) id: HostId,
    pub(super) pair: Pair,
}

impl World {
    /// Sends the SYN of a connection.
    pub(super) fn start(&mut self, id: HostId, pair: Pair) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(conn) = self.stack(id).conns.get_mut(&pair) {
            conn.open(now, &mut out);
        }
        self.send_segments(id, pair, out);
    }

    /// Handles a segment that arrives at a host.
    pub(super) fn receive_segment(
        &mut self,
        id: HostId,
        header: IpHeader,
        segment: TcpHeader,
        data: &Bytes,
    ) {
        let now = self.now;
        let pair = (header.dst, header.src);
        let is_syn = segment.flags.syn && !segment.flags.ack;
        let stack = self.stack(id);
        let is_listening = stack.listener(pair.0).is_some();
        let mut out = Vec::new();
        let tcp_event = match stack.conns.get_mut(&pair) {
            // A SYN may open the connection again (RFC 9293 section 3.6.1).
            Some(conn) if conn.state != TcpState::TimeWait || !is_syn => {
                conn.receive(now, segment, data, &mut out)
            }
            _ if is_syn && is_listening => {
                stack.accept(pair).answer(now, segment, &mut out);
                None
            }
            _ => return self.send_refusal(Node::Host(id), header, data.len()),
        };
        self.send_segments(id, pair, out);
        if let Some(tcp_event) = tcp_event {
            self.tcp_event(id, pair, tcp_event);
        }
        self.poll_until_idle(id);
    }

    /// Sends segments of a connection, and acts on its new state.
    fn send_segments(&mut self, id: HostId, pair: Pair, out: Vec<OutgoingSegment>) {
        let now = self.now;
        let Some(net) = self.stack(id).net_of(pair.0.ip()) else {
            return;
        };
        for outgoing in out {
            let header = IpHeader {
                src: pair.0,
                dst: pair.1,
                segment: Some(outgoing.segment),
                net,
                is_corrupted: false,
            };
            self.send_segment(Node::Host(id), header, outgoing.data, outgoing.is_repeated);
        }
        let stack = self.stack(id);
        let Some(conn) = stack.conns.get_mut(&pair) else {
            return;
        };
        let owner = conn.owner;
        let has_news = !conn.unread.is_empty() || conn.ending == PeerFin::Arrived;
        if has_news && conn.state == TcpState::Open {
            stack.ready.insert(pair);
        }
        let is_free = conn.is_full && conn.has_room();
        conn.is_full &= !is_free;
        if conn.is_over() && !conn.rest(now) {
            stack.conns.remove(&pair);
            stack.ready.remove(&pair);
        }
        self.schedule_tcp(id, pair);
        if is_free && owner == Owner::Machine {
            self.tell(id, addr(pair), Link::Free);
        }
        if let Owner::Script(index) = owner {
            self.receive_detached_tcp(id, pair, index);
        }
    }

    /// Tells the owner of a connection what happened to it.
    fn tcp_event(&mut self, id: HostId, pair: Pair, tcp_event: TcpEvent) {
        let stack = self.stack(id);
        let Some(conn) = stack.conns.get(&pair) else {
            return;
        };
        let (owner, origin) = (conn.owner, conn.origin);
        if tcp_event != TcpEvent::Opened {
            stack.conns.remove(&pair);
            stack.ready.remove(&pair);
        }
        let link = match (tcp_event, origin) {
            (TcpEvent::Opened, OpenedBy::Asked(tag)) => Link::Opened(tag),
            (TcpEvent::Opened, OpenedBy::Dialled | OpenedBy::Accepted) => Link::Up,
            (TcpEvent::Failed(cause), OpenedBy::Asked(tag)) => Link::Failed(tag, cause),
            (TcpEvent::Failed(cause), OpenedBy::Dialled) | (TcpEvent::Down(cause), _) => {
                Link::Down(cause)
            }
            // The machine has not been told of the connection.
            (TcpEvent::Failed(_), OpenedBy::Accepted) => return,
        };
        match owner {
            Owner::Machine => {
                self.tell(id, addr(pair), link);
            }
            Owner::Script(index) => {
                if let Some(detached) = self.slot(id).extras.detached.get_mut(index) {
                    detached.is_ended = true;
                }
            }
            Owner::Nobody => {}
        }
    }

    pub(in super::super) fn tcp_timer(&mut self, wake: &TcpTimer) {
        let now = self.now;
        let TcpTimer { id, pair } = *wake;
        let Some(conn) = self.stack(id).conns.get_mut(&pair) else {
            return;
        };
        if conn.scheduled != Some(now) {
            return;
        }
        conn.scheduled = None;
        if conn.deadline.is_none_or(|deadline| deadline > now) {
            return self.schedule_tcp(id, pair);
        }
        if conn.state == TcpState::TimeWait {
            self.stack(id).conns.remove(&pair);
            return;
        }
        let mut out = Vec::new();
        let tcp_event = conn.time_out(now, &mut out);
        self.send_segments(id, pair, out);
        if let Some(tcp_event) = tcp_event {
            self.tcp_event(id, pair, tcp_event);
            self.poll_until_idle(id);
        }
    }

    pub(in super::super) fn write_tcp(&mut self, id: HostId, path: Path, octets: &Bytes) {
        let pair = (path.local, path.remote);
        let conn = self.stack(id).conns.get_mut(&pair);
        if conn.is_none_or(|conn| conn.state != TcpState::Open || conn.owner != Owner::Machine) {
            let from = Node::Host(id);
            let kind = PacketKind::Stream;
            let packet = self.trace_sent(from, None, AnyAddr::Path(path), kind, octets, None);
            return self.trace.lost(packet, self.now, DropReason::NoSocket);
        }
        self.write_pair(id, pair, octets);
        let conn = self.stack(id).conns.get_mut(&pair);
        if let Some(conn) = conn.filter(|conn| conn.is_over_full() && !conn.is_full) {
            conn.is_full = true;
            self.tell(id, addr(pair), Link::Full);
        }
    }

    fn write_pair(&mut self, id: HostId, pair: Pair, octets: &[u8]) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(conn) = self.stack(id).conns.get_mut(&pair) {
            conn.write(now, octets, &mut out);
        }
        self.send_segments(id, pair, out);
    }

    /// Gives a machine a chunk of a stream that it wants, or its end. Returns false if there is none.
    pub(in super::super) fn feed_tcp(&mut self, id: HostId) -> bool {
        let stack = self.stack(id);
        // Round robin, so that a busy stream does not starve the others.
        let mut latest = stack.latest_read;
        for _ in 0..stack.ready.len() {
            let Some(pair) = self.stack(id).ready_after(latest) else {
                return false;
            };
            if self.feed_pair(id, pair) {
                return true;
            }
            latest = Some(pair);
        }
        false
    }

    fn feed_pair(&mut self, id: HostId, pair: Pair) -> bool {
        let now = self.now;
        let stack = self.stack(id);
        let conn = stack.conns.get(&pair);
        if conn.is_none_or(|conn| conn.owner != Owner::Machine) {
            stack.ready.remove(&pair);
            return false;
        }
        if !self.slot(id).body.wants(addr(pair)) {
            return false;
        }
        let mut out = Vec::new();
        let stack = self.stack(id);
        stack.latest_read = Some(pair);
        let len = stack.chunks.draw(&mut stack.chunk_rng);
        let Some(conn) = stack.conns.get_mut(&pair) else {
            return false;
        };
        let chunk = conn.take(len, &mut out);
        let is_end = chunk.is_empty() && conn.ending == PeerFin::Arrived;
        if is_end {
            conn.ending = PeerFin::Reported;
        }
        let is_read = conn.unread.is_empty() && conn.ending != PeerFin::Arrived;
        if is_read {
            self.stack(id).ready.remove(&pair);
        }
        if is_end {
            self.tell(id, addr(pair), Link::Ended);
        } else if !chunk.is_empty() {
            self.slot(id).body.receive(now, addr(pair), &chunk);
        }
        self.send_segments(id, pair, out);
        is_end || !chunk.is_empty()
    }

    fn receive_detached_tcp(&mut self, id: HostId, pair: Pair, index: usize) {
        let stack = self.stack(id);
        stack.ready.remove(&pair);
        let Some(conn) = stack.conns.get_mut(&pair) else {
            return;
        };
        let is_ended = conn.ending != PeerFin::No;
        let len = conn.unread.len();
        if len == 0 && !is_ended {
            return;
        }
        let mut out = Vec::new();
        let octets = conn.take(len, &mut out);
        if let Some(detached) = self.slot(id).extras.detached.get_mut(index) {
            detached.received.extend_from_slice(&octets);
            detached.is_ended |= is_ended;
        }
        for outgoing in out {
            self.send_segments(id, pair, alloc::vec![outgoing]);
        }
    }

    pub(in super::super) fn finish_tcp(&mut self, id: HostId, pair: Pair) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(conn) = self.stack(id).conns.get_mut(&pair) {
            conn.finish(now, &mut out);
        }
        self.send_segments(id, pair, out);
    }

    pub(super) fn close_tcp(&mut self, id: HostId, pair: Pair) {
        let Some(conn) = self.stack(id).conns.get_mut(&pair) else {
            return;
        };
        if matches!(conn.state, TcpState::SynSent | TcpState::SynReceived) {
            return self.abort_tcp(id, pair);
        }
        conn.owner = Owner::Nobody;
        conn.unread.clear();
        self.stack(id).ready.remove(&pair);
        self.finish_tcp(id, pair);
    }

    pub(super) fn abort_tcp(&mut self, id: HostId, pair: Pair) {
        let mut out = Vec::new();
        let stack = self.stack(id);
        if let Some(mut conn) = stack.conns.remove(&pair) {
            conn.reset(&mut out);
        }
        stack.ready.remove(&pair);
        self.send_segments(id, pair, out);
    }

    pub(super) fn detach_tcp(&mut self, id: HostId, path: Path, tag: Tag, early: Bytes) {
        let now = self.now;
        let pair = (path.local, path.remote);
        let slot = self.slot(id);
        let index = slot.extras.detached.len();
        slot.extras.detached.push(DetachedStream {
            tag,
            addr: AnyAddr::Path(path),
            time: now,
            early,
            received: Vec::new(),
            is_ended: false,
        });
        if let Some(conn) = self.stack(id).conns.get_mut(&pair) {
            conn.owner = Owner::Script(index);
        }
        self.receive_detached_tcp(id, pair, index);
    }

    pub(in super::super) fn write_detached_tcp(
        &mut self,
        id: HostId,
        path: Path,
        index: usize,
        octets: &[u8],
    ) {
        let pair = (path.local, path.remote);
        let conn = self.stack(id).conns.get(&pair);
        if conn.is_some_and(|conn| conn.owner == Owner::Script(index)) {
            self.write_pair(id, pair, octets);
        }
    }

    pub(in super::super) fn close_detached_tcp(&mut self, id: HostId, path: Path, index: usize) {
        let pair = (path.local, path.remote);
        let conn = self.stack(id).conns.get(&pair);
        if conn.is_some_and(|conn| conn.owner == Owner::Script(index)) {
            self.close_tcp(id, pair);
        }
    }

    /// Resets a connection, as the network may do. Both ends are told.
    pub(in super::super) fn reset_tcp(&mut self, id: HostId, path: Path) {
        let pair = (path.local, path.remote);
        let Some(conn) = self.stack(id).conns.get(&pair) else {
            return;
        };
        let owner = conn.owner;
        self.abort_tcp(id, pair);
        if owner == Owner::Machine {
            self.cue(id, addr(pair), Link::Down(Cause::Reset));
        }
    }
}

const fn addr((local, remote): Pair) -> AnyAddr {
    AnyAddr::Path(Path::tcp(local, remote))
}
