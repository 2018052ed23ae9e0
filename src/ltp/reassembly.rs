//! Reassembly of a red part, in memory that follows the octets received.
//!
//! Segments that come in order, or nearly so, are copied once, into one buffer that becomes the block. What comes
//! far ahead of the rest is kept in pieces: an offset is a number that anybody can write, so no memory is allocated
//! for the octets before it. The buffer takes the pieces over when it reaches them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use bytes::Bytes;

use super::buffer_pool::{BufferPool, MIN_POOLED, deliver};
use crate::kit::RangeSet;

/// A piece that is longer is not extended, since growing it would copy it.
const MAX_GROWING: usize = 1024;
/// A buffer that is shorter may grow by single segments.
const SMALL: usize = 1 << 16;
/// Octets of one run of a scattered red part at most.
const MAX_RUN: usize = 1 << 18;
/// Bytes that a piece takes beside its octets: an entry of a tree whose nodes are half empty, and what an allocator
/// adds.
const PIECE: usize = 96;

/// A red part as far as it was received.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// The octets from the first on, with zeros in the gaps. Of a scattered red part, the run that was received last.
    buffer: Vec<u8>,
    /// Whether the octets are given out as they come. The buffer begins at `start` then, and at 0 otherwise.
    is_scattered: bool,
    start: u64,
    /// Octets of the buffer that are accounted for. A reused buffer has more.
    granted: usize,
    /// Octets of the buffer beyond those, as reported to the pool.
    excess: usize,
    /// Octets beyond the buffer, by their offset. Of a scattered red part, earlier runs.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// Bytes that the pieces take.
    in_pieces: usize,
    /// The ranges that were received.
    pub(super) held: RangeSet,
    /// Octets that were copied a second time.
    #[cfg(test)]
    copied: usize,
}

/// What a session may allocate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Octets that are free, beside what the red part takes.
    pub(super) free: usize,
    /// Octets that are free for spare buffers, too.
    pub(super) spare: usize,
    /// The maximum length of a red part.
    pub(super) limit: usize,
    /// The length of the red part, if it is known.
    pub(super) red: Option<u64>,
}

impl Reassembly {
    pub(super) fn new(is_scattered: bool) -> Self {
        Self {
            is_scattered,
            ..Self::default()
        }
    }

    /// Returns the red part of a block that was delivered.
    pub(super) fn delivered(red: u64) -> Self {
        let mut all = Self::default();
        all.held.insert(0..red);
        all
    }

    /// Returns the bytes of memory that are accounted for.
    pub(super) fn memory_used(&self) -> usize {
        self.granted + self.in_pieces + self.held.memory_used()
    }

    /// Returns a copy of what is contiguous from `start` on, with its end.
    pub(super) fn contiguous(&self, start: u64) -> Option<(Bytes, u64)> {
        // Pieces for which the buffer had no room follow when it has.
        // Bound: usize has at most 64 bits.
        let end = self.held.run_from(0).min(self.buffer.len() as u64);
        let octets = self.buffer.get(indices(&(start..end), 0)?)?;
        (!octets.is_empty()).then(|| (Bytes::copy_from_slice(octets), end))
    }

