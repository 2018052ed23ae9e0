//! Where the octets of a payload come from: memory, or the application that reads them as they are needed.

use bytes::Bytes;

use crate::dtp::api::NeedId;
use crate::dtp::extension::PayloadIdentity;

/// Blocks of a payload that a transfer holds, or has asked for.
const BLOCKS: u32 = 4;
/// Octets of a block, or a few less: whole packets.
const BLOCK_LEN: u32 = 1 << 16;

/// A payload that is served.
#[derive(Debug, Clone)]
pub(in crate::dtp) struct Payload {
    pub(in crate::dtp) number: u8,
    pub(in crate::dtp) size: u32,
    pub(in crate::dtp) identity: PayloadIdentity,
    /// Where it is in the memory that VMEM addresses.
    pub(in crate::dtp) address: Option<u64>,
    /// Octets before these, of a part of a payload.
    pub(in crate::dtp) base: u32,
    /// `None` if the application feeds it.
    pub(in crate::dtp) octets: Option<Bytes>,
}

impl Payload {
    /// Returns the part of it that is so many octets of memory, if it has all of them.
    pub(in crate::dtp) fn part(&self, address: u64, size: u32) -> Option<Self> {
        let base = u32::try_from(address.checked_sub(self.address?)?).ok()?;
        let end = base.checked_add(size).filter(|end| *end <= self.size)?;
        let octets = match &self.octets {
            Some(octets) => {
                let range = usize::try_from(base).ok()?..usize::try_from(end).ok()?;
                Some(octets.slice(range))
            }
            None => None,
        };
        Some(Self {
            size,
            base,
            octets,
            ..*self
        })
    }
}

/// A block that is there, or was asked for.
#[derive(Debug)]
struct Block {
    number: u32,
    state: BlockState,
}

#[derive(Debug)]
enum BlockState {
    /// The application is to be told.
    Wanted,
    Asked(NeedId),
    Fed(Bytes),
}

/// The blocks of a payload that a transfer works on.
#[derive(Debug)]
pub(in crate::dtp) struct Blocks {
    blocks: [Option<Block>; BLOCKS as usize],
}

/// Octets that are needed, of a payload that the application feeds.
#[derive(Debug, Clone, Copy)]
pub(in crate::dtp) struct Need {
    /// Of the part that is sent.
    pub(in crate::dtp) offset: u32,
    pub(in crate::dtp) len: u32,
}

/// Returns the octets of a block: whole packets of `chunk`.
const fn block_len(chunk: u32) -> u32 {
    let packets = BLOCK_LEN / chunk;
    if packets == 0 { chunk } else { packets * chunk }
}

impl Blocks {
    /// Octets that the blocks of a transfer have at most.
    #[cfg(any(test, feature = "laws"))]
    pub(in crate::dtp) const MAX_OCTETS: usize = (BLOCKS * BLOCK_LEN) as usize;

    pub(in crate::dtp) const fn new() -> Self {
        Self {
            blocks: [const { None }; BLOCKS as usize],
        }
    }

    pub(in crate::dtp) fn clear(&mut self) {
        self.blocks = [const { None }; BLOCKS as usize];
    }

    /// Returns the octets that were fed and are held.
    pub(in crate::dtp) fn octets(&self) -> usize {
        let blocks = self.blocks.iter().flatten();
        let octets = blocks.map(|block| match &block.state {
            BlockState::Fed(octets) => octets.len(),
            _ => 0,
        });
        octets.sum()
    }

    /// Returns `len` octets of a packet, if its block is there.
    pub(super) fn get(&self, chunk: u32, offset: u32, len: usize) -> Option<&[u8]> {
        let block_len = block_len(chunk);
        let number = offset / block_len;
        let mut blocks = self.blocks.iter().flatten();
        let block = blocks.find(|block| block.number == number)?;
        let BlockState::Fed(octets) = &block.state else {
            return None;
        };
        let start = usize::try_from(offset % block_len).ok()?;
        octets.get(start..start.checked_add(len)?)
    }

    /// Wants the block of `offset` and some that follow it up to `end`, in place of others.
    pub(super) fn want(&mut self, chunk: u32, offset: u32, end: u32) {
        let block_len = block_len(chunk);
        let first = offset / block_len;
        let last = end.saturating_sub(1) / block_len;
        let last = last.min(first + (BLOCKS - 1));
        for number in first..=last {
            let is_there = |block: &Option<Block>| {
                let block = block.as_ref();
                block.is_some_and(|block| block.number == number)
            };
            if self.blocks.iter().any(is_there) {
                continue;
            }
            let is_past = |block: &Option<Block>| {
                let block = block.as_ref();
                block.is_none_or(|block| !(first..=last).contains(&block.number))
            };
            if let Some(place) = self.blocks.iter().position(is_past)
                && let Some(place) = self.blocks.get_mut(place)
            {
                let state = BlockState::Wanted;
                *place = Some(Block { number, state });
            }
        }
    }

    /// Returns octets that the application is to be told of, once.
    pub(super) fn next_need(&mut self, chunk: u32, size: u32, id: NeedId) -> Option<Need> {
        let blocks = self.blocks.iter_mut().flatten();
        let wanted = blocks.filter(|block| matches!(block.state, BlockState::Wanted));
        let block = wanted.min_by_key(|block| block.number)?;
        block.state = BlockState::Asked(id);
        let offset = block.number * block_len(chunk);
        let len = block_len(chunk).min(size - offset.min(size));
        Some(Need { offset, len })
    }

    /// Takes octets that were asked for. `None` if they were not; otherwise whether their length is right.
    pub(super) fn feed(
        &mut self,
        (chunk, size): (u32, u32),
        id: NeedId,
        octets: &Bytes,
    ) -> Option<bool> {
        let mut blocks = self.blocks.iter_mut().flatten();
        let asked = |block: &&mut Block| matches!(block.state, BlockState::Asked(of) if of == id);
        let block = blocks.find(asked)?;
        let len = block_len(chunk);
        let offset = block.number * len;
        let needed = usize::try_from(len.min(size - offset.min(size)));
        let is_right = needed == Ok(octets.len());
        block.state = BlockState::Fed(octets.clone());
        Some(is_right)
    }
}
