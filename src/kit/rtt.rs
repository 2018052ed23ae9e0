//! How long answers take.

use core::time::Duration;

/// Smoothed round-trip time and its variation (RFC 6298 section 2).
///
/// The caller feeds it only samples that are unambiguous: none from an answer that could be to either of two
/// transmissions (Karn's rule).
///
/// ```
/// use core::time::Duration;
/// use farlink::kit::Rtt;
///
/// let mut rtt = Rtt::new();
/// let granularity = Duration::from_millis(1);
/// assert_eq!(rtt.timeout(granularity), None);
/// rtt.on_sample(Duration::from_millis(100));
/// assert_eq!(rtt.smoothed(), Some(Duration::from_millis(100)));
/// assert_eq!(rtt.timeout(granularity), Some(Duration::from_millis(300)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    smoothed: Duration,
    variation: Duration,
    samples: u64,
}

impl Rtt {
    /// Makes an estimate without samples.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            smoothed: Duration::ZERO,
            variation: Duration::ZERO,
            samples: 0,
        }
    }

    /// Takes one measured time from a transmission to its answer.
    pub fn on_sample(&mut self, sample: Duration) {
        if self.samples == 0 {
            self.smoothed = sample;
            self.variation = sample / 2;
        } else {
            let difference = self.smoothed.abs_diff(sample);
            self.variation = (self.variation * 3 + difference) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
        }
        self.samples += 1;
    }

    /// Returns the smoothed round-trip time (SRTT); `None` before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.samples > 0).then_some(self.smoothed)
    }

    /// Returns the smoothed variation (RTTVAR); 0 before the first sample.
    #[must_use]
    pub const fn variation(&self) -> Duration {
        self.variation
    }

    /// Returns how many samples were taken.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns the retransmission timeout: SRTT and four times the variation, or `granularity` where that is
    /// more. `None` before the first sample. Bounds are up to the caller.
    #[must_use]
    pub fn timeout(&self, granularity: Duration) -> Option<Duration> {
        Some(self.smoothed()? + (self.variation * 4).max(granularity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_sample_sets_the_variation_to_half_of_it_as_rfc_6298_does() {
        let mut rtt = Rtt::new();

        rtt.on_sample(ms(100));
        let first = rtt;
        rtt.on_sample(ms(140));

        assert_eq!(first.smoothed(), Some(ms(100)));
        assert_eq!(first.variation(), ms(50));
        assert_eq!(rtt.smoothed(), Some(ms(105)));
        assert_eq!(rtt.variation(), Duration::from_micros(47_500));
        assert_eq!(rtt.samples(), 2);
    }

    #[test]
    fn a_steady_line_has_a_timeout_of_the_round_trip_and_the_granularity() {
        let mut rtt = Rtt::new();
        for _ in 0..100 {
            rtt.on_sample(ms(100));
        }

        assert_eq!(rtt.timeout(ms(10)), Some(ms(110)));
    }
}
