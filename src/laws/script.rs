//! Scripts: what is done to a machine on trial, as data.

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
    /// Octets arrive. Those of a stream wait, as in a socket, until the machine wants them; those of a
    /// path that is gone are lost.
    Receive {
        /// Where they come from.
        from: A,
        /// A datagram, or octets of a stream.
        octets: Vec<u8>,
    },
    /// Octets are fed by a driver which keeps no rules: wanted or not, path gone or not.
    Flood {
        /// Where they come from.
        from: A,
        /// A datagram, or octets of a stream.
        octets: Vec<u8>,
    },
    /// A cue about a link. The end of a stream is read behind its octets; no cue but `Up` and `Opened`
    /// comes from a path that is gone.
    Link {
        /// Which link.
        at: A,
        /// What is known.
        state: Link,
    },
    /// One of the paths which the machine asked to open is opened, or fails.
    Answer {
        /// Which of those without an answer, modulo their number.
        open: u8,
        /// Why it fails.
        failed: Option<Cause>,
    },
    /// The application commands.
    Command(C),
    /// Time passes.
    Wait(Duration),
    /// Time passes until the deadline of the machine, which is drained before and after.
    Wake,
    /// The clock goes back.
    Back(Duration),
    /// The machine is polled once.
    Poll,
    /// The machine is polled until it is idle or done.
    Drain,
}

/// All that decides a run: machine, configuration, seed, limits and script.
///
/// `Debug` prints it as an expression to paste into a test. With the feature `arbitrary` it is generated
/// when addresses, commands and configuration are.
pub struct Case<M: LawSubject> {
    /// What the machine is made from.
    pub config: M::Config,
    /// The seed, by its number.
    pub seed: u64,
    /// The limits of `tx`.
    pub limits: Limits,
    /// What is done.
    pub script: Vec<Step<M::Addr, M::Command>>,
}

impl<M: LawSubject> Case<M> {
    /// Puts together a case with seed 0 and the usual limits.
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
        } = self.limits;
        writeln!(f, "Case::<{}> {{", type_name::<M>())?;
        writeln!(f, "    config: {:?},", self.config)?;
        writeln!(f, "    seed: {},", self.seed)?;
        writeln!(f, "    limits: Limits::new({datagram}, {batch}, {octets}),")?;
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

/// A derived `Debug` names the variant of an enum and not the enum, without which it cannot be pasted.
fn prefix<C: fmt::Debug>(command: &C) -> alloc::string::String {
    let path = type_name::<C>().split('<').next().unwrap_or_default();
    let name = path.rsplit("::").next().unwrap_or_default();
    let printed = alloc::format!("{command:?}");
    if printed.starts_with(name) || !printed.starts_with(|first: char| first.is_ascii_uppercase()) {
        return alloc::string::String::new();
    }
    alloc::format!("{name}::")
}

/// Prints a value as the expression that makes it.
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
