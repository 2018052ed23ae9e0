//! How fast a line delivers, measured by when reports arrive.
//!
//! A share of losses does not tell how slow a line is: the queue ahead of it takes a part of a short block at any rate.
//! But all of what a line delivers has passed it when the checkpoint behind it is reported on.

use core::time::Duration;

use super::learn::HEAD;
use super::level::Round;
use crate::Instant;

/// The number of lost segments that tell an overload if they are a quarter or more.
const LOST: u64 = 16;
/// The number of segments without losses that tell whether a rate is borne.
pub(super) const SAMPLE: u64 = 64;
/// How many such samples precede a higher rate, once the line was found to deliver less than was sent.
const CAUTION: u32 = 8;

/// The rate at which octets of a block arrive.
#[derive(Debug, Clone, Default)]
pub(super) struct DeliveryRate {
    /// When reports on a part came last. What they told about had passed the line by then.
    reported: Instant,
    sent: u64,
    delivered: u64,
    /// The time that the line took for what was delivered.
    took: Duration,
    is_uncertain: bool,
    probe: Option<Probe>,
}

/// How a rate that was measured is raised.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// Whether it is near what the line delivers.
    is_found: bool,
    /// Samples before the next rise.
    rest: u32,
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
}

impl DeliveryRate {
    /// Whether the rate in force was measured.
    pub(super) const fn is_in_force(&self) -> bool {
        self.probe.is_some()
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
        let segments = self.sent / segment.max(1);
        let lost = (self.sent - self.delivered) / segment.max(1);
        let is_overload = lost >= LOST && lost * 4 >= segments;
        if !is_overload && segments < SAMPLE {
            return None;
        }
        let nanos = self.took.as_nanos();
        let data = segment.saturating_sub(HEAD).max(1);
        let octets = u128::from(self.delivered) * u128::from(segment) / u128::from(data);
        let rate = (octets * 1_000_000_000).checked_div(nanos);
        let measured = Measured {
            sent: self.sent,
            delivered: self.delivered,
            rate: rate.map_or(u64::MAX, |rate| u64::try_from(rate).unwrap_or(u64::MAX)),
            is_uncertain: self.is_uncertain,
        };
        self.clear();
        Some(measured)
    }

    /// Returns the rate that follows from a measurement, while so many octets per second leave. `None` if it says nothing
    /// about the rate in force. `is_window` says that no rate is in force, and octets leave faster.
    pub(super) fn next(&mut self, measured: &Measured, value: u64, is_window: bool) -> Option<u64> {
        let lost = measured.sent - measured.delivered;
        if lost * 4 >= measured.sent {
            return self.fall(measured, value, is_window);
        }
        let probe = self.probe.as_mut().filter(|_| lost == 0)?;
        // Less arrives than leaves: the rest fills a queue.
        if measured.rate < value / 20 * 19 {
            *probe = Probe::FOUND;
            return (!measured.is_uncertain).then_some(measured.rate);
        }
        if probe.rest > 0 {
            probe.rest -= 1;
            return None;
        }
        *probe = if probe.is_found { Probe::FOUND } else { *probe };
        let more = if probe.is_found { value / 8 } else { value / 2 };
        Some(value.saturating_add(more))
    }

    fn fall(&mut self, measured: &Measured, value: u64, is_window: bool) -> Option<u64> {
        let share = u128::from(value) * u128::from(measured.delivered);
        let passed = share / u128::from(measured.sent.max(1));
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let least = if is_window { value } else { passed / 4 * 3 };
        if measured.rate >= least {
            return None;
        }
        if !measured.is_uncertain {
            self.probe = Some(Probe::FOUND);
            return Some(measured.rate);
        }
        self.probe = Some(Probe::BEGUN);
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
            ..Self::default()
        };
    }
}

impl Probe {
    const FOUND: Self = Self {
        is_found: true,
        rest: CAUTION,
    };
    const BEGUN: Self = Self {
        is_found: false,
        rest: 0,
    };
}
