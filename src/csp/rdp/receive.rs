//! Packets received and not taken by the application, in order and out of order.

use core::mem;

use bytes::Bytes;

use crate::csp::ring::PacketRing;
use crate::csp::wire::SequenceNumber;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::csp) enum DataKind {
    /// Whole.
    #[default]
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

/// Packets from the next one that the application takes on, in memory that is allocated when the queue is made.
#[derive(Debug)]
pub(super) struct ReceiveQueue {
    /// Those in order that are not taken, and behind them places for those out of order.
    ring: PacketRing<Place>,
    /// Packets out of order.
    ahead: u16,
    /// RCV.CUR: the last number received in order.
    current: SequenceNumber,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    kind: DataKind,
    is_filled: bool,
}

impl ReceiveQueue {
    pub(super) fn new(packets: u16, max_data: usize) -> Self {
        Self {
            ring: PacketRing::new(usize::from(packets), max_data),
            ahead: 0,
            current: SequenceNumber(0),
        }
    }

    /// Begins behind the initial sequence number of a peer.
    pub(super) fn reset(&mut self, initial: SequenceNumber) {
        self.ring.clear();
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
        !self.ring.is_empty()
    }

    /// Takes a packet that is `RCV.CUR + 1 + distance`.
    pub(super) fn insert(&mut self, distance: u16, data: &[u8], kind: DataKind) -> Inserted {
        let is_filled = match self.ring.behind(distance.into()) {
            None => return Inserted::NoRoom,
            Some(place) => mem::replace(&mut place.is_filled, true),
        };
        if is_filled {
            return Inserted::Duplicate;
        }
        let is_filled = true;
        self.ring
            .fill_behind(distance.into(), Place { kind, is_filled }, data);
        self.ahead += 1;
        if distance > 0 {
            return Inserted::Ahead;
        }
        while self.ring.behind(0).is_some_and(|it| it.is_filled) {
            self.ring.extend();
            self.ahead -= 1;
            self.current = self.current.plus(1);
        }
        Inserted::InOrder
    }

    /// Takes the next packet in order.
    pub(super) fn take(&mut self) -> Option<(Bytes, DataKind)> {
        let (place, data) = self.ring.pop()?;
        Some((data, place.kind))
    }

    /// Returns the numbers that were received out of order.
    pub(super) fn numbers_ahead(&self) -> impl Iterator<Item = SequenceNumber> {
        let places = self.ring.all_behind().zip(1..);
        places
            .filter(|(place, _)| place.is_filled)
            .map(|(_, distance)| self.current.plus(distance))
    }

    /// Returns the bytes that a queue allocates.
    pub(super) const fn footprint(packets: u16, max_data: usize) -> usize {
        PacketRing::<Place>::footprint(packets as usize, max_data)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

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
