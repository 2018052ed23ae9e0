//! What is counted at a socket.

use core::sync::atomic::{AtomicU64, Ordering};

/// What passed a socket, and what went wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams sent.
    pub sent: u64,
    /// Calls of the system to send them.
    pub sends: u64,
    /// Datagrams received.
    pub received: u64,
    /// Calls of the system that gave them.
    pub receives: u64,
    /// Datagrams that the system would not send.
    pub unsent: u64,
    /// Batches that the system would not send, and whose datagrams were sent one by one.
    pub refused: u64,
    /// Errors reported by the network (ICMP): port or host unreachable, datagram too long. Anybody can forge
    /// one, so they never end anything.
    pub reported: u64,
    /// Datagrams dropped because they did not fit into the [`Inbox`](super::Inbox).
    pub truncated: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: AtomicU64,
    pub(super) sends: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) receives: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) reported: AtomicU64,
    pub(super) truncated: AtomicU64,
}

impl Tally {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        if count > 0 {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent: count(&self.sent),
            sends: count(&self.sends),
            received: count(&self.received),
            receives: count(&self.receives),
            unsent: count(&self.unsent),
            refused: count(&self.refused),
            reported: count(&self.reported),
            truncated: count(&self.truncated),
        }
    }
}

pub(super) fn count_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
