//! The modes in which a script is run, and the log of a run.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Ask, Instant};

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it is written.
    Plain,
    /// The clock stands still where it would go back.
    Clamped,
    /// The machine is also polled before its deadlines.
    Probed,
    /// Every step is settled, and streams are read in these chunks.
    Chunked(Chunking),
}

/// How the octets of a stream that are ready are divided into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunking {
    Whole,
    SingleOctets,
    /// Random lengths, and no poll in between.
    Random,
    /// Random lengths, drained after each.
    RandomDrained,
}

/// The log of a run.
#[derive(Debug)]
pub(super) struct Log<A, E> {
    /// All outputs and refusals, each with the step at which it came.
    pub(super) entries: Vec<(usize, Observed<A, E>)>,
    /// Why octets were unread after each step; under [`Mode::Chunked`] only.
    pub(super) unread: Vec<Unread>,
    /// Whether octets of any stream were read.
    pub(super) has_read_streams: bool,
}

/// An output, a refusal or an answer of `wants`.
#[derive(Debug, PartialEq)]
pub(super) enum Observed<A, E> {
    Sent {
        to: A,
        kind: SendKind,
        octets: Vec<u8>,
    },
    Event(E),
    Ask(Ask<A>),
    Idle(Option<Instant>),
    Done,
    Refused(String),
    Wants(A, bool),
}

/// What the octets of a send are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendKind {
    Stream,
    Datagrams { size: usize },
}

/// Why octets of a stream are unread, in descending order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unread {
    /// The machine has no room.
    NoRoom,
    /// The machine awaits a decision.
    Awaiting,
    /// More octets of the same chunk follow.
    MoreFollows,
    None,
}
