//! The one place that reads a clock.

use core::time::Duration;

use crate::Instant;

/// Turns the monotonic clock of the system into [`Instant`]s.
///
/// The origin is anchored once, when the clock is made. Steps of the wall clock do not reach it, and
/// should the system's clock ever stand still or go back, time stands still.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: std::time::Instant,
}

impl Clock {
    /// The grain of the system's timers, to which waits are rounded up.
    pub const GRAIN: Duration = Duration::from_millis(1);

    /// Anchors [`Instant::ZERO`] at this moment.
    #[must_use]
    pub fn new() -> Self {
        let anchor = Self::system_now();
        Self { anchor }
    }

    /// Anchors [`Instant::ZERO`] at the last whole second of the wall clock, and tells which that was, in
    /// seconds since 1970.
    ///
    /// A recording of what lives by this clock, with that second as its epoch, shows the time of day to the
    /// nanosecond. Should the wall clock be set later on, both stay as they are.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    pub fn since_epoch() -> (Self, u64) {
        let Self { anchor } = Self::new();
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let begun = Duration::from_nanos(u64::from(wall.subsec_nanos()));
        // The system's clock may have begun less than a second ago.
        let anchor = anchor.checked_sub(begun).unwrap_or(anchor);
        (Self { anchor }, wall.as_secs())
    }

    /// Reads the clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.at(Self::system_now())
    }

    /// Reads the clock of the system.
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    pub(crate) fn system_now() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Returns what this clock showed, or will show, at `moment`; zero before it was made.
    #[must_use]
    pub fn at(&self, moment: std::time::Instant) -> Instant {
        Instant::ZERO + moment.saturating_duration_since(self.anchor)
    }

    /// Returns the system's name of `instant`, or `None` when it lies beyond what the system can name.
    #[must_use]
    pub fn moment(&self, instant: Instant) -> Option<std::time::Instant> {
        self.anchor.checked_add(instant - Instant::ZERO)
    }

    /// Returns how long to wait for `deadline`, rounded up to the [`GRAIN`](Self::GRAIN).
    ///
    /// Rounding down would wake the driver early, find nothing due, and spin until the deadline.
    #[must_use]
    pub fn wait(&self, deadline: Instant) -> Duration {
        round_up(deadline - self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn round_up(span: Duration) -> Duration {
    let grain = Clock::GRAIN.as_nanos();
    let grains = span.as_nanos().div_ceil(grain);
    Duration::from_nanos(u64::try_from(grains.saturating_mul(grain)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_to_the_grain() {
        assert_eq!(round_up(Duration::ZERO), Duration::ZERO);
        assert_eq!(round_up(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(round_up(Duration::from_millis(1)), Duration::from_millis(1));
        assert_eq!(
            round_up(Duration::from_micros(1001)),
            Duration::from_millis(2)
        );
    }

    #[test]
    fn the_origin_is_anchored_once_and_time_never_goes_back() {
        let clock = Clock::new();
        let first = clock.now();
        let earlier = clock.anchor.checked_sub(Duration::from_secs(1)).unwrap();

        assert!(clock.now() >= first);
        assert_eq!(clock.at(earlier), Instant::ZERO);
        assert_eq!(clock.at(clock.moment(first).unwrap()), first);
    }

    #[test]
    fn a_clock_since_an_epoch_shows_the_part_of_the_second_that_has_passed() {
        let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let (clock, epoch) = Clock::since_epoch();
        let shown = Duration::from_secs(epoch) + (clock.now() - Instant::ZERO);
        let after = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();

        // Two clocks that are not read at once, and may run a little apart.
        let grace = Duration::from_millis(200);
        assert!(before <= shown + grace && shown <= after + grace);
    }

    #[test]
    fn a_deadline_in_the_past_means_no_wait() {
        assert_eq!(Clock::new().wait(Instant::ZERO), Duration::ZERO);
    }
}
