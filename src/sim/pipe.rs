//! Streams between machines whose address is `()`: reliable, ordered, cut as the script likes.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::dice::{Dice, wire_time};
use super::happening::Rare;
use super::trace::PacketId;
use super::world::Lodging;
use super::{Carrier, Detached, Flags, HostId, Node, Place, StreamLine, Why, World, misuse};
use crate::{Ask, Cause, Instant, Link, Tag};

/// Octets that travel together when a line takes time over them: about a TCP segment's worth.
const PIECE: usize = 1460;

/// One direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneId(u32);

/// All directions of all streams.
pub(super) struct Lanes(Vec<Lane>);

/// One direction of a stream.
struct Lane {
    writer: HostId,
    reader: HostId,
    /// The other direction.
    back: LaneId,
    /// Who holds the writer's end, which is also the reader's end of `back`.
    owner: Owner,
    line: StreamLine,
    dice: Dice,
    busy_until: Instant,
    latest: Instant,
    flying: usize,
    unread: BytesMut,
    is_full: bool,
    end: End,
    /// Counts cuts; what set off in an earlier life never arrives.
    life: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Machine,
    /// The script, by its place in the list of streams that were handed over.
    Script(usize),
    Nobody,
}

/// How far the writer's end of a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Finished,
    Arrived,
    Told,
}

/// What comes out of a lane.
pub(super) enum News {
    Octets {
        octets: Bytes,
        life: u32,
        /// Of the last piece of a write.
        packet: Option<PacketId>,
    },
    Fin(u32, Option<PacketId>),
    Reset(u32, Option<PacketId>),
    /// The writer may go on.
    Free(u32),
}

/// The other direction of a stream: both lie side by side.
pub(super) const fn other_way(LaneId(lane): LaneId) -> LaneId {
    LaneId(lane ^ 1)
}

