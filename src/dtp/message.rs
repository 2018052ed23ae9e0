//! A request or a response, in memory allocated once.

use bytes::{Bytes, BytesMut};

use super::wire::REQUEST_LEN;
use crate::csp::{buffer, buffer_footprint, fill};

/// The memory of a request or a response of a transfer. It is free again once the peer has acknowledged it.
#[derive(Debug)]
pub(super) struct Message(BytesMut);

impl Message {
    pub(super) fn new() -> Self {
        Self(buffer(REQUEST_LEN))
    }

    /// Returns the bytes that it allocates.
    pub(super) const fn footprint() -> usize {
        buffer_footprint(REQUEST_LEN)
    }

    /// Puts at most [`REQUEST_LEN`] octets there, and lends them out.
    pub(super) fn put(&mut self, octets: &[u8]) -> Bytes {
        let Self(buffer) = self;
        fill(buffer, REQUEST_LEN, &[octets]);
        buffer.split().freeze()
    }
}
