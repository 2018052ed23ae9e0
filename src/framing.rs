//! How a machine cuts a stream into frames.

use core::error::Error;
use core::fmt;

/// Cuts the octets of one stream into frames; a field of the machine, one per stream.
pub trait Framing {
    /// Takes the next frame out of `chunk` and moves `chunk` past what it took.
    ///
    /// A frame that lies whole in `chunk` is lent from there without a copy; a part of one is kept until
    /// the rest comes. `None` says that `chunk` is used up. What is left in `chunk` when the machine stops
    /// asking is the raw rest of the stream.
    ///
    /// # Errors
    ///
    /// [`Broken`] when no further frame can be found. It latches: every later call gives it again.
    fn next<'a, 'c: 'a>(&'a mut self, chunk: &mut &'c [u8]) -> Result<Option<&'a [u8]>, Broken>;
}

/// A stream in which the next frame cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream lost its framing")
    }
}

impl Error for Broken {}
