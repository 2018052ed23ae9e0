//! COTP over streams that are cut, slow or far.

use bytes::Bytes;
use farlink::cotp::{
    Command, Config, Connection, Error, Event, Policy, Reason, Selector, TpduSize,
};
use farlink::sim::{Chunks, Host, StreamLine};
use farlink::{Instant, Tag};

use crate::stage::{SECOND, Stage, client, message};

#[test]
fn octet_by_octet_everything_is_said_and_understood() {
    let line = StreamLine {
        delay: SECOND / 2,
        chunks: Chunks::Fixed(1),
        ..StreamLine::default()
    };
    let small = TpduSize::from_octets(128).unwrap();
    let server = Config {
        tpdu_size: small,
        ..Config::responder(Policy::AcceptAny)
    };
    let mut stage = Stage::new(1, client(), server, line);
    let (forth, back) = (message(1000, 0), message(300, 7));

    stage.run(3 * SECOND);
    stage.send(stage.client, &forth);
    stage.send(stage.server, &back);
    stage.run(3 * SECOND);
    stage.world.command(stage.client, Command::Close).unwrap();
    assert!(stage.world.run_until_idle(60 * SECOND));

    assert_eq!(stage.received(stage.server), [forth]);
    assert_eq!(stage.received(stage.client), [back]);
    assert_eq!(stage.reason(stage.client), Some(Reason::Closed));
    assert_eq!(stage.reason(stage.server), Some(Reason::PeerClosed));
    insta::assert_snapshot!(stage.world.ladder());
}

#[test]
fn chunks_of_any_size_give_the_same_events() {
    let mut stories = Vec::new();
    for chunks in [
        Chunks::Whole,
        Chunks::Fixed(1),
        Chunks::Fixed(5),
        Chunks::Random(9),
    ] {
        let line = StreamLine {
            chunks,
            ..StreamLine::default()
        };
        let mut stage = Stage::plain(4, line);
        stage.run(SECOND);
        for len in [1, 2, 7, 200, 8190, 8200, 40_000] {
            stage.send(stage.client, &message(len, 3));
            stage.send(stage.server, &message(len, 5));
        }
        stage.run(SECOND);
        stage.world.command(stage.server, Command::Close).unwrap();
        assert!(stage.world.run_until_idle(60 * SECOND));
        let told = |host: Host<Connection>| -> Vec<Event> {
            let events = stage.world.events(host);
            events.map(|(_, event)| event.clone()).collect()
        };
        stories.push((told(stage.client), told(stage.server)));
    }

    assert_eq!(stories[0].1.len(), 9, "connected, seven messages, closed");
    assert!(stories.iter().all(|story| *story == stories[0]));
}

