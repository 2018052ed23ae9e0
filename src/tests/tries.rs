//! Runs random tests over a fixed number of numbered seeds, so that they are equal on every computer.
//!
//! The number of a seed determines the octets and their count. `FARLINK_SEED` in the environment runs the
//! seed of that number alone. `FARLINK_TRIES` multiplies the number of seeds of every test.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test uses its part, and fails by panicking"
)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::iter;
use core::ops::{Range, RangeInclusive};
use std::{env, eprintln, thread};

use arbitrary::{Result, Unstructured};
use farlink::Seed;

/// Successive seeds with the same number of octets.
const SEEDS_OF_A_SIZE: u64 = 3;

/// Runs `property` with the seeds below `count`. Their octets grow by a quarter from the smallest to the
/// largest of `sizes`, and then start again. The seed of a panic is printed, and reproduces it.
pub(crate) fn tries(
    count: u64,
    sizes: RangeInclusive<usize>,
    mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>,
) {
    let ladder = ladder(sizes);
    let mut complete = 0;
    for seed in seeds(count) {
        let octets = octets(seed, &ladder);
        Named(seed).run(|_| {
            let outcome = property(&mut Unstructured::new(&octets));
            complete += u64::from(outcome.is_ok());
        });
    }
    assert!(complete > 0, "every seed had too few octets");
}

/// Returns the seeds to run: the first `usual`, unless the environment says otherwise.
pub(crate) fn seeds(usual: u64) -> Range<u64> {
    match number("FARLINK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..usual * number("FARLINK_TRIES").unwrap_or(1),
    }
}

/// Reads a number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = env::var(name).ok()?;
    let number = digits.parse();
    assert!(number.is_ok(), "{name}={digits} is not a number");
    number.ok()
}

/// A seed that is printed when its test panics.
pub(crate) struct Named(pub(crate) u64);

impl Named {
    pub(crate) fn run(self, test: impl FnOnce(u64)) {
        test(self.0);
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed with seed {0}: run with FARLINK_SEED={0}", self.0);
        }
    }
}

fn ladder(sizes: RangeInclusive<usize>) -> Vec<usize> {
    let grown =
        |&size: &usize| (size < *sizes.end()).then(|| (size + size / 4 + 1).min(*sizes.end()));
    iter::successors(Some(*sizes.start()), grown).collect()
}

fn octets(seed: u64, ladder: &[usize]) -> Vec<u8> {
    let step = usize::try_from(seed / SEEDS_OF_A_SIZE).unwrap() % ladder.len();
    let mut octets = vec![0; ladder[step]];
    Seed::from(seed).rng().fill(&mut octets);
    octets
}
