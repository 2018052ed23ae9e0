//! A rate or a window that follows the losses which reports tell.

use core::mem;
use core::time::Duration;

use crate::Instant;

/// Shares are counted in parts per million.
pub(super) const PARTS: u64 = 1_000_000;
/// The share of losses from which on a level falls.
const LOSSY: u64 = PARTS / 50;
/// The share of losses below which a block counts as received without losses.
const CLEAN: u64 = PARTS / 200;
/// The number of segments that tell a share of losses.
const SAMPLE: u64 = 256;
/// The number of lost segments that tell it if they are a quarter or more.
const LOST: u64 = 16;
/// By how much a share may be below another one and still count as the same.
const TOLERANCE: u64 = PARTS / 20;
/// The largest factor of one fall: a share of a few segments is no measurement.
const MAX_FALL: u64 = 16;
/// The length of blocks that raise a level, in octets.
const LONG_BLOCK: u64 = 1_000_000;
/// How many blocks without losses are sent below a level that had losses, before it is exceeded again.
const CAUTION: u32 = 8;

/// What reports told about octets that left one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ltp) struct Round {
    /// When the first of them left.
    pub(in crate::ltp) since: Instant,
    /// Octets sent.
    pub(in crate::ltp) sent: u64,
    /// Octets of them that were claimed.
    pub(in crate::ltp) delivered: u64,
    /// The time in which they arrived, if the answer was so late that the line was busy with them all the time.
    pub(in crate::ltp) busy: Option<Duration>,
    /// Whether the report tells when they arrived.
    pub(in crate::ltp) is_timed: bool,
    /// Whether the report is later than the round trip, as behind a queue.
    pub(in crate::ltp) is_delayed: bool,
}

/// A rate in octets per second, or a window in octets, for a peer of which little is known.
///
/// It falls by what was lost, and rises by half after a block without losses. Two kinds of losses are told apart
/// by the fall: those of a queue or buffer that was too short end with it, and those of the line itself stay. A
/// fall that has changed nothing is undone, and such losses are expected from then on.
#[derive(Debug, Clone)]
pub(super) struct Level {
    value: u64,
    min: u64,
    max: u64,
    /// When the value last changed. Octets that left before say nothing about it.
    changed: Instant,
    /// When losses were last reported.
    lossy: Option<Instant>,
    sent: u64,
    delivered: u64,
    trial: Option<Trial>,
    /// The share of losses that no fall changes.
    ambient: u64,
    ceiling: Option<Ceiling>,
    reductions: u32,
    loss: u64,
}

/// A fall whose effect is not known yet.
#[derive(Debug, Clone, Copy)]
struct Trial {
    before: u64,
    /// The share that was delivered before the fall.
    delivered: u64,
}

/// A level that had losses which a fall ended.
#[derive(Debug, Clone, Copy)]
struct Ceiling {
    /// The part of that level that was delivered.
    carried: u64,
    /// Blocks without losses before it is exceeded.
    blocks: u32,
}

impl Level {
    pub(super) const fn new(value: u64, min: u64, max: u64) -> Self {
        Self {
            value,
            min,
            max,
            changed: Instant::ZERO,
            lossy: None,
            sent: 0,
            delivered: 0,
            trial: None,
            ambient: 0,
            ceiling: None,
            reductions: 0,
            loss: 0,
        }
    }

    pub(super) const fn value(&self) -> u64 {
        self.value
    }

    /// Returns the share of losses that no lower value changes, in parts per million.
    pub(super) const fn ambient(&self) -> u64 {
        self.ambient
    }

    pub(super) const fn reductions(&self) -> u32 {
        self.reductions
    }

    /// Returns the share of losses that led to the latest reduction, in parts per million.
    pub(super) fn loss(&self) -> u32 {
        u32::try_from(self.loss).unwrap_or(u32::MAX)
    }

    /// Changes the highest value. A value that stood at the old one follows.
    pub(super) fn set_max(&mut self, max: u64) {
        if self.value > max || self.value == self.max {
            self.value = max.max(self.min);
        }
        self.max = max;
    }

