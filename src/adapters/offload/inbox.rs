//! Memory to receive into.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroUsize;

use crate::Path;
#[cfg(any(feature = "blocking", feature = "tokio"))]
use crate::{Instant, Machine};

/// Octets that no datagram and no train of them exceeds, and one more.
const LARGEST: usize = 1 << 16;

/// Buffers of one call, 1 MiB in all: more of them cost more cache than they save calls.
const BUFFERS: usize = if cfg!(feature = "offload") { 16 } else { 1 };

/// What datagrams are received into: a few buffers, each for one datagram or one train of them.
///
/// One serves any number of sockets in turn.
pub struct Inbox {
    memory: Vec<u8>,
    /// Octets of one buffer.
    size: usize,
}

impl Inbox {
    /// Makes an inbox of `count` buffers of `size` octets, each raised to at least 1.
    ///
    /// What fills a buffer to the end counts as truncated, and its last datagram is dropped. Nothing does
    /// with 65,536 octets, as the default has. Beyond 32 buffers none is used.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Self {
        let size = size.max(1);
        Self {
            memory: vec![0; count.max(1).saturating_mul(size)],
            size,
        }
    }

    pub(super) fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.chunks_exact_mut(self.size)
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new(BUFFERS, LARGEST)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.memory.len() / self.size;
        write!(f, "Inbox({count} x {})", self.size)
    }
}

/// What one buffer holds: a datagram, or several of one length that came from one sender, the last of which
/// may be shorter.
#[derive(Debug)]
pub(super) struct Train {
    pub(super) from: SocketAddr,
    pub(super) len: usize,
    /// Octets of each datagram but the last.
    pub(super) stride: usize,
}

impl Train {
    /// Returns how many octets at its front are whole datagrams, when the buffer has `size`.
    ///
    /// The system does not say whether a train was cut off: what fills the buffer is taken to have gone on.
    pub(super) fn whole(&self, size: usize) -> usize {
        if self.len < size {
            return self.len;
        }
        let stride = self.stride.max(1);
        self.len.saturating_sub(1) / stride * stride
    }

    /// Shows the whole datagrams and the length of all but the last, and returns how many there were. An empty
    /// datagram is a train of its own.
    pub(super) fn show(
        &self,
        octets: &[u8],
        size: usize,
        mut each: impl FnMut(&[u8], NonZeroUsize),
    ) -> usize {
        let whole = octets.get(..self.whole(size)).unwrap_or_default();
        let stride = NonZeroUsize::new(self.stride).unwrap_or(NonZeroUsize::MIN);
        if whole.is_empty() && self.len > 0 {
            return 0;
        }
        each(whole, stride);
        whole.len().div_ceil(stride.get()).max(1)
    }
}

/// Shows the datagrams of trains one by one.
pub(super) fn singly(mut each: impl FnMut(Path, &[u8])) -> impl FnMut(Path, &[u8], NonZeroUsize) {
    move |from, train, size| {
        if train.is_empty() {
            each(from, train);
        }
        for datagram in train.chunks(size.get()) {
            each(from, datagram);
        }
    }
}

/// Gives trains to a machine.
#[cfg(any(feature = "blocking", feature = "tokio"))]
pub(crate) fn give_to<M: Machine<Addr = Path>>(
    machine: &mut M,
    mut now: impl FnMut() -> Instant,
) -> impl FnMut(Path, &[u8], NonZeroUsize) {
    move |from, train, size| machine.receive_batch(now(), from, train, size)
}
