//! How fast a line delivers, measured by when reports arrive.
//!
//! A share of losses does not tell how slow a line is: the queue ahead of it takes a part of a short block at any rate.
//! But all of what a line delivers has passed it when the checkpoint behind it is reported on.

use core::time::Duration;

use super::learn::HEAD;
use super::level::{PARTS, Round, scaled, share};
use crate::Instant;

/// The number of lost segments that tell an overload if they are a quarter or more.
const LOST: u64 = 16;
/// The same, if they are two thirds or more: a short queue takes a part of a short block only.
const FEW_LOST: u64 = 4;
/// The number of segments without losses that tell whether a rate is borne.
pub(super) const SAMPLE: u64 = 64;
/// How many such samples precede a higher rate, once the line was found to deliver less than was sent.
const CAUTION: u32 = 8;
/// The lowest rate that is found, in octets per second: a peer that claims next to nothing holds no block up for hours.
/// Slower radios have a rate by hand.
const LEAST: u64 = 100;

/// The rate at which octets of a block arrive.
#[derive(Debug, Clone, Default)]
pub(super) struct DeliveryRate {
    /// When reports on a part came last. What they told about had passed the line by then.
    reported: Instant,
    sent: u64,
    delivered: u64,
    /// Octets that reports have claimed in the meantime, those of other parts included.
    claimed: u64,
    /// The time that the line took for them.
    took: Duration,
    is_uncertain: bool,
    is_delayed: bool,
    probe: Option<Probe>,
    /// Whether the peer may allow few reports, so that no rate is tried which is not known to be borne.
    pub(super) is_cautious: bool,
}

/// How a rate that was measured is raised.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// Whether it is near what the line delivers.
    is_found: bool,
    /// Samples before the next rise.
    rest: u32,
    /// The rate before the latest rise, until that is known to be borne.
    before: Option<u64>,
}

/// What a number of segments told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// Octets per second that arrived, headers included.
    pub(super) rate: u64,
    /// Whether the line may have been faster: checkpoints were lost, so it is not known when the octets arrived.
    pub(super) is_uncertain: bool,
    /// Whether a queue has grown on the way.
    pub(super) is_delayed: bool,
}

impl Measured {
    /// Whether so much was lost that a queue may have overflowed.
    pub(super) const fn is_overload(&self) -> bool {
        self.delivered <= self.sent / 4 * 3
    }
}

impl DeliveryRate {
    /// Whether the rate in force was measured.
    pub(super) const fn is_in_force(&self) -> bool {
        self.probe.is_some()
    }

    /// Counts octets that a report has claimed.
    pub(super) const fn on_claimed(&mut self, octets: u64) {
        self.claimed = self.claimed.saturating_add(octets);
    }

    /// Takes what reports told about a part of a block that left after the rate last changed, or before. Returns what is
    /// known if that is enough.
    pub(super) fn on_round(
        &mut self,
        now: Instant,
        round: &Round,
        (round_trip, changed): (Duration, Instant),
        segment: u64,
    ) -> Option<Measured> {
        // Octets ahead of those that were reported on before kept the line busy.
        let begins = (round.since + round_trip).max(self.reported);
        self.reported = now;
        if round.since < changed {
            self.clear();
            return None;
        }
        self.sent += round.sent;
        self.delivered += round.delivered.min(round.sent);
        self.took += now - begins;
        self.is_uncertain |= !round.is_timed;
        self.is_delayed |= round.is_delayed;
        let segments = self.sent / segment.max(1);
        let lost = (self.sent - self.delivered) / segment.max(1);
        let is_overload =
            lost >= LOST && lost * 4 >= segments || lost >= FEW_LOST && lost * 3 >= segments * 2;
        if !is_overload && segments < SAMPLE {
            return None;
        }
        let nanos = self.took.as_nanos();
        let data = segment.saturating_sub(HEAD).max(1);
        let octets =
            u128::from(self.claimed.max(self.delivered)) * u128::from(segment) / u128::from(data);
        let rate = (octets * 1_000_000_000).checked_div(nanos);
        let measured = Measured {
            sent: self.sent,
            delivered: self.delivered,
            rate: rate.map_or(u64::MAX, |rate| {
                u64::try_from(rate).unwrap_or(u64::MAX).max(LEAST)
            }),
            is_uncertain: self.is_uncertain,
            is_delayed: self.is_delayed,
        };
        self.clear();
        Some(measured)
    }

