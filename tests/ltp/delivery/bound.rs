//! The bound: selective repeat by a sender that knows after a round trip whether a segment arrived.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use super::coin::{Coin, SegmentKind};
use super::scene::Scene;

/// When a block is received whole. `sizes` are the offsets and lengths of its segments.
pub(crate) fn delivery(scene: &Scene, coin: &mut Coin, sizes: &[(u64, usize)]) -> Duration {
    let mut fresh: VecDeque<(u64, usize)> = sizes.iter().copied().collect();
    let mut lost: BinaryHeap<Reverse<(Duration, u64, usize)>> = BinaryHeap::new();
    let mut now = Duration::ZERO;
    let mut whole = Duration::ZERO;
    loop {
        let is_known = lost.peek().is_some_and(|Reverse((at, ..))| *at <= now);
        let next = match lost.pop() {
            // Repairs go first.
            Some(Reverse((_, start, len))) if is_known => Some((start, len)),
            later => {
                lost.extend(later);
                fresh.pop_front()
            }
        };
        let Some((start, len)) = next else {
            let Some(Reverse((at, ..))) = lost.peek() else {
                return whole;
            };
            now = *at;
            continue;
        };
        now += Scene::radiation(len);
        if coin.loses(SegmentKind::Data(start)) {
            lost.push(Reverse((now + scene.owlt * 2, start, len)));
        } else {
            whole = whole.max(now + scene.owlt);
        }
    }
}
