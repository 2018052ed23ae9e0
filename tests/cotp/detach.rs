//! Pausing after the handshake, octets that are not a TPKT, and detaching the stream.

use bytes::Bytes;
use farlink::{Ask, Cause, Link, Tag};

use crate::cotp_probe::*;

fn pausing() -> Config {
    Config {
        after_handshake: AfterHandshake::Pause,
        ..anybody()
    }
}

fn offering() -> Config {
    Config {
        compat: Compat {
            non_tpkt: NonTpkt::Offer,
            ..anybody().compat
        },
        ..anybody()
    }
}

fn hand(early: &[u8]) -> Ask<()> {
    Ask::Detach {
        tag: Tag(7),
        path: (),
        early: Bytes::copy_from_slice(early),
    }
}

#[test]
fn after_the_handshake_a_pausing_connection_reads_nothing() {
    let mut probe = Probe::up(pausing());

    probe.feed(&[BARE_CR, ABC].join(" "));

    probe.connected();
    assert!(!probe.wants());
    assert_eq!(probe.sent(), "03 00 00 0E 09 D0 12 34 00 01 00 C0 01 0B");
}

#[test]
fn a_paused_connection_sends() {
    let mut probe = Probe::responder(pausing());

    probe.send(b"abc").unwrap();

    assert_eq!(probe.sent(), ABC);
}

#[test]
fn resume_reads_on_where_the_handshake_ended() {
    let mut probe = Probe::up(pausing());
    probe.feed(&[BARE_CR, ABC].join(" "));
    probe.connected();

    probe.run(Command::Resume).unwrap();

    assert_eq!(probe.events(), [received(b"abc")]);
    assert!(probe.wants());
    assert_eq!(probe.run(Command::Resume), Err(Error::NotPaused));
}

#[test]
fn the_stream_is_detached_after_the_confirm() {
    let mut probe = Probe::up(pausing());
    probe.feed(BARE_CR);
    probe.connected();
    probe.sent.clear();

    probe.run(Command::Detach(Tag(7))).unwrap();

    assert_eq!(probe.asks(), [hand(b"")]);
    assert_eq!(probe.events(), [closed(EndReason::Detached(Tag(7)))]);
    assert!(probe.is_done);
}

#[test]
fn octets_that_are_not_decoded_are_detached() {
    let mut probe = Probe::up(pausing());
    probe.feed(&[BARE_CR, "16 03 01 00 05"].join(" "));
    probe.connected();

    probe.run(Command::Detach(Tag(7))).unwrap();

    assert_eq!(probe.asks(), [hand(&[0x16, 3, 1, 0, 5])]);
}

#[test]
fn an_initiator_detaches_with_the_octets_behind_the_confirm() {
    let mut probe = Probe::up(Config {
        after_handshake: AfterHandshake::Pause,
        ..bare()
    });
    probe.feed(&[BARE_CC, "16 03"].join(" "));
    probe.connected();

    probe.run(Command::Detach(Tag(7))).unwrap();

    assert_eq!(probe.asks(), [hand(&[0x16, 3])]);
}

#[test]
fn part_of_a_packet_is_detached() {
    for octets in [
        "03",
        "03 00 00 0A",
        "03 00 00 0A 02 F0",
        "03 00 00 0B 06 80 12 34 00",
    ] {
        let mut probe = Probe::responder(anybody());
        probe.feed(octets);

        probe.run(Command::Detach(Tag(7))).unwrap();

        assert_eq!(probe.asks(), [hand(&hex(octets))]);
        assert_eq!(probe.events(), [closed(EndReason::Detached(Tag(7)))]);
    }
}

#[test]
fn part_of_a_message_cannot_be_detached() {
    for (octets, len) in [
        ("03 00 00 0A 02 F0 80", 0),
        ("03 00 00 0A 02 F0 80 61", 1),
        ("03 00 00 09 02 F0 00 61 62", 2),
    ] {
        let mut probe = Probe::responder(anybody());
        probe.feed(octets);

        assert_eq!(
            probe.run(Command::Detach(Tag(7))),
            Err(Error::MidMessage { len })
        );

        assert_eq!((probe.asks(), probe.events()), (Vec::new(), Vec::new()));
        assert!(probe.wants(), "it goes on");
    }
}

#[test]
fn messages_before_a_detach_are_reported_and_none_after_it() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1,
            ..anybody().limits
        },
        ..anybody()
    });
    probe.flood_undrained(&hex(&[ABC, "03 00 00 08 02 F0 80 7A"].join(" ")));

    probe.run(Command::Detach(Tag(7))).unwrap();

    assert_eq!(
        probe.events(),
        [received(b"abc"), closed(EndReason::Detached(Tag(7)))]
    );
    assert_eq!(probe.asks(), [hand(&hex("03 00 00 08 02 F0 80 7A"))]);
}

