//! What is remembered of closed sessions, against duplicates that come late (RFC 5326 section 9.2).

use alloc::collections::VecDeque;
use core::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::auth::Name as KeyName;
use super::span::Role;
use super::table::Keyed;
use super::wire::SessionId;
use crate::Instant;

/// Records that come into the index, and leave it, at a time, where it is large.
const BATCH: usize = 256;

/// Closed sessions, in the order in which they closed.
///
/// The records lie in a ring, where closing writes behind the last and forgetting reads the first. What the
/// hashes lead to are the small numbers of the records. In a table of a quarter of a million each look is a
/// wait for memory, so records come into it and leave it many at a time: a processor waits for them together.
#[derive(Debug)]
pub(super) struct Closed {
    index: HashTable<u32>,
    /// The last ones, which are not in the index yet.
    recent: HashTable<u32>,
    ring: VecDeque<(Name, Option<Record>)>,
    /// The number of the first record in the ring. Numbers wrap; far fewer are in use.
    first: u32,
    hasher: Keyed,
    least: usize,
    most: usize,
}

pub(super) type Name = (Role, SessionId);

/// What is known of a closed session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// The slot of the peer.
    pub(super) slot: u32,
    pub(super) until: Instant,
    /// What named the key of the session (RFC 5327 section 2.1).
    pub(super) key_name: Option<KeyName>,
    pub(super) end: End,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum End {
    Plain,
    /// The red part of so many octets was handed over; `serial` is that of a report not made yet.
    Delivered {
        red: u64,
        serial: u64,
    },
    /// The green EOB came and nothing red; `low` is the first green octet.
    GreenOnly {
        low: u64,
    },
}

