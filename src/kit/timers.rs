//! Deadlines that can stand still.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::num::NonZeroU32;

use crate::Instant;

/// No timer: the end of a list.
const NONE: u32 = u32::MAX;

/// Queues of ascending deadlines. Most timers of a protocol run equally long, and its guards longer.
const QUEUES: usize = 2;

/// A table of deadlines, each under a key of the caller's, that gives them earliest first.
///
/// Reading the earliest deadline costs nothing. Setting and stopping a timer takes constant time when timers
/// are set in about the order of their deadlines and stopped in that order, and a logarithm otherwise. Of
/// timers with equal deadlines the one set first falls due first.
///
/// Each timer belongs to a group, such as one peer. [`freeze`](Self::freeze) lets the timers of a group stand
/// still while the peer cannot answer, and [`thaw`](Self::thaw) lets them run on (RFC 5326 sections 6.5 and
/// 6.6). Both take time in proportion to the timers of that group.
///
/// ```
/// use farlink::{Instant, kit::Timers};
///
/// let at = Instant::from_nanos;
/// let mut timers = Timers::new();
/// let late = timers.set(at(20), 0, "late");
/// timers.set(at(10), 0, "early");
///
/// assert_eq!(timers.next(), Some(at(10)));
/// assert_eq!(timers.pop(at(15)), Some("early"));
/// assert_eq!(timers.pop(at(15)), None, "the other is not due");
/// timers.stop(late.unwrap());
/// assert_eq!(timers.next(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Timers<K> {
    /// What is due when. An entry of a timer that was stopped or frozen stays until it comes first, or until
    /// most entries are such. The first of each queue and the top of the heap are live.
    queues: [VecDeque<Entry>; QUEUES],
    /// What falls due before the last of all queues.
    heap: BinaryHeap<Reverse<Entry>>,
    /// The earliest of all.
    next: Option<Instant>,
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
    /// The first timer of each group.
    groups: Vec<u32>,
    running: usize,
    frozen: usize,
    stamp: u32,
}

/// Deadline, stamp and index of the slot.
type Entry = (Instant, u32, u32);

/// Identifies a timer that was set. Once the timer has fired or was stopped, the ID identifies none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Debug, Clone)]
struct Slot<K> {
    key: K,
    deadline: Instant,
    expected: Instant,
    group: u32,
    /// Its neighbours in the group.
    previous: u32,
    following: u32,
    generation: NonZeroU32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// With the stamp of its entry.
    Running(u32),
    Frozen,
    Stopped,
}

/// When a timer falls due, and when the peer is expected to send what the timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When the timer falls due.
    pub deadline: Instant,
    /// When the awaited answer is expected to leave the peer. A freeze after this time leaves the timer
    /// running, as the answer is on its way.
    pub expected: Instant,
}

impl Due {
    /// A deadline of this end's own, which no freeze touches.
    #[must_use]
    pub const fn local(deadline: Instant) -> Self {
        Self {
            deadline,
            expected: Instant::ZERO,
        }
    }
}

impl From<Instant> for Due {
    /// A deadline by which the peer is expected to send.
    fn from(deadline: Instant) -> Self {
        Self {
            deadline,
            expected: deadline,
        }
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Timers<K> {
    /// Makes a table without timers, which allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queues: [const { VecDeque::new() }; QUEUES],
            heap: BinaryHeap::new(),
            next: None,
            slots: Vec::new(),
            free: Vec::new(),
            groups: Vec::new(),
            running: 0,
            frozen: 0,
            stamp: 0,
        }
    }
}

impl<K: Copy> Timers<K> {
    /// Starts a timer of `group`. Groups are small numbers: memory is taken for all up to the highest.
    ///
    /// `None` when 2^32 - 1 timers are set.
    pub fn set(&mut self, due: impl Into<Due>, group: u32, key: K) -> Option<TimerId> {
        let due = due.into();
        let id = self.insert(due, group, key)?;
        self.run(id.index, due.deadline);
        Some(id)
    }

    /// Adds a timer that is frozen from the beginning, for a group that is frozen.
    ///
    /// `None` when 2^32 - 1 timers are set.
    pub fn set_frozen(&mut self, due: impl Into<Due>, group: u32, key: K) -> Option<TimerId> {
        let id = self.insert(due.into(), group, key)?;
        self.frozen += 1;
        Some(id)
    }

