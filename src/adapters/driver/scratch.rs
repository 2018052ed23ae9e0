//! Memory that belongs to the thread, so that an idle connection has none.

use core::cell::{Cell, RefCell};
use std::thread_local;

use alloc::vec;
use alloc::vec::Vec;

use crate::adapters::udp::RecvBuffers;

/// Octets of one buffer: the largest datagram, and one read or write of a stream.
pub(super) const SIZE: usize = 1 << 16;

/// How many buffers a thread keeps for sending: one in use, and those that come back from full streams.
const SPARE: usize = 3;

thread_local! {
    static DATAGRAMS: Cell<Option<RecvBuffers>> = const { Cell::new(None) };
    static SENDING: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static RECEIVING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Takes memory of at least [`SIZE`] for a `Transmit` out of the thread's store, or makes some.
pub(super) fn take() -> Vec<u8> {
    SENDING
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(SIZE))
}

/// Puts memory back into the thread's store.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < SIZE {
        return;
    }
    buffer.clear();
    SENDING.with_borrow_mut(|buffers| {
        if buffers.len() < SPARE {
            buffers.push(buffer);
        }
    });
}

/// Calls `read` with a buffer of [`SIZE`] octets, whose contents are left over from other calls.
///
/// The buffer is taken out and not borrowed, so a stream that drives another connection while it is read
/// finds one too.
pub(super) fn with_buffer<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = RECEIVING.take();
    if buffer.len() < SIZE {
        buffer = vec![0; SIZE];
    }
    let result = read(&mut buffer);
    RECEIVING.set(buffer);
    result
}

/// Calls `receive` with the thread's buffers for datagrams.
pub(super) fn with_recv_buffers<T>(receive: impl FnOnce(&mut RecvBuffers) -> T) -> T {
    let mut buffers = DATAGRAMS.take().unwrap_or_default();
    let result = receive(&mut buffers);
    DATAGRAMS.set(Some(buffers));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_sending_comes_back_empty_and_only_when_it_is_whole() {
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

    #[test]
    fn a_buffer_is_there_while_another_is_in_use() {
        let lengths = with_buffer(|outer| (outer.len(), with_buffer(|inner| inner.len())));

        assert_eq!(lengths, (SIZE, SIZE));
    }
}
