//! Segmentation of messages into DTs, and reassembly (ISO 8073 6.3).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::tpkt::{HEADER, VERSION};
use super::wire::{DATA_HEADER, DataTpdu, Tpdu};
use crate::{Tag, Transmit};

/// Octets that an entry of a queue counts beside its content.
pub(super) const ENTRY_COST: usize = 64;
const DATA_PACKET_HEADER: usize = HEADER + DATA_HEADER;

/// A message that has arrived in part.
#[derive(Debug, Clone, Default)]
pub(super) struct Reassembly {
    octets: Vec<u8>,
    /// Octets of the last message, reserved for one whose end was not read yet.
    last: usize,
    empty_segments: u32,
    is_begun: bool,
}

impl Reassembly {
    pub(super) const fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Returns the bytes of memory that the message holds.
    pub(super) fn memory_used(&self) -> usize {
        self.octets.capacity()
    }

    /// Counts a segment without user data, and returns the count of the message.
    pub(super) const fn count_empty(&mut self) -> u32 {
        self.empty_segments = self.empty_segments.saturating_add(1);
        self.empty_segments
    }

    /// Appends user data. `ahead` returns the user data that were read behind them, so that a message that was
    /// read whole is allocated once. A longer one reserves the size of the last message, which the peer did
    /// send.
    pub(super) fn append(&mut self, octets: &[u8], ahead: impl FnOnce() -> Lookahead) {
        self.is_begun = true;
        if self.octets.capacity() - self.octets.len() < octets.len() {
            let ahead = ahead();
            let more = octets.len() + ahead.octets;
            match ahead.is_whole {
                _ if !self.octets.is_empty() => self.octets.reserve(more),
                true => self.octets.reserve_exact(more),
                false => self.octets.reserve_exact(more.max(self.last)),
            }
        }
        self.octets.extend_from_slice(octets);
    }

    /// Returns the message without spare capacity, and begins the next one.
    pub(super) fn finish(&mut self) -> Bytes {
        let message = core::mem::take(self).octets;
        self.last = message.len();
        Bytes::from(message.into_boxed_slice())
    }
}

/// User data of a message that were read behind a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lookahead {
    /// Octets of user data.
    pub(super) octets: usize,
    /// Whether the message ends with them.
    pub(super) is_whole: bool,
}

/// The messages and TPDUs that wait to be written to the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    messages: VecDeque<Bytes>,
    control: Option<Box<ControlQueues>>,
    /// Octets of the first message that are in packets which were begun.
    segmented: usize,
    packet: Option<Packet>,
    /// Octets of all messages, with [`ENTRY_COST`] more for each.
    cost: usize,
    /// Octets of all messages that are not written yet.
    unsent: usize,
    written: MessageCount,
}

/// Rarely used queues, boxed so that an idle connection holds one pointer.
#[derive(Debug, Clone, Default)]
struct ControlQueues {
    /// CR or CC, sent before all else.
    connect: Option<Bytes>,
    /// Expedited data, sent before the messages.
    expedited: VecDeque<Bytes>,
    /// DR or ER, sent after all else.
    disconnect: Option<Bytes>,
    /// Pending flushes, each with the messages that must be written before.
    flushes: VecDeque<(MessageCount, Tag)>,
}

impl ControlQueues {
    fn is_sent(&self) -> bool {
        self.connect.is_none() && self.expedited.is_empty() && self.disconnect.is_none()
    }
}

/// A number of messages. Expedited ones are counted apart, since they overtake others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct MessageCount {
    messages: u64,
    expedited: u64,
}

/// A packet that is written in part.
#[derive(Debug, Clone, Copy)]
struct Packet {
    source: Source,
    head: [u8; DATA_PACKET_HEADER],
    /// Octets of `head` in use.
    head_len: usize,
    /// Offset of the body in the first entry of its queue.
    start: usize,
    len: usize,
    /// Octets of head and body that are written.
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Connect,
    Expedited,
    Message { is_last: bool },
    Disconnect,
}

/// The result of [`Outbox::write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct WriteResult {
    /// Octets of user data.
    pub(super) octets: usize,
    /// Messages that were completed.
    pub(super) messages: usize,
    /// Whether the CR or CC was completed.
    pub(super) is_connect_sent: bool,
}

impl Outbox {
    pub(super) fn set_connect(&mut self, packet: Bytes) {
        self.control().connect = Some(packet);
    }

