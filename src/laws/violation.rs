//! The fourteen laws by name, and the report of a violation.

use alloc::string::String;
use core::error::Error;
use core::fmt;

/// One of the fourteen laws that the [module](crate::laws) lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Law {
    /// 1: drains end, and time alone yields a bounded number of events.
    FiniteDrain = 1,
    /// 2: an idle deadline lies ahead, and polling before it changes nothing.
    QuietUntilDeadline,
    /// 3: a transmit is not empty and within the limits.
    TransmitWithinLimits,
    /// 4: a machine that is done stays done.
    DoneIsFused,
    /// 5: equal input gives equal output.
    Deterministic,
    /// 6: time that goes backwards counts as time that stands still.
    MonotonicTime,
    /// 7: the machine never panics.
    NoPanic,
    /// 8: memory stays bounded.
    BoundedMemory,
    /// 9: the chunking of a stream never matters.
    ChunkingIndependent,
    /// 10: what is encoded decodes to the same.
    CodecRoundTrip,
    /// 11: nothing is written to an address that is full or closed.
    NoWriteWhenClosed,
    /// 12: a refused stream is wanted again.
    ReadResumes,
    /// 13: a stranger is sent little more than came from it.
    NoAmplification,
    /// 14: memory follows the octets received.
    MemoryFollowsInput,
}

impl Law {
    /// All laws in order.
    pub const ALL: [Self; 14] = [
        Self::FiniteDrain,
        Self::QuietUntilDeadline,
        Self::TransmitWithinLimits,
        Self::DoneIsFused,
        Self::Deterministic,
        Self::MonotonicTime,
        Self::NoPanic,
        Self::BoundedMemory,
        Self::ChunkingIndependent,
        Self::CodecRoundTrip,
        Self::NoWriteWhenClosed,
        Self::ReadResumes,
        Self::NoAmplification,
        Self::MemoryFollowsInput,
    ];

    /// Returns the number that the table of the [module](crate::laws) gives it, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        // The discriminants are 1 to 14.
        self as u8
    }

    /// Returns the law as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::FiniteDrain => {
                "drains end within a bound given by the input, and time alone yields a bounded number of events"
            }
            Self::QuietUntilDeadline => {
                "`Idle(t)` means `t > now`, and polling at any earlier time gives the same answer and no output"
            }
            Self::TransmitWithinLimits => {
                "a transmit is not empty and within the limits, and `tx` is empty under every other output"
            }
            Self::DoneIsFused => "`Done` is fused",
            Self::Deterministic => {
                "equal seed, equal script and equal limits give equal octets, asks and events"
            }
            Self::MonotonicTime => "time that goes backwards counts as time that stands still",
            Self::NoPanic => "the machine never panics",
            Self::BoundedMemory => {
                "memory stays under the limit of the configuration plus one chunk, and a stream that is fed while not wanted is ended"
            }
            Self::ChunkingIndependent => "the chunking of a stream never matters",
            Self::CodecRoundTrip => {
                "`decode(encode(x)) == x`, and re-encoding what decodes is a fixed point"
            }
            Self::NoWriteWhenClosed => {
                "nothing is written between `Full` and `Free`, nor after `Down`, `Detach`, `Finish`, `Close`, `Abort` or `Cancel`"
            }
            Self::ReadResumes => {
                "a refused stream is wanted again once events are taken, `Free` comes, or it is closed"
            }
            Self::NoAmplification => {
                "a stranger's host is sent at most three times the octets that came from it, and 1 KiB"
            }
            Self::MemoryFollowsInput => {
                "what is held for octets received is at most twice as much, and 2 KiB for each session, 66 KiB once it has a second segment"
            }
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}: {}", self.number(), self.sentence())
    }
}

/// The violation of a law: which one, where, and by which script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// The step of the script, or the call of a live machine, counted from 0. The number of steps stands for
    /// the time that passes after the script.
    pub step: usize,
    /// What was observed.
    pub detail: String,
    /// The script, as an expression to paste into a test; empty from a [`Checker`](super::Checker).
    pub script: String,
}

impl Violation {
    /// Reports a violation of `law` at `step`, without a script.
    #[must_use]
    pub const fn new(law: Law, step: usize, detail: String) -> Self {
        Self {
            law,
            step,
            detail,
            script: String::new(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "violated at step {}, {}\n  {}",
            self.step, self.law, self.detail
        )?;
        if self.script.is_empty() {
            Ok(())
        } else {
            write!(f, "\nby this script:\n{}", self.script)
        }
    }
}

impl Error for Violation {}
