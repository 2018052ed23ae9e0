//! The receiving role: blocks on their way in, and how sessions of others end.

mod ends;
mod prediction;
mod saved;
mod single_segment;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use bytes::Bytes;

pub(super) use self::prediction::Prediction;
pub(super) use self::single_segment::SingleSegment;
use super::api::{Event, Service};
use super::auth::Name;
use super::buffer_pool::{BufferPool, LEAST, deliver};
use super::closed::End;
use super::engine::{Engine, TimerKind};
use super::peer::{Control, PeerState, Role};
use super::report::Reports;
use super::sender::Cancel;
use super::wire::{Checkpoint, Color, Data, Mark, Reason, SessionId};
use crate::kit::RangeSet;
use crate::kit::{Due, TimerId};
use crate::{Addr, Instant};

/// Bytes that an event counts for beside its payload.
pub(super) const EVENT_OVERHEAD: usize = size_of::<(Event, usize)>() + 64;

/// A session of a peer's.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) slot: u32,
    /// What named the key of the session (RFC 5327 section 2.1).
    pub(super) key_hash: Option<Name>,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Receiving(Box<Reception>),
    Single(SingleSegment),
    /// Also what is left of a session for a service that is not open: it draws one CR, not one per segment.
    Cancelling(Cancel),
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "red and green part end independently of each other and of the delivery"
)]
pub(super) struct Reception {
    client: u64,
    service: Service,
    /// The red part as far as it came, zeros in the gaps; empty once delivered.
    buffer: Vec<u8>,
    /// Octets of the buffer that are accounted for. It has more when it served another block before.
    granted: usize,
    /// By how much, as far as that is accounted for.
    excess: usize,
    pub(super) held: RangeSet,
    /// Octets of the red part, known from its last segment.
    red: Option<u64>,
    ends_block: bool,
    /// The first green octet seen.
    green: Option<u64>,
    is_green_over: bool,
    pub(super) is_delivered: bool,
    /// Octets handed over in pieces.
    streamed: u64,
    is_streaming: bool,
    pub(super) reports: Reports,
    /// When a segment last came.
    active: Instant,
    guard: Option<TimerId>,
    /// Bytes of memory accounted for.
    charge: usize,
}

/// What a red segment leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    /// There is no memory for it: it counts as not received.
    NoRoom,
    Cancel(Reason),
}

impl Import {
    /// Whether the session is live, for `client`, and has yet to be delivered.
    pub(super) fn is_awaited_by(&self, client: u64) -> bool {
        matches!(
            &self.stage,
            Stage::Receiving(reception) if reception.client == client && !reception.is_delivered
        )
    }
}

impl Reception {
    /// Returns the octets of a report that was made.
    pub(super) fn report_body(&self, serial: u64) -> Option<&[u8]> {
        self.reports.body(serial)
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.granted + self.held.memory_used() + self.reports.memory_used()
    }

    /// Octets of the red part, once all of it is here.
    pub(super) fn complete_red(&self) -> Option<u64> {
        self.red.filter(|red| self.held.len() == *red)
    }

    /// Whether the end of the red part has not come.
    pub(super) const fn is_open_ended(&self) -> bool {
        self.red.is_none()
    }

    /// Where the red part is known to end, or has reached.
    pub(super) fn red_reached(&self) -> u64 {
        self.red.unwrap_or_else(|| self.held.end())
    }

    /// Colors and ends that contradict each other (P21, RFC 5326 section 6.21).
    ///
    /// The RFC compares where segments start; by extents, overlaps are found too. Two ends of the red part,
    /// or red data behind it, are no case of the RFC's, and no sender could complete such a session.
    fn is_miscolored(&self, range: &Range<u64>, color: Color) -> bool {
        let Color::Red(checkpoint) = color else {
            return range.start < self.red_reached();
        };
        let mark = checkpoint.map_or(Mark::None, |checkpoint| checkpoint.mark);
        let beyond = self.red.is_some_and(|red| range.end > red);
        let ends_otherwise = mark != Mark::None
            && (self.red.is_some_and(|red| red != range.end) || self.held.end() > range.end);
        let ends_before_green = mark == Mark::Block && self.green.is_some();
        beyond
            || ends_otherwise
            || ends_before_green
            || self.green.is_some_and(|green| range.end > green)
    }

