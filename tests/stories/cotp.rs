//! COTP over streams that are cut, slow or far.

use bytes::Bytes;
use farlink::cotp::{
    Command, Config, Connection, Error, Event, Policy, Reason, Selector, TpduSize,
};
use farlink::sim::{Chunks, Host, StreamLine};
use farlink::{Instant, Tag};

use crate::scene::{SECOND, Scene, client, message};

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
    let mut scene = Scene::new(1, client(), server, line);
    let (forth, back) = (message(1000, 0), message(300, 7));

    scene.run(3 * SECOND);
    scene.send(scene.client, &forth);
    scene.send(scene.server, &back);
    scene.run(3 * SECOND);
    scene.world.command(scene.client, Command::Close).unwrap();
    assert!(scene.world.run_until_idle(60 * SECOND));

    assert_eq!(scene.received(scene.server), [forth]);
    assert_eq!(scene.received(scene.client), [back]);
    assert_eq!(scene.reason(scene.client), Some(Reason::Closed));
    assert_eq!(scene.reason(scene.server), Some(Reason::PeerClosed));
    insta::assert_snapshot!(scene.world.ladder());
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
        let mut scene = Scene::plain(4, line);
        scene.run(SECOND);
        for len in [1, 2, 7, 200, 8190, 8200, 40_000] {
            scene.send(scene.client, &message(len, 3));
            scene.send(scene.server, &message(len, 5));
        }
        scene.run(SECOND);
        scene.world.command(scene.server, Command::Close).unwrap();
        assert!(scene.world.run_until_idle(60 * SECOND));
        let told = |host: Host<Connection>| -> Vec<Event> {
            let events = scene.world.events(host);
            events.map(|(_, event)| event.clone()).collect()
        };
        stories.push((told(scene.client), told(scene.server)));
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
    let mut scene = Scene::new(2, patient, server, StreamLine::delayed(12 * 60 * SECOND));

    scene.run(25 * 60 * SECOND);
    scene.send(scene.client, &message(100_000, 0));
    scene
        .world
        .command(scene.client, Command::Flush(Tag(1)))
        .unwrap();
    scene.world.command(scene.client, Command::Close).unwrap();
    assert!(scene.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(scene.received(scene.server), [message(100_000, 0)]);
    assert_eq!(scene.reason(scene.client), Some(Reason::Closed));
    assert_eq!(scene.reason(scene.server), Some(Reason::PeerClosed));
    insta::assert_snapshot!(scene.world.ladder());
}

#[test]
fn over_minutes_a_hasty_initiator_gives_up_and_the_responder_hears_of_it() {
    let server = Config {
        request_timeout: None,
        ..Config::responder(Policy::AcceptAny)
    };
    let mut scene = Scene::new(3, client(), server, StreamLine::delayed(12 * 60 * SECOND));

    assert!(scene.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(
        scene.reason(scene.client),
        Some(Reason::NoConfirm(10 * SECOND))
    );
    assert!(scene.end(scene.server).is_some());
    insta::assert_snapshot!(scene.world.ladder());
}

#[test]
fn a_slow_line_delivers_what_it_can_and_all_in_the_end() {
    let line = StreamLine {
        rate: Some(9600),
        window: Some(2000),
        chunks: Chunks::Random(40),
        ..StreamLine::default()
    };
    let mut scene = Scene::plain(5, line);

    scene.run(SECOND);
    scene.send(scene.client, &message(20_000, 0));
    scene.run(10 * SECOND);
    assert!(scene.received(scene.server).is_empty());
    scene.run(10 * SECOND);

    // 20000 octets and 5 * 7 for the headers of three TPDUs, at 1200 octets a second.
    assert_eq!(scene.received(scene.server).len(), 1);
}

#[test]
fn a_refused_selector_is_told_to_the_initiator() {
    let own = Selector::new(&[9, 9][..]);
    let server = Config::responder(Policy::Selectors(vec![own]));
    let mut scene = Scene::new(6, client(), server, StreamLine::delayed(SECOND / 2));

    assert!(scene.world.run_until_idle(60 * SECOND));

    assert!(matches!(
        scene.reason(scene.client),
        Some(Reason::Refused(_))
    ));
    assert!(matches!(
        scene.reason(scene.server),
        Some(Reason::Declined(_))
    ));
    insta::assert_snapshot!(scene.world.ladder());
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
    let mut scene = Scene::new(7, client, Config::responder(Policy::AcceptAny), line);
    let one = message(8000, 0);

    scene.run(SECOND);
    scene.world.stop_reading(scene.server);
    let mut sent = 0;
    let refusal = loop {
        match scene
            .world
            .command(scene.client, Command::Send(one.clone()))
        {
            Ok(()) => sent += 1,
            Err(refusal) => break refusal,
        }
        assert!(sent < 1000, "nobody held the sender up");
    };
    scene.run(SECOND);
    assert!(matches!(refusal, Error::Full { .. }));
    assert!(scene.received(scene.server).is_empty());
    scene.world.resume_reading(scene.server);
    scene.run(SECOND);

    assert_eq!(scene.received(scene.server).len(), sent);
    let rooms = scene.world.events(scene.client);
    let rooms = rooms.filter(|(_, event)| **event == Event::Room);
    assert_eq!(rooms.count(), 1);
}

#[test]
fn an_application_takes_the_stream_over_with_what_was_read_too_far() {
    let mut scene = Scene::plain(8, StreamLine::delayed(SECOND));
    let tag = Tag(1);

    scene.run(3 * SECOND);
    scene
        .world
        .command(scene.client, Command::HandOver(tag))
        .unwrap();
    scene.run(SECOND);
    scene.send(scene.server, &Bytes::from_static(b"hello"));
    scene.run(2 * SECOND);

    let handed = &scene.world.handed(scene.client)[0];
    assert_eq!(handed.tag, tag);
    assert_eq!(handed.received, b"\x03\x00\x00\x0c\x02\xf0\x80hello");
    assert_eq!(scene.reason(scene.client), Some(Reason::HandedOver(tag)));
    let time = Instant::ZERO + 3 * SECOND;
    assert_eq!(handed.time, time);
    scene
        .world
        .write(scene.client, tag, b"\x03\x00\x00\x09\x02\xf0\x80hi");
    scene.run(2 * SECOND);
    assert_eq!(scene.received(scene.server), [&b"hi"[..]]);
}
