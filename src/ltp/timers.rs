//! Deadlines that stand still while a peer is silent.

use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::Instant;

/// No timer: the end of a list.
const NONE: u32 = u32::MAX;

/// Lines of timers that ascend. Answers are waited for nearly always equally long, and guards longer.
const LINES: usize = 2;

/// A table of deadlines, each under a key of the owner's: the earliest costs nothing to see, and setting and
/// stopping one hardly more, as nearly all are set in the order in which they would fall due, and stopped in
/// it. Any other costs a logarithm.
///
/// A timer can be frozen over a contact window (RFC 5326 sections 6.5 and 6.6): it then falls due only
/// after it was thawed. Each belongs to a group, and freezing walks through the timers of one group alone.
#[derive(Debug, Clone)]
pub(super) struct Timers<K> {
    /// What is due when. What was stopped or frozen stays until it comes first, or until it is the most. The
    /// first of each line and the top of the heap are live.
    lines: [VecDeque<Entry>; LINES],
    /// What falls due before the last of all lines.
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

/// Deadline, stamp and place in the table.
type Entry = (Instant, u32, u32);

/// The handle of a running timer. It is spent once the timer fires or is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimerId(u32);

#[derive(Debug, Clone)]
struct Slot<K> {
    key: K,
    deadline: Instant,
    /// When the peer is expected to transmit what the timer waits for.
    nominal: Instant,
    group: u32,
    /// Its neighbours in the group.
    before: u32,
    behind: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// With the stamp of its entry in the heap.
    Running(u32),
    Frozen,
    Spent,
}

/// When a timer falls due, and when its answer is expected to leave the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) deadline: Instant,
    pub(super) nominal: Instant,
}

impl<K: Copy> Timers<K> {
    pub(super) const fn new() -> Self {
        Self {
            lines: [const { VecDeque::new() }; LINES],
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

    /// Starts a timer of `group`: a small number. `None` once 2^32 of them run.
    pub(super) fn set(&mut self, due: Due, group: u32, key: K, is_frozen: bool) -> Option<TimerId> {
        let slot = Slot {
            key,
            deadline: due.deadline,
            nominal: due.nominal,
            group,
            before: NONE,
            behind: NONE,
            stage: Stage::Frozen,
        };
        let id = if let Some(id) = self.free.pop() {
            *self.slot_mut(id)? = slot;
            id
        } else {
            let id = u32::try_from(self.slots.len())
                .ok()
                .filter(|id| *id != NONE)?;
            self.slots.push(slot);
            id
        };
        self.link(id, group);
        if is_frozen {
            self.frozen += 1;
        } else {
            self.run(id, due.deadline);
        }
        Some(TimerId(id))
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
        match self.line_for(deadline) {
            Some(line) => line.push_back(entry),
            None => self.heap.push(Reverse(entry)),
        }
    }

    /// The line that a deadline continues with the shortest step, or else an empty one.
    fn line_for(&mut self, deadline: Instant) -> Option<&mut VecDeque<Entry>> {
        let lines = self.lines.iter_mut();
        let fits = lines.filter(|line| line.back().is_none_or(|(last, ..)| *last <= deadline));
        fits.max_by_key(|line| line.back().map(|(last, ..)| *last))
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, TimerId(id): TimerId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let (group, before, behind) = (slot.group, slot.before, slot.behind);
        match core::mem::replace(&mut slot.stage, Stage::Spent) {
            Stage::Running(_) => self.running -= 1,
            Stage::Frozen => self.frozen -= 1,
            Stage::Spent => return,
        }
        self.unlink(group, before, behind);
        self.free.push(id);
        if self.running == 0 {
            self.lines.iter_mut().for_each(VecDeque::clear);
            self.heap.clear();
            self.next = None;
        } else if self.is_first(id) || self.is_wasteful() {
            self.tidy();
        }
    }

    /// Whether a timer comes first in a line or in the heap.
    fn is_first(&self, id: u32) -> bool {
        let is_it = |(.., first): &Entry| *first == id;
        self.lines.iter().filter_map(VecDeque::front).any(is_it)
            || self.heap.peek().is_some_and(|Reverse(top)| is_it(top))
    }

    /// Returns when the next timer falls due.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    fn first(&self) -> Option<&Entry> {
        let firsts = self.lines.iter().filter_map(VecDeque::front);
        let top = self.heap.peek().map(|Reverse(entry)| entry);
        firsts.chain(top).min()
    }

    /// Takes one timer that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let &(at, _, id) = self.first()?;
        if at > now {
            return None;
        }
        let key = self.slot(id)?.key;
        self.stop(TimerId(id));
        Some(key)
    }

