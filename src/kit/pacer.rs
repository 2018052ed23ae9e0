//! How fast octets may leave.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::Instant;

/// A token bucket: it tells when the next octets may leave under a rate.
///
/// It counts in time. Each send moves a transmission clock on by the time the octets take at the rate; octets
/// may leave while that clock is ahead of the present by no more than the burst takes. So a burst may be
/// larger than what the rate allowed since time 0.
///
/// ```
/// use core::num::NonZeroU64;
/// use core::time::Duration;
/// use farlink::{Instant, kit::Pacer};
///
/// let mut pacer = Pacer::new(NonZeroU64::new(1000), 500);
/// let now = Instant::ZERO;
/// pacer.on_sent(now, 500);
/// assert_eq!(pacer.blocked_until(now), None, "the burst of 500 octets");
/// pacer.on_sent(now, 100);
/// assert_eq!(pacer.blocked_until(now), Some(now + Duration::from_millis(100)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pacer {
    rate: Option<NonZeroU64>,
    burst: u32,
    tx_clock: Instant,
}

impl Pacer {
    /// Makes a pacer for `rate` octets per second, or for no limit, and a burst of `burst` octets.
    #[must_use]
    pub const fn new(rate: Option<NonZeroU64>, burst: u32) -> Self {
        Self {
            rate,
            burst,
            tx_clock: Instant::ZERO,
        }
    }

    /// Changes the rate in octets per second and the burst in octets. What was sent still counts.
    pub const fn set_rate(&mut self, rate: Option<NonZeroU64>, burst: u32) {
        self.rate = rate;
        self.burst = burst;
    }

    /// Whether there is a rate.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// Returns how long `octets` take at the rate; 0 without a rate.
    #[must_use]
    pub fn transmission_time(&self, octets: usize) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let nanos = octets as u128 * 1_000_000_000 / u128::from(rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Counts `octets` that left at `now`.
    pub fn on_sent(&mut self, now: Instant, octets: usize) {
        if self.rate.is_some() {
            self.tx_clock = self.tx_clock.max(now) + self.transmission_time(octets);
        }
    }

    /// Returns when the next octets may leave; `None` for at once.
    #[must_use]
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.blocked_beyond(now, self.burst)
    }

    /// Returns when the next octets may leave if no more than `burst` octets may be ahead of the rate; `None` for at
    /// once.
    #[must_use]
    pub fn blocked_beyond(&self, now: Instant, burst: u32) -> Option<Instant> {
        self.rate?;
        let burst = self.transmission_time(usize::try_from(burst).unwrap_or(usize::MAX));
        let ahead = self.tx_clock - now;
        let excess = ahead
            .checked_sub(burst)
            .filter(|excess| !excess.is_zero())?;
        Some(now + excess)
    }

    /// Returns when all that was sent has passed at the rate: `now`, or later.
    #[must_use]
    pub fn tx_clock(&self, now: Instant) -> Instant {
        self.tx_clock.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rate(octets: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(octets)
    }

    #[test]
    fn without_a_rate_octets_leave_at_once_and_take_no_time() {
        let mut pacer = Pacer::new(None, 0);
        pacer.on_sent(Instant::ZERO, usize::MAX);

        assert_eq!(pacer.blocked_until(Instant::ZERO), None);
        assert_eq!(pacer.transmission_time(usize::MAX), Duration::ZERO);
        assert_eq!(pacer.tx_clock(Instant::ZERO), Instant::ZERO);
    }

    #[test]
    fn sends_follow_each_other_at_the_rate_on_average() {
        let mut pacer = Pacer::new(rate(10_000), 1500);
        let (mut now, mut sent) = (Instant::ZERO, 0);
        while now < Instant::ZERO + Duration::from_secs(10) {
            pacer.on_sent(now, 1000);
            sent += 1000;
            now = pacer.blocked_until(now).unwrap_or(now);
        }

        assert!((100_000..=102_500).contains(&sent), "{sent}");
    }

    #[test]
    fn a_higher_rate_takes_effect_on_what_follows_and_silence_earns_one_burst_at_most() {
        let mut pacer = Pacer::new(rate(1000), 0);
        pacer.on_sent(Instant::ZERO, 1000);
        assert_eq!(
            pacer.blocked_until(Instant::ZERO),
            Some(Instant::ZERO + Duration::from_secs(1))
        );

        pacer.set_rate(rate(1000), 1000);
        let later = Instant::ZERO + Duration::from_secs(60);
        assert_eq!(pacer.blocked_until(Instant::ZERO), None);
        pacer.on_sent(later, 1500);
        assert_eq!(
            pacer.blocked_until(later),
            Some(later + Duration::from_millis(500))
        );
    }
}
