//! Which of many sockets called.
//!
//! One task drives all sockets of a machine, and a wake alone does not say whose it was. Asking every
//! socket after each wake costs a server with 10 000 of them a millisecond.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bells of all sockets, in the order in which they rang.
pub(super) struct Bells<K>(Arc<Mutex<Rung<K>>>);

struct Rung<K> {
    queue: VecDeque<Arc<Bell<K>>>,
    task: Option<Waker>,
}

/// The bell of one socket; as a waker it rings and wakes the task.
pub(super) struct Bell<K> {
    key: K,
    has_rung: AtomicBool,
    rung: Arc<Mutex<Rung<K>>>,
}

impl<K: Copy + Send + Sync + 'static> Bells<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Rung {
            queue: VecDeque::new(),
            task: None,
        })))
    }

    /// Makes the bell of the socket at `key`, and rings it for the first visit.
    pub(super) fn hang(&self, key: K) -> Arc<Bell<K>> {
        let bell = Arc::new(Bell {
            key,
            has_rung: AtomicBool::new(false),
            rung: Arc::clone(&self.0),
        });
        bell.ring();
        bell
    }

    /// Notes which task to wake.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut rung = lock(&self.0);
        match &mut rung.task {
            Some(task) => task.clone_from(cx.waker()),
            None => rung.task = Some(cx.waker().clone()),
        }
    }

    /// Returns the key of the socket that rang first.
    pub(super) fn next(&self) -> Option<K> {
        let bell = lock(&self.0).queue.pop_front()?;
        // Before the visit: what comes during it rings again.
        bell.has_rung.store(false, Ordering::Release);
        Some(bell.key)
    }

    /// Tells whether none has rung.
    pub(super) fn is_silent(&self) -> bool {
        lock(&self.0).queue.is_empty()
    }
}

impl<K> Bell<K> {
    /// Asks for another visit in this turn of the loop, which runs and needs no wake.
    pub(super) fn ring(self: &Arc<Self>) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            lock(&self.rung).queue.push_back(Arc::clone(self));
        }
    }
}

impl<K: Send + Sync + 'static> Wake for Bell<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
        let task = lock(&self.rung).task.take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

fn lock<K>(rung: &Mutex<Rung<K>>) -> MutexGuard<'_, Rung<K>> {
    // Nothing in here panics half-way, so a poisoned queue is a whole one.
    rung.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_bell_that_rings_twice_is_answered_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let task = Waker::from(Arc::clone(&count));
        let bells = Bells::new();
        let (one, other) = (bells.hang(1), bells.hang(2));
        assert_eq!((bells.next(), bells.next()), (Some(1), Some(2)));
        assert!(bells.is_silent());

        bells.register(&Context::from_waker(&task));
        for bell in [&other, &one, &other] {
            Waker::from(Arc::clone(bell)).wake();
        }

        assert_eq!((bells.next(), bells.next()), (Some(2), Some(1)));
        assert_eq!(bells.next(), None);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
