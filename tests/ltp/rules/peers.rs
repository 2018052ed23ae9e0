//! Pings, keep-alives, directions, and unknown peers.

use farlink::Hop;
use farlink::ltp::{Auth, Direction, Flow, Key, Peer, PeerLimits};

use super::*;
use crate::line::hop;

#[test]
fn a_ping_is_answered_by_any_engine_after_the_light_time_there_and_back() {
    let mut line = Line::new(1, OWLT);

    line.near().ping(Instant::ZERO, 2).unwrap();
    line.run();

    assert_eq!(line.codes(), [12, 13]);
    let after = OWLT * 2;
    assert_eq!(line.events(1), [Event::Answered { peer: 2, after }]);
    assert_eq!(line.events(2), []);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_ping_without_an_answer_is_repeated_as_often_as_a_cancel_and_then_told() {
    let mut line = Line::new(1, OWLT);
    line.judge(|_| SegmentOutcome::Drop);

    line.near().ping(Instant::ZERO, 2).unwrap();
    let again = line.near().ping(Instant::ZERO, 2);
    line.run();

    assert_eq!(again, Err(Error::PingPending(2)));
    assert_eq!(line.codes(), [12; 6]);
    assert_eq!(line.events(1), [Event::Silent { peer: 2 }]);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn keep_alives_leave_when_nothing_else_did_for_so_long() {
    let every = Duration::from_secs(20);
    let mut line = Line::with(1, OWLT, |_| {}, |peer| peer.timers.keepalive = Some(every));

    line.run_for(Duration::from_secs(30));
    line.send(1, &pattern(100), Red::All);
    line.run_for(Duration::from_secs(25));

    let left: Vec<_> = line
        .log
        .iter()
        .filter(|(_, from, octets)| *from == 1 && octets[..] == [0; 4])
        .map(|(at, ..)| at.as_nanos() / 1_000_000_000)
        .collect();
    assert_eq!(left, [20], "the block put the next one off");
    assert!(line.far().stats().keepalives > 0);
    assert_eq!(line.far().stats().malformed, 0);
}

#[test]
fn a_receive_only_engine_delivers_and_sends_nothing() {
    let mut line = Line::new(1, OWLT);
    let beacon = Peer {
        direction: Direction::ReceiveOnly,
        ..Peer::at(hop(1))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };
    line.far().change_peer(Instant::ZERO, 1, beacon).unwrap();

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 0, &[1; 10]));
    let other = SessionId {
        number: 78,
        ..FOREIGN
    };
    line.give(2, other, Body::CancelBySender(Reason::USER));
    let unknown = SessionId {
        number: 79,
        ..FOREIGN
    };
    let data = Data {
        client: 99,
        offset: 0,
        color: Color::Red(None),
        octets: &[1],
    };
    line.give(2, unknown, Body::Data(data));
    line.run();

    assert_eq!(received(&line.events(2)), Some(&[1; 10][..]));
    assert_eq!(line.log.len(), 0);
    assert_eq!(line.left(), (0, 0, 0));
    let refused = line.far().send_block(
        Instant::ZERO,
        farlink::ltp::Block {
            to: 1,
            ..block(1, &[1], Red::Octets(0))
        },
    );
    assert_eq!(refused, Err(Error::Direction(1)));
    assert_eq!(line.far().ping(Instant::ZERO, 1), Err(Error::Direction(1)));
}

#[test]
fn a_receive_only_engine_gives_up_what_stays_incomplete_in_silence() {
    let mut line = Line::new(1, OWLT);
    let beacon = Peer {
        direction: Direction::ReceiveOnly,
        ..Peer::at(hop(1))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };
    line.far().change_peer(Instant::ZERO, 1, beacon).unwrap();

    line.give(2, FOREIGN, checkpoint(5, 0, Mark::Block, 10, &[1; 10]));
    line.run();

    assert!(matches!(line.events(2)[..], [Event::Cancelled { .. }]));
    assert_eq!(line.log.len(), 0);
    assert_eq!(line.left(), (0, 0, 0));
}

