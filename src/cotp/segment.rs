//! Messages to DTs and back (ISO 8073 6.3).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::tpkt::{HEADER, VERSION};
use super::wire::{DATA_HEADER, Data, Tpdu};
use crate::{Tag, Transmit};

/// What an entry of a queue costs beside its octets.
pub(super) const ENTRY: usize = 64;
const HEAD: usize = HEADER + DATA_HEADER;

/// A message of which a part has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Assembly {
    octets: Vec<u8>,
    /// Octets of the last message: the guess for one that goes on behind what was read.
    last: usize,
    empty_segments: u32,
    is_begun: bool,
}

impl Assembly {
    pub(super) const fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Returns the bytes of memory it holds.
    pub(super) fn memory_used(&self) -> usize {
        self.octets.capacity()
    }

    /// Notes a segment without user data and returns how many there were.
    pub(super) const fn note_empty(&mut self) -> u32 {
        self.empty_segments = self.empty_segments.saturating_add(1);
        self.empty_segments
    }

    /// Adds user data. `ahead` tells what follows at once: with it counted in, a message that lies whole in
    /// what was read gets its memory in one piece. A longer one starts with as much as the last one took,
    /// which the peer has sent before.
    pub(super) fn append(&mut self, octets: &[u8], ahead: impl FnOnce() -> Ahead) {
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

    /// Gives the message, in no more memory than it needs, and starts the next one.
    pub(super) fn finish(&mut self) -> Bytes {
        let message = core::mem::take(self).octets;
        self.last = message.len();
        Bytes::from(message.into_boxed_slice())
    }
}

/// What is known to follow some user data of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ahead {
    /// Octets of user data.
    pub(super) octets: usize,
    /// Whether the message ends with them.
    pub(super) is_whole: bool,
}

/// Everything that waits to be written to the link.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    messages: VecDeque<Bytes>,
    rare: Option<Box<Rare>>,
    /// Octets of the first message that are in packets already begun.
    cut: usize,
    packet: Option<Packet>,
    /// Octets of all messages, each with [`ENTRY`] more.
    cost: usize,
    /// Octets of all messages not written yet.
    unsent: usize,
    written: Mark,
}

/// What hardly ever waits: an idle connection pays for its pointer alone.
#[derive(Debug, Clone, Default)]
struct Rare {
    /// CR or CC, which goes ahead of everything.
    opening: Option<Bytes>,
    /// Expedited data, which go ahead of the messages.
    expedited: VecDeque<Bytes>,
    /// DR or ER, which goes behind everything.
    farewell: Option<Bytes>,
    /// Flushes, each with what is to be written first.
    flushes: VecDeque<(Mark, Tag)>,
}

impl Rare {
    fn is_sent(&self) -> bool {
        self.opening.is_none() && self.expedited.is_empty() && self.farewell.is_none()
    }
}

/// A count of messages. Expedited ones have their own, as they overtake the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Mark {
    messages: u64,
    expedited: u64,
}

/// A packet of which some octets may have been written.
#[derive(Debug, Clone, Copy)]
struct Packet {
    source: Source,
    head: [u8; HEAD],
    /// Octets of `head` in use.
    head_len: usize,
    /// Where the body lies in the front of its queue.
    start: usize,
    len: usize,
    /// Octets written, of head and body.
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Opening,
    Expedited,
    Message { is_last: bool },
    SendDisconnect,
}

/// What [`Outbox::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    /// Octets of user data.
    pub(super) octets: usize,
    /// Messages that are out whole.
    pub(super) messages: usize,
    /// Whether the CR or CC is out.
    pub(super) is_opened: bool,
}

impl Outbox {
    pub(super) fn open_with(&mut self, packet: Bytes) {
        self.rare().opening = Some(packet);
    }

    pub(super) fn end_with(&mut self, packet: Bytes) {
        self.rare().farewell = Some(packet);
    }

    pub(super) fn push(&mut self, message: Bytes) {
        self.account(&message);
        self.messages.push_back(message);
    }

    pub(super) fn push_expedited(&mut self, message: Bytes) {
        self.account(&message);
        self.rare().expedited.push_back(message);
    }

    fn account(&mut self, message: &Bytes) {
        self.cost += message.len() + ENTRY;
        self.unsent += message.len();
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Notes a flush, which is done once everything accepted so far is written.
    pub(super) fn flush(&mut self, tag: Tag) {
        let accepted = Mark {
            messages: self.written.messages + self.messages.len() as u64,
            expedited: self.written.expedited + self.rare().expedited.len() as u64,
        };
        self.rare().flushes.push_back((accepted, tag));
    }

    /// Returns how many flushes are under way.
    pub(super) fn flushes(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.flushes.len())
    }

