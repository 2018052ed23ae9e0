//! Framing: how a machine finds the frames of a stream.

use core::error::Error;
use core::fmt;

/// Divides the octets of one stream into frames.
///
/// It is a field of the machine, one for each stream, so that the machine decides when framing ends.
pub trait Framing {
    /// Returns the next frame, and advances `chunk` past the octets that it took.
    ///
    /// A frame that is whole in `chunk` is borrowed from it without a copy. A part of a frame is kept until the
    /// rest comes. `None` means that all of `chunk` was taken. If the machine stops calling, what is left in
    /// `chunk` is the stream after its last frame.
    ///
    /// # Errors
    ///
    /// [`Broken`] when no further frame can be found. Every later call returns it again.
    fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Result<Option<&'a [u8]>, Broken>;
}

/// A stream in which the next frame cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no frame begins at this octet of the stream")
    }
}

impl Error for Broken {}
