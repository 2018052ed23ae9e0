//! What the flow keeps of one block that is being sent.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::report_round::ReportRound;
use crate::Instant;

/// The number of rounds that may wait for the rest of their reports.
const MAX_ROUNDS: usize = 64;

/// The flow of one block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::ltp) struct BlockFlow {
    /// When the first segment left.
    pub(in crate::ltp) started: Option<Instant>,
    /// When the first segment behind the latest checkpoint of the first pass left.
    pub(in crate::ltp) part: Option<Instant>,
    /// Reports whose rest is awaited, one round for each checkpoint.
    pub(in crate::ltp) rounds: Vec<ReportRound>,
    /// What is answered once the retransmission under way was reported on.
    pub(in crate::ltp) held: Option<Box<ReportRound>>,
    /// Segments until the next hello. `None` if the block has none.
    pub(in crate::ltp) hello: Option<u32>,
    /// Whether a checkpoint was sent before the end of the red part.
    pub(in crate::ltp) has_early_checkpoint: bool,
    /// Whether the block was sent before, with such checkpoints, and refused.
    pub(in crate::ltp) is_second: bool,
}

impl BlockFlow {
    pub(in crate::ltp) const NONE: Self = Self {
        started: None,
        part: None,
        rounds: Vec::new(),
        held: None,
        hello: None,
        has_early_checkpoint: false,
        is_second: false,
    };

    /// Adds a report segment to the round of its checkpoint, which `begin` makes if it is the first; without one it tells
    /// nothing. Returns the round once it is complete.
    pub(in crate::ltp) fn gather(
        &mut self,
        checkpoint: u64,
        (serial, scope): (u64, Range<u64>),
        begin: Option<ReportRound>,
        is_complete: impl FnOnce(&ReportRound) -> bool,
    ) -> Option<ReportRound> {
        let is_it = |round: &ReportRound| round.checkpoint == checkpoint;
        let known = self.rounds.iter().position(is_it);
        if known.is_none() {
            self.rounds.push(begin?);
        }
        let place = known.unwrap_or(self.rounds.len() - 1);
        let is_over = self.rounds.len() > MAX_ROUNDS;
        let round = self.rounds.get_mut(place)?;
        round.add(serial, scope);
        (is_over || is_complete(round)).then(|| self.rounds.remove(place))
    }

    /// Keeps a round until the retransmission under way was reported on.
    pub(in crate::ltp) fn hold(&mut self, round: ReportRound) {
        match &mut self.held {
            Some(held) => held.merge(&round),
            None => self.held = Some(Box::new(round)),
        }
    }

    /// Forgets all reports: nothing is missing any more.
    pub(in crate::ltp) fn clear(&mut self) {
        self.rounds.clear();
        self.held = None;
    }

    /// Counts segments of the first pass, the last of which had a hello or not.
    pub(in crate::ltp) fn on_segments(&mut self, count: u32, interval: u32) {
        if let Some(left) = &mut self.hello {
            *left = left.checked_sub(count).unwrap_or(interval - 1);
        }
    }

    /// Returns the bytes of memory beside this.
    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let rounds = self.rounds.iter().chain(self.held.as_deref());
        let held = usize::from(self.held.is_some());
        (self.rounds.capacity() + held) * size_of::<ReportRound>()
            + rounds.map(ReportRound::memory_used).sum::<usize>()
    }
}
