//! What an application holds of a machine, whatever drives it.

use core::error::Error;
use core::fmt;

use bytes::Bytes;

use crate::Tag;

/// Why a command came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError<E> {
    /// The machine refused it.
    Refused(E),
    /// The driver ended before the machine saw it.
    Gone,
}

impl<E: fmt::Display> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Gone => f.write_str("the driver has ended"),
        }
    }
}

impl<E: Error + 'static> Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refusal) => refusal.source(),
            Self::Gone => None,
        }
    }
}

/// A stream that left its machine.
#[derive(Debug)]
pub struct Detached<S> {
    /// The name by which the application asked for it.
    pub tag: Tag,
    /// The stream itself. What the machine wrote to it was sent.
    pub stream: S,
    /// Octets that were read from it already, and come before all others.
    pub early: Bytes,
}
