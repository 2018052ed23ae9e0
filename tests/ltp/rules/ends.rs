//! How sessions end, errors, and requests of the application (RFC 5326 sections 6.14 to 6.22).

use super::*;
use farlink::ltp::{Config, Peer};

use crate::ltp_alone::Alone;

// Ends.

#[test]
fn a_receiver_is_closed_by_the_last_acknowledgment_and_not_before() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(100), Red::All);
    line.run_for(OWLT);
    assert_eq!(
        line.far().usage().sessions,
        (0, 1),
        "delivered, and its report is under way"
    );

    line.run_for(OWLT * 2);

    assert_eq!(line.far().usage().sessions, (0, 0));
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
    let last = checkpoint(5, 0, Mark::Block, 0, &[1; 10]);
    line.give(2, FOREIGN, last);
    line.drain();
    let serial = line
        .bodies()
        .iter()
        .find_map(|(_, segment)| match segment.body {
            Body::Report(report) => Some(report.serial),
            _ => None,
        });
    line.give(2, FOREIGN, Body::ReportAck(serial.unwrap()));
    line.drain();
    assert_eq!(line.far().usage().sessions, (0, 0));
    line.events(2);
    let before = line.log.len();

    line.give(2, FOREIGN, last);
    line.drain();

    assert_eq!(line.events(2), []);
    assert_eq!(reports(&line).last().unwrap(), &(5, (0, 10), vec![(0, 10)]));
    assert_eq!(line.log.len(), before + 1);
    assert_eq!(line.far().usage().sessions, (0, 0));
    // This one was never seen, and may be of a sender that started anew.
    line.give(2, FOREIGN, checkpoint(6, 0, Mark::None, 5, &[1; 5]));
    line.drain();
    assert_eq!(line.events(2), []);
    assert_eq!(line.log.len(), before + 1);
}

/// A checkpoint that was never seen may be of another block, which a sender that started anew sends under the same
/// number. The octets to compare it with are the application's.
#[test]
fn a_delivered_session_answers_no_checkpoint_that_may_be_of_another_block() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(9, 100));
    line.give(2, FOREIGN, red(0, &[1; 10]));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 10, &[1; 10]));
    line.drain();
    let Body::Report(report) = line.bodies()[0].1.body else {
        panic!("no report")
    };
    let cited = report.serial;

    for serial in [6, 6, 69, 6] {
        line.give(2, FOREIGN, checkpoint(serial, 0, Mark::Block, 10, &[1; 10]));
        line.run_for(OWLT);
    }
    let answers = |line: &Line| -> Vec<u64> {
        let reports = reports(line).into_iter();
        let mut answered: Vec<u64> = reports.map(|(serial, ..)| serial).collect();
        answered.dedup();
        answered
    };
    assert_eq!(answers(&line), [5]);

    // Whoever cites a report of the session has heard it.
    line.give(2, FOREIGN, checkpoint(7, cited, Mark::Block, 10, &[1; 10]));
    line.drain();
    assert_eq!(answers(&line), [5, 7]);
    assert_eq!(received(&line.events(2)), Some(&[1; 20][..]));
}

#[test]
fn a_delivered_session_gives_way_to_a_block_of_another_length_or_service() {
    for (client, len) in [(CLIENT, 12), (CLIENT + 1, 20)] {
        let mut line = Line::new(1, OWLT);
        let now = line.now;
        line.far().open(now, CLIENT + 1, Service::Whole).unwrap();
        line.give(2, FOREIGN, red(0, &[1; 10]));
        line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 10, &[1; 10]));
        line.drain();
        line.events(2);

        let other = Body::Data(Data {
            client,
            offset: 0,
            color: Color::Red(Some(Checkpoint {
                serial: 7,
                report: 0,
                mark: Mark::Block,
            })),
            octets: &[1; 20][..len],
        });
        line.give(2, FOREIGN, other);
        line.drain();

        assert_eq!(received(&line.events(2)), Some(&[1; 20][..len]));
        assert_eq!(reports(&line)[1].0, 7);
    }
}

