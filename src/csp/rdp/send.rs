//! Packets that are not acknowledged.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::Bytes;

use crate::Instant;
use crate::csp::wire::{SequenceNumber, SfpTrailer};

/// Packets of the application, from the first one that is not acknowledged on.
#[derive(Debug)]
pub(super) struct SendQueue {
    packets: VecDeque<Outgoing>,
    capacity: u16,
    /// SND.UNA: the number of the first packet.
    unacknowledged: SequenceNumber,
    /// Packets that were sent at least once.
    sent: u16,
    /// Packets to be sent again.
    lost: u16,
    /// Transmissions so far, of which each packet has the number of its last one.
    transmissions: u64,
}

#[derive(Debug)]
struct Outgoing {
    data: Bytes,
    /// Where the data belong, if they are a fragment.
    fragment: Option<SfpTrailer>,
    /// The time and the number of the last transmission.
    sent_at: Instant,
    transmission: u64,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Queued,
    SentOnce,
    SentAgain,
    /// It was sent and is to be sent again.
    Lost,
    /// An EACK has named it.
    ReceivedAhead,
}

/// What an acknowledgement tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) packets: u16,
    /// The time since the last of them was sent, if none of them was sent again: the acknowledgement of one behind a
    /// gap has waited for the repair of the gap.
    pub(super) sample: Option<Duration>,
}

/// A packet to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextPacket<'a> {
    place: u16,
    pub(super) sequence: SequenceNumber,
    pub(super) data: &'a Bytes,
    pub(super) fragment: Option<SfpTrailer>,
}

impl SendQueue {
    pub(super) fn new(capacity: u16) -> Self {
        Self {
            packets: VecDeque::with_capacity(usize::from(capacity)),
            capacity,
            unacknowledged: SequenceNumber(0),
            sent: 0,
            lost: 0,
            transmissions: 0,
        }
    }

    /// Begins with the number behind the initial one.
    pub(super) fn reset(&mut self, initial: SequenceNumber) {
        self.packets.clear();
        self.unacknowledged = initial.plus(1);
        self.sent = 0;
        self.lost = 0;
    }

    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= usize::from(self.capacity)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the packets that are not acknowledged, sent or not.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Returns the packets that were sent and are not acknowledged.
    pub(super) const fn outstanding(&self) -> u16 {
        self.sent
    }

    /// Tells whether each packet was sent at least once.
    pub(super) fn is_all_sent(&self) -> bool {
        usize::from(self.sent) == self.packets.len()
    }

    /// SND.NXT: the number of the next packet that was not sent.
    pub(super) const fn next_number(&self) -> SequenceNumber {
        self.unacknowledged.plus(self.sent)
    }

    /// Adds a packet, if there is room.
    pub(super) fn push(&mut self, data: Bytes, fragment: Option<SfpTrailer>) -> bool {
        if self.is_full() {
            return false;
        }
        self.packets.push_back(Outgoing {
            data,
            fragment,
            sent_at: Instant::ZERO,
            transmission: 0,
            status: Status::Queued,
        });
        true
    }

    /// Tells whether an acknowledgement number is one that a peer of this window can send. One that was overtaken is.
    pub(super) const fn can_acknowledge(&self, number: SequenceNumber, window: u16) -> bool {
        let before = window.saturating_mul(2).saturating_add(1);
        number.is_within(
            self.unacknowledged.minus(before),
            before.saturating_add(self.sent),
        )
    }

    /// Takes an acknowledgement number. An overtaken one acknowledges nothing.
    pub(super) fn acknowledge(&mut self, now: Instant, number: SequenceNumber) -> Acknowledged {
        let packets = number.plus(1).distance(self.unacknowledged);
        let mut told = Acknowledged {
            packets: 0,
            sample: None,
        };
        if packets > self.sent {
            return told;
        }
        let mut is_clear = true;
        for _ in 0..packets {
            let Some(packet) = self.packets.pop_front() else {
                break;
            };
            self.lost -= u16::from(packet.status == Status::Lost);
            is_clear &= packet.status == Status::SentOnce;
            told.sample = is_clear.then(|| now - packet.sent_at);
            told.packets += 1;
        }
        self.sent -= told.packets;
        self.unacknowledged = self.unacknowledged.plus(told.packets);
        told
    }

