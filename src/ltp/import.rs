//! The receiving role: red and green data, and delivery.

mod ends;
mod saved;
mod start;
mod table;

use alloc::boxed::Box;

use bytes::Bytes;
use smallvec::SmallVec;

pub(super) use self::saved::SavedImport;
pub(super) use self::table::Imports;
use super::api::{Event, Service};
use super::auth::KeyHash;
use super::beyond::segments;
use super::buffer_pool::{BufferPool, MIN_POOLED};
use super::closed::End;
use super::context::{Context, EVENT_OVERHEAD, ImportTimer, Step};
use super::end_cause::{EndCause, Limit};
use super::fingerprint::{Fingerprint, Judgment};
use super::peer::Role;
use super::reassembly::{Reassembly, Room};
use super::report::{Issued, Reports};
use super::services::Services;
use super::stage::Stage;
use super::wire::{Checkpoint, Color, Data, Mark};
use crate::Instant;
use crate::kit::{Due, TimerId};
use core::ops::Range;

/// Octets that a session counts for beside what it stores.
pub(super) const SESSION: usize = 472;

/// A session in which a block is received.
#[derive(Debug)]
pub(super) struct ImportSession {
    pub(super) slot: u32,
    /// The key that the session named (RFC 5327 section 2.1).
    pub(super) key_hash: Option<KeyHash>,
    /// The end of the session, if its peer has proved nothing.
    pub(super) lifetime: Option<TimerId>,
    /// What it carried, as far as it tells the session from another one under the same number.
    pub(super) fingerprint: Fingerprint,
    /// Cancelled, too, for a service that is not open: the session draws one CR, not one for each segment.
    pub(super) stage: Stage<Reception>,
}

/// A block that is being received, or whose reports await their acknowledgments.
#[derive(Debug, Default)]
pub(super) struct Reception {
    pub(super) client: u64,
    pub(super) service: Service,
    ends_block: bool,
    pub(super) is_delivered: bool,
    /// What the red part, which came whole, waits for. Until then nothing says that all of it was received.
    pub(super) awaits: Option<Awaited>,
    /// Octets of the red part, known from its last segment.
    pub(super) red: Option<u64>,
    /// When a segment was last received.
    pub(super) active: Instant,
    /// The serial number of the next report.
    pub(super) serial: u64,
    /// Reports that were not acknowledged, in the order of their serial numbers.
    pub(super) pending: SmallVec<[Issued; 1]>,
    /// `None` for a block that came in one segment, as most small ones do, as long as nothing else comes.
    pub(super) parts: Option<Box<Parts>>,
}

/// What a report on a whole red part may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The event that tells of the red part leaves the engine.
    Delivery,
    /// The application says that it has stored what it was given.
    Storage,
}

/// Octets of the headers of a data segment at least.
pub(super) const DATA_HEADER: usize = 7;
/// Octets that a session may take for each octet of its segments.
const PER_OCTET: usize = 2;
/// Octets that a session may take beside those. With its entries in tables and its timers it stays below 2 KiB.
const FIRST_SEGMENT: usize = 1280;
/// Octets that a session may take beside those from its second segment on. Small blocks come in one buffer whatever
/// their order, and it may be copied for each segment.
const MORE_SEGMENTS: usize = 64 << 10;

/// What is kept of a block that comes in several segments.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) red: Reassembly,
    /// The offset of the first green octet seen.
    pub(super) green: Option<u64>,
    /// The end of the green octets seen, and of the block, known from its last segment.
    green_reached: u64,
    pub(super) green_end: Option<u64>,
    /// Octets delivered as pieces.
    streamed: u64,
    /// The ticket of the session in the queue of those with an item.
    ticket: Option<u64>,
    /// Octets of runs that the service counts.
    untaken: usize,
    pub(super) reports: Reports,
    guard: Option<TimerId>,
    /// Octets of the segments that came.
    heard: usize,
    is_continued: bool,
    /// Octets of memory accounted for.
    charge: usize,
}