#[test]
fn a_cancelled_block_is_cancelled_at_the_receiver_and_acknowledged() {
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
fn a_cancel_that_nobody_answers_is_sent_again_up_to_its_limit_and_then_closed_in_silence() {
    for (canceller, code) in [(1, 12), (2, 14)] {
        let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.limits.cancel_retries = 3);
        line.judge(lose(code, 100));
        let session = line.send(1, &pattern(5000), Red::Octets(4999));
        line.run_for(OWLT);
        let now = line.now;
        if canceller == 1 {
            line.near().cancel(now, Tag(1)).unwrap();
        } else {
            line.far().refuse(now, session).unwrap();
        }
        line.run();

        let sent = line.codes().iter().filter(|sent| **sent == code).count();
        assert_eq!(sent, 1 + 3);
        let told = |event: &&Event| matches!(event, Event::Failed { .. } | Event::Cancelled { .. });
        let notices = line.events(canceller).iter().filter(told).count();
        assert_eq!(notices, 1, "of the cancel itself, and none of its end");
        assert_eq!(line.left(), (0, 0, 0));
    }
}

#[test]
fn closing_frees_all_but_the_memory_that_the_session_was() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(5000), Red::All);
    line.run();
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.events(2).len(), 1);
    assert_eq!(line.left(), (0, 0, 0));

    line.give(2, session, red(0, &[1; 10]));
    line.drain();

    assert!(line.events(2).is_empty(), "it is no new session");
    assert_eq!(line.far().usage().sessions, (0, 0));
}

#[test]
fn a_block_of_which_nothing_left_is_cancelled_in_silence() {
    let mut line = Line::new(1, OWLT);
    line.link(0, Link::Down(Cause::Closed));
    line.send(1, &pattern(5000), Red::All);

    line.near().cancel(Instant::ZERO, Tag(1)).unwrap();
    line.link(0, Link::Up);
    line.run();

    assert_eq!(line.log.len(), 0);
    assert_eq!(line.near().usage().sessions, (0, 0));
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
            SegmentOutcome::Drop
        } else {
            SegmentOutcome::Pass
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
fn cancels_of_unknown_sessions_are_acknowledged() {
    let mut line = Line::new(1, OWLT);

    line.give(2, FOREIGN, Body::CancelBySender(Reason::USER));
    line.give(1, FOREIGN, Body::CancelByReceiver(Reason(99)));
    line.drain();

    assert_eq!(line.codes(), [15, 13]);
}

#[test]
fn a_session_whose_sender_fell_silent_is_cancelled_by_its_guard() {
    // HDTN issue 19, and the leak of ION's receiver.
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

// What is not right.

#[test]
fn red_behind_green_and_red_beyond_the_red_part_are_miscolored() {
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
fn a_red_part_above_the_limit_is_cancelled_as_a_system_error() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.limits.session_octets = 1000);

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

/// A node is bound before its services are opened, and its peers may send all the time.
#[test]
fn blocks_that_come_before_the_first_service_is_opened_are_not_cancelled() {
    let from = 1_u64;
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, Peer::at(from)).unwrap();
    let whole = "03 01 05 00 04 00 05 09 00 41*5";
    alone.hear(from, whole);
    alone.run_for(Duration::from_secs(9));
    alone.hear(from, whole);
    assert_eq!(alone.sent.len(), 0);

    alone.engine.open(alone.now, 4, Service::Whole).unwrap();
    alone.hear(from, whole);
    assert_eq!(alone.received().len(), 1);
}

/// An engine without services says so in the end.
#[test]
fn blocks_for_an_engine_that_opens_no_service_are_cancelled_after_10_s() {
    let from = 1_u64;
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, Peer::at(from)).unwrap();
    alone.hear(from, "00 01 05 00 04 00 05 41*5");
    alone.run_for(Duration::from_secs(10));

    alone.hear(from, "00 01 05 00 04 00 05 41*5");

    let cancelled = alone.sent.iter().map(|sent| sent.segment().body.code());
    assert_eq!(cancelled.collect::<Vec<u8>>(), [14]);
}

#[test]
fn a_block_for_a_service_that_is_not_open_draws_one_cancel() {
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
fn what_is_malformed_is_counted_and_dropped() {
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
    let foreign = SessionId {
        originator: 9,
        number: 1,
    };

    line.give(2, foreign, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    line.drain();

    assert_eq!(line.far().stats().unknown_peer, 1);
    assert_eq!(line.log.len(), 0);
}

#[test]
fn a_session_closed_on_a_green_eob_lets_late_red_data_in_again() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, green(10, &[9; 5], true));
    line.drain();
    assert_eq!(line.far().usage().sessions, (0, 0));

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::RedPart, 0, &[1; 10]));
    line.drain();

    assert_eq!(received(&line.events(2)), Some(&[1; 10][..]));
}

