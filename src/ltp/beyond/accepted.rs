//! The peers that were accepted as unknown ones, and the order in which they give way to others.
//!
//! Whoever has one host can have any number of engine IDs. So the host with the most peers gives way first, and one that
//! has proved that it hears keeps no more than a fair share of a full table while others ask. Memory and sessions are taken
//! from the host that holds most of them, and not for one that holds much itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Bound;

use crate::Instant;
use crate::ltp::peers::{Peers, index};

/// A host that holds more than this part of what all may hold takes nothing from others.
const PART: usize = 8;

/// Who may take the place of a peer that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ltp) enum Newcomer {
    /// Another unknown peer on this host: that of one that has proved nothing, that has no session, or whose host has more
    /// than its share.
    Unknown(Option<u32>),
    /// A segment of the peer in a slot, which needs so many octets: that of the host that holds most of them.
    Segment {
        slot: u32,
        octets: usize,
        /// What all may hold.
        limit: usize,
    },
    /// A peer that a command names: that of any of them.
    Named,
}

/// What shows that an accepted peer is not forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ltp) enum Standing {
    /// Nothing so far.
    Unproved,
    /// Its host has acknowledged a report, or it is authentic.
    Proved,
    /// A block or a ping was sent to it.
    Named,
}

/// The accepted peers, by standing and host.
///
/// When a peer was heard last and whether it has sessions is looked up when it is about to give way, and its entry is
/// corrected then. Each correction is paid by a segment that came, so that all takes O(log n) steps amortised.
#[derive(Debug, Default)]
pub(in crate::ltp) struct AcceptedPeers {
    /// By slot.
    entries: Vec<Option<Entry>>,
    len: usize,
    /// The number of the last entry.
    numbers: u64,
    groups: BTreeMap<(Standing, u32), Group>,
    order: BTreeSet<Rank>,
    /// The groups that hold something, and how much.
    holders: BTreeSet<(Standing, usize, u32)>,
    /// The number of hosts that have proved themselves.
    proved_hosts: usize,
    /// Entries that were looked at.
    #[cfg(test)]
    looked_at: u64,
}

/// A peer, as it was when it was last looked at.
#[derive(Debug, Clone, Copy)]
struct Entry {
    standing: Standing,
    host: u32,
    heard: Instant,
    number: u64,
    is_busy: bool,
    /// What it holds, rounded up to a power of two so that it seldom changes.
    held: usize,
}

/// When a peer was heard last, the number of its entry, and its slot. Of those heard at once the one that was looked at
/// first is first.
type Turn = (Instant, u64, u32);

/// The peers of a host with the same standing, longest idle first.
#[derive(Debug, Default)]
struct Group {
    idle: BTreeSet<Turn>,
    /// Those that were found to have sessions.
    busy: BTreeSet<Turn>,
    /// What they hold.
    held: usize,
}

/// The place of a group in the order: those with idle peers first, of these the one with the most peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    standing: Standing,
    is_all_busy: bool,
    len: Reverse<usize>,
    heard: Instant,
    host: u32,
}

/// What is at the front of a group.
enum Candidate {
    /// A peer that may give way.
    Peer(u32),
    /// A peer whose entry had to be corrected.
    Corrected,
    Nobody,
}

impl Entry {
    const fn turn(&self, slot: u32) -> Turn {
        (self.heard, self.number, slot)
    }
}

impl Group {
    fn set_of(&mut self, entry: &Entry) -> &mut BTreeSet<Turn> {
        if entry.is_busy {
            &mut self.busy
        } else {
            &mut self.idle
        }
    }

    fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }

    fn rank(&self, standing: Standing, host: u32) -> Option<Rank> {
        let first = self.idle.first().or_else(|| self.busy.first())?;
        Some(Rank {
            standing,
            is_all_busy: self.idle.is_empty(),
            len: Reverse(self.len()),
            heard: first.0,
            host,
        })
    }
}

impl AcceptedPeers {
    /// Adds a peer that has no sessions, or changes its host or standing.
    pub(in crate::ltp) fn set(&mut self, slot: u32, host: u32, standing: Standing, heard: Instant) {
        let held = self.entry(slot).map_or(0, |entry| entry.held);
        self.remove(slot);
        let entry = Entry {
            standing,
            host,
            heard,
            number: 0,
            is_busy: false,
            held,
        };
        self.insert(slot, entry);
    }

