//! One test per rule of the specification, named after it. The procedures are those of RFC 5326 section 6.

use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use farlink::ltp::{
    Body, Checkpoint, Claims, Color, Command, Cue, Data, Error, Event, Mark, Reason, Red, Report,
    Service, SessionId, Side,
};
use farlink::{Cause, Instant, Link, Machine as _, Tag};

use crate::line::{CLIENT, Fate, Line, Passing, block, is_complete, pattern, received};

const OWLT: Duration = Duration::from_secs(3);
const FOREIGN: SessionId = SessionId {
    originator: 1,
    number: 77,
};

/// Loses the first `count` segments of one type.
fn lose(code: u8, count: usize) -> impl FnMut(&Passing<'_>) -> Fate {
    let mut left = count;
    move |passing| {
        if passing.segment().body.code() == code && left > 0 {
            left -= 1;
            return Fate::Drop;
        }
        Fate::Pass
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

/// The reports that left the second engine: checkpoint, scope, claims.
type Reported = (u64, (u64, u64), Vec<(u64, u64)>);

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

// P1 to P6: contacts.

#[test]
fn p1_and_p4_nothing_is_sent_while_transmission_is_stopped() {
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
fn p2_the_checkpoint_timer_starts_when_it_leaves_and_covers_the_light_time_and_both_delays() {
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
fn p3_and_p8_a_report_is_repeated_with_the_same_content_until_it_is_acknowledged() {
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
fn p5_and_p6_timers_stand_still_while_the_peer_is_silent() {
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

// P7: checkpoints.

#[test]
fn p7_a_checkpoint_is_sent_six_times_and_then_the_session_is_cancelled_with_rlexc() {
    let mut line = Line::new(1, Duration::ZERO);
    line.judge(|_| Fate::Drop);

    line.send(1, &pattern(100), Red::All);
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
            Fate::Drop
        } else {
            Fate::Pass
        }
    });

    line.send(1, &pattern(6000), Red::All);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(received(&line.events(2)), Some(&pattern(6000)[..]));
    assert_eq!(line.left(), (0, 0, 0));
}

// P9 and P10: deliveries.

#[test]
fn p9_the_red_part_is_delivered_on_whichever_segment_completes_it() {
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
    line.judge(|_| Fate::Twice);

    line.send(1, &pattern(5000), Red::All);
    line.run();

    assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..]));
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn overlapping_octets_are_kept_as_they_came_first() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(2, &[1, 1]));
    line.give(2, FOREIGN, red(0, &[2, 2, 2]));

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 3, &[3, 3]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[2, 2, 1, 1, 3][..]));
}

#[test]
fn p10_green_segments_are_handed_over_as_they_come() {
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

// P11: reports.

#[test]
fn p11_a_report_covers_the_checkpointed_scope_and_a_secondary_one_starts_where_the_cited_did() {
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
fn a_checkpoint_that_cites_an_unknown_report_or_was_overtaken_is_answered_from_0() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::None, 50, &[0; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::None, 20, &[0; 10]));
    line.give(2, FOREIGN, checkpoint(7, 9999, Mark::None, 30, &[0; 10]));
    line.drain();

    assert_eq!(
        reports(&line),
        [
            (6, (0, 60), vec![(50, 60)]),
            (5, (0, 30), vec![(20, 30)]),
            (7, (0, 40), vec![(20, 40)]),
        ]
    );
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
            peer.report_delay = Duration::from_millis(20);
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
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.problem_limit = 3);
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

// P12 and P13: what reports do.

#[test]
fn p12_a_mixed_block_is_complete_when_all_left_and_the_red_part_is_claimed() {
    let mut line = Line::with(1, OWLT, |config| config.tell_sent = true, |_| {});

    line.send(1, &pattern(5000), Red::Octets(3000));
    line.drain();
    assert_eq!(line.events(1), [Event::Sent { tag: Tag(1) }]);
    line.run();

    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn p13_every_report_is_acknowledged_also_for_an_unknown_session_and_a_repeat() {
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
fn p13_exactly_the_missing_octets_are_sent_again_and_only_the_last_segment_is_a_checkpoint() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 200);
    line.judge(|passing| match passing.nth {
        2 | 3 | 7 => Fate::Drop,
        _ => Fate::Pass,
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
            Fate::Pass
        } else {
            Fate::Drop
        }
    });
    line.give(1, session, body);
    line.run();

    let events = line.events(1);
    assert!(!is_complete(&events, 1), "it was given up, not forgotten");
    assert_eq!(line.near().sessions(), (0, 0));
}

