//! The receiving role: red and green data, and delivery.

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
use super::auth::KeyHash;
use super::buffer_pool::{BufferPool, MIN_POOLED, deliver};
use super::closed::End;
use super::engine::{Engine, TimerKind};
use super::peer::{Control, PeerState, Role};
use super::report::Reports;
use super::sender::Cancel;
use super::wire::{Checkpoint, Color, Data, Mark, Reason, SessionId};
use crate::kit::RangeSet;
use crate::kit::{Due, TimerId};
use crate::{Addr, Instant};

/// Octets that an event counts for beside its payload.
pub(super) const EVENT_OVERHEAD: usize = size_of::<(Event, usize)>() + 64;

/// A session in which a block is received.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) slot: u32,
    /// The key that the session named (RFC 5327 section 2.1).
    pub(super) key_hash: Option<KeyHash>,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    Receiving(Box<Reception>),
    Single(SingleSegment),
    /// Also for a service that is not open: the session draws one CR, not one for each segment.
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
    /// The red part as far as it was received, with zeros in the gaps. Empty once delivered.
    buffer: Vec<u8>,
    /// Octets of the buffer that are accounted for. A reused buffer has more.
    granted: usize,
    /// Octets of the buffer beyond those, as reported to the pool.
    excess: usize,
    pub(super) held: RangeSet,
    /// Octets of the red part, known from its last segment.
    red: Option<u64>,
    ends_block: bool,
    /// The offset of the first green octet seen.
    green: Option<u64>,
    is_green_over: bool,
    pub(super) is_delivered: bool,
    /// Octets delivered as pieces.
    streamed: u64,
    is_streaming: bool,
    pub(super) reports: Reports,
    /// When a segment was last received.
    active: Instant,
    guard: Option<TimerId>,
    /// Octets of memory accounted for.
    charge: usize,
}

/// What happens to a red segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    /// There is no memory for the segment. It counts as not received.
    NoRoom,
    Cancel(Reason),
}

impl Import {
    /// Whether the session is for `client` and was neither cancelled nor delivered.
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

    /// Returns the length of the red part if all of it was received.
    pub(super) fn complete_red(&self) -> Option<u64> {
        self.red.filter(|red| self.held.len() == *red)
    }

    /// Whether the end of the red part was not received.
    pub(super) const fn is_open_ended(&self) -> bool {
        self.red.is_none()
    }

    /// Returns the end of the red part if it is known, or of what was received of it.
    pub(super) fn red_reached(&self) -> u64 {
        self.red.unwrap_or_else(|| self.held.end())
    }

    /// Whether the color or the end of a segment contradicts earlier ones (RFC 5326 section 6.21).
    ///
    /// The RFC compares where segments start. Comparing their extents also finds overlaps. Two ends of the red part,
    /// and red data beyond its end, are not cases of the RFC, but no sender could complete such a session.
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

    /// Stores octets with one copy. Octets that were received before stay as they are.
    ///
    /// The buffer grows by doubling, up to the length of the red part, and only within `free` octets. The allocated
    /// octets count, or a single octet at a high offset would cost nothing.
    fn store(
        &mut self,
        range: &Range<u64>,
        octets: &[u8],
        free: usize,
        limit: usize,
        pool: &mut BufferPool,
    ) -> Option<u64> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        // Room for the set of ranges to grow by one.
        let free = free.checked_sub(self.held.memory_used() + 64)?;
        self.grow(end, free, limit, pool)?;
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

