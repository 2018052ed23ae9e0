//! The rest of a send that a stream would not take.

use alloc::vec::Vec;

/// What a stream would not take of one send, until it does.
///
/// The machine hears `Full` as soon as there is something in it and writes nothing more there, so it never
/// holds more than one `Transmit`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    octets: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Keeps `octets`, of which the first `sent` are gone already.
    pub(crate) fn keep(&mut self, octets: Vec<u8>, sent: usize) {
        self.octets = octets;
        self.sent = sent;
    }

    /// Returns what is still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// Notes that the stream took `count` octets more.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
    }

    /// Tells whether nothing is left to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes the memory out, for the next send; what was left in it is lost.
    pub(crate) fn take_memory(&mut self) -> Vec<u8> {
        self.sent = 0;
        core::mem::take(&mut self.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_gives_what_was_not_sent_in_order() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty());

        outbox.keep(Vec::from(*b"abcdef"), 2);
        assert_eq!(outbox.rest(), b"cdef");
        outbox.advance(3);
        assert_eq!(outbox.rest(), b"f");
        outbox.advance(1);

        assert!(outbox.is_empty());
        assert_eq!(outbox.take_memory(), b"abcdef");
        assert_eq!(outbox.rest(), b"");
    }
}
