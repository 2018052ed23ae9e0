//! Checkpoints, reports and their acknowledgments: repetition, limits, and the order in which they are sent.

use core::slice::from_ref;

use farlink::ltp::{Peer, Redundancy};
use farlink::{Hop, Limits, Output, Transmit};

use super::*;
use crate::line::hop;

const SECOND: Duration = Duration::from_secs(1);

fn report(serial: u64, checkpoint: u64, end: u64, claim: &core::ops::Range<u64>) -> Body<'_> {
    Body::Report(Report {
        serial,
        checkpoint,
        scope: (0..end).into(),
        claims: Claims::new(from_ref(claim)),
    })
}

/// Changes the configuration of the second engine at the first one alone.
fn near_only(change: impl Fn(&mut Peer<Hop>)) -> impl Fn(&mut Peer<Hop>) {
    move |peer| {
        if peer.address == hop(2) {
            change(peer);
        }
    }
}

/// Loses red segments at one offset.
fn lose_at(offset: u64, count: usize) -> impl FnMut(&Passing<'_>) -> SegmentOutcome {
    let mut left = count;
    move |passing| match passing.segment().body {
        Body::Data(data) if data.offset == offset && left > 0 => {
            left -= 1;
            SegmentOutcome::Drop
        }
        _ => SegmentOutcome::Pass,
    }
}

fn count(line: &Line, code: u8) -> usize {
    line.codes().iter().filter(|one| **one == code).count()
}

// Reports again.

#[test]
fn a_repeated_checkpoint_repeats_its_report_but_not_while_that_may_be_under_way() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    let asks = checkpoint(5, 0, Mark::None, 10, &[1; 10]);
    line.give(2, FOREIGN, asks);
    for _ in 0..50 {
        line.give(2, FOREIGN, asks);
        line.drain();
    }
    assert_eq!(count(&line, 8), 1, "a flood uses no tries up");

    line.run_for(SECOND * 6);
    line.give(2, FOREIGN, asks);
    line.drain();

    assert_eq!(count(&line, 8), 2);
    assert_eq!(line.log[0].2, line.log[1].2, "the same content");
}

#[test]
fn an_acknowledged_report_is_not_repeated() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    let asks = checkpoint(5, 0, Mark::None, 10, &[1; 10]);
    line.give(2, FOREIGN, asks);
    line.drain();
    let Body::Report(told) = line.bodies()[0].1.body else {
        panic!("no report");
    };
    let serial = told.serial;
    line.give(2, FOREIGN, Body::ReportAck(serial));

    line.run_for(SECOND * 7);
    line.give(2, FOREIGN, asks);
    line.run_for(SECOND * 7);

    assert_eq!(count(&line, 8), 1);
    assert_eq!(
        line.far().usage().sessions,
        (0, 1),
        "the red part is incomplete"
    );
}

#[test]
fn a_report_never_acknowledged_cancels_an_incomplete_reception_with_rlexc() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 10, &[1; 10]));
    // The sender is heard all the time.
    for _ in 0..50 {
        line.run_for(SECOND);
        line.give(2, NOTHING, Body::ReportAck(1));
    }
    line.run();

    assert_eq!(
        line.codes(),
        [8, 8, 8, 8, 8, 8, 14, 14, 14, 14, 14, 14],
        "sent once and repeated five times, each"
    );
    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            after_delivery: false,
            ..
        }]
    ));
    assert_eq!(line.left(), (0, 0, 0));
}

/// The highest limit is one, for a peer that is heard and for one that is not.
#[test]
fn a_limit_of_255_repetitions_is_kept() {
    for is_heard in [true, false] {
        let limits = |peer: &mut Peer<Hop>| {
            peer.flow = Flow::rate(1_000_000);
            peer.limits.checkpoint_retries = 255;
            peer.limits.report_retries = 255;
            peer.limits.cancel_retries = 255;
        };
        let mut line = Line::with(1, OWLT, |_| {}, near_only(limits));
        line.judge(|_| SegmentOutcome::Drop);
        line.send(1, &pattern(1000), Red::All);
        for _ in 0..20_000 {
            line.run_for(SECOND);
            if is_heard {
                line.give(1, NOTHING, Body::CancelAckToSender);
            }
        }

        let sent = line.codes();
        let checkpoints = sent.iter().filter(|code| **code == 3).count();
        let cancels = sent.iter().filter(|code| **code == 12).count();
        if is_heard {
            assert_eq!((checkpoints, cancels), (256, 256));
        } else {
            assert!(checkpoints < 256, "{checkpoints}");
        }
        assert!(matches!(line.events(1)[..], [Event::Failed { .. }]));
        assert_eq!(line.left(), (0, 0, 0), "{is_heard}");
    }
}

