//! Counters of all sockets of a table.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::adapters::udp::{UdpCounters, UdpStats};

/// The counters of all sockets of a machine. They can be read while the sockets are in use, and after.
#[derive(Debug, Default)]
pub struct SocketCounters {
    pub(in crate::adapters) udp: Arc<UdpCounters>,
    pub(super) unaccepted: AtomicU64,
    pub(in crate::adapters) unroutable: AtomicU64,
    pub(super) failed_reads: AtomicU64,
    pub(in crate::adapters) unknown_senders: AtomicU64,
}

impl SocketCounters {
    /// Reads all counters.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SocketStats {
            udp: self.udp.stats(),
            unaccepted: read(&self.unaccepted),
            unroutable: read(&self.unroutable),
            failed_reads: read(&self.failed_reads),
            unknown_senders: read(&self.unknown_senders),
        }
    }

    pub(in crate::adapters) fn add(counter: &AtomicU64, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// What the sockets of a machine have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SocketStats {
    /// The sums of all UDP sockets and packet devices.
    pub udp: UdpStats,
    /// Connections that a listener could not accept: they were gone already, or the process ran out of
    /// files. The listener tries again after 100 ms.
    pub unaccepted: u64,
    /// Datagrams and stream writes to an address without a socket, or to an unknown node of an interface.
    pub unroutable: u64,
    /// Errors of reading from a UDP socket or packet device that the network did not report. 64 in a row take
    /// it down.
    pub failed_reads: u64,
    /// Datagrams that a UDP interface dropped because no node has the address of their sender.
    pub unknown_senders: u64,
}

impl fmt::Display for SocketStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            udp,
            unaccepted,
            unroutable,
            failed_reads,
            unknown_senders,
        } = self;
        write!(
            f,
            "{udp}; {unaccepted} connections not accepted, {unroutable} datagrams without a route, \
             {failed_reads} failed reads, {unknown_senders} datagrams from unknown senders"
        )
    }
}
