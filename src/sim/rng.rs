//! The random numbers of a line, and the time that octets take on it.

use core::time::Duration;

use crate::Seed;

const TWO_TO_53: f64 = 9_007_199_254_740_992.0;
const TWO_TO_32: f64 = 4_294_967_296.0;

/// The random number generator of a line: `SplitMix64`.
///
/// It has 8 bytes, and [`Rng`](crate::Rng) has 300. A world has many lines, and their numbers need not be
/// secret.
#[derive(Debug, Clone)]
pub(super) struct LineRng(u64);

impl LineRng {
    pub(super) fn new(seed: &Seed) -> Self {
        Self(seed.rng().next_u64())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns true with this probability. Draws nothing for 0 or 1, so that a fault of probability 0 changes
    /// no run.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        probability >= 1.0 || self.unit() < probability
    }

    /// Returns a number in `0.0..1.0`, in steps of 2^-53. All operations are exact, so that a seed gives the
    /// same run on every platform.
    fn unit(&mut self) -> f64 {
        let bits = self.next() >> 11;
        let part = |bits: u64| f64::from(u32::try_from(bits).unwrap_or(u32::MAX));
        (part(bits >> 32) * TWO_TO_32 + part(bits & u64::from(u32::MAX))) / TWO_TO_53
    }

    /// Returns a number below `bound`, or 0 if `bound` is 0. Small numbers are likelier by less than
    /// `bound / 2^64`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Returns a time from zero to `most`, evenly distributed.
    pub(super) fn spread(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return Duration::ZERO;
        }
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }
}

/// Returns how long `octets` take at `rate` bits per second, rounded up to a nanosecond. At a rate of 0 that
/// is [`Duration::MAX`].
pub(super) fn wire_time(octets: usize, rate: u64) -> Duration {
    if rate == 0 {
        return Duration::MAX;
    }
    let bit_nanos = u128::try_from(octets)
        .unwrap_or(u128::MAX)
        .saturating_mul(8_000_000_000);
    u64::try_from(bit_nanos.div_ceil(u128::from(rate))).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> LineRng {
        LineRng::new(&Seed::from(3))
    }

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The first of the generator from state 0, as its authors publish them.
        let mut rng = LineRng(0);

        assert_eq!(rng.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(rng.next(), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn a_probability_is_kept() {
        let mut rng = rng();

        let hits = (0..100_000).filter(|_| rng.happens(0.25)).count();

        // Four standard deviations of a binomial distribution: 4 * sqrt(100000 * 0.25 * 0.75) = 548.
        assert!((24_452..=25_548).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit())));
    }

    #[test]
    fn a_bounded_number_stays_below_its_bound_and_reaches_every_value() {
        let mut rng = rng();
        let mut external = [0_u32; 5];

        for _ in 0..1000 {
            external[usize::try_from(rng.below(5)).unwrap()] += 1;
        }

        assert!(external.iter().all(|&count| count > 150), "{external:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn what_is_certain_draws_nothing() {
        let (mut rng, mut other) = (rng(), rng());

        assert!(!rng.happens(0.0));
        assert!(rng.happens(1.0));
        assert_eq!(rng.spread(Duration::ZERO), Duration::ZERO);

        assert_eq!(rng.next(), other.next());
    }

    #[test]
    fn the_time_on_the_wire_is_rounded_up() {
        assert_eq!(wire_time(1500, 1_000_000_000), Duration::from_micros(12));
        assert_eq!(wire_time(1, 3_000_000_000), Duration::from_nanos(3));
        assert_eq!(wire_time(0, 9600), Duration::ZERO);
        assert_eq!(wire_time(1, 0), Duration::MAX);
    }
}
