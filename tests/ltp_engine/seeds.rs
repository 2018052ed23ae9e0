//! Many seeds on all cores.

use core::sync::atomic::{AtomicU64, Ordering};
use std::env;
use std::thread;

/// Runs `test` with the seeds below `LTP_SEEDS`, or below `usual`; with `FARLINK_SEED` in the environment,
/// with that one alone. The seed of a failure is printed, and reproduces it.
pub(crate) fn for_each_seed(usual: u64, test: impl Fn(u64) + Sync) {
    let number = |name| env::var(name).map(|digits| digits.parse::<u64>().unwrap());
    if let Ok(seed) = number("FARLINK_SEED") {
        return Named(seed).run(&test);
    }
    let count = number("LTP_SEEDS").unwrap_or(usual);
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < count
                {
                    Named(seed).run(&test);
                }
            });
        }
    });
}

/// Prints its seed when it is dropped in a panic.
struct Named(u64);

impl Named {
    fn run(self, test: impl Fn(u64)) {
        test(self.0);
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            std::eprintln!("failed with seed {0}: run with FARLINK_SEED={0}", self.0);
        }
    }
}
