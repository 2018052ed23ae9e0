//! The memory of closed sessions, against late duplicates (RFC 5326 section 9.2).

use alloc::collections::VecDeque;
use core::hash::BuildHasher as _;

use super::auth::KeyHash;
use super::peer::Role;
use super::table::{self, BYTES_PER_POSITION, Keyed, Positions};
use super::wire::SessionId;
use crate::Instant;

/// Sessions that are forgotten at a time, where there are many.
const BATCH: usize = 64;

/// Closed sessions, in the order in which they closed.
///
/// Each is looked up when it starts, and again only for a late duplicate. They are in a ring: closing writes behind
/// the last, and forgetting reads the first. The hash table leads to the numbers of the entries. Where there are many,
/// they are forgotten in batches, while what they point to is in the cache.
#[derive(Debug)]
pub(super) struct Closed {
    index: Positions,
    /// `None` for a session that was opened again.
    ring: VecDeque<Option<Entry>>,
    /// The number of the first entry in the ring. Numbers wrap; far fewer are in use.
    first: u32,
    hasher: Keyed,
    /// When a session last closed.
    now: Instant,
    min: usize,
    max: usize,
    /// Sessions closed since some were last forgotten.
    since_forgotten: usize,
}

pub(super) type SessionKey = (Role, SessionId);
type Entry = (SessionKey, Record);

/// The record of a closed session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The slot of the peer that the block was sent to. For a received block the session names the peer, and the slot
    /// means nothing.
    pub(super) slot: u32,
    pub(super) until: Instant,
    /// The key that the session named (RFC 5327 section 2.1).
    pub(super) key_hash: Option<KeyHash>,
    pub(super) end: End,
}

/// How the session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub(super) enum End {
    Plain,
    /// The red part of this many octets was delivered. `serial` is that of the next report.
    Delivered {
        red: u64,
        serial: u64,
    },
    /// The green EOB was received and nothing red. `low` is the offset of the first green octet.
    GreenOnly {
        low: u64,
    },
}

impl Closed {
    pub(super) fn new(hasher: Keyed, min: u32, max: u32) -> Self {
        Self {
            index: Positions::new(),
            ring: VecDeque::new(),
            first: 0,
            hasher,
            now: Instant::ZERO,
            min: usize::try_from(min).unwrap_or(usize::MAX),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            since_forgotten: 0,
        }
    }

    /// Remembers a session that is not remembered yet, and forgets the oldest ones beyond the limits.
    pub(super) fn insert(&mut self, now: Instant, key: SessionKey, record: Record) {
        debug_assert!(self.find(key).is_none(), "no session closes twice");
        self.now = now;
        // Entries of sessions that were opened again are the majority.
        if self.ring.len() > 2 * self.index.len() + 64 {
            self.compact();
        }
        self.append((key, record));
        self.since_forgotten += 1;
        if self.since_forgotten >= self.batch() || self.index.len() > self.max {
            self.since_forgotten = 0;
            self.forget_oldest();
        }
    }

    fn append(&mut self, entry: Entry) {
        let Ok(len) = u32::try_from(self.ring.len()) else {
            return;
        };
        let number = self.first.wrapping_add(len);
        self.ring.push_back(Some(entry));
        let (ring, first, hasher) = (&self.ring, self.first, self.hasher);
        self.index
            .insert_unique(hasher.hash_one(entry.0.1), number, |number| {
                entry_at(ring, first, *number)
                    .map_or(0, |((_, session), _)| hasher.hash_one(session))
            });
    }

    /// How many are forgotten at a time. With small limits one, so that they are exact.
    fn batch(&self) -> usize {
        if (self.max - self.min) / BATCH >= BATCH {
            BATCH
        } else {
            1
        }
    }

