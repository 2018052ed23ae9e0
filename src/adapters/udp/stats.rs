//! Counters of a UDP socket.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Datagrams, system calls and errors of a UDP socket, or the sums of several.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct UdpStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters behind [`UdpStats`]. They can be read while the socket is in use, and after.
        #[derive(Debug, Default)]
        pub(crate) struct UdpCounters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl UdpCounters {
            /// Counts datagrams that were not sent.
            #[cfg(any(feature = "blocking", feature = "tokio"))]
            pub(crate) fn count_unsent(&self, count: usize) {
                add(&self.unsent, count);
            }

            /// Reads all counters.
            pub(crate) fn stats(&self) -> UdpStats {
                UdpStats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters! {
    /// Datagrams sent.
    sent,
    /// System calls that send.
    sends,
    /// Datagrams received.
    received,
    /// System calls that received something.
    receives,
    /// Datagrams that the system refused to send.
    unsent,
    /// Batches that the system refused to send at once; their datagrams were sent one by one.
    refused,
    /// Errors reported by the network (ICMP): port or host unreachable, datagram too long. Anybody can forge
    /// one, so they end nothing.
    reported,
    /// Datagrams dropped because they did not fit into the [`RecvBuffers`](super::RecvBuffers).
    truncated,
}

impl fmt::Display for UdpStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            sends,
            received,
            receives,
            unsent,
            refused,
            reported,
            truncated,
        } = self;
        write!(
            f,
            "{sent} datagrams sent in {sends} calls, {received} received in {receives}; \
             {unsent} unsent, {refused} batches refused, {reported} errors reported, {truncated} truncated"
        )
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: usize) {
    if count > 0 {
        counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