#[test]
fn a_beacon_sends_green_blocks_only() {
    let mut line = Line::new(1, OWLT);
    let peer = Peer {
        direction: Direction::SendOnly,
        ..Peer::at(hop(2))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };
    line.near().change_peer(Instant::ZERO, 2, peer).unwrap();

    let red = line
        .near()
        .send_block(Instant::ZERO, block(1, &[1], Red::All));
    line.send(2, &pattern(3000), Red::Octets(0));
    line.run();

    assert_eq!(red, Err(Error::Direction(2)));
    assert!(is_complete(&line.events(1), 2));
}

#[test]
fn ways_are_not_changed_under_a_session() {
    let mut line = Line::new(1, OWLT);
    line.send(1, &pattern(100), Red::All);
    let peer = Peer {
        direction: Direction::ReceiveOnly,
        ..Peer::at(hop(2))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT)
    };

    let refused = line.near().change_peer(Instant::ZERO, 2, peer);
    line.run();

    assert_eq!(refused, Err(Error::Direction(2)));
    assert!(is_complete(&line.events(1), 1));
}

fn give_as(line: &mut Line, id: u64, from: u64, octets: &[u8]) {
    let session = SessionId {
        originator: id,
        number: 5,
    };
    let mut whole = Vec::new();
    let body = checkpoint(5, 0, Mark::Block, 0, octets);
    farlink::ltp::Segment::new(session, body).encode(&mut whole);
    line.far().receive(Instant::ZERO, hop(from), &whole);
}

