//! The bounded queue between an application and its driver.
//!
//! It differs from tokio's in what a driver needs: the bound counts weight (octets, for messages), the
//! driver itself may go over the bound with what its machine has to say, a side that waits is called when
//! the queue is half empty and not for every single item, and an idle queue holds no block of slots.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Makes a queue that takes items while it holds less than `bound`.
pub(super) fn channel<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            queue: VecDeque::new(),
            load: 0,
            bound: bound.max(1),
            is_awaited: false,
            driver: None,
            taker: None,
            senders: 1,
            is_received: true,
        }),
        room: Notify::const_new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Where applications wait for room.
    room: Notify,
}

struct State<T> {
    queue: VecDeque<(usize, T)>,
    /// The weight of all items in the queue.
    load: usize,
    bound: usize,
    /// Somebody found no room, and is to be called.
    is_awaited: bool,
    /// The driver that waits for room.
    driver: Option<Waker>,
    /// Whoever waits for an item.
    taker: Option<Waker>,
    senders: usize,
    is_received: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.load < self.bound
    }

    fn put(&mut self, item: T, weight: usize) {
        self.queue.push_back((weight, item));
        self.load = self.load.saturating_add(weight);
    }

    fn take(&mut self) -> Option<T> {
        let (weight, item) = self.queue.pop_front()?;
        self.load = self.load.saturating_sub(weight);
        Some(item)
    }

    /// Tells whether those who wait for room are to be called.
    fn calls_for_more(&mut self) -> bool {
        let calls = self.is_awaited && self.load <= self.bound / 2;
        self.is_awaited &= !calls;
        calls
    }
}

/// The side that puts items in.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Why an item was not taken at once; it is given back.
pub(super) enum NotSent<T> {
    /// There is no room.
    Full(T),
    /// Nobody takes items.
    Gone(T),
}

impl<T> Sender<T> {
    /// Puts an item in when there is room.
    pub(super) fn try_send(&self, item: T, weight: usize) -> Result<(), NotSent<T>> {
        let mut state = self.0.lock();
        if !state.is_received {
            return Err(NotSent::Gone(item));
        }
        if !state.has_room() {
            state.is_awaited = true;
            return Err(NotSent::Full(item));
        }
        state.put(item, weight);
        let taker = state.taker.take();
        // Called behind the lock, which the taker is about to want.
        drop(state);
        call(taker);
        Ok(())
    }

    /// Waits for room and puts an item in; gives it back when nobody takes items.
    pub(super) async fn send(&self, item: T, weight: usize) -> Result<(), T> {
        let mut item = item;
        loop {
            let mut room = pin!(self.0.room.notified());
            // Before the try: a call between the two must not be missed.
            room.as_mut().enable();
            match self.try_send(item, weight) {
                Ok(()) => return Ok(()),
                Err(NotSent::Gone(back)) => return Err(back),
                Err(NotSent::Full(back)) => item = back,
            }
            room.await;
        }
    }

    /// Puts an item in, whether there is room or not; it is dropped when nobody takes items.
    #[cfg(any(feature = "cotp", test))]
    pub(super) fn push(&self, item: T, weight: usize) {
        let mut state = self.0.lock();
        if state.is_received {
            state.put(item, weight);
            let taker = state.taker.take();
            drop(state);
            call(taker);
        }
    }

    /// Puts an item in, whether there is room or not, and leaves it to [`ring`](Self::ring) to call the
    /// taker. It is dropped when nobody takes items.
    ///
    /// A driver does much in one go, and a call for each item has the taker run, find little, and sleep.
    pub(super) fn lay(&self, item: T, weight: usize) {
        let mut state = self.0.lock();
        if state.is_received {
            state.put(item, weight);
        }
    }

    /// Calls the taker if there is something to take.
    pub(super) fn ring(&self) {
        let mut state = self.0.lock();
        if !state.queue.is_empty() {
            let taker = state.taker.take();
            drop(state);
            call(taker);
        }
    }

    /// Waits until there is room, or nobody takes items; for the one driver that sends.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.has_room() || !state.is_received {
            return Poll::Ready(());
        }
        state.is_awaited = true;
        remember(&mut state.driver, cx);
        Poll::Pending
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let taker = if state.senders == 0 {
            state.taker.take()
        } else {
            None
        };
        drop(state);
        call(taker);
    }
}

