//! How messages follow each other in a stream (RFC 8489 section 6.2.2).

use alloc::vec::Vec;

use super::wire::{HEADER_LEN, MAGIC_COOKIE};
use crate::{Broken, Framing};

/// Divides a stream into messages, which tell their length themselves.
///
/// A stream that holds anything else is broken: a message of a stream has the magic cookie, and its length is a multiple
/// of 4.
#[derive(Debug, Clone)]
pub struct MessageFraming {
    limit: usize,
    /// A part of a message, or the message that was returned last.
    partial: Vec<u8>,
    is_returned: bool,
    is_broken: bool,
}

impl MessageFraming {
    /// Makes a framing of messages of at most `limit` octets.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: Vec::new(),
            is_returned: false,
            is_broken: false,
        }
    }

    /// Tells whether the stream is between two messages.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        self.partial.is_empty() || self.is_returned
    }

    /// Returns the octets that a part of a message takes, in use or not.
    #[must_use]
    pub(super) const fn memory_used(&self) -> usize {
        self.partial.capacity()
    }

    /// Returns how many octets the message has that begins with these; 20 until its header is whole.
    fn len_of(&self, octets: &[u8]) -> Result<usize, Broken> {
        let Some(&[k0, _, l0, l1, c0, c1, c2, c3, ..]) = octets.first_chunk::<HEADER_LEN>() else {
            return Ok(HEADER_LEN);
        };
        let len = HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
        let is_message = k0 & 0xC0 == 0 && u32::from_be_bytes([c0, c1, c2, c3]) == MAGIC_COOKIE;
        if is_message && len.is_multiple_of(4) && len <= self.limit {
            return Ok(len);
        }
        Err(Broken)
    }

    /// Adds octets of `chunk` until there are `len`.
    fn fill(&mut self, chunk: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.partial.len());
        let (taken, rest) = chunk.split_at(missing.min(chunk.len()));
        self.partial.extend_from_slice(taken);
        *chunk = rest;
        self.partial.len() >= len
    }

    fn next_len(&mut self, chunk: &mut &[u8]) -> Result<Option<usize>, Broken> {
        if !self.fill(chunk, HEADER_LEN) {
            return Ok(None);
        }
        let len = self.len_of(&self.partial)?;
        Ok(self.fill(chunk, len).then_some(len))
    }
}

impl Framing for MessageFraming {
    fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Result<Option<&'a [u8]>, Broken> {
        if self.is_broken {
            return Err(Broken);
        }
        if self.is_returned {
            self.partial.clear();
            self.is_returned = false;
        }
        if self.partial.is_empty() {
            let Ok(len) = self.len_of(chunk) else {
                self.is_broken = true;
                return Err(Broken);
            };
            if let Some((message, rest)) = chunk.split_at_checked(len) {
                *chunk = rest;
                return Ok(Some(message));
            }
        }
        match self.next_len(chunk) {
            Ok(None) => Ok(None),
            Ok(Some(_)) => {
                self.is_returned = true;
                Ok(Some(&self.partial))
            }
            Err(Broken) => {
                self.is_broken = true;
                Err(Broken)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn message(octets: u8) -> Vec<u8> {
        let mut message = vec![0, 1, 0, octets, 0x21, 0x12, 0xA4, 0x42];
        message.resize(HEADER_LEN + usize::from(octets), 7);
        message
    }

    fn frames(framing: &mut MessageFraming, chunk: &[u8]) -> Result<Vec<usize>, Broken> {
        let mut rest = chunk;
        let mut frames = Vec::new();
        while let Some(frame) = framing.next(&mut rest)? {
            frames.push(frame.len());
        }
        Ok(frames)
    }

    #[test]
    fn messages_are_found_however_the_stream_is_chunked() {
        let stream = [message(0), message(12), message(4)].concat();
        for size in 1..=stream.len() {
            let mut framing = MessageFraming::new(100);
            let found: Vec<usize> = stream
                .chunks(size)
                .flat_map(|chunk| frames(&mut framing, chunk).unwrap())
                .collect();
            assert_eq!(found, [20, 32, 24], "{size}");
            assert!(framing.is_between());
        }
    }

    #[test]
    fn a_stream_of_something_else_is_broken_for_ever() {
        let mut cases = vec![message(3), message(200), message(0), message(0)];
        cases[2][0] = 0x40;
        cases[3][4] = 0;
        for case in cases {
            let mut framing = MessageFraming::new(100);
            assert_eq!(frames(&mut framing, &message(0)), Ok(vec![20]));
            assert_eq!(frames(&mut framing, &case), Err(Broken), "{case:?}");
            assert_eq!(frames(&mut framing, &message(0)), Err(Broken));
        }
    }
}