    /// Takes what reports told about a part of a block, sent in segments of so many octets. Returns whether the value
    /// has changed.
    pub(super) fn on_round(&mut self, now: Instant, round: &Round, segment: u64) -> bool {
        if round.sent == 0 || round.since < self.changed {
            return false;
        }
        self.sent += round.sent;
        self.delivered += round.delivered.min(round.sent);
        let segments = self.sent / segment.max(1);
        let lost = (self.sent - self.delivered) / segment.max(1);
        let is_clear = lost >= LOST && lost * 4 >= segments;
        if segments < SAMPLE && !is_clear {
            return false;
        }
        let sent = mem::take(&mut self.sent);
        let delivered = share(mem::take(&mut self.delivered), sent);
        let lost = PARTS - delivered;
        let excess = lost.saturating_sub(self.ambient);
        if excess >= CLEAN {
            self.lossy = Some(now);
        }
        if let Some(trial) = self.trial.take() {
            if trial.is_without_effect(self.value, delivered) {
                return self.undo(now, trial, lost);
            }
            let passed = scaled(trial.before, trial.delivered, PARTS);
            let before = self.ceiling.map_or(0, |ceiling| ceiling.carried);
            // A small difference may be one of chance.
            let is_small = trial.delivered >= PARTS * 3 / 4;
            self.ceiling = Some(Ceiling {
                carried: if is_small { passed.max(before) } else { passed },
                blocks: CAUTION,
            });
        }
        if excess >= LOSSY + self.noise(segments) {
            return self.fall(now, delivered, round.slowness());
        }
        if lost < self.ambient {
            self.ambient = (self.ambient * 3 + lost) / 4;
        }
        false
    }

    /// Returns by how much a share of that many segments may exceed the one expected by chance: twice the standard
    /// deviation.
    const fn noise(&self, segments: u64) -> u64 {
        2 * (self.ambient * (PARTS - self.ambient) / segments).isqrt()
    }

    /// Lowers the value to nine tenths of what was delivered of it, or to what a busy line has let pass.
    fn fall(&mut self, now: Instant, delivered: u64, most: u64) -> bool {
        let before = self.value;
        let passed = scaled(before, delivered, PARTS - self.ambient);
        let value = scaled(passed, 9, 10).max(before / MAX_FALL).max(self.min);
        let value = value.min(most).max(1);
        if value >= before {
            return false;
        }
        self.reductions = self.reductions.saturating_add(1);
        self.loss = PARTS - delivered;
        self.trial = Some(Trial { before, delivered });
        self.set(now, value)
    }

    /// Undoes a fall that has not changed the share of losses.
    fn undo(&mut self, now: Instant, trial: Trial, lost: u64) -> bool {
        self.ambient = lost.min(PARTS / 2);
        self.reductions = self.reductions.saturating_sub(1);
        // An earlier fall may have gone too far, since it took all losses for its own.
        let value = trial.before.max(self.ceiling_value().unwrap_or(0));
        self.set(now, value.min(self.max))
    }

    fn ceiling_value(&self) -> Option<u64> {
        let ceiling = self.ceiling?;
        Some(scaled(
            ceiling.carried,
            PARTS * 19 / 20,
            PARTS - self.ambient,
        ))
    }

    /// Takes the end of a block whose transmission began at `started` and has succeeded. Returns whether the value has
    /// changed.
    pub(super) fn on_complete(&mut self, now: Instant, started: Instant, octets: u64) -> bool {
        let is_clean = self.lossy.is_none_or(|lossy| lossy < started);
        if octets < LONG_BLOCK || started < self.changed || !is_clean {
            return false;
        }
        let mut value = scaled(self.value, 3, 2).min(self.max);
        if let Some(limit) = self.ceiling_value().filter(|limit| value > *limit)
            && let Some(ceiling) = &mut self.ceiling
        {
            match ceiling.blocks.checked_sub(1) {
                Some(blocks) => {
                    ceiling.blocks = blocks;
                    value = limit.max(self.value);
                }
                None => self.ceiling = None,
            }
        }
        value > self.value && self.set(now, value)
    }

    /// Returns when the value last changed.
    pub(super) const fn changed(&self) -> Instant {
        self.changed
    }

    /// Falls to a measured value, which a later rise does not exceed at once, because of a share of losses.
    pub(super) fn fall_to(
        &mut self,
        now: Instant,
        value: u64,
        (sent, delivered): (u64, u64),
    ) -> bool {
        self.reductions = self.reductions.saturating_add(1);
        self.loss = PARTS - share(delivered, sent);
        self.lossy = Some(now);
        self.trial = None;
        self.ceiling = Some(Ceiling {
            carried: value,
            blocks: CAUTION,
        });
        self.set(now, value.max(1))
    }

    /// Takes a value that was borne, or is tried.
    pub(super) fn move_to(&mut self, now: Instant, value: u64) -> bool {
        self.set(now, value.min(self.max).max(1))
    }

    const fn set(&mut self, now: Instant, value: u64) -> bool {
        self.value = value;
        self.changed = now;
        self.sent = 0;
        self.delivered = 0;
        true
    }
}

impl Round {
    /// Returns the octets in a second that a busy line has let pass.
    fn slowness(&self) -> u64 {
        let Some(busy) = self.busy.filter(|busy| !busy.is_zero()) else {
            return u64::MAX;
        };
        let octets = u128::from(self.delivered) * 1_000_000_000 / busy.as_nanos();
        u64::try_from(octets).unwrap_or(u64::MAX)
    }
}

