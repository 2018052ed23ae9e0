//! Contact plans, which tell when a line is up.

use alloc::vec::Vec;
use core::time::Duration;

use super::When;
use crate::Instant;

/// The times in which a line is up. By default, it always is.
///
/// The machine that sends in this direction gets [`Link::Up`](crate::Link::Up) or
/// [`Link::Down`](crate::Link::Down) for the address of its peer when the line is added, and again at the
/// beginning and the end of each contact. Machines on [`Path`](crate::Path) get no such cues, because `Down`
/// is final for a path.
///
/// ```
/// use core::time::Duration;
/// use farlink::sim::{Contacts, Line};
///
/// let minutes = |count: u64| Duration::from_secs(60 * count);
/// let passes = Contacts::periodic(minutes(5), minutes(10), minutes(90));
/// let line = Line { contacts: passes.clone(), ..Line::default() };
///
/// let at = farlink::Instant::ZERO + minutes(100);
/// assert_eq!(passes.window_at(at).map(|(opens, _)| opens.to_string()).as_deref(), Some("5700.000000000s"));
/// # let _ = line;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contacts(ContactPlan);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum ContactPlan {
    #[default]
    Always,
    /// Sorted, with a gap between any two, and none empty.
    Windows(Vec<(Instant, Instant)>),
    Periodic {
        first: Instant,
        open: Duration,
        period: Duration,
    },
}

impl Contacts {
    /// The line is always up. Machines get no cues of it.
    pub const ALWAYS: Self = Self(ContactPlan::Always);

    /// Creates a plan of contacts, each with its beginning and its end, which is not in it. Contacts that touch
    /// or overlap are merged. Empty ones are ignored.
    pub fn windows<T: When>(windows: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut sorted: Vec<(Instant, Instant)> = windows
            .into_iter()
            .map(|(opens, closes)| (opens.instant(), closes.instant()))
            .filter(|(opens, closes)| opens < closes)
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(Instant, Instant)> = Vec::with_capacity(sorted.len());
        for (opens, closes) in sorted {
            match merged.last_mut() {
                Some(last) if opens <= last.1 => last.1 = last.1.max(closes),
                _ => merged.push((opens, closes)),
            }
        }
        Self(ContactPlan::Windows(merged))
    }

    /// Creates a plan of contacts of length `open`, which begin at `first` and then each `period`. A contact
    /// that is not shorter than the period never ends.
    pub fn periodic(first: impl When, open: Duration, period: Duration) -> Self {
        let first = first.instant();
        if open.is_zero() {
            return Self(ContactPlan::Windows(Vec::new()));
        }
        if open >= period {
            return Self::windows([(first, Instant::MAX)]);
        }
        Self(ContactPlan::Periodic {
            first,
            open,
            period,
        })
    }

    /// Tells whether the line is always up.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.0 == ContactPlan::Always
    }

    /// Returns the beginning and the end of the contact at `now`.
    #[must_use]
    pub fn window_at(&self, now: Instant) -> Option<(Instant, Instant)> {
        match &self.0 {
            ContactPlan::Always => Some((Instant::ZERO, Instant::MAX)),
            ContactPlan::Windows(windows) => {
                let after = windows.partition_point(|&(opens, _)| opens <= now);
                let window = *windows.get(after.checked_sub(1)?)?;
                (now < window.1).then_some(window)
            }
            ContactPlan::Periodic {
                first,
                open,
                period,
            } => {
                let opens = last_start(*first, *period, now)?;
                (now < opens + *open).then_some((opens, opens + *open))
            }
        }
    }

    /// Returns when the next contact begins or ends after `now`.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        if let Some((_, closes)) = self.window_at(now) {
            return (closes < Instant::MAX).then_some(closes);
        }
        match &self.0 {
            ContactPlan::Always => None,
            ContactPlan::Windows(windows) => {
                let after = windows.partition_point(|&(opens, _)| opens <= now);
                windows.get(after).map(|&(opens, _)| opens)
            }
            ContactPlan::Periodic { first, period, .. } => {
                Some(last_start(*first, *period, now).map_or(*first, |opens| opens + *period))
            }
        }
    }
}

/// Returns the last of `first`, `first + period`, .. that is not after `now`.
fn last_start(first: Instant, period: Duration, now: Instant) -> Option<Instant> {
    if now < first {
        return None;
    }
    let since = (now - first).as_nanos();
    let whole = since - since % period.as_nanos().max(1);
    Some(first + Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn windows_that_touch_or_overlap_are_one() {
        let plan = Contacts::windows([
            (secs(5), secs(7)),
            (secs(1), secs(3)),
            (secs(3), secs(4)),
            (secs(6), secs(9)),
            (secs(20), secs(20)),
        ]);

        assert_eq!(plan.window_at(secs(0)), None);
        assert_eq!(plan.window_at(secs(1)), Some((secs(1), secs(4))));
        assert_eq!(plan.window_at(secs(4)), None);
        assert_eq!(plan.window_at(secs(8)), Some((secs(5), secs(9))));
        assert_eq!(plan.next_change(secs(0)), Some(secs(1)));
        assert_eq!(plan.next_change(secs(1)), Some(secs(4)));
        assert_eq!(plan.next_change(secs(4)), Some(secs(5)));
        assert_eq!(plan.next_change(secs(9)), None);
    }

    #[test]
    fn a_periodic_plan_goes_on_for_ever() {
        let plan = Contacts::periodic(secs(10), Duration::from_secs(2), Duration::from_secs(100));

        assert_eq!(plan.window_at(secs(9)), None);
        assert_eq!(plan.next_change(secs(9)), Some(secs(10)));
        assert_eq!(plan.window_at(secs(11)), Some((secs(10), secs(12))));
        assert_eq!(plan.next_change(secs(11)), Some(secs(12)));
        assert_eq!(plan.next_change(secs(12)), Some(secs(110)));
        assert_eq!(plan.window_at(secs(1111)), Some((secs(1110), secs(1112))));
    }

    #[test]
    fn a_window_as_long_as_its_period_never_closes() {
        let plan = Contacts::periodic(secs(1), Duration::from_secs(5), Duration::from_secs(5));

        assert_eq!(plan.next_change(secs(0)), Some(secs(1)));
        assert_eq!(plan.next_change(secs(1)), None);
    }
}