/// The side that takes items out.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Waits for an item; `None` once nobody can put one in.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if let Some(item) = state.take() {
            self.took(state);
            return Poll::Ready(Some(item));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        remember(&mut state.taker, cx);
        Poll::Pending
    }

    /// Waits for an item; `None` once nobody can put one in.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes an item that is there already.
    pub(super) fn try_next(&mut self) -> Option<T> {
        let mut state = self.0.lock();
        let item = state.take()?;
        self.took(state);
        Some(item)
    }

    /// Waits until nobody can put an item in; a call comes with every item too.
    #[cfg(feature = "cotp")]
    pub(super) fn poll_abandoned(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.senders == 0 {
            return Poll::Ready(());
        }
        remember(&mut state.taker, cx);
        Poll::Pending
    }

    /// Takes no more, and returns what is left: nothing comes between the two.
    pub(super) fn close(&mut self) -> impl Iterator<Item = T> + use<T> {
        let mut state = self.0.lock();
        state.is_received = false;
        state.load = 0;
        let left = core::mem::take(&mut state.queue);
        let driver = state.driver.take();
        drop(state);
        call(driver);
        self.0.room.notify_waiters();
        left.into_iter().map(|(_, item)| item)
    }

    fn took(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.calls_for_more() {
            let driver = state.driver.take();
            drop(state);
            call(driver);
            self.0.room.notify_waiters();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Dropped behind the lock: an item may hold the other end of this very queue.
        drop(self.close());
    }
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

fn call(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use alloc::task::Wake;
    use alloc::vec::Vec;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn calls() -> (Arc<Calls>, Waker) {
        let calls = Arc::new(Calls(AtomicUsize::new(0)));
        (Arc::clone(&calls), Waker::from(calls))
    }

    #[test]
    fn a_driver_that_waits_is_called_when_the_queue_is_half_empty() {
        let (sender, mut receiver) = channel(4);
        let (calls, waker) = calls();
        let cx = Context::from_waker(&waker);
        for number in 0..5 {
            sender.push(number, 1);
        }

        assert!(sender.poll_room(&cx).is_pending());
        assert_eq!(receiver.try_next(), Some(0));
        assert_eq!(receiver.try_next(), Some(1));
        assert_eq!(calls.0.load(Ordering::Relaxed), 0);
        assert_eq!(receiver.try_next(), Some(2));
        assert_eq!(calls.0.load(Ordering::Relaxed), 1);
        assert!(sender.poll_room(&cx).is_ready());
    }

    #[test]
    fn what_a_driver_lays_down_is_taken_at_the_ring() {
        let (sender, mut receiver) = channel(9);
        let (calls, waker) = calls();
        let cx = Context::from_waker(&waker);
        assert!(receiver.poll_next(&cx).is_pending());

        sender.ring();
        sender.lay(1, 1);
        sender.lay(2, 1);
        assert_eq!(calls.0.load(Ordering::Relaxed), 0);
        sender.ring();
        sender.ring();

        assert_eq!(calls.0.load(Ordering::Relaxed), 1);
        assert_eq!(receiver.poll_next(&cx), Poll::Ready(Some(1)));
    }

    #[test]
    fn the_bound_counts_weight_and_one_item_may_reach_over_it() {
        let (sender, _receiver) = channel(100);

        assert!(sender.try_send('a', 99).is_ok());
        assert!(sender.try_send('b', 50).is_ok());

        assert!(matches!(sender.try_send('c', 1), Err(NotSent::Full('c'))));
    }

    #[tokio::test]
    async fn many_who_wait_for_room_all_get_it() {
        let (sender, mut receiver) = channel(1);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(number, 1).await })
            })
            .collect();
        drop(sender);

        let mut got = Vec::new();
        while let Some(number) = receiver.next().await {
            got.push(number);
        }

        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn items_left_by_the_last_sender_are_still_taken() {
        let (sender, mut receiver) = channel(2);
        sender.push("last", 1);
        drop(sender);

        assert_eq!(receiver.next().await, Some("last"));
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn a_sender_that_waits_learns_that_nobody_takes_items() {
        let (sender, receiver) = channel(1);
        sender.push(1, 1);
        let waiting = tokio::spawn(async move { sender.send(2, 1).await });
        tokio::task::yield_now().await;

        drop(receiver);

        assert_eq!(waiting.await.unwrap(), Err(2));
    }
}
