//! Memory to receive into.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroUsize;

/// Octets that no datagram and no GRO batch exceeds, and one more.
const LARGEST: usize = 1 << 16;

/// Buffers of one call, 1 MiB in all: more of them cost more cache than they save calls.
const BUFFERS: usize = 16;

/// Buffers to receive into, each for one datagram or one GRO batch.
///
/// One value serves any number of sockets in turn.
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

    pub(super) const fn size(&self) -> usize {
        self.size
    }
}

impl Default for RecvBuffers {
    /// Allocates 16 buffers of 65,536 octets.
    fn default() -> Self {
        Self::new(BUFFERS, LARGEST)
    }
}

impl fmt::Debug for RecvBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.memory.len() / self.size;
        write!(f, "RecvBuffers({count} x {})", self.size)
    }
}

/// The content of one buffer: a datagram, or several of one length from one sender, of which the last may be
/// shorter.
#[derive(Debug)]
pub(super) struct GroBatch<'a> {
    pub(super) from: SocketAddr,
    pub(super) octets: &'a [u8],
    /// Octets of each datagram but the last.
    pub(super) stride: usize,
    /// Octets of the buffer.
    pub(super) room: usize,
}

impl GroBatch<'_> {
    /// Shows the whole datagrams with the length of all but the last, and returns how many there are and how
    /// many were truncated, 0 or 1. An empty datagram is a batch of its own.
    pub(super) fn show(&self, each: &mut dyn FnMut(SocketAddr, &[u8], NonZeroUsize)) -> [usize; 2] {
        let stride = NonZeroUsize::new(self.stride).unwrap_or(NonZeroUsize::MIN);
        let len = self.octets.len();
        // The system does not say that it cut a batch: one that fills the buffer is taken to have gone on.
        let is_cut = len >= self.room;
        let whole = if is_cut {
            len.saturating_sub(1) / stride * stride.get()
        } else {
            len
        };
        if whole == 0 && is_cut {
            return [0, 1];
        }
        each(
            self.from,
            self.octets.get(..whole).unwrap_or_default(),
            stride,
        );
        [whole.div_ceil(stride.get()).max(1), usize::from(is_cut)]
    }
}
