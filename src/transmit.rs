//! The buffer into which a machine writes what the driver sends.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use crate::Addr;

/// How much one [`Transmit`] may hold.
///
/// The limits decide what a poll writes, so a recording contains them. A protocol may limit its datagrams
/// further; the smaller limit applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Largest datagram, in octets.
    pub datagram: NonZeroUsize,
    /// Most datagrams of one batch.
    pub batch: NonZeroUsize,
    /// Most octets of one batch, or of one run of a stream.
    pub octets: NonZeroUsize,
    /// Octets that wait to be read from the socket at most, beyond which datagrams are lost: the receive buffer
    /// that the driver was granted. A protocol may tell its peers. Default 0, not known; the adapters fill it in.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub receive_buffer: usize,
}

impl Limits {
    /// Returns these limits, each raised to at least 1.
    #[must_use]
    pub const fn new(datagram: usize, batch: usize, octets: usize) -> Self {
        Self {
            datagram: at_least_one(datagram),
            batch: at_least_one(batch),
            octets: at_least_one(octets),
            receive_buffer: 0,
        }
    }

    /// Returns the same limits with a receive buffer of this many octets.
    #[must_use]
    pub const fn with_receive_buffer(self, receive_buffer: usize) -> Self {
        Self {
            receive_buffer,
            ..self
        }
    }

    /// Returns the limits of a stream: at most `octets` at a time.
    #[must_use]
    pub const fn stream(octets: usize) -> Self {
        Self::new(octets, 1, octets)
    }

    /// Returns the limits of a driver that sends one datagram of at most `octets` at a time.
    #[must_use]
    pub const fn single(octets: usize) -> Self {
        Self::new(octets, 1, octets)
    }
}

impl Default for Limits {
    /// Datagrams of 1472 octets (Ethernet without IPv4 and UDP headers), 44 in a batch, 64 KiB in all.
    fn default() -> Self {
        Self::new(1472, 44, 1 << 16)
    }
}

#[cfg(feature = "serde")]
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