#[test]
fn the_pieces_of_a_split_report_have_serial_numbers_in_a_row_and_timers_of_their_own() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 96);
    line.judge(|_| SegmentOutcome::Drop);
    for start in (0..1000).step_by(20) {
        line.give(2, FOREIGN, red(start, &[0; 10]));
    }
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 1000, &[0; 10]));
    line.drain();
    let serials = |line: &Line| -> Vec<u64> {
        line.bodies()
            .iter()
            .filter_map(|(_, segment)| match segment.body {
                Body::Report(report) => Some(report.serial),
                _ => None,
            })
            .collect()
    };
    let first = serials(&line);
    assert!(first.len() > 1);
    assert!(first.windows(2).all(|pair| pair[0] + 1 == pair[1]));

    line.give(2, FOREIGN, Body::ReportAck(first[0]));
    line.run_for(SECOND * 9);

    assert_eq!(serials(&line)[first.len()..], first[1..]);
}

#[test]
fn the_acknowledgment_of_a_report_that_claims_all_ends_the_others() {
    let mut line = Line::new(1, OWLT);
    // The first report, with a gap, is never acknowledged.
    let mut first = None;
    line.judge(move |passing| match passing.segment().body {
        Body::Report(report) => {
            first.get_or_insert(report.serial);
            SegmentOutcome::Pass
        }
        Body::ReportAck(serial) if first == Some(serial) => SegmentOutcome::Drop,
        Body::Data(data) if passing.nth < 5 && data.offset == 0 => SegmentOutcome::Drop,
        _ => SegmentOutcome::Pass,
    });

    line.send(1, &pattern(5000), Red::All);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(
        count(&line, 8),
        3,
        "repeated once, before the other is acknowledged"
    );
    assert_eq!(line.left(), (0, 0, 0));
}

// What reports do to the sender.

#[test]
fn a_red_part_that_is_claimed_while_green_is_left_completes_when_the_last_segment_leaves() {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |_| {},
        |peer| {
            peer.flow = Flow::rate(1000).with_burst(600);
        },
    );
    line.send(1, &pattern(8000), Red::Octets(500));
    line.run_for(SECOND);
    assert_eq!(line.near().progress(Tag(1)).unwrap().claimed, 500);
    assert_eq!(line.events(1), []);
    assert_eq!(
        line.near().usage().timers,
        1,
        "the pace alone, no checkpoint"
    );

    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(count(&line, 2), 1);
    assert_eq!(line.codes().last(), Some(&7));
}

#[test]
fn that_all_has_left_is_told_once_whatever_is_repeated() {
    let mut line = Line::with(
        1,
        OWLT,
        |config| config.notify_sent = true,
        |peer| peer.segment = 200,
    );
    line.judge(lose_at(0, 3));

    line.send(1, &pattern(2000), Red::All);
    line.run();

    let events = line.events(1);
    assert_eq!(events[0], Event::Sent { tag: Tag(1) });
    assert!(matches!(events[1..], [Event::Complete { .. }]));
}

#[test]
fn a_sender_over_the_limit_of_retransmissions_cancels_with_rlexc() {
    let change = near_only(|peer| {
        peer.segment = 200;
        peer.limits.problems = 1;
    });
    let mut line = Line::with(1, OWLT, |_| {}, change);
    line.judge(lose_at(0, 2));

    line.send(1, &pattern(1000), Red::All);
    line.run();

    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            ..
        }]
    ));
    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            by: Side::Remote,
            reason: Reason::RETRANSMISSION_LIMIT,
            ..
        }]
    ));
}

#[test]
fn a_sender_over_the_limit_of_cycles_cancels_with_rxmtcycexc() {
    let change = near_only(|peer| {
        peer.segment = 200;
        peer.limits.cycles = 1;
    });
    let mut line = Line::with(1, OWLT, |_| {}, change);
    line.judge(lose_at(0, 2));

    line.send(1, &pattern(1000), Red::All);
    line.run();

    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            by: Side::Local,
            reason: Reason::CYCLE_LIMIT,
            ..
        }]
    ));
}

#[test]
fn a_report_that_completes_drops_what_is_queued() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 200);
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();
    let sent = line.log.len();
    line.near()
        .contact(Instant::ZERO, 2, Cue::MustStop)
        .unwrap();

    line.give(1, session, report(9, 0, 1000, &(100..1000)));
    line.give(1, session, report(10, 0, 1000, &(0..1000)));
    line.drain();
    assert!(is_complete(&line.events(1), 1));
    line.near()
        .contact(Instant::ZERO, 2, Cue::MayTransmit)
        .unwrap();
    line.drain();

    assert_eq!(line.codes()[sent..], [9, 9], "acknowledgments, and no data");
}

#[test]
fn a_run_that_reaches_the_end_is_marked_as_the_end_was_and_cites_its_report() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    let session = line.send(1, &pattern(1000), Red::Octets(900));
    line.drain();

    line.give(1, session, report(9, 0, 900, &(0..300)));
    line.drain();

    let Body::Data(data) = line.bodies().last().unwrap().1.body else {
        panic!("no data");
    };
    let Color::Red(Some(asks)) = data.color else {
        panic!("no checkpoint");
    };
    assert_eq!(data.range(), 300..900);
    assert_eq!((asks.mark, asks.report), (Mark::RedPart, 9));
}