    /// Notes what a peer holds.
    #[inline]
    pub(in crate::ltp) fn weigh(&mut self, slot: u32, octets: usize) {
        let held = octets.checked_next_power_of_two().unwrap_or(octets);
        if let Some(entry) = self.entry(slot).filter(|entry| entry.held != held) {
            self.remove(slot);
            self.insert(slot, Entry { held, ..entry });
        }
    }

    fn insert(&mut self, slot: u32, entry: Entry) {
        self.numbers += 1;
        let entry = Entry {
            number: self.numbers,
            ..entry
        };
        self.change((entry.standing, entry.host), |group| {
            group.set_of(&entry).insert(entry.turn(slot));
            group.held += entry.held;
        });
        let place = index(slot);
        if self.entries.len() <= place {
            self.entries.resize(place + 1, None);
        }
        if let Some(old) = self.entries.get_mut(place) {
            self.len += usize::from(old.replace(entry).is_none());
        }
    }

    fn entry(&self, slot: u32) -> Option<Entry> {
        *self.entries.get(index(slot))?
    }

    /// Forgets a peer.
    pub(in crate::ltp) fn remove(&mut self, slot: u32) {
        let entry = self.entries.get_mut(index(slot));
        if let Some(entry) = entry.and_then(Option::take) {
            self.len -= 1;
            self.change((entry.standing, entry.host), |group| {
                group.set_of(&entry).remove(&entry.turn(slot));
                group.held -= entry.held;
            });
        }
    }

    /// Notes that a command names a peer.
    pub(in crate::ltp) fn name(&mut self, slot: u32) {
        if let Some(Entry { host, heard, .. }) = self.entry(slot) {
            self.set(slot, host, Standing::Named, heard);
        }
    }

    /// Notes that the last session of a peer is over that was found to have some.
    pub(in crate::ltp) fn is_idle_again(&mut self, slot: u32, heard: Instant) {
        if let Some(Entry { host, standing, .. }) = self.entry(slot) {
            self.set(slot, host, standing, heard);
        }
    }

    /// Notes that a host has proved that it hears.
    pub(super) fn prove(&mut self, host: u32) {
        while let Some(group) = self.groups.get(&(Standing::Unproved, host))
            && let Some(&(heard, _, slot)) = group.idle.first().or_else(|| group.busy.first())
        {
            self.set(slot, host, Standing::Proved, heard);
        }
    }

    /// Changes a group, and keeps it in the order.
    fn change(&mut self, key: (Standing, u32), change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(key).or_default();
        let before = group.rank(key.0, key.1);
        let held = group.held;
        change(group);
        let after = group.rank(key.0, key.1);
        if held != group.held {
            self.holders.remove(&(key.0, held, key.1));
            let holds = (key.0, group.held, key.1);
            self.holders.extend((group.held > 0).then_some(holds));
        }
        if before != after {
            self.order.extend(after);
            before.map(|rank| self.order.remove(&rank));
        }
        if key.0 == Standing::Proved {
            self.proved_hosts += usize::from(before.is_none() && after.is_some());
            self.proved_hosts -= usize::from(before.is_some() && after.is_none());
        }
        if after.is_none() {
            self.groups.remove(&key);
        }
    }

    /// Returns the peer that gives way to a newcomer: the longest idle one of the host that has most of them.
    pub(in crate::ltp) fn next_victim(
        &mut self,
        newcomer: Newcomer,
        peers: &mut Peers,
    ) -> Option<u32> {
        match newcomer {
            Newcomer::Segment {
                slot,
                octets,
                limit,
            } => {
                let group = self.largest_holder(slot, octets, limit)?;
                self.longest_idle(group, true, peers)
            }
            Newcomer::Unknown(host) => {
                if let Some(largest) = self.over_share() {
                    let group = (Standing::Proved, largest);
                    return self.longest_idle(group, host != Some(largest), peers);
                }
                self.any_idle(peers)
            }
            Newcomer::Named => self.any_idle(peers).or_else(|| {
                let rank = self.order.first().copied()?;
                let (_, _, slot) = self.groups.get(&(rank.standing, rank.host))?.busy.first()?;
                Some(*slot)
            }),
        }
    }

    fn any_idle(&mut self, peers: &mut Peers) -> Option<u32> {
        [Standing::Unproved, Standing::Proved, Standing::Named]
            .into_iter()
            .find_map(|standing| self.first_idle(standing, peers))
    }

