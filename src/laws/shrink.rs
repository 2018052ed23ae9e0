//! Shrinks the script of a violation.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Case, Law, LawSubject, Step, Violation};
use crate::Limits;

/// The most runs in which a script is shrunk.
const MAX_TRIES: usize = 300;
/// The same for panics, since each prints a report.
const MAX_PANICS: usize = 40;

/// Shrinks the case of a violation as long as the same law is violated, and adds it to the violation.
///
/// It removes the steps after the violation first, then spans of steps from half of them down to single ones,
/// then octets.
pub(super) fn shrink<M: LawSubject, T>(
    case: &Case<M>,
    violation: Violation,
    verdict: impl FnMut(&Case<M>) -> Result<T, Violation>,
) -> Violation {
    let tries = match violation.law {
        Law::NoPanic => MAX_PANICS,
        _ => MAX_TRIES,
    };
    let mut shrinker = Shrinker {
        small: case.clone(),
        violation,
        tries,
        verdict,
    };
    shrinker.truncate();
    shrinker.use_default_settings();
    shrinker.remove_spans(
        |case| case.script.len(),
        |case, span| drop(case.script.drain(span)),
    );
    for index in 0..shrinker.small.script.len() {
        shrinker.remove_spans(
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
        ..shrinker.violation
    }
}

struct Shrinker<M: LawSubject, V> {
    small: Case<M>,
    violation: Violation,
    tries: usize,
    verdict: V,
}

impl<M: LawSubject, T, V: FnMut(&Case<M>) -> Result<T, Violation>> Shrinker<M, V> {
    /// Replaces the smallest case so far by `candidate`, if that violates the same law.
    fn attempt(&mut self, candidate: Case<M>) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        match (self.verdict)(&candidate) {
            Err(again) if again.law == self.violation.law => {
                self.small = candidate;
                self.violation = again;
                true
            }
            _ => false,
        }
    }

    fn truncate(&mut self) {
        let mut shorter = self.small.clone();
        shorter.script.truncate(self.violation.step + 1);
        self.attempt(shorter);
    }

    fn use_default_settings(&mut self) {
        let mut plainer = self.small.clone();
        (plainer.seed, plainer.limits) = (0, Limits::default());
        self.attempt(plainer);
    }

    /// Removes spans, of half the length in each round.
    fn remove_spans(
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
