//! One test per rule of RFC 5326, named after it. The procedures are those of section 6.

use core::num::NonZeroU32;
use core::time::Duration;

use farlink::ltp::{
    Body, Checkpoint, Claims, Color, Command, Cue, Data, EndCause, Error, Event, Flow, Mark,
    Reason, Red, Report, Segment, Service, SessionId, Side,
};
use farlink::{Cause, Instant, Link, Machine as _, Tag};

use crate::line::{CLIENT, Line, Passing, SegmentOutcome, block, is_complete, pattern, received};

mod edge_cases;
mod ends;
mod flow;
mod peers;
mod redundancy;
mod scattered;
mod signals;
mod take;
mod timers;

mod window;

const OWLT: Duration = Duration::from_secs(3);
const FOREIGN: SessionId = SessionId {
    originator: 1,
    number: 77,
};

/// Loses the first `count` segments of one type.
fn lose(code: u8, count: usize) -> impl FnMut(&Passing<'_>) -> SegmentOutcome {
    let mut left = count;
    move |passing| {
        if passing.segment().body.code() == code && left > 0 {
            left -= 1;
            return SegmentOutcome::Drop;
        }
        SegmentOutcome::Pass
    }
}

fn red(offset: u64, octets: &[u8]) -> Body<'_> {
    Body::Data(Data {
        client: CLIENT,
        offset,
        color: Color::Red(None),
        octets,
    })
}

fn checkpoint(serial: u64, report: u64, mark: Mark, offset: u64, octets: &[u8]) -> Body<'_> {
    Body::Data(Data {
        client: CLIENT,
        offset,
        color: Color::Red(Some(Checkpoint {
            serial,
            report,
            mark,
        })),
        octets,
    })
}

fn green(offset: u64, octets: &[u8], ends_block: bool) -> Body<'_> {
    Body::Data(Data {
        client: CLIENT,
        offset,
        color: Color::Green { ends_block },
        octets,
    })
}

/// The reports that the second engine sent: checkpoint, scope, claims.
type Reported = (u64, (u64, u64), Vec<(u64, u64)>);

/// Returns the octets of a segment.
fn encoded(session: SessionId, body: Body<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    Segment::new(session, body).encode(&mut octets);
    octets
}

/// Lets engine 1 hear a segment that concerns no session.
fn hear_peer(line: &mut Line) {
    line.give(1, NOTHING, Body::CancelAckToSender);
}

const NOTHING: SessionId = SessionId {
    originator: 1,
    number: 99,
};

fn reports(line: &Line) -> Vec<Reported> {
    line.bodies()
        .iter()
        .filter_map(|(_, segment)| match segment.body {
            Body::Report(report) => Some((
                report.checkpoint,
                (report.scope.start, report.scope.end),
                report
                    .claims
                    .iter()
                    .map(|claim| (claim.start, claim.end))
                    .collect(),
            )),
            _ => None,
        })
        .collect()
}

// Contacts.

