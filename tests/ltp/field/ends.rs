//! How sessions end, and what the ends are told: the reason on the wire is the true one, and messages tell the ends
//! apart without the octets of a block.

use farlink::ltp::{Body, Config, Event, Flow, Peer, PeerLimits, Reason, Service};

use super::{PEER, block};
use crate::ltp_alone::{Alone, secs, session};

fn receiver(peer: Peer<u64>) -> Alone<u64> {
    let mut alone = Alone::new(Config::engine(2), 2);
    alone.engine.add_peer(alone.now, 1, peer).unwrap();
    alone.engine.open(alone.now, 4, Service::Whole).unwrap();
    alone
}

/// What the application of a receiver is told of the end of session 5, with the numbers of the session left out.
fn end(alone: &Alone<u64>) -> String {
    let is_end = |event: &Event| matches!(event, Event::Cancelled { .. });
    let events = alone.events.iter().map(|(_, event)| event);
    let ends: Vec<&Event> = events.filter(|event| is_end(event)).collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    format!("{:?}", ends[0])
}

/// RFC 5326 section 3.2.4: reason 1 says that there is no such service, and reason 0 that the service cancels.
#[test]
fn closing_a_service_in_the_middle_of_a_block_cancels_it_by_the_service() {
    let mut alone = receiver(Peer::at(PEER));
    alone.hear(PEER, "00 01 05 00 04 00 05 41*5");

    alone.engine.close(alone.now, 4).unwrap();
    alone.drain();

    let cancel = Body::CancelByReceiver(Reason::USER);
    assert!(alone.bodies(session(1, 5)).contains(&cancel));
}

/// A service that was never there is another matter.
#[test]
fn a_block_for_a_service_that_is_not_open_is_refused_as_unreachable() {
    let mut alone = receiver(Peer::at(PEER));

    alone.hear(PEER, "00 01 05 00 63 00 05 41*5");

    let cancel = Body::CancelByReceiver(Reason::UNREACHABLE);
    assert_eq!(alone.bodies(session(1, 5)), [cancel]);
}

#[test]
fn a_block_over_a_limit_is_told_with_the_limit_and_its_value() {
    let mut alone = receiver(Peer {
        limits: PeerLimits {
            session_octets: 1_000_000,
            ..PeerLimits::default()
        },
        ..Peer::at(PEER)
    });

    alone.hear(PEER, "00 01 05 00 04 @1234567 05 41*5");

    let told = end(&alone);
    assert!(told.contains("1000000"), "{told}");
    assert!(told.contains("1234572"), "{told}");
}

/// Four ends that were one: a limit, silence, a service that closed, and the peer's own cancellation.
#[test]
fn the_ends_of_a_reception_are_told_apart() {
    let mut ends = Vec::new();
    let begun = || {
        let mut alone = receiver(Peer {
            limits: PeerLimits {
                session_octets: 1000,
                ..PeerLimits::default()
            },
            ..Peer::at(PEER)
        });
        alone.hear(PEER, "00 01 05 00 04 00 05 41*5");
        alone
    };
    let mut over = begun();
    over.hear(PEER, "00 01 05 00 04 @2000 05 41*5");
    ends.push(end(&over));
    let mut silent = begun();
    silent.run_for(secs(7200));
    ends.push(end(&silent));
    let mut closed = begun();
    closed.engine.close(closed.now, 4).unwrap();
    closed.drain();
    ends.push(end(&closed));
    let mut cancelled = begun();
    cancelled.hear(PEER, "0c 01 05 00 04");
    ends.push(end(&cancelled));

    for (at, one) in ends.iter().enumerate() {
        for other in &ends[at + 1..] {
            assert_ne!(one, other);
        }
    }
}

/// A block that nobody answered and one whose repeats ran out are not the same to its sender.
#[test]
fn a_peer_that_is_silent_is_told_apart_from_one_that_exceeds_a_limit() {
    let fate = |claims: bool| {
        let mut alone = Alone::new(Config::engine(1), 1);
        let peer = Peer {
            limits: PeerLimits {
                problems: 1,
                ..PeerLimits::default()
            },
            flow: Flow::rate(1_000_000),
            ..Peer::at(PEER)
        };
        alone.engine.add_peer(alone.now, 2, peer).unwrap();
        let id = alone.engine.send_block(alone.now, block(2, 3000)).unwrap();
        alone.run_for(secs(1));
        for serial in 1..4 {
            let last = super::checkpoints(&alone, id).last().copied().unwrap();
            if claims {
                let text = format!(
                    "08 01 @{} 00 @{serial} @{last} @3000 00 01 00 05",
                    id.number
                );
                alone.hear(PEER, &text);
                alone.run_for(secs(1));
            }
        }
        alone.run_for(secs(7200));
        let mut events = alone.events.iter().map(|(_, event)| event);
        let failed = events.find(|event| matches!(event, Event::Failed { .. }));
        let text = format!("{:?}", failed.unwrap());
        text.replace(&id.number.to_string(), "")
    };

    assert_ne!(fate(false), fate(true));
}

/// `?` in a main function prints the error by `Debug`.
#[cfg(feature = "blocking")]
#[test]
fn an_error_that_gives_a_block_back_does_not_print_its_octets() {
    use farlink::adapters::ltp::Error;
    use farlink::ltp::{EndCause, Side};

    let error = Error::Failed {
        peer: 2,
        session: session(1, 5),
        by: Side::Remote,
        reason: Reason::SYSTEM,
        cause: EndCause::Peer,
        data: vec![0x41; 100_000].into(),
    };

    let text = format!("{error:?}");
    assert!(text.len() < 1000, "{} letters", text.len());
}

/// What was told is told, and is not there again after a restart.
#[cfg(feature = "blocking")]
#[test]
fn a_block_whose_end_was_waited_for_is_not_restored() {
    use core::time::Duration;

    use farlink::adapters::blocking::ltp::Node;
    use farlink::ltp::Red;

    let here = core::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let earth = Node::bind(here, Config::engine(1)).unwrap();
    let mars = Node::bind(here, Config::engine(2)).unwrap();
    earth.add_peer(2, Peer::at(mars.local_addr())).unwrap();
    mars.add_peer(1, Peer::at(earth.local_addr())).unwrap();
    let (near, far) = (earth.open(4).unwrap(), mars.open(4).unwrap());
    let start = |number| near.start(2, vec![number; 5000], Red::All).unwrap();
    let mut sendings: Vec<_> = (0..24).map(start).collect();
    for sending in &mut sendings {
        sending.wait().unwrap();
        far.receive().unwrap();
    }

    let saved = earth.snapshot().unwrap();

    assert_eq!(saved.tags().count(), 0);
    earth.shutdown(Duration::from_secs(1));
}
