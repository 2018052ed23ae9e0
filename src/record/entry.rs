//! The entries of a recording: calls and results, for display.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::ReadError;
use super::call::Op;
use super::recording::Calls;
use crate::Instant;

/// One call with its result, the answer to a command, or the snapshot of a restored machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The number of the call, counted from 1.
    pub number: u64,
    /// The time of the call.
    pub time: Instant,
    /// The call and its result.
    pub kind: EntryKind<'c>,
}

/// The call and its result. Addresses, cues, commands, events and asks are JSON texts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind<'c> {
    /// The machine was restored: `{"snapshot":..}`. Payloads over 4 KiB appear as `{"$blob":..}`.
    Restore(Cow<'c, str>),
    /// Octets were received.
    Receive {
        /// The source address.
        from: Cow<'c, str>,
        /// A datagram, or a chunk of a stream.
        octets: Cow<'c, [u8]>,
    },
    /// A link cue was given: `{"link":..,"at":..}`.
    Link(Cow<'c, str>),
    /// A command was given: `{"command":..}`. Payloads over 4 KiB appear as `{"$blob":..}`.
    Command(Cow<'c, str>),
    /// The command before was accepted.
    Accepted,
    /// The command before was refused, for this reason.
    Refused(Cow<'c, str>),
    /// A poll sent datagrams.
    Datagrams {
        /// The destination address.
        to: Cow<'c, str>,
        /// The datagrams in their order.
        datagrams: Vec<&'c [u8]>,
    },
    /// A poll sent octets of a stream.
    Stream {
        /// The destination address.
        to: Cow<'c, str>,
        /// The octets.
        octets: Cow<'c, [u8]>,
    },
    /// A poll returned an event: `{"event":..}`.
    Event(Cow<'c, str>),
    /// A poll returned an ask: `{"ask":..}`.
    Ask(Cow<'c, str>),
    /// A poll returned `Yield`.
    Yield,
    /// A poll returned `Idle` with this deadline.
    Idle(Option<Instant>),
    /// A poll returned `Done`.
    Done,
    /// A poll returned `Transmit` with an empty buffer, in violation of the contract.
    EmptyTransmit,
    /// A poll did not return: the machine panicked.
    NoReturn,
}

impl<'c> EntryKind<'c> {
    pub(super) fn read<'a>(calls: &'c Calls<'a>, op: Op<'a>) -> Result<Self, ReadError> {
        let address = |index| calls.address(index).map(String::from_utf8_lossy);
        let text = || calls.text().map(String::from_utf8_lossy);
        Ok(match op {
            Op::Receive { from, packets } => Self::Receive {
                from: address(from)?,
                octets: calls.packets(packets)?.joined(),
            },
            Op::Restore => Self::Restore(text()?),
            Op::Link => Self::Link(text()?),
            Op::Command => Self::Command(text()?),
            Op::Accepted => Self::Accepted,
            Op::Refused(reason) => Self::Refused(String::from_utf8_lossy(reason)),
            Op::Datagrams { to, packets } => Self::Datagrams {
                to: address(to)?,
                datagrams: calls.packets(packets)?.iter().collect(),
            },
            Op::Stream { to, packets } => Self::Stream {
                to: address(to)?,
                octets: calls.packets(packets)?.joined(),
            },
            Op::EmptyTransmit => Self::EmptyTransmit,
            Op::Event => Self::Event(text()?),
            Op::Ask => Self::Ask(text()?),
            Op::Yield => Self::Yield,
            Op::Idle(deadline) => Self::Idle(deadline),
            Op::Done => Self::Done,
            Op::NoReturn => Self::NoReturn,
        })
    }
}