impl Closed {
    pub(super) fn new(hasher: Keyed, least: u32, most: u32) -> Self {
        Self {
            index: HashTable::new(),
            recent: HashTable::new(),
            ring: VecDeque::new(),
            first: 0,
            hasher,
            least: usize::try_from(least).unwrap_or(usize::MAX),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// Remembers a session, and forgets the oldest ones beyond what is kept.
    pub(super) fn insert(&mut self, now: Instant, name: Name, record: Record) {
        match self.find(name) {
            Some(number) => {
                if let Some(old) = self.record_mut(number) {
                    *old = Some(record);
                }
            }
            None => self.append(name, record),
        }
        if self.recent.len() >= self.batch() || self.len() > self.most {
            self.settle(now);
        }
    }

    /// A small memory keeps to its limits to the letter.
    fn batch(&self) -> usize {
        if (self.most - self.least) / BATCH >= BATCH {
            BATCH
        } else {
            1
        }
    }

    fn len(&self) -> usize {
        self.index.len() + self.recent.len()
    }

    /// Takes the recent ones into the index, and forgets the oldest.
    fn settle(&mut self, now: Instant) {
        let (ring, first, hasher) = (&self.ring, self.first, self.hasher);
        let hash_of =
            |number: &u32| entry(ring, first, *number).map_or(0, |(name, _)| hash(hasher, *name));
        for number in self.recent.drain() {
            self.index.insert_unique(hash_of(&number), number, hash_of);
        }
        let most = match self.batch() {
            1 => self.most,
            batch => self.most - batch,
        };
        while let Some(&(_, oldest)) = self.ring.front() {
            let len = self.index.len();
            let is_over = oldest.is_none_or(|old| old.until <= now);
            if oldest.is_some() && (len <= self.least || (len <= most && !is_over)) {
                break;
            }
            self.forget_first();
        }
    }

    fn append(&mut self, name: Name, record: Record) {
        self.squeeze();
        let Ok(len) = u32::try_from(self.ring.len()) else {
            return;
        };
        self.ring.push_back((name, Some(record)));
        let (ring, first, hasher) = (&self.ring, self.first, self.hasher);
        self.recent
            .insert_unique(hash(hasher, name), first.wrapping_add(len), |number| {
                entry(ring, first, *number).map_or(0, |(name, _)| hash(hasher, *name))
            });
    }

    fn forget_first(&mut self) {
        let Some((name, record)) = self.ring.pop_front() else {
            return;
        };
        let number = self.first;
        self.first = number.wrapping_add(1);
        if record.is_some() {
            self.unlink(name, number);
        }
    }

    fn unlink(&mut self, name: Name, number: u32) {
        let hash = hash(self.hasher, name);
        for table in [&mut self.recent, &mut self.index] {
            if let Ok(found) = table.find_entry(hash, |other| *other == number) {
                found.remove();
                return;
            }
        }
    }

    /// Drops records without a session once they are the most, and numbers the others anew.
    fn squeeze(&mut self) {
        if self.ring.len() <= 2 * self.len() + 64 {
            return;
        }
        self.index.clear();
        self.recent.clear();
        self.ring.retain(|(_, record)| record.is_some());
        let (ring, first, hasher) = (&self.ring, self.first, self.hasher);
        let mut number = first;
        for (name, _) in ring {
            self.index
                .insert_unique(hash(hasher, *name), number, |number| {
                    entry(ring, first, *number).map_or(0, |(name, _)| hash(hasher, *name))
                });
            number = number.wrapping_add(1);
        }
    }

    /// Returns all, in the order in which they closed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, Record)> {
        self.ring
            .iter()
            .filter_map(|(name, record)| Some((*name, (*record)?)))
    }

    pub(super) fn get(&self, name: Name) -> Option<Record> {
        let number = self.find(name)?;
        entry(&self.ring, self.first, number)?.1
    }

    pub(super) fn get_mut(&mut self, name: Name) -> Option<&mut Record> {
        let number = self.find(name)?;
        self.record_mut(number)?.as_mut()
    }

    /// Lets a session live again.
    pub(super) fn reopen(&mut self, name: Name) {
        let Some(number) = self.find(name) else {
            return;
        };
        self.unlink(name, number);
        if let Some(record) = self.record_mut(number) {
            *record = None;
        }
    }

    /// Forgets the sessions sent to a peer, as nobody answers it any more.
    ///
    /// Those received stay: should the peer be added again, its late segments must not begin them anew, or
    /// a block would be delivered twice, and one of which half was claimed never.
    pub(super) fn forget(&mut self, slot: u32) {
        for ((role, _), record) in &mut self.ring {
            record.take_if(|record| *role == Role::Sender && record.slot == slot);
        }
        let (ring, first) = (&self.ring, self.first);
        for table in [&mut self.recent, &mut self.index] {
            table.retain(|number| {
                entry(ring, first, *number).is_some_and(|(_, record)| record.is_some())
            });
        }
    }

    fn find(&self, name: Name) -> Option<u32> {
        let (ring, first) = (&self.ring, self.first);
        let hash = hash(self.hasher, name);
        let is_it =
            |number: &u32| entry(ring, first, *number).is_some_and(|(other, _)| *other == name);
        let found = self.recent.find(hash, is_it);
        found.or_else(|| self.index.find(hash, is_it)).copied()
    }

    fn record_mut(&mut self, number: u32) -> Option<&mut Option<Record>> {
        let place = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.ring.get_mut(place).map(|(_, record)| record)
    }

    pub(super) fn held(&self) -> usize {
        self.index.allocation_size()
            + self.recent.allocation_size()
            + self.ring.capacity() * size_of::<(Name, Option<Record>)>()
    }

    /// Bytes that one record takes at most.
    pub(super) const fn weight() -> usize {
        4 * (size_of::<u32>() + 1) + 4 * size_of::<(Name, Option<Record>)>()
    }
}

fn entry(
    ring: &VecDeque<(Name, Option<Record>)>,
    first: u32,
    number: u32,
) -> Option<&(Name, Option<Record>)> {
    ring.get(usize::try_from(number.wrapping_sub(first)).ok()?)
}

/// One round for both halves of a name: the numbers of ours are random, and those of others meet the key.
fn hash(hasher: Keyed, (role, session): Name) -> u64 {
    let role = match role {
        Role::Sender => 0,
        Role::Receiver => u64::MAX,
    };
    hasher.hash_one(SessionId {
        originator: session.originator ^ role,
        ..session
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn name(number: u64) -> Name {
        let originator = 1;
        (Role::Receiver, SessionId { originator, number })
    }

    fn record(slot: u32, until: u64) -> Record {
        Record {
            slot,
            until: Instant::ZERO + Duration::from_secs(until),
            key_name: None,
            end: End::Plain,
        }
    }

    fn known(closed: &Closed, numbers: core::ops::Range<u64>) -> alloc::vec::Vec<u64> {
        numbers
            .filter(|number| closed.get(name(*number)).is_some())
            .collect()
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_most_and_once_over_beyond_the_least() {
        let mut closed = Closed::new(Keyed(1), 2, 4);
        for number in 0..6 {
            closed.insert(Instant::ZERO, name(number), record(0, 10));
        }
        assert_eq!(known(&closed, 0..9), [2, 3, 4, 5], "the most are four");

        let later = Instant::ZERO + Duration::from_secs(10);
        closed.insert(later, name(6), record(0, 20));

        assert_eq!(known(&closed, 0..9), [5, 6], "the least are two");
    }

    #[test]
    fn a_large_memory_stays_within_the_most_and_knows_all_but_a_few_of_them() {
        let most = 100_000;
        let mut closed = Closed::new(Keyed(1), 10, most);
        for number in 0..250_000 {
            closed.insert(Instant::ZERO, name(number), record(0, 10));
            assert!(closed.len() <= 100_000, "{}", closed.len());
        }

        let all = known(&closed, 0..250_000);

        assert!(all.len() > 99_000, "{}", all.len());
        assert_eq!(all.last(), Some(&249_999));
        assert!(all.windows(2).all(|two| two[0] + 1 == two[1]));
    }

    #[test]
    fn a_session_that_lives_again_closes_anew_and_the_ring_stays_small() {
        let mut closed = Closed::new(Keyed(1), 1000, 1000);
        closed.insert(Instant::ZERO, name(0), record(0, 10));
        for _ in 0..10_000 {
            closed.insert(Instant::ZERO, name(1), record(0, 10));
            closed.reopen(name(1));
            assert!(closed.get(name(1)).is_none());
        }
        closed.insert(Instant::ZERO, name(1), record(0, 10));

        assert_eq!(known(&closed, 0..3), [0, 1]);
        assert!(closed.ring.len() < 100, "{}", closed.ring.len());
    }

    #[test]
    fn of_a_peer_that_is_forgotten_only_what_it_sent_is_remembered() {
        let mut closed = Closed::new(Keyed(1), 20, 20);
        let sent = |number| (Role::Sender, name(number).1);
        for number in 0..8 {
            let record = record(u32::from(number % 2 == 1), 10);
            closed.insert(Instant::ZERO, name(number), record);
            closed.insert(Instant::ZERO, sent(number), record);
        }

        closed.forget(1);

        assert_eq!(known(&closed, 0..8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let left = (0..8).filter(|number| closed.get(sent(*number)).is_some());
        assert_eq!(left.collect::<alloc::vec::Vec<_>>(), [0, 2, 4, 6]);
    }
}