#[test]
fn nothing_is_sent_while_transmission_is_stopped() {
    let mut line = Line::new(1, OWLT);
    line.near()
        .contact(Instant::ZERO, 2, Cue::MustStop)
        .unwrap();
    line.send(1, &pattern(5000), Red::All);
    line.run_for(Duration::from_secs(100));
    assert_eq!(line.log.len(), 0);

    let now = line.now;
    line.near().contact(now, 2, Cue::MayTransmit).unwrap();
    line.run();

    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn the_checkpoint_timer_starts_when_it_leaves_and_covers_the_light_time_and_both_delays() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 1));

    line.send(1, &pattern(100), Red::All);
    line.run();

    // 3 s out, 1 s there, 3 s back, and half a second of our own each way.
    assert_eq!(line.log[1].0, Instant::ZERO + Duration::from_secs(8));
    assert_eq!(line.log[0].2, line.log[1].2, "the repeat is the same");
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_report_is_repeated_with_the_same_content_until_it_is_acknowledged() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(8, 2));

    line.send(1, &pattern(100), Red::All);
    line.run();

    let sent: Vec<_> = line.log.iter().filter(|(_, from, _)| *from == 2).collect();
    assert_eq!(sent[0].2, sent[1].2);
    assert_eq!(
        sent[1].0,
        Instant::ZERO + Duration::from_secs(3 + 8),
        "by its timer, and not again by the checkpoint that comes at the same time"
    );
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn timers_stand_still_while_the_peer_is_silent() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 1));
    line.send(1, &pattern(100), Red::All);
    line.run_for(Duration::from_secs(1));

    line.link(0, Link::Down(Cause::Closed));
    line.run_for(Duration::from_secs(3600));
    assert_eq!(line.log.len(), 1, "an hour without a contact costs no try");
    line.link(0, Link::Up);
    line.run();

    // The answer was expected to leave at 4.5 s; the deadline of 8 s moves by all silence behind that.
    assert_eq!(
        line.log[1].0,
        Instant::ZERO + Duration::from_millis(3_601_000 - 4500 + 8000)
    );
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_timer_whose_answer_is_on_its_way_runs_on() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 1));
    line.send(1, &pattern(100), Red::All);
    line.run_for(Duration::from_secs(5));

    line.near()
        .contact(Instant::ZERO, 2, Cue::PeerStopped)
        .unwrap();
    line.run_for(Duration::from_secs(10));

    assert_eq!(
        line.log[1].0,
        Instant::ZERO + Duration::from_secs(8),
        "the repeat went out in spite of the silence"
    );
}

// Checkpoints.

#[test]
fn a_checkpoint_is_sent_six_times_and_then_the_session_is_cancelled_with_rlexc() {
    let mut line = Line::new(1, Duration::ZERO);
    line.judge(|_| SegmentOutcome::Drop);

    line.send(1, &pattern(100), Red::All);
    for _ in 0..24 {
        hear_peer(&mut line);
        line.run_for(Duration::from_secs(1));
    }
    line.run();

    assert_eq!(line.codes(), [3, 3, 3, 3, 3, 3, 12, 12, 12, 12, 12, 12]);
    let events = line.events(1);
    let [
        Event::Failed {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            data,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(data[..], pattern(100), "the block is given back");
    assert_eq!(line.left(), (0, 0, 0));
}

/// Who was never heard gets no more than a probe now and then, and is told once that it is given up.
#[test]
fn a_peer_that_was_never_heard_is_asked_three_times_within_12_s_and_told_once() {
    let mut line = Line::new(1, Duration::ZERO);
    line.judge(|_| SegmentOutcome::Drop);

    line.send(1, &pattern(100), Red::All);
    line.run();

    assert_eq!(line.codes(), [3, 3, 3, 12]);
    let events = line.events(1);
    let silent = EndCause::PeerSilent(Duration::from_secs(12));
    let is_silent = matches!(events[..], [Event::Failed { cause, .. }] if cause == silent);
    assert!(is_silent, "{events:?}");
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn an_overtaken_discretionary_checkpoint_is_not_repeated() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.checkpoint_every = NonZeroU32::new(2);
        },
    );
    // The first discretionary checkpoint is lost for good, what it asks for is told by a later one.
    line.judge(|passing| {
        let is_first = matches!(passing.segment().body, Body::Data(data)
            if data.offset == 1391 && matches!(data.color, Color::Red(Some(_))));
        if is_first && passing.nth < 10 {
            SegmentOutcome::Drop
        } else {
            SegmentOutcome::Pass
        }
    });

    line.send(1, &pattern(6000), Red::All);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(received(&line.events(2)), Some(&pattern(6000)[..]));
    assert_eq!(line.left(), (0, 0, 0));
}

// Deliveries.

#[test]
fn the_red_part_is_delivered_on_whichever_segment_completes_it() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 3, &[4, 5, 6]));
    line.drain();
    assert_eq!(line.events(2), []);

    line.give(2, FOREIGN, red(0, &[1, 2, 3]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[1, 2, 3, 4, 5, 6][..]));
    assert_eq!(
        reports(&line),
        [(5, (0, 6), vec![(3, 6)]), (0, (0, 6), vec![(0, 6)])],
        "an asynchronous report tells that all came"
    );
}