    /// Returns the rate that follows from a measurement, while so many octets per second leave. `None` if it says nothing
    /// about the rate in force. `is_window` says that no rate is in force, and octets leave faster. The line loses the
    /// share `ambient`, in parts per million, whatever the rate.
    pub(super) fn next(
        &mut self,
        measured: &Measured,
        (value, ambient): (u64, u64),
        is_window: bool,
    ) -> Option<u64> {
        let lost = PARTS - share(measured.delivered, measured.sent);
        if lost >= PARTS / 4 + ambient {
            return self.fall(measured, value, is_window);
        }
        let probe = self.probe.as_mut()?;
        if measured.is_delayed || lost > 2 * ambient {
            // A queue grows. If the rate has risen, less arrives than leaves.
            let before = probe.before?;
            let most = if probe.is_found { before } else { value };
            *probe = Probe::FOUND;
            return Some(measured.rate.clamp(before, most.max(before)));
        }
        if probe.before.take().is_some() {
            // The line is faster than was measured.
            *probe = Probe::BEGUN;
        }
        if probe.rest > 0 {
            probe.rest -= 1;
            return None;
        }
        let more = if probe.is_found { value / 8 } else { value / 2 };
        *probe = Probe {
            rest: if probe.is_found { CAUTION } else { 0 },
            before: Some(value),
            ..*probe
        };
        Some(value.saturating_add(more))
    }

    fn fall(&mut self, measured: &Measured, value: u64, is_window: bool) -> Option<u64> {
        let passed = scaled(value, measured.delivered, measured.sent);
        let least = if is_window { value } else { passed / 4 * 3 };
        if measured.rate >= least {
            return None;
        }
        if !measured.is_uncertain {
            self.probe = Some(Probe::FOUND);
            return Some(measured.rate);
        }
        self.probe = Some(Probe::BEGUN);
        if self.is_cautious {
            return Some(measured.rate);
        }
        // Between what arrived at least and what the share of losses tells.
        let product = u128::from(measured.rate) * u128::from(passed);
        u64::try_from(product.isqrt()).ok()
    }

    /// Forgets that the rate in force was measured, if it is as high as that to an unknown peer.
    pub(super) fn release(&mut self, value: u64, start: u64) {
        self.probe = self.probe.filter(|_| value < start);
    }

    fn clear(&mut self) {
        *self = Self {
            reported: self.reported,
            probe: self.probe,
            is_cautious: self.is_cautious,
            ..Self::default()
        };
    }
}

