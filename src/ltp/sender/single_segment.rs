//! Blocks of one red segment, which one report completes.
//!
//! Most sessions of small blocks are like this. Such a session keeps only what that takes. When anything else
//! happens to it, it is expanded into a [`Sending`], and behaves as if it had been one from the start.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Outstanding, Sending, State};
use crate::kit::RangeSet;
use crate::kit::TimerId;
use crate::ltp::api::Event;
use crate::ltp::engine::Engine;
use crate::ltp::outgoing::DuplicateRepairs;
use crate::ltp::peer::Control;
use crate::ltp::wire::{Checkpoint, Mark, Report, SessionId};
use crate::{Addr, Instant, Tag};

/// A red block that may fit one segment.
#[derive(Debug)]
pub(in crate::ltp) struct SingleSegment {
    pub(in crate::ltp) tag: Tag,
    pub(in crate::ltp) client: u64,
    pub(in crate::ltp) block: Bytes,
    /// The serial number of its checkpoint.
    pub(in crate::ltp) serial: u64,
    pub(in crate::ltp) left: Option<Left>,
}

/// When and how the only segment was sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::ltp) struct Left {
    pub(in crate::ltp) at: Instant,
    pub(in crate::ltp) len: usize,
    pub(in crate::ltp) timer: Option<TimerId>,
}

impl SingleSegment {
    /// Returns the checkpoint that the only segment is.
    pub(in crate::ltp) const fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            serial: self.serial,
            report: 0,
            mark: Mark::Block,
        }
    }

    pub(in crate::ltp) const fn len(&self) -> u64 {
        // Bound: usize has at most 64 bits.
        self.block.len() as u64
    }

    /// Returns the same session as a [`Sending`].
    #[cold]
    #[inline(never)]
    pub(super) fn expand(&self) -> Sending {
        let len = self.len();
        let outstanding = |left: Left| Outstanding {
            serial: self.serial,
            report: 0,
            range: 0..len,
            mark: Mark::Block,
            cycle: 0,
            tries: 1,
            timer: left.timer,
            copy: None,
            first: left.at,
            latest: left.at,
            len: left.len,
            retransmitted: Vec::new(),
        };
        let checkpoints: SmallVec<[Outstanding; 1]> =
            self.left.into_iter().map(outstanding).collect();
        // Bound: 0 or 1.
        let passes = checkpoints.len() as u64;
        Sending {
            tag: self.tag,
            client: self.client,
            block: self.block.clone(),
            len,
            red: len,
            next: passes * len,
            may_have_left: 0,
            notifies_sent: false,
            serial: self.serial.saturating_add(passes),
            unchecked: 0,
            checked: passes * len,
            wants_checkpoint: false,
            claimed: RangeSet::new(),
            reports: RangeSet::new(),
            lowest: None,
            checkpoints,
            repairs: VecDeque::new(),
            is_repairing: false,
            problems: 0,
            guard: None,
            guard_tries: 0,
            spare: DuplicateRepairs::default(),
            reported_up_to: 0,
            delayed: Vec::new(),
            delay: None,
        }
    }
}

impl State {
    /// Returns the session, expanded, unless it is being cancelled.
    #[inline]
    pub(super) fn sending(&mut self) -> Option<&mut Box<Sending>> {
        if let Self::Single(single) = self {
            *self = Self::Sending(Box::new(single.expand()));
        }
        match self {
            Self::Sending(sending) => Some(sending),
            Self::Single(_) | Self::Cancelling(_) => None,
        }
    }
}

impl<A: Addr> Engine<A> {
    /// Handles the report that claims the whole block and completes the session (RFC 5326 section 6.12). False for any
    /// other report.
    pub(super) fn single_reported(
        &mut self,
        slot: u32,
        session: SessionId,
        report: &Report<'_>,
    ) -> bool {
        let number = session.number;
        let Some(export) = self.exports.get_mut(&number) else {
            return false;
        };
        let State::Single(single) = &export.state else {
            return false;
        };
        let Some(left) = single.left.filter(|_| report.claims_all(single.len())) else {
            return false;
        };
        let (tag, octets) = (single.tag, single.block.len());
        let is_answer = report.checkpoint == single.serial;
        let serial = report.serial;
        if let Some(place) = self.exports.position(&number) {
            self.tags.remove(tag, place);
        }
        self.queue(slot, Control::ReportAck { session, serial });
        self.stop(left.timer);
        let now = self.now;
        if let Some(peer) = self.peer_mut(slot).filter(|_| is_answer) {
            peer.answered(now, left.at, left.at, left.len);
            peer.line.exchanged(true);
        }
        self.stats.positive_reports_received += 1;
        // Bound: usize has at most 64 bits.
        self.remove_in_flight(slot, octets as u64);
        self.stats.exports_complete += 1;
        self.export_octets -= octets;
        self.push_event(Event::Complete { tag, session }, 0);
        self.close_export(number);
        true
    }
}
