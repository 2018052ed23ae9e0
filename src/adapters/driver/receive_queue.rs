//! What waits to be taken by the application.

use alloc::collections::VecDeque;

/// Items that wait to be taken, and the back-pressure that they make: as much as the limit must not wait before
/// half of it is taken.
#[derive(Debug)]
pub(crate) struct ReceiveQueue<T> {
    /// Each with what it counts; none once nobody takes them any more.
    items: Option<VecDeque<(T, usize)>>,
    waiting: usize,
    limit: usize,
    is_full: bool,
}

impl<T> ReceiveQueue<T> {
    /// Returns an empty one that is full from `limit` on.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            items: Some(VecDeque::new()),
            waiting: 0,
            limit,
            is_full: false,
        }
    }

    /// Adds an item that counts as so much, unless nobody takes it.
    pub(crate) fn put(&mut self, item: T, count: usize) {
        if let Some(items) = &mut self.items {
            self.waiting = self.waiting.saturating_add(count);
            self.is_full |= self.waiting >= self.limit;
            items.push_back((item, count));
        }
    }

    /// Takes the oldest item.
    pub(crate) fn take(&mut self) -> Option<T> {
        let (item, count) = self.items.as_mut()?.pop_front()?;
        self.waiting = self.waiting.saturating_sub(count);
        self.is_full &= self.waiting > self.limit / 2;
        Some(item)
    }

    /// Takes nothing from here on. What waited is to be dropped outside the lock: it may hold a handle.
    pub(crate) fn close(&mut self) -> impl Sized + use<T> {
        self.is_full = false;
        self.items.take()
    }

    /// Tells whether so little waits that more may be read.
    pub(crate) const fn has_room(&self) -> bool {
        !self.is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.as_ref().is_none_or(VecDeque::is_empty)
    }
}