    /// Takes a flush that is done.
    pub(super) fn next_flushed(&mut self) -> Option<Tag> {
        let flushes = &mut self.rare.as_mut()?.flushes;
        let &(mark, tag) = flushes.front()?;
        let Mark {
            messages,
            expedited,
        } = self.written;
        if messages < mark.messages || expedited < mark.expedited {
            return None;
        }
        flushes.pop_front();
        self.shrink();
        Some(tag)
    }

    /// Forgets the flushes that are not done.
    pub(super) fn forget_flushes(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.flushes = VecDeque::new();
        }
        self.shrink();
    }

    /// Returns the octets of all messages, each with [`ENTRY`] more.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    /// Returns the octets of all messages that are not written yet.
    pub(super) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Tells whether everything is written.
    pub(super) fn is_written(&self) -> bool {
        self.packet.is_none()
            && self.messages.is_empty()
            && self.rare.as_ref().is_none_or(|rare| rare.is_sent())
    }

    /// Returns the bytes of memory it holds beside the messages themselves.
    pub(super) fn memory_used(&self) -> usize {
        let of = |packet: &Option<Bytes>| packet.as_ref().map_or(0, Bytes::len);
        let rare = self.rare.as_ref().map_or(0, |rare| {
            size_of::<Rare>()
                + of(&rare.opening)
                + of(&rare.farewell)
                + rare.expedited.capacity() * size_of::<Bytes>()
                + rare.flushes.capacity() * size_of::<(Mark, Tag)>()
        });
        rare + self.messages.capacity() * size_of::<Bytes>()
    }

    /// Forgets everything, as after the end of the link.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Fills `tx` with DTs of at most `payload` octets of user data.
    pub(super) fn write(&mut self, tx: &mut Transmit<()>, payload: usize) -> Written {
        let mut written = Written::default();
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
        let rare = self.rare.as_deref();
        if let Some(packet) = rare.and_then(|rare| rare.opening.as_ref()) {
            return Some(Packet::whole(Source::Opening, packet));
        }
        if let Some(message) = rare.and_then(|rare| rare.expedited.front()) {
            let head = expedited(Data::packet_header(message.len(), true));
            return Some(Packet::new(Source::Expedited, head, 0, message.len()));
        }
        if let Some(message) = self.messages.front() {
            let left = message.len() - self.cut;
            let len = left.min(payload.max(1));
            let is_last = len == left;
            let head = Data::packet_header(len, is_last);
            let start = self.cut;
            self.cut += len;
            return Some(Packet::new(Source::Message { is_last }, head, start, len));
        }
        rare.and_then(|rare| rare.farewell.as_ref())
            .map(|packet| Packet::whole(Source::SendDisconnect, packet))
    }

    fn body(&self, packet: &Packet) -> Option<&[u8]> {
        let rare = self.rare.as_deref();
        let queue = match packet.source {
            Source::Opening => rare?.opening.as_ref(),
            Source::Expedited => rare?.expedited.front(),
            Source::Message { .. } => self.messages.front(),
            Source::SendDisconnect => rare?.farewell.as_ref(),
        };
        queue?.get(packet.start..packet.start + packet.len)
    }

    fn finish(&mut self, packet: &Packet, written: &mut Written) {
        let message = match packet.source {
            Source::Opening => {
                self.rare().opening = None;
                written.is_opened = true;
                None
            }
            Source::SendDisconnect => {
                self.rare().farewell = None;
                None
            }
            Source::Message { is_last: false } => None,
            Source::Message { is_last: true } => {
                self.cut = 0;
                self.written.messages += 1;
                self.messages.pop_front()
            }
            Source::Expedited => {
                self.written.expedited += 1;
                self.rare().expedited.pop_front()
            }
        };
        if let Some(message) = message {
            self.cost -= message.len() + ENTRY;
            written.messages += 1;
        }
        self.shrink();
    }

    /// Gives memory back, so that an idle connection stays small. A queue for a few messages stays, so that
    /// sending one at a time allocates nothing.
    fn shrink(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > 4 {
            self.messages = VecDeque::new();
        }
        if let Some(rare) = &self.rare
            && rare.is_sent()
            && rare.flushes.is_empty()
        {
            self.rare = None;
        }
    }
}

impl Packet {
    const fn new(source: Source, head: [u8; HEAD], start: usize, len: usize) -> Self {
        Self {
            source,
            head,
            head_len: HEAD,
            start,
            len,
            at: 0,
        }
    }

