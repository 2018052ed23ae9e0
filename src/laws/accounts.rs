//! What came from each host, and what strangers were sent for it: laws 13 and 14.

use alloc::collections::BTreeMap;
use alloc::format;

use super::{InputMemory, Law, Violation};
use crate::Addr;

/// Octets to a stranger for each octet from it (RFC 9000 section 8.1).
const OUT_PER_OCTET: usize = 3;
/// Octets to a stranger beyond those.
const OUT_BESIDE: usize = 1 << 10;
/// Bytes of memory for each octet received.
const HELD_PER_OCTET: usize = 2;
/// Bytes of memory for each session beyond those.
const HELD_BESIDE: usize = 2 << 10;
/// Bytes of memory for each session of more than one segment beyond those.
const HELD_BESIDE_MORE: usize = 64 << 10;

/// The accounts of a run.
#[derive(Debug)]
pub(super) struct Accounts<A> {
    hosts: BTreeMap<A, Account>,
    received: usize,
    /// Receives: at least as many as there are sessions.
    receives: usize,
    /// Twice as many as there can be sessions of more than one segment.
    segments: usize,
}

/// The octets of one host.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    received: usize,
    sent: usize,
}

impl<A: Addr> Accounts<A> {
    pub(super) const fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
            received: 0,
            receives: 0,
            segments: 0,
        }
    }

    /// Counts a receive. One from a stream may hold any number of segments.
    pub(super) fn receive(&mut self, from: A, octets: usize, is_stream: bool) {
        self.received = self.received.saturating_add(octets);
        self.receives += 1;
        self.segments += if is_stream { 2 } else { 1 };
        let account = self.hosts.entry(from.prefix()).or_default();
        account.received = account.received.saturating_add(octets);
    }

    /// Counts octets that were sent to a stranger.
    pub(super) fn send(&mut self, to: A, octets: usize) -> Result<(), Violation> {
        let host = to.prefix();
        let account = self.hosts.entry(host).or_default();
        account.sent = account.sent.saturating_add(octets);
        let &mut Account { received, sent } = account;
        let bound = received
            .saturating_mul(OUT_PER_OCTET)
            .saturating_add(OUT_BESIDE);
        if sent <= bound {
            return Ok(());
        }
        let detail = format!(
            "{sent} octets were sent to the stranger {host:?}, from which {received} came, above the bound of {bound}"
        );
        Err(Violation::new(Law::NoAmplification, 0, detail))
    }

    /// Checks what is held for octets that were received.
    pub(super) fn check_memory(&self, held: InputMemory) -> Result<(), Violation> {
        let sessions = held.sessions.min(self.receives);
        let continued = held.continued.min(sessions).min(self.segments / 2);
        let bound = self
            .received
            .saturating_mul(HELD_PER_OCTET)
            .saturating_add(sessions.saturating_mul(HELD_BESIDE))
            .saturating_add(continued.saturating_mul(HELD_BESIDE_MORE));
        if held.octets <= bound {
            return Ok(());
        }
        let detail = format!(
            "{} bytes are held for {} octets in {sessions} sessions, of which {continued} are continued, above the bound of {bound}",
            held.octets, self.received
        );
        Err(Violation::new(Law::MemoryFollowsInput, 0, detail))
    }
}