impl Trial {
    /// Whether the share that is delivered at the lower value is the one before, rather than the one which the lower
    /// value would lead to. If even less is delivered, a queue has filled up in the meantime.
    fn is_without_effect(self, value: u64, delivered: u64) -> bool {
        let without_losses = scaled(self.delivered, self.before, value.max(1)).min(PARTS);
        let expected = u64::midpoint(self.delivered, without_losses);
        delivered < expected && delivered + TOLERANCE >= self.delivered
    }
}

/// Returns `value * by / of`.
pub(super) fn scaled(value: u64, by: u64, of: u64) -> u64 {
    let product = u128::from(value) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

pub(super) fn share(part: u64, whole: u64) -> u64 {
    scaled(part, PARTS, whole).min(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SEGMENT: u64 = 1400;
    /// 100 Mbit/s.
    const START: u64 = 12_500_000;

    /// A line of a given rate that loses one segment in `one_in` by itself.
    struct TestLine {
        rate: u64,
        lost: u64,
        now: Instant,
    }

    impl TestLine {
        fn new(rate: u64, lost: u64) -> Self {
            let now = Instant::ZERO + Duration::from_secs(1);
            Self { rate, lost, now }
        }

        /// Sends octets at the rate of the level, and reports on them.
        fn round(&mut self, level: &mut Level, sent: u64) -> bool {
            let since = self.now;
            let passed = sent.min(scaled(sent, self.rate, level.value()));
            let delivered = scaled(passed, PARTS - self.lost, PARTS);
            self.now += Duration::from_millis(100);
            let round = Round {
                since,
                sent,
                delivered,
                busy: None,
                is_timed: true,
                is_delayed: false,
            };
            level.on_round(self.now, &round, SEGMENT)
        }

        /// Sends a block in rounds, the later ones with what was lost.
        fn block(&mut self, level: &mut Level, octets: u64) -> u64 {
            let (started, mut left, mut sent) = (self.now, octets, 0);
            while left > SEGMENT {
                let passed = left.min(scaled(left, self.rate, level.value()));
                let delivered = scaled(passed, PARTS - self.lost, PARTS);
                self.round(level, left);
                sent += left;
                left -= delivered;
            }
            self.now += Duration::from_millis(1);
            level.on_complete(self.now, started, octets);
            sent
        }
    }

    fn level() -> Level {
        Level::new(START, 12_500, 4 * START)
    }

    #[test]
    fn blocks_of_a_megabyte_without_losses_raise_it_by_half_to_its_highest_value() {
        let (mut level, mut line) = (level(), TestLine::new(u64::MAX, 0));
        let mut values = Vec::new();

        line.block(&mut level, 999_999);
        values.push(level.value());
        for _ in 0..5 {
            line.block(&mut level, 1_000_000);
            values.push(level.value());
        }

        assert_eq!(
            values,
            [
                START,
                18_750_000,
                28_125_000,
                42_187_500,
                4 * START,
                4 * START
            ]
        );
        assert_eq!(level.reductions(), 0);
    }

    #[test]
    fn of_blocks_sent_at_once_only_one_raises_it() {
        let (mut level, started) = (level(), Instant::ZERO);
        let now = started + Duration::from_secs(1);

        assert!(level.on_complete(now, started, 1_000_000));
        assert!(!level.on_complete(now, started, 1_000_000));

        assert_eq!(level.value(), START * 3 / 2);
    }

    #[test]
    fn losses_of_two_in_a_hundred_lower_it_to_nine_tenths_of_what_was_delivered() {
        let now = Instant::ZERO + Duration::from_secs(1);
        let round = |delivered| Round {
            since: now,
            sent: 1_000_000,
            delivered,
            busy: None,
            is_timed: true,
            is_delayed: false,
        };
        let (mut below, mut above) = (level(), level());

        assert!(!below.on_round(now, &round(980_001), SEGMENT));
        assert!(above.on_round(now, &round(980_000), SEGMENT));

        assert_eq!(below.value(), START);
        assert_eq!(above.value(), 11_025_000);
        assert_eq!((above.reductions(), above.loss()), (1, 20_000));
    }

    #[test]
    fn one_step_falls_by_sixteen_at_most_and_never_below_the_lowest_value() {
        let (mut level, mut line) = (level(), TestLine::new(1000, 0));
        let mut values = Vec::new();

        for _ in 0..5 {
            line.round(&mut level, 10_000_000);
            values.push(level.value());
        }

        assert_eq!(values, [781_250, 48_828, 12_500, 12_500, 12_500]);
    }

    #[test]
    fn what_a_busy_line_has_let_pass_bounds_it_below_its_lowest_value() {
        let (mut level, now) = (level(), Instant::ZERO + Duration::from_secs(16));
        let round = Round {
            since: Instant::ZERO,
            sent: 50_000,
            delivered: 16_000,
            busy: Some(Duration::from_secs(16)),
            is_timed: true,
            is_delayed: false,
        };

        assert!(level.on_round(now, &round, SEGMENT));

        assert_eq!(level.value(), 1000);
    }

    #[test]
    fn few_segments_are_no_measurement() {
        let (mut level, mut line) = (level(), TestLine::new(START / 2, 0));

        assert!(!line.round(&mut level, 31 * SEGMENT));
        assert_eq!(level.value(), START);
        assert!(line.round(&mut level, SEGMENT), "16 of 32 were lost");
    }

    #[test]
    fn octets_that_left_before_a_change_do_not_count_twice() {
        let (mut level, now) = (level(), Instant::ZERO + Duration::from_secs(1));
        let round = Round {
            since: Instant::ZERO,
            sent: 1_000_000,
            delivered: 500_000,
            busy: None,
            is_timed: true,
            is_delayed: false,
        };

        assert!(level.on_round(now, &round, SEGMENT));
        assert!(!level.on_round(now, &round, SEGMENT));

        assert_eq!(level.value(), 5_625_000);
    }

    #[test]
    fn a_slow_line_is_found_in_one_fall_and_then_not_overrun() {
        // 8 Mbit/s.
        let (mut level, mut line) = (level(), TestLine::new(1_000_000, 0));

        let sent = line.block(&mut level, 10_000_000);
        let after: u64 = (0..8).map(|_| line.block(&mut level, 10_000_000)).sum();

        assert!(sent < 20_000_000, "at most the block once more: {sent}");
        assert_eq!(after, 80_000_000, "nothing is sent twice");
        assert_eq!(level.value(), 950_000);
    }

    #[test]
    fn a_line_that_became_faster_is_tried_again_later() {
        let (mut level, mut line) = (level(), TestLine::new(1_000_000, 0));
        line.block(&mut level, 10_000_000);
        line.rate = u64::MAX;

        for _ in 0..8 {
            line.block(&mut level, 10_000_000);
        }
        assert!(level.value() <= 950_000);
        for _ in 0..12 {
            line.block(&mut level, 10_000_000);
        }

        assert_eq!(level.value(), 4 * START);
    }

    #[test]
    fn losses_that_a_fall_does_not_change_are_those_of_the_line() {
        let (mut level, mut line) = (level(), TestLine::new(u64::MAX, 100_000));
        let mut values = Vec::new();

        for _ in 0..4 {
            line.round(&mut level, 10_000_000);
            values.push(level.value());
        }

        assert_eq!(values, [10_125_000, START, START, START]);
        assert_eq!(level.reductions(), 0, "it was undone");
    }

    #[test]
    fn a_slow_line_with_losses_of_its_own_is_used_up_to_its_rate() {
        // 50 Mbit/s and one in ten, of which the first fall knows nothing.
        let (mut level, mut line) = (level(), TestLine::new(6_250_000, 100_000));

        for _ in 0..6 {
            line.round(&mut level, 10_000_000);
        }

        let used = level.value() * 100 / 6_250_000;
        assert!((90..=100).contains(&used), "{used} %");
    }

    #[test]
    fn a_queue_that_fills_up_during_a_fall_leads_to_another_fall() {
        let (mut level, now) = (level(), Instant::ZERO + Duration::from_secs(1));
        let mut report = |millis, delivered| {
            let round = Round {
                since: now + Duration::from_millis(millis),
                sent: 1_000_000,
                delivered,
                busy: None,
                is_timed: true,
                is_delayed: false,
            };
            level.on_round(round.since, &round, SEGMENT);
            level.value()
        };

        assert_eq!(report(0, 800_000), 9_000_000);
        assert_eq!(report(100, 600_000), 4_860_000, "even less");
        assert_eq!(report(200, 1_000_000), 4_860_000);
    }

    #[test]
    fn losses_of_the_line_are_forgotten_when_they_end() {
        let (mut level, mut line) = (level(), TestLine::new(u64::MAX, 100_000));
        for _ in 0..3 {
            line.round(&mut level, 10_000_000);
        }
        line.lost = 0;
        for _ in 0..20 {
            line.round(&mut level, 10_000_000);
        }

        line.rate = level.value() * 9 / 10;
        assert!(line.round(&mut level, 10_000_000), "a new loss is noticed");
    }

    #[test]
    fn the_highest_value_takes_the_value_along() {
        let mut window = Level::new(1000, 10, 1000);

        window.set_max(2000);
        assert_eq!(window.value(), 2000);
        window.set_max(500);
        assert_eq!(window.value(), 500);
    }
}