#[test]
fn over_minutes_a_patient_initiator_connects() {
    let patient = Config {
        answer_timeout: Some(3600 * SECOND),
        close_timeout: 3600 * SECOND,
        ..client()
    };
    let server = Config {
        request_timeout: Some(3600 * SECOND),
        close_timeout: 3600 * SECOND,
        ..Config::responder(Policy::AcceptAny)
    };
    let mut stage = Stage::new(2, patient, server, StreamLine::delayed(12 * 60 * SECOND));

    stage.run(25 * 60 * SECOND);
    stage.send(stage.client, &message(100_000, 0));
    stage
        .world
        .command(stage.client, Command::Flush(Tag(1)))
        .unwrap();
    stage.world.command(stage.client, Command::Close).unwrap();
    assert!(stage.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(stage.received(stage.server), [message(100_000, 0)]);
    assert_eq!(stage.reason(stage.client), Some(Reason::Closed));
    assert_eq!(stage.reason(stage.server), Some(Reason::PeerClosed));
    insta::assert_snapshot!(stage.world.ladder());
}

#[test]
fn over_minutes_a_hasty_initiator_gives_up_and_the_responder_hears_of_it() {
    let server = Config {
        request_timeout: None,
        ..Config::responder(Policy::AcceptAny)
    };
    let mut stage = Stage::new(3, client(), server, StreamLine::delayed(12 * 60 * SECOND));

    assert!(stage.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(
        stage.reason(stage.client),
        Some(Reason::NoConfirm(10 * SECOND))
    );
    assert!(stage.end(stage.server).is_some());
    insta::assert_snapshot!(stage.world.ladder());
}

#[test]
fn a_slow_line_delivers_what_it_can_and_all_in_the_end() {
    let line = StreamLine {
        rate: Some(9600),
        window: Some(2000),
        chunks: Chunks::Random(40),
        ..StreamLine::default()
    };
    let mut stage = Stage::plain(5, line);

    stage.run(SECOND);
    stage.send(stage.client, &message(20_000, 0));
    stage.run(10 * SECOND);
    assert!(stage.received(stage.server).is_empty());
    stage.run(10 * SECOND);

    // 20000 octets and 5 * 7 for the headers of three TPDUs, at 1200 octets a second.
    assert_eq!(stage.received(stage.server).len(), 1);
}

#[test]
fn a_refused_selector_is_told_to_the_initiator() {
    let own = Selector::new(&[9, 9][..]);
    let server = Config::responder(Policy::Selectors(vec![own]));
    let mut stage = Stage::new(6, client(), server, StreamLine::delayed(SECOND / 2));

    assert!(stage.world.run_until_idle(60 * SECOND));

    assert!(matches!(
        stage.reason(stage.client),
        Some(Reason::Refused(_))
    ));
    assert!(matches!(
        stage.reason(stage.server),
        Some(Reason::Declined(_))
    ));
    insta::assert_snapshot!(stage.world.ladder());
}

#[test]
fn a_silent_application_holds_the_sender_up_and_loses_nothing() {
    let line = StreamLine {
        window: Some(1 << 16),
        ..StreamLine::default()
    };
    let client = Config {
        send_queue: 1 << 17,
        ..client()
    };
    let mut stage = Stage::new(7, client, Config::responder(Policy::AcceptAny), line);
    let one = message(8000, 0);

    stage.run(SECOND);
    stage.world.stop_reading(stage.server);
    let mut sent = 0;
    let refusal = loop {
        match stage
            .world
            .command(stage.client, Command::Send(one.clone()))
        {
            Ok(()) => sent += 1,
            Err(refusal) => break refusal,
        }
        assert!(sent < 1000, "nobody held the sender up");
    };
    stage.run(SECOND);
    assert!(matches!(refusal, Error::Full { .. }));
    assert!(stage.received(stage.server).is_empty());
    stage.world.resume_reading(stage.server);
    stage.run(SECOND);

    assert_eq!(stage.received(stage.server).len(), sent);
    let rooms = stage.world.events(stage.client);
    let rooms = rooms.filter(|(_, event)| **event == Event::Room);
    assert_eq!(rooms.count(), 1);
}

#[test]
fn an_application_takes_the_stream_over_with_what_was_read_too_far() {
    let mut stage = Stage::plain(8, StreamLine::delayed(SECOND));
    let tag = Tag(1);

    stage.run(3 * SECOND);
    stage
        .world
        .command(stage.client, Command::HandOver(tag))
        .unwrap();
    stage.run(SECOND);
    stage.send(stage.server, &Bytes::from_static(b"hello"));
    stage.run(2 * SECOND);

    let handed = &stage.world.handed(stage.client)[0];
    assert_eq!(handed.tag, tag);
    assert_eq!(handed.received, b"\x03\x00\x00\x0c\x02\xf0\x80hello");
    assert_eq!(stage.reason(stage.client), Some(Reason::HandedOver(tag)));
    let time = Instant::ZERO + 3 * SECOND;
    assert_eq!(handed.time, time);
    stage
        .world
        .write(stage.client, tag, b"\x03\x00\x00\x09\x02\xf0\x80hi");
    stage.run(2 * SECOND);
    assert_eq!(stage.received(stage.server), [&b"hi"[..]]);
}
