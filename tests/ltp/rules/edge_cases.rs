//! Unusual but valid input, and invalid input that does no harm.

use farlink::ltp::{Extension, ExtensionTag, Flow, Peer, Segment};
use farlink::{Hop, Limits, Transmit};

use super::*;
use crate::line::hop;

const SECOND: Duration = Duration::from_secs(1);

// Data.

#[test]
fn segments_tile_the_block_within_the_limit_and_none_has_two_colors() {
    for len in 1..400_u64 {
        for red in [0, 1, len / 2, len.saturating_sub(1), len] {
            let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 96);
            line.judge(|_| SegmentOutcome::Drop);
            line.send(1, &pattern(len as usize), Red::Octets(red));
            line.drain();

            let mut next = 0;
            for (_, _, octets) in &line.log {
                assert!(octets.len() <= 96, "{len} {red}");
                let Body::Data(data) = Segment::decode(octets).unwrap().body else {
                    panic!("no data");
                };
                let range = data.range();
                assert_eq!(range.start, next, "{len} {red}");
                assert!(range.end > next);
                next = range.end;
                let mark = match (next == red, next == len) {
                    (true, true) => Some(Mark::Block),
                    (true, false) => Some(Mark::RedPart),
                    _ => None,
                };
                let expected = if range.end <= red {
                    Ok(mark)
                } else {
                    Err(next == len)
                };
                let found = match data.color {
                    Color::Red(checkpoint) => Ok(checkpoint.map(|checkpoint| checkpoint.mark)),
                    Color::Green { ends_block } => Err(ends_block),
                };
                assert_eq!(found, expected, "{len} {red}");
            }
            assert_eq!(next, len, "{red}");
        }
    }
}

#[test]
fn a_segment_without_data_counts_by_its_marks() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 10, &[]));
    line.drain();
    assert_eq!(reports(&line), [(5, (0, 10), vec![(0, 10)])]);
    assert_eq!(line.events(2), []);

    line.give(2, FOREIGN, checkpoint(6, 0, Mark::Block, 10, &[]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[1; 10][..]));
}

#[test]
fn a_checkpoint_without_data_behind_missing_octets_is_answered() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 0, &[1; 10]));
    line.drain();

    line.give(2, FOREIGN, checkpoint(6, 0, Mark::RedPart, 20, &[]));
    line.drain();

    let first = (5, (0, 10), vec![(0, 10)]);
    assert_eq!(reports(&line), [first, (6, (0, 20), vec![(0, 10)])]);
}

#[test]
fn a_green_segment_that_comes_twice_is_handed_over_twice() {
    let mut line = Line::new(1, OWLT);

    line.give(2, FOREIGN, green(10, &[1; 5], false));
    line.give(2, FOREIGN, green(10, &[1; 5], false));
    line.drain();

    let events = line.events(2);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0], events[1]);
}

#[test]
fn session_number_0_is_dropped() {
    let mut line = Line::new(1, OWLT);
    let zero = SessionId {
        originator: 1,
        number: 0,
    };

    line.give(2, zero, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.drain();

    assert_eq!(line.far().stats().malformed, 1);
    assert_eq!((line.log.len(), line.far().usage().sessions), (0, (0, 0)));
}

#[test]
fn blocks_beyond_the_number_of_sessions_arrive_once_others_are_over() {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |_| {},
        |peer| {
            peer.limits.imports = 1;
            peer.limits.checkpoint_retries = 60;
        },
    );
    for tag in 0..4 {
        line.send(tag, &pattern(3000), Red::All);
    }

    line.run();

    let events = line.events(2);
    let whole =
        |event: &&Event| matches!(event, Event::Received { data, .. } if data[..] == pattern(3000));
    assert_eq!(events.iter().filter(whole).count(), 4);
    assert!(line.far().stats().no_room > 0);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn closing_a_service_cancels_what_is_under_way_as_the_service_does() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 100));
    line.send(1, &pattern(5000), Red::All);
    line.run_for(OWLT);

    let now = line.now;
    line.far().close(now, CLIENT).unwrap();
    line.run();

    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::USER,
            ..
        }]
    ));
    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            by: Side::Remote,
            reason: Reason::USER,
            ..
        }]
    ));
}

#[test]
fn green_for_nobody_is_refused_too_and_the_refusal_repeated_until_it_is_acknowledged() {
    let mut line = Line::new(1, OWLT);
    line.far().close(Instant::ZERO, CLIENT).unwrap();
    line.judge(lose(14, 2));

    line.give(2, FOREIGN, green(10, &[1; 5], false));
    line.give(2, FOREIGN, green(15, &[1; 5], true));
    line.run();

    // 6 s of light and 2 s of delays apart.
    let times: Vec<Instant> = line
        .log
        .iter()
        .filter(|(_, from, _)| *from == 2)
        .map(|(time, ..)| *time)
        .collect();
    let seconds = [0, 8, 16].map(|seconds| Instant::ZERO + SECOND * seconds);
    assert_eq!(times, seconds);
    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
}

// Ends.

#[test]
fn reasons_that_nobody_assigned_are_passed_on() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(10), Red::All);
    line.judge(|_| SegmentOutcome::Drop);
    line.drain();

    line.give(1, session, Body::CancelByReceiver(Reason(99)));
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(2, FOREIGN, Body::CancelBySender(Reason(100)));
    line.drain();

    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            reason: Reason(99),
            ..
        }]
    ));
    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            reason: Reason(100),
            ..
        }]
    ));
}

