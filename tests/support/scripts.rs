//! What any scripts lead to.

use arbitrary::{Arbitrary, Unstructured};
use farlink::Seed;
use farlink::laws::{self, Case, LawSubject};

/// Runs 300 scripts, and returns how many machines were made, events told and sends made.
pub(crate) fn outcome<M: LawSubject>() -> [usize; 3]
where
    for<'a> Case<M>: Arbitrary<'a>,
{
    let mut outcome = [0; 3];
    let mut rng = Seed::from(1).rng();
    for _ in 0..300 {
        let mut octets = [0; 1 << 13];
        rng.fill(&mut octets);
        let case = Unstructured::new(&octets).arbitrary().unwrap();
        let summary = laws::try_check::<M>(&case).unwrap();
        let counts = [usize::from(summary.is_made), summary.events, summary.sends];
        outcome
            .iter_mut()
            .zip(counts)
            .for_each(|(all, it)| *all += it);
    }
    outcome
}
