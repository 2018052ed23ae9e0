//! How long blocks take to arrive, beside the least that selective repeat can take and beside ION's strategy.
#![cfg(feature = "ltp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::std_instead_of_alloc,
    reason = "tests fail by panicking, on machines with an allocator"
)]

mod bound;
mod coin;
mod ours;
mod scene;

use crate::coin::Coin;
use crate::scene::{DISTANCES, LOSSES, Scene};

#[test]
fn explore() {
    for (far, owlt) in DISTANCES {
        for (lossy, loss) in LOSSES {
            let scene = Scene { owlt, loss };
            let mut pair = ours::Pair::new(scene, |peer| farlink::ltp::Peer::adaptive(peer));
            let began = std::time::Instant::now();
            let (mut ours, mut best, mut octets, mut ideal) = (0.0, 0.0, 0.0, 0.0);
            let blocks = 24;
            for seed in 0..blocks + 4 {
                let outcome = pair.block(Coin::new(seed, loss));
                if seed < 4 {
                    continue;
                }
                ours += outcome.delivery.as_secs_f64();
                octets += outcome.octets as f64;
                ideal += outcome
                    .sizes
                    .iter()
                    .map(|(_, len)| *len as f64)
                    .sum::<f64>();
                best += bound::delivery(&scene, &mut Coin::new(seed, loss), &outcome.sizes)
                    .as_secs_f64();
            }
            let blocks = blocks as f64;
            println!(
                "{far} {lossy}: ours {:.6} bound {:.6} ratio {:.4} load {:.2} {:?} {:?}",
                ours / blocks,
                best / blocks,
                ours / best,
                octets / ideal,
                pair.line(),
                began.elapsed()
            );
        }
    }
}
