//! Order of arrival and edge values: what is an error does not depend on which segment came first, serial numbers go to
//! 2^64 - 1, and every segment that is accepted can lead to an answer (RFC 5326 sections 3.2.1 and 6.21).

use farlink::ltp::{Body, Config, Event, Peer, Reason, Service};

use super::PEER;
use crate::ltp_alone::{Alone, secs, session};

fn receiver() -> Alone<u64> {
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, Peer::at(PEER)).unwrap();
    alone.engine.open(alone.now, 4, Service::Whole).unwrap();
    alone
}

#[test]
fn a_checkpoint_with_the_highest_serial_number_is_reported_on() {
    let mut alone = receiver();

    alone.hear(PEER, "03 01 06 00 04 00 05 @18446744073709551615 00 41*5");
    alone.hear(PEER, "00 01 08 00 04 00 05 41*5");
    alone.hear(PEER, "03 01 08 00 04 05 05 @18446744073709551615 00 41*5");

    for number in [6, 8] {
        assert!(alone.has_reported(session(1, number), u64::MAX), "{number}");
    }
}

#[test]
fn a_report_with_the_highest_serial_number_counts_once() {
    let mut alone = Alone::new(Config::engine(1), 1);
    alone.engine.add_peer(alone.now, 2, Peer::at(PEER)).unwrap();
    let block = super::block(2, 3000);
    let id = alone.engine.send_block(alone.now, block).unwrap();
    alone.drain();
    let checkpoint = super::checkpoints(&alone, id)[0];
    let report = format!(
        "08 01 @{} 00 @18446744073709551615 @{checkpoint} @3000 00 01 @1000 @2000",
        id.number
    );
    let before = alone.sent.len();

    for _ in 0..3 {
        alone.hear(PEER, &report);
    }

    let answers = &alone.sent[before..];
    let is_data = |body: &Body<'_>| matches!(body, Body::Data(_));
    let repairs = answers.iter().filter(|sent| is_data(&sent.segment().body));
    let acks = answers.len() - repairs.clone().count();
    assert_eq!((repairs.count(), acks), (1, 3));
}

/// All red data end where the red part does, and what ends there ends once.
#[test]
fn a_red_part_that_ends_with_an_empty_segment_is_answered() {
    let mut alone = receiver();

    alone.hear(PEER, "03 01 05 00 04 00 00 09 00");
    alone.hear(PEER, "00 01 06 00 04 00 05 41*5");
    alone.hear(PEER, "03 01 06 00 04 05 00 09 00");

    // Nothing can be claimed of an empty red part, so that one is cancelled or not accepted, without a session.
    let answers = alone.bodies(session(1, 5));
    let is_refused = answers
        .iter()
        .any(|body| matches!(body, Body::CancelByReceiver(_)));
    assert!(
        is_refused || alone.engine.usage().sessions.1 <= 1,
        "{answers:?}"
    );
    assert_eq!(alone.received(), [(session(1, 6), &b"AAAAA"[..])]);
    assert!(alone.has_reported(session(1, 6), 9));
}

#[test]
fn a_peer_hears_of_each_session_that_is_cancelled_here() {
    let mut alone = receiver();
    alone.hear(PEER, "03 01 05 00 04 00 00 09 00");
    alone.run_for(secs(3600));

    let is_told = alone
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::Cancelled { .. }));
    let answers = alone.bodies(session(1, 5));
    let is_refused = answers
        .iter()
        .any(|body| matches!(body, Body::CancelByReceiver(_)));
    assert!(
        is_refused,
        "no answer, and {is_told} that the client heard of it"
    );
}

/// Whether anything in a session was cancelled, and what was handed up beyond an end.
fn verdict(texts: &[&str]) -> bool {
    let mut alone = receiver();
    for text in texts {
        alone.hear(PEER, text);
    }
    alone.events.iter().any(|(_, event)| {
        matches!(
            event,
            Event::Cancelled {
                reason: Reason::MISCOLORED,
                ..
            }
        )
    }) || alone
        .bodies(session(1, 11))
        .iter()
        .any(|body| matches!(body, Body::CancelByReceiver(Reason::MISCOLORED)))
}

/// Segments of one session, of which some do not agree with others.
const SEGMENTS: [&str; 12] = [
    // Red: without and with a checkpoint, and with each end.
    "00 01 0b 00 04 00 05 41*5",
    "00 01 0b 00 04 05 05 41*5",
    "01 01 0b 00 04 05 05 08 00 41*5",
    "02 01 0b 00 04 05 05 09 00 41*5",
    "03 01 0b 00 04 05 05 09 00 41*5",
    "03 01 0b 00 04 0a 05 0a 00 41*5",
    "02 01 0b 00 04 0a 05 0a 00 41*5",
    // Green: within, behind, and with the end of the block.
    "04 01 0b 00 04 05 05 43*5",
    "04 01 0b 00 04 0a 05 43*5",
    "04 01 0b 00 04 14 05 43*5",
    "07 01 0b 00 04 0a 05 43*5",
    "07 01 0b 00 04 14 05 43*5",
];

#[test]
fn two_segments_are_an_error_in_both_orders_or_in_none() {
    let mut differ = Vec::new();
    for (at, one) in SEGMENTS.iter().enumerate() {
        for other in &SEGMENTS[at + 1..] {
            let verdicts = [verdict(&[one, other]), verdict(&[other, one])];
            if verdicts[0] != verdicts[1] {
                differ.push(format!("{one} | {other}: {verdicts:?}"));
            }
        }
    }

    assert!(differ.is_empty(), "{differ:#?}");
}

/// Octets beyond the end of a block are handed up in no order of arrival that told of the end before.
#[test]
fn green_data_behind_the_end_of_a_block_is_not_delivered() {
    for (name, first) in [
        ("a red end", "03 01 0b 00 04 00 0a 09 00 41*10"),
        ("a green end", "07 01 0b 00 04 05 05 43*5"),
    ] {
        for behind in [
            "04 01 0b 00 04 0a 03 43*3",
            "04 01 0b 00 04 20 05 44*5",
            "07 01 0b 00 04 40 05 45*5",
        ] {
            let mut alone = receiver();

            alone.hear(PEER, first);
            alone.hear(PEER, behind);

            let beyond = alone
                .events
                .iter()
                .filter(|(_, event)| matches!(event, Event::Green { offset, .. } if *offset >= 10));
            assert_eq!(beyond.count(), 0, "{behind} behind {name}");
        }
    }
}

/// A block has one end: a second one elsewhere is an error, whatever is green in it.
#[test]
fn a_block_ends_once() {
    let mixed = "02 01 0b 00 04 00 05 09 00 41*5";
    for before in [None, Some(mixed)] {
        let mut alone = receiver();
        if let Some(text) = before {
            alone.hear(PEER, text);
        }

        alone.hear(PEER, "07 01 0b 00 04 05 05 43*5");
        alone.hear(PEER, "07 01 0b 00 04 40 05 45*5");

        let ends = alone.events.iter().filter(|(_, event)| {
            matches!(
                event,
                Event::Green {
                    ends_block: true,
                    ..
                } | Event::Received {
                    ends_block: true,
                    ..
                }
            )
        });
        assert_eq!(ends.count(), 1);
    }
}
