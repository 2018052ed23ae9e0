//! A request or a response, in memory allocated once.

use bytes::{Bytes, BytesMut};

use crate::csp::{buffer, buffer_footprint, fill};

/// The memory of a message of up to `LEN` octets. It is free again once the peer has acknowledged it.
#[derive(Debug)]
pub(super) struct Message<const LEN: usize>(BytesMut);

impl<const LEN: usize> Message<LEN> {
    pub(super) fn new() -> Self {
        Self(buffer(LEN))
    }

    /// Returns the bytes that it allocates.
    pub(super) const fn footprint() -> usize {
        buffer_footprint(LEN)
    }

    /// Puts at most `LEN` octets there, and lends them out.
    pub(super) fn put(&mut self, octets: &[u8]) -> Bytes {
        let Self(buffer) = self;
        fill(buffer, LEN, &[octets]);
        buffer.split().freeze()
    }
}
