//! Copies of signals and repairs that are sent against loss.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::ltp::config::ConfigError;

/// Losses are counted in parts per million.
pub(in crate::ltp) const PARTS: u32 = 1_000_000;
/// The highest loss that is assumed. Above it, no number of copies helps much.
const MAX_LOSS: u32 = 900_000;
/// The probability 1, in the fixed-point arithmetic of [`AdaptiveRedundancy::count`].
const CERTAIN: u64 = 1_000_000_000_000;

/// How many copies of each signal are sent: of checkpoints, reports and cancellations.
///
/// A signal that is lost with all its copies costs a round trip and the wait for its timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Redundancy {
    /// This many copies, sent at once, whatever the loss.
    Fixed(u8),
    /// As many copies as the measured loss requires, on lines that keep the order of segments.
    Adaptive(AdaptiveRedundancy),
}

impl Default for Redundancy {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// How the number of copies follows from the measured loss.
///
/// Each report starts at the first missing octet, so it repeats the content of the reports before it. During the
/// first pass of a block its checkpoints have no copies, since the next checkpoint asks the same.
/// [`Engine::line`](crate::ltp::Engine::line) returns the measurements.
///
/// This is meant for lines that keep the order of segments, such as links and tunnels. A segment that was overtaken
/// counts as lost. Where segments overtake each other, some are sent again without need, and signals get more copies
/// than necessary; no block is lost or delivered twice. On such a line, set
/// [`PeerTimers::report_delay`](crate::ltp::PeerTimers::report_delay) at the receiver to a little more than the
/// difference in delay: then only lost segments are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct AdaptiveRedundancy {
    /// One signal in this many may be lost together with all its copies. Default 1,000,000.
    pub odds: NonZeroU32,
    /// The maximum number of copies of one signal. Default 15.
    pub max_copies: u8,
    /// The loss that is assumed before the first measurement, in parts per million, at most 900,000. Default
    /// 10,000.
    pub initial_loss: u32,
    /// The time over which the copies of one signal are spaced, so that a burst of losses does not take them
    /// all. Default 0, all at once.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub spacing: Duration,
    /// The maximum number of times that a repair is sent once more while nothing else waits for the peer. It
    /// uses only idle capacity, and saves round trips at the end of blocks. Default 0.
    pub duplicate_repairs: u8,
}

impl Default for AdaptiveRedundancy {
    fn default() -> Self {
        Self {
            odds: NonZeroU32::MIN.saturating_add(PARTS - 1),
            max_copies: 15,
            initial_loss: PARTS / 100,
            spacing: Duration::ZERO,
            duplicate_repairs: 0,
        }
    }
}

impl AdaptiveRedundancy {
    /// Returns the smallest number of copies with which a signal and all copies are lost less often than the
    /// odds allow.
    pub(in crate::ltp) fn count(&self, loss: u32) -> u8 {
        let limit = CERTAIN / u64::from(self.odds.get());
        let mut probability = CERTAIN;
        // The signal itself is the first try.
        for copies in 0..self.max_copies {
            probability = probability / u64::from(PARTS) * u64::from(loss);
            if probability <= limit {
                return copies;
            }
        }
        self.max_copies
    }
}

impl Redundancy {
    pub(in crate::ltp) const fn adaptive(&self) -> Option<&AdaptiveRedundancy> {
        match self {
            Self::Fixed(_) => None,
            Self::Adaptive(adaptive) => Some(adaptive),
        }
    }

    /// Returns the loss that is assumed before the first measurement, in parts per million.
    pub(in crate::ltp) fn initial_loss(&self) -> u32 {
        self.adaptive().map_or(0, |adaptive| adaptive.initial_loss)
    }

    pub(in crate::ltp) const fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Adaptive(adaptive) if adaptive.initial_loss > MAX_LOSS => {
                Err(ConfigError::Loss {
                    loss: adaptive.initial_loss,
                    limit: MAX_LOSS,
                })
            }
            Self::Fixed(_) | Self::Adaptive(_) => Ok(()),
        }
    }

    pub(in crate::ltp) fn spacing(&self) -> Duration {
        let adaptive = self.adaptive();
        adaptive.map_or(Duration::ZERO, |adaptive| adaptive.spacing)
    }
}

/// Limits a loss to the highest that is assumed.
pub(in crate::ltp) fn bounded(loss: u64) -> u32 {
    u32::try_from(loss).unwrap_or(MAX_LOSS).min(MAX_LOSS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(loss: u32) -> u8 {
        AdaptiveRedundancy::default().count(loss)
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
    fn copies_stop_at_the_maximum() {
        assert_eq!(copies(900_000), 15);
        let none = AdaptiveRedundancy {
            max_copies: 0,
            ..AdaptiveRedundancy::default()
        };
        assert_eq!(none.count(900_000), 0);
    }
}
