//! How a script is run, and what a run gives.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Ask, Instant};

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As it is written.
    Plain,
    /// The clock stands still where it would go back.
    Clamped,
    /// The machine is polled where it said that nothing would come.
    Probed,
    /// Every step is settled, and streams are cut like this.
    Cut(Pieces),
}

/// How the octets of a stream that lie ready are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pieces {
    Whole,
    Octets,
    /// Any lengths, and no poll in between.
    Random,
    /// Any lengths, drained after each.
    RandomDrained,
}

/// What a run gave.
#[derive(Debug)]
pub(super) struct Log<A, E> {
    /// Everything, each with the step it came at.
    pub(super) seen: Vec<(usize, Seen<A, E>)>,
    /// How each step left the streams; under [`Manner::Cut`] only.
    pub(super) stalls: Vec<Stall>,
    /// Whether any stream brought octets.
    pub(super) has_read: bool,
}

/// Something that the outside sees of a machine.
#[derive(Debug, PartialEq)]
pub(super) enum Seen<A, E> {
    Sent { to: A, run: Run, octets: Vec<u8> },
    Event(E),
    Ask(Ask<A>),
    Idle(Option<Instant>),
    Done,
    Refused(String),
    Wants(A, bool),
}

/// What the octets of a send are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Stream,
    Datagrams { size: usize },
}

/// Why octets of a stream lie unread, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stall {
    /// The machine has no room.
    Blocked,
    /// Somebody has to decide.
    Awaiting,
    /// More of the same chunk is about to come.
    Joined,
    None,
}