    /// Takes octets in with one copy, the held ones as they are.
    ///
    /// The buffer grows by doubling, up to the whole red part, and only within `spare`: what counts is what
    /// is allocated, or a single octet far out would cost nothing.
    fn store(
        &mut self,
        range: &Range<u64>,
        octets: &[u8],
        spare: usize,
        limit: usize,
        pool: &mut BufferPool,
    ) -> Option<u64> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        // What the set of ranges may grow by.
        let spare = spare.checked_sub(self.held.memory_used() + 64)?;
        self.grow(end, spare, limit, pool)?;
        if start == self.buffer.len() {
            self.buffer.extend_from_slice(octets);
            return Some(self.held.insert(range.clone()));
        }
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        for gap in self.held.gaps(range.clone()) {
            let at = usize::try_from(gap.start).ok()?..usize::try_from(gap.end).ok()?;
            let from = octets.get(at.start - start..at.end - start)?;
            self.buffer.get_mut(at)?.copy_from_slice(from);
        }
        Some(self.held.insert(range.clone()))
    }

    fn grow(
        &mut self,
        end: usize,
        spare: usize,
        limit: usize,
        pool: &mut BufferPool,
    ) -> Option<()> {
        let has = self.granted;
        if end <= has {
            return Some(());
        }
        let known = self.red.and_then(|red| usize::try_from(red).ok());
        let more = if has < LEAST {
            has.saturating_mul(2)
        } else {
            // The same steps for all blocks, so that the memory of one fits another.
            has.saturating_add(1)
                .checked_next_power_of_two()
                .unwrap_or(has)
        };
        let most = known.unwrap_or(more).min(limit).max(end);
        let wanted = if most - has <= spare { most } else { end };
        if wanted - has > spare {
            return None;
        }
        self.granted = wanted;
        if wanted <= self.buffer.capacity() {
            return Some(());
        }
        if let Some(mut memory) = pool.take(wanted) {
            memory.extend_from_slice(&self.buffer);
            self.buffer = memory;
            return Some(());
        }
        if wanted - has + pool.octets() > spare {
            pool.clear();
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
        Some(())
    }
}

impl<A: Addr> Engine<A> {
    /// Data, red or green.
    pub(super) fn on_data(&mut self, slot: u32, session: SessionId, data: &Data<'_>) {
        if !self.imports.contains_key(&session) {
            // The RFC gives no ground for this; ION and the CCSDS profile have no session 0.
            if session.number == 0 {
                self.stats.malformed += 1;
                return;
            }
            if !self.begin_import(slot, session, data) {
                return;
            }
        } else if self.append_predicted(slot, session, data) {
            return;
        }
        let now = self.now;
        let Some(reception) = self.reception(session) else {
            self.stats.closed_session += 1;
            return;
        };
        // One service per block (RFC 5326 section 4.1).
        if reception.client != data.client {
            self.stats.malformed += 1;
            return;
        }
        reception.active = now;
        if reception.is_miscolored(&data.range(), data.color) {
            self.cancel_import(session, Reason::MISCOLORED);
            return;
        }
        match data.color {
            Color::Red(checkpoint) => self.on_red(slot, session, data, checkpoint),
            Color::Green { ends_block } => self.on_green(session, data, ends_block),
        }
    }

    pub(super) fn reception(&mut self, session: SessionId) -> Option<&mut Reception> {
        self.imports.get_mut(&session)?.stage.reception()
    }

    // Beginnings.

    /// Begins a session, unless it is over, for nobody, or one too many. False when there is no more to do
    /// with the segment.
    fn begin_import(&mut self, slot: u32, session: SessionId, data: &Data<'_>) -> bool {
        let name = (Role::Receiver, session);
        let mut green = None;
        if let Some(record) = self.closed.admit(name) {
            match record.end {
                // Its EOB overtook the red part (RFC 5326 section 8.2), which the sender still repeats.
                End::GreenOnly { low } if matches!(data.color, Color::Red(_)) => green = Some(low),
                end => {
                    self.on_data_of_closed(slot, session, data, end);
                    return false;
                }
            }
        }
        if !self.has_import_room(slot) || self.is_over_share(data.client) {
            self.stats.no_room += 1;
            return false;
        }
        if green.is_some() {
            self.closed.reopen(name);
        }
        let Some(service) = self.services.get(&data.client).map(|open| open.service) else {
            self.stats.unknown_client += 1;
            self.refuse_unknown(slot, session);
            return false;
        };
        if green.is_none() && self.take_whole(slot, session, service, data) {
            return false;
        }
        let reception = Reception {
            client: data.client,
            service,
            buffer: Vec::new(),
            granted: 0,
            excess: 0,
            held: RangeSet::new(),
            red: None,
            ends_block: false,
            green,
            is_green_over: green.is_some(),
            is_delivered: false,
            streamed: 0,
            is_streaming: false,
            reports: Reports::new(self.first_serial()),
            active: self.now,
            guard: None,
            charge: 0,
        };
        self.admit(slot, session, Stage::Receiving(Box::new(reception)));
        self.recharge(session);
        self.guard_import(slot, session);
        // One that is let in again has been told of.
        if service == Service::Streaming && green.is_none() {
            let client = data.client;
            self.push_service_event(client, Event::Started { session, client }, EVENT_OVERHEAD);
        }
        true
    }

