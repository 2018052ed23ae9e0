//! Buffers of delivered blocks, kept for reuse.
//!
//! For a large block, most of the time goes into fresh memory pages, which the system has to find and clear. So the
//! buffer of a delivered block is shared with the application for as long as that uses it, and then serves the
//! next block.
//!
//! The behaviour of an engine must not depend on when the application drops a block. So sessions count what they
//! would have allocated without a pool, and the pool is shrunk whenever limits would be exceeded.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

/// Octets of the smallest buffer that is kept. Fuzzers use small blocks.
pub(super) const MIN_POOLED: usize = if cfg!(fuzzing) { 1 << 11 } else { 1 << 16 };
/// The maximum number of buffers kept.
const MOST: usize = 8;

/// The buffers that are kept.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    /// Buffers from the oldest on, each with its size.
    kept: VecDeque<(Bytes, usize)>,
    octets: usize,
    /// Octets of buffers in use by sessions, beyond what those count.
    excess: usize,
}

impl BufferPool {
    /// Returns the octets held beyond what sessions and events count.
    pub(super) const fn octets(&self) -> usize {
        self.octets + self.excess
    }

    pub(super) const fn has_excess(&self) -> bool {
        self.excess > 0
    }

    /// Returns an empty buffer of at least `wanted` octets that the application has dropped, if there is one.
    pub(super) fn take(&mut self, wanted: usize) -> Option<Vec<u8>> {
        if wanted < MIN_POOLED {
            return None;
        }
        let fits = self.kept.iter().enumerate();
        let (place, _) = fits
            .filter(|(_, (data, octets))| *octets >= wanted && data.is_unique())
            .min_by_key(|(_, (_, octets))| *octets)?;
        let (data, octets) = self.kept.remove(place)?;
        self.octets -= octets;
        let mut memory: BytesMut = data.try_into_mut().ok()?;
        memory.clear();
        Some(memory.into())
    }

    /// Keeps the buffer of a block, `octets` long. Older buffers are dropped to stay within `limit`.
    pub(super) fn keep(&mut self, data: &Bytes, octets: usize, limit: usize) {
        if octets < MIN_POOLED || octets > limit {
            return;
        }
        while self.kept.len() >= MOST || self.octets() + octets > limit {
            let Some((_, oldest)) = self.kept.pop_front() else {
                return;
            };
            self.octets -= oldest;
        }
        self.kept.push_back((data.clone(), octets));
        self.octets += octets;
    }

    /// Changes the excess of one session.
    pub(super) const fn exceed(&mut self, before: usize, after: usize) {
        self.excess = self.excess - before + after;
    }

    /// Drops all buffers.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.octets = 0;
    }
}

/// Turns the buffer of a whole block into the data of its event, with at most `counted` octets allocated.
///
/// A much larger buffer stays in the pool, at the cost of a copy: it is of use for a larger block.
pub(super) fn deliver(
    mut memory: Vec<u8>,
    counted: usize,
    pool: &mut BufferPool,
    limit: usize,
) -> Bytes {
    let octets = memory.capacity();
    if octets / 4 > counted {
        let data = Bytes::copy_from_slice(&memory);
        memory.clear();
        pool.keep(&Bytes::from(memory), octets, limit);
        return data;
    }
    memory.shrink_to(counted);
    let octets = memory.capacity();
    let data = Bytes::from(memory);
    pool.keep(&data, octets, limit);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_serves_again_once_the_application_let_go_of_it() {
        let mut pool = BufferPool::default();
        let data = deliver(vec![7; 2 * MIB], 2 * MIB, &mut pool, 8 * MIB);
        let place = data.as_ptr();
        let slice = data.slice(9..11);

        assert_eq!(pool.octets(), 2 * MIB);
        drop(data);
        assert!(pool.take(MIB).is_none(), "a slice of it is alive");
        drop(slice);
        assert!(pool.take(3 * MIB).is_none(), "it is too small");
        let memory = pool.take(MIB).unwrap();

        assert!(memory.is_empty());
        assert_eq!((memory.as_ptr(), memory.capacity()), (place, 2 * MIB));
        assert_eq!(pool.octets(), 0);
    }

    #[test]
    fn what_is_kept_stays_within_the_limit_and_the_oldest_gives_way() {
        let mut pool = BufferPool::default();
        for len in [2, 3, 4] {
            drop(deliver(vec![7; len * MIB], len * MIB, &mut pool, 8 * MIB));
        }
        drop(deliver(vec![7; 9 * MIB], 9 * MIB, &mut pool, 8 * MIB));

        assert_eq!(pool.octets(), 7 * MIB);
        assert_eq!(pool.take(MIB).unwrap().capacity(), 3 * MIB);
        pool.clear();
        assert!(pool.take(MIB).is_none());
    }

    #[test]
    fn a_small_block_leaves_large_memory_behind_and_another_is_cut_to_what_it_counts() {
        let mut pool = BufferPool::default();
        let mut large = Vec::with_capacity(8 * MIB);
        large.extend_from_slice(b"small");

        let data = deliver(large, MIB, &mut pool, 8 * MIB);
        let large = pool.take(MIB).unwrap();
        let other = deliver(large, 4 * MIB, &mut pool, 8 * MIB);
        drop(other);

        assert_eq!(data, b"small".as_slice());
        assert_eq!(pool.octets(), 4 * MIB);
    }
}
