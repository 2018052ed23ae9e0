//! Deadlines that stand still while a peer is silent.

use alloc::vec::Vec;

use crate::Instant;

/// A table of deadlines, each under a key of the owner's: the earliest costs nothing to see, and setting
/// or stopping one costs a logarithm.
///
/// A timer can be frozen over a contact window (RFC 5326 sections 6.5 and 6.6): it then falls due only
/// after it was thawed.
#[derive(Debug, Clone)]
pub(super) struct Timers<K> {
    /// A binary heap of what is due when; frozen timers lie at its end of time.
    heap: Vec<(Instant, u32)>,
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
}

/// The handle of a running timer. It is spent once the timer fires or is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimerId(u32);

#[derive(Debug, Clone)]
struct Slot<K> {
    key: K,
    place: usize,
    deadline: Instant,
    /// When the peer is expected to transmit what the timer waits for.
    nominal: Instant,
    is_frozen: bool,
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
            heap: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Starts a timer. `None` once 2^32 of them run.
    pub(super) fn set(&mut self, due: Due, key: K, is_frozen: bool) -> Option<TimerId> {
        let place = self.heap.len();
        let slot = Slot {
            key,
            place,
            deadline: due.deadline,
            nominal: due.nominal,
            is_frozen,
        };
        let at = slot.due();
        let id = if let Some(id) = self.free.pop() {
            if let Some(old) = self.slot_mut(id) {
                *old = slot;
            }
            id
        } else {
            let id = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(slot);
            id
        };
        self.heap.push((at, id));
        self.rise(place);
        Some(TimerId(id))
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, TimerId(id): TimerId) {
        if let Some(place) = self.slot(id).map(|slot| slot.place) {
            self.remove(place);
        }
    }

    /// Returns when the next timer falls due.
    pub(super) fn next(&self) -> Option<Instant> {
        let (at, id) = *self.heap.first()?;
        self.slot(id).filter(|slot| !slot.is_frozen).map(|_| at)
    }

    /// Takes one timer that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, id) = *self.heap.first()?;
        let key = self.slot(id)?.key;
        self.remove(0);
        Some(key)
    }

    /// Freezes the chosen timers whose answer is not on its way yet (RFC 5326 section 6.5).
    pub(super) fn freeze(&mut self, now: Instant, is_meant: impl Fn(&K) -> bool) {
        self.change(|slot| {
            if !slot.is_frozen && slot.nominal >= now && is_meant(&slot.key) {
                slot.is_frozen = true;
            }
        });
    }

    /// Lets the chosen timers run again, later by as long as the peer was silent past the time at which its
    /// answer was expected to leave (RFC 5326 section 6.6).
    pub(super) fn thaw(&mut self, now: Instant, is_meant: impl Fn(&K) -> bool) {
        self.change(|slot| {
            if slot.is_frozen && is_meant(&slot.key) {
                slot.is_frozen = false;
                slot.deadline += now - slot.nominal;
            }
        });
    }

    /// Changes any timers, then puts the heap in order again.
    fn change(&mut self, mut change: impl FnMut(&mut Slot<K>)) {
        for (at, id) in &mut self.heap {
            if let Some(slot) = usize::try_from(*id)
                .ok()
                .and_then(|id| self.slots.get_mut(id))
            {
                change(slot);
                *at = slot.due();
            }
        }
        for place in (0..self.heap.len() / 2).rev() {
            self.sink(place);
        }
    }

    /// Returns how many timers run or are frozen.
    pub(super) const fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns the bytes of memory allocated.
    pub(super) const fn allocated(&self) -> usize {
        self.heap.capacity() * size_of::<(Instant, u32)>()
            + self.slots.capacity() * size_of::<Slot<K>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The bytes that one timer takes at most, with what growing vectors keep in reserve.
    pub(super) const fn weight() -> usize {
        2 * (size_of::<(Instant, u32)>() + size_of::<Slot<K>>() + size_of::<u32>())
    }

    fn remove(&mut self, place: usize) {
        if place >= self.heap.len() {
            return;
        }
        let (_, id) = self.heap.swap_remove(place);
        self.free.push(id);
        if let Some(slot) = self.slot_mut(id) {
            slot.place = usize::MAX;
        }
        if place < self.heap.len() {
            self.note(place);
            self.rise(place);
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.at(above) <= self.at(place) {
                break;
            }
            self.swap(place, above);
            place = above;
        }
        self.note(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let right = left + 1;
            if left >= self.heap.len() {
                break;
            }
            let lower = if right < self.heap.len() && self.at(right) < self.at(left) {
                right
            } else {
                left
            };
            if self.at(place) <= self.at(lower) {
                break;
            }
            self.swap(place, lower);
            place = lower;
        }
        self.note(place);
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one.max(other) < self.heap.len() {
            self.heap.swap(one, other);
            self.note(one);
            self.note(other);
        }
    }

    fn at(&self, place: usize) -> Instant {
        self.heap.get(place).map_or(Instant::MAX, |(at, _)| *at)
    }

    /// Tells the slot at `place` of the heap where it lies.
    fn note(&mut self, place: usize) {
        if let Some(&(_, id)) = self.heap.get(place)
            && let Some(slot) = self.slot_mut(id)
        {
            slot.place = place;
        }
    }

    fn slot(&self, id: u32) -> Option<&Slot<K>> {
        self.slots.get(usize::try_from(id).ok()?)
    }

    fn slot_mut(&mut self, id: u32) -> Option<&mut Slot<K>> {
        self.slots.get_mut(usize::try_from(id).ok()?)
    }
}

impl<K> Slot<K> {
    const fn due(&self) -> Instant {
        if self.is_frozen {
            Instant::MAX
        } else {
            self.deadline
        }
    }
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
        let mut chance = crate::Seed::from(9).chance();
        let ids: Vec<_> = (0..200_u64)
            .map(|key| {
                (
                    key,
                    timers.set(due(1 + chance.below(1000)), key, false).unwrap(),
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
        timers.set(due(100), 'a', false);
        timers.set(due(20), 'b', false);

        timers.freeze(at(30), |_| true);
        assert_eq!(timers.next(), Some(at(20)), "its answer is on the way");
        assert_eq!(timers.pop(at(500)), Some('b'));
        assert_eq!(timers.next(), None);
        timers.thaw(at(80), |_| true);

        assert_eq!(
            timers.next(),
            Some(at(130)),
            "deadline 100, and 80 - 50 of silence"
        );
    }

    #[test]
    fn a_thaw_never_shortens() {
        let mut timers = Timers::new();
        timers.set(due(100), (), false);

        timers.freeze(at(10), |()| true);
        timers.thaw(at(20), |()| true);

        assert_eq!(timers.next(), Some(at(100)));
    }
}