    fn whole(source: Source, packet: &Bytes) -> Self {
        Self {
            source,
            head: [0; HEAD],
            head_len: 0,
            start: 0,
            len: packet.len(),
            at: 0,
        }
    }
}

/// The header of an ED is that of a DT with another code (RFC 1006 section 6).
const fn expedited(mut head: [u8; HEAD]) -> [u8; HEAD] {
    head[HEADER + 1] = 0x10;
    head
}

/// Puts a TPDU into a TPKT. Bound: TPDUs written this way are CR, CC, DR and ER, under 1000 octets.
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

    fn write(outbox: &mut Outbox, room: usize, payload: usize) -> (Vec<u8>, Written) {
        let mut tx = Transmit::new(Limits::stream(room));
        let written = outbox.write(&mut tx, payload);
        (tx.octets().to_vec(), written)
    }

    #[test]
    fn what_opens_goes_first_and_what_ends_goes_last() {
        let mut outbox = outbox(&[b"a"]);
        outbox.end_with(Bytes::from_static(b"[end]"));
        outbox.push_expedited(Bytes::from_static(b"X"));
        outbox.open_with(Bytes::from_static(b"[open]"));

        let (octets, written) = write(&mut outbox, 100, 10);

        assert_eq!(
            octets,
            b"[open]\x03\0\0\x08\x02\x10\x80X\x03\0\0\x08\x02\xF0\x80a[end]"
        );
        assert_eq!(
            written,
            Written {
                octets: 2,
                messages: 2,
                is_opened: true
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
                let (piece, _) = write(&mut outbox, room, 3);
                assert!(!piece.is_empty() && piece.len() <= room);
                octets.extend_from_slice(&piece);
            }
            assert_eq!(octets, whole, "{room} octets at a time");
        }
    }

    #[test]
    fn user_data_are_counted_and_headers_are_not() {
        let mut outbox = outbox(&[b"abcdef", b"gh"]);
        assert_eq!((outbox.unsent(), outbox.cost()), (8, 8 + 2 * ENTRY));

        write(&mut outbox, 7 + 4 + 7 + 1, 4);
        assert_eq!((outbox.unsent(), outbox.cost()), (3, 8 + 2 * ENTRY));
        write(&mut outbox, 3, 4);
        assert_eq!((outbox.unsent(), outbox.cost()), (2, 2 + ENTRY));
        write(&mut outbox, 100, 4);

        assert_eq!((outbox.unsent(), outbox.cost()), (0, 0));
    }

    #[test]
    fn a_flush_is_done_when_all_before_it_is_written() {
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
    fn flushes_can_be_forgotten() {
        let mut outbox = outbox(&[b"a"]);
        outbox.flush(Tag(1));

        outbox.forget_flushes();
        write(&mut outbox, 8, 10);

        assert_eq!(outbox.next_flushed(), None);
    }

    #[test]
    fn a_long_queue_gives_its_memory_back() {
        let mut outbox = outbox(&[b"a".as_slice(); 100]);
        assert!(outbox.memory_used() >= 3200);

        write(&mut outbox, 1000, 10);

        assert_eq!(outbox.memory_used(), 0);
    }

    #[test]
    fn what_is_rare_gives_its_memory_back() {
        let mut outbox = Outbox::default();
        outbox.open_with(Bytes::from_static(b"[open]"));
        outbox.push_expedited(Bytes::from_static(b"X"));
        outbox.end_with(Bytes::from_static(b"[end]"));
        outbox.flush(Tag(1));
        assert!(outbox.memory_used() > 0);

        write(&mut outbox, 1000, 10);
        assert!(outbox.is_written());
        outbox.next_flushed();

        assert_eq!(outbox.memory_used(), 0);
    }

    #[test]
    fn a_message_is_put_together_once() {
        let mut assembly = Assembly::default();
        assert!(!assembly.is_begun());

        assembly.append(b"", Ahead::default);
        assert!(assembly.is_begun(), "an empty segment begins it too");
        assembly.append(b"ab", Ahead::default);
        assembly.append(b"c", Ahead::default);

        assert_eq!(assembly.len(), 3);
        assert_eq!(assembly.finish(), b"abc".as_slice());
        assert!(!assembly.is_begun());
    }

    #[test]
    fn what_lies_ahead_gets_its_memory_in_one_piece() {
        let mut assembly = Assembly::default();
        let ahead = || Ahead {
            octets: 998,
            is_whole: true,
        };

        assembly.append(b"ab", ahead);

        assert_eq!(assembly.memory_used(), 1000);
    }
}