#[test]
fn a_delayed_retransmission_gathers_reports() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.repair_delay = Duration::from_millis(20);
        },
    );
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();

    for (serial, scope, claim) in [(9, 0..500, 0..100), (10, 0..1000, 100..1000)] {
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

// P14 to P20: ends.

#[test]
fn p14_a_receiver_is_closed_by_the_last_acknowledgment_and_not_before() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(100), Red::All);
    line.run_for(OWLT);
    assert_eq!(
        line.far().sessions(),
        (0, 1),
        "delivered, and its report is under way"
    );

    line.run_for(OWLT * 2);

    assert_eq!(line.far().sessions(), (0, 0));
}

#[test]
fn a_peer_that_never_acknowledges_reports_does_not_undo_a_delivery() {
    // ION captures 06 and 13.
    let mut line = Line::new(1, OWLT);
    line.judge(lose(9, 100));

    line.send(1, &pattern(100), Red::All);
    line.run();

    assert_eq!(received(&line.events(2)), Some(&pattern(100)[..]));
    assert!(!line.codes().contains(&14), "nobody has failed");
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_late_checkpoint_of_a_delivered_session_is_answered_and_delivers_nothing() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.drain();
    line.run();
    line.events(2);
    let before = line.log.len();

    line.give(2, FOREIGN, checkpoint(6, 0, Mark::None, 5, &[1; 5]));
    line.drain();

    assert_eq!(line.events(2), []);
    assert_eq!(reports(&line).last().unwrap(), &(6, (0, 10), vec![(0, 10)]));
    assert_eq!(line.log.len(), before + 1);
    assert_eq!(line.far().sessions(), (0, 0));
}

#[test]
fn p15_to_p18_a_cancelled_block_is_cancelled_at_the_receiver_and_acknowledged() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(12, 2));
    line.send(1, &pattern(5000), Red::Octets(4999));
    line.drain();

    let now = line.now;
    line.near().cancel(now, Tag(1)).unwrap();
    line.run();

    assert!(!is_complete(&line.events(1), 1));
    assert_eq!(line.codes().iter().filter(|code| **code == 12).count(), 3);
    assert!(line.codes().contains(&13));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn p19_a_block_of_which_nothing_left_is_cancelled_in_silence() {
    let mut line = Line::new(1, OWLT);
    line.link(0, Link::Down(Cause::Closed));
    line.send(1, &pattern(5000), Red::All);

    line.near().cancel(Instant::ZERO, Tag(1)).unwrap();
    line.link(0, Link::Up);
    line.run();

    assert_eq!(line.log.len(), 0);
    assert_eq!(line.near().sessions(), (0, 0));
}

#[test]
fn the_receiver_can_cancel_and_both_sides_hear_of_it_once() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 100));
    let session = line.send(1, &pattern(5000), Red::All);
    line.run_for(OWLT);

    let now = line.now;
    line.far().refuse(now, session).unwrap();
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
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_cancel_after_delivery_says_so() {
    let mut line = Line::new(1, OWLT);
    line.judge(|passing| {
        if passing.from == 2 {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.give(2, FOREIGN, Body::CancelBySender(Reason::SYSTEM));
    line.drain();

    assert!(matches!(
        line.events(2)[..],
        [
            Event::Received { .. },
            Event::Cancelled {
                by: Side::Remote,
                after_delivery: true,
                ..
            }
        ]
    ));
}

#[test]
fn p17_cancels_of_unknown_sessions_are_acknowledged() {
    let mut line = Line::new(1, OWLT);

    line.give(2, FOREIGN, Body::CancelBySender(Reason::USER));
    line.give(1, FOREIGN, Body::CancelByReceiver(Reason(99)));
    line.drain();

    assert_eq!(line.codes(), [15, 13]);
}

#[test]
fn a_session_whose_sender_fell_silent_is_cancelled_by_its_guard() {
    // HDTN issue 24, and the leak of ION's receiver.
    let mut line = Line::new(1, OWLT);

    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.run();

    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            by: Side::Local,
            reason: Reason::SYSTEM,
            ..
        }]
    ));
    assert_eq!(line.left(), (0, 0, 0));
}