    /// Takes numbers that the peer received out of order. What was sent before one of them, and is not among them, is
    /// lost. Returns the time since the last that is named for the first time was sent, if that was once.
    pub(super) fn acknowledge_ahead(
        &mut self,
        now: Instant,
        numbers: impl Iterator<Item = SequenceNumber>,
    ) -> Option<Duration> {
        let mut latest = None;
        let mut sample = None;
        for number in numbers {
            let place = number.distance(self.unacknowledged);
            if place >= self.sent {
                continue;
            }
            let Some(packet) = self.packets.get_mut(usize::from(place)) else {
                continue;
            };
            if packet.status == Status::SentOnce {
                sample = Some(now - packet.sent_at);
            }
            self.lost -= u16::from(packet.status == Status::Lost);
            packet.status = Status::ReceivedAhead;
            latest = latest.max(Some(packet.transmission));
        }
        let latest = latest?;
        for packet in self.packets.iter_mut().take(usize::from(self.sent)) {
            let is_sent = matches!(packet.status, Status::SentOnce | Status::SentAgain);
            if is_sent && packet.transmission < latest {
                packet.status = Status::Lost;
                self.lost += 1;
            }
        }
        sample
    }

    /// Takes the first `packets` as lost, since nothing acknowledged them in time.
    ///
    /// Those which the peer may have without saying so, and one more, are enough: a peer that holds the others
    /// acknowledges them all once the gap is closed. What an EACK has named counts as not received then, in case the
    /// peer has dropped it.
    pub(super) fn on_timeout(&mut self, packets: u16) {
        let outstanding = self.packets.iter_mut().take(usize::from(self.sent));
        for (place, packet) in outstanding.enumerate() {
            if packet.status == Status::ReceivedAhead {
                packet.status = Status::SentAgain;
            }
            if place < usize::from(packets) && packet.status != Status::Lost {
                packet.status = Status::Lost;
                self.lost += 1;
            }
        }
    }

    /// Returns the packet to send next: a lost one, or the next one within the window.
    pub(super) fn next(&self, window: u16) -> Option<NextPacket<'_>> {
        let place = match self.lost {
            0 if self.sent < window => self.sent,
            0 => return None,
            _ => {
                let lost = |packet: &Outgoing| packet.status == Status::Lost;
                u16::try_from(self.packets.iter().position(lost)?).ok()?
            }
        };
        let packet = self.packets.get(usize::from(place))?;
        Some(NextPacket {
            place,
            sequence: self.unacknowledged.plus(place),
            data: &packet.data,
            fragment: packet.fragment,
        })
    }

    /// Counts a transmission of the packet that [`next`](Self::next) returned, and tells whether it was a repetition.
    pub(super) fn on_sent(&mut self, now: Instant, place: u16) -> bool {
        self.transmissions += 1;
        let Some(packet) = self.packets.get_mut(usize::from(place)) else {
            return false;
        };
        packet.sent_at = now;
        packet.transmission = self.transmissions;
        let is_again = packet.status != Status::Queued;
        if is_again {
            self.lost -= u16::from(packet.status == Status::Lost);
            packet.status = Status::SentAgain;
        } else {
            self.sent += 1;
            packet.status = Status::SentOnce;
        }
        is_again
    }

    /// Returns the octets of the packets, which the application allocated.
    pub(super) fn octets(&self) -> usize {
        self.packets.iter().map(|packet| packet.data.len()).sum()
    }

    /// Returns the bytes that a queue allocates.
    pub(super) const fn footprint(capacity: u16) -> usize {
        capacity as usize * size_of::<Outgoing>()
    }
}