#[test]
fn queued_messages_are_sent_before_a_detach() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();

    probe.run(Command::Detach(Tag(7))).unwrap();
    assert_eq!(probe.asks(), []);
    assert!(!probe.wants(), "it is the application's already");
    assert_eq!(probe.send(b"more"), Err(Error::Closed));
    assert_eq!(probe.run(Command::Close), Err(Error::Closed));
    probe.link(Link::Free);

    assert_eq!(probe.sent(), ABC);
    assert_eq!(probe.asks(), [hand(b"")]);
}

#[test]
fn a_stream_that_the_peer_finished_is_detached_all_the_same() {
    let mut probe = Probe::up(pausing());
    probe.feed(&[BARE_CR, "16 03"].join(" "));
    probe.connected();
    probe.link(Link::Ended);
    assert_eq!(probe.events(), []);

    probe.run(Command::Detach(Tag(7))).unwrap();

    assert_eq!(probe.asks(), [hand(&[0x16, 3])]);
}

#[test]
fn a_stream_that_the_peer_finished_while_paused_ends_with_resume() {
    let mut probe = Probe::up(pausing());
    probe.feed(&[BARE_CR, ABC].join(" "));
    probe.connected();
    probe.link(Link::Ended);

    probe.run(Command::Resume).unwrap();

    assert_eq!(
        probe.events(),
        [received(b"abc"), closed(EndReason::PeerClosed)]
    );
}

#[test]
fn a_paused_stream_that_fails_cannot_be_detached() {
    for behind in ["", ABC] {
        let mut probe = Probe::up(pausing());
        probe.feed(&[BARE_CR, behind].join(" "));
        probe.connected();

        probe.link(Link::Down(Cause::Reset));

        assert_eq!(probe.events(), [closed(EndReason::Link(Cause::Reset))]);
        assert!(probe.is_done);
    }
}

#[test]
fn a_stream_that_fails_during_a_detach_is_not_detached() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();
    probe.run(Command::Detach(Tag(7))).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.asks(), []);
    assert_eq!(probe.events(), [cut_off(EndReason::Link(Cause::Reset), 3)]);
    assert!(probe.is_done);
}

#[test]
fn octets_that_are_not_a_tpkt_end_the_connection_unless_they_are_offered() {
    let mut closing = Probe::responder(anybody());
    let mut offering = Probe::responder(offering());

    closing.feed("04 80 0A 01");
    offering.feed("04 80 0A 01");

    assert_eq!(closing.reason(), EndReason::Framing(TpktFault::Version(4)));
    assert_eq!(offering.events(), [Event::NonTpkt(4)]);
    assert!(!offering.wants());
    offering.run(Command::Detach(Tag(7))).unwrap();
    assert_eq!(offering.asks(), [hand(&[4, 0x80, 0x0A, 1])]);
}

#[test]
fn octets_that_are_not_a_tpkt_are_offered_after_the_messages_before_them() {
    for chunk in 1..14 {
        let mut probe = Probe::responder(offering());

        for piece in hex(&[ABC, "04"].join(" ")).chunks(chunk) {
            probe.feed_octets(piece);
        }

        assert_eq!(probe.events(), [received(b"abc"), Event::NonTpkt(4)]);
    }
}

#[test]
fn octets_that_are_not_a_tpkt_in_the_middle_of_a_message_are_an_error() {
    let mut probe = Probe::responder(offering());

    probe.feed("03 00 00 08 02 F0 00 61 04 80");

    assert_eq!(probe.reason(), EndReason::Framing(TpktFault::Version(4)));
}

#[test]
fn octets_that_are_not_a_tpkt_before_the_handshake_are_an_error() {
    let mut probe = Probe::up(offering());

    probe.feed("16 03 01");

    assert_eq!(probe.reason(), EndReason::Framing(TpktFault::Version(0x16)));
}

#[test]
fn an_offer_can_be_declined_by_closing_and_is_repeated_on_resume() {
    let mut probe = Probe::responder(offering());
    probe.feed("04 80");
    assert_eq!(probe.events(), [Event::NonTpkt(4)]);

    probe.run(Command::Resume).unwrap();
    assert_eq!(probe.events(), [Event::NonTpkt(4)]);
    probe.run(Command::Close).unwrap();

    assert_eq!(probe.asks(), [Ask::Finish(())]);
    assert!(probe.wants(), "to see the end");
}

#[test]
fn an_offered_stream_that_fails_cannot_be_detached() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1,
            ..offering().limits
        },
        ..offering()
    });
    probe.flood_undrained(&hex(&[ABC, "04 80"].join(" ")));

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(
        probe.events(),
        [
            received(b"abc"),
            Event::NonTpkt(4),
            closed(EndReason::Link(Cause::Reset))
        ]
    );
    assert!(probe.is_done);
}