    fn forget_oldest(&mut self) {
        let max = match self.batch() {
            1 => self.max,
            batch => self.max - batch,
        };
        while let Some(oldest) = self.ring.front() {
            let len = self.index.len();
            if let Some((key, record)) = oldest {
                let is_over = record.until <= self.now;
                if len <= self.min || (len <= max && !is_over) {
                    return;
                }
                let hash = self.hasher.hash_one(key.1);
                table::remove(&mut self.index, hash, self.first);
            }
            self.ring.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Drops the entries of sessions that were opened again, and numbers the others anew.
    #[cold]
    fn compact(&mut self) {
        self.index.clear();
        let old = core::mem::take(&mut self.ring);
        old.into_iter()
            .flatten()
            .for_each(|entry| self.append(entry));
    }

    /// Returns all sessions in the order in which they closed.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(SessionKey, Record)> {
        self.ring.iter().flatten()
    }

    #[inline]
    pub(super) fn get(&self, key: SessionKey) -> Option<Record> {
        let number = self.find(key)?;
        let place = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        let later = self.ring.len().checked_sub(place + 1)?;
        let (_, record) = self.ring.get(place)?.as_ref()?;
        // An expired one waits for those before it, and counts as forgotten.
        (record.until > self.now || later < self.min).then_some(*record)
    }

    /// As [`get`](Self::get), for a session that starts if it is not remembered.
    #[inline]
    pub(super) fn admit(&mut self, key: SessionKey) -> Option<Record> {
        self.find(key)?;
        let kept = self.get(key);
        if kept.is_none() {
            self.reopen(key);
        }
        kept
    }

    /// Changes the record of a session, if it is remembered.
    pub(super) fn change(&mut self, key: SessionKey, change: impl FnOnce(&mut Record)) {
        if let Some(number) = self.find(key)
            && let Some(Some((_, record))) = self.place_mut(number)
        {
            change(record);
        }
    }

    /// Removes a session that is opened again.
    #[inline]
    pub(super) fn reopen(&mut self, key: SessionKey) {
        if let Some(number) = self.find(key) {
            if let Some(place) = self.place_mut(number) {
                *place = None;
            }
            table::remove(&mut self.index, self.hasher.hash_one(key.1), number);
        }
    }

    /// Forgets the sessions sent to a peer, which nobody answers any more.
    ///
    /// Received ones stay. If the peer is added again, its late segments must not start them anew, or a block would be
    /// delivered twice, and a block of which half was claimed never.
    pub(super) fn forget(&mut self, slot: u32) {
        for place in &mut self.ring {
            if place.is_some_and(|((role, _), old)| role == Role::Sender && old.slot == slot) {
                *place = None;
            }
        }
        self.compact();
    }

    #[inline]
    fn find(&self, key: SessionKey) -> Option<u32> {
        let is_it = |number: &u32| {
            entry_at(&self.ring, self.first, *number).is_some_and(|(other, _)| *other == key)
        };
        self.index.find(self.hasher.hash_one(key.1), is_it).copied()
    }

    fn place_mut(&mut self, number: u32) -> Option<&mut Option<Entry>> {
        let place = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.ring.get_mut(place)
    }

    pub(super) fn memory_used(&self) -> usize {
        self.index.allocation_size() + self.ring.capacity() * size_of::<Option<Entry>>()
    }

    /// Returns the bytes that one record takes at max.
    pub(super) const fn memory_per_entry() -> usize {
        BYTES_PER_POSITION + 4 * size_of::<Option<Entry>>()
    }
}

fn entry_at(ring: &VecDeque<Option<Entry>>, first: u32, number: u32) -> Option<&Entry> {
    ring.get(usize::try_from(number.wrapping_sub(first)).ok()?)?
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn whatever_a_record_says_is_remembered_to_the_letter() {
        let mut closed = Closed::new(Keyed(1), 100, 100);
        let (small, large) = (7, u64::MAX - 7);
        let delivered = |red, serial| End::Delivered { red, serial };
        let ends = [
            End::Plain,
            delivered(small, small),
            delivered(small, large),
            delivered(large, small),
            End::GreenOnly { low: small },
            End::GreenOnly { low: large },
        ];
        let keys = [None, Some(KeyHash::of(1, b"key"))];
        let records = keys.into_iter().flat_map(|key_hash| {
            ends.map(|end| Record {
                key_hash,
                end,
                ..record(3, 10)
            })
        });
        for (number, record) in (0..).zip(records.clone()) {
            closed.insert(Instant::ZERO, key(number), record);
        }

        for ((number, record), (listed, same)) in (0..).zip(records).zip(closed.iter()) {
            let found = closed.get(key(number)).unwrap();
            assert_eq!((found.key_hash, found.end), (record.key_hash, record.end));
            assert_eq!((*listed, *same), (key(number), record));
        }
    }

    fn key(number: u64) -> SessionKey {
        let originator = 1;
        (Role::Receiver, SessionId { originator, number })
    }

    fn record(slot: u32, until: u64) -> Record {
        Record {
            slot,
            until: Instant::ZERO + Duration::from_secs(until),
            key_hash: None,
            end: End::Plain,
        }
    }

    fn known(closed: &Closed, numbers: core::ops::Range<u64>) -> alloc::vec::Vec<u64> {
        numbers
            .filter(|number| closed.get(key(*number)).is_some())
            .collect()
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_most_and_once_over_beyond_the_least() {
        let mut closed = Closed::new(Keyed(1), 2, 4);
        for number in 0..6 {
            closed.insert(Instant::ZERO, key(number), record(0, 10));
        }
        assert_eq!(known(&closed, 0..9), [2, 3, 4, 5], "the max are four");

        let later = Instant::ZERO + Duration::from_secs(10);
        closed.insert(later, key(6), record(0, 20));

        assert_eq!(known(&closed, 0..9), [5, 6], "the min are two");
    }

    #[test]
    fn a_large_memory_stays_within_the_most_and_knows_all_but_a_few_of_them() {
        let max = 100_000;
        let mut closed = Closed::new(Keyed(1), 10, max);
        for number in 0..250_000 {
            closed.insert(Instant::ZERO, key(number), record(0, 10));
            assert!(closed.index.len() <= 100_000, "{}", closed.index.len());
        }

        let all = known(&closed, 0..250_000);

        assert!(all.len() > 99_900, "{}", all.len());
        assert_eq!(all.last(), Some(&249_999));
        assert!(all.windows(2).all(|two| two[0] + 1 == two[1]));
    }

    #[test]
    fn a_session_that_lives_again_closes_anew_and_the_ring_stays_small() {
        let mut closed = Closed::new(Keyed(1), 1000, 1000);
        closed.insert(Instant::ZERO, key(0), record(0, 10));
        let wide = End::GreenOnly { low: u64::MAX };
        for _ in 0..10_000 {
            closed.insert(Instant::ZERO, key(1), record(0, 10));
            closed.change(key(1), |record| record.end = wide);
            closed.reopen(key(1));
            assert!(closed.get(key(1)).is_none());
        }
        closed.insert(Instant::ZERO, key(1), record(0, 10));
        closed.change(key(1), |record| record.end = wide);

        assert_eq!(known(&closed, 0..3), [0, 1]);
        assert_eq!(closed.get(key(1)).map(|record| record.end), Some(wide));
        assert!(closed.ring.len() < 100, "{}", closed.ring.len());
    }

    #[test]
    fn one_that_is_over_may_close_anew_before_it_is_forgotten() {
        let mut closed = Closed::new(Keyed(1), 2, 100);
        closed.insert(Instant::ZERO, key(0), record(0, 100));
        closed.insert(Instant::ZERO, key(1), record(0, 10));
        let later = Instant::ZERO + Duration::from_secs(10);
        for number in 2..5 {
            closed.insert(later, key(number), record(0, 100));
        }

        assert!(closed.admit(key(0)).is_some());
        assert!(closed.admit(key(1)).is_none());
        closed.insert(later, key(1), record(0, 100));

        assert_eq!(known(&closed, 0..9), [0, 1, 2, 3, 4]);
        assert_eq!(closed.iter().count(), 5);
    }

    #[test]
    fn of_a_peer_that_is_forgotten_only_what_it_sent_is_remembered() {
        let mut closed = Closed::new(Keyed(1), 20, 20);
        let sent = |number| (Role::Sender, key(number).1);
        for number in 0..8 {
            let record = record(u32::from(number % 2 == 1), 10);
            closed.insert(Instant::ZERO, key(number), record);
            closed.insert(Instant::ZERO, sent(number), record);
        }

        closed.forget(1);

        assert_eq!(known(&closed, 0..8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let left = (0..8).filter(|number| closed.get(sent(*number)).is_some());
        assert_eq!(left.collect::<alloc::vec::Vec<_>>(), [0, 2, 4, 6]);
    }
}
