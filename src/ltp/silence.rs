//! The silence of a peer that owes answers.
//!
//! A signal whose answer does not come may be lost on the line, or the peer may be out of reach. In the first case it
//! is repeated, and that counts towards its limit (RFC 5326 sections 6.7, 6.8 and 6.16). In the second no session is to
//! blame: their timers wait, and one signal after another asks whether the peer is back, ever more rarely.

use core::time::Duration;

use super::context::Lateness;
use crate::Instant;

/// The longest interval between two probes, unless an answer takes longer than that.
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// How long a peer may be silent before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// For a peer that was never heard.
    pub(super) unheard: Duration,
    /// For a peer that was heard.
    pub(super) heard: Duration,
    /// The time of an answer, margins included.
    pub(super) answer: Duration,
    /// How often a signal is sent, repetitions included. A peer so distant that this takes longer is given that time.
    pub(super) tries: u32,
}

/// What is due in a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The oldest signal is sent again, which does not count.
    Probe,
    /// The peer is given up.
    GiveUp,
}

/// When a peer was last heard, and the silence since, if answers are late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Silence {
    /// When a segment last came. `None` before the first.
    heard: Option<Instant>,
    late: Option<Ongoing>,
    /// When the peer was last given up.
    given_up: Option<Instant>,
    /// Since when the contact is closed. The peer cannot be heard then, and the time does not count.
    closed: Option<Instant>,
}

/// A silence in which answers are late.
#[derive(Debug, Clone, Copy)]
struct Ongoing {
    since: Instant,
    probe: Instant,
    interval: Duration,
}

impl Silence {
    /// Notes a segment of the peer. True if that ends a silence: timers that wait go on.
    #[inline]
    pub(super) fn on_heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        self.given_up = None;
        self.late.take().is_some()
    }

    /// Whether answers are late and nothing was heard since.
    pub(super) const fn is_silent(&self) -> bool {
        self.late.is_some()
    }

    pub(super) const fn was_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// Decides about a signal that left at `left` and whose answer is late. If the peer was heard since, the signal or its
    /// answer was lost. Otherwise it is the first probe of a silence, which counts only if the peer was given up before and
    /// not heard since, or a block that waits for its rate would be probed for ever. `None` while another probe is under way:
    /// it waits until the peer is heard.
    pub(super) fn on_late(
        &mut self,
        now: Instant,
        left: Instant,
        patience: &Patience,
    ) -> Option<Lateness> {
        if self.late.is_some() {
            return None;
        }
        if self.heard.is_some_and(|heard| heard >= left) {
            return Some(Lateness::Counts);
        }
        if self.given_up.is_some_and(|given_up| given_up >= left) {
            return Some(Lateness::IsFinal);
        }
        let interval = patience.longer(patience.answer);
        self.late = Some(Ongoing {
            since: left,
            probe: now + interval,
            interval,
        });
        Some(Lateness::of_probe(self.was_given_up()))
    }

    /// Whether the peer was given up and not heard since.
    pub(super) const fn was_given_up(&self) -> bool {
        self.given_up.is_some()
    }

    /// Notes that the contact has closed.
    pub(super) fn on_closed(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
    }

    /// Notes that the contact is open again. The time in between does not count.
    pub(super) fn on_opened(&mut self, now: Instant) {
        let Some(closed) = self.closed.take() else {
            return;
        };
        if let Some(late) = &mut self.late {
            let pause = now - closed.max(late.since);
            late.since += pause;
            late.probe += pause;
        }
    }

    /// Returns how long nothing was heard although answers are due; `None` if the peer is not silent.
    pub(super) fn lasts(&self, now: Instant) -> Option<Duration> {
        let late = self.late?;
        let now = self.closed.map_or(now, |closed| closed.min(now));
        Some(now - late.since)
    }

    /// Returns how long the peer may be silent.
    pub(super) fn limit(&self, patience: &Patience) -> Duration {
        let limit = if self.was_heard() {
            patience.heard
        } else {
            patience.unheard
        };
        limit.max(patience.answer.saturating_mul(patience.tries))
    }

    /// Returns when the next step is due; `None` while the peer is heard or the contact is closed.
    pub(super) fn next(&self, patience: &Patience) -> Option<Instant> {
        let late = self.late.filter(|_| self.closed.is_none())?;
        let limit = self.limit(patience);
        Some(late.probe.min(late.since + limit))
    }

    /// Takes a step that is due.
    pub(super) fn step(&mut self, now: Instant, patience: &Patience) -> Option<Step> {
        self.next(patience).filter(|next| *next <= now)?;
        if self.lasts(now)? >= self.limit(patience) {
            self.late = None;
            self.given_up = Some(now);
            return Some(Step::GiveUp);
        }
        let late = self.late.as_mut()?;
        late.interval = patience.longer(late.interval);
        late.probe = now + late.interval;
        Some(Step::Probe)
    }
}

