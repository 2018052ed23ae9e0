//! Which sockets of a table are ready.
//!
//! One driver serves all sockets of a machine, and its waker does not say which of them became ready.
//! Polling every socket after each wake would cost one system call a socket.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;
use std::sync::Mutex;

use crate::adapters::lock;

/// The sockets to poll, by their IDs: each once, and each in its turn.
#[derive(Clone, Default)]
pub(super) struct ReadySet(Arc<Mutex<Ready>>);

#[derive(Default)]
struct Ready {
    ids: BTreeSet<u64>,
    /// The socket that was polled last, which those with higher IDs follow.
    last: u64,
    driver: Option<Waker>,
}

impl ReadySet {
    /// Makes the waker of the socket `id`, which puts it into the set and wakes the driver.
    pub(super) fn waker(&self, id: u64) -> Waker {
        let set = self.clone();
        Waker::from(Arc::new(SocketWaker { id, set }))
    }

    /// Stores the waker of the driver.
    pub(super) fn register(&self, waker: &Waker) {
        match &mut lock(&self.0).driver {
            Some(driver) => driver.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Puts the socket `id` into the set without waking the driver, which is running.
    pub(super) fn insert(&self, id: u64) {
        lock(&self.0).ids.insert(id);
    }

    /// Takes the next socket. A wake from here on asks for another poll of it.
    pub(super) fn next(&self) -> Option<u64> {
        let mut ready = lock(&self.0);
        let above = ready.ids.range(ready.last + 1..).next();
        let id = *above.or_else(|| ready.ids.first())?;
        ready.ids.remove(&id);
        ready.last = id;
        Some(id)
    }

    /// Tells whether no socket is ready.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).ids.is_empty()
    }
}

struct SocketWaker {
    id: u64,
    set: ReadySet,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let driver = {
            let mut ready = lock(&self.set.0);
            ready.ids.insert(self.id);
            // Taken: further wakes before the driver runs again need not wake it.
            ready.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};

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
        let set = ReadySet::default();
        let (one, other) = (set.waker(1), set.waker(2));

        set.register(&driver);
        for socket in [&other, &one, &other] {
            socket.wake_by_ref();
        }

        assert_eq!((set.next(), set.next()), (Some(1), Some(2)));
        assert_eq!(set.next(), None);
        assert!(set.is_empty());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_socket_that_is_always_ready_lets_the_others_have_their_turn() {
        let set = ReadySet::default();
        let polled = [1, 2, 3, 1, 2, 3].map(|_| {
            (1..=3).for_each(|id| set.insert(id));
            set.next()
        });

        assert_eq!(polled, [1, 2, 3, 1, 2, 3].map(Some));
    }
}
