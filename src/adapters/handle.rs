//! What the handles of every driver share.

use core::error::Error;
use core::fmt;

use bytes::Bytes;

use crate::Tag;

/// Why a command had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError<E> {
    /// The machine refused it, for its own reason.
    Refused(E),
    /// The machine is done, or its driver is gone.
    Gone,
}

impl<E: fmt::Display> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Gone => f.write_str("the machine is done"),
        }
    }
}

impl<E: Error + 'static> Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(error) => error.source(),
            Self::Gone => None,
        }
    }
}

/// A stream that belongs to the application from here on.
#[derive(Debug)]
pub struct Handed<S> {
    /// The name by which the application asked for it.
    pub tag: Tag,
    /// The stream itself, which blocks without limit.
    pub stream: S,
    /// Octets of it that were read already; they come before whatever the stream gives next.
    pub early: Bytes,
}