    /// Freezes the timers of a group whose answer is not on its way yet (RFC 5326 section 6.5).
    pub(super) fn freeze(&mut self, group: u32, now: Instant) {
        let mut next = self.first_of(group);
        while let Some(slot) = self.slot_mut(next) {
            next = slot.behind;
            if matches!(slot.stage, Stage::Running(_)) && slot.nominal >= now {
                slot.stage = Stage::Frozen;
                self.running -= 1;
                self.frozen += 1;
            }
        }
        self.tidy();
    }

    /// Lets the timers of a group run again, later by as long as the peer was silent past the time at which
    /// the answer was expected to leave (RFC 5326 section 6.6).
    pub(super) fn thaw(&mut self, group: u32, now: Instant) {
        let mut id = self.first_of(group);
        while let Some(slot) = self.slot_mut(id) {
            let behind = slot.behind;
            if slot.stage == Stage::Frozen {
                slot.deadline += now - slot.nominal;
                let deadline = slot.deadline;
                self.frozen -= 1;
                self.run(id, deadline);
            }
            id = behind;
        }
    }

    /// Returns how many timers run or are frozen.
    pub(super) const fn len(&self) -> usize {
        self.running + self.frozen
    }

    /// Returns the bytes of memory allocated.
    pub(super) fn allocated(&self) -> usize {
        let in_lines: usize = self.lines.iter().map(VecDeque::capacity).sum();
        (self.heap.capacity() + in_lines) * size_of::<Entry>()
            + self.slots.capacity() * size_of::<Slot<K>>()
            + (self.free.capacity() + self.groups.capacity()) * size_of::<u32>()
    }

    /// The bytes that one timer takes at most, with what growing vectors keep in reserve, and one that was
    /// stopped beside it.
    pub(super) const fn weight() -> usize {
        let entries = (1 + LINES) * 2 * size_of::<Entry>();
        2 * (entries + size_of::<Slot<K>>() + 2 * size_of::<u32>())
    }

    /// Whether entries that no timer stands for are the most.
    fn is_wasteful(&self) -> bool {
        let in_lines: usize = self.lines.iter().map(VecDeque::len).sum();
        self.heap.len() + in_lines > 2 * self.running + 64
    }

    /// Drops entries that no timer stands for: those that come first, and all once they are the most.
    fn tidy(&mut self) {
        let slots = &self.slots;
        for line in &mut self.lines {
            while line.front().is_some_and(|entry| !is_live(slots, entry)) {
                line.pop_front();
            }
        }
        while let Some(Reverse(entry)) = self.heap.peek()
            && !is_live(slots, entry)
        {
            self.heap.pop();
        }
        if self.is_wasteful() {
            let slots = &self.slots;
            self.heap.retain(|Reverse(entry)| is_live(slots, entry));
            for line in &mut self.lines {
                line.retain(|entry| is_live(slots, entry));
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
            slot.behind = behind;
        }
        if let Some(slot) = self.slot_mut(behind) {
            slot.before = id;
        }
    }

    fn unlink(&mut self, group: u32, before: u32, behind: u32) {
        match self.slot_mut(before) {
            Some(slot) => slot.behind = behind,
            None => self.set_first(group, behind),
        }
        if let Some(slot) = self.slot_mut(behind) {
            slot.before = before;
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
            nominal: at(nanos / 2),
        }
    }

    #[test]
    fn timers_fall_due_in_order_and_stopped_ones_never() {
        let mut timers = Timers::new();
        let mut chance = crate::Seed::from(9).rng();
        let ids: Vec<_> = (0..200_u64)
            .map(|key| {
                (
                    key,
                    timers
                        .set(due(1 + chance.below(1000)), 0, key, false)
                        .unwrap(),
                )
            })
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
    fn a_frozen_timer_waits_for_the_thaw_and_gains_the_silence_behind_its_nominal_time() {
        let mut timers = Timers::new();
        timers.set(due(100), 3, 'a', false);
        timers.set(due(20), 3, 'b', false);

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
    fn a_thaw_never_shortens() {
        let mut timers = Timers::new();
        timers.set(due(100), 0, (), false);

        timers.freeze(0, at(10));
        timers.thaw(0, at(20));

        assert_eq!(timers.next(), Some(at(100)));
    }

    #[test]
    fn freezing_one_group_leaves_the_others_running() {
        let mut timers = Timers::new();
        let ids: Vec<_> = (0..30)
            .map(|key| {
                timers
                    .set(due(100 + u64::from(key)), key % 3, key, false)
                    .unwrap()
            })
            .collect();
        timers.stop(ids[4]);
        timers.stop(ids[28]);

        timers.freeze(1, at(10));
        timers.stop(ids[7]);
        let frozen = timers.set(due(90), 1, 99, true).unwrap();
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
        timers.set(due(1), 0, 0, false);
        for key in 0..100_000 {
            let id = timers.set(due(1000 + key), 0, key, false).unwrap();
            timers.stop(id);
        }

        assert_eq!(timers.len(), 1);
        assert!(timers.allocated() < 8192, "{}", timers.allocated());
    }
}
