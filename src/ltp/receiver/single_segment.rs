//! Blocks of one segment: delivered at once, and closed when a single report is acknowledged.
//!
//! Most sessions of small blocks are like this. Such a session keeps only what that takes: no buffer, no sets, and
//! no guard timer, since the timer of its report ends it in any case. When anything else happens to it, it is
//! expanded into a [`Reception`], and behaves as if it had been one from the start.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{EVENT_OVERHEAD, Reception, Stage};
use crate::kit::RangeSet;
use crate::ltp::api::{Event, Service};
use crate::ltp::buffer_pool::MIN_POOLED;
use crate::ltp::closed::End;
use crate::ltp::engine::{Engine, Key, TimerKind, start};
use crate::ltp::peer::{Control, PeerState};
use crate::ltp::redundancy::Redundancy;
use crate::ltp::report::{Reports, SentReport};
use crate::ltp::sender::segments;
use crate::ltp::wire::{Body, Checkpoint, Claims, Color, Data, Mark, Report, SessionId};
use crate::{Addr, Instant};

/// A block that was received whole in one segment, and the only report on it.
#[derive(Debug)]
pub(in crate::ltp) struct SingleSegment {
    client: u64,
    /// When the segment was received.
    received_at: Instant,
    pub(in crate::ltp) report: SentReport,
}

impl SingleSegment {
    /// Returns the same session as a [`Reception`].
    #[cold]
    #[inline(never)]
    pub(super) fn expand(&self) -> Reception {
        let red = self.report.red;
        let mut held = RangeSet::new();
        held.insert(0..red);
        Reception {
            client: self.client,
            service: Service::Whole,
            buffer: Vec::new(),
            granted: 0,
            excess: 0,
            held,
            red: Some(red),
            ends_block: true,
            green: None,
            is_green_over: false,
            is_delivered: true,
            streamed: 0,
            is_streaming: false,
            reports: Reports::after(&self.report, self.received_at),
            active: self.received_at,
            guard: None,
            charge: size_of::<Reception>(),
        }
    }

    pub(super) const fn end(&self) -> End {
        End::Delivered {
            red: self.report.red,
            serial: self.report.serial.saturating_add(1),
        }
    }
}

impl Stage {
    /// Returns the session, expanded, unless it is being cancelled.
    #[inline]
    pub(in crate::ltp) fn reception(&mut self) -> Option<&mut Reception> {
        if let Self::Single(single) = self {
            *self = Self::Receiving(Box::new(single.expand()));
        }
        match self {
            Self::Receiving(reception) => Some(reception),
            Self::Single(_) | Self::Cancelling(_) => None,
        }
    }
}

impl<A> PeerState<A> {
    /// Whether signals are sent without copies.
    pub(in crate::ltp) fn is_plain(&self) -> bool {
        self.config.redundancy == Redundancy::Fixed(0)
    }
}

impl<A: Addr> Engine<A> {
    /// Handles a segment that is a whole block and starts its session. False for any other segment, and without
    /// memory.
    ///
    /// The session counts for the memory of an expanded one, so that it can be expanded at any time.
    pub(super) fn take_whole(
        &mut self,
        slot: u32,
        session: SessionId,
        service: Service,
        data: &Data<'_>,
    ) -> bool {
        let Color::Red(Some(Checkpoint {
            serial: checkpoint,
            report: 0,
            mark: Mark::Block,
        })) = data.color
        else {
            return false;
        };
        let octets = data.octets.len();
        let free = self.free_octets_for(slot);
        let Some(peer) = self.peer_mut(slot) else {
            return false;
        };
        let is_possible = service == Service::Whole
            && (1..MIN_POOLED).contains(&octets)
            && data.offset == 0
            && octets <= peer.config.session_octets
            && 2 * size_of::<Reception>() + 2 * EVENT_OVERHEAD + octets <= free
            && peer.is_plain()
            && peer.can_send();
        if !is_possible {
            return false;
        }
        // Bound: usize has at most 64 bits.
        let red = octets as u64;
        // The segment that was received says nothing about the loss.
        let others = segments(red, peer.config.segment) - 1;
        if others > 0 {
            peer.line.came(others, 0);
        }
        let serial = self.first_serial();
        let single = SingleSegment {
            client: data.client,
            received_at: self.now,
            report: SentReport {
                red,
                checkpoint,
                serial,
                left: None,
            },
        };
        self.admit(slot, session, Stage::Single(single));
        self.charge(slot, 0, size_of::<Reception>());
        self.stats.red_octets += red;
        self.stats.positive_reports_sent += 1;
        self.stats.imports_complete += 1;
        if !self.queue(slot, Control::Report { session, serial }) {
            // Treated as lost on the line: the timer repeats it.
            self.on_report_sent(slot, session, serial, 0);
        }
        let event = Event::Received {
            session,
            client: data.client,
            data: Bytes::copy_from_slice(data.octets),
            ends_block: true,
        };
        self.push_service_event(data.client, event, octets + EVENT_OVERHEAD);
        true
    }

    /// Starts the timer of the only report when it is sent for the first time (RFC 5326 section 6.3). False for any
    /// other report.
    pub(in crate::ltp) fn single_report_sent(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
        len: usize,
    ) -> bool {
        let now = self.now;
        let Some(due) = self
            .peer(slot)
            .filter(|peer| peer.is_plain())
            .map(|peer| peer.answer(now, len))
        else {
            return false;
        };
        let is_frozen = self.peer(slot).is_some_and(PeerState::is_silent);
        let Some(Stage::Single(single)) = self.imports.get_mut(&session).map(|one| &mut one.stage)
        else {
            return false;
        };
        if single.report.serial != serial || single.report.left.is_some() {
            return false;
        }
        let what = TimerKind::Report { session, serial };
        let timer = start(&mut self.timers, due, Key { slot, what }, is_frozen);
        single.report.left = Some((now, len, timer));
        true
    }

    /// Handles the RA for the only report. False for any other.
    pub(in crate::ltp) fn single_acknowledged(
        &mut self,
        slot: u32,
        session: SessionId,
        serial: u64,
    ) -> bool {
        let Some(Stage::Single(single)) = self.imports.get_mut(&session).map(|one| &mut one.stage)
        else {
            return false;
        };
        if single.report.serial != serial {
            return false;
        }
        let (left, end) = (single.report.left, single.end());
        let now = self.now;
        if let Some((at, len, _)) = left
            && let Some(peer) = self.peer_mut(slot)
        {
            peer.answered(now, at, at, len);
            peer.line.exchanged(true);
        }
        self.close_import_as(session, end);
        true
    }
}

impl SentReport {
    /// Passes the body of the report, which claims the whole block.
    pub(in crate::ltp) fn with_body<T>(&self, use_body: impl FnOnce(&Body<'_>) -> T) -> T {
        let all = 0..self.red;
        use_body(&Body::Report(Report {
            serial: self.serial,
            checkpoint: self.checkpoint,
            scope: (0..self.red).into(),
            claims: Claims::new(core::slice::from_ref(&all)),
        }))
    }
}
