//! Packets that wait in memory allocated once.

use alloc::vec::Vec;
use core::mem;

use bytes::{Bytes, BytesMut};

/// A queue of packets with something about each.
///
/// Its memory is allocated when it is made, and again only where the application keeps the octets of a packet longer
/// than the ring takes to go round.
#[derive(Debug)]
pub(crate) struct PacketRing<T> {
    slots: Vec<(T, BytesMut)>,
    head: usize,
    len: usize,
    max_data: usize,
}

impl<T: Copy + Default> PacketRing<T> {
    pub(crate) fn new(packets: usize, max_data: usize) -> Self {
        Self {
            slots: (0..packets)
                .map(|_| (T::default(), buffer(max_data)))
                .collect(),
            head: 0,
            len: 0,
            max_data,
        }
    }

    /// Returns the bytes that a ring allocates.
    pub(crate) const fn footprint(packets: usize, max_data: usize) -> usize {
        packets * (size_of::<(T, BytesMut)>() + buffer_footprint(max_data))
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a packet of these pieces, if there is room and it is not too long.
    pub(crate) fn push(&mut self, about: T, pieces: &[&[u8]]) -> bool {
        let octets: usize = pieces.iter().map(|piece| piece.len()).sum();
        if octets > self.max_data {
            return false;
        }
        let max_data = self.max_data;
        let Some((place, buffer)) = self.slot_behind(0) else {
            return false;
        };
        *place = about;
        fill(buffer, max_data, pieces);
        self.len += 1;
        true
    }

    /// Returns the most packets that it holds.
    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Removes the next packet.
    pub(super) fn discard(&mut self) {
        if self.is_empty() {
            return;
        }
        self.len -= 1;
        self.head = (self.head + 1) % self.slots.len();
    }

    /// Lends the next packet.
    pub(super) fn front(&self) -> Option<(T, &[u8])> {
        if self.is_empty() {
            return None;
        }
        let (about, data) = self.slots.get(self.head)?;
        Some((*about, data))
    }

    /// Forgets all packets, and what stands behind them.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        for (about, buffer) in &mut self.slots {
            *about = T::default();
            buffer.clear();
        }
    }

    /// Lends what is known of a place behind the last packet, if the ring has it.
    pub(super) fn behind(&mut self, distance: usize) -> Option<&mut T> {
        let (about, _) = self.slot_behind(distance)?;
        Some(about)
    }

    fn slot_behind(&mut self, distance: usize) -> Option<&mut (T, BytesMut)> {
        let place = self.len + distance;
        if place >= self.slots.len() {
            return None;
        }
        let at = (self.head + place) % self.slots.len();
        self.slots.get_mut(at)
    }

    /// Puts a packet to a place behind the last one, if the ring has it.
    pub(super) fn fill_behind(&mut self, distance: usize, about: T, data: &[u8]) {
        let max_data = self.max_data;
        if let Some((place, buffer)) = self.slot_behind(distance) {
            *place = about;
            fill(buffer, max_data, &[data]);
        }
    }

    /// Takes what stands behind the last packet as the last one, if the ring has a place there.
    pub(super) fn extend(&mut self) {
        self.len += usize::from(self.len < self.slots.len());
    }

    /// Returns what is known of all places behind the last packet.
    pub(super) fn all_behind(&self) -> impl Iterator<Item = &T> {
        let behind = self.slots.iter().cycle().skip(self.head + self.len);
        let behind = behind.take(self.slots.len() - self.len);
        behind.map(|(about, _)| about)
    }

    /// Takes the next packet.
    pub(crate) fn pop(&mut self) -> Option<(T, Bytes)> {
        if self.is_empty() {
            return None;
        }
        let (about, buffer) = self.slots.get_mut(self.head)?;
        let taken = (mem::take(about), buffer.split().freeze());
        self.len -= 1;
        self.head = (self.head + 1) % self.slots.len();
        Some(taken)
    }
}

/// Allocates a buffer whose octets are lent out.
pub(crate) fn buffer(max_data: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(max_data);
    // Shared from the start, so that no count of its users is allocated with the first packet.
    drop(buffer.split());
    buffer
}

/// Returns the bytes that a buffer allocates: the octets, and a count of users with the allocation that it describes.
pub(crate) const fn buffer_footprint(max_data: usize) -> usize {
    max_data + size_of::<[usize; 8]>()
}

/// Puts a packet of these pieces in place of the one before.
pub(crate) fn fill(buffer: &mut BytesMut, max_data: usize, pieces: &[&[u8]]) {
    buffer.clear();
    buffer.reserve(max_data);
    for piece in pieces {
        buffer.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_in_order_and_the_newest_is_refused() {
        let mut ring = PacketRing::new(2, 4);
        assert!(ring.push(1, &[b"a", b"b"]));
        assert!(!ring.push(2, &[b"too ", b"long"]));
        assert!(ring.push(3, &[b"c"]));
        assert!(!ring.push(4, &[b"d"]), "it is full");

        assert_eq!(ring.front(), Some((1, &b"ab"[..])));
        assert_eq!(ring.pop(), Some((1, "ab".into())));
        assert!(ring.push(5, &[b"e"]));
        assert_eq!(ring.pop(), Some((3, "c".into())));
        assert_eq!(ring.pop(), Some((5, "e".into())));
        assert_eq!((ring.pop(), ring.len()), (None, 0));
    }
}