    fn has_import_room(&self, slot: u32) -> bool {
        let is_below = |len: usize, limit: u32| u32::try_from(len).is_ok_and(|len| len < limit);
        is_below(self.imports.len(), self.config.max_imports)
            && self.has_event_room()
            && self
                .peer(slot)
                .is_some_and(|peer| peer.imports < peer.config.max_imports)
            && self.spare(slot) >= size_of::<Reception>() + 2 * EVENT_OVERHEAD
    }

    /// Bytes that may yet be allocated for receiving.
    pub(super) fn spare(&self, slot: u32) -> usize {
        let all = self.free_octets();
        self.peer(slot).map_or(0, |peer| {
            all.min(peer.config.import_octets.saturating_sub(peer.import_octets))
        })
    }

    fn admit(&mut self, slot: u32, session: SessionId, stage: Stage) {
        let import = Import {
            slot,
            key_hash: None,
            stage,
        };
        self.imports.insert(session, import);
        if let Some(peer) = self.peer_mut(slot) {
            peer.imports += 1;
        }
    }

    /// P23: a CR, timed and repeated like any other, but one per session.
    fn refuse_unknown(&mut self, slot: u32, session: SessionId) {
        let cancel = Cancel::new(Reason::UNREACHABLE);
        self.admit(slot, session, Stage::Cancelling(cancel));
        self.cancel_import_again(slot, session, 0);
    }

    /// A duplicate never begins a session, or the block would be delivered twice. Two things still help a
    /// sender: green data that the EOB overtook, and an answer to a checkpoint whose reports were all lost.
    fn on_data_of_closed(&mut self, slot: u32, session: SessionId, data: &Data<'_>, end: End) {
        match (end, data.color) {
            (End::GreenOnly { low }, Color::Green { ends_block: false })
                if self.services.contains_key(&data.client) =>
            {
                self.hand_green(session, data, false);
                let low = low.min(data.offset);
                let memory = self.peer(slot).map(PeerState::memory).unwrap_or_default();
                let until = self.now + memory;
                self.closed.change((Role::Receiver, session), |old| {
                    old.until = until;
                    old.end = End::GreenOnly { low };
                });
            }
            (End::Delivered { red, serial }, Color::Red(Some(checkpoint)))
                if data.range().end <= red =>
            {
                let checkpoint = checkpoint.serial;
                let last = Control::Final {
                    session,
                    serial,
                    checkpoint,
                    red,
                };
                self.queue(slot, last);
            }
            _ => self.stats.closed_session += 1,
        }
    }

    // Red.

    fn on_red(
        &mut self,
        slot: u32,
        session: SessionId,
        data: &Data<'_>,
        checkpoint: Option<Checkpoint>,
    ) {
        match self.keep(slot, session, data, checkpoint) {
            Verdict::Kept => {}
            Verdict::NoRoom => {
                self.stats.no_room += 1;
                return;
            }
            Verdict::Cancel(reason) => {
                self.cancel_import(session, reason);
                return;
            }
        }
        let Some(reception) = self.reception(session) else {
            return;
        };
        let red = reception.complete_red().filter(|_| !reception.is_delivered);
        if let Some(checkpoint) = checkpoint {
            self.on_checkpoint(slot, session, checkpoint, data.range().end);
        }
        if let Some(red) = red {
            self.deliver_red(slot, session, red, checkpoint.is_some());
        }
        self.recharge(session);
    }

