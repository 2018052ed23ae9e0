//! Packets received and not taken by the application, in order and out of order.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::csp::ring::{buffer, buffer_footprint, fill};
use crate::csp::wire::SequenceNumber;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::csp) enum DataKind {
    /// Whole.
    Packet,
    /// A fragment of SFP, with its trailer.
    Fragment,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It was the next one, and so many packets are in order with it.
    InOrder,
    /// It waits for those before it.
    Ahead,
    /// It came before.
    Duplicate,
    /// The application has not taken enough.
    NoRoom,
}

/// A ring of packets, from the next one that the application takes on.
///
/// Its memory is allocated when it is made. It is allocated again only where the application keeps the octets of a
/// packet longer than the ring takes to go round.
#[derive(Debug)]
pub(super) struct ReceiveQueue {
    slots: Vec<Slot>,
    /// The place of the next packet to take.
    head: usize,
    /// Packets in order that are not taken.
    ready: u16,
    /// Packets out of order.
    ahead: u16,
    /// RCV.CUR: the last number received in order.
    current: SequenceNumber,
    /// Octets of the longest packet.
    max_data: usize,
}

#[derive(Debug)]
struct Slot {
    octets: BytesMut,
    kind: DataKind,
    is_filled: bool,
}

impl ReceiveQueue {
    pub(super) fn new(packets: u16, max_data: usize) -> Self {
        let slot = |_| Slot {
            octets: buffer(max_data),
            kind: DataKind::Packet,
            is_filled: false,
        };
        Self {
            slots: (0..packets).map(slot).collect(),
            head: 0,
            ready: 0,
            ahead: 0,
            current: SequenceNumber(0),
            max_data,
        }
    }

    /// Begins behind the initial sequence number of a peer.
    pub(super) fn reset(&mut self, initial: SequenceNumber) {
        for slot in &mut self.slots {
            slot.octets.clear();
            slot.is_filled = false;
        }
        self.ready = 0;
        self.ahead = 0;
        self.current = initial;
    }

    pub(super) const fn current(&self) -> SequenceNumber {
        self.current
    }

    pub(super) const fn has_gap(&self) -> bool {
        self.ahead > 0
    }

    pub(super) const fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// Takes a packet that is `RCV.CUR + 1 + distance`.
    pub(super) fn insert(&mut self, distance: u16, data: &[u8], kind: DataKind) -> Inserted {
        let place = usize::from(self.ready) + usize::from(distance);
        let max_data = self.max_data;
        let Some(slot) = self.slot(place) else {
            return Inserted::NoRoom;
        };
        if slot.is_filled {
            return Inserted::Duplicate;
        }
        fill(&mut slot.octets, max_data, &[data]);
        slot.kind = kind;
        slot.is_filled = true;
        self.ahead += 1;
        if distance > 0 {
            return Inserted::Ahead;
        }
        while self
            .slot(usize::from(self.ready))
            .is_some_and(|it| it.is_filled)
        {
            self.ready += 1;
            self.ahead -= 1;
            self.current = self.current.plus(1);
        }
        Inserted::InOrder
    }

    /// Takes the next packet in order.
    pub(super) fn take(&mut self) -> Option<(Bytes, DataKind)> {
        self.ready = self.ready.checked_sub(1)?;
        let slot = self.slot(0)?;
        slot.is_filled = false;
        let taken = (slot.octets.split().freeze(), slot.kind);
        self.head = (self.head + 1) % self.slots.len();
        Some(taken)
    }

    /// Returns the numbers that were received out of order.
    pub(super) fn numbers_ahead(&self) -> impl Iterator<Item = SequenceNumber> {
        let first = usize::from(self.ready);
        let all = self.slots.iter().cycle().skip(self.head + first);
        let all = all.take(self.slots.len() - first);
        all.zip(1..)
            .filter(|(slot, _)| slot.is_filled)
            .map(|(_, distance)| self.current.plus(distance))
    }

    /// Returns the slot so many places behind the next one to take; there are none behind the last.
    fn slot(&mut self, place: usize) -> Option<&mut Slot> {
        if place >= self.slots.len() {
            return None;
        }
        let at = (self.head + place) % self.slots.len();
        self.slots.get_mut(at)
    }

    /// Returns the bytes that a ring allocates.
    pub(super) const fn footprint(packets: u16, max_data: usize) -> usize {
        packets as usize * (size_of::<Slot>() + buffer_footprint(max_data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: SequenceNumber = SequenceNumber(u16::MAX);

    fn queue(packets: u16) -> ReceiveQueue {
        let mut queue = ReceiveQueue::new(packets, 10);
        queue.reset(LAST);
        queue
    }

    fn insert(queue: &mut ReceiveQueue, distance: u16, data: &[u8]) -> Inserted {
        queue.insert(distance, data, DataKind::Packet)
    }

    fn take(queue: &mut ReceiveQueue) -> Option<Bytes> {
        queue.take().map(|(data, _)| data)
    }

    #[test]
    fn packets_are_taken_in_order_whatever_order_they_came_in() {
        let mut queue = queue(3);

        assert_eq!(insert(&mut queue, 2, b"c"), Inserted::Ahead);
        assert_eq!(insert(&mut queue, 1, b"b"), Inserted::Ahead);
        assert_eq!(take(&mut queue), None);
        let ahead: Vec<_> = queue.numbers_ahead().map(|number| number.0).collect();
        assert_eq!(ahead, [1, 2]);
        assert_eq!(insert(&mut queue, 2, b"c"), Inserted::Duplicate);
        assert_eq!(insert(&mut queue, 0, b"a"), Inserted::InOrder);

        assert_eq!(queue.current(), SequenceNumber(2));
        assert!(!queue.has_gap());
        for data in ["a", "b", "c"] {
            assert_eq!(take(&mut queue), Some(Bytes::from(data)));
        }
        assert_eq!(take(&mut queue), None);
    }

    #[test]
    fn packets_that_are_not_taken_leave_no_room() {
        let mut queue = queue(2);
        assert_eq!(insert(&mut queue, 2, b"c"), Inserted::NoRoom);
        assert_eq!(insert(&mut queue, 0, b"a"), Inserted::InOrder);
        assert_eq!(insert(&mut queue, 0, b"b"), Inserted::InOrder);
        assert_eq!(insert(&mut queue, 0, b"c"), Inserted::NoRoom);

        assert_eq!(take(&mut queue), Some(Bytes::from("a")));

        assert_eq!(insert(&mut queue, 0, b"c"), Inserted::InOrder);
        assert_eq!(insert(&mut queue, 0, b"d"), Inserted::NoRoom);
        assert_eq!(take(&mut queue), Some(Bytes::from("b")));
        assert_eq!(take(&mut queue), Some(Bytes::from("c")));
    }

    #[test]
    fn a_queue_of_another_connection_begins_empty() {
        let mut queue = queue(2);
        insert(&mut queue, 0, b"a");
        insert(&mut queue, 1, b"c");

        queue.reset(SequenceNumber(7));

        assert_eq!((take(&mut queue), queue.has_gap()), (None, false));
        assert_eq!(insert(&mut queue, 0, b"x"), Inserted::InOrder);
        assert_eq!(queue.current(), SequenceNumber(8));
        assert_eq!(take(&mut queue), Some(Bytes::from("x")));
    }
}
