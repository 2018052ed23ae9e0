//! Streams between machines whose address is `()`: reliable and ordered, in chunks of any length.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::rng::{LineRng, wire_time};
use super::trace::PacketId;
use super::world::AddressState;
use super::{
    AnyAddr, DetachedStream, DropReason, HostId, Node, PacketKind, StreamLine, TcpFlags, World,
    misuse,
};
use crate::{Ask, Cause, Instant, Link, Tag};

/// The longest piece that travels alone if a line has a rate or jitter: about a TCP segment.
const PIECE: usize = 1460;

/// The index of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PipeId(u32);

/// All pipes of a world.
pub(super) struct Pipes(Vec<Pipe>);

/// One direction of a stream.
struct Pipe {
    writer: HostId,
    reader: HostId,
    /// The other direction.
    back: PipeId,
    /// The owner of the writer's end, which is also the reader's end of `back`.
    owner: Owner,
    line: StreamLine,
    rng: LineRng,
    busy_until: Instant,
    latest: Instant,
    flying: usize,
    unread: BytesMut,
    is_full: bool,
    end: WriteState,
    /// Counts resets. What was sent in an earlier generation never arrives.
    generation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Machine,
    /// The script, with the index of the detached stream.
    Script(usize),
    Nobody,
}

/// The state of the writer's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteState {
    Open,
    Finished,
    Arrived,
    Reported,
}

/// What arrives at the end of a pipe.
pub(super) enum PipeEvent {
    Octets {
        octets: Bytes,
        generation: u32,
        /// The packet that ends with these octets.
        packet: Option<PacketId>,
    },
    Fin(u32, Option<PacketId>),
    Reset(u32, Option<PacketId>),
    /// The writer may continue.
    Free(u32),
}

/// Returns the other direction of a stream, which has the neighbouring index.
pub(super) const fn reverse(PipeId(pipe): PipeId) -> PipeId {
    PipeId(pipe ^ 1)
}