#[test]
fn a_block_is_delivered_once_whatever_comes_twice() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Twice);

    line.send(1, &pattern(5000), Red::All);
    line.run();

    assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..]));
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn overlapping_octets_that_agree_are_kept_once() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(2, &[1, 1]));
    line.give(2, FOREIGN, red(0, &[2, 2, 1]));

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 3, &[1, 3]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[2, 2, 1, 1, 3][..]));
}

/// A restarted sender that counts its sessions from 1 sends another block under a number of which octets are held. Nobody
/// can tell which octets are of which block.
#[test]
fn octets_that_come_again_and_differ_cancel_the_session_and_none_is_reported_on() {
    let held: [&[(u64, u8, usize)]; 4] = [
        &[(0, 7, 100)],
        &[(0, 7, 70), (100, 7, 30)],
        &[(90, 7, 1)],
        // Far ahead, where octets are kept in pieces.
        &[(0, 7, 10), (200_000, 7, 10), (60_000, 7, 10)],
    ];
    for (service, held) in [Service::Whole, Service::Streaming, Service::Scattered]
        .into_iter()
        .flat_map(|service| held.map(|held| (service, held)))
    {
        let mut line = Line::new(1, OWLT);
        let now = line.now;
        line.far().open(now, CLIENT + 1, service).unwrap();
        let other = |body: Body<'_>| match body {
            Body::Data(data) => encoded(
                FOREIGN,
                Body::Data(Data {
                    client: CLIENT + 1,
                    ..data
                }),
            ),
            other => panic!("{other:?}"),
        };
        for (offset, octet, len) in held {
            line.deliver(2, &other(red(*offset, &vec![*octet; *len])));
        }
        let (offset, octet, len) = held[held.len() - 1];
        let mut octets = vec![octet; len + 5];
        octets[len - 1] ^= 1;

        line.deliver(2, &other(checkpoint(5, 0, Mark::None, offset, &octets)));
        line.drain();

        let events = line.events(2);
        let is_cancelled = events.iter().any(
            |event| matches!(event, Event::Cancelled { cause, .. } if *cause == EndCause::StateLost),
        );
        assert!(is_cancelled, "{service:?} {held:?}: {events:?}");
        assert_eq!(line.codes(), [14], "{service:?} {held:?}");
    }
}

#[test]
fn a_block_for_another_service_under_the_number_of_a_session_cancels_it() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[1; 10]));
    let now = line.now;
    line.far().open(now, CLIENT + 1, Service::Whole).unwrap();
    let other = Body::Data(Data {
        client: CLIENT + 1,
        offset: 0,
        color: Color::Red(None),
        octets: &[1; 10],
    });

    line.give(2, FOREIGN, other);
    line.drain();

    assert_eq!(line.codes(), [14]);
}

#[test]
fn green_segments_are_handed_over_as_they_come() {
    let mut line = Line::new(1, OWLT);

    line.send(1, &pattern(3000), Red::Octets(0));
    line.run();

    let lens: Vec<_> = line
        .events(2)
        .iter()
        .map(|event| match event {
            Event::Green {
                offset,
                data,
                ends_block,
                ..
            } => (*offset, data.len(), *ends_block),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lens.iter().map(|(_, len, _)| len).sum::<usize>(), 3000);
    assert!(lens.last().unwrap().2);
    assert!(
        is_complete(&line.events(1), 1),
        "complete when the EOB left"
    );
    assert_eq!(line.log.len(), 3);
}

// Reports.

#[test]
fn a_report_covers_the_checkpointed_scope_and_a_secondary_one_starts_where_the_cited_did() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[0; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 20, &[0; 10]));
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::RedPart, 50, &[0; 10]));
    line.drain();
    let serial = |line: &Line| match line.bodies().last().unwrap().1.body {
        Body::Report(report) => report.serial,
        other => panic!("{other:?}"),
    };
    let second = serial(&line);

    line.give(2, FOREIGN, checkpoint(7, second, Mark::None, 30, &[0; 15]));
    line.drain();

    assert_eq!(
        reports(&line),
        [
            (5, (0, 30), vec![(0, 10), (20, 30)]),
            (6, (30, 60), vec![(50, 60)]),
            (7, (30, 45), vec![(30, 45)]),
        ]
    );
}