    /// Returns the group that gives way where the one of a peer needs more memory: of another host, the one that holds
    /// most of those that proved nothing, or else of those that proved themselves, if that is more than twice as much.
    /// `None` for a group that holds much of the memory already: it takes nothing from others.
    fn largest_holder(&self, slot: u32, needed: usize, limit: usize) -> Option<(Standing, u32)> {
        let own = self.entry(slot)?;
        let group = self.groups.get(&(own.standing, own.host))?;
        let would_hold = group.held + needed;
        if would_hold > limit / PART {
            return None;
        }
        let of = |standing| {
            let held = (standing, 0, 0)..=(standing, usize::MAX, u32::MAX);
            let mut held = self.holders.range(held).rev();
            held.find(|(_, _, host)| *host != own.host).copied()
        };
        let proved = || of(Standing::Proved).filter(|(_, held, _)| *held > 2 * would_hold);
        let (standing, _, host) = of(Standing::Unproved).or_else(proved)?;
        Some((standing, host))
    }

    /// Returns the host with the most proved peers if these are more than its share: hosts that have proved themselves and
    /// all others together have equal ones.
    fn over_share(&self) -> Option<u32> {
        let of = |is_all_busy| self.ranks(Standing::Proved, is_all_busy, None).next();
        let largest = of(false).into_iter().chain(of(true));
        let largest = largest.min_by_key(|rank| rank.len)?;
        let share = (self.len / (self.proved_hosts + 1)).max(1);
        (largest.len.0 > share).then_some(largest.host)
    }

    /// Returns the groups of a standing with idle peers, or those without, from the largest one on, or behind one of them.
    fn ranks(
        &self,
        standing: Standing,
        is_all_busy: bool,
        behind: Option<Rank>,
    ) -> impl Iterator<Item = Rank> {
        let lowest = Rank {
            standing,
            is_all_busy,
            len: Reverse(usize::MAX),
            heard: Instant::ZERO,
            host: 0,
        };
        let from = behind.map_or(Bound::Included(lowest), Bound::Excluded);
        let ranks = self.order.range((from, Bound::Unbounded)).copied();
        ranks.take_while(move |rank| rank.standing == standing && rank.is_all_busy == is_all_busy)
    }

    /// Returns the longest idle peer of the group with the most peers.
    fn first_idle(&mut self, standing: Standing, peers: &mut Peers) -> Option<u32> {
        let mut behind = None;
        loop {
            let rank = self.ranks(standing, false, behind).next()?;
            match self.candidate((standing, rank.host), false, peers) {
                Candidate::Peer(slot) => return Some(slot),
                Candidate::Corrected => {}
                Candidate::Nobody => behind = Some(rank),
            }
        }
    }

    /// Returns the longest idle peer of a group, or also one with sessions if all have some.
    fn longest_idle(
        &mut self,
        group: (Standing, u32),
        also_busy: bool,
        peers: &mut Peers,
    ) -> Option<u32> {
        loop {
            let has_idle = !self.groups.get(&group)?.idle.is_empty();
            match self.candidate(group, !has_idle && also_busy, peers) {
                Candidate::Peer(slot) => return Some(slot),
                Candidate::Corrected => {}
                Candidate::Nobody => return None,
            }
        }
    }

    /// Looks at the peer that is first in a group, of those with or without sessions.
    fn candidate(&mut self, group: (Standing, u32), is_busy: bool, peers: &mut Peers) -> Candidate {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        let Some(members) = self.groups.get(&group) else {
            return Candidate::Nobody;
        };
        let members = if is_busy {
            &members.busy
        } else {
            &members.idle
        };
        let Some(&(noted, _, slot)) = members.first() else {
            return Candidate::Nobody;
        };
        let Some(peer) = peers.get_mut(slot) else {
            self.remove(slot);
            return Candidate::Corrected;
        };
        let has_sessions = group.0 != Standing::Unproved && peer.exports + peer.imports > 0;
        if peer.heard == noted && has_sessions == is_busy {
            return Candidate::Peer(slot);
        }
        let heard = peer.heard;
        peer.is_found_busy = has_sessions;
        if let Some(entry) = self.entry(slot) {
            self.remove(slot);
            let is_busy = has_sessions;
            self.insert(
                slot,
                Entry {
                    heard,
                    is_busy,
                    ..entry
                },
            );
        }
        Candidate::Corrected
    }

