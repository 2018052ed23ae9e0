//! The calls of a recording, for whoever wants to look at them.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::ReadError;
use super::call::Op;
use super::recording::Calls;
use crate::Instant;

/// One call, or the answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The number of the call, counted from 1.
    pub number: u64,
    /// The time that the machine was told.
    pub time: Instant,
    /// What happened.
    pub act: Act<'c>,
}

/// What happened. Addresses, cues, commands, events and asks are JSON texts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act<'c> {
    /// The machine was restored: `{"snapshot":..}`. Payloads over 4 KiB appear as `{"$blob":..}`.
    Restore(Cow<'c, str>),
    /// Octets came.
    Receive {
        /// From where.
        from: Cow<'c, str>,
        /// A datagram, or a chunk of a stream.
        octets: Cow<'c, [u8]>,
    },
    /// A link cue came: `{"link":..,"at":..}`.
    Link(Cow<'c, str>),
    /// The application gave a command: `{"command":..}`. Payloads over 4 KiB appear as `{"$blob":..}`.
    Command(Cow<'c, str>),
    /// The command before was accepted.
    Accepted,
    /// The command before was refused, for this reason.
    Refused(Cow<'c, str>),
    /// A poll gave datagrams.
    Datagrams {
        /// To where.
        to: Cow<'c, str>,
        /// One by one.
        datagrams: Vec<&'c [u8]>,
    },
    /// A poll gave octets of a stream.
    Stream {
        /// To where.
        to: Cow<'c, str>,
        /// The octets.
        octets: Cow<'c, [u8]>,
    },
    /// A poll gave an event: `{"event":..}`.
    Event(Cow<'c, str>),
    /// A poll gave an ask: `{"ask":..}`.
    Ask(Cow<'c, str>),
    /// A poll gave way to other inputs, with work left.
    Yield,
    /// A poll gave nothing but a deadline.
    Idle(Option<Instant>),
    /// A poll gave the end.
    Done,
    /// A poll gave an empty transmit, which no lawful machine does.
    Nothing,
    /// A poll did not return.
    NoReturn,
}

impl<'c> Act<'c> {
    pub(super) fn read<'a>(calls: &'c Calls<'a>, op: Op<'a>) -> Result<Self, ReadError> {
        let name = |index| calls.name(index).map(String::from_utf8_lossy);
        let text = || calls.text().map(String::from_utf8_lossy);
        Ok(match op {
            Op::Receive { from, packets } => Self::Receive {
                from: name(from)?,
                octets: calls.packets(packets)?.joined(),
            },
            Op::Restore => Self::Restore(text()?),
            Op::Link => Self::Link(text()?),
            Op::Command => Self::Command(text()?),
            Op::Accepted => Self::Accepted,
            Op::Refused(reason) => Self::Refused(String::from_utf8_lossy(reason)),
            Op::Datagrams { to, packets } => Self::Datagrams {
                to: name(to)?,
                datagrams: calls.packets(packets)?.iter().collect(),
            },
            Op::Stream { to, packets } => Self::Stream {
                to: name(to)?,
                octets: calls.packets(packets)?.joined(),
            },
            Op::Nothing => Self::Nothing,
            Op::Event => Self::Event(text()?),
            Op::Ask => Self::Ask(text()?),
            Op::Yield => Self::Yield,
            Op::Idle(deadline) => Self::Idle(deadline),
            Op::Done => Self::Done,
            Op::NoReturn => Self::NoReturn,
        })
    }
}
