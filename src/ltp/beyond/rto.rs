//! How long an engine waits for an answer beyond the light times.

use core::time::Duration;

use crate::ltp::config::ConfigError;

/// How the retransmission timeout (RTO) of signals is found: the light times and a margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RtoPolicy {
    /// The margin is [`PeerTimers::remote_delay`](crate::ltp::PeerTimers::remote_delay) and
    /// [`PeerTimers::own_delay`](crate::ltp::PeerTimers::own_delay).
    #[default]
    Fixed,
    /// The margin follows measured round trips as in RFC 6298. Before the first measurement it is as `Fixed`.
    Learned(RtoBounds),
}

/// The bounds of a learned margin.
///
/// The timeout is never below the light times and `min`. An answer to a repeated signal is no measurement,
/// unless all repetitions were sent within an eighth of the time that the answer took (Karn's rule).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RtoBounds {
    /// The shortest margin, at least 1 us. Default 100 us.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub min: Duration,
    /// The longest margin. Default 60 s, as in RFC 6298.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_duration"))]
    pub max: Duration,
}

impl Default for RtoBounds {
    fn default() -> Self {
        Self {
            min: Duration::from_micros(100),
            max: Duration::from_secs(60),
        }
    }
}

impl RtoPolicy {
    pub(in crate::ltp) fn check(&self, shortest: Duration) -> Result<(), ConfigError> {
        let Self::Learned(bounds) = self else {
            return Ok(());
        };
        if bounds.min > bounds.max {
            return Err(ConfigError::RtoBounds {
                min: bounds.min,
                max: bounds.max,
            });
        }
        if bounds.min < shortest {
            return Err(ConfigError::RoundTrip);
        }
        Ok(())
    }

    pub(in crate::ltp) const fn longest(&self) -> Duration {
        match self {
            Self::Fixed => Duration::ZERO,
            Self::Learned(bounds) => bounds.max,
        }
    }
}
