//! How long delivery takes, compared with the bound of selective repeat and with the strategy of ION.
//!
//! The table in the documentation of `ltp::delivery` is made here. With `LTP_DELIVERY=write` it is written; otherwise
//! the test fails if it differs.

pub(crate) mod bound;
pub(crate) mod coin;
mod ion;
mod ours;
pub(crate) mod scene;

use core::fmt::Write as _;
use core::time::Duration;
use std::fs;

use farlink::ltp::Peer;

use self::coin::Coin;
use self::ours::Pair;
use self::scene::{DISTANCES, LOSSES, Scene};

/// Blocks from which the engines learn the line.
const EARLIER: u64 = 8;
/// Blocks that are measured.
const BLOCKS: u64 = 32;
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ltp/delivery.md");

/// One cell of the table: sums over all blocks.
#[derive(Debug, Default)]
struct Cell {
    bound: Duration,
    ours: Duration,
    ion: Duration,
    /// Octets sent, and octets of one pass.
    octets: u64,
    pass: u64,
}

impl Cell {
    fn measure(scene: &Scene) -> Self {
        let mut pair = Pair::new(*scene, Peer::adaptive);
        for seed in 0..EARLIER {
            pair.block(Coin::new(seed, scene.loss));
        }
        let mut cell = Self::default();
        for seed in EARLIER..EARLIER + BLOCKS {
            let coin = || Coin::new(seed, scene.loss);
            let outcome = pair.block(coin());
            cell.ours += outcome.delivery;
            cell.octets += outcome.octets;
            cell.pass += outcome
                .sizes
                .iter()
                .map(|(_, len)| *len as u64)
                .sum::<u64>();
            cell.bound += bound::delivery(scene, &mut coin(), &outcome.sizes);
            cell.ion += ion::delivery(scene, &mut coin(), &outcome.sizes);
        }
        cell
    }

    fn of_bound(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.bound.as_secs_f64()
    }
}

fn mean(sum: Duration) -> String {
    let secs = sum.as_secs_f64() / BLOCKS as f64;
    let (value, unit) = match secs {
        ..0.1 => (secs * 1000.0, "ms"),
        ..60.0 => (secs, "s"),
        _ => (secs / 60.0, "min"),
    };
    // Three digits, which do not follow every change of the engine.
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

fn table() -> String {
    let mut table = String::from(
        "| light time | loss | bound | here | of the bound | octets sent | ION | of the bound |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (distance, owlt) in DISTANCES {
        for (lossy, loss) in LOSSES {
            let cell = Cell::measure(&Scene { owlt, loss });
            let ratio = cell.of_bound(cell.ours);
            assert!(ratio <= 1.01, "{distance}, loss {lossy}: {ratio}");
            writeln!(
                table,
                "| {distance} | {lossy} | {} | {} | {ratio:.2} | {:.1} | {} | {:.2} |",
                mean(cell.bound),
                mean(cell.ours),
                cell.octets as f64 / cell.pass as f64,
                mean(cell.ion),
                cell.of_bound(cell.ion),
            )
            .unwrap();
        }
    }
    table
}

#[test]
fn blocks_arrive_within_a_hundredth_of_the_bound_as_the_documentation_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let start = page.find("| light time |").unwrap();
    let len = page[start..].find("\n\n").map_or(page.len(), |end| end + 1);

    let made = table();

    if std::env::var("LTP_DELIVERY").is_ok_and(|wish| wish == "write") {
        let page = page.replace(&page[start..start + len], &made);
        fs::write(PAGE, page).unwrap();
    } else {
        assert_eq!(page[start..start + len], made);
    }
}