impl Parts {
    /// `green` are the first green octet and the end of the block, where its end overtook the red part.
    fn new(service: Service, green: Option<(u64, u64)>, reports: Reports) -> Self {
        Self {
            red: Reassembly::new(service == Service::Scattered),
            green: green.map(|(low, _)| low),
            green_reached: green.map_or(0, |(_, end)| end),
            green_end: green.map(|(_, end)| end),
            reports,
            ..Self::default()
        }
    }

    /// Counts the octets of segments.
    #[inline]
    pub(super) const fn hear(&mut self, segments: usize, octets: usize) {
        self.is_continued |= self.heard > 0 || segments > 1;
        let octets = octets.saturating_add(segments.saturating_mul(DATA_HEADER));
        self.heard = self.heard.saturating_add(octets);
    }

    /// Returns the octets that the session may take, all of its bookkeeping included. They follow what came for it,
    /// since offsets and lengths are numbers that anybody can write.
    pub(super) const fn memory_limit(&self) -> usize {
        let beside = if self.is_continued {
            FIRST_SEGMENT + MORE_SEGMENTS
        } else {
            FIRST_SEGMENT
        };
        self.heard.saturating_mul(PER_OCTET).saturating_add(beside)
    }
}

impl ImportSession {
    #[inline]
    const fn new(slot: u32, fingerprint: Fingerprint, stage: Stage<Reception>) -> Self {
        Self {
            slot,
            key_hash: None,
            lifetime: None,
            fingerprint,
            stage,
        }
    }

    /// Handles a data segment, red or green.
    #[inline]
    pub(super) fn on_data(&mut self, data: &Data<'_>, cx: &mut Context<'_>) -> Step {
        if Fingerprint::is_telling(data) {
            match self.judge(data) {
                // Its sender started anew, and sends another block under the same number.
                Judgment::NewSession if self.gives_way() => return Step::Restarts,
                Judgment::NewSession => return self.cancel(EndCause::StateLost, cx),
                Judgment::Undecided if self.is_claimed_and_not_cited(data) => {
                    cx.node.stats.closed_session += 1;
                    return Step::Continues;
                }
                Judgment::Undecided | Judgment::Repeat => self.fingerprint.note(data),
            }
        }
        if matches!(self.stage, Stage::Cancelling(_)) {
            cx.node.stats.closed_session += 1;
        }
        self.receive(cx, |reception, cx| {
            if reception.append_predicted(data, cx) {
                return Ok(Step::Continues);
            }
            // One service per block (RFC 5326 section 4.1).
            if reception.client != data.client {
                cx.node.stats.malformed += 1;
                return Ok(Step::Continues);
            }
            reception.on_data(data, cx)
        })
    }

