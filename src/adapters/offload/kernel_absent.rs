//! What the kernel takes over without the feature `offload`: nothing.
#![expect(clippy::unused_self, reason = "the face is that of the kernel's help")]

use core::net::SocketAddr;
use std::io;

use super::inbox::Train;
use super::{Buffers, Endpoint, Inbox, Options};

/// No help of the kernel.
#[derive(Debug)]
pub(super) struct Kernel;

impl Kernel {
    pub(super) fn new<S: Endpoint>(_socket: &S, _options: &Options) -> (Self, Buffers) {
        (Self, Buffers::default())
    }

    pub(super) fn segments(&self) -> usize {
        1
    }

    pub(super) fn send<S: Endpoint>(
        &self,
        _socket: &S,
        _to: SocketAddr,
        _octets: &[u8],
        _size: usize,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn receive<S: Endpoint>(
        &self,
        _socket: &S,
        _inbox: &mut Inbox,
        _limit: usize,
        _each: impl FnMut(&Train, &[u8]),
    ) -> Option<io::Result<()>> {
        None
    }

    pub(super) fn release<S: Endpoint>(_socket: &S) {}
}
