//! The red part of a block as far as it was received.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use bytes::Bytes;

use super::buffer_pool::{BufferPool, MIN_POOLED, deliver};
use crate::kit::RangeSet;

/// The octets received, and which they are.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// The red part as far as it was received, with zeros in the gaps. Empty once delivered.
    buffer: Vec<u8>,
    /// Octets of the buffer that are accounted for. A reused buffer has more.
    granted: usize,
    /// Octets of the buffer beyond those, as reported to the pool.
    excess: usize,
    pub(super) held: RangeSet,
}

/// What a session may allocate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Octets that are free.
    pub(super) free: usize,
    /// The maximum length of a red part.
    pub(super) limit: usize,
    /// The length of the red part, if it is known.
    pub(super) red: Option<u64>,
}

impl Reassembly {
    /// Returns the red part of a block that was delivered.
    pub(super) fn delivered(red: u64) -> Self {
        let mut all = Self::default();
        all.held.insert(0..red);
        all
    }

    pub(super) const fn memory_used(&self) -> usize {
        self.granted + self.held.memory_used()
    }

    /// Stores octets with one copy, and returns how many were missing. Octets that were received before stay as they
    /// are. `None` without memory for them.
    pub(super) fn store(
        &mut self,
        range: &Range<u64>,
        octets: &[u8],
        room: Room,
        pool: &mut BufferPool,
    ) -> Option<u64> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        // Room for the set of ranges to grow by one.
        let free = room.free.checked_sub(self.held.memory_used() + 64)?;
        self.grow(end, Room { free, ..room }, pool)?;
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

    /// Grows the buffer by doubling, up to the length of the red part, and only within what is free. The allocated octets
    /// count, or a single octet at a high offset would cost nothing.
    fn grow(&mut self, end: usize, room: Room, pool: &mut BufferPool) -> Option<()> {
        let has = self.granted;
        if end <= has {
            return Some(());
        }
        let known = room.red.and_then(|red| usize::try_from(red).ok());
        let more = if has < MIN_POOLED {
            has.saturating_mul(2)
        } else {
            // The same sizes for all blocks, so that the buffer of one fits another.
            has.saturating_add(1)
                .checked_next_power_of_two()
                .unwrap_or(has)
        };
        let most = known.unwrap_or(more).min(room.limit).max(end);
        let wanted = if most - has <= room.free { most } else { end };
        if wanted - has > room.free {
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
        if wanted - has + pool.octets() > room.free {
            pool.clear();
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
        Some(())
    }

    /// Whether everything before `offset` was received and nothing behind it.
    #[inline]
    pub(super) fn ends_at(&self, offset: u64) -> bool {
        usize::try_from(offset).is_ok_and(|offset| offset == self.buffer.len())
            && self.held.end() == offset
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

    /// Takes the whole red part as the data of an event, and the octets it counts for.
    pub(super) fn deliver(&mut self, pool: &mut BufferPool, limit: usize) -> (Bytes, usize) {
        let memory = mem::take(&mut self.buffer);
        let counted = mem::take(&mut self.granted);
        // The excess of the buffer goes to the pool.
        pool.exceed(mem::take(&mut self.excess), 0);
        (deliver(memory, counted, pool, limit), counted)
    }

    /// Returns a copy of what is contiguous from `start` on, with its end.
    pub(super) fn contiguous(&self, start: u64) -> Option<(Bytes, u64)> {
        let end = self.held.run_from(0);
        let octets = self.octets(&(start..end))?;
        (!octets.is_empty()).then(|| (Bytes::copy_from_slice(octets), end))
    }

    pub(super) fn octets(&self, range: &Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start).ok()?;
        self.buffer.get(start..usize::try_from(range.end).ok()?)
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
}
