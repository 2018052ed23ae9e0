//! What an engine does by itself against loss and delay: copies, duplicate repairs, learned timeouts.

use farlink::ltp::{
    AdaptiveRedundancy, ConfigError, Flow, Peer, PeerTimers, Redundancy, RtoBounds, RtoPolicy,
};

use super::*;
use crate::line::hop;

const fn auto(loss: u32, repairs: u8) -> AdaptiveRedundancy {
    AdaptiveRedundancy {
        odds: NonZeroU32::new(1000).unwrap(),
        max_copies: 15,
        initial_loss: loss,
        spacing: Duration::ZERO,
        duplicate_repairs: repairs,
    }
}

fn adaptive(loss: u32, repairs: u8) -> Line {
    Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.segment = 200;
            peer.redundancy = Redundancy::Adaptive(auto(loss, repairs));
        },
    )
}

fn count(line: &Line, from: u64, code: u8) -> usize {
    let is_meant = |(sender, segment): &&(u64, farlink::ltp::Segment<'_>)| {
        *sender == from && segment.body.code() == code
    };
    line.bodies().iter().filter(is_meant).count()
}

#[test]
fn a_signal_gets_as_many_copies_as_the_loss_asks_for() {
    for (loss, copies) in [(0, 0), (20_000, 1), (100_000, 2), (300_000, 5)] {
        let mut line = adaptive(loss, 0);

        line.send(1, &pattern(100), Red::All);
        line.drain();

        assert_eq!(count(&line, 1, 3), 1 + copies, "loss {loss}");
    }
}

#[test]
fn copies_are_spaced_and_stop_when_the_answer_comes() {
    let mut line = Line::with(
        1,
        Duration::from_millis(100),
        |_| {},
        |peer| {
            let spacing = Duration::from_millis(750);
            peer.redundancy = Redundancy::Adaptive(AdaptiveRedundancy {
                spacing,
                ..auto(300_000, 0)
            });
        },
    );

    line.send(1, &pattern(100), Red::All);
    line.run();

    let left: Vec<_> = line
        .log
        .iter()
        .filter(|(_, from, octets)| *from == 1 && octets[0] == 3)
        .map(|(at, ..)| at.as_nanos() / 1_000_000)
        .collect();
    assert_eq!(left, [0, 150], "the answer takes 200 ms");
    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn the_loss_is_learned_from_what_reports_leave_unclaimed() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.segment = 200);
    line.judge(|passing| match passing.segment().body {
        // Every fifth of the first pass.
        Body::Data(_) if passing.nth < 100 && passing.nth % 5 == 0 => SegmentOutcome::Drop,
        _ => SegmentOutcome::Pass,
    });
    assert_eq!(line.near().line(2).unwrap().loss_out, 0);

    line.send(1, &pattern(18_000), Red::All);
    line.run();

    let near = line.near().line(2).unwrap();
    let far = line.far().line(1).unwrap();
    assert!((150_000..=210_000).contains(&near.loss_out), "{near:?}");
    assert!((150_000..=210_000).contains(&far.loss_in), "{far:?}");
    assert_eq!(line.near().line(3), None);
}

#[test]
fn repairs_are_sent_once_more_while_nothing_else_waits() {
    let lost = |passing: &Passing<'_>| (3..8).contains(&passing.nth);
    let repeated = |repairs| {
        let mut line = adaptive(300_000, repairs);
        line.judge(move |passing| {
            if lost(passing) {
                SegmentOutcome::Drop
            } else {
                SegmentOutcome::Pass
            }
        });
        line.send(1, &pattern(3000), Red::All);
        line.run();
        assert!(is_complete(&line.events(1), 1));
        assert_eq!(line.left(), (0, 0, 0));
        line.near().stats().octets_resent
    };

    let (without, with) = (repeated(0), repeated(2));

    assert!(with >= without * 2, "{with} against {without}");
}

#[test]
fn what_was_lost_again_is_repaired_by_the_report_on_a_later_checkpoint() {
    // Where early checkpoints ask, every report on the end draws a run of its own.
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| peer.checkpoint_every = NonZeroU32::new(1000),
    );
    let session = line.send(1, &pattern(5000), Red::All);
    line.drain();
    let first = match line.bodies().last().unwrap().1.body {
        Body::Data(Data {
            color: Color::Red(Some(checkpoint)),
            ..
        }) => checkpoint.serial,
        other => panic!("{other:?}"),
    };
    let claims = [0..1000];
    let report = |serial, checkpoint, scope: core::ops::Range<u64>| {
        Body::Report(Report {
            serial,
            checkpoint,
            scope: scope.into(),
            claims: Claims::new(&claims),
        })
    };
    // Two pieces of one report, each of which draws a run.
    line.give(1, session, report(9, first, 0..2000));
    line.run_for(Duration::from_secs(1));
    line.give(1, session, report(10, first, 0..3000));
    line.run_for(Duration::from_secs(1));
    let before = line.log.len();

    // The second run is answered, and the first, which left before it, is missing still.
    line.give(1, session, report(11, first + 2, 0..3000));
    line.drain();

    let again: Vec<_> = line.bodies()[before..]
        .iter()
        .filter_map(|(_, segment)| match segment.body {
            Body::Data(data) => Some(data.range()),
            _ => None,
        })
        .collect();
    assert_eq!(again.first().unwrap().start, 1000);
    assert_eq!(again.last().unwrap().end, 3000);
}