    /// Returns the octets received, in order, each run with its offset. A run may follow the one before at once.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        // Bound: usize has at most 64 bits.
        let in_buffer = self
            .held
            .within(self.start..self.start + self.buffer.len() as u64);
        let in_buffer = in_buffer.filter_map(|range| {
            let octets = self.buffer.get(indices(&range, self.start)?)?;
            Some((range.start, octets))
        });
        let pieces = self.pieces.iter();
        in_buffer.chain(pieces.map(|(offset, octets)| (*offset, octets.as_slice())))
    }

    /// Whether everything before `offset` was received and nothing behind it.
    #[inline]
    pub(super) fn ends_at(&self, offset: u64) -> bool {
        // Bound: usize has at most 64 bits.
        self.held.end() == offset
            && offset == self.start + self.buffer.len() as u64
            && !self.held.is_empty()
    }

    /// Whether octets can be appended without more memory.
    #[inline]
    pub(super) const fn has_room_for(&self, octets: usize) -> bool {
        octets <= self.granted.saturating_sub(self.buffer.len())
    }

    /// Appends octets. The caller adds their range to what is held.
    #[inline]
    pub(super) fn append(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Appends octets to the run of a scattered red part that was received last, or begins another one.
    fn extend_run(&mut self, offset: u64, octets: &[u8], free: usize) -> Option<()> {
        // Bound: usize has at most 64 bits.
        let is_next = offset == self.start + self.buffer.len() as u64;
        if !is_next || self.buffer.len() + octets.len() > MAX_RUN {
            if PIECE + octets.len() > free {
                return None;
            }
            self.finish_run();
            self.start = offset;
        }
        let needed = self.buffer.len() + octets.len();
        if needed > self.granted {
            // Runs of a long block are long. Each begins with memory for some of what was received before.
            let received = usize::try_from(self.held.len() / 8).unwrap_or(MAX_RUN);
            let wanted = (2 * self.granted).max(received).min(MAX_RUN).max(needed);
            let mut sizes = [wanted, needed].into_iter();
            self.granted = sizes.find(|size| size - self.granted <= free)?;
            self.buffer.reserve_exact(self.granted - self.buffer.len());
        }
        self.buffer.extend_from_slice(octets);
        Some(())
    }

    /// Puts the run that was received last behind those that are to be taken.
    fn finish_run(&mut self) {
        let run = mem::take(&mut self.buffer);
        self.granted = 0;
        if !run.is_empty() {
            self.in_pieces += run.capacity() + PIECE;
            self.pieces.insert(self.start, run);
        }
    }

    /// Returns the bytes that the octets of a scattered red part take which were not taken.
    pub(super) const fn untaken(&self) -> usize {
        if self.is_scattered {
            self.granted + self.in_pieces
        } else {
            0
        }
    }

    /// Takes the octets of a run out of a scattered red part, with their offset.
    pub(super) fn take_run(&mut self) -> Option<(u64, Bytes)> {
        let (offset, mut run) = if let Some((&offset, _)) = self.pieces.first_key_value() {
            (offset, self.take_piece(offset)?)
        } else {
            let run = mem::take(&mut self.buffer);
            self.granted = 0;
            let offset = self.start;
            // Bound: usize has at most 64 bits.
            self.start += run.len() as u64;
            (offset, run)
        };
        if run.capacity() / 2 > run.len() {
            run.shrink_to_fit();
        }
        (!run.is_empty()).then(|| (offset, run.into()))
    }

    /// Moves what is in pieces into the buffer of a red part that was received whole.
    pub(super) fn gather(&mut self, pool: &mut BufferPool) {
        if !self.pieces.is_empty() {
            let room = Room {
                free: usize::MAX / 2,
                spare: usize::MAX,
                limit: usize::MAX,
                red: Some(self.held.end()),
            };
            self.move_pieces(room, pool);
        }
    }

    /// Takes the whole red part as the data of an event, and the octets it counts for.
    pub(super) fn deliver(&mut self, pool: &mut BufferPool, limit: usize) -> (Bytes, usize) {
        self.gather(pool);
        let memory = mem::take(&mut self.buffer);
        let counted = mem::take(&mut self.granted);
        // The excess of the buffer goes to the pool.
        pool.exceed(mem::take(&mut self.excess), 0);
        (deliver(memory, counted, pool, limit), counted)
    }

    /// Tells the pool how much the buffer has beyond what is accounted for.
    pub(super) fn report_excess(&mut self, pool: &mut BufferPool) {
        let excess = self.buffer.capacity().saturating_sub(self.granted);
        pool.exceed(mem::replace(&mut self.excess, excess), excess);
    }

    /// Gives back what the buffer has beyond what is accounted for.
    pub(super) fn shrink(&mut self, pool: &mut BufferPool) {
        self.buffer.shrink_to(self.granted);
        pool.exceed(mem::take(&mut self.excess), 0);
    }

    /// Tells the pool that the buffer is dropped.
    pub(super) const fn release(&self, pool: &mut BufferPool) {
        pool.exceed(self.excess, 0);
    }

    /// Whether octets of a range differ from those that were received before, as far as these are here.
    pub(super) fn differs(&self, range: &Range<u64>, octets: &[u8]) -> bool {
        // Bound: usize has at most 64 bits.
        let end = |start: u64, octets: &[u8]| start.saturating_add(octets.len() as u64);
        let differs_in = |held: Range<u64>, start: u64, kept: &[u8]| {
            let common = held.start.max(range.start)..held.end.min(range.end);
            let one = indices(&common, start).and_then(|at| kept.get(at));
            let other = indices(&common, range.start).and_then(|at| octets.get(at));
            common.start < common.end && one != other
        };
        let in_buffer = self.start..end(self.start, &self.buffer);
        let mut in_buffer = self
            .held
            .within(in_buffer.start.max(range.start)..in_buffer.end.min(range.end));
        let pieces = self.pieces.range(..range.end).rev();
        let mut pieces = pieces.take_while(|(start, piece)| end(**start, piece) > range.start);
        in_buffer.any(|held| differs_in(held, self.start, &self.buffer))
            || pieces.any(|(start, piece)| differs_in(*start..end(*start, piece), *start, piece))
    }

    /// Stores the octets of a range that were not received before. Returns how many they are, and whether all found room:
    /// the first that did not and those behind it count as not received.
    pub(super) fn store(
        &mut self,
        range: &Range<u64>,
        octets: &[u8],
        room: Room,
        pool: &mut BufferPool,
    ) -> (u64, bool) {
        let memory = self.memory_used().saturating_add(room.free);
        let mut fresh = 0;
        loop {
            let gap = self.held.gaps(range.clone()).next();
            let Some(gap) = gap else {
                return (fresh, true);
            };
            let run = indices(&gap, range.start).and_then(|at| octets.get(at));
            let kept = run.and_then(|run| {
                let is_next = self.held.end() == gap.start && !self.held.is_empty();
                let more = if is_next {
                    0
                } else {
                    self.held.memory_for_one_more()
                };
                let free = memory.checked_sub(self.memory_used() + more)?;
                self.keep((gap.start, run), range.end, Room { free, ..room }, pool)
            });
            if kept.is_none() {
                return (fresh, false);
            }
            fresh += self.held.insert(gap);
            if !self.is_scattered {
                let free = memory.saturating_sub(self.memory_used());
                self.move_pieces(Room { free, ..room }, pool);
            }
        }
    }

    /// Keeps octets of a segment that ends at `end` in the buffer, if it has room for all of the segment.
    fn keep(
        &mut self,
        (offset, octets): (u64, &[u8]),
        end: u64,
        room: Room,
        pool: &mut BufferPool,
    ) -> Option<()> {
        if self.is_scattered {
            return self.extend_run(offset, octets, room.free);
        }
        let (start, end) = (usize::try_from(offset).ok()?, usize::try_from(end).ok()?);
        // Over octets that are missing it grows only if an eighth of the room is left, for what comes in order.
        let kept = if start > self.buffer.len() {
            self.memory_used().saturating_add(room.free) / 8
        } else {
            0
        };
        let free = room.free.saturating_sub(kept);
        if end <= self.buffer.len() || self.grow(end, free, room, pool).is_some() {
            self.put(start, octets);
            Some(())
        } else {
            self.add_piece(offset, octets, room.free)
        }
    }

    /// Makes room for octets up to `end` with at most `free` bytes more.
    ///
    /// The buffer grows by doubling, up to the length of the red part, or by a smaller part of it. By single segments it
    /// grows only while it is small, or it would be copied for each.
    fn grow(&mut self, end: usize, free: usize, room: Room, pool: &mut BufferPool) -> Option<()> {
        let has = self.granted;
        if end <= has {
            return Some(());
        }
        let doubled = if has < MIN_POOLED {
            has.saturating_mul(2)
        } else {
            // The same sizes for all blocks, so that the buffer of one fits another.
            let more = has.saturating_add(1).checked_next_power_of_two();
            more.unwrap_or(has)
        };
        let known = room.red.and_then(|red| usize::try_from(red).ok());
        let longest = known.unwrap_or(room.limit).min(room.limit);
        let all = known.unwrap_or(doubled);
        let eighth = has.saturating_add(has / 8);
        let most = has.saturating_add(free);
        let wanted = [all, doubled, has.saturating_add(has / 2), eighth, end]
            .into_iter()
            .map(|size| size.min(longest).max(end))
            .find(|size| *size <= most)?;
        let is_step = wanted >= eighth || wanted == longest;
        if !is_step && wanted > SMALL {
            return None;
        }
        self.granted = wanted;
        if wanted <= self.buffer.capacity() {
            return Some(());
        }
        #[cfg(test)]
        (self.copied += self.buffer.len());
        if let Some(mut memory) = pool.take(wanted) {
            memory.extend_from_slice(&self.buffer);
            self.buffer = memory;
            return Some(());
        }
        if wanted - has + pool.octets() > room.spare {
            pool.clear();
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
        Some(())
    }

    /// Keeps octets beyond the buffer.
    fn add_piece(&mut self, offset: u64, octets: &[u8], free: usize) -> Option<()> {
        // Bound: usize has at most 64 bits.
        let before = self.pieces.range_mut(..offset).next_back();
        let before = before.filter(|(start, piece)| {
            piece.len() <= MAX_GROWING && **start + piece.len() as u64 == offset
        });
        let Some((_, piece)) = before else {
            if octets.len() + PIECE > free {
                return None;
            }
            self.in_pieces += octets.len() + PIECE;
            self.pieces.insert(offset, octets.to_vec());
            return Some(());
        };
        let (capacity, needed) = (piece.capacity(), piece.len() + octets.len());
        if needed > capacity {
            let wanted = needed.max(2 * capacity);
            if wanted - capacity > free {
                return None;
            }
            piece.reserve_exact(wanted - piece.len());
            self.in_pieces += piece.capacity() - capacity;
        }
        piece.extend_from_slice(octets);
        Some(())
    }

    fn take_piece(&mut self, offset: u64) -> Option<Vec<u8>> {
        let piece = self.pieces.remove(&offset)?;
        self.in_pieces -= piece.capacity() + PIECE;
        Some(piece)
    }

    /// Moves pieces into the buffer that it reaches. One for which there is no room stays.
    fn move_pieces(&mut self, room: Room, pool: &mut BufferPool) {
        let memory = self.memory_used().saturating_add(room.free);
        while let Some((&offset, piece)) = self.pieces.first_key_value() {
            let freed = piece.capacity() + PIECE;
            let end = offset.saturating_add(piece.len() as u64);
            let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(end)) else {
                return;
            };
            let free = memory.saturating_sub(self.memory_used() - freed);
            if start > self.buffer.len() || self.grow(end, free, room, pool).is_none() {
                return;
            }
            if let Some(piece) = self.take_piece(offset) {
                #[cfg(test)]
                (self.copied += piece.len());
                self.put(start, &piece);
            }
        }
    }

    /// Copies octets into the buffer, which has room for them.
    fn put(&mut self, start: usize, octets: &[u8]) {
        if start >= self.buffer.len() {
            self.buffer.resize(start, 0);
            return self.buffer.extend_from_slice(octets);
        }
        let end = start + octets.len();
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        if let Some(place) = self.buffer.get_mut(start..end) {
            place.copy_from_slice(octets);
        }
    }
}

