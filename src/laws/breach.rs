//! The twelve laws by name, and what is said when one is broken.

use alloc::string::String;
use core::error::Error;
use core::fmt;

/// One of the twelve laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Law {
    /// 1: drains end, and time alone yields a bounded number of events.
    DrainEnds = 1,
    /// 2: an idle deadline lies ahead, and polling before it changes nothing.
    IdleIsQuiet,
    /// 3: a send is not empty and within the limits.
    SendFits,
    /// 4: done is done.
    DoneIsFused,
    /// 5: equal input gives equal output.
    Determined,
    /// 6: time going backwards is standing still.
    TimeStandsStill,
    /// 7: no panic.
    NoPanic,
    /// 8: memory stays bounded.
    MemoryIsBounded,
    /// 9: chunking never matters.
    ChunksVanish,
    /// 10: what is encoded decodes to the same.
    CodecAgrees,
    /// 11: nothing is written where it cannot go.
    Silence,
    /// 12: a refused stream is wanted again.
    WantedAgain,
}

impl Law {
    /// All laws in order.
    pub const ALL: [Self; 12] = [
        Self::DrainEnds,
        Self::IdleIsQuiet,
        Self::SendFits,
        Self::DoneIsFused,
        Self::Determined,
        Self::TimeStandsStill,
        Self::NoPanic,
        Self::MemoryIsBounded,
        Self::ChunksVanish,
        Self::CodecAgrees,
        Self::Silence,
        Self::WantedAgain,
    ];

    /// Returns the number that the table of the [module](crate::laws) gives it, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        // Bound: the discriminants are 1 to 12.
        self as u8
    }

    /// Returns the law as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::DrainEnds => {
                "drains end within a bound given by the input, and time alone yields a bounded number of events"
            }
            Self::IdleIsQuiet => {
                "`Idle(t)` means `t > now`, and polling at any earlier time gives the same answer and no output"
            }
            Self::SendFits => {
                "a send is not empty and within the limits, and `tx` holds nothing otherwise"
            }
            Self::DoneIsFused => "`Done` is fused",
            Self::Determined => {
                "equal seed, equal script and equal limits give equal octets, asks and events"
            }
            Self::TimeStandsStill => "time going backwards is standing still",
            Self::NoPanic => "no panic, ever",
            Self::MemoryIsBounded => {
                "memory stays under the bound of the config plus one chunk, and a stream fed on while not wanted is ended"
            }
            Self::ChunksVanish => "the chunking of a stream never matters",
            Self::CodecAgrees => {
                "`decode(encode(x)) == x`, and re-encoding what decodes is a fixed point"
            }
            Self::Silence => {
                "nothing is written between `Full` and `Free`, nor after `Down`, `Detach`, `Finish`, `Close` or `Abort`"
            }
            Self::WantedAgain => {
                "a refused stream is wanted again once events are taken, `Free` comes, or it is closed"
            }
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}: {}", self.number(), self.sentence())
    }
}

/// A law broken: which, where, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// Which step of the script broke it, or which call of a watched machine, from 0. One past the script
    /// is the time that passes behind it.
    pub step: usize,
    /// What was seen.
    pub detail: String,
    /// The script that broke it, in a form to paste into a test; empty from a bare [`Checker`](super::Checker).
    pub script: String,
}

impl Violation {
    /// Reports `law` broken at `step`, without a script.
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
            "broken at step {}, {}\n  {}",
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
