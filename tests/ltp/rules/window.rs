//! The window: how much may be in flight to a peer.

use std::collections::BTreeMap;

use farlink::kit::RangeSet;
use farlink::ltp::Peer;
use farlink::{Hop, Seed};

use super::*;
use crate::line::hop;

const WINDOW: u64 = 20_000;

#[test]
fn no_more_than_the_window_is_under_way_and_the_line_never_runs_dry() {
    let mut line = windowed(WINDOW);

    line.send(1, &pattern(200_000), Red::All);
    line.run();

    assert_eq!(received(&line.events(2)), Some(&pattern(200_000)[..]));
    assert!(is_complete(&line.events(1), 1));
    let most = most_under_way(&line);
    assert!(most <= WINDOW + 1400, "{most}");
    assert!(most > WINDOW * 3 / 4, "{most}");
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn without_a_window_all_of_a_block_leaves_at_once() {
    let mut line = Line::new(1, OWLT);

    line.send(1, &pattern(200_000), Red::All);
    line.run();

    assert_eq!(most_under_way(&line), 200_000);
}

#[test]
fn a_checkpoint_follows_every_quarter() {
    let mut line = windowed(WINDOW);

    line.send(1, &pattern(100_000), Red::All);
    line.run();

    let ends = checkpoint_ends(&line);
    let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max() <= Some(WINDOW / 4 + 1400), "{ends:?}");
    assert_eq!(ends.last(), Some(&100_000));
}

#[test]
fn a_window_below_one_segment_lets_one_go_at_a_time() {
    let mut line = windowed(1);

    line.send(1, &pattern(10_000), Red::All);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert!(most_under_way(&line) <= 1400);
}

#[test]
fn blocks_share_the_window_and_small_ones_wait_too() {
    let mut line = windowed(5000);

    for tag in 0..40 {
        line.send(tag, &pattern(1000), Red::All);
    }
    line.run();

    let events = line.events(1);
    assert!((0..40).all(|tag| is_complete(&events, tag)));
    assert!(most_under_way(&line) <= 5000);
}

#[test]
fn a_green_part_waits_for_the_red_ones() {
    let mut line = windowed(3000);

    line.send(1, &pattern(10_000), Red::Octets(9000));
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert!(most_under_way(&line) <= 3000 + 1400);
    assert_eq!(line.far().stats().green_octets, 1000);
}

#[test]
fn a_cancelled_block_gives_its_part_of_the_window_back() {
    let mut line = windowed(5000);
    line.send(1, &pattern(100_000), Red::All);
    line.send(2, &pattern(4000), Red::All);
    line.run_for(Duration::from_secs(1));

    let now = line.now;
    line.near().cancel(now, Tag(1)).unwrap();
    line.run_for(Duration::from_secs(1));

    let second = line.bodies().iter().any(|(_, segment)| {
        matches!(segment.body, Body::Data(data) if data.offset > 0
            && matches!(data.color, Color::Red(Some(Checkpoint { mark: Mark::Block, .. }))))
    });
    assert!(second, "the other one has left whole");
    line.run();
    assert!(is_complete(&line.events(1), 2));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_window_that_shrinks_leaves_no_block_behind() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.flow = Flow::rate(10_000).with_burst(1400);
        },
    );
    line.send(1, &pattern(100_000), Red::All);
    line.run_for(Duration::from_secs(4));

    let peer = Peer::at(hop(2))
        .with_flow(Flow::window(2000))
        .at_distance(OWLT);
    let now = line.now;
    line.near().change_peer(now, 2, peer).unwrap();
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_window_that_is_lifted_lets_the_rest_go_at_once() {
    let mut line = windowed(2000);
    line.send(1, &pattern(100_000), Red::All);
    line.run_for(Duration::from_secs(1));
    assert!(most_under_way(&line) < 4000);

    let now = line.now;
    let peer = Peer::at(hop(2))
        .with_flow(Flow::Unlimited)
        .at_distance(OWLT);
    line.near().change_peer(now, 2, peer).unwrap();
    line.drain();

    assert_eq!(most_under_way(&line), 100_000);
}

#[test]
fn losses_of_any_kind_neither_stall_nor_exceed_the_window() {
    for seed in 0..200 {
        let mut rng = Seed::from(seed).rng();
        let window = 1 + rng.below(30_000);
        let mut line = windowed(window);
        line.judge(move |_| match rng.below(10) {
            0 | 1 => SegmentOutcome::Drop,
            2 => SegmentOutcome::Twice,
            3 => SegmentOutcome::Late(Duration::from_millis(rng.below(9000))),
            _ => SegmentOutcome::Pass,
        });

        line.send(1, &pattern(40_000), Red::All);
        line.send(2, &pattern(3000), Red::Octets(1000));
        line.run();

        let events = line.events(1);
        assert!(is_complete(&events, 1), "seed {seed}: {events:?}");
        assert!(is_complete(&events, 2), "seed {seed}: {events:?}");
        assert_eq!(line.left(), (0, 0, 0), "seed {seed}");
    }
}

fn windowed(window: u64) -> Line {
    Line::with(
        1,
        OWLT,
        |_| {},
        |peer: &mut Peer<Hop>| {
            peer.flow = Flow::window(window);
            peer.limits.checkpoint_retries = 60;
            peer.limits.report_retries = 60;
        },
    )
}

fn checkpoint_ends(line: &Line) -> Vec<u64> {
    let bodies = line.bodies();
    let ends = bodies.iter().filter_map(|(_, segment)| match segment.body {
        Body::Data(data) if matches!(data.color, Color::Red(Some(_))) => {
            Some(data.offset + data.octets.len() as u64)
        }
        _ => None,
    });
    ends.collect()
}

/// The maximum number of red octets that were sent and not claimed by a report that arrived, on a line without loss.
fn most_under_way(line: &Line) -> u64 {
    let mut sent: BTreeMap<SessionId, RangeSet> = BTreeMap::new();
    let mut claims: Vec<(Instant, SessionId, core::ops::Range<u64>)> = Vec::new();
    let mut most = 0;
    for ((at, _, _), (_, segment)) in line.log.iter().zip(line.bodies()) {
        match segment.body {
            Body::Report(report) => {
                let come = *at + line.delay;
                claims.extend(
                    report
                        .claims
                        .iter()
                        .map(|claim| (come, segment.session, claim)),
                );
            }
            Body::Data(data) if matches!(data.color, Color::Red(_)) => {
                let end = data.offset + data.octets.len() as u64;
                sent.entry(segment.session)
                    .or_default()
                    .insert(data.offset..end);
            }
            _ => continue,
        }
        let mut claimed: BTreeMap<SessionId, RangeSet> = BTreeMap::new();
        for (_, session, claim) in claims.iter().filter(|(come, ..)| come <= at) {
            claimed.entry(*session).or_default().insert(claim.clone());
        }
        let sum =
            |sets: &BTreeMap<SessionId, RangeSet>| sets.values().map(RangeSet::len).sum::<u64>();
        most = most.max(sum(&sent) - sum(&claimed));
    }
    most
}
