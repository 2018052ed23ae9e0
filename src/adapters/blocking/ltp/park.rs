//! Waiting in a thread for what a task would await.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::thread_local;

use crate::Instant;
use crate::adapters::Clock;

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Sleeper(thread::current())));
}

/// Waits until `poll` is ready.
pub(super) fn wait<R>(mut poll: impl FnMut(&Context<'_>) -> Poll<R>) -> R {
    WAKER.with(|waker| {
        let cx = Context::from_waker(waker);
        loop {
            if let Poll::Ready(result) = poll(&cx) {
                return result;
            }
            thread::park();
        }
    })
}

/// Waits until `poll` is ready, at most until `deadline`.
pub(super) fn wait_until<R>(
    clock: &Clock,
    deadline: Instant,
    mut poll: impl FnMut(&Context<'_>) -> Poll<R>,
) -> Option<R> {
    WAKER.with(|waker| {
        let cx = Context::from_waker(waker);
        loop {
            if let Poll::Ready(result) = poll(&cx) {
                return Some(result);
            }
            let left = clock.wait(deadline);
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    })
}