    pub(super) fn set_disconnect(&mut self, packet: Bytes) {
        self.control().disconnect = Some(packet);
    }

    pub(super) fn push(&mut self, message: Bytes) {
        self.account(&message);
        self.messages.push_back(message);
    }

    pub(super) fn push_expedited(&mut self, message: Bytes) {
        self.account(&message);
        self.control().expedited.push_back(message);
    }

    fn account(&mut self, message: &Bytes) {
        self.cost += message.len() + ENTRY_COST;
        self.unsent += message.len();
    }

    fn control(&mut self) -> &mut ControlQueues {
        self.control.get_or_insert_default()
    }

    /// Adds a flush, which is done when all messages queued before it are written.
    pub(super) fn flush(&mut self, tag: Tag) {
        let accepted = MessageCount {
            messages: self.written.messages + self.messages.len() as u64,
            expedited: self.written.expedited + self.control().expedited.len() as u64,
        };
        self.control().flushes.push_back((accepted, tag));
    }

    /// Returns the number of pending flushes.
    pub(super) fn flushes(&self) -> usize {
        self.control
            .as_ref()
            .map_or(0, |control| control.flushes.len())
    }

    /// Removes a flush that is done.
    pub(super) fn next_flushed(&mut self) -> Option<Tag> {
        let flushes = &mut self.control.as_mut()?.flushes;
        let &(count, tag) = flushes.front()?;
        let MessageCount {
            messages,
            expedited,
        } = self.written;
        if messages < count.messages || expedited < count.expedited {
            return None;
        }
        flushes.pop_front();
        self.shrink();
        Some(tag)
    }

    /// Removes all flushes.
    pub(super) fn clear_flushes(&mut self) {
        if let Some(control) = &mut self.control {
            control.flushes = VecDeque::new();
        }
        self.shrink();
    }

    /// Returns the octets of all messages, with [`ENTRY_COST`] more for each.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    /// Returns the octets of all messages that are not written yet.
    pub(super) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Tells whether nothing waits to be written.
    pub(super) fn is_written(&self) -> bool {
        self.packet.is_none()
            && self.messages.is_empty()
            && self
                .control
                .as_ref()
                .is_none_or(|control| control.is_sent())
    }

    /// Returns the bytes of memory held beside the messages themselves.
    pub(super) fn memory_used(&self) -> usize {
        let of = |packet: &Option<Bytes>| packet.as_ref().map_or(0, Bytes::len);
        let control = self.control.as_ref().map_or(0, |control| {
            size_of::<ControlQueues>()
                + of(&control.connect)
                + of(&control.disconnect)
                + control.expedited.capacity() * size_of::<Bytes>()
                + control.flushes.capacity() * size_of::<(MessageCount, Tag)>()
        });
        control + self.messages.capacity() * size_of::<Bytes>()
    }

    /// Removes all messages and TPDUs.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes packets to `tx`. A DT has at most `payload` octets of user data.
    pub(super) fn write(&mut self, tx: &mut Transmit<()>, payload: usize) -> WriteResult {
        let mut written = WriteResult::default();
        loop {
            let room = tx.room_in_stream(());
            if room == 0 {
                return written;
            }
            let Some(mut packet) = self.packet.take().or_else(|| self.next_packet(payload)) else {
                return written;
            };
            let count = room.min(packet.head_len + packet.len - packet.at);
            let Some(body) = self.body(&packet) else {
                return written;
            };
            let head = packet
                .head
                .get(packet.at..packet.head_len)
                .unwrap_or_default();
            let head = head.get(..count).unwrap_or(head);
            let count_of_body = count - head.len();
            let from = packet.at.saturating_sub(packet.head_len);
            let body = body
                .get(from..from + count - head.len())
                .unwrap_or_default();
            tx.append((), count, |out| {
                out.extend_from_slice(head);
                out.extend_from_slice(body);
            });
            packet.at += count;
            if matches!(packet.source, Source::Expedited | Source::Message { .. }) {
                self.unsent -= count_of_body;
                written.octets += count_of_body;
            }
            if packet.at < packet.head_len + packet.len {
                self.packet = Some(packet);
            } else {
                self.finish(&packet, &mut written);
            }
        }
    }

