//! Measurements of the line to a peer: losses in both directions, and round-trip times.
//!
//! Losses are measured by what reports leave unclaimed of first passes, by acknowledgments that copies of reports
//! caused, and by expired timers. Times are measured by answers (RFC 6298), but not by answers that could be to
//! either of two transmissions (Karn's rule).

use alloc::collections::VecDeque;
use core::time::Duration;

use super::flow::FlowEstimate;
use super::redundancy::{PARTS, Redundancy, bounded};
use super::rto::{RtoBounds, RtoPolicy};
use crate::Instant;
use crate::kit::Rtt;
use crate::ltp::wire::SessionId;

/// Measurements of the line to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LineEstimate {
    /// Loss of segments to the peer, in parts per million.
    pub loss_out: u32,
    /// Loss of segments from the peer, in parts per million.
    pub loss_in: u32,
    /// The smoothed time from a signal to its answer. `None` before the first measurement.
    pub round_trip: Option<Duration>,
    /// The smoothed variation of that time.
    pub variation: Duration,
    /// The number of times measured.
    pub samples: u64,
    /// The number of copies that a signal gets.
    pub copies: u8,
    /// The retransmission timeout of a signal, light times included.
    pub timeout: Duration,
    /// How fast segments leave.
    pub flow: FlowEstimate,
}

/// Segments after which a measured loss counts half.
const WINDOW: u64 = 1024;
/// Segments that the configured loss counts for.
const PRIOR: u64 = 8;
/// Fractions of a segment that are counted, so that rare losses are not rounded away.
const FINE: u64 = 1 << 16;
/// The maximum number of reports whose acknowledgments are counted at a time.
const MAX_WATCHED: usize = 16;
/// A repeated signal gives a sample if its repetitions were sent within this fraction of the time.
const APART: u32 = 8;

/// The estimator of one peer.
#[derive(Debug, Default)]
pub(in crate::ltp) struct Line {
    out: Loss,
    inward: Loss,
    rtt: Rtt,
    watched: VecDeque<Watched>,
}

/// Segments sent, and those of them that were lost. Recent ones count more.
#[derive(Debug, Default, Clone, Copy)]
struct Loss {
    sent: u64,
    lost: u64,
}

/// A report and its copies. Each draws an acknowledgment unless one of the two is lost.
#[derive(Debug)]
struct Watched {
    session: SessionId,
    serial: u64,
    left: u32,
    acknowledged: u32,
    until: Instant,
}

impl Loss {
    fn note(&mut self, sent: u64, lost: u64) {
        let sent = sent.min(u64::MAX >> 20);
        self.sent += sent * FINE;
        self.lost += lost.min(sent) * FINE;
        while self.sent > WINDOW * FINE {
            self.sent /= 2;
            self.lost /= 2;
        }
    }

    const fn is_known(self) -> bool {
        self.sent > 0
    }

    /// Returns the loss in parts per million, starting from `prior`.
    fn rate(self, prior: u32) -> u32 {
        let lost = self.lost * u64::from(PARTS) + PRIOR * FINE * u64::from(prior);
        bounded(lost / (self.sent + PRIOR * FINE))
    }
}

impl Line {
    // Losses.

    /// Counts `sent` segments to the peer of which `lost` were lost.
    pub(in crate::ltp) fn sent(&mut self, sent: u64, lost: u64) {
        self.out.note(sent, lost);
    }

    /// Counts `sent` segments from the peer of which `lost` were lost.
    pub(in crate::ltp) fn came(&mut self, sent: u64, lost: u64) {
        self.inward.note(sent, lost);
    }

    /// Counts a signal that was answered or not. The exchange takes two segments, of which none or one was lost, in
    /// either direction with equal probability.
    pub(in crate::ltp) fn exchanged(&mut self, is_answered: bool) {
        self.out.note(2, u64::from(!is_answered));
    }

    /// Counts a segment of a report that was sent. Its acknowledgments count until `until`.
    pub(in crate::ltp) fn on_report_sent(
        &mut self,
        now: Instant,
        session: SessionId,
        serial: u64,
        until: Instant,
    ) {
        self.settle(now);
        if let Some(known) = self.watched(session, serial) {
            known.left += 1;
            known.until = until;
        } else if self.watched.len() < MAX_WATCHED {
            self.watched.push_back(Watched {
                session,
                serial,
                left: 1,
                acknowledged: 0,
                until,
            });
        }
    }

    fn watched(&mut self, session: SessionId, serial: u64) -> Option<&mut Watched> {
        let mut watched = self.watched.iter_mut();
        watched.find(|one| one.serial == serial && one.session == session)
    }

    pub(in crate::ltp) fn report_acknowledged(&mut self, session: SessionId, serial: u64) {
        if let Some(known) = self.watched(session, serial) {
            known.acknowledged = known.acknowledged.saturating_add(1).min(known.left);
        }
    }

