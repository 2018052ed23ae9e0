//! What the flow keeps of one block that is being sent.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::report_round::ReportRound;
use crate::Instant;

/// The number of rounds that may wait for the rest of their reports.
const MAX_ROUNDS: usize = 64;
/// The number of parts whose time is kept. Octets of an older part count as having left with it.
const MAX_PARTS: usize = 1024;

/// The flow of one block.
#[derive(Debug)]
pub(in crate::ltp) struct BlockFlow {
    /// When the first segment left.
    started: Option<Instant>,
    /// Where parts of the first pass begin that were not reported on, and when their first segment left.
    parts: VecDeque<(u64, Instant)>,
    /// Reports whose rest is awaited, one round for each checkpoint.
    rounds: Vec<ReportRound>,
    /// What is answered once the retransmission under way was reported on.
    held: Option<Box<ReportRound>>,
    /// Segments until the next hello. `None` if the block has none.
    hello: Option<u32>,
    /// Whether a checkpoint was sent before the end of the red part.
    pub(in crate::ltp) has_early_checkpoint: bool,
    /// Whether the block was sent before, with such checkpoints, and refused.
    pub(in crate::ltp) is_second: bool,
}

impl BlockFlow {
    pub(in crate::ltp) const NONE: Self = Self {
        started: None,
        parts: VecDeque::new(),
        rounds: Vec::new(),
        held: None,
        hello: None,
        has_early_checkpoint: false,
        is_second: false,
    };

    /// Returns the flow of a block that is sent once more.
    pub(in crate::ltp) fn second() -> Self {
        Self {
            is_second: true,
            ..Self::NONE
        }
    }

    /// Notes that segments are about to leave from an offset on, behind a checkpoint or at the start.
    pub(in crate::ltp) fn begin_part(&mut self, offset: u64, now: Instant) {
        self.started.get_or_insert(now);
        if self.parts.len() < MAX_PARTS {
            self.parts.push_back((offset, now));
        }
    }

    /// Returns when the first segment left.
    pub(in crate::ltp) const fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Returns when the part began that an offset of the first pass belongs to, and forgets those before it.
    pub(in crate::ltp) fn since(&mut self, offset: u64) -> Option<Instant> {
        while self.parts.get(1).is_some_and(|(next, _)| *next <= offset) {
            self.parts.pop_front();
        }
        self.parts.front().map(|(_, since)| *since)
    }

    /// Adds a report segment to the round of its checkpoint, which `begin` makes if it is the first; without one it tells
    /// nothing. Returns the round once it is complete.
    pub(in crate::ltp) fn gather(
        &mut self,
        checkpoint: u64,
        (serial, scope): (u64, Range<u64>),
        begin: Option<ReportRound>,
        is_complete: impl FnOnce(&ReportRound) -> bool,
    ) -> Option<ReportRound> {
        let known = self
            .rounds
            .iter()
            .position(|round| round.checkpoint == checkpoint);
        if let Some(round) = known.and_then(|place| self.rounds.get_mut(place)) {
            round.add(serial, scope);
        } else {
            self.rounds.push(begin?);
        }
        let place = known.unwrap_or(self.rounds.len() - 1);
        let is_over = self.rounds.len() > MAX_ROUNDS;
        let round = self.rounds.get(place)?;
        (is_over || is_complete(round)).then(|| self.rounds.remove(place))
    }

    /// Takes a complete round back, to be answered together with later ones.
    pub(in crate::ltp) fn put_back(&mut self, round: ReportRound) {
        self.rounds.push(round);
    }

    /// Whether rounds wait for the rest of their reports.
    pub(in crate::ltp) fn is_gathering(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// Takes the rounds out whose rest has not come in time.
    pub(in crate::ltp) fn take_rounds(&mut self) -> Vec<ReportRound> {
        mem::take(&mut self.rounds)
    }

    /// Keeps a round until the retransmission under way was reported on.
    pub(in crate::ltp) fn hold(&mut self, round: ReportRound) {
        match &mut self.held {
            Some(held) => held.merge(&round),
            None => self.held = Some(Box::new(round)),
        }
    }

    /// Returns what was kept.
    pub(in crate::ltp) fn release(&mut self) -> Option<ReportRound> {
        self.held.take().map(|held| *held)
    }

    /// Forgets all reports: nothing is missing any more.
    pub(in crate::ltp) fn clear(&mut self) {
        self.rounds.clear();
        self.held = None;
    }

    /// Returns the rounds that have not led to a retransmission.
    pub(in crate::ltp) fn unanswered(&self) -> impl Iterator<Item = &ReportRound> {
        self.rounds.iter().chain(self.held.as_deref())
    }

    /// Begins with a hello in the first segment.
    pub(in crate::ltp) const fn greet(&mut self) {
        self.hello = Some(0);
    }

    /// Returns how many segments precede the next hello. `None` if the block has none.
    pub(in crate::ltp) const fn hello_in(&self) -> Option<u32> {
        self.hello
    }

    /// Counts segments of the first pass, the last of which had a hello or not.
    pub(in crate::ltp) fn on_segments(&mut self, count: u32, interval: u32) {
        if let Some(left) = &mut self.hello {
            *left = left.checked_sub(count).unwrap_or(interval - 1);
        }
    }

    /// Returns the bytes of memory beside this.
    pub(in crate::ltp) fn memory_used(&self) -> usize {
        let rounds: usize = self.unanswered().map(ReportRound::memory_used).sum();
        let held = usize::from(self.held.is_some());
        self.parts.capacity() * size_of::<(u64, Instant)>()
            + (self.rounds.capacity() + held) * size_of::<ReportRound>()
            + rounds
    }
}
