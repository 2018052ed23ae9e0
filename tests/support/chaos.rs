//! Lines of any quality, for seeds.

use core::time::Duration;

use farlink::Rng;
use farlink::sim::{Line, Reorder};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn percent(rng: &mut Rng, most: u32) -> f64 {
    f64::from(u32::try_from(rng.below(u64::from(most) + 1)).unwrap()) / 100.0
}

/// A line of up to 50 ms with loss and reordering of up to 10 %, and duplicates of up to 5 %.
pub(crate) fn line(rng: &mut Rng) -> Line {
    let delay = ms(1 + rng.below(50));
    Line {
        loss: percent(rng, 10),
        duplication: percent(rng, 5),
        reorder: Some(Reorder {
            probability: percent(rng, 10),
            by: delay * 2,
        }),
        ..Line::delayed(delay)
    }
}