#[test]
fn margins_are_learned_from_answers_and_never_lie_below_the_light_times() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| peer.timers.rto = RtoPolicy::Learned(RtoBounds::default()),
    );
    let configured = line.near().line(2).unwrap();
    assert_eq!(configured.timeout, Duration::from_secs(8));
    assert_eq!(configured.round_trip, None);

    for tag in 0..20 {
        line.send(tag, &pattern(100), Red::All);
        line.run();
        assert!(is_complete(&line.events(1), tag));
    }

    let learned = line.near().line(2).unwrap();
    assert_eq!(learned.round_trip, Some(OWLT * 2));
    assert_eq!(learned.samples, 20);
    assert!(learned.timeout > OWLT * 2);
    assert!(
        learned.timeout < OWLT * 2 + Duration::from_millis(100),
        "{learned:?}"
    );
}

#[test]
fn an_answer_to_a_repeated_checkpoint_is_no_sample() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| peer.timers.rto = RtoPolicy::Learned(RtoBounds::default()),
    );
    line.judge(lose(3, 1));

    line.send(1, &pattern(100), Red::All);
    line.run();

    assert_eq!(line.near().line(2).unwrap().samples, 0);
    assert_eq!(
        line.far().line(1).unwrap().samples,
        1,
        "the report was answered at once"
    );
}

#[test]
fn an_answer_over_a_silence_is_no_sample() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| peer.timers.rto = RtoPolicy::Learned(RtoBounds::default()),
    );
    line.send(1, &pattern(100), Red::All);
    line.run_for(Duration::from_secs(1));
    line.link(0, Link::Down(Cause::Closed));
    line.run_for(Duration::from_secs(2));
    line.link(0, Link::Up);

    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(line.near().line(2).unwrap().samples, 0);
}

#[test]
fn what_cannot_be_learned_by_is_refused_with_the_limit() {
    let refused = |change: fn(&mut Peer<farlink::Hop>)| {
        let mut line = Line::new(1, OWLT);
        let mut peer = Peer::at(hop(2)).with_flow(Flow::Unlimited);
        change(&mut peer);
        line.near()
            .change_peer(Instant::ZERO, 2, peer)
            .unwrap_err()
            .to_string()
    };

    assert_eq!(
        refused(|peer| peer.redundancy = Redundancy::Adaptive(auto(900_001, 0))),
        "invalid peer: loss of 900001 parts per million exceeds the limit of 900000"
    );
    assert_eq!(
        refused(|peer| {
            let min = Duration::from_secs(61);
            peer.timers.rto = RtoPolicy::Learned(RtoBounds {
                min,
                ..RtoBounds::default()
            });
        }),
        "invalid peer: minimum margin of 61s exceeds the maximum of 60s"
    );
    assert_eq!(
        refused(|peer| peer.timers.keepalive = Some(Duration::from_millis(14_999))),
        "invalid peer: keep-alive interval of 14.999s is below the minimum of 15s"
    );
    assert!(matches!(
        Line::new(1, OWLT).near().change_peer(
            Instant::ZERO,
            2,
            Peer {
                timers: PeerTimers {
                    rto: RtoPolicy::Learned(RtoBounds {
                        min: Duration::ZERO,
                        ..RtoBounds::default()
                    }),
                    ..PeerTimers::default()
                },
                ..Peer::at(hop(2)).with_flow(Flow::Unlimited)
            }
        ),
        Err(Error::InvalidPeer(ConfigError::RoundTrip))
    ));
}

/// On a line that does not keep the order, an overtaken segment counts as lost unless the receiver waits for it.
#[test]
fn a_report_that_waits_lets_overtaken_segments_in_and_nothing_is_sent_again() {
    let late = OWLT / 20;
    for (wait, is_resent) in [(Duration::ZERO, true), (late * 2, false)] {
        let mut line = Line::with(
            1,
            OWLT,
            |_| {},
            |peer| {
                peer.flow = Flow::rate(100_000).with_burst(1400);
                *peer = peer.clone().adaptive();
                peer.timers.report_delay = wait;
            },
        );
        line.judge(move |passing| match passing.nth % 5 {
            2 => SegmentOutcome::Late(late),
            _ => SegmentOutcome::Pass,
        });

        line.send(1, &pattern(400_000), Red::All);
        line.run();

        assert_eq!(received(&line.events(2)), Some(&pattern(400_000)[..]));
        let resent = line.near().stats().octets_resent;
        assert_eq!(resent > 0, is_resent, "{resent} octets");
    }
}