    pub(super) fn memory_used(&self) -> usize {
        let trees = 3 * size_of::<usize>();
        self.entries.capacity() * size_of::<Option<Entry>>()
            + self.len * 2 * (size_of::<Turn>() + trees)
            + self.groups.len() * 2 * (size_of::<((Standing, u32), Group, Rank)>() + trees)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use crate::ltp::{
        Body, Color, Command, Config, Data, Engine, Event, Peer, Segment, Service, SessionId,
    };
    use crate::{Instant, Limits, Machine as _, Output, Seed, Transmit};

    /// An engine whose table has room for so many unknown peers.
    fn engine(limit: u32) -> Engine<u32> {
        let mut engine = Engine::new(Config::engine(2), Seed::from(1)).unwrap();
        let accept = Command::AcceptUnknownPeers(Some(Peer::at(0).into()), limit);
        engine.command(Instant::ZERO, accept).unwrap();
        let open = Command::Open(4, Service::Whole);
        engine.command(Instant::ZERO, open).unwrap();
        engine
    }

    fn open(engine: &mut Engine<u32>, now: Instant, host: u32, id: u64) {
        let session = SessionId {
            originator: id,
            number: 5,
        };
        let body = Body::Data(Data {
            client: 4,
            offset: 0,
            color: Color::Red(None),
            octets: b"x",
        });
        let mut octets = Vec::new();
        Segment::new(session, body).encode(&mut octets);
        engine.receive(now, host, &octets);
        let mut tx = Transmit::new(Limits::default());
        while !matches!(engine.poll(now, &mut tx), Output::Idle(_)) {}
    }

    fn looked_at(engine: &Engine<u32>) -> u64 {
        engine.core.node.strangers.peers.looked_at
    }

    /// Peers with sessions, each of a host of its own that has proved itself: none may give way.
    #[test]
    fn a_newcomer_costs_few_steps_however_many_peers_there_are_that_cannot_give_way() {
        for count in [100, 10_000] {
            let mut engine = engine(count);
            for host in 0..count {
                open(&mut engine, Instant::ZERO, host, 1000 + u64::from(host));
                let peer = engine.core.peers.slot(1000 + u64::from(host)).unwrap();
                let account = engine.core.peers.get(peer).unwrap().account.unwrap();
                engine.core.node.strangers.prove(account);
            }
            let before = looked_at(&engine);

            for id in 0..u64::from(count) {
                open(
                    &mut engine,
                    Instant::ZERO + Duration::from_millis(id),
                    count,
                    100_000 + id,
                );
            }

            let steps = looked_at(&engine) - before;
            assert!(
                steps <= 2 * u64::from(count),
                "{steps} steps for {count} newcomers"
            );
            assert_eq!(engine.usage().sessions.1, count as usize);
        }
    }

    /// The entries of peers that were heard since are corrected, each once.
    #[test]
    fn a_newcomer_costs_few_steps_however_many_peers_were_heard_since() {
        let count = 5000;
        let mut engine = engine(count);
        for round in 0..3_u64 {
            for host in 0..count {
                let now = Instant::ZERO + Duration::from_millis(round);
                open(&mut engine, now, host, 1000 + u64::from(host));
            }
        }

        for id in 0..u64::from(count) {
            open(
                &mut engine,
                Instant::ZERO + Duration::from_secs(1),
                count + 1,
                100_000 + id,
            );
        }

        let steps = looked_at(&engine);
        assert!(steps <= 3 * u64::from(count), "{steps} steps");
    }

    #[test]
    fn a_peer_whose_sessions_are_over_gives_way_again() {
        let mut engine = engine(2);
        for host in [7, 8] {
            open(&mut engine, Instant::ZERO, host, u64::from(host));
            let slot = engine.core.peers.slot(u64::from(host)).unwrap();
            let account = engine.core.peers.get(slot).unwrap().account.unwrap();
            engine.core.node.strangers.prove(account);
        }
        open(&mut engine, Instant::ZERO, 9, 9);
        assert!(engine.core.peers.slot(9).is_err());

        let session = SessionId {
            originator: 8,
            number: 5,
        };
        engine
            .command(Instant::ZERO, Command::Refuse(session))
            .unwrap();
        let mut octets = Vec::new();
        Segment::new(session, Body::CancelAckToReceiver).encode(&mut octets);
        let mut tx = Transmit::new(Limits::default());
        let mut cancelled = 0;
        loop {
            match engine.poll(Instant::ZERO, &mut tx) {
                Output::Idle(_) => break,
                Output::Event(Event::Cancelled { .. }) => cancelled += 1,
                _ => {}
            }
        }
        engine.receive(Instant::ZERO, 8, &octets);
        open(&mut engine, Instant::ZERO, 9, 9);

        assert_eq!(cancelled, 1);
        assert!(engine.core.peers.slot(7).is_ok());
        assert!(engine.core.peers.slot(8).is_err());
        assert!(engine.core.peers.slot(9).is_ok());
    }
}