// P21 to P24: what is not right.

#[test]
fn p21_red_behind_green_and_red_beyond_the_red_part_are_miscolored() {
    let wrong: [&[Body<'_>]; 5] = [
        &[red(0, &[0; 20]), green(10, &[0; 5], false)],
        &[green(10, &[0; 5], false), red(0, &[0; 20])],
        &[
            checkpoint(5, 0, Mark::RedPart, 5, &[0; 5]),
            red(10, &[0; 5]),
        ],
        &[
            checkpoint(5, 0, Mark::RedPart, 5, &[0; 5]),
            checkpoint(6, 0, Mark::RedPart, 2, &[0; 5]),
        ],
        &[
            green(10, &[0; 5], false),
            checkpoint(5, 0, Mark::Block, 0, &[0; 5]),
        ],
    ];
    for bodies in wrong {
        let mut line = Line::new(1, OWLT);
        for body in bodies {
            line.give(2, FOREIGN, *body);
        }
        line.drain();

        let events = line.events(2);
        assert!(
            matches!(
                events.last(),
                Some(Event::Cancelled {
                    reason: Reason::MISCOLORED,
                    ..
                })
            ),
            "{bodies:?}: {events:?}"
        );
        assert_eq!(line.codes().last(), Some(&14));
    }
}

#[test]
fn p22_a_red_part_above_the_limit_is_cancelled_as_a_system_error() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.session_octets = 1000);

    line.send(1, &pattern(5000), Red::All);
    line.run();

    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            by: Side::Remote,
            reason: Reason::SYSTEM,
            ..
        }]
    ));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn p23_a_block_for_a_service_that_is_not_open_draws_one_cancel() {
    let mut line = Line::new(1, OWLT);
    line.far().close(Instant::ZERO, CLIENT).unwrap();

    line.send(1, &pattern(9000), Red::All);
    line.run();

    assert_eq!(line.codes().iter().filter(|code| **code == 14).count(), 1);
    assert_eq!(line.events(2), []);
    assert!(matches!(
        line.events(1)[..],
        [Event::Failed {
            by: Side::Remote,
            reason: Reason::UNREACHABLE,
            ..
        }]
    ));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn p24_what_is_malformed_is_counted_and_dropped() {
    let mut line = Line::new(1, OWLT);
    let wrong: [&[u8]; 8] = [
        &[],
        &[0x13, 1, 2, 0],
        &[0x05, 1, 2, 0],
        &[0x0A, 1, 2, 0],
        &[0x03, 1, 2, 0, 4, 0, 9, 1, 0, 7],
        &[0x03, 1, 2, 0, 4, 0, 1, 0, 0, 7],
        &[0x08, 1, 2, 0, 5, 0, 10, 10, 0],
        &[0x08, 1, 2, 0, 5, 0, 10, 0, 2, 0, 4, 4, 2],
    ];
    for octets in wrong {
        line.deliver(2, octets);
    }
    line.deliver(2, &[0; 4]);
    line.drain();

    assert_eq!(line.far().stats().malformed, 8);
    assert_eq!(line.far().stats().keepalives, 1);
    assert_eq!(line.log.len(), 0);
}

#[test]
fn a_segment_of_another_service_in_the_same_session_is_malformed() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(
        2,
        FOREIGN,
        Body::Data(Data {
            client: CLIENT + 1,
            offset: 10,
            color: Color::Red(None),
            octets: &[1; 10],
        }),
    );

    assert_eq!(line.far().stats().malformed, 1);
}