const fn at_least_one(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

/// What one [`Output::Transmit`](crate::Output::Transmit) sends: a batch of datagrams to one destination, or
/// octets of one stream.
///
/// # What a driver sends
///
/// [`is_stream`](Self::is_stream) tells which of the two it is.
///
/// * **A batch holds one or more datagrams**, by default up to 44. All have the length
///   [`segment_size`](Self::segment_size) but the last, which may be shorter; nothing exceeds the [`Limits`]. A
///   driver sends each of [`datagrams`](Self::datagrams) by itself, or all of [`octets`](Self::octets) in one
///   call with segmentation offload. Sending `octets` as one datagram would join them.
/// * **Octets of a stream** have no boundaries; the driver sends [`octets`](Self::octets).
///
/// # What a driver does with the rest
///
/// A socket may take a part and then block (`WouldBlock`). The driver keeps the datagrams or octets that were
/// not sent, with [`take_memory`](Self::take_memory) or as a copy, and gives
/// [`Link::Full`](crate::Link::Full) for the [carrier](Addr::carrier) of the destination. It goes on polling with
/// an empty buffer: the machine writes nothing more to that carrier, while timers, events and other
/// destinations go on. Once the socket is writable it sends what it kept, and gives
/// [`Link::Free`](crate::Link::Free) when nothing of it is left.
///
/// # What a machine writes
///
/// `poll` begins with [`clear`](Self::clear). [`push`](Self::push), [`push_row`](Self::push_row) and
/// [`append`](Self::append) refuse what would make a batch invalid, so a batch is valid whatever the machine
/// does. A refused datagram starts the next batch, after another poll.
#[derive(Debug, Clone)]
pub struct Transmit<A> {
    /// The destination of what is in the buffer. An empty one may have an old one.
    to: Option<A>,
    buffer: TransmitBuffer,
}

/// The octets of a [`Transmit`] and their limits, without the destination.
#[derive(Debug, Clone)]
pub(crate) struct TransmitBuffer {
    limits: Limits,
    /// After `len` octets it keeps what was sent before, which rows overwrite.
    octets: Vec<u8>,
    len: usize,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Empty,
    /// `sealed` says that the last datagram is shorter, so that none may follow.
    Datagrams {
        size: usize,
        count: usize,
        sealed: bool,
    },
    Stream,
}

impl<A: Addr> Transmit<A> {
    /// Makes an empty buffer. It grows to at most `limits.octets` and keeps its memory.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self::with_memory(limits, Vec::new())
    }

    /// Makes an empty buffer of `memory`, so that many drivers can share a few allocations.
    #[must_use]
    pub const fn with_memory(limits: Limits, memory: Vec<u8>) -> Self {
        Self {
            to: None,
            buffer: TransmitBuffer {
                limits,
                octets: memory,
                len: 0,
                content: Content::Empty,
            },
        }
    }

    /// Takes the memory out with the octets that were written, and leaves an empty buffer.
    #[must_use]
    pub fn take_memory(&mut self) -> Vec<u8> {
        let mut memory = core::mem::take(&mut self.buffer.octets);
        memory.truncate(self.buffer.len);
        self.clear();
        memory
    }

    /// Returns the limits of the buffer.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.buffer.limits
    }

    /// Empties the buffer.
    pub const fn clear(&mut self) {
        self.buffer.len = 0;
        self.buffer.content = Content::Empty;
    }

    /// Returns the buffer for what is sent to `to`. `None` if it holds something for another destination.
    #[inline]
    pub(crate) fn buffer_to(&mut self, to: A) -> Option<&mut TransmitBuffer> {
        if self.is_empty() {
            self.to = Some(to);
        }
        (self.to == Some(to)).then_some(&mut self.buffer)
    }

    /// Adds a datagram of `len` octets to `to`, written by `write`.
    ///
    /// Returns false, without calling `write`, when the datagram does not fit: it is empty, exceeds the limits,
    /// is longer than the first one or follows a shorter one, or the buffer holds another destination or a
    /// stream. `write` appends `len` octets to the vector. Any other number fails a debug assertion; a release
    /// build truncates the datagram or fills it up with zeros.
    pub fn push(&mut self, to: A, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.buffer_to(to)
            .is_some_and(|buffer| buffer.push(len, write))
    }

    /// Adds up to `count` datagrams of `len` octets to `to`, as many as fit, and returns how many.
    ///
    /// `write` is called for each with memory of earlier sends, all of which it has to overwrite. Only one
    /// datagram can be added that is shorter than those before it.
    pub fn push_row(
        &mut self,
        to: A,
        len: usize,
        count: usize,
        write: impl FnMut(&mut [u8]),
    ) -> usize {
        self.buffer_to(to)
            .map_or(0, |buffer| buffer.push_row(len, count, write))
    }

    /// Adds `len` octets to the stream at `to`, written by `write`.
    ///
    /// Returns false, without calling `write`, when they do not fit: none, more than
    /// [`room_in_stream`](Self::room_in_stream), or the buffer holds another stream or datagrams. `write` has to
    /// append `len` octets, as for [`push`](Self::push).
    pub fn append(&mut self, to: A, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if len == 0 || len > self.room_in_stream(to) {
            return false;
        }
        self.to = Some(to);
        self.buffer.write(len, write);
        self.buffer.content = Content::Stream;
        true
    }

    /// Returns the largest number of octets that [`append`](Self::append) takes for the stream at `to`.
    #[must_use]
    pub fn room_in_stream(&self, to: A) -> usize {
        match self.buffer.content {
            Content::Datagrams { .. } => 0,
            Content::Stream if self.to != Some(to) => 0,
            Content::Empty | Content::Stream => self.buffer.octets_left(),
        }
    }

    /// Returns the length of the longest datagram that [`push`](Self::push) takes for `to`; 0 if it takes none.
    #[must_use]
    pub fn room_for_datagram(&self, to: A) -> usize {
        if self.is_empty() || self.to == Some(to) {
            self.buffer.room_for_datagram()
        } else {
            0
        }
    }

    /// Tells whether the buffer holds octets of a stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.buffer.content, Content::Stream)
    }

    /// Tells whether the buffer is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns the destination, or `None` when the buffer is empty.
    #[must_use]
    pub const fn to(&self) -> Option<A> {
        if self.is_empty() { None } else { self.to }
    }

    /// Returns all octets, with datagrams back to back.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.buffer
            .octets
            .get(..self.buffer.len)
            .unwrap_or_default()
    }

    /// Returns the length of every datagram but the last, which may be shorter; for a stream, the length of all
    /// octets.
    #[must_use]
    pub const fn segment_size(&self) -> usize {
        match self.buffer.content {
            Content::Datagrams { size, .. } => size,
            Content::Empty | Content::Stream => self.buffer.len,
        }
    }

    /// Returns the datagrams one by one; for a stream, all octets as one.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.octets().chunks(self.segment_size().max(1))
    }
}

