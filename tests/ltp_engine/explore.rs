//! A small exhaustive model check: each of the first segments of a short block meets every fate.

use core::time::Duration;

use farlink::ltp::Red;

use crate::line::{Fate, Line, is_complete, pattern, received};

/// Later than the next three light times, and earlier than any timer.
const LATE: Duration = Duration::from_millis(1700);
const FATES: [Fate; 4] = [Fate::Pass, Fate::Drop, Fate::Twice, Fate::Late(LATE)];

/// Runs a block through the fates that the digits of `plan` name, all further segments pass.
fn explore(plan: usize, depth: u32, len: usize, red: u64) {
    let mut line = Line::with(
        3,
        Duration::from_millis(500),
        |_| {},
        |peer| {
            peer.segment = 96;
            // The worst plan loses the first seven.
            peer.checkpoint_retries = 8;
            peer.report_retries = 8;
        },
    )
    .judged(move |passing| match u32::try_from(passing.nth) {
        Ok(nth) if nth < depth => FATES[plan / 4_usize.pow(nth) % 4],
        _ => Fate::Pass,
    });
    line.send(1, &pattern(len), Red::Octets(red));
    line.run();

    let what = format!("plan {plan} of a block of {len}, {red} red");
    let red = red as usize;
    assert!(is_complete(&line.events(1), 1), "{what}");
    let block = pattern(len);
    assert_eq!(received(&line.events(2)), Some(&block[..red]), "{what}");
    assert_eq!(line.left(), (0, 0, 0), "{what}");
}

#[test]
fn whatever_happens_to_the_first_segments_the_block_arrives_once_and_whole() {
    // One segment, two, three, and two red with a green one.
    for (len, red, depth) in [(50, 50, 6), (150, 150, 6), (250, 250, 7), (230, 150, 7)] {
        for plan in 0..4_usize.pow(depth) {
            explore(plan, depth, len, red);
        }
    }
}