/// Returns a range of offsets as one of indices behind `start`.
fn indices(range: &Range<u64>, start: u64) -> Option<Range<usize>> {
    let index = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
    Some(index(range.start)?..index(range.end)?)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// What a session may take for `received` octets.
    const fn limit(received: usize) -> usize {
        2 * received + (1 << 16)
    }

    fn room(received: usize, used: usize) -> Room {
        Room {
            free: limit(received).saturating_sub(used),
            spare: 0,
            limit: 1 << 30,
            red: None,
        }
    }

    /// The octet of a block at an offset.
    fn octet(at: u64) -> u8 {
        u8::try_from(at * 7 % 251).unwrap()
    }

    fn octets(range: Range<u64>) -> Vec<u8> {
        range.map(octet).collect()
    }

    /// Feeds segments of a block, each counted with the 10 octets of its header, and checks the bound of the memory.
    struct Feed {
        reassembly: Reassembly,
        pool: BufferPool,
        received: usize,
        refused: usize,
    }

    impl Feed {
        fn new() -> Self {
            Self {
                reassembly: Reassembly::default(),
                pool: BufferPool::default(),
                received: 0,
                refused: 0,
            }
        }

        fn segment(&mut self, range: Range<u64>) -> Option<u64> {
            let octets = octets(range.clone());
            self.received += octets.len() + 10;
            let limit = limit(self.received);
            let room = room(self.received, self.reassembly.memory_used());
            let pool = &mut self.pool;
            let (fresh, is_all) = self.reassembly.store(&range, &octets, room, pool);
            let fresh = is_all.then_some(fresh);
            self.refused += usize::from(fresh.is_none());
            let used = self.reassembly.memory_used();
            assert!(used <= limit, "{used} bytes above {limit}");
            fresh
        }

        /// Checks that the runs are the octets that were received, and returns how many they are.
        fn check(&self) -> u64 {
            let mut all = RangeSet::new();
            for (offset, run) in self.reassembly.runs() {
                let range = offset..offset + run.len() as u64;
                assert_eq!(run, octets(range.clone()), "at {range:?}");
                assert_eq!(all.insert(range.clone()), range.end - range.start);
            }
            assert_eq!(all, self.reassembly.held);
            all.len()
        }

        fn take(mut self, len: u64) {
            let (block, _) = self.reassembly.deliver(&mut self.pool, 0);
            assert_eq!(block, octets(0..len));
        }
    }

    fn segments(len: u64, size: u64) -> Vec<Range<u64>> {
        (0..len.div_ceil(size))
            .map(|at| at * size..(at * size + size).min(len))
            .collect()
    }

    #[test]
    fn a_block_in_order_is_one_buffer_copied_only_where_it_doubles() {
        let len = 3_000_000;
        let mut feed = Feed::new();
        for range in segments(len, 1400) {
            assert_eq!(feed.segment(range.clone()), Some(range.end - range.start));
            assert_eq!(feed.reassembly.contiguous(0).unwrap().1, range.end);
        }

        assert_eq!(feed.reassembly.held.count(), 1);
        assert!(
            feed.reassembly.copied < 4_300_000,
            "{}",
            feed.reassembly.copied
        );
        feed.take(len);
    }

    /// A tenth of the segments is lost, and comes behind the rest.
    #[test]
    fn a_block_with_losses_stays_one_buffer() {
        let len = 3_000_000;
        let mut feed = Feed::new();
        let all = segments(len, 1400);
        let is_lost = |at: &usize| at % 10 == 3;
        for (_, range) in all.iter().enumerate().filter(|(at, _)| !is_lost(at)) {
            assert!(feed.segment(range.clone()).is_some());
            assert!(feed.reassembly.pieces.is_empty());
        }
        for (_, range) in all.iter().enumerate().filter(|(at, _)| is_lost(at)) {
            assert!(feed.segment(range.clone()).is_some());
        }

        assert!(
            feed.reassembly.copied < 7_000_000,
            "{}",
            feed.reassembly.copied
        );
        assert_eq!(feed.check(), len);
        feed.take(len);
    }

    #[test]
    fn a_block_that_comes_backwards_is_received_whole() {
        let len = 1_000_000;
        let mut feed = Feed::new();
        for range in segments(len, 1400).into_iter().rev() {
            assert!(feed.segment(range).is_some());
        }

        assert_eq!(feed.refused, 0);
        assert_eq!(feed.check(), len);
        feed.take(len);
    }

    /// Hostile A1 and A2: an offset alone allocates nothing.
    #[test]
    fn an_octet_at_a_high_offset_takes_the_memory_of_an_octet() {
        for offset in [1 << 30, 1 << 31, (1 << 32) - 2] {
            let mut feed = Feed::new();
            assert_eq!(feed.segment(offset..offset + 1), Some(1));
            assert!(feed.reassembly.memory_used() < 200);
            assert_eq!(feed.check(), 1);
        }
    }

    /// Each segment lies as far ahead as it can, to make the buffer grow over what is missing.
    #[test]
    fn a_buffer_that_is_drawn_ahead_is_not_copied_for_each_segment() {
        let mut feed = Feed::new();
        for range in segments(1_000_000, 1400) {
            feed.segment(range);
        }
        let before = feed.reassembly.copied;
        let count = 100_000;
        for _ in 0..count {
            let ahead = feed.reassembly.buffer.len() as u64 + 30;
            feed.segment(ahead..ahead + 1);
        }

        let per_segment = (feed.reassembly.copied - before) / count;
        assert!(
            per_segment < 200,
            "{per_segment} octets copied for a segment"
        );
    }

    /// Hostile B5: single octets with gaps, from the last to the first.
    #[test]
    fn single_octets_backwards_are_kept_within_the_bound() {
        let mut feed = Feed::new();
        for at in (0..100_000).rev() {
            feed.segment(2 * at..2 * at + 1);
        }

        assert!(feed.refused > 0, "the rest is not claimed, and comes again");
        let kept = feed.check();
        assert!(kept > 10_000, "{kept} octets kept");
        // Once the gaps close, all of it fits.
        for range in segments(200_000, 1000) {
            assert!(feed.segment(range).is_some());
        }
        feed.take(200_000);
    }

    #[test]
    fn octets_that_were_received_stay_whatever_comes_over_them() {
        let far = 1 << 30;
        let mut feed = Feed::new();
        feed.segment(far + 10..far + 20);
        feed.segment(far + 30..far + 40);
        feed.segment(far + 40..far + 45);
        let mut store = |start: u64, end: u64| {
            let other = vec![0xFF; usize::try_from(end - start).unwrap()];
            let room = room(10_000, 0);
            feed.reassembly
                .store(&(start..end), &other, room, &mut feed.pool)
        };

        assert_eq!(store(far + 15, far + 18), (0, true));
        assert_eq!(store(far + 5, far + 42), (15, true));
        assert_eq!(store(far + 44, far + 46), (1, true));

        let all: Vec<u8> = feed
            .reassembly
            .runs()
            .flat_map(|(_, run)| run.to_vec())
            .collect();
        let expected: Vec<u8> = (far + 5..far + 46)
            .map(|at| match at - far {
                10..20 | 30..45 => octet(at),
                _ => 0xFF,
            })
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn segments_of_any_order_and_overlap_make_the_block() {
        for seed in 0..60 {
            let mut rng = crate::Seed::from(seed).rng();
            let len = 1 + rng.below(400_000);
            let longest = 1 + rng.below(6000);
            let mut feed = Feed::new();
            let mut model = RangeSet::new();
            for round in 0..4000_u64 {
                let start = if round < 3000 || model.len() == len {
                    rng.below(len)
                } else {
                    model.gaps(0..len).next().map_or(0, |gap| gap.start)
                };
                let end = (start + 1 + rng.below(longest)).min(len);
                if let Some(fresh) = feed.segment(start..end) {
                    assert_eq!(fresh, model.insert(start..end));
                }
                if round % 1000 == 0 {
                    feed.check();
                }
            }
            if let Some((contiguous, end)) = feed.reassembly.contiguous(0) {
                assert_eq!(contiguous, octets(0..end));
            }
            if model.len() == len {
                feed.take(len);
            } else {
                feed.check();
            }
        }
    }
}
