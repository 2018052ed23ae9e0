//! Chance and time in the amounts that lines need.

use core::time::Duration;

use crate::Chance;

const TWO_TO_26: f64 = 67_108_864.0;
const TWO_TO_27: f64 = 134_217_728.0;

/// Decides with `probability`. Nothing is drawn for what is certain, so that adding a fault of
/// probability 0 to a line changes no run.
pub(super) fn happens(chance: &mut Chance, probability: f64) -> bool {
    if probability <= 0.0 {
        return false;
    }
    probability >= 1.0 || unit(chance) < probability
}

/// A number from 0 up to, not including, 1, in steps of 2^-53. Only exact operations, so that a seed gives the
/// same run on every platform.
fn unit(chance: &mut Chance) -> f64 {
    let half = |chance: &mut Chance| u32::try_from(chance.next_u64() >> 32).unwrap_or(0);
    let (high, low) = (half(chance) >> 5, half(chance) >> 6);
    // 27 and 26 bits make the 53 of the mantissa, so that nothing is rounded.
    (f64::from(high) * TWO_TO_26 + f64::from(low)) / (TWO_TO_26 * TWO_TO_27)
}

/// Draws a span from zero to `most`, each as likely as the others.
pub(super) fn spread(chance: &mut Chance, most: Duration) -> Duration {
    if most.is_zero() {
        return Duration::ZERO;
    }
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(chance.below(nanos.saturating_add(1)))
}

/// How long `octets` take at `rate` bits per second, rounded up to a nanosecond. A rate of 0 takes for ever.
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
    use crate::Seed;

    #[test]
    fn a_probability_is_kept() {
        let mut chance = Seed::from(3).chance();

        let hits = (0..100_000).filter(|_| happens(&mut chance, 0.25)).count();

        // Four standard deviations of a binomial distribution: 4 * sqrt(100000 * 0.25 * 0.75) = 548.
        assert!((24_452..=25_548).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&unit(&mut chance))));
    }

    #[test]
    fn what_is_certain_draws_nothing() {
        let mut chance = Seed::from(3).chance();
        let mut other = Seed::from(3).chance();

        assert!(!happens(&mut chance, 0.0));
        assert!(happens(&mut chance, 1.0));
        assert_eq!(spread(&mut chance, Duration::ZERO), Duration::ZERO);

        assert_eq!(chance.next_u64(), other.next_u64());
    }

    #[test]
    fn the_time_on_the_wire_is_rounded_up() {
        assert_eq!(wire_time(1500, 1_000_000_000), Duration::from_micros(12));
        assert_eq!(wire_time(1, 3_000_000_000), Duration::from_nanos(3));
        assert_eq!(wire_time(0, 9600), Duration::ZERO);
        assert_eq!(wire_time(1, 0), Duration::MAX);
    }
}
