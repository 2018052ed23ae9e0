//! The memory of closed sessions, against late duplicates (RFC 5326 section 9.2).

use alloc::collections::BTreeMap;

use super::auth::KeyHash;
use super::fingerprint::{Fingerprint, Judgment};
use super::peer::Role;
use super::table::{Keyed, Sessions};
use super::wire::{Data, SessionId};
use crate::Instant;

/// Records that one insertion forgets at most once they are over, so that none takes long.
const STEPS: usize = 4;

/// Closed sessions, each remembered until a time of its own.
///
/// Records that are kept about equally long are in one list, in the order in which they closed, so the one that is
/// over first is the first of a list. A record counts as forgotten once its time is over, whether or not its memory
/// was freed. Looking one up, adding and removing one take constant time.
#[derive(Debug)]
pub(super) struct Closed {
    /// The lists are those of peers, by the powers of two of nanoseconds for which records are kept.
    table: Sessions<SessionKey, Kept>,
    /// A bit for each list that may not be empty.
    used: u64,
    /// How often the peer of each slot was removed. What was sent to one before is forgotten.
    removals: BTreeMap<u32, u32>,
    max: usize,
}

pub(super) type SessionKey = (Role, SessionId);

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
    /// What the session carried, if it was received here.
    pub(super) fingerprint: Option<Fingerprint>,
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
    /// The green EOB was received and nothing red. `low` is the offset of the first green octet, `end` that behind the
    /// last of the block.
    GreenOnly {
        low: u64,
        end: u64,
    },
}

/// A record, with the removals of the peer in its slot before the session closed.
#[derive(Debug)]
struct Kept {
    record: Record,
    removals: u32,
}

impl Record {
    /// Judges a segment under the number of the session.
    pub(super) fn judge(&self, data: &Data<'_>) -> Judgment {
        let red = match self.end {
            End::Delivered { red, .. } => Some(red),
            End::Plain | End::GreenOnly { .. } => None,
        };
        let fingerprint = self.fingerprint.as_ref();
        fingerprint.map_or(Judgment::Undecided, |one| one.judge(data, red))
    }
}

