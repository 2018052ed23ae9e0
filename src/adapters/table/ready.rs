//! Which sockets of a table are ready.
//!
//! One driver serves all sockets of a machine, and its waker does not say which of them became ready.
//! Polling every socket after each wake would cost one system call a socket.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sockets to poll, in the order in which they became ready.
pub(super) struct ReadySet(Arc<Mutex<Ready>>);

struct Ready {
    queue: VecDeque<u64>,
    driver: Option<Waker>,
}

/// Puts one socket into the set; as a [`Waker`] it wakes the driver too.
pub(super) struct SocketWaker {
    id: u64,
    is_queued: AtomicBool,
    set: Arc<Mutex<Ready>>,
}

impl ReadySet {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Ready {
            queue: VecDeque::new(),
            driver: None,
        })))
    }

    /// Makes the waker of the socket `id`, which is ready at first: nobody has polled it.
    pub(super) fn waker(&self, id: u64) -> Arc<SocketWaker> {
        let waker = Arc::new(SocketWaker {
            id,
            is_queued: AtomicBool::new(false),
            set: Arc::clone(&self.0),
        });
        waker.insert();
        waker
    }

    /// Stores the waker of the driver.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut ready = lock(&self.0);
        match &mut ready.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            None => ready.driver = Some(cx.waker().clone()),
        }
    }

    /// Takes the socket that has been ready for the longest time. [`SocketWaker::start`] comes before its poll.
    pub(super) fn next(&self) -> Option<u64> {
        lock(&self.0).queue.pop_front()
    }

    /// Tells whether no socket is ready.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).queue.is_empty()
    }
}

impl SocketWaker {
    /// Puts the socket into the set without waking the driver, which is running.
    pub(super) fn insert(&self) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            lock(&self.set).queue.push_back(self.id);
        }
    }

    /// Starts a poll of the socket: a wake from here on asks for another.
    pub(super) fn start(&self) {
        self.is_queued.store(false, Ordering::Release);
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.insert();
        // Taken: further wakes before the driver runs again need not wake it.
        let driver = lock(&self.set).driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

fn lock(set: &Mutex<Ready>) -> MutexGuard<'_, Ready> {
    // No operation on the set can panic half-way, so a poisoned set is consistent.
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_socket_that_is_woken_twice_is_polled_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let driver = Waker::from(Arc::clone(&count));
        let set = ReadySet::new();
        let (one, other) = (set.waker(1), set.waker(2));
        assert_eq!((set.next(), set.next()), (Some(1), Some(2)));
        assert!(set.is_empty());
        one.start();
        other.start();

        set.register(&Context::from_waker(&driver));
        for socket in [&other, &one, &other] {
            Waker::from(Arc::clone(socket)).wake();
        }

        assert_eq!((set.next(), set.next()), (Some(2), Some(1)));
        assert_eq!(set.next(), None);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
