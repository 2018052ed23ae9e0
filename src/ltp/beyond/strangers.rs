//! Strangers: peers that no configuration, no command and no authentication has named.
//!
//! Anybody can write the source address of a datagram. So a host of strangers is sent little more than came from it,
//! until it proves to hear: by the acknowledgment of a report under way, whose serial number it cannot guess.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use slab::Slab;

use super::accepted::AcceptedPeers;
use crate::ltp::peers::index;
use crate::{Addr, Instant};

/// Octets that may leave for each octet that came (RFC 9000 section 8.1).
const PER_OCTET: u64 = 3;
/// Octets that may leave beside those.
const BESIDE: u64 = 1 << 10;
/// Serial numbers of no report under way that a host may cite. After so many, a right one is a guess.
const MAX_WRONG: u8 = 8;
/// Hosts without peers whose accounts are kept, so that nobody gets a fresh one by being removed.
const MAX_LEFT: usize = 4096;
/// First serial numbers towards strangers are below this.
pub(in crate::ltp) const STRANGER_SERIALS: u64 = 1 << 31;
/// How long a session of a host that has proved nothing may live.
pub(in crate::ltp) const MAX_UNPROVED: Duration = Duration::from_secs(30);
/// Control segments that wait for octets from a host. The newest are kept.
pub(in crate::ltp) const MAX_WAITING: usize = 16;

/// The accounts of the hosts of strangers.
#[derive(Debug, Default)]
pub(in crate::ltp) struct Accounts {
    list: Slab<Account>,
    /// The peers on them.
    pub(in crate::ltp) peers: AcceptedPeers,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    came: u64,
    left: u64,
    wrong: u8,
    is_proved: bool,
    /// Peers on the host.
    peers: u32,
    /// When the last of them was removed.
    since: Instant,
}

/// The accounts by the prefixes of addresses.
#[derive(Debug)]
pub(in crate::ltp) struct Hosts<A> {
    by_prefix: BTreeMap<A, u32>,
    /// Hosts without peers, longest first.
    left: BTreeSet<(Instant, A)>,
}

impl Accounts {
    fn get_mut(&mut self, account: impl Into<Option<u32>>) -> Option<&mut Account> {
        self.list.get_mut(index(account.into()?))
    }

    fn get(&self, account: u32) -> Option<&Account> {
        self.list.get(index(account))
    }

    /// Whether the host has proved that it hears.
    pub(in crate::ltp) fn is_proved(&self, account: u32) -> bool {
        self.get(account).is_none_or(|account| account.is_proved)
    }

    /// Counts octets that came.
    pub(in crate::ltp) fn came(&mut self, account: u32, octets: usize) {
        if let Some(account) = self.get_mut(account) {
            // Bound: usize has at most 64 bits.
            account.came = account.came.saturating_add(octets as u64);
        }
    }

    /// Whether a segment may leave.
    pub(in crate::ltp) fn allows(&self, account: u32, octets: usize) -> bool {
        self.get(account).is_none_or(|account| {
            let limit = account.came.saturating_mul(PER_OCTET);
            // Bound: usize has at most 64 bits.
            let after = account.left.saturating_add(octets as u64);
            account.is_proved || after <= limit.saturating_add(BESIDE)
        })
    }

    /// Counts octets that left.
    pub(in crate::ltp) fn left(&mut self, account: impl Into<Option<u32>>, octets: usize) {
        if let Some(account) = self.get_mut(account) {
            // Bound: usize has at most 64 bits.
            account.left = account.left.saturating_add(octets as u64);
        }
    }

    /// Notes an acknowledgment of a report under way.
    pub(in crate::ltp) fn prove(&mut self, number: impl Into<Option<u32>>) {
        let Some(number) = number.into() else {
            return;
        };
        if let Some(account) = self.get_mut(number) {
            account.is_proved |= account.wrong < MAX_WRONG;
            if account.is_proved {
                self.peers.prove(number);
            }
        }
    }

    /// Notes an acknowledgment of a report that was never made.
    pub(in crate::ltp) fn cite_wrong(&mut self, account: impl Into<Option<u32>>) {
        if let Some(account) = self.get_mut(account) {
            account.wrong = account.wrong.saturating_add(1);
        }
    }

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        self.list.capacity() * (size_of::<Account>() + size_of::<usize>())
            + self.peers.memory_used()
    }
}