impl Lanes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    // Bound: a world of four billion streams has no memory left for them.
    fn next(&self) -> LaneId {
        LaneId(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    /// Reads something of a lane: who reads from it.
    pub(super) fn glance(&self, LaneId(lane): LaneId) -> Option<HostId> {
        let place = usize::try_from(lane).unwrap_or(usize::MAX);
        self.0.get(place).map(|lane| lane.reader)
    }

    fn get(&mut self, LaneId(lane): LaneId) -> &mut Lane {
        let place = usize::try_from(lane).unwrap_or(usize::MAX);
        match self.0.get_mut(place) {
            Some(lane) => lane,
            None => misuse("the stream belongs to another world"),
        }
    }
}

impl Lane {
    fn waits(&self) -> usize {
        self.flying + self.unread.len()
    }

    /// When a piece of `len` octets that is written at `now` arrives.
    fn carry(&mut self, now: Instant, len: usize) -> Instant {
        let line = &self.line;
        let takes = line
            .rate
            .map_or(Duration::ZERO, |rate| wire_time(len, rate));
        self.busy_until = self.busy_until.max(now) + takes;
        let moving = line.moving.as_ref();
        let moving = moving.map_or(Duration::ZERO, |moving| moving.delay(self.busy_until));
        let jitter = self.dice.spread(line.jitter);
        self.latest = self
            .latest
            .max(self.busy_until + line.delay + moving + jitter);
        self.latest
    }

    fn chunk(&mut self) -> usize {
        let size = self.line.chunks.draw(&mut self.dice);
        size.min(self.unread.len())
    }
}

impl World {
    /// Joins two machines whose address is `()` by a stream, both directions alike. Both hear
    /// [`Link::Up`] at once, the first one first.
    pub fn connect(&mut self, one: impl Into<HostId>, other: impl Into<HostId>, line: StreamLine) {
        let (one, other) = (one.into(), other.into());
        let there = self.lanes.next();
        let back = other_way(there);
        self.add_lane(one, other, back, line.clone());
        self.add_lane(other, one, there, line);
        self.board(one, there);
        self.board(other, back);
        self.cue(one, Place::Stream, Link::Up);
        self.cue(other, Place::Stream, Link::Up);
    }

    fn add_lane(&mut self, writer: HostId, reader: HostId, back: LaneId, line: StreamLine) {
        let name = format!("lane {} to {}", writer.0, reader.0);
        self.lanes.0.push(Lane {
            writer,
            reader,
            back,
            owner: Owner::Machine,
            line,
            dice: Dice::new(&self.seed.child(&name)),
            busy_until: self.now,
            latest: self.now,
            flying: 0,
            unread: BytesMut::new(),
            is_full: false,
            end: End::Open,
            life: 0,
        });
    }

    fn board(&mut self, id: HostId, out: LaneId) {
        match &mut self.slot(id).lodging {
            Lodging::Stream(lane @ None) => *lane = Some(out),
            Lodging::Stream(Some(_)) => misuse("a machine has one stream in its life"),
            _ => misuse("only machines whose address is () are joined by a stream"),
        }
    }

    /// Changes one direction of a stream: what `from` writes from here on.
    pub fn stream_from(&mut self, from: impl Into<HostId>, line: StreamLine) {
        let Some((out, _)) = self.lanes_of(from.into()) else {
            misuse("the host has no stream yet");
        };
        self.lanes.get(out).line = line;
    }

    pub(super) fn lanes_of(&self, id: HostId) -> Option<(LaneId, LaneId)> {
        match self.hosts.get(id.index())?.lodging {
            Lodging::Stream(out) => out.map(|out| (out, other_way(out))),
            _ => None,
        }
    }

    pub(super) fn write_lane(&mut self, id: HostId, octets: Bytes) {
        let from = Node::Host(id);
        let Some((out, _)) = self.lanes_of(id) else {
            let packet = self.note_sent(from, None, Place::Stream, Carrier::Stream, &octets, None);
            return self.trace.lost(packet, self.now, Why::NoLine);
        };
        let now = self.now;
        let to = Some(Node::Host(self.lanes.get(out).reader));
        let packet = self.note_sent(from, to, Place::Stream, Carrier::Stream, &octets, None);
        let lane = self.lanes.get(out);
        if lane.end != End::Open {
            return self.trace.lost(packet, now, Why::Cut);
        }
        let takes_time = lane.line.rate.is_some() || !lane.line.jitter.is_zero();
        let most = if takes_time { PIECE } else { usize::MAX };
        let mut rest = octets;
        while !rest.is_empty() {
            let piece = rest.split_to(most.min(rest.len()));
            let lane = self.lanes.get(out);
            lane.flying += piece.len();
            let at = lane.carry(now, piece.len());
            let news = News::Octets {
                octets: piece,
                life: lane.life,
                packet: packet.filter(|_| rest.is_empty()),
            };
            self.plan_lane(at, out, news);
        }
        self.fill_lane(out);
    }

    fn fill_lane(&mut self, out: LaneId) {
        let lane = self.lanes.get(out);
        let is_over = lane
            .line
            .window
            .is_some_and(|window| lane.waits() >= window);
        if is_over && !lane.is_full {
            lane.is_full = true;
            let (writer, owner) = (lane.writer, lane.owner);
            if owner == Owner::Machine {
                self.tell(writer, Place::Stream, Link::Full);
            }
        }
    }

    pub(super) fn lane_news(&mut self, lane: LaneId, news: News) {
        let life = self.lanes.get(lane).life;
        match news {
            News::Octets {
                life: old, packet, ..
            } if old != life => {
                self.trace.lost(packet, self.now, Why::Cut);
            }
            News::Octets { octets, packet, .. } => self.octets_arrive(lane, &octets, packet),
            News::Fin(old, packet) if old == life => {
                self.trace.arrived(packet, self.now);
                let state = self.lanes.get(lane);
                state.end = End::Arrived;
                let reader = state.reader;
                self.read_on(reader);
            }
            News::Reset(old, packet) if old == life => {
                self.trace.arrived(packet, self.now);
                self.cut_off(lane, Cause::Reset);
            }
            News::Free(old) if old == life => {
                let state = self.lanes.get(lane);
                let (writer, owner) = (state.writer, state.owner);
                if owner == Owner::Machine && state.end == End::Open {
                    self.cue(writer, Place::Stream, Link::Free);
                }
            }
            News::Fin(_, packet) | News::Reset(_, packet) => {
                self.trace.lost(packet, self.now, Why::Cut);
            }
            News::Free(_) => {}
        }
    }

    fn octets_arrive(&mut self, lane: LaneId, octets: &Bytes, packet: Option<PacketId>) {
        let now = self.now;
        let state = self.lanes.get(lane);
        state.flying -= octets.len();
        state.unread.extend_from_slice(octets);
        let (reader, back) = (state.reader, state.back);
        let owner = self.lanes.get(back).owner;
        let is_done = self.slot(reader).is_done;
        match owner {
            Owner::Machine if !is_done => {
                self.trace.arrived(packet, now);
                self.read_on(reader);
            }
            Owner::Script(index) => {
                self.trace.arrived(packet, now);
                self.hand_octets(lane, index);
            }
            Owner::Machine | Owner::Nobody => {
                self.trace.lost(packet, now, Why::Gone);
                let len = self.lanes.get(lane).unread.len();
                self.consume(lane, len);
            }
        }
    }

    /// Lets a host read what waits for it; a held one reads on, although it is not polled.
    fn read_on(&mut self, id: HostId) {
        if let Some((_, back)) = self.lanes_of(id)
            && let Owner::Script(index) = self.owner_of(id)
        {
            return self.hand_octets(back, index);
        }
        self.settle(id);
    }

    fn owner_of(&mut self, id: HostId) -> Owner {
        match self.lanes_of(id) {
            Some((out, _)) => self.lanes.get(out).owner,
            None => Owner::Nobody,
        }
    }

    /// Gives the machine of `reader` the next chunk of its stream, or its end; false when there is none.
    pub(super) fn feed_lane(&mut self, id: HostId, lane: LaneId) -> bool {
        let now = self.now;
        if self.owner_of(id) != Owner::Machine {
            return false;
        }
        let state = self.lanes.get(lane);
        let has_end = state.end == End::Arrived;
        if state.unread.is_empty() && !has_end {
            return false;
        }
        if !self.slot(id).body.wants(Place::Stream) {
            return false;
        }
        let state = self.lanes.get(lane);
        if state.unread.is_empty() {
            state.end = End::Told;
            return self.tell(id, Place::Stream, Link::Ended);
        }
        let size = state.chunk();
        let chunk = self.consume(lane, size);
        self.slot(id).body.receive(now, Place::Stream, &chunk);
        true
    }

    /// Takes octets out of the far end, which may let the writer go on.
    fn consume(&mut self, lane: LaneId, len: usize) -> BytesMut {
        let now = self.now;
        let state = self.lanes.get(lane);
        let chunk = state.unread.split_to(len);
        let half = state.line.window.map(|window| window / 2);
        if state.is_full && half.is_none_or(|half| state.waits() <= half) {
            state.is_full = false;
            let (back, life) = (state.back, state.life);
            // The news that there is room travels the other way.
            let at = now + self.lanes.get(back).line.delay;
            self.plan_lane(at, lane, News::Free(life));
        }
        chunk
    }

    fn hand_octets(&mut self, lane: LaneId, index: usize) {
        let len = self.lanes.get(lane).unread.len();
        let octets = self.consume(lane, len);
        let state = self.lanes.get(lane);
        let reader = state.reader;
        let is_ended = state.end == End::Arrived;
        if let Some(handed) = self.slot(reader).spare.handed.get_mut(index) {
            handed.received.extend_from_slice(&octets);
            handed.is_ended |= is_ended;
        }
    }

    /// A machine asks something about its stream.
    pub(super) fn answer_stream(&mut self, id: HostId, ask: Ask<Place>) {
        let Some((out, back)) = self.lanes_of(id) else {
            return;
        };
        match ask {
            Ask::Open { tag, .. } => {
                let failed = Link::Failed(tag, Cause::Unreachable);
                self.plan(self.now, Rare::Cue(id, Place::Stream, failed));
            }
            Ask::Cancel(_) => {}
            Ask::Finish(_) => self.finish_lane(out),
            Ask::Close(_) => self.close_lane(out, back),
            Ask::Abort(_) => self.abort_lane(out, back),
            Ask::Detach { tag, early, .. } => self.hand_lane(id, (out, back), tag, early),
        }
    }

    fn finish_lane(&mut self, out: LaneId) {
        let now = self.now;
        let lane = self.lanes.get(out);
        if lane.end != End::Open {
            return;
        }
        lane.end = End::Finished;
        let at = lane.carry(now, 0);
        let packet = self.note_flags(out, Flags::FIN);
        let news = News::Fin(self.lanes.get(out).life, packet);
        self.plan_lane(at, out, news);
    }

    /// A machine is done; what it handed over lives on.
    pub(super) fn close_machine_lane(&mut self, out: LaneId, back: LaneId) {
        if self.lanes.get(out).owner == Owner::Machine {
            self.close_lane(out, back);
        }
    }

    fn close_lane(&mut self, out: LaneId, back: LaneId) {
        self.finish_lane(out);
        self.lanes.get(out).owner = Owner::Nobody;
        let len = self.lanes.get(back).unread.len();
        self.consume(back, len);
    }

    fn abort_lane(&mut self, out: LaneId, back: LaneId) {
        let now = self.now;
        let lane = self.lanes.get(out);
        if lane.owner == Owner::Nobody {
            return;
        }
        lane.owner = Owner::Nobody;
        lane.end = End::Told;
        let at = now + lane.line.delay;
        let packet = self.note_flags(out, Flags::RST);
        let news = News::Reset(self.lanes.get(out).life, packet);
        self.plan_lane(at, out, news);
        let back = self.lanes.get(back);
        back.life += 1;
        back.unread.clear();
    }

    /// Notes an end or a reset in the trace.
    fn note_flags(&mut self, out: LaneId, flags: Flags) -> Option<PacketId> {
        let lane = self.lanes.get(out);
        let (from, to) = (Node::Host(lane.writer), Node::Host(lane.reader));
        let carrier = Carrier::Tcp(flags);
        self.note_sent(from, Some(to), Place::Stream, carrier, &Bytes::new(), None)
    }

    /// A reset comes out of `lane`: both directions are dead.
    fn cut_off(&mut self, lane: LaneId, cause: Cause) {
        let state = self.lanes.get(lane);
        state.life += 1;
        state.unread.clear();
        let (reader, back) = (state.reader, state.back);
        let state = self.lanes.get(back);
        state.life += 1;
        state.unread.clear();
        state.end = End::Told;
        match core::mem::replace(&mut state.owner, Owner::Nobody) {
            Owner::Machine => self.cue(reader, Place::Stream, Link::Down(cause)),
            Owner::Script(index) => {
                if let Some(handed) = self.slot(reader).spare.handed.get_mut(index) {
                    handed.is_ended = true;
                }
            }
            Owner::Nobody => {}
        }
    }

    fn hand_lane(&mut self, id: HostId, (out, back): (LaneId, LaneId), tag: Tag, early: Bytes) {
        let now = self.now;
        let slot = self.slot(id);
        let index = slot.spare.handed.len();
        slot.spare.handed.push(Detached {
            tag,
            place: Place::Stream,
            time: now,
            early,
            received: Vec::new(),
            is_ended: false,
        });
        self.lanes.get(out).owner = Owner::Script(index);
        self.hand_octets(back, index);
    }

    pub(super) fn write_handed_lane(&mut self, id: HostId, index: usize, octets: Bytes) {
        if self.owner_of(id) == Owner::Script(index) {
            self.write_lane(id, octets);
        }
    }

    pub(super) fn close_handed_lane(&mut self, id: HostId, index: usize) {
        if self.owner_of(id) == Owner::Script(index)
            && let Some((out, back)) = self.lanes_of(id)
        {
            self.close_lane(out, back);
        }
    }

    /// Cuts a stream off as the network might: its host hears [`Link::Down`] with [`Cause::Reset`] at once,
    /// its peer after the delay of the line, and what is in flight is lost.
    pub(super) fn reset_lane(&mut self, id: HostId) {
        let Some((out, back)) = self.lanes_of(id) else {
            return;
        };
        if self.owner_of(id) == Owner::Nobody {
            return;
        }
        self.cut_off(back, Cause::Reset);
        let lane = self.lanes.get(out);
        let at = self.now + lane.line.delay;
        let packet = self.note_flags(out, Flags::RST);
        let news = News::Reset(self.lanes.get(out).life, packet);
        self.plan_lane(at, out, news);
    }

    pub(super) fn half_close_lane(&mut self, id: HostId) {
        if let Some((out, _)) = self.lanes_of(id) {
            self.finish_lane(out);
        }
    }
}