#[test]
fn segments_of_unknown_engines_are_dropped_without_an_answer() {
    let mut line = Line::new(1, OWLT);
    let stranger = SessionId {
        originator: 9,
        number: 1,
    };

    line.give(2, stranger, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.drain();

    assert_eq!(line.far().stats().unknown_peer, 1);
    assert_eq!(line.log.len(), 0);
}

#[test]
fn a_session_closed_on_a_green_eob_lets_late_red_data_in_again() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, green(10, &[9; 5], true));
    line.drain();
    assert_eq!(line.far().sessions(), (0, 0));

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::RedPart, 0, &[1; 10]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[1; 10][..]));
}

// Requests.

#[test]
fn a_window_that_is_full_refuses_with_the_limit_and_tells_once_of_room() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.max_exports = 1);
    line.send(1, &pattern(100), Red::All);
    for tag in 2..5 {
        let refused = line
            .near()
            .send_block(Instant::ZERO, block(tag, &[1], Red::All));
        assert_eq!(refused, Err(Error::Full { held: 1, limit: 1 }));
    }

    line.run();

    let rooms = line
        .events(1)
        .iter()
        .filter(|event| matches!(event, Event::Room { peer: 2 }))
        .count();
    assert_eq!(rooms, 1);
}

#[test]
fn a_refused_block_says_why() {
    let mut line = Line::with(1, OWLT, |config| config.export_octets = 1000, |_| {});
    let now = line.now;
    let mut refuse = |block| line.near().send_block(now, block).unwrap_err();

    assert_eq!(refuse(block(1, &[], Red::All)), Error::Empty);
    assert_eq!(
        refuse(block(1, &[1], Red::Octets(2))),
        Error::RedTooLong { red: 2, len: 1 }
    );
    assert_eq!(
        refuse(block(1, &pattern(1001), Red::All)),
        Error::TooLong {
            len: 1001,
            limit: 1000
        }
    );
    assert_eq!(
        refuse(farlink::ltp::Block {
            to: 9,
            ..block(1, &[1], Red::All)
        }),
        Error::UnknownPeer(9)
    );
    line.send(1, &[1], Red::All);
    assert_eq!(
        line.near().send_block(now, block(1, &[1], Red::All)),
        Err(Error::TagInUse(Tag(1)))
    );
}

#[test]
fn blocks_beyond_the_memory_of_a_receiver_arrive_once_there_is_room() {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |config| config.import_octets = 8000,
        |peer| {
            peer.checkpoint_retries = 60;
        },
    );
    for tag in 0..4 {
        line.send(tag, &pattern(3000), Red::All);
    }

    line.run();

    let whole = line
        .events(2)
        .iter()
        .filter(|event| matches!(event, Event::Received { data, .. } if data[..] == pattern(3000)))
        .count();
    assert_eq!(whole, 4);
    assert!(line.far().stats().no_room > 0);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn removing_a_peer_fails_its_sessions_at_once() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(5000), Red::All);
    line.drain();
    line.give(
        1,
        SessionId {
            originator: 2,
            number: 5,
        },
        red(0, &[1; 10]),
    );

    line.near().remove_peer(Instant::ZERO, 2).unwrap();
    line.drain();

    let events = line.events(1);
    assert!(matches!(
        events[..],
        [
            Event::Failed {
                reason: Reason::SYSTEM,
                ..
            },
            Event::Cancelled { .. }
        ]
    ));
    assert_eq!(line.near().sessions(), (0, 0));
    assert_eq!(line.near().timers(), 0);
    assert_eq!(line.near().octets_held(), 0);
}