impl<A: Addr> Hosts<A> {
    pub(in crate::ltp) const fn new() -> Self {
        Self {
            by_prefix: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }

    /// Returns the account of a host on which peers are, or were.
    pub(in crate::ltp) fn account_of(&self, at: A) -> Option<u32> {
        self.by_prefix.get(&at.prefix()).copied()
    }

    /// Returns the account of the host of a new peer.
    pub(in crate::ltp) fn enter(&mut self, at: A, accounts: &mut Accounts) -> Option<u32> {
        let host = at.prefix();
        if let Some(&number) = self.by_prefix.get(&host) {
            let account = accounts.get_mut(number)?;
            if account.peers == 0 {
                self.left.remove(&(account.since, host));
            }
            account.peers += 1;
            return Some(number);
        }
        let fresh = Account {
            peers: 1,
            ..Account::default()
        };
        let number = u32::try_from(accounts.list.insert(fresh)).ok()?;
        self.by_prefix.insert(host, number);
        Some(number)
    }

    /// Notes that a peer was removed, and forgets the hosts that have been without one longest.
    pub(in crate::ltp) fn leave(&mut self, at: A, now: Instant, accounts: &mut Accounts) {
        let host = at.prefix();
        let number = self.by_prefix.get(&host).copied();
        let Some(account) = number.and_then(|number| accounts.get_mut(number)) else {
            return;
        };
        account.peers = account.peers.saturating_sub(1);
        if account.peers > 0 {
            return;
        }
        account.since = now;
        self.left.insert((now, host));
        if self.left.len() > MAX_LEFT
            && let Some((_, oldest)) = self.left.pop_first()
        {
            let freed = self.by_prefix.remove(&oldest);
            freed.map(|account| accounts.list.try_remove(index(account)));
        }
    }

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        (self.by_prefix.len() + self.left.len()) * (2 * size_of::<(Instant, A)>() + 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn three_octets_leave_for_each_that_came_and_a_kibibyte() {
        let (mut hosts, mut accounts) = (Hosts::new(), Accounts::default());
        let one = hosts.enter(7_u32, &mut accounts).unwrap();

        assert!(accounts.allows(one, 1024));
        assert!(!accounts.allows(one, 1025));
        accounts.came(one, 12);
        assert!(accounts.allows(one, 1024 + 36));
        accounts.left(one, 1050);
        assert!(accounts.allows(one, 10));
        assert!(!accounts.allows(one, 11));
    }

    #[test]
    fn the_peers_of_a_host_share_its_account_which_outlives_them() {
        let (mut hosts, mut accounts) = (Hosts::new(), Accounts::default());
        let one = hosts.enter(7_u32, &mut accounts).unwrap();
        accounts.left(one, 1000);

        assert_eq!(hosts.enter(7, &mut accounts), Some(one));
        assert_ne!(hosts.enter(8, &mut accounts), Some(one));
        hosts.leave(7, at(1), &mut accounts);
        hosts.leave(7, at(2), &mut accounts);

        let again = hosts.enter(7, &mut accounts).unwrap();
        assert!(!accounts.allows(again, 25));
    }

    #[test]
    fn an_acknowledgment_proves_a_host_unless_it_has_guessed_eight_times() {
        let (mut hosts, mut accounts) = (Hosts::new(), Accounts::default());
        for wrong in [0_u32, 7, 8] {
            let one = hosts.enter(wrong, &mut accounts).unwrap();
            for _ in 0..wrong {
                accounts.cite_wrong(one);
            }
            accounts.prove(one);

            assert_eq!(accounts.is_proved(one), wrong < 8);
            assert_eq!(accounts.allows(one, 1 << 30), wrong < 8);
        }
    }

    #[test]
    fn the_accounts_of_hosts_without_peers_are_forgotten_longest_first() {
        let (mut hosts, mut accounts) = (Hosts::new(), Accounts::default());
        let count = u32::try_from(MAX_LEFT).unwrap() + 100;
        for host in 0..count {
            let one = hosts.enter(host, &mut accounts).unwrap();
            accounts.left(one, 1000);
            hosts.leave(host, at(u64::from(host)), &mut accounts);
        }

        assert_eq!(hosts.by_prefix.len(), MAX_LEFT);
        assert!(accounts.list.len() <= MAX_LEFT + 1);
        let old = hosts.enter(count - 1, &mut accounts).unwrap();
        assert!(!accounts.allows(old, 25));
        let forgotten = hosts.enter(0, &mut accounts).unwrap();
        assert!(accounts.allows(forgotten, 1024));
    }
}
