//! COTP over streams with chunks, rates and long delays.

use bytes::Bytes;
use farlink::cotp::{
    Command, Config, ConnectionLimits, ConnectionTimers, EndReason, Error, Event, Policy, Selector,
    TpduSize,
};
use farlink::sim::{Chunks, StreamLine};
use farlink::{Instant, Tag};

use crate::cotp_scene::{CotpHost, SECOND, Scene, client, message, responder};

/// Those whose recordings are kept.
pub(crate) const KEPT: &[fn()] = &[
    octet_by_octet_all_messages_are_exchanged,
    chunks_of_any_size_give_the_same_events,
    over_minutes_a_patient_initiator_connects,
    over_minutes_an_impatient_initiator_times_out_and_the_responder_is_told,
    a_slow_line_delivers_what_it_can_and_all_in_the_end,
    a_refused_selector_is_told_to_the_initiator,
    an_application_that_reads_nothing_blocks_the_sender_and_loses_nothing,
    an_application_detaches_the_stream_with_octets_read_early,
];

#[test]
fn octet_by_octet_all_messages_are_exchanged() {
    let line = StreamLine {
        delay: SECOND / 2,
        chunks: Chunks::Fixed(1),
        ..StreamLine::default()
    };
    let small = TpduSize::from_octets(128).unwrap();
    let server = Config {
        tpdu_size: small,
        ..responder(Policy::AcceptAny)
    };
    let mut scene = Scene::new(1, client(), server, line);
    let (forth, back) = (message(400, 0), message(200, 7));

    scene.run(3 * SECOND);
    scene.send(scene.client, &forth);
    scene.send(scene.server, &back);
    scene.run(3 * SECOND);
    scene.world.command(scene.client, Command::Close).unwrap();
    assert!(scene.world.run_until_idle(60 * SECOND));

    assert_eq!(scene.received(scene.server), [forth]);
    assert_eq!(scene.received(scene.client), [back]);
    assert_eq!(scene.reason(scene.client), Some(EndReason::Closed));
    assert_eq!(scene.reason(scene.server), Some(EndReason::PeerClosed));
    insta::assert_snapshot!(scene.world.ladder());
    scene.keep("octet_by_octet");
}

#[test]
fn chunks_of_any_size_give_the_same_events() {
    let told = CHUNKS.map(|(name, chunks)| {
        let scene = chat(chunks, TpduSize::SMALLEST, &[1, 2, 7, 120, 121, 122, 300]);
        let told = events(&scene);
        scene.keep(&format!("chunks_{name}"));
        told
    });

    assert_eq!(told[0][1].len(), 9, "connected, seven messages, closed");
    assert!(told.iter().all(|events| *events == told[0]));
}

#[test]
fn chunks_of_any_size_give_the_same_long_messages() {
    let told = CHUNKS.map(|(_, chunks)| {
        let scene = chat(chunks, client().tpdu_size, &[8184, 8185, 8186, 20_000]);
        let told = events(&scene);
        scene.replays();
        told
    });

    assert_eq!(told[0][1].len(), 6, "connected, four messages, closed");
    assert!(told.iter().all(|events| *events == told[0]));
}

const CHUNKS: [(&str, Chunks); 4] = [
    ("whole", Chunks::Whole),
    ("of_one_octet", Chunks::Fixed(1)),
    ("of_five_octets", Chunks::Fixed(5)),
    ("of_up_to_nine_octets", Chunks::Random(9)),
];

/// Messages of these lengths both ways, and a close by the server.
fn chat(chunks: Chunks, tpdu_size: TpduSize, lengths: &[usize]) -> Scene {
    let line = StreamLine {
        chunks,
        ..StreamLine::default()
    };
    let client = Config {
        tpdu_size,
        ..client()
    };
    let mut scene = Scene::new(4, client, responder(Policy::AcceptAny), line);
    scene.run(SECOND);
    for &len in lengths {
        scene.send(scene.client, &message(len, 3));
        scene.send(scene.server, &message(len, 5));
    }
    scene.run(SECOND);
    scene.world.command(scene.server, Command::Close).unwrap();
    assert!(scene.world.run_until_idle(60 * SECOND));
    scene
}

fn events(scene: &Scene) -> [Vec<Event>; 2] {
    let told = |host: CotpHost| {
        let events = scene.world.events(host);
        events.map(|(_, event)| event.clone()).collect()
    };
    [told(scene.client), told(scene.server)]
}

