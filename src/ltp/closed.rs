//! The memory of closed sessions, against late duplicates (RFC 5326 section 9.2).

use alloc::collections::{BTreeMap, VecDeque};
use core::hash::BuildHasher as _;

use super::auth::KeyHash;
use super::index::Index;
use super::peer::Role;
use super::table::Keyed;
use super::wire::SessionId;
use crate::Instant;

/// Sessions that are forgotten at a time, where there are many.
const BATCH: usize = 64;

/// Closed sessions, in the order in which they closed.
///
/// Each is looked up when it starts, and again only for a late duplicate. So what counts is the memory that a quarter
/// of a million of them take, and how much of it is touched. They are in a ring: closing writes behind the last,
/// and forgetting reads the first. The hash table leads to the numbers of the entries. Sessions are forgotten in
/// batches, so that the processor loads their entries together.
#[derive(Debug)]
pub(super) struct Closed {
    index: Index,
    ring: VecDeque<Entry>,
    /// The number of the first entry in the ring. Numbers wrap; far fewer are in use.
    first: u32,
    /// Records that do not fit an entry, by its number.
    wide: BTreeMap<u32, Wide>,
    /// The ID of this engine, which is the originator of the sessions it sent.
    engine: u64,
    hasher: Keyed,
    /// When a session last closed.
    now: Instant,
    min: usize,
    max: usize,
    /// Sessions closed since some were last forgotten.
    since_forgotten: usize,
}

pub(super) type SessionKey = (Role, SessionId);

/// The record of a closed session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// The slot of the peer that the block was sent to. For a received block the session names the peer, and the slot is
    /// not kept.
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

/// A session and its record, in compact form.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u64,
    /// The slot of the peer it was sent to, or the originator of a received one.
    whose: u64,
    until: Instant,
    /// The octets in its [`End`].
    octets: u32,
    serial: u16,
    role: Role,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The session was opened again.
    Removed,
    Plain,
    Delivered,
    GreenOnly,
    /// The record does not fit, and is kept in `wide`.
    Wide,
}

/// What does not fit an entry: a key, or large numbers.
type Wide = (Option<KeyHash>, End);

impl Entry {
    /// Returns the entry of a record, and what does not fit it.
    fn new((role, session): SessionKey, record: &Record) -> (Self, Option<Wide>) {
        let narrow = match (record.key_hash, record.end) {
            (Some(_), _) => None,
            (None, End::Plain) => Some((Kind::Plain, 0, 0)),
            (None, End::Delivered { red, serial }) => narrow(red, serial, Kind::Delivered),
            (None, End::GreenOnly { low }) => narrow(low, 0, Kind::GreenOnly),
        };
        let (kind, octets, serial) = narrow.unwrap_or((Kind::Wide, 0, 0));
        let entry = Self {
            number: session.number,
            whose: match role {
                Role::Sender => u64::from(record.slot),
                Role::Receiver => session.originator,
            },
            until: record.until,
            octets,
            serial,
            role,
            kind,
        };
        let wide = (kind == Kind::Wide).then_some((record.key_hash, record.end));
        (entry, wide)
    }

    fn is(&self, (role, session): SessionKey) -> bool {
        self.number == session.number
            && self.role == role
            && (role == Role::Sender || self.whose == session.originator)
    }

    fn hash(&self, hasher: Keyed) -> u64 {
        let session = SessionId {
            originator: self.whose,
            number: self.number,
        };
        hash(hasher, (self.role, session))
    }

    const fn is_removed(&self) -> bool {
        matches!(self.kind, Kind::Removed)
    }
}

fn narrow(octets: u64, serial: u64, kind: Kind) -> Option<(Kind, u32, u16)> {
    Some((kind, octets.try_into().ok()?, serial.try_into().ok()?))
}

impl Closed {
    pub(super) fn new(hasher: Keyed, engine: u64, min: u32, max: u32) -> Self {
        Self {
            index: Index::new(usize::try_from(max).unwrap_or(usize::MAX)),
            ring: VecDeque::new(),
            first: 0,
            wide: BTreeMap::new(),
            engine,
            hasher,
            now: Instant::ZERO,
            min: usize::try_from(min).unwrap_or(usize::MAX),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            since_forgotten: 0,
        }
    }

