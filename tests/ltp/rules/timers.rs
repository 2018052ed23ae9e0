//! Timers: when they are suspended, what a deadline includes, and the effect of a changed peer.

use farlink::ltp::{Block, Config, Engine, Flow, Peer};
use farlink::{Hop, Limits, Output, Seed, Transmit};

use super::*;
use crate::line::hop;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn cue(line: &mut Line, cue: Cue) {
    let now = line.now;
    line.near().contact(now, 2, cue).unwrap();
}

/// When segments of one type were sent.
fn departures(line: &Line, code: u8) -> Vec<Instant> {
    line.log
        .iter()
        .zip(line.codes())
        .filter(|(_, other)| *other == code)
        .map(|((time, ..), _)| *time)
        .collect()
}

#[test]
fn a_timer_started_while_the_peer_is_silent_stands_still_until_it_speaks() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 1));
    cue(&mut line, Cue::PeerStopped);

    line.send(1, &pattern(100), Red::All);
    line.run_for(SECOND * 100);
    assert_eq!(departures(&line, 3), [at(0)]);
    cue(&mut line, Cue::PeerTransmits);
    line.run();

    // The answer was to leave at 4.5 s, and to be here by 8 s.
    assert_eq!(departures(&line, 3), [at(0), at(100_000 - 4500 + 8000)]);
}

#[test]
fn silence_that_begins_and_ends_before_an_answer_could_leave_costs_no_time() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 1));
    line.send(1, &pattern(100), Red::All);
    line.run_for(SECOND);

    cue(&mut line, Cue::PeerStopped);
    line.run_for(SECOND);
    cue(&mut line, Cue::PeerTransmits);
    line.run();

    assert_eq!(departures(&line, 3), [at(0), at(8000)]);
}

#[test]
fn reports_stand_still_while_the_peer_is_silent() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(8, 1));
    line.send(1, &pattern(100), Red::All);
    line.run_for(OWLT);

    line.link(1, Link::Down(Cause::Closed));
    line.link(0, Link::Down(Cause::Closed));
    line.run_for(SECOND * 3600);
    assert_eq!(departures(&line, 8).len(), 1);
    line.link(0, Link::Up);
    line.link(1, Link::Up);
    line.run();

    assert!(is_complete(&line.events(1), 1));
    assert_eq!(departures(&line, 8).len(), 2);
}

#[test]
fn cancellations_stand_still_while_the_peer_is_silent() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);
    line.send(1, &pattern(100), Red::All);
    line.drain();
    line.near().cancel(Instant::ZERO, Tag(1)).unwrap();
    line.drain();

    line.link(0, Link::Down(Cause::Closed));
    line.run_for(SECOND * 3600);
    assert_eq!(departures(&line, 12).len(), 1);
    line.link(0, Link::Up);
    line.run();

    assert_eq!(departures(&line, 12).len(), 6);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn the_guard_of_a_reception_stands_still_with_its_peer() {
    let mut line = Line::new(1, OWLT);
    line.give(2, FOREIGN, red(0, &[1; 10]));

    line.link(1, Link::Down(Cause::Closed));
    line.run_for(SECOND * 3600);
    line.link(1, Link::Up);
    line.run_for(SECOND * 20);
    assert_eq!(line.events(2), [], "the sender has all its tries ahead");
    line.run();

    assert!(matches!(
        line.events(2)[..],
        [Event::Cancelled {
            reason: Reason::SYSTEM,
            ..
        }]
    ));
}

#[test]
fn the_time_on_the_wire_counts_in_a_deadline() {
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.flow = Flow::rate(100));
    line.judge(lose(3, 1));

    line.send(1, &pattern(100), Red::All);
    line.run();

    let len = line.log[0].2.len() as u64;
    assert_eq!(departures(&line, 3), [at(0), at(8000 + len * 10)]);
}