impl NextPacket<'_> {
    pub(super) const fn place(&self) -> u16 {
        self.place
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NOW: Instant = Instant::ZERO;
    const INITIAL: SequenceNumber = SequenceNumber(u16::MAX);

    /// A queue of five packets, of which so many are sent, at 0 ms, 1 ms, ..
    fn queue(sent: u16) -> SendQueue {
        let mut queue = SendQueue::new(5);
        queue.reset(INITIAL);
        for data in ["a", "b", "c", "d", "e"] {
            assert!(queue.push(data.into(), None));
        }
        for at in 0..sent {
            let place = queue.next(5).unwrap().place();
            assert!(!queue.on_sent(ms(at.into()), place));
        }
        queue
    }

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn resend_all(queue: &mut SendQueue) -> Vec<u16> {
        let mut numbers = Vec::new();
        while queue.lost > 0 {
            let next = queue.next(0).unwrap();
            let (place, sequence) = (next.place(), next.sequence);
            assert!(queue.on_sent(NOW, place));
            numbers.push(sequence.0);
        }
        numbers
    }

    #[test]
    fn no_more_than_the_window_is_outstanding() {
        let mut queue = queue(2);

        assert!(queue.next(2).is_none());
        assert_eq!(queue.next_number(), SequenceNumber(2));
        assert!(!queue.push("f".into(), None), "five are the limit");
        let told = queue.acknowledge(ms(10), SequenceNumber(0));

        assert_eq!(told.packets, 1);
        assert_eq!(told.sample, Some(Duration::from_millis(10)));
        assert_eq!(queue.next(2).unwrap().data, "c");
    }

    #[test]
    fn an_overtaken_acknowledgement_acknowledges_nothing() {
        let mut queue = queue(4);
        queue.acknowledge(NOW, SequenceNumber(2));

        let told = queue.acknowledge(NOW, SequenceNumber(0));

        assert_eq!((told.packets, queue.outstanding()), (0, 1));
        assert!(queue.can_acknowledge(SequenceNumber(0), 4));
        assert!(queue.can_acknowledge(SequenceNumber(3), 4));
        assert!(!queue.can_acknowledge(SequenceNumber(4), 4), "not sent");
        assert!(!queue.can_acknowledge(SequenceNumber(3).minus(10), 4));
    }

    #[test]
    fn what_was_sent_before_a_packet_that_an_eack_names_is_sent_again_once() {
        let mut queue = queue(5);

        queue.acknowledge_ahead(NOW, [SequenceNumber(3), SequenceNumber(1)].into_iter());
        assert_eq!(resend_all(&mut queue), [0, 2]);
        queue.acknowledge_ahead(NOW, [SequenceNumber(1), SequenceNumber(3)].into_iter());
        assert!(resend_all(&mut queue).is_empty());

        // Sent behind the repetitions, the last one tells that they were lost too.
        queue.acknowledge_ahead(NOW, [SequenceNumber(2)].into_iter());
        assert_eq!(resend_all(&mut queue), [0, 4]);
    }

    #[test]
    fn numbers_that_were_not_sent_are_ignored_in_an_eack() {
        let mut queue = queue(2);

        queue.acknowledge_ahead(NOW, [3, 4, 900, u16::MAX].into_iter().map(SequenceNumber));

        assert!(resend_all(&mut queue).is_empty());
    }

    #[test]
    fn a_repeated_packet_gives_no_sample_of_the_round_trip() {
        let mut queue = queue(2);
        queue.on_timeout(1);
        assert_eq!(resend_all(&mut queue), [0]);

        let first = queue.acknowledge(ms(10), SequenceNumber(0));
        let second = queue.acknowledge(ms(10), SequenceNumber(1));

        assert_eq!(first.sample, None, "Karn's rule");
        assert_eq!(second.sample, Some(Duration::from_millis(9)));
    }
}