#[test]
fn a_report_without_claims_says_that_all_of_its_scope_is_missing() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();
    let nothing = Body::Report(Report {
        serial: 9,
        checkpoint: 0,
        scope: (0..400).into(),
        claims: Claims::new(&[]),
    });

    line.give(1, session, nothing);
    line.drain();

    assert_eq!(line.codes(), [3, 9, 1]);
    let Body::Data(data) = line.bodies()[2].1.body else {
        panic!("no data");
    };
    assert_eq!(data.range(), 0..400);
}

#[test]
fn acknowledgments_of_what_is_not_known_are_ignored() {
    let mut line = Line::new(1, OWLT);
    let own = SessionId {
        originator: 1,
        number: 5,
    };

    line.give(2, FOREIGN, Body::ReportAck(5));
    line.give(2, FOREIGN, Body::CancelAckToReceiver);
    line.give(1, own, Body::CancelAckToSender);
    line.run();

    assert_eq!(line.log.len(), 0);
    assert_eq!(line.left(), (0, 0, 0));
}

// The order in which segments leave.

#[test]
fn control_leaves_before_repairs_and_those_before_first_passes() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();
    line.near()
        .contact(Instant::ZERO, 2, Cue::MustStop)
        .unwrap();
    line.send(2, &pattern(1000), Red::Octets(0));

    line.give(1, session, report(9, 0, 1000, &(100..1000)));
    line.give(1, FOREIGN, Body::CancelByReceiver(Reason::USER));
    line.near()
        .contact(Instant::ZERO, 2, Cue::MayTransmit)
        .unwrap();
    line.drain();

    assert_eq!(line.codes(), [3, 9, 15, 1, 7]);
}

#[test]
fn no_peer_waits_for_the_backlog_of_another() {
    let mut line = Line::new(1, OWLT);
    let near = line.near();
    near.add_peer(
        Instant::ZERO,
        3,
        Peer::at(hop(3)).with_flow(Flow::Unlimited),
    )
    .unwrap();
    for (tag, to) in [(1, 2), (2, 3)] {
        let block = farlink::ltp::Block {
            to,
            ..block(tag, &pattern(50_000), Red::All)
        };
        near.send_block(Instant::ZERO, block).unwrap();
    }

    let mut tx = Transmit::new(Limits::new(1400, 4, 5600));
    let mut ways = Vec::new();
    while let Output::Transmit = line.nodes[0].engine.poll(Instant::ZERO, &mut tx) {
        ways.extend(tx.to());
    }

    assert!(ways.len() > 10);
    assert!(ways.windows(2).all(|pair| pair[0] != pair[1]), "{ways:?}");
}

#[test]
fn what_is_sent_goes_where_the_peer_is_by_now() {
    let mut line = Line::new(1, OWLT);
    line.link(0, Link::Full);
    line.send(1, &pattern(100), Red::All);

    line.near()
        .change_peer(
            Instant::ZERO,
            2,
            Peer::at(hop(9)).with_flow(Flow::Unlimited),
        )
        .unwrap();

    let mut tx = Transmit::new(Limits::default());
    let output = line.nodes[0].engine.poll(Instant::ZERO, &mut tx);
    assert_eq!(output, Output::Transmit);
    assert_eq!(tx.to(), Some(hop(9)), "which is not full");
}

/// Of a report that waits in the queue, is repeated for a repeated checkpoint, or has copies.
#[test]
fn a_shorter_segment_is_the_limit_of_every_report_that_leaves_behind_the_command() {
    for copies in [0, 2] {
        let mut line = Line::with(
            1,
            OWLT,
            |_| {},
            |peer| peer.redundancy = Redundancy::Fixed(copies),
        );
        line.judge(|_| SegmentOutcome::Drop);
        for at in 0..300 {
            line.give(2, FOREIGN, red(2 * at, &[1]));
        }
        let asks = checkpoint(5, 0, Mark::None, 1000, &[1]);
        line.give(2, FOREIGN, asks);
        line.drain();
        line.run_for(SECOND * 7);
        let before = line.log.len();
        assert!(line.log.iter().any(|(.., octets)| octets.len() > 500));

        let now = line.now;
        let shorter = Peer {
            segment: 200,
            redundancy: Redundancy::Fixed(copies),
            ..Peer::at(hop(1))
                .with_flow(Flow::Unlimited)
                .at_distance(OWLT)
        };
        line.far().change_peer(now, 1, shorter).unwrap();
        line.give(2, FOREIGN, asks);
        line.drain();
        line.run_for(SECOND * 30);

        let late = &line.log[before..];
        assert!(late.len() > 3, "{}", late.len());
        assert!(late.iter().all(|(.., octets)| octets.len() <= 200));
    }
}
