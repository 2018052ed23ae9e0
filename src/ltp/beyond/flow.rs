//! How fast segments leave for a peer: what can be configured, and what is known.

use core::num::NonZeroU64;

/// How fast first passes and retransmissions leave for a peer.
///
/// RFC 5326 leaves rates to the link. Over UDP nothing keeps a fast sender from overflowing the receive buffer
/// of the peer's socket, and what that drops is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Flow {
    /// As fast as the peer is found to bear.
    ///
    /// A block starts at 100 Mbit/s in bursts of at most 64 KiB, of which ION, HDTN and licklider lose nothing.
    /// Losses of 2 % or more lower the rate, unless a lower rate does not change them: then they are the line's.
    /// A block of 1 MB or more without losses raises it by half, to at most 400 Mbit/s. No checkpoint is sent
    /// before the end of the red part, since ION cancels a block for one.
    ///
    /// An engine of this crate is recognised ([`Config::hello`](crate::ltp::Config::hello)). To a near one a window
    /// takes the place of the rate: half of the receive buffer of its socket, at most 16 MiB, with a checkpoint
    /// after every quarter of it. If more than the window leaves at the rate within a round trip, the rate stays,
    /// with a checkpoint every quarter of the round trip.
    ///
    /// A line that is far slower is found by when reports arrive: if a quarter was lost, and less has arrived per second
    /// than the losses tell, the rate becomes what has arrived, to a near engine of this crate as well. Its
    /// retransmissions then have up to 16 checkpoints, and without losses the rate rises by an eighth now and then.
    ///
    /// For a radio, give its [`Rate`](Self::Rate): an estimate costs losses, and timers need the rate.
    #[default]
    Auto,
    /// At this rate. No checkpoint is added.
    Rate {
        /// Octets per second, headers included.
        octets_per_second: NonZeroU64,
        /// Octets that may be ahead of the rate when a segment leaves. Default: so many that 5 ms at the rate leave
        /// at once, but no less than two segments and no more than 65,536 octets.
        #[cfg_attr(feature = "serde", serde(default))]
        burst: Option<u32>,
    },
    /// No more than this many red octets sent and not yet claimed by a report; beyond it first passes wait for
    /// reports.
    ///
    /// This is for peers so near that the line holds less: it keeps a fast sender from overflowing the receive
    /// buffer of the peer's socket, and half of that buffer is a good value. A checkpoint is sent after every
    /// quarter of the window; receivers that allow few reports in a session, such as ION, are better served by
    /// [`Rate`](Self::Rate). With light times the window should be far above the product of rate and round trip.
    Window {
        /// Octets in flight.
        octets: NonZeroU64,
        /// Octets per second, headers included, as [`Rate`](Self::Rate). Default: no limit.
        #[cfg_attr(feature = "serde", serde(default))]
        octets_per_second: Option<NonZeroU64>,
    },
    /// At once, as in RFC 5326: for links that have a rate of their own and hold back the driver.
    Unlimited,
}

/// The longest burst that follows from a rate, in octets: what the smallest usual receive buffer takes beside
/// datagrams of others. ION's holds about 129 KB.
const MAX_BURST: u64 = 1 << 16;
/// The time whose octets make a burst, in microseconds: 64 KiB at 100 Mbit/s. Timers of systems are late by 1 ms.
const BURST_MICROS: u128 = 5_243;

impl Flow {
    /// Returns a rate in octets per second, raised to at least 1, whose burst follows from it.
    #[must_use]
    pub const fn rate(octets_per_second: u64) -> Self {
        Self::Rate {
            octets_per_second: at_least_one(octets_per_second),
            burst: None,
        }
    }

    /// Returns a window of so many octets, raised to at least 1, without a rate.
    #[must_use]
    pub const fn window(octets: u64) -> Self {
        Self::Window {
            octets: at_least_one(octets),
            octets_per_second: None,
        }
    }

    /// Returns the same rate with a burst of so many octets. Other flows stay as they are.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        match self {
            Self::Rate {
                octets_per_second, ..
            } => Self::Rate {
                octets_per_second,
                burst: Some(burst),
            },
            other => other,
        }
    }

    /// Returns the rate that was given, in octets per second.
    #[must_use]
    pub const fn given_rate(&self) -> Option<NonZeroU64> {
        match *self {
            Self::Rate {
                octets_per_second, ..
            } => Some(octets_per_second),
            Self::Window {
                octets_per_second, ..
            } => octets_per_second,
            Self::Auto | Self::Unlimited => None,
        }
    }
}

const fn at_least_one(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}

/// Returns how many octets may be ahead of a rate when a segment of at most so many octets leaves, which adds to
/// them.
pub(super) fn burst(octets_per_second: u64, segment: u64) -> u32 {
    let octets = u128::from(octets_per_second) * BURST_MICROS / 1_000_000;
    let octets = u64::try_from(octets).unwrap_or(u64::MAX).min(MAX_BURST);
    let ahead = octets.saturating_sub(segment).max(segment);
    u32::try_from(ahead).unwrap_or(u32::MAX)
}

/// How fast segments leave for a peer at present, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FlowEstimate {
    /// The rate in force, in octets per second. `None` without a limit.
    pub octets_per_second: Option<NonZeroU64>,
    /// The window in force, in octets. `None` without one.
    pub window: Option<NonZeroU64>,
    /// Whether the peer was recognised as an engine of this crate.
    pub is_farlink: bool,
    /// How often rate or window were lowered because segments were lost.
    pub reductions: u32,
    /// The share of octets that was lost before the latest reduction, in parts per million.
    pub loss: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_what_leaves_in_five_milliseconds_within_two_segments_and_64_kib() {
        assert_eq!(burst(12_500_000, 1400), 65_536 - 1400, "100 Mbit/s");
        assert_eq!(burst(50_000_000, 1400), 65_536 - 1400, "400 Mbit/s");
        assert_eq!(burst(1_250_000, 1400), 6553 - 1400, "10 Mbit/s");
        assert_eq!(burst(1000, 1400), 1400, "8 kbit/s");
        assert_eq!(burst(u64::MAX, 60_000), 60_000);
    }

    #[test]
    fn the_rate_given_is_that_of_a_rate_or_a_window() {
        let rate = NonZeroU64::new(1000).unwrap();
        let paced = Flow::Window {
            octets: rate,
            octets_per_second: Some(rate),
        };

        assert_eq!(Flow::rate(1000).given_rate(), Some(rate));
        assert_eq!(Flow::rate(0).given_rate(), NonZeroU64::new(1));
        assert_eq!(paced.given_rate(), Some(rate));
        assert_eq!(Flow::window(1000).given_rate(), None);
        assert_eq!(Flow::default().given_rate(), None);
        assert_eq!(Flow::Unlimited.given_rate(), None);
    }
}