    /// Remembers a session that is not remembered yet, and forgets the oldest ones beyond the limits.
    pub(super) fn insert(&mut self, now: Instant, key: SessionKey, record: &Record) {
        debug_assert!(self.find(key).is_none(), "no session closes twice");
        self.now = now;
        self.compact_ring();
        let (entry, wide) = Entry::new(key, record);
        self.append(entry, wide);
        self.since_forgotten += 1;
        if self.since_forgotten >= self.batch() || self.index.len() > self.max {
            self.since_forgotten = 0;
            self.forget_oldest();
        }
    }

    fn append(&mut self, entry: Entry, wide: Option<Wide>) {
        let Ok(len) = u32::try_from(self.ring.len()) else {
            return;
        };
        let number = self.first.wrapping_add(len);
        if let Some(wide) = wide {
            self.wide.insert(number, wide);
        }
        self.ring.push_back(entry);
        let (ring, first, hasher) = (&self.ring, self.first, self.hasher);
        self.index.insert(entry.hash(hasher), number, |number| {
            entry_at(ring, first, number).map_or(0, |entry| entry.hash(hasher))
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
        let batch = self.batch();
        let max = if batch > 1 {
            self.max - batch
        } else {
            self.max
        };
        let hasher = self.hasher;
        if batch > 1 {
            let oldest = self.ring.iter().take(batch);
            self.index.prefetch(oldest.map(|entry| entry.hash(hasher)));
        }
        while let Some(oldest) = self.ring.front().copied() {
            let len = self.index.len();
            let is_over = oldest.until <= self.now;
            let is_kept = len <= self.min || (len <= max && !is_over);
            if !oldest.is_removed() && is_kept {
                return;
            }
            let number = self.first;
            self.ring.pop_front();
            self.first = number.wrapping_add(1);
            if !oldest.is_removed() {
                self.unlink(oldest.hash(hasher), number);
            }
        }
    }

    fn unlink(&mut self, hash: u64, number: u32) {
        self.index.remove(hash, number);
        if !self.wide.is_empty() {
            self.wide.remove(&number);
        }
    }

    /// Drops removed entries when they are the majority.
    fn compact_ring(&mut self) {
        if self.ring.len() > 2 * self.index.len() + 64 {
            self.renumber();
        }
    }

    /// Drops removed entries, and numbers the others anew.
    #[cold]
    fn renumber(&mut self) {
        self.index.clear();
        let mut wide = core::mem::take(&mut self.wide);
        let old = core::mem::take(&mut self.ring);
        for (place, entry) in (0..).zip(old) {
            let rest = wide.remove(&self.first.wrapping_add(place));
            if !entry.is_removed() {
                self.append(entry, rest);
            }
        }
    }

    /// Returns all sessions in the order in which they closed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionKey, Record)> {
        let entries = self.ring.iter().enumerate();
        entries
            .filter(|(_, entry)| !entry.is_removed())
            .filter_map(|(place, entry)| {
                let number = self.first.wrapping_add(u32::try_from(place).ok()?);
                let originator = match entry.role {
                    Role::Sender => self.engine,
                    Role::Receiver => entry.whose,
                };
                let session = SessionId {
                    originator,
                    number: entry.number,
                };
                Some(((entry.role, session), self.record(number, entry)))
            })
    }

    fn record(&self, number: u32, entry: &Entry) -> Record {
        let octets = u64::from(entry.octets);
        let (key_hash, end) = match entry.kind {
            Kind::Removed | Kind::Plain => (None, End::Plain),
            Kind::Delivered => {
                let (red, serial) = (octets, u64::from(entry.serial));
                (None, End::Delivered { red, serial })
            }
            Kind::GreenOnly => (None, End::GreenOnly { low: octets }),
            Kind::Wide => self
                .wide
                .get(&number)
                .copied()
                .unwrap_or((None, End::Plain)),
        };
        let slot = match entry.role {
            Role::Sender => u32::try_from(entry.whose).unwrap_or(u32::MAX),
            Role::Receiver => u32::MAX,
        };
        Record {
            slot,
            until: entry.until,
            key_hash,
            end,
        }
    }

    #[inline]
    pub(super) fn get(&self, key: SessionKey) -> Option<Record> {
        let number = self.find(key)?;
        let place = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        let later = self.ring.len().checked_sub(place + 1)?;
        // An expired one waits for those before it, and counts as forgotten.
        let is_kept = |entry: &&Entry| entry.until > self.now || later < self.min;
        let entry = self.ring.get(place).filter(is_kept)?;
        Some(self.record(number, entry))
    }

    /// As [`get`](Self::get), for a session that starts if it is not remembered.
    #[inline]
    pub(super) fn admit(&mut self, key: SessionKey) -> Option<Record> {
        let number = self.find(key)?;
        let kept = self.get(key);
        if kept.is_none() {
            self.drop_entry(key, number);
        }
        kept
    }

    #[cold]
    fn drop_entry(&mut self, key: SessionKey, number: u32) {
        if let Some(entry) = self.entry_mut(number) {
            entry.kind = Kind::Removed;
        }
        self.unlink(hash(self.hasher, key), number);
    }

    /// Changes the record of a session, if it is remembered.
    pub(super) fn change(&mut self, key: SessionKey, change: impl FnOnce(&mut Record)) {
        let Some(number) = self.find(key) else {
            return;
        };
        let Some(entry) = entry_at(&self.ring, self.first, number) else {
            return;
        };
        let mut record = self.record(number, entry);
        change(&mut record);
        let (entry, wide) = Entry::new(key, &record);
        match wide {
            Some(wide) => self.wide.insert(number, wide),
            None => self.wide.remove(&number),
        };
        if let Some(place) = self.entry_mut(number) {
            *place = entry;
        }
    }

    /// Removes a session that is opened again.
    pub(super) fn reopen(&mut self, key: SessionKey) {
        if let Some(number) = self.find(key) {
            self.drop_entry(key, number);
        }
    }

    /// Forgets the sessions sent to a peer, which nobody answers any more.
    ///
    /// Received ones stay. If the peer is added again, its late segments must not start them anew, or a block would be
    /// delivered twice, and a block of which half was claimed never.
    pub(super) fn forget(&mut self, slot: u32) {
        for entry in &mut self.ring {
            if entry.role == Role::Sender && entry.whose == u64::from(slot) {
                entry.kind = Kind::Removed;
            }
        }
        self.renumber();
    }

    #[inline]
    fn find(&self, key: SessionKey) -> Option<u32> {
        let (ring, first) = (&self.ring, self.first);
        self.index.find(hash(self.hasher, key), |number| {
            entry_at(ring, first, number).is_some_and(|one| one.is(key))
        })
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        let place = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.ring.get_mut(place)
    }

    pub(super) fn memory_used(&self) -> usize {
        self.index.memory_used()
            + self.ring.capacity() * size_of::<Entry>()
            + self.wide.len() * WIDE
    }

    /// Returns the bytes that one record takes at max.
    pub(super) const fn memory_per_entry() -> usize {
        Index::memory_per_entry() + 4 * size_of::<Entry>() + WIDE
    }
}

/// Bytes that an entry of a tree takes at max, in half-empty nodes.
const WIDE: usize = 2 * size_of::<(u32, Wide)>() + 64;

fn entry_at(ring: &VecDeque<Entry>, first: u32, number: u32) -> Option<&Entry> {
    ring.get(usize::try_from(number.wrapping_sub(first)).ok()?)
}

/// Numbers of this engine are random; those of others are mixed with a key.
fn hash(hasher: Keyed, (role, session): SessionKey) -> u64 {
    let originator = match role {
        Role::Sender => 0,
        Role::Receiver => session.originator,
    };
    hasher.hash_one(SessionId {
        originator,
        ..session
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn whatever_a_record_says_is_remembered_to_the_letter() {
        let mut closed = Closed::new(Keyed(1), 9, 100, 100);
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
            closed.insert(Instant::ZERO, key(number), &record);
        }

        for ((number, record), (listed, same)) in (0..).zip(records).zip(closed.iter()) {
            let found = closed.get(key(number)).unwrap();
            assert_eq!((found.key_hash, found.end), (record.key_hash, record.end));
            assert_eq!((same.key_hash, same.end), (record.key_hash, record.end));
            assert_eq!(listed, key(number));
        }
        assert_eq!(size_of::<Entry>(), 32);
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
        let mut closed = Closed::new(Keyed(1), 9, 2, 4);
        for number in 0..6 {
            closed.insert(Instant::ZERO, key(number), &record(0, 10));
        }
        assert_eq!(known(&closed, 0..9), [2, 3, 4, 5], "the max are four");

        let later = Instant::ZERO + Duration::from_secs(10);
        closed.insert(later, key(6), &record(0, 20));

        assert_eq!(known(&closed, 0..9), [5, 6], "the min are two");
    }

    #[test]
    fn a_large_memory_stays_within_the_most_and_knows_all_but_a_few_of_them() {
        let max = 100_000;
        let mut closed = Closed::new(Keyed(1), 9, 10, max);
        for number in 0..250_000 {
            closed.insert(Instant::ZERO, key(number), &record(0, 10));
            assert!(closed.index.len() <= 100_000, "{}", closed.index.len());
        }

        let all = known(&closed, 0..250_000);

        assert!(all.len() > 99_900, "{}", all.len());
        assert_eq!(all.last(), Some(&249_999));
        assert!(all.windows(2).all(|two| two[0] + 1 == two[1]));
    }

    #[test]
    fn a_session_that_lives_again_closes_anew_and_the_ring_stays_small() {
        let mut closed = Closed::new(Keyed(1), 9, 1000, 1000);
        closed.insert(Instant::ZERO, key(0), &record(0, 10));
        let wide = End::GreenOnly { low: u64::MAX };
        for _ in 0..10_000 {
            closed.insert(Instant::ZERO, key(1), &record(0, 10));
            closed.change(key(1), |record| record.end = wide);
            closed.reopen(key(1));
            assert!(closed.get(key(1)).is_none());
        }
        closed.insert(Instant::ZERO, key(1), &record(0, 10));
        closed.change(key(1), |record| record.end = wide);

        assert_eq!(known(&closed, 0..3), [0, 1]);
        assert_eq!(closed.get(key(1)).map(|record| record.end), Some(wide));
        assert_eq!(closed.wide.len(), 1);
        assert!(closed.ring.len() < 100, "{}", closed.ring.len());
    }

    #[test]
    fn one_that_is_over_may_close_anew_before_it_is_forgotten() {
        let mut closed = Closed::new(Keyed(1), 9, 2, 100);
        closed.insert(Instant::ZERO, key(0), &record(0, 100));
        closed.insert(Instant::ZERO, key(1), &record(0, 10));
        let later = Instant::ZERO + Duration::from_secs(10);
        for number in 2..5 {
            closed.insert(later, key(number), &record(0, 100));
        }

        assert!(closed.admit(key(0)).is_some());
        assert!(closed.admit(key(1)).is_none());
        closed.insert(later, key(1), &record(0, 100));

        assert_eq!(known(&closed, 0..9), [0, 1, 2, 3, 4]);
        assert_eq!(closed.iter().count(), 5);
    }

    #[test]
    fn of_a_peer_that_is_forgotten_only_what_it_sent_is_remembered() {
        let mut closed = Closed::new(Keyed(1), 9, 20, 20);
        let sent = |number| (Role::Sender, key(number).1);
        for number in 0..8 {
            let record = record(u32::from(number % 2 == 1), 10);
            closed.insert(Instant::ZERO, key(number), &record);
            closed.insert(Instant::ZERO, sent(number), &record);
        }

        closed.forget(1);

        assert_eq!(known(&closed, 0..8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let left = (0..8).filter(|number| closed.get(sent(*number)).is_some());
        assert_eq!(left.collect::<alloc::vec::Vec<_>>(), [0, 2, 4, 6]);
    }
}