impl Closed {
    pub(super) fn new(hasher: Keyed, max: u32) -> Self {
        Self {
            table: Sessions::new(hasher),
            used: 0,
            removals: BTreeMap::new(),
            max: usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    /// Remembers a session. One under the same key is forgotten, and the one that is over first beyond the limit.
    pub(super) fn insert(&mut self, now: Instant, key: SessionKey, record: Record) {
        self.expire(now, STEPS);
        if self.table.len() >= self.max || record.until <= now {
            self.remove(key);
            if self.max == 0 || record.until <= now {
                return;
            }
            if self.table.len() >= self.max {
                self.remove_first();
            }
        }
        let removals = self.removals_of(record.slot);
        // Below 64, as the time is not 0.
        let list = (record.until.as_nanos() - now.as_nanos()).ilog2();
        self.used |= 1 << list;
        self.table.insert(key, Kept { record, removals }, list);
    }

    /// Frees the memory of sessions that are over, of at most `steps`.
    pub(super) fn expire(&mut self, now: Instant, steps: usize) {
        let mut left = steps;
        let mut lists = self.used;
        while lists != 0 {
            let list = lists.trailing_zeros();
            while let Some(first) = self.first_of(list) {
                let kept = self.table.at(first);
                if left == 0 || kept.is_some_and(|(_, kept)| kept.record.until > now) {
                    break;
                }
                self.table.remove_at(first);
                left -= 1;
            }
            lists &= lists - 1;
        }
    }

    /// Returns the position of the first record of a list.
    fn first_of(&mut self, list: u32) -> Option<u32> {
        let first = self.table.oldest_of(list);
        if first.is_none() {
            self.used &= !(1 << list);
        }
        first
    }

    /// Forgets the oldest of those that are kept for the shortest time.
    fn remove_first(&mut self) {
        while self.used != 0 {
            if let Some(first) = self.first_of(self.used.trailing_zeros()) {
                return self.table.remove_at(first);
            }
        }
    }

    /// Forgets a session, which is opened again.
    pub(super) fn remove(&mut self, key: SessionKey) {
        if let Some(position) = self.table.position(&key) {
            self.table.remove_at(position);
        }
    }

    /// Returns the number of sessions.
    #[cfg(any(test, feature = "laws"))]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn get(&self, now: Instant, key: SessionKey) -> Option<&Record> {
        let kept = self.table.get(&key)?;
        self.is_kept(now, key.0, kept).then_some(&kept.record)
    }

    fn is_kept(&self, now: Instant, role: Role, kept: &Kept) -> bool {
        let record = &kept.record;
        let is_of_peer = role == Role::Receiver || kept.removals == self.removals_of(record.slot);
        record.until > now && is_of_peer
    }

    /// Changes the record of a session, if it is remembered. What becomes of `until` counts from now on.
    pub(super) fn change(
        &mut self,
        now: Instant,
        key: SessionKey,
        change: impl FnOnce(&mut Record),
    ) {
        if let Some(mut record) = self.get(now, key).copied() {
            change(&mut record);
            self.insert(now, key, record);
        }
    }

    /// Returns the sessions that are remembered.
    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = (SessionKey, &Record)> {
        let kept = self.table.iter();
        let kept = kept.filter(move |(key, kept)| self.is_kept(now, key.0, kept));
        kept.map(|(key, kept)| (*key, &kept.record))
    }

    /// Forgets the sessions sent to the peer in a slot, which nobody answers any more.
    ///
    /// Received ones stay. If the peer is added again, its late segments must not start them anew, or a block would be
    /// delivered twice, and a block of which half was claimed never.
    pub(super) fn forget_peer(&mut self, slot: u32) {
        let removals = self.removals.entry(slot).or_default();
        *removals = removals.wrapping_add(1);
    }

    fn removals_of(&self, slot: u32) -> u32 {
        self.removals.get(&slot).copied().unwrap_or(0)
    }

    pub(super) fn memory_used(&self) -> usize {
        self.table.memory_used() + self.removals.len() * 4 * size_of::<(u32, u32)>()
    }

    /// Returns the bytes that one record takes at most, with the spare capacity of tables that have grown.
    pub(super) const fn memory_per_entry() -> usize {
        Sessions::<SessionKey, Kept>::memory_per_entry()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn key(number: u64) -> SessionKey {
        let originator = 1;
        (Role::Receiver, SessionId { originator, number })
    }

    fn sent(number: u64) -> SessionKey {
        (Role::Sender, key(number).1)
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn record(slot: u32, until: u64) -> Record {
        Record {
            slot,
            until: at(until),
            key_hash: None,
            end: End::Plain,
            fingerprint: None,
        }
    }

    fn known(closed: &Closed, now: Instant, numbers: core::ops::Range<u64>) -> Vec<u64> {
        numbers
            .filter(|number| closed.get(now, key(*number)).is_some())
            .collect()
    }

    #[test]
    fn whatever_a_record_says_is_remembered_to_the_letter() {
        let mut closed = Closed::new(Keyed(1), 100);
        let (small, large) = (7, u64::MAX - 7);
        let delivered = |red, serial| End::Delivered { red, serial };
        let ends = [
            End::Plain,
            delivered(small, large),
            delivered(large, small),
            End::GreenOnly {
                low: small,
                end: large,
            },
        ];
        let marks = [None, Some(Fingerprint::new(large))];
        let keys = [None, Some(KeyHash::of(1, b"key"))];
        let records = keys.into_iter().flat_map(|key_hash| {
            marks.into_iter().flat_map(move |fingerprint| {
                ends.map(|end| Record {
                    key_hash,
                    end,
                    fingerprint,
                    ..record(3, 10)
                })
            })
        });
        for (number, record) in (0..).zip(records.clone()) {
            closed.insert(Instant::ZERO, key(number), record);
        }

        let listed = closed.iter(Instant::ZERO);
        for ((number, record), listed) in (0..).zip(records).zip(listed) {
            assert_eq!(closed.get(Instant::ZERO, key(number)), Some(&record));
            assert_eq!(listed, (key(number), &record));
        }
    }

    #[test]
    fn a_session_is_forgotten_when_its_time_is_over_though_no_other_closes() {
        let mut closed = Closed::new(Keyed(1), 1000);
        for number in 0..1000 {
            closed.insert(Instant::ZERO, key(number), record(0, 10));
        }

        assert_eq!(known(&closed, at(9), 0..1000).len(), 1000);
        assert!(known(&closed, at(10), 0..1000).is_empty());
        assert_eq!(closed.iter(at(10)).count(), 0);
    }

    #[test]
    fn beyond_the_limit_those_are_forgotten_that_are_over_first() {
        let mut closed = Closed::new(Keyed(1), 4);
        closed.insert(Instant::ZERO, key(0), record(0, 4000));
        for number in 1..8 {
            closed.insert(Instant::ZERO, key(number), record(0, 10));
        }

        assert_eq!(known(&closed, at(1), 0..9), [0, 5, 6, 7]);
    }

    #[test]
    fn with_room_for_none_nothing_is_remembered() {
        let mut closed = Closed::new(Keyed(1), 0);
        closed.insert(Instant::ZERO, key(0), record(0, 10));
        closed.forget_peer(7);

        assert!(known(&closed, Instant::ZERO, 0..9).is_empty());
        assert_eq!(closed.iter(Instant::ZERO).count(), 0);
    }

    #[test]
    fn memory_of_what_is_over_serves_what_closes_next() {
        let mut closed = Closed::new(Keyed(1), 1 << 18);
        for number in 0..100_000 {
            let now = at(number / 100);
            // Distant peers are remembered longer, and do not keep the others from going.
            let until = if number % 64 == 0 {
                50_000
            } else {
                number / 100 + 10
            };
            closed.insert(now, key(number), record(0, until));
        }

        let live = closed.iter(at(1000)).count();
        assert!((2400..2500).contains(&live), "{live}");
        assert!(closed.len() < 3000, "{}", closed.len());
        let most = 3000 * Closed::memory_per_entry();
        assert!(
            closed.memory_used() < most,
            "{} of {most}",
            closed.memory_used()
        );
    }

    #[test]
    fn freeing_what_is_over_takes_as_many_steps_as_are_allowed() {
        let mut closed = Closed::new(Keyed(1), 1000);
        for number in 0..100 {
            closed.insert(Instant::ZERO, key(number), record(0, 1 + number % 2 * 100));
        }

        closed.expire(at(500), 10);
        assert_eq!(closed.len(), 90);
        closed.expire(at(500), 1000);
        assert_eq!((closed.len(), closed.used), (0, 0));
    }

    #[test]
    fn a_session_that_is_opened_again_closes_anew_and_takes_no_more_memory() {
        let mut closed = Closed::new(Keyed(1), 1000);
        closed.insert(Instant::ZERO, key(0), record(0, 10));
        let green = End::GreenOnly {
            low: 3,
            end: u64::MAX,
        };
        for _ in 0..10_000 {
            closed.insert(Instant::ZERO, key(1), record(0, 10));
            closed.change(Instant::ZERO, key(1), |record| record.end = green);
            closed.remove(key(1));
            assert!(closed.get(Instant::ZERO, key(1)).is_none());
        }
        closed.insert(Instant::ZERO, key(1), record(0, 10));
        closed.change(Instant::ZERO, key(1), |record| record.end = green);

        assert_eq!(known(&closed, Instant::ZERO, 0..3), [0, 1]);
        let found = closed.get(Instant::ZERO, key(1)).map(|record| record.end);
        assert_eq!(found, Some(green));
        assert!(closed.memory_used() < 16 * Closed::memory_per_entry());
    }

    #[test]
    fn a_record_can_be_kept_longer_than_it_was_to_be() {
        let mut closed = Closed::new(Keyed(1), 1000);
        closed.insert(Instant::ZERO, key(0), record(0, 10));
        closed.change(at(9), key(0), |record| record.until = at(30));
        closed.change(at(9), key(1), |record| record.until = at(30));

        assert_eq!(known(&closed, at(29), 0..3), [0]);
        assert!(known(&closed, at(30), 0..3).is_empty());
    }

    #[test]
    fn of_a_peer_that_is_removed_only_what_it_sent_is_remembered() {
        let mut closed = Closed::new(Keyed(1), 20);
        for number in 0..8 {
            let record = record(u32::from(number % 2 == 1), 10);
            closed.insert(Instant::ZERO, key(number), record);
            closed.insert(Instant::ZERO, sent(number), record);
        }

        closed.forget_peer(1);

        assert_eq!(known(&closed, at(1), 0..8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let left = |closed: &Closed| -> Vec<u64> {
            let numbers = 0..9;
            let sent = numbers.filter(|number| closed.get(at(1), sent(*number)).is_some());
            sent.collect()
        };
        assert_eq!(left(&closed), [0, 2, 4, 6]);
        closed.insert(at(1), sent(8), record(1, 10));
        assert_eq!(
            left(&closed),
            [0, 2, 4, 6, 8],
            "of the next peer in the slot"
        );
        assert_eq!(closed.iter(at(1)).count(), 13);
    }

    #[test]
    fn it_agrees_with_a_list_that_is_searched_from_end_to_end() {
        let mut rng = crate::Seed::from(3).rng();
        let mut closed = Closed::new(Keyed(1), 1 << 10);
        let mut all: Vec<(u64, u64)> = Vec::new();
        for step in 0..20_000 {
            let now = step / 8;
            let number = rng.below(600);
            all.retain(|(other, until)| *other != number && *until > now);
            if rng.below(4) == 0 {
                closed.remove(key(number));
            } else {
                let until = now + (1 << rng.below(10));
                all.push((number, until));
                closed.insert(at(now), key(number), record(0, until));
            }
            let asked = rng.below(600);
            let until = closed.get(at(now), key(asked)).map(|record| record.until);
            let expected = all.iter().find(|(number, _)| *number == asked);
            assert_eq!(until, expected.map(|(_, until)| at(*until)), "step {step}");
        }
        assert_eq!(closed.iter(at(2499)).count(), all.len());
    }
}
