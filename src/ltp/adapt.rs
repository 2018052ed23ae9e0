//! What a span does against loss and delay by itself: copies of signals, and margins.

use core::num::NonZeroU32;
use core::time::Duration;

use super::config::ConfigError;

/// A million: losses are told in so many parts.
pub(super) const PARTS: u32 = 1_000_000;
/// The highest loss that is reckoned with. Above it, no number of copies helps much.
const MOST_LOSS: u32 = 900_000;
/// One, in the arithmetic of chances.
const CERTAIN: u64 = 1_000_000_000_000;

/// How many copies of each signal follow it: of checkpoints, reports and cancellations.
///
/// A signal that is lost with all its copies costs a round trip and the margins of its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Copies {
    /// So many, at once, whatever the line does.
    Fixed(u8),
    /// As many as the loss on the span asks for, on lines that keep the order of segments.
    Auto(AutoCopies),
}

impl Default for Copies {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// How the number of copies follows from the loss that was learned.
///
/// Reports begin at the first octet that is missing, so that each repeats what the ones before it said. While a
/// block is on its first pass, its checkpoints have no copies: the next checkpoint asks the same.
/// [`Engine::line`](super::Engine::line) tells what was learned.
///
/// It is meant for lines that keep the order of segments, as links and tunnels do. What is overtaken counts as
/// lost: where segments overtake each other, it is sent again for nothing, and the loss that is learned is too
/// high, so signals get more copies than they need. Nothing is lost or delivered twice by it. On such a line
/// [`Peer::report_delay`](super::Peer::report_delay) at the receiver, of a little more than segments come late,
/// lets them in first; then nothing is sent again that was not lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AutoCopies {
    /// Signals of which one may be lost with all its copies. Default 1,000,000.
    pub odds: NonZeroU32,
    /// Copies of one signal, at most. Default 15.
    pub most: u8,
    /// Segments lost of a million, for as long as nothing was learned. At most 900,000. Default 10,000.
    pub loss: u32,
    /// Time over which the copies of one signal are spread, so that a burst of losses does not take them
    /// all. Default 0, at once.
    pub spread: Duration,
    /// How often a segment that was sent again is sent once more while nothing else waits for the peer,
    /// at most. It costs only what the line has to spare, and saves round trips at the end of blocks.
    /// Default 0.
    pub repairs: u8,
}

impl Default for AutoCopies {
    fn default() -> Self {
        Self {
            odds: NonZeroU32::MIN.saturating_add(PARTS - 1),
            most: 15,
            loss: PARTS / 100,
            spread: Duration::ZERO,
            repairs: 0,
        }
    }
}

impl AutoCopies {
    /// The fewest copies that make it less likely than the odds that a signal and all of them are lost.
    pub(super) fn count(&self, loss: u32) -> u8 {
        let limit = CERTAIN / u64::from(self.odds.get());
        let mut chance = CERTAIN;
        // The signal itself is one try.
        for copies in 0..self.most {
            chance = chance / u64::from(PARTS) * u64::from(loss);
            if chance <= limit {
                return copies;
            }
        }
        self.most
    }
}

/// How long an answer may take beyond the light times before a signal is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Margins {
    /// What the two delays of the peer say.
    #[default]
    Fixed,
    /// What answers took so far, as TCP learns it (RFC 6298). Until the first answer, as `Fixed`.
    Learned(LearnedMargins),
}

/// Between which bounds margins are learned.
///
/// The timeout never lies below the light times and `least`. An answer to a signal that was repeated tells
/// nothing, unless all repeats left within an eighth of the time it took (Karn's rule).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct LearnedMargins {
    /// The least margin, at least a microsecond. Default 100 us.
    pub least: Duration,
    /// The longest margin. Default 60 s, as in RFC 6298.
    pub most: Duration,
}

impl Default for LearnedMargins {
    fn default() -> Self {
        Self {
            least: Duration::from_micros(100),
            most: Duration::from_secs(60),
        }
    }
}

impl Copies {
    pub(super) const fn auto(&self) -> Option<&AutoCopies> {
        match self {
            Self::Fixed(_) => None,
            Self::Auto(auto) => Some(auto),
        }
    }

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Auto(auto) if auto.loss > MOST_LOSS => Err(ConfigError::Loss {
                loss: auto.loss,
                limit: MOST_LOSS,
            }),
            Self::Fixed(_) | Self::Auto(_) => Ok(()),
        }
    }

    pub(super) fn spread(&self) -> Duration {
        self.auto().map_or(Duration::ZERO, |auto| auto.spread)
    }
}

impl Margins {
    pub(super) fn check(&self, shortest: Duration) -> Result<(), ConfigError> {
        let Self::Learned(bounds) = self else {
            return Ok(());
        };
        if bounds.least > bounds.most {
            return Err(ConfigError::Margins {
                least: bounds.least,
                most: bounds.most,
            });
        }
        if bounds.least < shortest {
            return Err(ConfigError::RoundTrip);
        }
        Ok(())
    }

    pub(super) const fn longest(&self) -> Duration {
        match self {
            Self::Fixed => Duration::ZERO,
            Self::Learned(bounds) => bounds.most,
        }
    }
}

/// Keeps a loss within what is reckoned with.
pub(super) fn bounded(loss: u64) -> u32 {
    u32::try_from(loss).unwrap_or(MOST_LOSS).min(MOST_LOSS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(loss: u32) -> u8 {
        AutoCopies::default().count(loss)
    }

    #[test]
    fn copies_make_the_loss_of_all_rarer_than_the_odds() {
        // 0.3^11 is 1.8 in a million, 0.3^12 half of one.
        assert_eq!(copies(300_000), 11);
        assert_eq!(copies(100_000), 5);
        assert_eq!(copies(10_000), 2);
        assert_eq!(copies(1_000), 1);
        assert_eq!(copies(1), 0);
        assert_eq!(copies(0), 0);
    }

    #[test]
    fn copies_stop_at_the_most() {
        assert_eq!(copies(900_000), 15);
        let none = AutoCopies {
            most: 0,
            ..AutoCopies::default()
        };
        assert_eq!(none.count(900_000), 0);
    }
}