impl Patience {
    /// Returns the interval between probes that follows one.
    fn longer(&self, interval: Duration) -> Duration {
        interval
            .saturating_mul(2)
            .min(MAX_INTERVAL)
            .max(self.answer)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NEAR: Patience = Patience {
        unheard: Duration::from_secs(12),
        heard: Duration::from_secs(600),
        answer: Duration::from_secs(2),
        tries: 6,
    };

    /// What is done, and whether the peer is silent then.
    type Late = (Option<Lateness>, bool);

    const REPEAT: Late = (Some(Lateness::Counts), false);
    const FIRST: Late = (Some(Lateness::Probes), true);
    const AGAIN: Late = (Some(Lateness::Counts), true);
    const WAIT: Late = (None, true);
    const GIVE_UP: Late = (Some(Lateness::IsFinal), false);

    fn late(silence: &mut Silence, now: u64, left: u64) -> Late {
        let late = silence.on_late(at(now), at(left), &NEAR);
        (late, silence.is_silent())
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the steps of a silence and their times, until the peer is given up.
    fn steps(silence: &mut Silence, patience: &Patience) -> Vec<(Instant, Step)> {
        let mut steps = Vec::new();
        while let Some(next) = silence.next(patience) {
            assert_eq!(
                silence.step(Instant::from_nanos(next.as_nanos() - 1), patience),
                None
            );
            steps.push((next, silence.step(next, patience).unwrap()));
        }
        steps
    }

    fn probes(steps: &[(Instant, Step)]) -> Vec<Instant> {
        let probes = steps.iter().filter(|(_, step)| *step == Step::Probe);
        probes.map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_late_answer_counts_while_the_peer_is_heard() {
        let mut silence = Silence::default();
        silence.on_heard(at(10));

        assert_eq!(late(&mut silence, 12, 10), REPEAT);
        assert_eq!(late(&mut silence, 12, 9), REPEAT);
        assert!(!silence.is_silent());
        assert_eq!(silence.next(&NEAR), None);
    }

    #[test]
    fn the_first_late_answer_in_a_silence_is_asked_for_once_more_and_all_others_wait() {
        let mut silence = Silence::default();
        silence.on_heard(at(9));

        assert_eq!(late(&mut silence, 12, 10), FIRST);
        assert_eq!(late(&mut silence, 12, 10), WAIT);
        assert_eq!(late(&mut silence, 13, 5), WAIT);
        assert!(silence.is_silent());
        assert_eq!(silence.lasts(at(15)), Some(secs(5)));

        assert!(silence.on_heard(at(16)));
        assert!(!silence.on_heard(at(16)));
        assert_eq!(silence.lasts(at(17)), None);
        assert_eq!(late(&mut silence, 17, 15), REPEAT);
    }

    #[test]
    fn a_peer_that_was_never_heard_is_given_up_after_12_s() {
        let mut silence = Silence::default();
        assert_eq!(late(&mut silence, 2, 0), FIRST);

        let steps = steps(&mut silence, &NEAR);

        let end = (at(12), Step::GiveUp);
        assert_eq!(steps, [(at(6), Step::Probe), end]);
        assert!(!silence.is_silent());
        // What was under way ends with it; what leaves later is another matter.
        assert_eq!(late(&mut silence, 13, 11), GIVE_UP);
        assert_eq!(late(&mut silence, 15, 13), AGAIN);
    }

    #[test]
    fn a_peer_that_was_heard_is_probed_at_doubled_intervals_of_a_minute_at_most_for_10_min() {
        let mut silence = Silence::default();
        silence.on_heard(at(99));
        late(&mut silence, 102, 100);

        let steps = steps(&mut silence, &NEAR);

        let times: Vec<u64> = probes(&steps)
            .iter()
            .map(|at| (*at - self::at(100)).as_secs())
            .collect();
        assert_eq!(
            times,
            [6, 14, 30, 62, 122, 182, 242, 302, 362, 422, 482, 542]
        );
        assert_eq!(steps.last(), Some(&(at(700), Step::GiveUp)));
    }

    #[test]
    fn time_in_closed_contacts_does_not_count() {
        let mut silence = Silence::default();
        silence.on_heard(at(0));
        late(&mut silence, 3, 1);
        silence.on_closed(at(5));
        silence.on_closed(at(6));

        assert_eq!(silence.next(&NEAR), None);
        assert_eq!(silence.step(at(80_000), &NEAR), None);
        assert_eq!(silence.lasts(at(80_000)), Some(secs(4)));

        silence.on_opened(at(80_005));
        silence.on_opened(at(80_006));
        assert_eq!(silence.lasts(at(80_005)), Some(secs(4)));
        assert_eq!(silence.next(&NEAR), Some(at(80_007)));
        let steps = steps(&mut silence, &NEAR);
        assert_eq!(steps.last(), Some(&(at(80_601), Step::GiveUp)));
    }

    #[test]
    fn a_silence_that_begins_in_a_closed_contact_counts_from_its_opening() {
        let mut silence = Silence::default();
        silence.on_closed(at(1));
        late(&mut silence, 50, 40);

        silence.on_opened(at(100));

        assert_eq!(silence.lasts(at(100)), Some(Duration::ZERO));
        assert_eq!(silence.lasts(at(107)), Some(secs(7)));
    }

    #[test]
    fn a_distant_peer_is_given_the_time_of_all_repetitions_and_probed_no_faster_than_it_can_answer()
    {
        let hours = Patience {
            answer: secs(7202),
            ..NEAR
        };
        let mut silence = Silence::default();
        silence.on_late(at(7202), at(0), &hours);

        let steps = steps(&mut silence, &hours);

        let times: Vec<u64> = probes(&steps)
            .iter()
            .map(|at| at.as_nanos() / 1_000_000_000)
            .collect();
        assert_eq!(times, [2, 3, 4, 5].map(|count| count * 7202));
        assert_eq!(steps.last(), Some(&(at(6 * 7202), Step::GiveUp)));
    }

    #[test]
    fn every_step_moves_on_however_late_it_is_taken() {
        let mut silence = Silence::default();
        silence.on_heard(at(0));
        late(&mut silence, 3, 1);

        let mut taken = Vec::new();
        while let Some(step) = silence.step(at(400), &NEAR) {
            taken.push(step);
        }

        assert_eq!(taken, [Step::Probe]);
        assert!(silence.next(&NEAR).unwrap() > at(400));
    }
}
