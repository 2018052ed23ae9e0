//! Runs many seeds on all cores.

use core::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::tries::{Named, seeds};

/// Runs `test` with the seeds below `usual`, or those named in the environment. The seed of a failure is printed, and
/// reproduces it.
pub(crate) fn for_each_seed(usual: u64, test: impl Fn(u64) + Sync) {
    let seeds = seeds(usual);
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds.end
                {
                    Named(seed).run(&test);
                }
            });
        }
    });
}