    fn keep(
        &mut self,
        slot: u32,
        session: SessionId,
        data: &Data<'_>,
        checkpoint: Option<Checkpoint>,
    ) -> Verdict {
        let spare = if self.is_over_share(data.client) {
            0
        } else {
            self.spare(slot)
        };
        let limit = self.peer(slot).map_or(0, |peer| peer.config.session_octets);
        let now = self.now;
        let Some(Import {
            stage: Stage::Receiving(reception),
            ..
        }) = self.imports.get_mut(&session)
        else {
            return Verdict::NoRoom;
        };
        let range = data.range();
        if usize::try_from(range.end).map_or(true, |end| end > limit) {
            return Verdict::Cancel(Reason::SYSTEM);
        }
        let ends = checkpoint.filter(|checkpoint| checkpoint.mark != Mark::None);
        if let Some(ends) = ends.filter(|_| range.end > 0) {
            reception.red = Some(range.end);
            reception.ends_block = ends.mark == Mark::Block;
        }
        let fresh = if reception.is_delivered || data.octets.is_empty() {
            0
        } else {
            let Some(fresh) = reception.store(&range, data.octets, spare, limit, &mut self.pool)
            else {
                return Verdict::NoRoom;
            };
            fresh
        };
        if fresh > 0 {
            reception.reports.filled = now;
        }
        self.stats.red_octets += fresh;
        // Bound: usize has at most 64 bits.
        self.stats.redundant_octets += data.octets.len() as u64 - fresh;
        self.schedule_piece(session);
        Verdict::Kept
    }

    /// P9 (RFC 5326 section 6.9), on whichever segment completes the red part: waiting for a checkpoint would
    /// cost a round trip.
    fn deliver_red(&mut self, slot: u32, session: SessionId, red: u64, by_checkpoint: bool) {
        // A delayed report that goes out here tells as much as an asynchronous one.
        let is_answered = self.answer_delayed(session);
        if !is_answered && !by_checkpoint {
            // Without it, the gap reports that are acknowledged would close the session, and the checkpoint
            // that ends the sender's repair would find nobody.
            self.report(slot, session, 0, 0..red);
        }
        self.finish_pieces(session);
        let Some(reception) = self.reception(session) else {
            return;
        };
        reception.is_delivered = true;
        let memory = mem::take(&mut reception.buffer);
        let counted = mem::take(&mut reception.granted);
        let (client, ends_block) = (reception.client, reception.ends_block);
        // The memory is no longer the session's, and what it has too much stays with the spares.
        self.recharge(session);
        let data = deliver(memory, counted, &mut self.pool, self.config.pool_octets);
        let event = Event::Received {
            session,
            client,
            data,
            ends_block,
        };
        self.stats.imports_complete += 1;
        self.push_service_event(client, event, counted + EVENT_OVERHEAD);
        self.close_if_over(session);
    }

    // Pieces of streaming services.

    fn schedule_piece(&mut self, session: SessionId) {
        let Some(reception) = self.reception(session) else {
            return;
        };
        let has_more = reception.held.run_from(0) > reception.streamed;
        if !has_more || reception.is_streaming || reception.is_delivered {
            return;
        }
        if reception.service == Service::Streaming {
            reception.is_streaming = true;
            let client = reception.client;
            self.queue_stream(client, session);
        }
    }

    /// Hands over what became contiguous since the last piece, however many segments it took.
    pub(super) fn next_piece(&mut self) -> Option<Event> {
        while let Some(session) = self.streams.pop_front() {
            let Some(reception) = self.reception(session) else {
                continue;
            };
            if let Some(piece) = reception.next_piece(session) {
                return Some(piece);
            }
        }
        None
    }

    /// The last piece goes before the whole.
    fn finish_pieces(&mut self, session: SessionId) {
        let Some(reception) = self.reception(session) else {
            return;
        };
        if reception.service != Service::Streaming {
            return;
        }
        let client = reception.client;
        let piece = reception.piece(session);
        if let Some(Event::Piece { data, .. }) = &piece {
            let octets = data.len() + EVENT_OVERHEAD;
            if let Some(piece) = piece {
                self.push_service_event(client, piece, octets);
            }
        }
    }

    // Green.

    fn on_green(&mut self, session: SessionId, data: &Data<'_>, ends_block: bool) {
        let Some(reception) = self.reception(session) else {
            return;
        };
        let low = reception
            .green
            .map_or(data.offset, |low| low.min(data.offset));
        reception.green = Some(low);
        let has_red = reception.red.is_some() || !reception.held.is_empty();
        if !self.hand_green(session, data, ends_block) {
            // As good as lost on the line, and its end with it.
            return;
        }
        if let Some(reception) = self.reception(session) {
            reception.is_green_over |= ends_block;
        }
        if ends_block && !has_red {
            // Whether a red part exists cannot be known (RFC 5326 section 8.2).
            self.close_import_as(session, End::GreenOnly { low });
        } else {
            self.close_if_over(session);
        }
    }