    fn insert(&mut self, due: Due, group: u32, key: K) -> Option<TimerId> {
        let mut slot = Slot {
            key,
            deadline: due.deadline,
            expected: due.expected,
            group,
            previous: NONE,
            following: NONE,
            generation: NonZeroU32::MIN,
            stage: Stage::Frozen,
        };
        let index = if let Some(index) = self.free.pop() {
            let old = self.slot_mut(index)?;
            slot.generation = old.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
            *old = slot;
            index
        } else {
            let index = u32::try_from(self.slots.len());
            let index = index.ok().filter(|index| *index != NONE)?;
            self.slots.push(slot);
            index
        };
        self.link(index, group);
        let generation = self.slot(index)?.generation;
        Some(TimerId { index, generation })
    }

    /// Puts a timer behind those due before it. Of several with one deadline, the first set is the first due.
    fn run(&mut self, id: u32, deadline: Instant) {
        self.stamp = self.stamp.wrapping_add(1);
        let stamp = self.stamp;
        if let Some(slot) = self.slot_mut(id) {
            slot.stage = Stage::Running(stamp);
        }
        self.running += 1;
        if self.next.is_none_or(|next| deadline < next) {
            self.next = Some(deadline);
        }
        let entry = (deadline, stamp, id);
        match self.queue_for(deadline) {
            Some(queue) => queue.push_back(entry),
            None => self.heap.push(Reverse(entry)),
        }
    }

    /// The queue whose last deadline is the closest before this one, or else an empty one.
    fn queue_for(&mut self, deadline: Instant) -> Option<&mut VecDeque<Entry>> {
        let queues = self.queues.iter_mut();
        let fits = queues.filter(|queue| queue.back().is_none_or(|(last, ..)| *last <= deadline));
        fits.max_by_key(|queue| queue.back().map(|(last, ..)| *last))
    }

    /// Stops a timer. One that has fired or was stopped before is left alone.
    pub fn stop(&mut self, id: TimerId) {
        if self.slot(id.index).map(|slot| slot.generation) == Some(id.generation) {
            self.stop_at(id.index);
        }
    }

