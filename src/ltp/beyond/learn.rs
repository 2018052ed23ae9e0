//! What reports say about losses and round-trip times of the line.

use core::ops::Range;
use core::time::Duration;

use crate::ltp::context::Context;
use crate::ltp::engine::Engine;
use crate::ltp::export::{Outstanding, Sending};
use crate::ltp::peer::PeerState;
use crate::{Addr, Instant};

/// Octets of a segment that are not data, approximately.
pub(super) const HEAD: u64 = 24;

/// Returns how many segments of at most `segment` octets carried that many octets, approximately.
pub(in crate::ltp) fn segments(octets: u64, segment: usize) -> u64 {
    // Bound: usize has at most 64 bits.
    let each = (segment as u64).saturating_sub(HEAD).max(1);
    (octets.saturating_add(each / 2) / each).max(1)
}

impl Sending {
    /// Counts the losses in the part of the first pass that no earlier report covered. `is_last` says that the report
    /// claims everything, and so ends the session.
    ///
    /// The checkpoint itself does not count: a lost one draws no report, so the reports seen say nothing about it.
    pub(in crate::ltp) fn learn_losses(
        &mut self,
        checkpoint: u64,
        scope: &Range<u64>,
        is_last: bool,
        cx: &mut Context<'_>,
    ) {
        let asked = self.checkpoint(checkpoint);
        let first_pass = asked.filter(|one| one.is_of_first_pass());
        let Some(end) = first_pass.map(|one| one.range.start) else {
            return;
        };
        let told = self.repair().reported_up_to..end.min(scope.end);
        if told.is_empty() || scope.start > told.start {
            return;
        }
        let segment = cx.peer.config.segment;
        let mut lost = 0;
        if !is_last {
            let repair = self.repair_mut();
            repair.reported_up_to = scope.end;
            let gaps = repair.claimed.gaps(told.clone());
            lost = gaps.map(|gap| segments(gap.end - gap.start, segment)).sum();
        }
        let sent = segments(told.end - told.start, segment);
        cx.peer.line.sent(sent, lost);
    }
}

impl Outstanding {
    /// Measures the time from the checkpoint to its report.
    pub(in crate::ltp) fn learn_answer(&self, cx: &mut Context<'_>) {
        let now = cx.node.now;
        cx.peer.answered(now, self.first, self.latest);
        if self.tries == 1 && self.first == self.latest {
            cx.peer.line.exchanged(true);
        }
    }
}

impl<A: Addr> Engine<A> {
    /// Returns the measurements of the line to a peer. `None` for an unknown peer.
    #[must_use]
    pub fn line(&self, peer: u64) -> Option<crate::ltp::LineEstimate> {
        let slot = self.core.peers.slot(peer).ok()?;
        self.core.peers.get(slot).map(PeerState::estimate)
    }

    /// Returns how long nothing was heard from a peer that owes answers, and how long that may last until it is given
    /// up. `None` for a peer that is heard or owes nothing, and for an unknown one.
    #[must_use]
    pub fn silence(&self, now: Instant, peer: u64) -> Option<(Duration, Duration)> {
        let slot = self.core.peers.slot(peer).ok()?;
        self.core.peers.get(slot)?.silent_for(now)
    }
}