    /// P10 (RFC 5326 section 6.10): at once, neither ordered nor freed of duplicates.
    /// False without room.
    fn hand_green(&mut self, session: SessionId, data: &Data<'_>, ends_block: bool) -> bool {
        let octets = data.octets.len() + EVENT_OVERHEAD;
        let is_full = octets > self.free_octets() || self.is_over_share(data.client);
        if is_full || !self.has_event_room() {
            self.stats.no_room += 1;
            return false;
        }
        // Bound: usize has at most 64 bits.
        self.stats.green_octets += data.octets.len() as u64;
        let event = Event::Green {
            session,
            client: data.client,
            offset: data.offset,
            data: Bytes::copy_from_slice(data.octets),
            ends_block,
        };
        self.push_service_event(data.client, event, octets);
        true
    }

    // Guards.

    /// A session whose sender fell silent must not stay for ever (HDTN issue 19). The timer is set once and
    /// looks, when it fires, whether anything came; setting it with each segment would cost more.
    fn guard_import(&mut self, slot: u32, session: SessionId) {
        let Some(patience) = self.peer(slot).map(PeerState::patience) else {
            return;
        };
        let Some(active) = self.reception(session).map(|reception| reception.active) else {
            return;
        };
        let contact_start = self.peer(slot).map_or(active, |peer| peer.contact_start);
        let due = Due::from(active.max(contact_start) + patience);
        let guard = self.set(slot, due, TimerKind::ImportGuard { session });
        if let Some(reception) = self.reception(session) {
            reception.guard = guard;
        }
    }

    pub(super) fn import_guard_expired(&mut self, session: SessionId) {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return;
        };
        let Some((patience, contact_start)) = self
            .peer(slot)
            .map(|peer| (peer.patience(), peer.contact_start))
        else {
            return;
        };
        let now = self.now;
        let Some(reception) = self.reception(session) else {
            return;
        };
        reception.guard = None;
        let is_silent = now - reception.active.max(contact_start) >= patience;
        // Their own limit settles it.
        let is_reporting = !reception.reports.is_empty();
        if !is_silent {
            self.guard_import(slot, session);
        } else if is_reporting {
            reception.active = now;
            self.guard_import(slot, session);
        } else if reception.is_delivered || reception.held.is_empty() {
            self.give_up_end(session);
        } else {
            // The truthful code; the specification's first thought was USR_CNCLD, which nobody asked for.
            self.cancel_import(session, Reason::SYSTEM);
        }
    }

    // Memory.

    /// Accounts for what a session holds by now.
    pub(super) fn recharge(&mut self, session: SessionId) {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return;
        };
        let Some(reception) = self.reception(session) else {
            return;
        };
        let weight = reception.weight();
        let before = mem::replace(&mut reception.charge, weight);
        let excess = reception
            .buffer
            .capacity()
            .saturating_sub(reception.granted);
        let exceeded = mem::replace(&mut reception.excess, excess);
        self.pool.exceed(exceeded, excess);
        self.charge(slot, before, weight);
        self.shrink_pool();
    }

    /// What is kept for blocks to come gives way to all that counts.
    pub(super) fn shrink_pool(&mut self) {
        if self.pool.octets() <= self.free_octets() {
            return;
        }
        self.pool.clear();
        if !self.pool.has_excess() {
            return;
        }
        for import in self.imports.values_mut() {
            if let Stage::Receiving(reception) = &mut import.stage {
                reception.buffer.shrink_to(reception.granted);
                self.pool.exceed(mem::take(&mut reception.excess), 0);
            }
        }
    }

    fn charge(&mut self, slot: u32, before: usize, after: usize) {
        self.import_octets = self.import_octets - before + after;
        if let Some(peer) = self.peer_mut(slot) {
            peer.import_octets = peer.import_octets - before + after;
        }
    }
}

impl Reception {
    fn end(&self) -> End {
        match (self.is_delivered, self.red, self.green) {
            (true, Some(red), _) => End::Delivered {
                red,
                serial: self.reports.next_serial(),
            },
            (false, None, Some(low)) => End::GreenOnly { low },
            _ => End::Plain,
        }
    }

    /// Takes the session off the list of those with octets for a piece, and returns the piece.
    pub(super) fn next_piece(&mut self, session: SessionId) -> Option<Event> {
        self.is_streaming = false;
        self.piece(session)
    }

    fn piece(&mut self, session: SessionId) -> Option<Event> {
        let end = self.held.run_from(0);
        let from = usize::try_from(self.streamed).ok()?;
        let octets = self.buffer.get(from..usize::try_from(end).ok()?)?;
        if octets.is_empty() {
            return None;
        }
        let event = Event::Piece {
            session,
            client: self.client,
            offset: self.streamed,
            data: Bytes::copy_from_slice(octets),
        };
        self.streamed = end;
        Some(event)
    }
}