    /// Lets the block handle an input, unless its reception is being cancelled.
    #[inline]
    pub(super) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Reception, &mut Context<'_>) -> Result<Step, EndCause>,
    ) -> Step {
        let Some(reception) = self.stage.open_mut() else {
            return Step::Continues;
        };
        act(reception, cx).unwrap_or_else(|cause| self.cancel(cause, cx))
    }

    /// Judges a segment under the number of the session.
    fn judge(&self, data: &Data<'_>) -> Judgment {
        self.stage.open().map_or(Judgment::Undecided, |one| {
            let red = one.red.filter(|_| one.is_delivered);
            self.fingerprint.judge(data, red)
        })
    }

    /// Whether a segment is a checkpoint that the reports of this session did not cause, and the red part was delivered:
    /// its octets are compared with none, and a report would claim all of them.
    fn is_claimed_and_not_cited(&self, data: &Data<'_>) -> bool {
        let Color::Red(Some(checkpoint)) = data.color else {
            return false;
        };
        matches!(&self.stage, Stage::Open(one) if one.is_delivered && !one.has_issued(checkpoint.report))
    }

    /// Whether nothing is lost if another session under the same number begins.
    fn gives_way(&self) -> bool {
        matches!(&self.stage, Stage::Open(one) if one.is_delivered && !one.is_to_be_stored())
    }

    /// Returns when the report left whose acknowledgment a timer waits for. `None` if it is not awaited any more.
    pub(super) fn awaits(&self, timer: ImportTimer) -> Option<Instant> {
        match (&self.stage, timer) {
            (Stage::Open(one), ImportTimer::Report(serial)) => {
                Some(one.pending.get(one.place_of(serial)?)?.latest)
            }
            _ => None,
        }
    }

    pub(super) fn on_timer(&mut self, timer: ImportTimer, cx: &mut Context<'_>) -> Step {
        if timer == ImportTimer::Lifetime {
            self.lifetime = None;
            if cx.peer.unproved(cx.node).is_some() {
                return self.give_up_end(cx);
            }
            // What was dropped while the peer was not proved is sent after all.
            return match &mut self.stage {
                Stage::Cancelling(cancel) if cancel.timer.is_none() => {
                    cancel.send(Role::Receiver, cx)
                }
                Stage::Cancelling(_) => Step::Continues,
                Stage::Open(reception) => {
                    reception.queue_withheld(cx);
                    Step::Continues
                }
            };
        }
        if let (Stage::Cancelling(cancel), ImportTimer::Cancel) = (&mut self.stage, timer) {
            return cancel.expired(Role::Receiver, cx);
        }
        let mut is_given_up = false;
        let step = self.receive(cx, |reception, cx| {
            match timer {
                ImportTimer::Report(serial) => return reception.report_expired(serial, cx),
                ImportTimer::ReportCopy { serial, left } => {
                    reception.copy_report_now(serial, left, cx);
                }
                ImportTimer::DelayedReport => return reception.delayed_report_due(cx),
                ImportTimer::Guard => is_given_up = reception.guard_expired(cx)?,
                ImportTimer::Cancel | ImportTimer::Lifetime => {}
            }
            Ok(Step::Continues)
        });
        if is_given_up {
            self.give_up_end(cx)
        } else {
            step
        }
    }

    /// Whether the session is for `client` and was neither cancelled nor delivered.
    pub(super) fn is_awaited_by(&self, client: u64) -> bool {
        self.stage.open().is_some_and(|reception| {
            reception.client == client && (!reception.is_delivered || reception.awaits.is_some())
        })
    }
}

impl Reception {
    fn new(client: u64, service: Service, serial: u64, now: Instant) -> Self {
        Self {
            client,
            service,
            active: now,
            serial,
            ..Self::default()
        }
    }

    /// Handles a segment that is a whole block and starts its session: delivers the block, and reports once. False for
    /// any other segment, and without memory.
    ///
    /// Such a session has no guard timer, since the timer of its report ends it in any case. It counts for the memory of
    /// any other, so that it can become one at any time.
    fn receive_whole(&mut self, data: &Data<'_>, cx: &mut Context<'_>) -> bool {
        let Color::Red(Some(Checkpoint {
            serial: checkpoint,
            report: 0,
            mark: Mark::Block,
        })) = data.color
        else {
            return false;
        };
        let octets = data.octets.len();
        let is_possible = self.service == Service::Whole
            && (1..MIN_POOLED).contains(&octets)
            && data.offset == 0
            && octets <= cx.peer.config.limits.session_octets
            && 2 * SESSION + 2 * EVENT_OVERHEAD + octets <= cx.free_octets()
            && cx.peer.is_plain()
            && cx.peer.can_send();
        if !is_possible {
            return false;
        }
        // Bound: usize has at most 64 bits.
        let red = octets as u64;
        // The segment that was received says nothing about the loss.
        let others = segments(red, cx.peer.config.segment) - 1;
        if others > 0 {
            cx.peer.line.came(others, 0);
        }
        let serial = self.serial;
        self.serial = serial.saturating_add(1);
        let issued = Issued::new(serial, checkpoint, 0..red, true);
        self.pending.push(issued);
        self.ends_block = true;
        self.is_delivered = true;
        self.red = Some(red);
        let is_taken = cx.node.services.is_on_demand(data.client);
        self.awaits = is_taken.then_some(Awaited::Delivery);
        cx.charge(0, SESSION);
        cx.node.stats.red_octets += red;
        cx.node.stats.positive_reports_sent += 1;
        cx.node.stats.imports_complete += 1;
        self.queue_report(serial, cx);
        let event = Event::Received {
            session: cx.session,
            client: data.client,
            data: Bytes::copy_from_slice(data.octets),
            ends_block: true,
        };
        cx.push_service_event(data.client, event, octets + EVENT_OVERHEAD);
        true
    }