#[test]
fn a_checkpoint_that_was_overtaken_is_answered_from_0() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::None, 50, &[0; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 20, &[0; 10]));
    line.drain();

    assert_eq!(
        reports(&line),
        // Claims are those of when the report is written.
        [
            (6, (0, 60), vec![(20, 30), (50, 60)]),
            (5, (0, 30), vec![(20, 30)]),
        ]
    );
}

/// Whoever sent it was told of octets that are nowhere any more.
#[test]
fn a_checkpoint_that_cites_a_report_which_was_never_made_ends_the_session() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::None, 50, &[0; 10]));
    line.drain();
    line.give(2, FOREIGN, checkpoint(7, 99_999, Mark::None, 30, &[0; 10]));
    line.drain();

    assert_eq!(line.codes(), [8, 14]);
    let events = line.events(2);
    let end = matches!(
        events[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::SYSTEM,
            ..
        }]
    );
    assert!(end, "{events:?}");
}

#[test]
fn a_report_too_long_for_a_segment_is_split_and_its_pieces_tile_the_scope() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 96);
    for start in (0..4000).step_by(20) {
        line.give(2, FOREIGN, red(start, &[0; 10]));
    }

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 4000, &[0; 10]));
    line.drain();

    let reports = reports(&line);
    assert!(reports.len() > 5);
    let mut from = 0;
    let mut claims = Vec::new();
    for (cause, scope, mut claimed) in reports {
        assert_eq!((cause, scope.0), (5, from));
        assert!(!claimed.is_empty());
        from = scope.1;
        claims.append(&mut claimed);
    }
    assert_eq!(from, 4010);
    let held: Vec<_> = (0..=4000)
        .step_by(20)
        .map(|start| (start, start + 10))
        .collect();
    assert_eq!(claims, held);
    assert!(line.log.iter().all(|(_, _, octets)| octets.len() <= 96));
}

#[test]
fn a_delayed_report_waits_for_what_is_under_way_and_goes_at_once_when_all_is_here() {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |_| {},
        |peer| {
            peer.timers.report_delay = Duration::from_millis(20);
        },
    );
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 20, &[0; 10]));
    line.run_for(Duration::from_millis(15));
    line.give(2, FOREIGN, red(0, &[0; 10]));
    line.run_for(Duration::from_millis(15));
    assert_eq!(reports(&line), []);

    line.give(2, FOREIGN, red(10, &[0; 10]));
    line.drain();

    assert_eq!(reports(&line), [(5, (0, 30), vec![(0, 30)])]);
}

#[test]
fn more_reports_with_gaps_than_the_limit_cancel_the_reception_with_rlexc() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.limits.problems = 3);
    for serial in 1..=4 {
        let offset = serial * 100;
        line.give(
            2,
            FOREIGN,
            checkpoint(serial, 0, Mark::None, offset, &[0; 10]),
        );
    }
    line.drain();

    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::RETRANSMISSION_LIMIT,
            after_delivery: false,
            ..
        }]
    ));
}

// What reports do.