    /// Counts the reports whose acknowledgments must have arrived by `now`. Of those missing, acknowledgments were
    /// lost as often as other segments from the peer.
    fn settle(&mut self, now: Instant) {
        while let Some(oldest) = self.watched.front()
            && oldest.until <= now
        {
            let came = u64::from(PARTS - self.inward.rate(0));
            let arrived = u64::from(oldest.acknowledged) * u64::from(PARTS) / came.max(1);
            let left = u64::from(oldest.left);
            self.watched.pop_front();
            self.out.note(left, left.saturating_sub(arrived));
        }
    }

    /// Returns the loss to the peer in parts per million. Before a measurement, that of the other direction.
    pub(in crate::ltp) fn loss_out(&self, copies: &Redundancy) -> u32 {
        let prior = copies.initial_loss();
        if self.out.is_known() {
            self.out.rate(prior)
        } else {
            self.inward.rate(prior)
        }
    }

    /// Returns how many copies a signal gets.
    pub(in crate::ltp) fn copies(&self, copies: &Redundancy) -> u8 {
        match copies {
            Redundancy::Fixed(count) => *count,
            Redundancy::Adaptive(adaptive) => adaptive.count(self.loss_out(copies)),
        }
    }

    // Times.

    /// Measures an answer `took` after the signal was first sent, whose last repetition was sent `spread` after that.
    /// False if the sample is ambiguous.
    pub(in crate::ltp) fn took(&mut self, took: Duration, spread: Duration) -> bool {
        if took.is_zero() || spread > took / APART {
            return false;
        }
        self.rtt.on_sample(took);
        true
    }

    /// Returns how much longer than the light times an answer may take. `None` without a learned margin.
    pub(in crate::ltp) fn rto_margin(&self, rto: RtoPolicy, light: Duration) -> Option<Duration> {
        let RtoPolicy::Learned(RtoBounds { min, max }) = rto else {
            return None;
        };
        let timeout = self.rtt.timeout(min)?;
        Some(timeout.saturating_sub(light).clamp(min, max))
    }

    /// Returns the measurements.
    pub(in crate::ltp) fn estimate(&self, copies: &Redundancy, timeout: Duration) -> LineEstimate {
        LineEstimate {
            loss_out: self.loss_out(copies),
            loss_in: self.inward.rate(copies.initial_loss()),
            round_trip: self.rtt.smoothed(),
            variation: self.rtt.variation(),
            samples: self.rtt.samples(),
            copies: self.copies(copies),
            timeout,
            flow: FlowEstimate::default(),
        }
    }

    pub(in crate::ltp) fn memory_used(&self) -> usize {
        self.watched.capacity() * size_of::<Watched>()
    }

    /// Returns the bytes that watched reports take at most.
    pub(in crate::ltp) const fn memory_per_entry() -> usize {
        2 * MAX_WATCHED * size_of::<Watched>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn no_sample_is_taken_when_the_answer_could_be_to_either_of_two() {
        let mut line = Line::default();

        line.took(ms(100), ms(50));
        assert_eq!(line.rtt.samples(), 0);
        line.took(ms(100), ms(12));

        assert_eq!(line.rtt.samples(), 1);
    }

    #[test]
    fn a_learned_margin_stays_within_its_bounds() {
        let bounds = RtoBounds {
            min: ms(10),
            max: ms(200),
        };
        let learned = RtoPolicy::Learned(bounds);
        let mut line = Line::default();
        assert_eq!(line.rto_margin(learned, ms(100)), None);

        for _ in 0..100 {
            line.took(ms(100), Duration::ZERO);
        }
        assert_eq!(line.rto_margin(learned, ms(100)), Some(ms(10)));
        assert_eq!(line.rto_margin(learned, ms(50)), Some(ms(60)));
        line.took(ms(5000), Duration::ZERO);
        assert_eq!(line.rto_margin(learned, ms(100)), Some(ms(200)));
        assert_eq!(line.rto_margin(RtoPolicy::Fixed, ms(100)), None);
    }

    #[test]
    fn losses_are_learned_and_forgotten_again() {
        let mut line = Line::default();
        let loss = |line: &Line| {
            line.estimate(&Redundancy::default(), Duration::ZERO)
                .loss_out
        };

        line.sent(1000, 300);
        let high = loss(&line);
        line.sent(10_000, 0);

        assert!((290_000..=300_000).contains(&high), "{high}");
        assert!(loss(&line) < 30_000, "{}", loss(&line));
    }

    #[test]
    fn acknowledgments_of_copies_tell_the_loss_of_reports() {
        let session = SessionId {
            originator: 1,
            number: 2,
        };
        let mut line = Line::default();
        let at = |millis| Instant::ZERO + ms(millis);
        // Of ten copies of each report, seven are acknowledged.
        for serial in 1..=50 {
            let now = at(serial * 100);
            for _ in 0..10 {
                line.on_report_sent(now, session, serial, now + ms(50));
            }
            for _ in 0..7 {
                line.report_acknowledged(session, serial);
            }
        }

        let estimate = line.estimate(&Redundancy::default(), Duration::ZERO);
        assert!(
            (280_000..=310_000).contains(&estimate.loss_out),
            "{estimate:?}"
        );
    }
}