impl Pipes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    // Bound: a world of four billion streams has no memory left for them.
    fn next(&self) -> PipeId {
        PipeId(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    fn get(&mut self, PipeId(pipe): PipeId) -> &mut Pipe {
        let addr = usize::try_from(pipe).unwrap_or(usize::MAX);
        match self.0.get_mut(addr) {
            Some(pipe) => pipe,
            None => misuse("the stream belongs to another world"),
        }
    }
}

impl Pipe {
    fn buffered(&self) -> usize {
        self.flying + self.unread.len()
    }

    /// Returns when a piece of `len` octets that is written at `now` arrives.
    fn arrival_time(&mut self, now: Instant, len: usize) -> Instant {
        let line = &self.line;
        let takes = line
            .rate
            .map_or(Duration::ZERO, |rate| wire_time(len, rate));
        self.busy_until = self.busy_until.max(now) + takes;
        let variable_delay = line.variable_delay.as_ref();
        let variable_delay = variable_delay.map_or(Duration::ZERO, |variable_delay| {
            variable_delay.delay(self.busy_until)
        });
        let jitter = self.rng.spread(line.jitter);
        self.latest = self
            .latest
            .max(self.busy_until + line.delay + variable_delay + jitter);
        self.latest
    }

    fn chunk(&mut self) -> usize {
        let size = self.line.chunks.draw(&mut self.rng);
        size.min(self.unread.len())
    }
}

impl World {
    /// Connects two machines whose address is `()` by a stream, with equal directions. Both get [`Link::Up`],
    /// `one` first.
    pub fn connect(&mut self, one: impl Into<HostId>, other: impl Into<HostId>, line: StreamLine) {
        let (one, other) = (one.into(), other.into());
        let there = self.pipes.next();
        let back = reverse(there);
        self.add_pipe(one, other, back, line.clone());
        self.add_pipe(other, one, there, line);
        self.join_pipe(one, there);
        self.join_pipe(other, back);
        self.cue(one, AnyAddr::Stream, Link::Up);
        self.cue(other, AnyAddr::Stream, Link::Up);
    }

    fn add_pipe(&mut self, writer: HostId, reader: HostId, back: PipeId, line: StreamLine) {
        let name = format!("lane {} to {}", writer.0, reader.0);
        self.pipes.0.push(Pipe {
            writer,
            reader,
            back,
            owner: Owner::Machine,
            line,
            rng: LineRng::new(&self.seed.child(&name)),
            busy_until: self.now,
            latest: self.now,
            flying: 0,
            unread: BytesMut::new(),
            is_full: false,
            end: WriteState::Open,
            generation: 0,
        });
    }

    fn join_pipe(&mut self, id: HostId, out: PipeId) {
        match &mut self.slot(id).address {
            AddressState::Stream(pipe @ None) => *pipe = Some(out),
            AddressState::Stream(Some(_)) => misuse("the host has a stream already"),
            _ => misuse("only machines whose address is () can be connected"),
        }
    }

    /// Replaces one direction of a stream: what `from` writes from now on.
    pub fn stream_from(&mut self, from: impl Into<HostId>, line: StreamLine) {
        let Some((out, _)) = self.pipes_of(from.into()) else {
            misuse("the host is not connected");
        };
        self.pipes.get(out).line = line;
    }

    pub(super) fn pipes_of(&self, id: HostId) -> Option<(PipeId, PipeId)> {
        match self.hosts.get(id.index())?.address {
            AddressState::Stream(out) => out.map(|out| (out, reverse(out))),
            _ => None,
        }
    }

    pub(super) fn write_pipe(&mut self, id: HostId, octets: Bytes) {
        let from = Node::Host(id);
        let Some((out, _)) = self.pipes_of(id) else {
            let packet = self.trace_sent(
                from,
                None,
                AnyAddr::Stream,
                PacketKind::Stream,
                &octets,
                None,
            );
            return self.trace.lost(packet, self.now, DropReason::NoLine);
        };
        let now = self.now;
        let to = Some(Node::Host(self.pipes.get(out).reader));
        let packet = self.trace_sent(from, to, AnyAddr::Stream, PacketKind::Stream, &octets, None);
        let pipe = self.pipes.get(out);
        if pipe.end != WriteState::Open {
            return self.trace.lost(packet, now, DropReason::Reset);
        }
        let takes_time = pipe.line.rate.is_some() || !pipe.line.jitter.is_zero();
        let most = if takes_time { PIECE } else { usize::MAX };
        let mut rest = octets;
        while !rest.is_empty() {
            let piece = rest.split_to(most.min(rest.len()));
            let pipe = self.pipes.get(out);
            pipe.flying += piece.len();
            let at = pipe.arrival_time(now, piece.len());
            let event = PipeEvent::Octets {
                octets: piece,
                generation: pipe.generation,
                packet: packet.filter(|_| rest.is_empty()),
            };
            self.schedule_pipe(at, out, event);
        }
        self.signal_full_pipe(out);
    }

    fn signal_full_pipe(&mut self, out: PipeId) {
        let pipe = self.pipes.get(out);
        let is_over = pipe
            .line
            .window
            .is_some_and(|window| pipe.buffered() >= window);
        if is_over && !pipe.is_full {
            pipe.is_full = true;
            let (writer, owner) = (pipe.writer, pipe.owner);
            if owner == Owner::Machine {
                self.tell(writer, AnyAddr::Stream, Link::Full);
            }
        }
    }

    pub(super) fn pipe_event(&mut self, pipe: PipeId, event: PipeEvent) {
        let generation = self.pipes.get(pipe).generation;
        match event {
            PipeEvent::Octets {
                generation: old,
                packet,
                ..
            } if old != generation => {
                self.trace.lost(packet, self.now, DropReason::Reset);
            }
            PipeEvent::Octets { octets, packet, .. } => self.octets_arrive(pipe, &octets, packet),
            PipeEvent::Fin(old, packet) if old == generation => {
                self.trace.arrived(packet, self.now);
                let state = self.pipes.get(pipe);
                state.end = WriteState::Arrived;
                let reader = state.reader;
                self.read_on(reader);
            }
            PipeEvent::Reset(old, packet) if old == generation => {
                self.trace.arrived(packet, self.now);
                self.reset_received(pipe, Cause::Reset);
            }
            PipeEvent::Free(old) if old == generation => {
                let state = self.pipes.get(pipe);
                let (writer, owner) = (state.writer, state.owner);
                if owner == Owner::Machine && state.end == WriteState::Open {
                    self.cue(writer, AnyAddr::Stream, Link::Free);
                }
            }
            PipeEvent::Fin(_, packet) | PipeEvent::Reset(_, packet) => {
                self.trace.lost(packet, self.now, DropReason::Reset);
            }
            PipeEvent::Free(_) => {}
        }
    }

    fn octets_arrive(&mut self, pipe: PipeId, octets: &Bytes, packet: Option<PacketId>) {
        let now = self.now;
        let state = self.pipes.get(pipe);
        state.flying -= octets.len();
        state.unread.extend_from_slice(octets);
        let (reader, back) = (state.reader, state.back);
        let owner = self.pipes.get(back).owner;
        let is_done = self.slot(reader).is_done;
        match owner {
            Owner::Machine if !is_done => {
                self.trace.arrived(packet, now);
                self.read_on(reader);
            }
            Owner::Script(index) => {
                self.trace.arrived(packet, now);
                self.receive_detached(pipe, index);
            }
            Owner::Machine | Owner::Nobody => {
                self.trace.lost(packet, now, DropReason::Closed);
                let len = self.pipes.get(pipe).unread.len();
                self.consume(pipe, len);
            }
        }
    }

    /// Lets a host read. A host with held datagrams reads although it is not polled.
    fn read_on(&mut self, id: HostId) {
        if let Some((_, back)) = self.pipes_of(id)
            && let Owner::Script(index) = self.owner_of(id)
        {
            return self.receive_detached(back, index);
        }
        self.poll_until_idle(id);
    }

    fn owner_of(&mut self, id: HostId) -> Owner {
        match self.pipes_of(id) {
            Some((out, _)) => self.pipes.get(out).owner,
            None => Owner::Nobody,
        }
    }

    /// Gives a machine the next chunk of its stream, or its end. Returns false if there is none.
    pub(super) fn feed_pipe(&mut self, id: HostId, pipe: PipeId) -> bool {
        let now = self.now;
        if self.owner_of(id) != Owner::Machine {
            return false;
        }
        let state = self.pipes.get(pipe);
        let has_end = state.end == WriteState::Arrived;
        if state.unread.is_empty() && !has_end {
            return false;
        }
        if !self.slot(id).body.wants(AnyAddr::Stream) {
            return false;
        }
        let state = self.pipes.get(pipe);
        if state.unread.is_empty() {
            state.end = WriteState::Reported;
            return self.tell(id, AnyAddr::Stream, Link::Ended);
        }
        let size = state.chunk();
        let chunk = self.consume(pipe, size);
        self.slot(id).body.receive(now, AnyAddr::Stream, &chunk);
        true
    }

    /// Removes octets at the reader's end, after which the writer may continue.
    fn consume(&mut self, pipe: PipeId, len: usize) -> BytesMut {
        let now = self.now;
        let state = self.pipes.get(pipe);
        let chunk = state.unread.split_to(len);
        let half = state.line.window.map(|window| window / 2);
        if state.is_full && half.is_none_or(|half| state.buffered() <= half) {
            state.is_full = false;
            let (back, generation) = (state.back, state.generation);
            // That there is room is told in the other direction.
            let at = now + self.pipes.get(back).line.delay;
            self.schedule_pipe(at, pipe, PipeEvent::Free(generation));
        }
        chunk
    }

    fn receive_detached(&mut self, pipe: PipeId, index: usize) {
        let len = self.pipes.get(pipe).unread.len();
        let octets = self.consume(pipe, len);
        let state = self.pipes.get(pipe);
        let reader = state.reader;
        let is_ended = state.end == WriteState::Arrived;
        if let Some(detached) = self.slot(reader).extras.detached.get_mut(index) {
            detached.received.extend_from_slice(&octets);
            detached.is_ended |= is_ended;
        }
    }

    /// Carries out what a machine asks about its stream.
    pub(super) fn answer_stream(&mut self, id: HostId, ask: Ask<AnyAddr>) {
        let Some((out, back)) = self.pipes_of(id) else {
            return;
        };
        match ask {
            Ask::Open { .. } | Ask::Cancel(_) => self.answer_without_sockets(id, &ask),
            Ask::Finish(_) => self.finish_pipe(out),
            Ask::Close(_) => self.close_pipe(out, back),
            Ask::Abort(_) => self.abort_pipe(out, back),
            Ask::Detach { tag, early, .. } => self.detach_pipe(id, (out, back), tag, early),
        }
    }

    fn finish_pipe(&mut self, out: PipeId) {
        let now = self.now;
        let pipe = self.pipes.get(out);
        if pipe.end != WriteState::Open {
            return;
        }
        pipe.end = WriteState::Finished;
        let at = pipe.arrival_time(now, 0);
        let packet = self.note_flags(out, TcpFlags::FIN);
        let event = PipeEvent::Fin(self.pipes.get(out).generation, packet);
        self.schedule_pipe(at, out, event);
    }

    /// Closes the stream of a machine that is done, unless it is detached.
    pub(super) fn close_machine_pipe(&mut self, out: PipeId, back: PipeId) {
        if self.pipes.get(out).owner == Owner::Machine {
            self.close_pipe(out, back);
        }
    }

    fn close_pipe(&mut self, out: PipeId, back: PipeId) {
        self.finish_pipe(out);
        self.pipes.get(out).owner = Owner::Nobody;
        let len = self.pipes.get(back).unread.len();
        self.consume(back, len);
    }

    fn abort_pipe(&mut self, out: PipeId, back: PipeId) {
        let now = self.now;
        let pipe = self.pipes.get(out);
        if pipe.owner == Owner::Nobody {
            return;
        }
        pipe.owner = Owner::Nobody;
        pipe.end = WriteState::Reported;
        let at = now + pipe.line.delay;
        let packet = self.note_flags(out, TcpFlags::RST);
        let event = PipeEvent::Reset(self.pipes.get(out).generation, packet);
        self.schedule_pipe(at, out, event);
        let back = self.pipes.get(back);
        back.generation += 1;
        back.unread.clear();
    }

    /// Adds a FIN or a reset to the trace.
    fn note_flags(&mut self, out: PipeId, flags: TcpFlags) -> Option<PacketId> {
        let pipe = self.pipes.get(out);
        let (from, to) = (Node::Host(pipe.writer), Node::Host(pipe.reader));
        let kind = PacketKind::Tcp(flags);
        self.trace_sent(from, Some(to), AnyAddr::Stream, kind, &Bytes::new(), None)
    }

    /// Ends both directions, because a reset arrived.
    fn reset_received(&mut self, pipe: PipeId, cause: Cause) {
        let state = self.pipes.get(pipe);
        state.generation += 1;
        state.unread.clear();
        let (reader, back) = (state.reader, state.back);
        let state = self.pipes.get(back);
        state.generation += 1;
        state.unread.clear();
        state.end = WriteState::Reported;
        match core::mem::replace(&mut state.owner, Owner::Nobody) {
            Owner::Machine => self.cue(reader, AnyAddr::Stream, Link::Down(cause)),
            Owner::Script(index) => {
                if let Some(detached) = self.slot(reader).extras.detached.get_mut(index) {
                    detached.is_ended = true;
                }
            }
            Owner::Nobody => {}
        }
    }

    fn detach_pipe(&mut self, id: HostId, (out, back): (PipeId, PipeId), tag: Tag, early: Bytes) {
        let now = self.now;
        let slot = self.slot(id);
        let index = slot.extras.detached.len();
        slot.extras.detached.push(DetachedStream {
            tag,
            addr: AnyAddr::Stream,
            time: now,
            early,
            received: Vec::new(),
            is_ended: false,
        });
        self.pipes.get(out).owner = Owner::Script(index);
        self.receive_detached(back, index);
    }

    pub(super) fn write_detached_pipe(&mut self, id: HostId, index: usize, octets: Bytes) {
        if self.owner_of(id) == Owner::Script(index) {
            self.write_pipe(id, octets);
        }
    }

    pub(super) fn close_detached_pipe(&mut self, id: HostId, index: usize) {
        if self.owner_of(id) == Owner::Script(index)
            && let Some((out, back)) = self.pipes_of(id)
        {
            self.close_pipe(out, back);
        }
    }

    /// Resets a stream: its host is told at once, the peer after the delay of the line. Octets in flight are
    /// lost.
    pub(super) fn reset_pipe(&mut self, id: HostId) {
        let Some((out, back)) = self.pipes_of(id) else {
            return;
        };
        if self.owner_of(id) == Owner::Nobody {
            return;
        }
        self.reset_received(back, Cause::Reset);
        let pipe = self.pipes.get(out);
        let at = self.now + pipe.line.delay;
        let packet = self.note_flags(out, TcpFlags::RST);
        let event = PipeEvent::Reset(self.pipes.get(out).generation, packet);
        self.schedule_pipe(at, out, event);
    }

    pub(super) fn half_close_pipe(&mut self, id: HostId) {
        if let Some((out, _)) = self.pipes_of(id) {
            self.finish_pipe(out);
        }
    }
}
