//! Memory to receive into.

use alloc::vec;
use alloc::vec::Vec;

/// Octets that no datagram and no GRO batch exceeds, and one more.
const LARGEST: usize = 1 << 16;

/// Buffers of one call, 1 MiB in all: more of them cost more cache than they save calls.
const BUFFERS: usize = 16;

/// Buffers to receive into, each for one datagram or one GRO batch.
///
/// One value serves any number of sockets in turn.
#[derive(derive_more::Debug)]
#[debug("RecvBuffers({} x {size})", memory.len() / size)]
pub struct RecvBuffers {
    memory: Vec<u8>,
    /// Octets of one buffer.
    size: usize,
}

impl RecvBuffers {
    /// Allocates `count` buffers of `size` octets, each raised to at least 1.
    ///
    /// A datagram that fills a buffer to the end counts as truncated and is dropped. No datagram fills one of
    /// 65,536 octets, the default. At most 32 buffers are used.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        let size = size.max(1);
        Self {
            memory: vec![0; count.max(1).saturating_mul(size)],
            size,
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.chunks_exact_mut(self.size)
    }
}

impl Default for RecvBuffers {
    /// Allocates 16 buffers of 65,536 octets.
    fn default() -> Self {
        Self::new(BUFFERS, LARGEST)
    }
}
