//! Octets of payloads that wait for the application.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::Tag;
use crate::csp::{buffer, buffer_footprint, fill};

/// Pieces of memory for octets. One is used again once the application has dropped what it was given of it.
const BLOCKS: usize = 4;

/// A queue of runs of octets, each of consecutive ones, in memory allocated once.
///
/// It has room for a run of each packet that a driver reads before it polls: between holes no two packets make one run.
#[derive(Debug)]
pub(super) struct Runs {
    waiting: VecDeque<Run>,
    limit: usize,
    /// The octets of the runs in their order, from that of the first run to that of the last.
    blocks: Vec<BytesMut>,
    block_octets: usize,
    /// The block that octets are added to, and how many were since it was empty.
    last: usize,
    used: usize,
}

/// Where octets belong.
#[derive(Debug, Clone, Copy)]
struct Run {
    tag: Tag,
    offset: u32,
    len: usize,
    block: usize,
}

impl Runs {
    pub(super) fn new(limit: usize, block_octets: usize) -> Self {
        Self {
            waiting: VecDeque::with_capacity(limit),
            limit,
            blocks: (0..BLOCKS).map(|_| buffer(block_octets)).collect(),
            block_octets,
            last: 0,
            used: 0,
        }
    }

    /// Returns the bytes that a queue allocates.
    pub(super) const fn footprint(limit: usize, block_octets: usize) -> usize {
        limit * size_of::<Run>() + BLOCKS * (size_of::<BytesMut>() + buffer_footprint(block_octets))
    }

    /// Adds octets of a payload, to the last run if they follow on it. Returns whether there was room.
    pub(super) fn add(&mut self, tag: Tag, offset: u32, octets: &[u8]) -> bool {
        let follows = |run: &&mut Run| {
            let end = u32::try_from(run.len).ok();
            let end = end.and_then(|len| run.offset.checked_add(len));
            run.tag == tag && end == Some(offset)
        };
        let has_room = self.used + octets.len() <= self.block_octets;
        if let Some(run) = self.waiting.back_mut().filter(follows)
            && has_room
        {
            run.len += octets.len();
        } else if self.waiting.len() >= self.limit || !has_room && !self.take_block() {
            return false;
        } else {
            self.waiting.push_back(Run {
                tag,
                offset,
                len: octets.len(),
                block: self.last,
            });
        }
        self.used += octets.len();
        if let Some(block) = self.blocks.get_mut(self.last) {
            block.extend_from_slice(octets);
        }
        true
    }

    /// Adds octets to the next block from here on, if no run is in it.
    fn take_block(&mut self) -> bool {
        let next = (self.last + 1) % BLOCKS;
        let first = self.waiting.front();
        if first.is_some_and(|run| run.block == next) {
            return false;
        }
        if let Some(block) = self.blocks.get_mut(next) {
            fill(block, self.block_octets, &[]);
        }
        self.last = next;
        self.used = 0;
        true
    }

    /// Takes the next run: whose it is, where its octets begin, and these.
    pub(super) fn pop(&mut self) -> Option<(Tag, u32, Bytes)> {
        let run = self.waiting.pop_front()?;
        let block = self.blocks.get_mut(run.block)?;
        Some((run.tag, run.offset, block.split_to(run.len).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_follow_are_one_run_and_others_another() {
        let mut runs = Runs::new(3, 8);
        assert!(runs.add(Tag(1), 0, b"ab"));
        assert!(runs.add(Tag(1), 2, b"cd"));
        assert!(runs.add(Tag(2), 4, b"ef"), "of another transfer");
        assert!(runs.add(Tag(2), 8, b"gh"), "behind a hole");
        assert!(!runs.add(Tag(2), 20, b"no"), "the fourth run");

        assert_eq!(runs.pop(), Some((Tag(1), 0, "abcd".into())));
        assert_eq!(runs.pop(), Some((Tag(2), 4, "ef".into())));
        assert!(runs.add(Tag(2), 10, b"ij"), "in another block");
        assert_eq!(runs.pop(), Some((Tag(2), 8, "gh".into())));
        assert_eq!(runs.pop(), Some((Tag(2), 10, "ij".into())));
        assert_eq!(runs.pop(), None);
    }

    #[test]
    fn all_blocks_are_filled_and_used_again() {
        let mut runs = Runs::new(100, 4);
        for _ in 0..3 {
            for offset in 0..16 {
                assert!(runs.add(Tag(1), 2 * offset, &[7]), "{offset}");
            }
            assert!(!runs.add(Tag(1), 0, &[7]), "all are full");
            for offset in 0..16 {
                let run = (Tag(1), 2 * offset, Bytes::from_static(&[7]));
                assert_eq!(runs.pop(), Some(run));
            }
        }
    }

    #[test]
    fn a_run_is_no_longer_than_a_block() {
        let mut runs = Runs::new(100, 4);
        for offset in 0..6 {
            assert!(runs.add(Tag(1), offset, &[7]));
        }
        let lengths = core::iter::from_fn(|| runs.pop()).map(|(.., octets)| octets.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [4, 2]);
    }
}