#[test]
fn a_green_block_whose_end_is_lost_is_told_to_be_over_and_its_sender_hears_nothing() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, green(0, &[9; 5], false));

    line.run();

    assert_eq!(ends(&line), [(Side::Local, Reason::SYSTEM, false)]);
    assert_eq!(line.log.len(), 0);
    assert_eq!(line.far().usage().sessions, (0, 0));
    // Nothing follows.
    line.give(2, FOREIGN, green(5, &[9; 5], true));
    line.give(2, FOREIGN, checkpoint(5, 0, Mark::RedPart, 0, &[9; 10]));
    line.run();
    assert_eq!(line.events(2).len(), 2);
    assert_eq!(line.far().stats().closed_session, 2);
}

#[test]
fn a_mixed_block_whose_end_is_lost_is_told_to_be_over_behind_its_red_part() {
    let mut line = Line::new(1, OWLT).judged(|passing| match passing.segment().body {
        Body::Data(data) if data.color == (Color::Green { ends_block: true }) => {
            SegmentOutcome::Drop
        }
        _ => SegmentOutcome::Pass,
    });
    line.send(1, &pattern(5000), Red::Octets(2000));

    line.run();

    let end = (Side::Local, Reason::SYSTEM, true);
    assert_eq!(ends(&line), [end], "what came stands");
    assert_eq!(received(&line.events(2)), Some(&pattern(5000)[..2000]));
    assert!(matches!(line.events(1)[..], [Event::Complete { .. }]));
    assert_eq!(line.far().usage().sessions, (0, 0));
}

#[test]
fn the_end_of_a_green_block_for_which_there_is_no_room_counts_as_lost() {
    let mut line = Line::with(1, OWLT, |config| config.limits.import_octets = 3000, |_| {});
    line.give(2, FOREIGN, green(0, &[9; 1000], false));
    line.give(2, FOREIGN, green(1000, &[9; 3000], true));

    line.run();

    assert_eq!(line.far().stats().no_room, 1);
    assert_eq!(ends(&line), [(Side::Local, Reason::SYSTEM, false)]);
}

/// The cancellations that the receiver reported.
fn ends(line: &Line) -> Vec<(Side, Reason, bool)> {
    let events = line.nodes[1].events.iter();
    events
        .filter_map(|event| match event {
            Event::Cancelled {
                by,
                reason,
                after_delivery,
                ..
            } => Some((*by, *reason, *after_delivery)),
            _ => None,
        })
        .collect()
}

// Requests.

#[test]
fn a_window_that_is_full_refuses_with_the_limit_and_tells_once_of_room() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.limits.exports = 1);
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
    let mut line = Line::with(1, OWLT, |config| config.limits.export_octets = 1000, |_| {});
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
        |config| config.limits.import_octets = 8000,
        |peer| {
            peer.limits.checkpoint_retries = 60;
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
    assert_eq!(line.near().usage().sessions, (0, 0));
    assert_eq!(line.near().usage().timers, 0);
    assert_eq!(line.near().usage().octets_held, 0);
}

#[test]
fn a_changed_peer_is_served_by_its_changed_values() {
    let mut line = Line::new(1, OWLT);
    line.link(0, Link::Full);
    line.send(1, &pattern(1000), Red::All);
    let peer = farlink::ltp::Peer {
        segment: 300,
        ..farlink::ltp::Peer::at(crate::line::hop(2))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
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
            peer.flow = Flow::rate(10_000).with_burst(1400);
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
    assert!(matches!(events[0], Event::Started { .. }));
    assert_eq!(pieces, [(0, 10), (10, 30)]);
    assert_eq!(received(&events).map(<[u8]>::len), Some(40));
}

#[test]
fn an_engine_can_be_its_own_peer() {
    let mut line = Line::new(1, OWLT);
    let peer = farlink::ltp::Peer::at(crate::line::hop(9)).with_flow(Flow::Unlimited);
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
    assert_eq!(line.near().usage().sessions, (0, 0));
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