    fn next_packet(&mut self, payload: usize) -> Option<Packet> {
        let control = self.control.as_deref();
        if let Some(packet) = control.and_then(|control| control.connect.as_ref()) {
            return Some(Packet::whole(Source::Connect, packet));
        }
        if let Some(message) = control.and_then(|control| control.expedited.front()) {
            let head = expedited(DataTpdu::packet_header(message.len(), true));
            return Some(Packet::new(Source::Expedited, head, 0, message.len()));
        }
        if let Some(message) = self.messages.front() {
            let left = message.len() - self.segmented;
            let len = left.min(payload.max(1));
            let is_last = len == left;
            let head = DataTpdu::packet_header(len, is_last);
            let start = self.segmented;
            self.segmented += len;
            return Some(Packet::new(Source::Message { is_last }, head, start, len));
        }
        control
            .and_then(|control| control.disconnect.as_ref())
            .map(|packet| Packet::whole(Source::Disconnect, packet))
    }

    fn body(&self, packet: &Packet) -> Option<&[u8]> {
        let control = self.control.as_deref();
        let queue = match packet.source {
            Source::Connect => control?.connect.as_ref(),
            Source::Expedited => control?.expedited.front(),
            Source::Message { .. } => self.messages.front(),
            Source::Disconnect => control?.disconnect.as_ref(),
        };
        queue?.get(packet.start..packet.start + packet.len)
    }

    fn finish(&mut self, packet: &Packet, written: &mut WriteResult) {
        let message = match packet.source {
            Source::Connect => {
                self.control().connect = None;
                written.is_connect_sent = true;
                None
            }
            Source::Disconnect => {
                self.control().disconnect = None;
                None
            }
            Source::Message { is_last: false } => None,
            Source::Message { is_last: true } => {
                self.segmented = 0;
                self.written.messages += 1;
                self.messages.pop_front()
            }
            Source::Expedited => {
                self.written.expedited += 1;
                self.control().expedited.pop_front()
            }
        };
        if let Some(message) = message {
            self.cost -= message.len() + ENTRY_COST;
            written.messages += 1;
        }
        self.shrink();
    }

    /// Frees memory, so that an idle connection stays small. A short queue is kept, so that sending one
    /// message at a time does not allocate.
    fn shrink(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > 4 {
            self.messages = VecDeque::new();
        }
        if let Some(control) = &self.control
            && control.is_sent()
            && control.flushes.is_empty()
        {
            self.control = None;
        }
    }
}

impl Packet {
    const fn new(source: Source, head: [u8; DATA_PACKET_HEADER], start: usize, len: usize) -> Self {
        Self {
            source,
            head,
            head_len: DATA_PACKET_HEADER,
            start,
            len,
            at: 0,
        }
    }

    fn whole(source: Source, packet: &Bytes) -> Self {
        Self {
            source,
            head: [0; DATA_PACKET_HEADER],
            head_len: 0,
            start: 0,
            len: packet.len(),
            at: 0,
        }
    }
}

/// Changes the header of a DT into that of an ED (RFC 1006 section 6).
const fn expedited(mut head: [u8; DATA_PACKET_HEADER]) -> [u8; DATA_PACKET_HEADER] {
    head[HEADER + 1] = 0x10;
    head
}