#[test]
fn a_mixed_block_is_complete_when_all_left_and_the_red_part_is_claimed() {
    let mut line = Line::with(1, OWLT, |config| config.notify_sent = true, |_| {});

    line.send(1, &pattern(5000), Red::Octets(3000));
    line.drain();
    assert_eq!(line.events(1), [Event::Sent { tag: Tag(1) }]);
    line.run();

    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn every_report_is_acknowledged_also_for_an_unknown_session_and_a_repeat() {
    let mut line = Line::new(1, OWLT);
    let claims = [0..5];
    let body = Body::Report(Report {
        serial: 9,
        checkpoint: 4,
        scope: (0..10).into(),
        claims: Claims::new(&claims),
    });

    line.give(1, FOREIGN, body);
    line.give(1, FOREIGN, body);
    line.drain();

    let acks: Vec<_> = line
        .bodies()
        .iter()
        .map(|(_, segment)| segment.body)
        .collect();
    assert_eq!(acks, [Body::ReportAck(9), Body::ReportAck(9)]);
}

#[test]
fn exactly_the_missing_octets_are_sent_again_and_only_the_last_segment_is_a_checkpoint() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 200);
    line.judge(|passing| match passing.nth {
        2 | 3 | 7 => SegmentOutcome::Drop,
        _ => SegmentOutcome::Pass,
    });

    line.send(1, &pattern(2000), Red::All);
    line.run();

    let data: Vec<_> = line
        .bodies()
        .iter()
        .filter_map(|(_, segment)| match segment.body {
            Body::Data(data) => Some((data.range(), data.color)),
            _ => None,
        })
        .collect();
    let first_pass = data
        .iter()
        .position(|(range, _)| range.end == 2000)
        .unwrap()
        + 1;
    let lost: Vec<_> = [2, 3, 7].iter().map(|at| data[*at].0.clone()).collect();
    let again: Vec<_> = data[first_pass..]
        .iter()
        .map(|(range, _)| range.clone())
        .collect();
    assert_eq!(again[..2], lost[..2]);
    assert_eq!(again.last().unwrap().end, lost[2].end);
    let total = |ranges: &[core::ops::Range<u64>]| -> u64 {
        ranges.iter().map(|range| range.end - range.start).sum()
    };
    assert_eq!(total(&again), total(&lost));
    let checkpoints = data[first_pass..]
        .iter()
        .map(|(_, color)| matches!(color, Color::Red(Some(_))))
        .collect::<Vec<_>>();
    assert_eq!(checkpoints.iter().filter(|is| **is).count(), 1);
    assert!(checkpoints.last().unwrap());
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_report_beyond_what_left_is_malformed_and_not_acknowledged() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(100), Red::All);
    line.drain();
    let claims = [0..200];
    let body = Body::Report(Report {
        serial: 9,
        checkpoint: 0,
        scope: (0..200).into(),
        claims: Claims::new(&claims),
    });

    line.give(1, session, body);
    line.drain();

    assert_eq!(line.near().stats().malformed, 1);
    assert_eq!(line.codes(), [3]);
}

#[test]
fn claims_of_all_reports_are_merged_also_of_those_for_unknown_checkpoints() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(100), Red::All);
    line.drain();

    for (serial, claim) in [(9, 0..60), (10, 50..100)] {
        let claims = [claim.clone()];
        let body = Body::Report(Report {
            serial,
            checkpoint: 0,
            scope: claim.into(),
            claims: Claims::new(&claims),
        });
        line.give(1, session, body);
    }
    line.drain();

    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_lost_piece_of_a_split_report_hangs_nothing() {
    // ION issue 14: one of several reports is lost for good, and nobody repeats it.
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();
    let serial = match line.bodies()[0].1.body {
        Body::Data(Data {
            color: Color::Red(Some(checkpoint)),
            ..
        }) => checkpoint.serial,
        other => panic!("{other:?}"),
    };
    let claims = [0..400];
    let body = Body::Report(Report {
        serial: 9,
        checkpoint: serial,
        scope: (0..400).into(),
        claims: Claims::new(&claims),
    });

    line.judge(|passing| {
        if passing.from == 1 {
            SegmentOutcome::Pass
        } else {
            SegmentOutcome::Drop
        }
    });
    line.give(1, session, body);
    line.run();

    let events = line.events(1);
    assert!(!is_complete(&events, 1), "it was given up, not forgotten");
    assert_eq!(line.near().usage().sessions, (0, 0));
}

#[test]
fn a_delayed_retransmission_gathers_reports() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.timers.repair_delay = Duration::from_millis(20);
        },
    );
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();

    for (serial, scope, claim) in [(9, 0..500, 0..100), (10, 100..1000, 100..1000)] {
        let claims = [claim];
        let body = Body::Report(Report {
            serial,
            checkpoint: 0,
            scope: scope.into(),
            claims: Claims::new(&claims),
        });
        line.give(1, session, body);
    }
    line.drain();

    assert!(is_complete(&line.events(1), 1), "the union leaves no gap");
    assert_eq!(line.codes(), [3, 9, 9]);
}