impl Probe {
    const FOUND: Self = Self {
        is_found: true,
        rest: CAUTION,
        before: None,
    };
    const BEGUN: Self = Self {
        is_found: false,
        rest: 0,
        before: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1024;
    const ROUND_TRIP: Duration = Duration::from_millis(100);

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn round(since: u64, sent: u64, delivered: u64) -> Round {
        Round {
            since: at(since),
            sent,
            delivered,
            busy: None,
            is_timed: true,
            is_delayed: false,
        }
    }

    fn told(rate: &mut DeliveryRate, now: u64, round: &Round) -> Option<Measured> {
        rate.on_claimed(round.delivered);
        rate.on_round(at(now), round, (ROUND_TRIP, at(0)), SEGMENT)
    }

    /// A rate of 1 MB/s that was found to be what the line delivers.
    fn found() -> DeliveryRate {
        DeliveryRate {
            probe: Some(Probe::FOUND),
            ..DeliveryRate::default()
        }
    }

    fn measured(sent: u64, delivered: u64, rate: u64) -> Measured {
        Measured {
            sent,
            delivered,
            rate,
            is_uncertain: false,
            is_delayed: false,
        }
    }

    fn behind_queue(rate: u64) -> Measured {
        Measured {
            is_delayed: true,
            ..measured(65_536, 65_536, rate)
        }
    }

    #[test]
    fn what_arrives_took_from_the_first_departure_to_the_report_without_the_round_trip() {
        let mut rate = DeliveryRate::default();

        let one = told(&mut rate, 600, &round(0, 1_000_000, 50_000)).unwrap();

        assert_eq!(one.rate, 102_400, "50,000 octets of data in 500 ms");
        assert_eq!(rate.next(&one, (12_500_000, 0), false), Some(102_400));
        assert!(rate.is_in_force());
    }

    #[test]
    fn a_peer_that_claims_next_to_nothing_slows_its_sender_to_100_octets_per_second_at_most() {
        let mut rate = DeliveryRate::default();

        let one = told(&mut rate, 60_100, &round(0, 1_000_000, 60)).unwrap();

        assert_eq!(rate.next(&one, (12_500_000, 0), false), Some(100));
    }

    #[test]
    fn octets_ahead_that_were_reported_on_before_took_time_of_their_own() {
        let mut rate = DeliveryRate::default();
        told(&mut rate, 600, &round(0, 1_000_000, 50_000));

        let next = told(&mut rate, 700, &round(10, 500_000, 10_000)).unwrap();

        assert_eq!(next.rate, 102_400, "10,000 octets in 100 ms");
    }

    #[test]
    fn octets_of_other_parts_that_arrived_meanwhile_count() {
        let mut rate = DeliveryRate::default();
        rate.on_claimed(40_000);

        let one = told(&mut rate, 600, &round(0, 100_000, 10_000)).unwrap();

        assert_eq!(one.rate, 102_400);
    }

    #[test]
    fn losses_below_a_quarter_and_a_line_that_is_nearly_as_fast_change_nothing() {
        let mut rate = DeliveryRate::default();

        let few = measured(1_000_000, 800_000, 1);
        assert_eq!(rate.next(&few, (1_000_000, 0), false), None);
        let fast = measured(1_000_000, 500_000, 400_000);
        assert_eq!(rate.next(&fast, (1_000_000, 0), false), None);
        let expected = measured(1_000_000, 700_000, 1);
        assert_eq!(rate.next(&expected, (1_000_000, 100_000), false), None);
        assert!(!rate.is_in_force());
    }

    #[test]
    fn of_a_window_any_rate_below_that_to_an_unknown_peer_is_taken() {
        let mut rate = DeliveryRate::default();
        let half = measured(1_000_000, 500_000, 900_000);

        assert_eq!(rate.next(&half, (800_000, 0), true), None);
        assert_eq!(rate.next(&half, (1_000_000, 0), true), Some(900_000));
    }

    #[test]
    fn a_rate_that_is_borne_rises_by_an_eighth_after_eight_samples_and_by_half_if_more_is_borne() {
        let mut rate = found();
        let clean = measured(65_536, 65_536, 1_000_000);

        for _ in 0..8 {
            assert_eq!(rate.next(&clean, (1_000_000, 0), false), None);
        }
        assert_eq!(rate.next(&clean, (1_000_000, 0), false), Some(1_125_000));
        let more = measured(65_536, 65_536, 1_125_000);
        assert_eq!(rate.next(&more, (1_125_000, 0), false), Some(1_687_500));
    }

    #[test]
    fn a_rise_that_changes_nothing_is_undone_and_nothing_else_lowers_a_rate_without_losses() {
        let mut rate = found();
        let clean = measured(65_536, 65_536, 1_000_000);
        let slow = behind_queue(10_000);
        for _ in 0..9 {
            rate.next(&clean, (1_000_000, 0), false);
        }

        assert_eq!(rate.next(&slow, (1_125_000, 0), false), Some(1_000_000));
        assert_eq!(rate.next(&slow, (1_000_000, 0), false), None);
    }

    #[test]
    fn a_rate_measured_by_a_late_checkpoint_is_a_guess_that_rises_by_half_until_less_arrives() {
        let mut rate = DeliveryRate::default();
        let late = Measured {
            is_uncertain: true,
            ..measured(1_000_000, 100_000, 10_000)
        };

        assert_eq!(rate.next(&late, (10_000_000, 0), false), Some(100_000));
        let clean = |rate| measured(65_536, 65_536, rate);
        assert_eq!(
            rate.next(&clean(100_000), (100_000, 0), false),
            Some(150_000)
        );
        assert_eq!(
            rate.next(&clean(150_000), (150_000, 0), false),
            Some(225_000)
        );
        assert_eq!(
            rate.next(&behind_queue(180_000), (225_000, 0), false),
            Some(180_000)
        );
        assert_eq!(rate.next(&behind_queue(180_000), (180_000, 0), false), None);
    }
}
