//! Memory that belongs to the thread.

use core::cell::{Cell, RefCell};
use std::thread_local;

use alloc::vec::Vec;

use crate::adapters::offload::Inbox;

/// Octets of one buffer: the largest datagram, and one read or write of a stream.
pub(super) const SIZE: usize = 1 << 16;

/// How many buffers a thread keeps: one to read, one to write, and two that come back out of outboxes.
const SPARE: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static INBOX: Cell<Option<Inbox>> = const { Cell::new(None) };
}

/// Takes the thread's inbox for datagrams, or makes one.
pub(super) fn take_inbox() -> Inbox {
    INBOX.take().unwrap_or_default()
}

/// Puts an inbox back.
pub(super) fn give_inbox(inbox: Inbox) {
    INBOX.set(Some(inbox));
}

/// Takes an empty buffer of at least [`SIZE`] out of the thread's store, or makes one.
///
/// It is taken out and not borrowed, so a stream that drives another connection while it is read finds a
/// buffer too.
pub(super) fn take() -> Vec<u8> {
    BUFFERS
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Puts a buffer back into the thread's store.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < SIZE {
        return;
    }
    buffer.clear();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < SPARE {
            buffers.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_only_when_it_is_whole() {
        let mut buffer = take();
        buffer.push(7);
        let address = buffer.as_ptr();

        give(buffer);
        give(Vec::with_capacity(10));

        let again = take();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
        assert!(take().capacity() >= SIZE);
    }
}
