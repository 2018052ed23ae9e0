//! Losses that are the same for every strategy: the third transmission of a segment is lost for all of them or for none.

use std::collections::BTreeMap;

/// The kind of a segment, on which its losses depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SegmentKind {
    /// Data of a block, by the offset.
    Data(u64),
    /// Any other segment in each direction, numbered in the order of sending.
    Out,
    Back,
}

pub(crate) struct Coin {
    seed: u64,
    /// Losses in parts per million.
    loss: u64,
    tries: BTreeMap<SegmentKind, u64>,
}

impl Coin {
    pub(crate) fn new(seed: u64, loss: u32) -> Self {
        Self {
            seed,
            loss: u64::from(loss),
            tries: BTreeMap::new(),
        }
    }

    pub(crate) fn loses(&mut self, way: SegmentKind) -> bool {
        let tries = self.tries.entry(way).or_default();
        *tries += 1;
        let (kind, start) = match way {
            SegmentKind::Data(start) => (0, start),
            SegmentKind::Out => (1, 0),
            SegmentKind::Back => (2, 0),
        };
        let mut mixed = self.seed;
        for part in [kind, start, *tries] {
            // The finalizer of splitmix64.
            mixed = mixed.wrapping_add(part).wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
        }
        (mixed >> 11) % 1_000_000 < self.loss
    }
}

#[test]
fn a_coin_loses_as_often_as_it_says() {
    let mut coin = Coin::new(u64::from_le_bytes([7; 8]), 300_000);

    let lost = (0..100_000)
        .filter(|start| coin.loses(SegmentKind::Data(*start)))
        .count();

    assert!((29_500..=30_500).contains(&lost), "{lost}");
}