    fn stop_at(&mut self, id: u32) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let (group, before, behind) = (slot.group, slot.previous, slot.following);
        match core::mem::replace(&mut slot.stage, Stage::Stopped) {
            Stage::Running(_) => self.running -= 1,
            Stage::Frozen => self.frozen -= 1,
            Stage::Stopped => return,
        }
        self.unlink(group, before, behind);
        self.free.push(id);
        if self.running == 0 {
            self.queues.iter_mut().for_each(VecDeque::clear);
            self.heap.clear();
            self.next = None;
        } else if self.is_first(id) || self.is_mostly_stale() {
            self.prune();
        }
    }

    /// Whether a timer comes first in a queue or in the heap.
    fn is_first(&self, id: u32) -> bool {
        let is_it = |(.., first): &Entry| *first == id;
        self.queues.iter().filter_map(VecDeque::front).any(is_it)
            || self.heap.peek().is_some_and(|Reverse(top)| is_it(top))
    }

    /// Returns when the next timer falls due.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    fn first(&self) -> Option<&Entry> {
        let firsts = self.queues.iter().filter_map(VecDeque::front);
        let top = self.heap.peek().map(|Reverse(entry)| entry);
        firsts.chain(top).min()
    }

    /// Takes one timer that is due at `now`, and returns its key.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let &(at, _, id) = self.first()?;
        if at > now {
            return None;
        }
        let key = self.slot(id)?.key;
        self.stop_at(id);
        Some(key)
    }

    /// Freezes the timers of a group whose answer is not on its way yet: those expected at `now` or later (RFC
    /// 5326 section 6.5).
    pub fn freeze(&mut self, group: u32, now: Instant) {
        let mut next = self.first_of(group);
        while let Some(slot) = self.slot_mut(next) {
            next = slot.following;
            if matches!(slot.stage, Stage::Running(_)) && slot.expected >= now {
                slot.stage = Stage::Frozen;
                self.running -= 1;
                self.frozen += 1;
            }
        }
        self.prune();
    }

    /// Lets the frozen timers of a group run on. Each deadline moves by the time from when the answer was
    /// expected to leave the peer until `now`, and never to an earlier time (RFC 5326 section 6.6).
    pub fn thaw(&mut self, group: u32, now: Instant) {
        let mut id = self.first_of(group);
        while let Some(slot) = self.slot_mut(id) {
            let behind = slot.following;
            if slot.stage == Stage::Frozen {
                slot.deadline += now - slot.expected;
                let deadline = slot.deadline;
                self.frozen -= 1;
                self.run(id, deadline);
            }
            id = behind;
        }
    }

    /// Returns how many timers run or are frozen.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.running + self.frozen
    }

    /// Tells whether no timer is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of memory allocated.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        let in_queues: usize = self.queues.iter().map(VecDeque::capacity).sum();
        (self.heap.capacity() + in_queues) * size_of::<Entry>()
            + self.slots.capacity() * size_of::<Slot<K>>()
            + (self.free.capacity() + self.groups.capacity()) * size_of::<u32>()
    }

    /// Returns the bytes that one timer takes at most, with the spare capacity of vectors that have grown and
    /// the entry of one timer that was stopped.
    #[must_use]
    pub const fn memory_per_timer() -> usize {
        let entries = (1 + QUEUES) * 2 * size_of::<Entry>();
        2 * (entries + size_of::<Slot<K>>() + 2 * size_of::<u32>())
    }

    /// Whether most entries are those of timers that were stopped or frozen.
    fn is_mostly_stale(&self) -> bool {
        let in_queues: usize = self.queues.iter().map(VecDeque::len).sum();
        self.heap.len() + in_queues > 2 * self.running + 64
    }

    /// Drops entries of timers that were stopped or frozen: those that come first, and all once they are most.
    fn prune(&mut self) {
        let slots = &self.slots;
        for queue in &mut self.queues {
            while queue.front().is_some_and(|entry| !is_live(slots, entry)) {
                queue.pop_front();
            }
        }
        while let Some(Reverse(entry)) = self.heap.peek()
            && !is_live(slots, entry)
        {
            self.heap.pop();
        }
        if self.is_mostly_stale() {
            let slots = &self.slots;
            self.heap.retain(|Reverse(entry)| is_live(slots, entry));
            for queue in &mut self.queues {
                queue.retain(|entry| is_live(slots, entry));
            }
        }
        self.next = self.first().map(|(at, ..)| *at);
    }

    fn first_of(&self, group: u32) -> u32 {
        let first = usize::try_from(group)
            .ok()
            .and_then(|group| self.groups.get(group));
        first.copied().unwrap_or(NONE)
    }

    fn set_first(&mut self, group: u32, id: u32) {
        let Ok(group) = usize::try_from(group) else {
            return;
        };
        if group >= self.groups.len() {
            self.groups.resize(group + 1, NONE);
        }
        if let Some(first) = self.groups.get_mut(group) {
            *first = id;
        }
    }

    fn link(&mut self, id: u32, group: u32) {
        let behind = self.first_of(group);
        self.set_first(group, id);
        if let Some(slot) = self.slot_mut(id) {
            slot.following = behind;
        }
        if let Some(slot) = self.slot_mut(behind) {
            slot.previous = id;
        }
    }

    fn unlink(&mut self, group: u32, before: u32, behind: u32) {
        match self.slot_mut(before) {
            Some(slot) => slot.following = behind,
            None => self.set_first(group, behind),
        }
        if let Some(slot) = self.slot_mut(behind) {
            slot.previous = before;
        }
    }

    fn slot(&self, id: u32) -> Option<&Slot<K>> {
        self.slots.get(usize::try_from(id).ok()?)
    }

    fn slot_mut(&mut self, id: u32) -> Option<&mut Slot<K>> {
        self.slots.get_mut(usize::try_from(id).ok()?)
    }
}

