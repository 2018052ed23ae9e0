//! Counters of sockets.

use std::sync::Mutex;

use crate::adapters::lock;

/// Datagrams, system calls and errors of a UDP socket, or the sums of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, derive_more::Display)]
#[display(
    "{sent} datagrams sent in {sends} calls, {received} received in {receives}; {unsent} unsent, \
     {refused} batches refused, {reported} errors reported, {truncated} truncated"
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UdpStats {
    /// Datagrams sent.
    pub sent: u64,
    /// System calls that send.
    pub sends: u64,
    /// Datagrams received.
    pub received: u64,
    /// System calls that received something.
    pub receives: u64,
    /// Datagrams that the system refused to send.
    pub unsent: u64,
    /// Batches that the system refused to send at once; their datagrams were sent one by one.
    pub refused: u64,
    /// Errors reported by the network (ICMP): port or host unreachable, datagram too long. Anybody can forge
    /// one, so they end nothing.
    pub reported: u64,
    /// Datagrams dropped because they did not fit into the [`RecvBuffers`](super::RecvBuffers).
    pub truncated: u64,
}

/// What the sockets of a machine have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, derive_more::Display)]
#[display(
    "{udp}; {unaccepted} connections not accepted, {unroutable} datagrams without a route, \
     {failed_reads} failed reads, {unknown_senders} datagrams from unknown senders"
)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SocketStats {
    /// The sums of all UDP sockets and packet devices.
    pub udp: UdpStats,
    /// Connections that a listener could not accept: they were gone already, or the process ran out of
    /// files. The listener tries again after 100 ms.
    pub unaccepted: u64,
    /// Datagrams and stream writes to an address without a socket that takes them, or to an unknown node of an
    /// interface.
    pub unroutable: u64,
    /// Errors of reading from a UDP socket or packet device that the network did not report. 64 in a row take
    /// it down.
    pub failed_reads: u64,
    /// Datagrams that a UDP interface dropped because no node has the address of their sender.
    pub unknown_senders: u64,
}

/// The counters of all sockets of a machine. They can be read while the sockets are in use, and after.
#[derive(Debug, Default)]
pub struct SocketCounters(Mutex<SocketStats>);

impl SocketCounters {
    /// Reads all counters.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        *lock(&self.0)
    }

    /// Counts something.
    pub(crate) fn count(&self, count: impl FnOnce(&mut SocketStats)) {
        count(&mut lock(&self.0));
    }
}