#[test]
fn a_changed_light_time_holds_for_what_leaves_from_then_on() {
    let mut line = Line::new(1, OWLT);
    line.judge(lose(3, 2));
    line.send(1, &pattern(100), Red::All);
    line.run_for(SECOND);
    hear_peer(&mut line);

    let far = Peer::at(hop(2))
        .with_flow(Flow::Unlimited)
        .at_distance(SECOND * 10);
    line.near().change_peer(at(1000), 2, far).unwrap();
    line.run();

    assert_eq!(departures(&line, 3), [at(0), at(8000), at(8000 + 22_000)]);
}

#[test]
fn a_changed_rate_takes_effect_at_once() {
    let slow = |peer: &mut Peer<Hop>| {
        peer.flow = Flow::rate(10).with_burst(100);
    };
    let mut line = Line::with(1, OWLT, |_| {}, slow);
    line.send(1, &pattern(5000), Red::All);
    line.run_for(SECOND);
    assert_eq!(line.log.len(), 1);

    let fast = Peer::at(hop(2))
        .with_flow(Flow::Unlimited)
        .at_distance(OWLT);
    line.near().change_peer(at(1000), 2, fast).unwrap();
    line.drain();

    assert_eq!(line.codes(), [0, 0, 0, 3]);
}

#[test]
fn a_session_that_nobody_answers_asks_again_with_its_last_missing_octet() {
    let mut line = Line::new(1, OWLT);
    let session = line.send(1, &pattern(1000), Red::All);
    line.drain();
    let Body::Data(Data {
        color: Color::Red(Some(first)),
        ..
    }) = line.bodies()[0].1.body
    else {
        panic!("no checkpoint");
    };
    // The piece of a split report that tells of the rest is lost for good.
    let claims = [100..400];
    let piece = Body::Report(Report {
        serial: 9,
        checkpoint: first.serial,
        scope: (100..400).into(),
        claims: Claims::new(&claims),
    });
    line.judge(|_| SegmentOutcome::Drop);

    line.give(1, session, piece);
    // The rest of the report is awaited for up to a second.
    line.run_until(at(9000));

    let Body::Data(data) = line.bodies().last().unwrap().1.body else {
        panic!("no data");
    };
    let Color::Red(Some(asks)) = data.color else {
        panic!("no checkpoint");
    };
    assert_eq!(data.range(), 999..1000);
    assert_eq!(asks.serial, first.serial + 1);
    // What was reported on begins at 100, so citing that report would not ask for the first octets.
    assert_eq!(asks.report, 0);
    line.run();
    assert_eq!(line.near().usage().sessions, (0, 0));
}

#[test]
fn one_poll_fires_at_most_256_due_timers_and_then_yields() {
    let now = Instant::ZERO;
    let peer = Hop {
        interface: 0,
        via: 2,
    };
    let mut engine = Engine::new(Config::engine(1), Seed::from(1)).unwrap();
    engine
        .add_peer(now, 2, Peer::at(peer).with_flow(Flow::Unlimited))
        .unwrap();
    for tag in 1..=1000 {
        let block = Block::red(Tag(tag), 2, CLIENT, "block".into());
        engine.send_block(now, block).unwrap();
    }
    let mut tx = Transmit::new(Limits::default());
    while let Output::Transmit = engine.poll(now, &mut tx) {}
    assert_eq!(engine.usage().timers, 1000);

    let late = now + Duration::from_secs(100);
    let nothing = SessionId {
        originator: 1,
        number: 77,
    };
    engine.receive(late, peer, &encoded(nothing, Body::CancelAckToSender));
    let mut left = Vec::new();
    while let Output::Yield = engine.poll(late, &mut tx) {
        assert!(tx.is_empty());
        left.push(engine.usage().timers);
    }

    assert_eq!(left, [744, 488, 232]);
    // The poll behind the last yield sends.
    assert_eq!(engine.usage().timers, tx.datagrams().len());
}