    /// Returns what is kept of a block in several segments, also for one that came in one.
    #[inline]
    pub(super) fn parts(&mut self) -> &mut Parts {
        let parts = self.parts.take();
        let parts = parts.unwrap_or_else(|| Box::new(self.whole_parts()));
        self.parts.insert(parts)
    }

    /// Returns what would be kept of a block that came in one segment.
    #[cold]
    #[inline(never)]
    fn whole_parts(&self) -> Parts {
        let red = self.red.unwrap_or(0);
        let reports = Reports::after(self.serial, red, self.pending.first(), self.active);
        Parts {
            red: Reassembly::delivered(red),
            heard: usize::try_from(red).unwrap_or(usize::MAX),
            charge: SESSION,
            ..Parts::new(self.service, None, reports)
        }
    }

    /// Returns the length of the red part if all of it was received.
    pub(super) fn complete_red(&self) -> Option<u64> {
        let held = self.parts.as_ref().map(|parts| parts.red.held.len());
        self.red.filter(|red| held.is_none_or(|held| held == *red))
    }

    /// Whether the color or the end of a segment contradicts earlier ones (RFC 5326 section 6.21).
    ///
    /// The RFC compares where segments start. Comparing their extents also finds overlaps. Two ends of the red part or of
    /// the block, and data beyond them, are not cases of the RFC, but no sender could complete such a session. Whatever
    /// is an error in one order of arrival is one in the other.
    fn is_miscolored(&mut self, range: &Range<u64>, color: Color) -> bool {
        let (red, is_over) = (self.red, self.ends_block);
        let parts = self.parts();
        let (held, green) = (parts.red.held.end(), parts.green);
        let Color::Red(checkpoint) = color else {
            return is_over || range.start < red.unwrap_or(held);
        };
        let mark = checkpoint.map_or(Mark::None, |checkpoint| checkpoint.mark);
        let beyond = red.is_some_and(|red| range.end > red);
        let ends_otherwise =
            mark != Mark::None && (red.is_some_and(|red| red != range.end) || held > range.end);
        let ends_before_green = mark == Mark::Block && green.is_some();
        beyond
            || ends_otherwise
            || ends_before_green
            || green.is_some_and(|green| range.end > green)
    }