impl TransmitBuffer {
    /// Adds a datagram, as [`Transmit::push`] does.
    #[inline]
    pub(crate) fn push(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if len == 0 || len > self.room_for_datagram() {
            return false;
        }
        self.write(len, write);
        let (size, before) = self.datagrams_before(len);
        self.content = Content::Datagrams {
            size,
            count: before + 1,
            sealed: len < size,
        };
        true
    }

    /// Adds up to `count` datagrams, as [`Transmit::push_row`] does.
    #[inline]
    pub(crate) fn push_row(
        &mut self,
        len: usize,
        count: usize,
        write: impl FnMut(&mut [u8]),
    ) -> usize {
        if len == 0 || len > self.room_for_datagram() {
            return 0;
        }
        let (size, before) = self.datagrams_before(len);
        let octets = self.octets_left() / len;
        let batch = self.limits.batch.get() - before;
        let most = if len < size { 1 } else { usize::MAX };
        let added = count.min(octets).min(batch).min(most);
        if added == 0 {
            return 0;
        }
        let end = self.len + added * len;
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        let row = self.octets.get_mut(self.len..end).unwrap_or_default();
        row.chunks_exact_mut(len).for_each(write);
        self.len = end;
        self.content = Content::Datagrams {
            size,
            count: before + added,
            sealed: len < size,
        };
        added
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.content, Content::Empty)
    }

    /// Returns the length of the first datagram, which one of `len` octets may be, and the number of datagrams.
    const fn datagrams_before(&self, len: usize) -> (usize, usize) {
        match self.content {
            Content::Datagrams { size, count, .. } => (size, count),
            Content::Empty | Content::Stream => (len, 0),
        }
    }

    #[inline]
    const fn octets_left(&self) -> usize {
        self.limits.octets.get() - self.len
    }

    #[inline]
    fn room_for_datagram(&self) -> usize {
        let left = self.octets_left();
        match self.content {
            Content::Empty => left.min(self.limits.datagram.get()),
            Content::Datagrams {
                size,
                count,
                sealed: false,
            } if count < self.limits.batch.get() => left.min(size),
            Content::Datagrams { .. } | Content::Stream => 0,
        }
    }

    #[inline]
    fn write(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let end = self.len + len;
        self.octets.truncate(self.len);
        self.octets.reserve(len);
        write(&mut self.octets);
        debug_assert_eq!(
            self.octets.len(),
            end,
            "the closure wrote another number of octets than announced"
        );
        self.octets.resize(end, 0);
        self.len = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hop;

    const NEAR: Hop = Hop {
        interface: 0,
        via: 1,
    };
    const FAR: Hop = Hop {
        interface: 0,
        via: 2,
    };

    fn push(tx: &mut Transmit<Hop>, to: Hop, len: usize) -> bool {
        tx.push(to, len, |out| out.resize(out.len() + len, 7))
    }

    fn append(tx: &mut Transmit<Hop>, to: Hop, len: usize) -> bool {
        tx.append(to, len, |out| out.resize(out.len() + len, 7))
    }

    #[test]
    fn a_batch_has_equal_datagrams_and_one_shorter_at_the_end() {
        let mut tx = Transmit::new(Limits::new(100, 8, 1000));

        assert!(push(&mut tx, NEAR, 40));
        assert!(!push(&mut tx, NEAR, 41), "longer than the first");
        assert!(push(&mut tx, NEAR, 40));
        assert!(push(&mut tx, NEAR, 10));
        assert!(!push(&mut tx, NEAR, 10), "behind a shorter one");

        let lengths: Vec<usize> = tx.datagrams().map(<[u8]>::len).collect();
        assert_eq!(lengths, [40, 40, 10]);
        assert_eq!(tx.segment_size(), 40);
    }

    #[test]
    fn a_row_is_cut_to_what_fits() {
        let row =
            |tx: &mut Transmit<Hop>, to, len, count| tx.push_row(to, len, count, |out| out.fill(9));
        let mut tx = Transmit::new(Limits::new(100, 8, 350));

        assert_eq!(row(&mut tx, NEAR, 40, 0), 0);
        assert!(tx.is_empty());
        assert_eq!(row(&mut tx, NEAR, 101, 3), 0, "longer than the limit");
        assert_eq!(row(&mut tx, NEAR, 40, 3), 3);
        assert_eq!(row(&mut tx, FAR, 40, 3), 0, "another destination");
        assert_eq!(row(&mut tx, NEAR, 41, 3), 0, "longer than the first");
        assert_eq!(row(&mut tx, NEAR, 40, 9), 5, "octets or batch are used up");
        assert_eq!(tx.datagrams().len(), 8);

        tx.clear();
        assert_eq!(row(&mut tx, NEAR, 100, 9), 3, "the octets are used up");
        assert_eq!(row(&mut tx, NEAR, 20, 9), 1, "a shorter one is the last");
        assert_eq!(row(&mut tx, NEAR, 20, 9), 0);
        assert_eq!(tx.octets(), [9; 320]);
        let lengths: Vec<usize> = tx.datagrams().map(<[u8]>::len).collect();
        assert_eq!(lengths, [100, 100, 100, 20]);
    }

    #[test]
    fn what_was_sent_before_is_not_sent_again() {
        let mut tx = Transmit::new(Limits::new(100, 8, 1000));
        assert_eq!(tx.push_row(NEAR, 100, 8, |out| out.fill(9)), 8);
        tx.clear();
        assert!(tx.octets().is_empty());
        assert!(push(&mut tx, NEAR, 40));
        assert_eq!(tx.push_row(NEAR, 40, 1, |out| out.fill(5)), 1);
        assert_eq!(tx.octets(), [[7; 40], [5; 40]].concat());
        assert_eq!(tx.take_memory(), [[7; 40], [5; 40]].concat());
    }

    #[test]
    fn one_send_has_one_destination_and_one_kind() {
        let mut tx = Transmit::new(Limits::default());

        assert!(push(&mut tx, NEAR, 4));
        assert!(!push(&mut tx, FAR, 4));
        assert!(!append(&mut tx, NEAR, 4));
        assert_eq!(tx.to(), Some(NEAR));

        tx.clear();
        assert!(append(&mut tx, FAR, 4));
        assert!(append(&mut tx, FAR, 9));
        assert!(!append(&mut tx, NEAR, 4));
        assert!(!push(&mut tx, FAR, 4));
        assert!(tx.is_stream());
        assert_eq!(tx.octets().len(), 13);
    }

    #[test]
    fn the_limits_hold_for_the_first_datagram_too() {
        let mut tx = Transmit::new(Limits::new(100, 2, 150));

        assert!(!push(&mut tx, NEAR, 101));
        assert_eq!(tx.room_for_datagram(NEAR), 100);
        assert!(push(&mut tx, NEAR, 100));
        assert_eq!(tx.room_for_datagram(NEAR), 50);
        assert!(push(&mut tx, NEAR, 50));
        assert!(!push(&mut tx, NEAR, 1), "the batch is full");
    }

    #[test]
    fn a_stream_fills_to_its_limit() {
        let mut tx = Transmit::new(Limits::stream(10));

        assert!(append(&mut tx, NEAR, 6));
        assert_eq!(
            (tx.room_in_stream(NEAR), tx.room_for_datagram(NEAR)),
            (4, 0)
        );
        assert!(!append(&mut tx, NEAR, 5));
        assert!(append(&mut tx, NEAR, 4));
        assert_eq!(tx.room_in_stream(NEAR), 0);
    }

    #[test]
    fn taking_the_memory_leaves_an_empty_buffer() {
        let mut tx = Transmit::with_memory(Limits::default(), Vec::from(*b"old"));
        assert!(tx.is_empty() && tx.octets().is_empty());
        assert!(push(&mut tx, NEAR, 3));

        assert_eq!(tx.take_memory(), [7, 7, 7]);

        assert!(tx.is_empty() && tx.octets().is_empty());
        assert!(append(&mut tx, FAR, 2));
    }

    #[test]
    fn nothing_empty_is_sent() {
        let mut tx = Transmit::new(Limits::default());

        assert!(!push(&mut tx, NEAR, 0));
        assert!(!append(&mut tx, NEAR, 0));
        assert!(tx.is_empty());
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_write_of_another_length_is_truncated_or_filled_with_zeros() {
        let mut tx = Transmit::new(Limits::default());

        assert!(tx.push(NEAR, 3, |out| out.extend_from_slice(b"longer")));
        assert!(tx.push(NEAR, 3, |out| out.push(b'x')));

        assert_eq!(tx.octets(), b"lonx\0\0");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "another number of octets than announced")]
    fn a_write_of_another_length_fails_a_debug_assertion() {
        let mut tx = Transmit::new(Limits::default());

        tx.push(NEAR, 3, |out| out.push(b'x'));
    }
}