/// Returns a TPDU in a TPKT. Bound: it is a CR, CC, DR or ER of less than 1000 octets.
pub(super) fn packet(tpdu: &Tpdu<'_>) -> Bytes {
    let length = HEADER + tpdu.wire_len();
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&[VERSION, 0, high, low]);
    tpdu.encode(&mut out);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn outbox(messages: &[&'static [u8]]) -> Outbox {
        let mut outbox = Outbox::default();
        for message in messages {
            outbox.push(Bytes::from_static(message));
        }
        outbox
    }

    fn write(outbox: &mut Outbox, room: usize, payload: usize) -> (Vec<u8>, WriteResult) {
        let mut tx = Transmit::new(Limits::stream(room));
        let written = outbox.write(&mut tx, payload);
        (tx.octets().to_vec(), written)
    }

    #[test]
    fn a_cr_goes_first_and_a_dr_goes_last() {
        let mut outbox = outbox(&[b"a"]);
        outbox.set_disconnect(Bytes::from_static(b"[end]"));
        outbox.push_expedited(Bytes::from_static(b"X"));
        outbox.set_connect(Bytes::from_static(b"[open]"));

        let (octets, written) = write(&mut outbox, 100, 10);

        assert_eq!(
            octets,
            b"[open]\x03\0\0\x08\x02\x10\x80X\x03\0\0\x08\x02\xF0\x80a[end]"
        );
        assert_eq!(
            written,
            WriteResult {
                octets: 2,
                messages: 2,
                is_connect_sent: true
            }
        );
        assert!(outbox.is_written());
    }

    #[test]
    fn any_room_gives_the_same_octets() {
        let whole = write(&mut outbox(&[b"abcdefgh", b"", b"i"]), 1000, 3).0;

        for room in 1..whole.len() {
            let mut outbox = outbox(&[b"abcdefgh", b"", b"i"]);
            let mut octets = Vec::new();
            while !outbox.is_written() {
                let (chunk, _) = write(&mut outbox, room, 3);
                assert!(!chunk.is_empty() && chunk.len() <= room);
                octets.extend_from_slice(&chunk);
            }
            assert_eq!(octets, whole, "{room} octets at a time");
        }
    }

    #[test]
    fn user_data_are_counted_and_headers_are_not() {
        let mut outbox = outbox(&[b"abcdef", b"gh"]);
        assert_eq!((outbox.unsent(), outbox.cost()), (8, 8 + 2 * ENTRY_COST));

        write(&mut outbox, 7 + 4 + 7 + 1, 4);
        assert_eq!((outbox.unsent(), outbox.cost()), (3, 8 + 2 * ENTRY_COST));
        write(&mut outbox, 3, 4);
        assert_eq!((outbox.unsent(), outbox.cost()), (2, 2 + ENTRY_COST));
        write(&mut outbox, 100, 4);

        assert_eq!((outbox.unsent(), outbox.cost()), (0, 0));
    }

    #[test]
    fn a_flush_is_done_when_all_messages_before_it_are_written() {
        let mut outbox = outbox(&[b"a"]);
        outbox.flush(Tag(1));
        outbox.push(Bytes::from_static(b"b"));
        outbox.push_expedited(Bytes::from_static(b"X"));
        outbox.flush(Tag(2));

        write(&mut outbox, 8, 10);
        assert_eq!(outbox.next_flushed(), None, "the expedited one overtook it");
        write(&mut outbox, 8, 10);
        assert_eq!(outbox.next_flushed(), Some(Tag(1)));
        assert_eq!((outbox.next_flushed(), outbox.flushes()), (None, 1));
        write(&mut outbox, 8, 10);

        assert_eq!(outbox.next_flushed(), Some(Tag(2)));
        assert_eq!(outbox.flushes(), 0);
    }

    #[test]
    fn flushes_can_be_removed() {
        let mut outbox = outbox(&[b"a"]);
        outbox.flush(Tag(1));

        outbox.clear_flushes();
        write(&mut outbox, 8, 10);

        assert_eq!(outbox.next_flushed(), None);
    }

    #[test]
    fn an_empty_queue_frees_its_memory() {
        let mut outbox = outbox(&[b"a".as_slice(); 100]);
        assert!(outbox.memory_used() >= 3200);

        write(&mut outbox, 1000, 10);

        assert_eq!(outbox.memory_used(), 0);
    }

    #[test]
    fn empty_control_queues_free_their_memory() {
        let mut outbox = Outbox::default();
        outbox.set_connect(Bytes::from_static(b"[open]"));
        outbox.push_expedited(Bytes::from_static(b"X"));
        outbox.set_disconnect(Bytes::from_static(b"[end]"));
        outbox.flush(Tag(1));
        assert!(outbox.memory_used() > 0);

        write(&mut outbox, 1000, 10);
        assert!(outbox.is_written());
        outbox.next_flushed();

        assert_eq!(outbox.memory_used(), 0);
    }

    #[test]
    fn segments_are_reassembled() {
        let mut reassembly = Reassembly::default();
        assert!(!reassembly.is_begun());

        reassembly.append(b"", Lookahead::default);
        assert!(reassembly.is_begun(), "an empty segment begins it too");
        reassembly.append(b"ab", Lookahead::default);
        reassembly.append(b"c", Lookahead::default);

        assert_eq!(reassembly.len(), 3);
        assert_eq!(reassembly.finish(), b"abc".as_slice());
        assert!(!reassembly.is_begun());
    }

    #[test]
    fn a_message_that_was_read_whole_is_allocated_once() {
        let mut reassembly = Reassembly::default();
        let ahead = || Lookahead {
            octets: 998,
            is_whole: true,
        };

        reassembly.append(b"ab", ahead);

        assert_eq!(reassembly.memory_used(), 1000);
    }
}