#[test]
fn strangers_are_dropped_unless_welcome_and_then_answered_where_they_came_from() {
    let mut line = Line::new(1, OWLT);
    give_as(&mut line, 7, 9, &[1; 10]);
    assert_eq!(line.far().stats().unknown_peer, 1);

    let template = Some(
        Peer::at(hop(0))
            .with_flow(Flow::Unlimited)
            .at_distance(OWLT),
    );
    line.far()
        .accept_unknown_peers(Instant::ZERO, template, 1)
        .unwrap();
    give_as(&mut line, 7, 9, &[1; 10]);
    let mut tx = farlink::Transmit::new(farlink::Limits::default());
    let mut seen = Vec::new();
    let to = loop {
        match line.far().poll(Instant::ZERO, &mut tx) {
            farlink::Output::Event(event) => seen.push(event),
            farlink::Output::Transmit => break tx.to(),
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(seen[0], Event::UnknownPeer { peer: 7 });
    assert_eq!(received(&seen), Some(&[1; 10][..]));
    assert_eq!(to, Some(hop(9)));
    // It proves that it hears, and begins another block.
    let farlink::ltp::Body::Report(report) =
        farlink::ltp::Segment::decode(tx.octets()).unwrap().body
    else {
        panic!("no report");
    };
    let ack = farlink::ltp::Body::ReportAck(report.serial);
    for (number, body) in [(5, ack), (6, red(0, &[1; 5]))] {
        let session = SessionId {
            originator: 7,
            number,
        };
        let mut whole = Vec::new();
        farlink::ltp::Segment::new(session, body).encode(&mut whole);
        line.far().receive(Instant::ZERO, hop(9), &whole);
    }
    give_as(&mut line, 8, 10, &[1; 10]);
    assert_eq!(
        line.far().stats().unknown_peer,
        2,
        "one at a time, and the first is busy"
    );
}

#[test]
fn a_stranger_without_sessions_makes_room_for_the_next() {
    let mut line = Line::new(1, OWLT);
    let template: Peer<Hop> = Peer {
        limits: PeerLimits {
            report_retries: 0,
            ..PeerLimits::default()
        },
        ..Peer::at(hop(0)).with_flow(Flow::Unlimited)
    };
    line.far()
        .accept_unknown_peers(Instant::ZERO, Some(template), 1)
        .unwrap();
    let green = |line: &mut Line, id| {
        let session = SessionId {
            originator: id,
            number: 5,
        };
        let mut whole = Vec::new();
        farlink::ltp::Segment::new(session, green(0, &[1], true)).encode(&mut whole);
        line.far().receive(Instant::ZERO, hop(id), &whole);
    };

    for id in 7..12 {
        green(&mut line, id);
    }
    line.drain();

    let met = line.events(2);
    let count = met
        .iter()
        .filter(|event| matches!(event, Event::UnknownPeer { .. }))
        .count();
    assert_eq!(count, 5);
    assert_eq!(line.far().line(10), None);
    assert!(line.far().line(11).is_some());
}

#[test]
fn a_stranger_that_is_not_authentic_is_turned_out() {
    let mut line = Line::new(1, OWLT);
    let template = Peer {
        auth: Auth::hmac_sha1(Key {
            id: b""[..].into(),
            secret: b"secret"[..].into(),
        }),
        ..Peer::at(hop(0)).with_flow(Flow::Unlimited)
    };
    line.far()
        .accept_unknown_peers(Instant::ZERO, Some(template), 4)
        .unwrap();

    give_as(&mut line, 7, 9, &[1; 10]);
    line.drain();

    assert_eq!(line.events(2), []);
    assert_eq!(line.far().line(7), None);
    assert_eq!(line.far().stats().unknown_key, 1);
}

#[test]
fn the_last_red_segment_before_an_announced_end_of_contact_is_a_checkpoint() {
    let mut line = Line::with(
        1,
        OWLT,
        |_| {},
        |peer| {
            peer.flow = Flow::rate(1400).with_burst(0);
        },
    );
    let ends = Instant::ZERO + Duration::from_millis(4500);
    line.near()
        .contact(Instant::ZERO, 2, Cue::EndsAt(ends))
        .unwrap();

    line.send(1, &pattern(14_000), Red::All);
    line.run_until(ends);
    line.near().contact(ends, 2, Cue::MustStop).unwrap();

    assert_eq!(line.codes(), [0, 0, 0, 1, 1]);
}

/// ION's receiver cancels a block for any checkpoint before the end of its red part.
#[test]
fn no_checkpoint_ends_a_contact_with_a_peer_that_has_refused_one_or_may_be_ion() {
    let early = |line: &Line| line.codes().iter().filter(|code| **code == 1).count();
    let mut unknown = Line::with(1, OWLT, |_| {}, |peer| peer.flow = Flow::Auto);
    unknown.judge(|_| SegmentOutcome::Drop);
    let ends = Instant::ZERO + Duration::from_millis(30);
    let near = unknown.near();
    near.contact(Instant::ZERO, 2, Cue::EndsAt(ends)).unwrap();
    unknown.send(1, &pattern(1_000_000), Red::All);
    unknown.run_until(ends);
    assert!(unknown.log.len() > 250, "{}", unknown.log.len());
    assert_eq!(early(&unknown), 0);

    let paced = |peer: &mut Peer<Hop>| peer.flow = Flow::rate(1400).with_burst(0);
    let mut refusing = Line::with(1, OWLT, |_| {}, paced);
    refusing.judge(|_| SegmentOutcome::Drop);
    let session = refusing.send(1, &pattern(14_000), Red::All);
    let now = refusing.now;
    refusing.near().checkpoint(now, Tag(1)).unwrap();
    refusing.drain();
    assert_eq!(early(&refusing), 1);
    let limit = Body::CancelByReceiver(Reason::RETRANSMISSION_LIMIT);
    refusing.give(1, session, limit);
    let ends = Instant::ZERO + Duration::from_millis(4500);
    let near = refusing.near();
    near.contact(Instant::ZERO, 2, Cue::EndsAt(ends)).unwrap();
    refusing.run_until(ends);
    assert!(refusing.log.len() > 5, "the block is sent once more");
    assert_eq!(early(&refusing), 1);
}
