//! What reports say about losses and round-trip times of the line.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Outstanding, Sending};
use crate::Addr;
use crate::kit::TimerId;
use crate::ltp::engine::Engine;
use crate::ltp::peer::PeerState;
use crate::ltp::wire::Mark;

/// Octets of a segment that are not data, approximately.
const HEAD: u64 = 24;

/// Returns how many segments of at most `segment` octets carried that many octets, approximately.
pub(in crate::ltp) fn segments(octets: u64, segment: usize) -> u64 {
    // Bound: usize has at most 64 bits.
    let each = (segment as u64).saturating_sub(HEAD).max(1);
    (octets.saturating_add(each / 2) / each).max(1)
}

impl<A: Addr> Engine<A> {
    /// Counts the losses in the part of the first pass that no earlier report covered.
    ///
    /// The checkpoint itself does not count: a lost one draws no report, so the reports seen say nothing about it.
    pub(super) fn learn_losses(&mut self, number: u64, checkpoint: u64, scope: &Range<u64>) {
        let Some((slot, sending)) = self.sending(number) else {
            return;
        };
        let first_pass = sending.checkpoints.iter().find(|one| {
            one.serial == checkpoint && one.report == 0 && one.retransmitted.is_empty()
        });
        let Some(end) = first_pass.map(|one| one.range.start) else {
            return;
        };
        let told = sending.reported_up_to..end.min(scope.end);
        if told.is_empty() || scope.start > told.start {
            return;
        }
        sending.reported_up_to = scope.end;
        let gaps: Vec<u64> = sending
            .claimed
            .gaps(told.clone())
            .map(|gap| gap.end - gap.start)
            .collect();
        if let Some(peer) = self.peer_mut(slot) {
            let segment = peer.config.segment;
            let lost = gaps.iter().map(|gap| segments(*gap, segment)).sum();
            peer.line
                .sent(segments(told.end - told.start, segment), lost);
        }
    }

    /// Measures the time from a checkpoint to its report.
    pub(super) fn learn_answer(&mut self, slot: u32, checkpoint: &Outstanding) {
        let now = self.now;
        let Some(peer) = self.peer_mut(slot) else {
            return;
        };
        peer.answered(now, checkpoint.first, checkpoint.latest, checkpoint.len);
        if checkpoint.tries == 1 && checkpoint.first == checkpoint.latest {
            peer.line.exchanged(true);
        }
    }

    /// Counts a checkpoint without an answer.
    pub(super) fn learn_silence(&mut self, slot: u32) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.line.exchanged(false);
        }
    }

    /// Returns the measurements of the line to a peer. `None` for an unknown peer.
    #[must_use]
    pub fn line(&self, peer: u64) -> Option<crate::ltp::LineEstimate> {
        let slot = *self.by_id.get(&peer)?;
        self.peer(slot).map(PeerState::estimate)
    }
}

impl Sending {
    /// Returns the offset up to which the first pass was reported on.
    pub(in crate::ltp) const fn reported(&self) -> u64 {
        self.reported_up_to
    }

    /// Drops the checkpoints sent before the one that a report answers if the report covers what they asked for: their
    /// octets are within its scope, or were claimed. Returns their timers.
    ///
    /// The checkpoint that ends the red part stays until it is answered, since only it tells the length.
    pub(super) fn drop_answered_checkpoints(
        &mut self,
        checkpoint: u64,
        scope: &Range<u64>,
    ) -> Vec<TimerId> {
        let mut timers = Vec::new();
        if checkpoint >= self.serial {
            return timers;
        }
        let claimed = &self.claimed;
        let is_told = |gap: &Range<u64>| {
            scope.start <= gap.start && gap.end <= scope.end || claimed.covers(gap)
        };
        self.checkpoints.retain(|one| {
            let is_past = one.serial < checkpoint
                && one.mark == Mark::None
                && is_told(&one.range)
                && one.retransmitted.iter().all(is_told);
            if is_past {
                timers.extend(one.timers());
            }
            !is_past
        });
        timers
    }
}