#[test]
fn over_minutes_a_patient_initiator_connects() {
    let patient = Config {
        timers: ConnectionTimers {
            answer_timeout: Some(3600 * SECOND),
            close_timeout: 3600 * SECOND,
            ..client().timers
        },
        ..client()
    };
    let server = Config {
        timers: ConnectionTimers {
            request_timeout: Some(3600 * SECOND),
            close_timeout: 3600 * SECOND,
            ..responder(Policy::AcceptAny).timers
        },
        ..responder(Policy::AcceptAny)
    };
    let mut scene = Scene::new(2, patient, server, StreamLine::delayed(12 * 60 * SECOND));

    scene.run(25 * 60 * SECOND);
    scene.send(scene.client, &message(30_000, 0));
    scene
        .world
        .command(scene.client, Command::Flush(Tag(1)))
        .unwrap();
    scene.world.command(scene.client, Command::Close).unwrap();
    assert!(scene.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(scene.received(scene.server), [message(30_000, 0)]);
    assert_eq!(scene.reason(scene.client), Some(EndReason::Closed));
    assert_eq!(scene.reason(scene.server), Some(EndReason::PeerClosed));
    insta::assert_snapshot!(scene.world.ladder());
    scene.keep("minutes_away_and_patient");
}

#[test]
fn over_minutes_an_impatient_initiator_times_out_and_the_responder_is_told() {
    let server = Config {
        timers: ConnectionTimers {
            request_timeout: None,
            ..responder(Policy::AcceptAny).timers
        },
        ..responder(Policy::AcceptAny)
    };
    let mut scene = Scene::new(3, client(), server, StreamLine::delayed(12 * 60 * SECOND));

    assert!(scene.world.run_until_idle(4 * 3600 * SECOND));

    assert_eq!(
        scene.reason(scene.client),
        Some(EndReason::NoConfirm(10 * SECOND))
    );
    assert!(scene.end(scene.server).is_some());
    insta::assert_snapshot!(scene.world.ladder());
    scene.keep("minutes_away_and_hasty");
}

#[test]
fn a_slow_line_delivers_what_it_can_and_all_in_the_end() {
    let line = StreamLine {
        rate: Some(9600),
        window: Some(2000),
        chunks: Chunks::Random(100),
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
    scene.keep("slow_line");
}

#[test]
fn a_refused_selector_is_told_to_the_initiator() {
    let own = Selector::new(&[9, 9][..]);
    let server = responder(Policy::Selectors(vec![own]));
    let mut scene = Scene::new(6, client(), server, StreamLine::delayed(SECOND / 2));

    assert!(scene.world.run_until_idle(60 * SECOND));

    assert!(matches!(
        scene.reason(scene.client),
        Some(EndReason::Refused(_))
    ));
    assert!(matches!(
        scene.reason(scene.server),
        Some(EndReason::Declined(_))
    ));
    insta::assert_snapshot!(scene.world.ladder());
    scene.keep("refused_selector");
}

#[test]
fn an_application_that_reads_nothing_blocks_the_sender_and_loses_nothing() {
    let line = StreamLine {
        window: Some(1 << 13),
        ..StreamLine::default()
    };
    let client = Config {
        limits: ConnectionLimits {
            send_queue: 1 << 14,
            ..client().limits
        },
        ..client()
    };
    let mut scene = Scene::new(7, client, responder(Policy::AcceptAny), line);
    let one = message(3000, 0);

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
    scene.keep("silent_application");
}

#[test]
fn an_application_detaches_the_stream_with_octets_read_early() {
    let mut scene = Scene::plain(8, StreamLine::delayed(SECOND));
    let tag = Tag(1);

    scene.run(3 * SECOND);
    scene
        .world
        .command(scene.client, Command::Detach(tag))
        .unwrap();
    scene.run(SECOND);
    scene.send(scene.server, &Bytes::from_static(b"hello"));
    scene.run(2 * SECOND);

    let detached = &scene.world.detached(scene.client)[0];
    assert_eq!(detached.tag, tag);
    assert_eq!(detached.received, b"\x03\x00\x00\x0c\x02\xf0\x80hello");
    assert_eq!(scene.reason(scene.client), Some(EndReason::Detached(tag)));
    let time = Instant::ZERO + 3 * SECOND;
    assert_eq!(detached.time, time);
    scene
        .world
        .write(scene.client, tag, b"\x03\x00\x00\x09\x02\xf0\x80hi");
    scene.run(2 * SECOND);
    assert_eq!(scene.received(scene.server), [&b"hi"[..]]);
    scene.keep("handed_over");
}