#[inline]
fn is_live<K>(slots: &[Slot<K>], (_, stamp, id): &Entry) -> bool {
    usize::try_from(*id)
        .ok()
        .and_then(|id| slots.get(id))
        .is_some_and(|slot| slot.stage == Stage::Running(*stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn due(nanos: u64) -> Due {
        Due {
            deadline: at(nanos),
            expected: at(nanos / 2),
        }
    }

    #[test]
    fn timers_fall_due_in_order_and_stopped_ones_never() {
        let mut timers = Timers::new();
        let mut rng = crate::Seed::from(9).rng();
        let ids: Vec<_> = (0..200_u64)
            .map(|key| (key, timers.set(due(1 + rng.below(1000)), 0, key).unwrap()))
            .collect();
        for (_, id) in ids.iter().filter(|(key, _)| key % 3 == 0) {
            timers.stop(*id);
        }

        let mut last = Instant::ZERO;
        let mut fired = 0;
        while let Some(next) = timers.next() {
            assert!(next >= last);
            last = next;
            assert!(timers.pop(next).unwrap() % 3 != 0);
            fired += 1;
        }

        assert_eq!(fired, 133);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_frozen_timer_waits_for_the_thaw_and_gains_the_silence_behind_its_expected_time() {
        let mut timers = Timers::new();
        timers.set(due(100), 3, 'a');
        timers.set(due(20), 3, 'b');

        timers.freeze(3, at(30));
        assert_eq!(timers.next(), Some(at(20)), "its answer is on the way");
        assert_eq!(timers.pop(at(500)), Some('b'));
        assert_eq!(timers.next(), None);
        timers.thaw(3, at(80));

        assert_eq!(
            timers.next(),
            Some(at(130)),
            "deadline 100, and 80 - 50 of silence"
        );
    }

    #[test]
    fn the_id_of_a_timer_that_fired_does_not_stop_the_next_one() {
        let mut timers = Timers::new();
        let first = timers.set(at(1), 0, 'a').unwrap();
        assert_eq!(timers.pop(at(1)), Some('a'));
        let second = timers.set(at(2), 0, 'b').unwrap();

        timers.stop(first);

        assert_eq!(timers.next(), Some(at(2)));
        timers.stop(second);
        assert!(timers.is_empty());
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }

    #[test]
    fn a_local_deadline_is_not_frozen() {
        let mut timers = Timers::new();
        timers.set(Due::local(at(100)), 0, 'a');
        timers.set(at(100), 0, 'b');

        timers.freeze(0, at(50));

        assert_eq!(timers.pop(at(100)), Some('a'));
        assert_eq!(timers.pop(at(100)), None);
        timers.thaw(0, at(150));
        assert_eq!(timers.next(), Some(at(150)));
    }

    #[test]
    fn a_thaw_never_shortens() {
        let mut timers = Timers::new();
        timers.set(due(100), 0, ());

        timers.freeze(0, at(10));
        timers.thaw(0, at(20));

        assert_eq!(timers.next(), Some(at(100)));
    }

    #[test]
    fn freezing_one_group_leaves_the_others_running() {
        let mut timers = Timers::new();
        let ids: Vec<_> = (0..30)
            .map(|key| timers.set(due(100 + u64::from(key)), key % 3, key).unwrap())
            .collect();
        timers.stop(ids[4]);
        timers.stop(ids[28]);

        timers.freeze(1, at(10));
        timers.stop(ids[7]);
        let frozen = timers.set_frozen(due(90), 1, 99).unwrap();
        timers.stop(frozen);
        let fired: Vec<u32> = core::iter::from_fn(|| timers.pop(at(1000))).collect();

        assert_eq!(
            fired,
            (0..30).filter(|key| key % 3 != 1).collect::<Vec<_>>()
        );
        assert_eq!(timers.len(), 7);
        timers.thaw(1, at(10));
        let thawed: Vec<u32> = core::iter::from_fn(|| timers.pop(at(1000))).collect();
        assert_eq!(thawed, [1, 10, 13, 16, 19, 22, 25]);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn what_is_stopped_leaves_no_memory_behind() {
        let mut timers = Timers::new();
        timers.set(due(1), 0, 0);
        for key in 0..100_000 {
            let id = timers.set(due(1000 + key), 0, key).unwrap();
            timers.stop(id);
        }

        assert_eq!(timers.len(), 1);
        assert!(timers.memory_used() < 8192, "{}", timers.memory_used());
    }
}