    fn grow(&mut self, end: usize, free: usize, limit: usize, pool: &mut BufferPool) -> Option<()> {
        let has = self.granted;
        if end <= has {
            return Some(());
        }
        let known = self.red.and_then(|red| usize::try_from(red).ok());
        let more = if has < MIN_POOLED {
            has.saturating_mul(2)
        } else {
            // The same sizes for all blocks, so that the buffer of one fits another.
            has.saturating_add(1)
                .checked_next_power_of_two()
                .unwrap_or(has)
        };
        let most = known.unwrap_or(more).min(limit).max(end);
        let wanted = if most - has <= free { most } else { end };
        if wanted - has > free {
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
        if wanted - has + pool.octets() > free {
            pool.clear();
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
        Some(())
    }
}

impl<A: Addr> Engine<A> {
    /// Handles a data segment, red or green.
    pub(super) fn on_data(&mut self, slot: u32, session: SessionId, data: &Data<'_>) {
        if !self.imports.contains_key(&session) {
            // RFC 5326 does not exclude it, but ION and the CCSDS profile have no session 0.
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

    // Start of sessions.

    /// Starts a session, unless it is closed, its service is not open, or a limit is reached. False if the segment
    /// needs no further handling.
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
        // A session that was opened again has been reported before.
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
            && self.free_octets_for(slot) >= size_of::<Reception>() + 2 * EVENT_OVERHEAD
    }

    /// Returns the octets that may yet be allocated for receiving from a peer.
    pub(super) fn free_octets_for(&self, slot: u32) -> usize {
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

    /// Refuses a session for a service that is not open (RFC 5326 section 4.2): one CR per session, repeated like any
    /// other.
    fn refuse_unknown(&mut self, slot: u32, session: SessionId) {
        let cancel = Cancel::new(Reason::UNREACHABLE);
        self.admit(slot, session, Stage::Cancelling(cancel));
        self.cancel_import_again(slot, session, 0);
    }

    /// Handles data of a closed session. A duplicate never starts the session again, or the block would be delivered
    /// twice. Two things still help a sender: green data that the EOB overtook, and an answer to a checkpoint whose
    /// reports were all lost.
    fn on_data_of_closed(&mut self, slot: u32, session: SessionId, data: &Data<'_>, end: End) {
        match (end, data.color) {
            (End::GreenOnly { low }, Color::Green { ends_block: false })
                if self.services.contains_key(&data.client) =>
            {
                self.hand_green(session, data, false);
                let low = low.min(data.offset);
                let memory = self
                    .peer(slot)
                    .map(PeerState::remembered_for)
                    .unwrap_or_default();
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

    // Red data.

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
        let free = if self.is_over_share(data.client) {
            0
        } else {
            self.free_octets_for(slot)
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
            let Some(fresh) = reception.store(&range, data.octets, free, limit, &mut self.pool)
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

    /// Delivers the red part on the segment that completes it (RFC 5326 section 6.9). Waiting for a checkpoint would
    /// cost a round trip.
    fn deliver_red(&mut self, slot: u32, session: SessionId, red: u64, by_checkpoint: bool) {
        // A delayed report that is sent here says as much as an asynchronous one.
        let is_answered = self.answer_delayed(session);
        if !is_answered && !by_checkpoint {
            // Without it, the acknowledgments of reports with gaps would close the session, and the checkpoint that ends
            // the repair would find no session.
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
        // The buffer no longer belongs to the session, and its excess goes to the pool.
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

    /// Returns what became contiguous since the last piece, however many segments it took.
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

    /// The last piece precedes the whole red part.
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

    // Green data.

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
            // Treated as lost on the line, and the end of the block with it.
            return;
        }
        if let Some(reception) = self.reception(session) {
            reception.is_green_over |= ends_block;
        }
        if ends_block && !has_red {
            // Whether there is a red part cannot be known (RFC 5326 section 8.2).
            self.close_import_as(session, End::GreenOnly { low });
        } else {
            self.close_if_over(session);
        }
    }

    /// Delivers a green segment at once, in the order of arrival and with duplicates (RFC 5326 section 6.10). False if
    /// there is no room.
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

    // Guard timers.

    /// Starts the guard timer of a session, which must not stay for ever when its sender falls silent (HDTN issue
    /// 19). The timer checks, when it fires, whether a segment came. Setting it for each segment would cost more.
    fn guard_import(&mut self, slot: u32, session: SessionId) {
        let Some(silence_limit) = self.peer(slot).map(PeerState::silence_limit) else {
            return;
        };
        let Some(active) = self.reception(session).map(|reception| reception.active) else {
            return;
        };
        let contact_start = self.peer(slot).map_or(active, |peer| peer.contact_start);
        let due = Due::from(active.max(contact_start) + silence_limit);
        let guard = self.set(slot, due, TimerKind::ImportGuard { session });
        if let Some(reception) = self.reception(session) {
            reception.guard = guard;
        }
    }

    pub(super) fn import_guard_expired(&mut self, session: SessionId) {
        let Some(slot) = self.imports.get(&session).map(|import| import.slot) else {
            return;
        };
        let Some((silence_limit, contact_start)) = self
            .peer(slot)
            .map(|peer| (peer.silence_limit(), peer.contact_start))
        else {
            return;
        };
        let now = self.now;
        let Some(reception) = self.reception(session) else {
            return;
        };
        reception.guard = None;
        let is_silent = now - reception.active.max(contact_start) >= silence_limit;
        // Report retries have a limit of their own.
        let is_reporting = !reception.reports.is_empty();
        if !is_silent {
            self.guard_import(slot, session);
        } else if is_reporting {
            reception.active = now;
            self.guard_import(slot, session);
        } else if reception.is_delivered || reception.held.is_empty() {
            self.give_up_end(session);
        } else {
            // USR_CNCLD would say that the application asked for it.
            self.cancel_import(session, Reason::SYSTEM);
        }
    }

    // Memory accounting.

    /// Accounts for the memory that a session holds.
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

    /// Shrinks the pool of buffers to what sessions and events leave free.
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
