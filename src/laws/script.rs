//! Scripts: the inputs of a machine and the passage of time, as data.

use alloc::vec::Vec;
use core::any::type_name;
use core::fmt;
use core::time::Duration;

use super::LawSubject;
use crate::{Cause, Limits, Link};

/// One step of a script.
///
/// `Debug` prints it as an expression to paste into a test.
#[derive(Clone, PartialEq)]
pub enum Step<A, C> {
    /// Octets arrive. Those of a stream wait in a socket until the machine wants them; those of a path that is
    /// closed are lost.
    Receive {
        /// Where they come from.
        from: A,
        /// A datagram, or octets of a stream.
        octets: Vec<u8>,
    },
    /// Octets are fed by a driver that breaks the contract: even if they are not wanted or the path is closed.
    Flood {
        /// Where they come from.
        from: A,
        /// A datagram, or octets of a stream.
        octets: Vec<u8>,
    },
    /// A cue about a link. `Ended` comes after the octets of the stream. Only `Up` and `Opened` come from a path
    /// that is closed.
    Link {
        /// Which link.
        at: A,
        /// The cue.
        state: Link,
    },
    /// An [`Ask::Open`](crate::Ask::Open) of the machine is answered.
    Answer {
        /// The index of the ask among those without an answer, modulo their number.
        open: u8,
        /// Why the open failed, or `None` if it succeeded.
        failed: Option<Cause>,
    },
    /// The application gives a command.
    Command(C),
    /// Time passes.
    Wait(Duration),
    /// Time passes until the deadline of the machine, which is drained before and afterwards.
    Wake,
    /// The clock goes back.
    Back(Duration),
    /// The machine is polled once.
    Poll,
    /// The machine is polled until it is idle or done.
    Drain,
}

/// A machine with its configuration and seed, the limits of `tx`, and a script: all that determines a run.
///
/// `Debug` prints it as an expression to paste into a test. With the feature `arbitrary` it can be generated
/// if addresses, commands and configuration can.
pub struct Case<M: LawSubject> {
    /// What the machine is made from.
    pub config: M::Config,
    /// The seed, by its number.
    pub seed: u64,
    /// The limits of `tx`.
    pub limits: Limits,
    /// The steps.
    pub script: Vec<Step<M::Addr, M::Command>>,
}

impl<M: LawSubject> Case<M> {
    /// Makes a case with seed 0 and the default limits.
    #[must_use]
    pub fn new(config: M::Config, script: Vec<Step<M::Addr, M::Command>>) -> Self {
        Self {
            config,
            seed: 0,
            limits: Limits::default(),
            script,
        }
    }
}

impl<M: LawSubject> Clone for Case<M> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            seed: self.seed,
            limits: self.limits,
            script: self.script.clone(),
        }
    }
}

impl<M: LawSubject> fmt::Debug for Case<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits {
            datagram,
            batch,
            octets,
            receive_buffer,
        } = self.limits;
        writeln!(f, "Case::<{}> {{", type_name::<M>())?;
        writeln!(f, "    config: {:?},", self.config)?;
        writeln!(f, "    seed: {},", self.seed)?;
        write!(f, "    limits: Limits::new({datagram}, {batch}, {octets})")?;
        if receive_buffer > 0 {
            write!(f, ".with_receive_buffer({receive_buffer})")?;
        }
        writeln!(f, ",")?;
        writeln!(f, "    script: vec![")?;
        for step in &self.script {
            writeln!(f, "        {step:?},")?;
        }
        write!(f, "    ],\n}}")
    }
}

impl<A: fmt::Debug, C: fmt::Debug> fmt::Debug for Step<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive { from, octets } => {
                write!(
                    f,
                    "Step::Receive {{ from: {from:?}, octets: vec!{octets:?} }}"
                )
            }
            Self::Flood { from, octets } => {
                write!(
                    f,
                    "Step::Flood {{ from: {from:?}, octets: vec!{octets:?} }}"
                )
            }
            Self::Link { at, state } => {
                write!(f, "Step::Link {{ at: {at:?}, state: {} }}", Pasted(*state))
            }
            Self::Answer { open, failed: None } => {
                write!(f, "Step::Answer {{ open: {open}, failed: None }}")
            }
            Self::Answer {
                open,
                failed: Some(cause),
            } => write!(
                f,
                "Step::Answer {{ open: {open}, failed: Some(Cause::{cause:?}) }}"
            ),
            Self::Command(command) => write!(f, "Step::Command({}{command:?})", prefix(command)),
            Self::Wait(span) => write!(f, "Step::Wait({})", Pasted(*span)),
            Self::Wake => f.write_str("Step::Wake"),
            Self::Back(span) => write!(f, "Step::Back({})", Pasted(*span)),
            Self::Poll => f.write_str("Step::Poll"),
            Self::Drain => f.write_str("Step::Drain"),
        }
    }
}

/// Returns the name of the enum of a command, which its derived `Debug` omits.
fn prefix<C: fmt::Debug>(command: &C) -> alloc::string::String {
    let path = type_name::<C>().split('<').next().unwrap_or_default();
    let name = path.rsplit("::").next().unwrap_or_default();
    let printed = alloc::format!("{command:?}");
    if printed.starts_with(name) || !printed.starts_with(|first: char| first.is_ascii_uppercase()) {
        return alloc::string::String::new();
    }
    alloc::format!("{name}::")
}

/// Prints a value as an expression.
struct Pasted<T>(T);

impl fmt::Display for Pasted<Link> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Link::Failed(tag, cause) => write!(f, "Link::Failed({tag:?}, Cause::{cause:?})"),
            Link::Down(cause) => write!(f, "Link::Down(Cause::{cause:?})"),
            plain => write!(f, "Link::{plain:?}"),
        }
    }
}

impl fmt::Display for Pasted<Duration> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) => write!(f, "Duration::from_secs({seconds})"),
            (0, nanos) => write!(f, "Duration::from_nanos({nanos})"),
            (seconds, nanos) => write!(f, "Duration::new({seconds}, {nanos})"),
        }
    }
}