#[test]
fn a_cancelled_reception_stays_cancelled_whatever_comes_late() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(2, FOREIGN, Body::CancelBySender(Reason::USER));
    line.drain();
    assert_eq!(line.events(2).len(), 1);

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 20]));
    line.give(2, FOREIGN, Body::CancelBySender(Reason::USER));
    line.drain();

    assert_eq!(line.events(2), []);
    assert_eq!(line.codes(), [13, 13], "each CS is acknowledged");
    assert_eq!(line.far().stats().closed_session, 1);
}

#[test]
fn a_closed_session_is_forgotten_only_when_nobody_can_ask_for_it_any_more() {
    let few = |config: &mut farlink::ltp::Config| {
        config.limits.closed_sessions = 8;
    };
    let mut line = Line::with(1, OWLT, few, |_| {});
    line.judge(|_| SegmentOutcome::Drop);
    let all = checkpoint(5, 0, Mark::Block, 0, &[1; 10]);
    let end = |line: &mut Line, number| {
        let session = SessionId {
            originator: 1,
            number,
        };
        line.give(2, session, all);
        line.give(2, session, Body::CancelBySender(Reason::USER));
        line.drain();
    };
    end(&mut line, 1);
    line.events(2);

    // As long as a sender waits for an answer, and six tries of 8 s, twice.
    for (wait, deliveries) in [(690, 0), (700, 1)] {
        line.run_for(SECOND * wait);
        end(&mut line, wait.into());
        line.events(2);
        end(&mut line, 1);

        let events = line.events(2);
        let whole = |event: &&Event| matches!(event, Event::Received { .. });
        assert_eq!(events.iter().filter(whole).count(), deliveries);
    }
}

#[test]
fn a_peer_that_is_added_again_has_no_block_delivered_twice() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(8, 1));
    line.send(1, &pattern(100), Red::All);
    line.run_for(OWLT);
    assert_eq!(received(&line.events(2)), Some(&pattern(100)[..]));

    let now = line.now;
    line.far().remove_peer(now, 1).unwrap();
    let again = Peer::at(hop(1))
        .with_flow(Flow::Unlimited)
        .at_distance(OWLT);
    line.far().add_peer(now, 1, again).unwrap();
    line.events(2);
    line.run();

    assert_eq!(received(&line.events(2)), None);
    assert_eq!(line.left(), (0, 0, 0));
}

// Segments.

#[test]
fn octets_behind_a_segment_make_it_malformed_but_for_those_that_ion_leaves_behind_a_report() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(10), Red::All);
    line.judge(|_| SegmentOutcome::Drop);
    line.drain();
    let mut data = encoded(FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    data.push(0);
    let claims = [0..10];
    let told = Body::Report(Report {
        serial: 9,
        checkpoint: 0,
        scope: (0..10).into(),
        claims: Claims::new(&claims),
    });
    let mut told = encoded(session, told);
    told.extend([0; 7]);

    line.deliver(2, &data);
    line.deliver(1, &told);
    line.drain();

    assert_eq!(line.far().stats().malformed, 1);
    assert_eq!(line.far().usage().sessions, (0, 0));
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn extensions_that_nobody_knows_are_skipped_as_many_as_there_may_be() {
    // A CAS has no content: its trailers follow its headers at once.
    let bodies = [
        checkpoint(5, 0, Mark::Block, 0, &[1; 10]),
        Body::CancelBySender(Reason::USER),
    ];
    for body in bodies {
        let mut line = Line::new(1, OWLT);
        let plain = encoded(FOREIGN, body);
        let at = plain.len() - body.wire_len();
        let mut octets = plain[..at].to_vec();
        octets[at - 1] = 0xFF;
        for tag in 0xC0..0xCF {
            octets.extend([tag, 2, 7, 7]);
        }
        octets.extend_from_slice(&plain[at..]);
        for _ in 0..15 {
            octets.extend([0xC0, 0]);
        }

        line.deliver(2, &octets);
        line.drain();

        assert_eq!(line.far().stats().malformed, 0);
        assert_eq!(line.log.len(), 1, "it is answered");
        let segment = Segment::decode(&octets).unwrap();
        assert_eq!(segment.header.count(), 15);
        let found = Extension {
            tag: ExtensionTag(0xC3),
            value: &[7, 7],
        };
        assert!(segment.header.iter().any(|one| one == found));
    }
}

#[test]
fn what_a_receiver_says_to_another_engine_is_not_for_this_one() {
    let mut line = Line::new(1, OWLT);
    let claims = [0..10];
    let told = Body::Report(Report {
        serial: 9,
        checkpoint: 0,
        scope: (0..10).into(),
        claims: Claims::new(&claims),
    });
    let elsewhere = SessionId {
        originator: 7,
        number: 1,
    };

    line.give(1, elsewhere, told);
    line.give(1, elsewhere, Body::CancelByReceiver(Reason::USER));
    line.drain();

    assert_eq!(line.near().stats().unknown_peer, 2);
    assert_eq!(line.log.len(), 0);
}

#[test]
fn segments_of_a_peer_that_roams_count_wherever_they_come_from_and_answers_go_to_its_address() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.roams = true);
    let session = line.send(1, &pattern(10), Red::All);
    line.drain();
    let claims = [0..10];
    let told = Body::Report(Report {
        serial: 9,
        checkpoint: 0,
        scope: (0..10).into(),
        claims: Claims::new(&claims),
    });
    let elsewhere = Hop {
        interface: 3,
        via: 99,
    };

    let octets = encoded(session, told);
    line.near().receive(Instant::ZERO, elsewhere, &octets);

    let mut tx = Transmit::new(Limits::default());
    while let farlink::Output::Event(event) = line.nodes[0].engine.poll(Instant::ZERO, &mut tx) {
        assert!(matches!(event, Event::Complete { .. }));
    }
    assert_eq!(tx.to(), Some(hop(2)));
}