#[test]
fn a_changed_peer_is_served_by_its_changed_values() {
    let mut line = Line::new(1, OWLT);
    line.link(0, Link::Full);
    line.send(1, &pattern(1000), Red::All);
    let peer = farlink::ltp::Peer {
        segment: 300,
        ..farlink::ltp::Peer::new(crate::line::hop(2)).at_distance(OWLT)
    };

    line.near()
        .command(Instant::ZERO, Command::ChangePeer(2, Box::new(peer)))
        .unwrap();
    line.link(0, Link::Free);
    line.run();

    assert!(line.log.iter().all(|(_, _, octets)| octets.len() <= 300));
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn segments_are_paced_at_the_configured_rate() {
    let mut line = Line::with(
        1,
        Duration::ZERO,
        |_| {},
        |peer| {
            peer.rate = NonZeroU64::new(10_000);
            peer.burst = 1400;
        },
    );

    line.send(1, &pattern(14_000), Red::All);
    line.run();

    let last = line
        .log
        .iter()
        .rfind(|(_, from, octets)| *from == 1 && octets.len() > 100);
    let took = last.unwrap().0 - Instant::ZERO;
    assert!(took >= Duration::from_millis(1250), "{took:?}");
    assert!(took <= Duration::from_millis(1450), "{took:?}");
}

#[test]
fn discretionary_checkpoints_stand_every_so_many_segments_and_on_demand() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.segment = 200;
            peer.checkpoint_every = NonZeroU32::new(3);
        },
    );
    line.send(1, &pattern(2000), Red::All);
    line.near().checkpoint(Instant::ZERO, Tag(1)).unwrap();
    line.run();

    let first_pass: Vec<u8> = line.codes()[..11].to_vec();
    assert_eq!(first_pass, [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 3]);
    let scopes: Vec<_> = reports(&line).iter().map(|(_, scope, _)| *scope).collect();
    assert!(
        scopes[..4].windows(2).all(|pair| pair[0].1 == pair[1].0),
        "scopes abut"
    );
    assert!(is_complete(&line.events(1), 1));
}

#[test]
fn a_streaming_service_gets_the_red_part_in_order_and_then_as_a_whole() {
    let mut line = Line::new(1, OWLT);
    line.far().close(Instant::ZERO, CLIENT).unwrap();
    line.far()
        .open(Instant::ZERO, CLIENT, Service::Streaming)
        .unwrap();

    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.drain();
    line.give(2, FOREIGN, red(20, &[3; 10]));
    line.drain();
    line.give(2, FOREIGN, red(10, &[2; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 30, &[4; 10]));
    line.drain();

    let events = line.events(2);
    let pieces: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Piece { offset, data, .. } => Some((*offset, data.len())),
            _ => None,
        })
        .collect();
    assert!(matches!(events[0], Event::Arriving { .. }));
    assert_eq!(pieces, [(0, 10), (10, 30)]);
    assert_eq!(received(&events).map(<[u8]>::len), Some(40));
}

#[test]
fn an_engine_can_be_its_own_peer() {
    let mut line = Line::new(1, OWLT);
    let peer = farlink::ltp::Peer::new(crate::line::hop(9));
    line.near().add_peer(Instant::ZERO, 1, peer).unwrap();
    let own = farlink::ltp::Block {
        to: 1,
        ..block(1, &pattern(3000), Red::All)
    };
    line.near().send_block(Instant::ZERO, own).unwrap();

    let mut tx = farlink::Transmit::new(farlink::Limits::default());
    let mut events = Vec::new();
    loop {
        match line.nodes[0].engine.poll(Instant::ZERO, &mut tx) {
            farlink::Output::Transmit => {
                let sent: Vec<Vec<u8>> = tx.datagrams().map(<[u8]>::to_vec).collect();
                for octets in sent {
                    let from = crate::line::hop(9);
                    line.nodes[0].engine.receive(Instant::ZERO, from, &octets);
                }
            }
            farlink::Output::Event(event) => events.push(event),
            _ => break,
        }
    }

    assert_eq!(received(&events), Some(&pattern(3000)[..]));
    assert!(is_complete(&events, 1));
    assert_eq!(line.near().sessions(), (0, 0));
}

#[test]
fn serial_numbers_start_at_random_below_16384_and_session_numbers_differ_in_every_run() {
    let mut numbers = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut line = Line::new(seed, OWLT);
        numbers.insert(line.send(1, &pattern(10), Red::All).number);
        line.drain();
        let Body::Data(Data {
            color: Color::Red(Some(checkpoint)),
            ..
        }) = line.bodies()[0].1.body
        else {
            panic!("no checkpoint");
        };
        assert!((1..16_384).contains(&checkpoint.serial));
        assert_eq!(checkpoint.report, 0);
    }
    assert_eq!(numbers.len(), 20);
    assert!(numbers.iter().all(|number| *number < 1 << 32));
}
