//! A small script for a breach.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Case, Law, LawSubject, Step, Violation};
use crate::Limits;

/// Runs spent on making a script smaller.
const MOST_TRIES: usize = 300;
/// The same for panics, each of which prints a report.
const MOST_PANICS: usize = 40;

/// Makes the case of a breach smaller as long as the same law breaks, and puts it into the breach.
///
/// What stands behind the step goes first, then runs of steps, halves before single ones, then octets.
pub(super) fn shrink<M: LawSubject, T>(
    case: &Case<M>,
    breach: Violation,
    verdict: impl FnMut(&Case<M>) -> Result<T, Violation>,
) -> Violation {
    let tries = match breach.law {
        Law::NoPanic => MOST_PANICS,
        _ => MOST_TRIES,
    };
    let mut shrinker = Shrinker {
        small: case.clone(),
        breach,
        tries,
        verdict,
    };
    shrinker.cut_off_the_rest();
    shrinker.use_plain_settings();
    shrinker.thin(
        |case| case.script.len(),
        |case, span| drop(case.script.drain(span)),
    );
    for index in 0..shrinker.small.script.len() {
        shrinker.thin(
            |case| octets(case, index).map_or(0, Vec::len),
            |case, span| {
                if let Some(octets) = octets_mut(case, index) {
                    octets.drain(span);
                }
            },
        );
    }
    Violation {
        script: format!("{:?}", shrinker.small),
        ..shrinker.breach
    }
}

struct Shrinker<M: LawSubject, V> {
    small: Case<M>,
    breach: Violation,
    tries: usize,
    verdict: V,
}

impl<M: LawSubject, T, V: FnMut(&Case<M>) -> Result<T, Violation>> Shrinker<M, V> {
    /// Takes `candidate` in place of the smallest case so far, if it breaks the same law.
    fn attempt(&mut self, candidate: Case<M>) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        match (self.verdict)(&candidate) {
            Err(again) if again.law == self.breach.law => {
                self.small = candidate;
                self.breach = again;
                true
            }
            _ => false,
        }
    }

    fn cut_off_the_rest(&mut self) {
        let mut shorter = self.small.clone();
        shorter.script.truncate(self.breach.step + 1);
        self.attempt(shorter);
    }

    fn use_plain_settings(&mut self) {
        let mut plainer = self.small.clone();
        (plainer.seed, plainer.limits) = (0, Limits::default());
        self.attempt(plainer);
    }

    /// Removes spans, each half as long as the ones tried before.
    fn thin(
        &mut self,
        len: impl Fn(&Case<M>) -> usize,
        remove: impl Fn(&mut Case<M>, Range<usize>),
    ) {
        let mut span = len(&self.small);
        while span > 0 {
            let mut start = 0;
            while start < len(&self.small) {
                let mut shorter = self.small.clone();
                let end = (start + span).min(len(&shorter));
                remove(&mut shorter, start..end);
                if !self.attempt(shorter) {
                    start += span;
                }
            }
            span /= 2;
        }
    }
}

fn octets<M: LawSubject>(case: &Case<M>, index: usize) -> Option<&Vec<u8>> {
    match case.script.get(index)? {
        Step::Receive { octets, .. } | Step::Flood { octets, .. } => Some(octets),
        _ => None,
    }
}

fn octets_mut<M: LawSubject>(case: &mut Case<M>, index: usize) -> Option<&mut Vec<u8>> {
    match case.script.get_mut(index)? {
        Step::Receive { octets, .. } | Step::Flood { octets, .. } => Some(octets),
        _ => None,
    }
}