    /// Whether a second segment came.
    #[cfg(any(test, feature = "laws"))]
    pub(super) fn is_continued(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.is_continued)
    }

    fn on_data(&mut self, data: &Data<'_>, cx: &mut Context<'_>) -> Result<Step, EndCause> {
        self.active = cx.node.now;
        self.parts().hear(1, data.octets.len());
        if self.is_miscolored(&data.range(), data.color) {
            return Err(EndCause::Miscolored);
        }
        match data.color {
            Color::Red(checkpoint) => self.on_red(data, checkpoint, cx),
            Color::Green { ends_block } => Ok(self.on_green(data, ends_block, cx)),
        }
    }

    // Red data.

    fn on_red(
        &mut self,
        data: &Data<'_>,
        checkpoint: Option<Checkpoint>,
        cx: &mut Context<'_>,
    ) -> Result<Step, EndCause> {
        if !self.keep(data, checkpoint, cx)? {
            cx.node.stats.no_room += 1;
            self.recharge(cx);
            return Ok(Step::Continues);
        }
        let red = self.complete_red().filter(|_| !self.is_delivered);
        if red.is_some() {
            self.withhold(cx);
        }
        if let Some(checkpoint) = checkpoint {
            self.on_checkpoint(checkpoint, data.range().end, cx)?;
        }
        let step = match red {
            Some(red) => self.deliver_red(red, checkpoint.is_some(), cx)?,
            None => Step::Continues,
        };
        self.recharge(cx);
        Ok(step)
    }

    /// Stores a red segment. False if there is no memory for it: it counts as not received.
    fn keep(
        &mut self,
        data: &Data<'_>,
        checkpoint: Option<Checkpoint>,
        cx: &mut Context<'_>,
    ) -> Result<bool, EndCause> {
        let limit = cx.peer.config.limits.session_octets;
        let range = data.range();
        let ends_red = checkpoint.is_some_and(|checkpoint| checkpoint.mark != Mark::None);
        if range.end == 0 && (ends_red || checkpoint.is_some() && self.parts().red.held.is_empty())
        {
            // Nothing can be claimed of it, so no report could answer the checkpoint (RFC 5326 section 3.2.2).
            return Err(EndCause::EmptyRedPart);
        }
        if usize::try_from(range.end).map_or(true, |end| end > limit) {
            return Err(EndCause::LimitExceeded {
                limit: Limit::SessionOctets,
                // Bound: usize has at most 64 bits.
                max: limit as u64,
                value: range.end,
            });
        }
        if ends_red {
            self.red = Some(range.end);
            self.ends_block |= checkpoint.is_some_and(|one| one.mark == Mark::Block);
        }
        let (mut fresh, mut is_all) = (0, true);
        if !self.is_delivered && !data.octets.is_empty() {
            let spare = if cx.node.is_over_share((data.client, cx.peer.origin)) {
                0
            } else {
                cx.free_octets()
            };
            let room = Room {
                free: spare.min(self.free_within_input()),
                spare,
                limit,
                red: self.red,
            };
            let parts = self.parts();
            if parts.red.differs(&range, data.octets) {
                // They are of two blocks under the same number, and nothing says which octets are of which.
                return Err(EndCause::StateLost);
            }
            let pool = &mut cx.node.budget.pool;
            (fresh, is_all) = parts.red.store(&range, data.octets, room, pool);
            if fresh > 0 {
                parts.reports.filled = cx.node.now;
            }
        }
        cx.node.stats.red_octets += fresh;
        if is_all {
            // Bound: usize has at most 64 bits.
            cx.node.stats.redundant_octets += data.octets.len() as u64 - fresh;
        }
        self.queue_item(cx.session, &mut cx.node.services);
        Ok(is_all)
    }

    /// Delivers the red part on the segment that completes it (RFC 5326 section 6.9). Waiting for a checkpoint would
    /// cost a round trip.
    fn deliver_red(
        &mut self,
        red: u64,
        by_checkpoint: bool,
        cx: &mut Context<'_>,
    ) -> Result<Step, EndCause> {
        // A delayed report that is sent here says as much as an asynchronous one.
        let is_answered = self.answer_delayed(cx)?;
        if !is_answered && !by_checkpoint {
            // Without it, the acknowledgments of reports with gaps would close the session, and the checkpoint that ends
            // the repair would find no session.
            self.report(0, 0..red, cx)?;
        }
        self.is_delivered = true;
        cx.node.stats.imports_complete += 1;
        if self.service == Service::Scattered {
            // The event follows the last octets.
            self.queue_item(cx.session, &mut cx.node.services);
            return Ok(self.close_if_over());
        }
        self.parts().red.gather(&mut cx.node.budget.pool);
        // The last piece precedes the whole red part.
        if self.service == Service::Streaming {
            self.unqueue(cx);
            if let Some((piece, octets)) = self.piece(cx.session) {
                let octets = octets + EVENT_OVERHEAD;
                cx.push_service_event(self.client, piece, octets);
            }
        }
        let (pool, limit) = (&mut cx.node.budget.pool, cx.node.config.limits.pool_octets);
        let (data, counted) = self.parts().red.deliver(pool, limit);
        // The buffer no longer belongs to the session.
        self.recharge(cx);
        let event = Event::Received {
            session: cx.session,
            client: self.client,
            data,
            ends_block: self.ends_block,
        };
        cx.push_service_event(self.client, event, counted + EVENT_OVERHEAD);
        Ok(self.close_if_over())
    }

    // Items of streaming and scattered services.

    fn has_item(&self) -> bool {
        let parts = self.parts.as_deref();
        parts.is_some_and(|parts| match self.service {
            Service::Whole => false,
            Service::Streaming => !self.is_delivered && parts.red.held.run_from(0) > parts.streamed,
            Service::Scattered => parts.red.untaken() > 0 || self.awaits == Some(Awaited::Delivery),
        })
    }

    /// Puts the session into the queue of those with an item, unless it is there or has none.
    fn queue_item(&mut self, session: super::SessionId, services: &mut Services) {
        if self.has_item() && self.parts().ticket.is_none() {
            let ticket = services.queue_session(self.client, session);
            self.parts().ticket = Some(ticket);
        }
    }

    /// Takes the session off the queue.
    pub(super) fn unqueue(&self, cx: &mut Context<'_>) {
        if let Some(ticket) = self.parts.as_ref().and_then(|parts| parts.ticket) {
            cx.node.services.unqueue_session(self.client, ticket);
        }
    }

    /// Returns the next item of a session that was taken off the queue: what became contiguous since the last piece,
    /// however many segments it took; or the next run that was received, and that the red part is whole.
    pub(super) fn next_item(
        &mut self,
        session: super::SessionId,
        services: &mut Services,
    ) -> Option<Event> {
        self.parts().ticket = None;
        let event = if self.service == Service::Scattered {
            self.scattered_item(session)
        } else {
            self.piece(session).map(|(piece, _)| piece)
        };
        self.queue_item(session, services);
        event
    }

    fn scattered_item(&mut self, session: super::SessionId) -> Option<Event> {
        let client = self.client;
        if let Some((offset, data)) = self.parts().red.take_run() {
            return Some(Event::Segment {
                session,
                client,
                offset,
                data,
            });
        }
        let len = self.red?;
        self.awaits
            .take_if(|awaited| *awaited == Awaited::Delivery)?;
        self.awaits = Some(Awaited::Storage);
        Some(Event::RedPart {
            session,
            client,
            len,
            ends_block: self.ends_block,
        })
    }

    /// Whether the application was given a red part, or will be, and has not said that it stored it.
    pub(super) fn is_to_be_stored(&self) -> bool {
        self.service == Service::Scattered && self.awaits.is_some()
    }

    /// An item has left the engine: a run, which is held no longer, or a whole red part, which was taken.
    pub(super) fn on_given(&mut self, cx: &mut Context<'_>) -> Step {
        if self.service == Service::Scattered {
            self.recharge(cx);
            return Step::Continues;
        }
        self.acknowledge_all(cx)
    }

    /// Sends the reports that claim a whole red part, which the application has.
    pub(super) fn acknowledge_all(&mut self, cx: &mut Context<'_>) -> Step {
        self.awaits = None;
        self.queue_withheld(cx);
        self.close_if_over()
    }

    fn piece(&mut self, session: super::SessionId) -> Option<(Event, usize)> {
        let client = self.client;
        let parts = self.parts();
        let offset = parts.streamed;
        let (data, end) = parts.red.contiguous(offset)?;
        parts.streamed = end;
        let octets = data.len();
        let event = Event::Piece {
            session,
            client,
            offset,
            data,
        };
        Some((event, octets))
    }

    // Green data.

    fn on_green(&mut self, data: &Data<'_>, ends_block: bool, cx: &mut Context<'_>) -> Step {
        let has_end = self.red.is_some();
        let parts = self.parts();
        let end = data.range().end;
        // A block ends once, and nothing is handed up from behind its end. What comes from there first is not known to.
        let is_behind = parts
            .green_end
            .is_some_and(|known| end > known || ends_block)
            || ends_block && end < parts.green_reached;
        if is_behind {
            cx.node.stats.malformed += u64::from(parts.green_end != Some(end));
            return Step::Continues;
        }
        let low = parts.green.map_or(data.offset, |low| low.min(data.offset));
        parts.green = Some(low);
        let has_red = has_end || !parts.red.held.is_empty();
        if !cx.hand_green(data, ends_block) {
            // Treated as lost on the line, and the end of the block with it.
            return Step::Continues;
        }
        parts.green_reached = parts.green_reached.max(end);
        if ends_block {
            parts.green_end = Some(end);
        }
        if ends_block && !has_red {
            // Whether there is a red part cannot be known (RFC 5326 section 8.2).
            return Step::Ends(End::GreenOnly { low, end });
        }
        self.close_if_over()
    }

    // Guard timers.

    /// Starts the guard timer of a session, which must not stay for ever when its sender falls silent (HDTN issue
    /// 19). The timer checks, when it fires, whether a segment came. Setting it for each segment would cost more.
    fn guard(&mut self, cx: &mut Context<'_>) {
        let since = self.active.max(cx.peer.contact_start);
        let due = Due::from(since + cx.peer.reception_limit());
        self.parts().guard = cx.start(due, ImportTimer::Guard);
    }

    /// True if the session is to be given up, since only the end of a green part is missing.
    fn guard_expired(&mut self, cx: &mut Context<'_>) -> Result<bool, EndCause> {
        let now = cx.node.now;
        let since = self.active.max(cx.peer.contact_start);
        let is_silent = now - since >= cx.peer.reception_limit();
        let parts = self.parts();
        parts.guard = None;
        let has_red = !parts.red.held.is_empty();
        // Report retries have a limit of their own, and reports may wait for a contact of any length. The timer starts
        // again after them.
        let is_reporting = self.has_reports() || self.awaits.is_some();
        if is_silent && !is_reporting {
            if self.is_delivered || !has_red {
                return Ok(true);
            }
            // USR_CNCLD would say that the application asked for it.
            return Err(EndCause::PeerSilent(now - since));
        }
        if self.pending.is_empty() {
            if is_silent {
                self.active = now;
            }
            self.guard(cx);
        }
        Ok(false)
    }

    /// Starts the guard timer of a session whose last report has ended, if it has expired in the meantime.
    pub(super) fn guard_again(&mut self, cx: &mut Context<'_>) {
        let has_expired = |parts: &Parts| parts.guard.is_none();
        if self.pending.is_empty() && self.parts.as_deref().is_some_and(has_expired) {
            self.active = cx.node.now;
            self.guard(cx);
        }
    }

    // Memory accounting.

    /// Returns the octets that the session may yet take for what came for it.
    pub(super) fn free_within_input(&self) -> usize {
        let limit = self.parts.as_ref().map_or(0, |parts| parts.memory_limit());
        limit.saturating_sub(self.weight())
    }

    pub(super) fn weight(&self) -> usize {
        let parts = self.parts.as_ref();
        let stored = parts.map_or(0, |parts| {
            parts.red.memory_used() + parts.reports.memory_used(&self.pending)
        });
        SESSION + stored
    }

    /// Returns the bytes of memory beside the entry in the table.
    #[cfg(any(test, feature = "laws"))]
    pub(super) fn memory_used(&self) -> usize {
        self.parts.as_ref().map_or(0, |_| self.weight())
    }

    /// Accounts for the memory that the session holds.
    pub(super) fn recharge(&mut self, cx: &mut Context<'_>) {
        let weight = self.weight();
        if let Some(parts) = &mut self.parts {
            let untaken = parts.red.untaken();
            let before = core::mem::replace(&mut parts.untaken, untaken);
            cx.node.services.recount(self.client, before, untaken);
            let before = core::mem::replace(&mut parts.charge, weight);
            parts.red.report_excess(&mut cx.node.budget.pool);
            cx.charge(before, weight);
        }
    }

    /// Gives back memory beyond what is accounted for.
    pub(super) fn shrink(&mut self, pool: &mut BufferPool) {
        if let Some(parts) = &mut self.parts {
            parts.red.shrink(pool);
        }
    }
}
