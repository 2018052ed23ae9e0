//! The end of a connection: closed by this side, closed by the peer, or failed.

use bytes::Bytes;
use farlink::{Ask, Cause, Limits, Link, Output};

use crate::cotp_probe::*;

/// Chunks of 10 octets, so that a message takes several sends.
fn slow() -> Probe {
    let mut probe = Probe::with_limits(anybody(), Limits::stream(10));
    probe.link(Link::Up);
    probe.feed(BARE_CR);
    probe.forget("Connected");
    probe
}

#[test]
fn close_ends_our_side_and_waits_for_the_other() {
    let mut probe = Probe::responder(anybody());

    probe.run(Command::Close).unwrap();
    assert_eq!(probe.asks(), [Ask::Finish(())]);
    assert_eq!(probe.events(), [], "not closed yet");
    probe.link(Link::Ended);

    assert_eq!(probe.events(), [closed(EndReason::Closed)]);
    assert_eq!(probe.asks(), [Ask::Close(())]);
    assert_eq!(probe.sent(), "", "class 0 ends with its stream");
    assert!(probe.is_done);
}

#[test]
fn close_flushes_before_fin() {
    let mut probe = slow();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"a long message")))
        .unwrap();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"and another")))
        .unwrap();

    probe.run_undrained(Command::Close).unwrap();
    while let Output::Transmit = probe.poll() {
        assert_eq!(probe.asks(), []);
        probe.sent.extend_from_slice(probe.tx.octets());
    }

    let mut expected = hex("03 00 00 15 02 F0 80");
    expected.extend_from_slice(b"a long message");
    expected.extend_from_slice(&hex("03 00 00 12 02 F0 80"));
    expected.extend_from_slice(b"and another");
    assert_eq!(probe.sent, expected);
}

#[test]
fn no_fin_while_the_link_is_full() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();

    probe.run(Command::Close).unwrap();
    assert_eq!((probe.sent(), probe.asks()), (String::new(), Vec::new()));
    probe.link(Link::Free);

    assert_eq!(probe.sent(), ABC);
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn a_dr_is_sent_before_the_close_when_configured() {
    let mut probe = Probe::responder(Config {
        compat: Compat {
            send_disconnect: SendDisconnect::CLOSE,
            ..anybody().compat
        },
        ..anybody()
    });
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abc")))
        .unwrap();

    probe.run(Command::Close).unwrap();

    assert_eq!(
        probe.sent(),
        [ABC, "03 00 00 0B 06 80 12 34 00 01 00"].join(" "),
        "reason 0: iec61850bean takes none above 4"
    );
}

#[test]
fn close_before_the_stream_is_up_is_done_at_once() {
    let mut probe = Probe::new(bare());

    probe.run(Command::Close).unwrap();
    assert_eq!(probe.events(), [failed(EndReason::Closed)]);
    assert!(probe.is_done);

    probe.link(Link::Up);
    assert!(probe.is_done, "done is done");
}

#[test]
fn close_before_the_connection_is_open_is_a_failure() {
    let deciding = || {
        let mut probe = Probe::up(asking());
        probe.feed(BARE_CR);
        probe.indication();
        probe
    };
    for mut probe in [Probe::up(bare()), Probe::up(anybody()), deciding()] {
        probe.sent.clear();

        probe.run(Command::Close).unwrap();
        assert_eq!(probe.sent(), "");
        assert_eq!(probe.asks(), [Ask::Finish(())]);
        probe.link(Link::Ended);

        assert_eq!(probe.events(), [failed(EndReason::Closed)]);
        assert!(probe.is_done);
    }
}

#[test]
fn fin_between_packets_is_clean_and_inside_one_is_truncation() {
    for (octets, incomplete) in [
        (ABC, 0),
        ("03", 1),
        ("03 00 00 0A 02 F0", 6),
        ("03 00 00 0A 02 F0 80", 7),
        ("03 00 00 0A 02 F0 80 61", 8),
        ("03 00 00 09 02 F0 00 61 62", 2),
        ("03 00 00 09 02 F0 00 61 62 03 00", 4),
        ("03 00 00 09 02 F0 00 61 62 03 00 00 09 02 F0 80 63", 10),
        ("03 00 00 09 04 70 00", 7),
    ] {
        let mut probe = Probe::responder(anybody());
        probe.feed(octets);
        probe.events();

        probe.link(Link::Ended);

        let Event::Closed(end) = probe.event() else {
            panic!("not closed after {octets}");
        };
        assert_eq!(end.reason, EndReason::PeerClosed);
        assert_eq!(end.incomplete, incomplete, "after {octets}");
    }
}

#[test]
fn the_text_of_an_end_counts_what_was_lost() {
    let clean = ConnectionEnd {
        reason: EndReason::PeerClosed,
        incomplete: 0,
        unsent: 0,
    };
    let truncated = ConnectionEnd {
        incomplete: 8,
        unsent: 3,
        ..clean.clone()
    };

    let lost = ConnectionEnd {
        unsent: 3,
        ..clean.clone()
    };
    let unanswered = ConnectionEnd {
        reason: EndReason::ClosedBeforeConfirm,
        incomplete: 4,
        unsent: 0,
    };

    assert_eq!(clean.to_string(), "closed by the peer");
    assert_eq!(
        truncated.to_string(),
        "closed by the peer (8 octets of an unfinished message dropped, 3 octets not sent)"
    );
    assert_eq!(lost.to_string(), "closed by the peer (3 octets not sent)");
    assert_eq!(
        unanswered.to_string(),
        "closed by the peer before it confirmed the connection; likely causes: an unknown selector, \
         a TPDU size or parameter order it does not take, no free connection (4 octets of an unfinished message dropped)"
    );
}

#[test]
fn messages_ahead_of_the_end_are_delivered() {
    let mut probe = Probe::responder(anybody());
    probe.flood_undrained(&hex(ABC));

    probe.link(Link::Ended);

    assert_eq!(
        probe.events(),
        [received(b"abc"), closed(EndReason::PeerClosed)]
    );
}

#[test]
fn messages_ahead_of_a_reset_are_delivered_even_when_they_were_not_read() {
    let mut probe = Probe::responder(Config {
        limits: ConnectionLimits {
            receive_queue: 1,
            ..anybody().limits
        },
        ..anybody()
    });
    probe.flood_undrained(&hex(&[ABC, ABC, ABC].join(" ")));

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(
        probe.events(),
        [
            received(b"abc"),
            received(b"abc"),
            received(b"abc"),
            closed(EndReason::Link(Cause::Reset))
        ]
    );
}

#[test]
fn unsent_octets_are_counted() {
    let mut probe = slow();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"a long message")))
        .unwrap();
    assert_eq!(probe.poll(), Output::Transmit);

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(
        probe.events(),
        [cut_off(EndReason::Link(Cause::Reset), 11)],
        "3 of 14 octets are out"
    );
}

#[test]
fn queued_messages_are_sent_after_the_fin_of_the_peer() {
    let mut probe = Probe::responder(anybody());
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abc")))
        .unwrap();

    probe.link(Link::Ended);

    assert_eq!(probe.sent(), ABC);
    assert_eq!(probe.events(), [cut_off(EndReason::PeerClosed, 3)]);
    assert_eq!(probe.asks(), [Ask::Close(())]);
}

#[test]
fn a_stream_that_fails_while_closing_reports_what_was_lost() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [cut_off(EndReason::Link(Cause::Reset), 3)]);
    assert!(probe.is_done);
}

#[test]
fn a_stream_that_fails_while_the_link_is_full_was_not_closed_by_this_side() {
    let mut probe = Probe::responder(anybody());
    probe.send(b"abc").unwrap();
    probe.link(Link::Full);
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [closed(EndReason::Link(Cause::Reset))]);
}

#[test]
fn a_stream_that_fails_after_our_fin_is_closed() {
    let mut probe = Probe::responder(anybody());
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [closed(EndReason::Closed)]);
    assert!(probe.is_done);
}

#[test]
fn the_end_is_reported_once() {
    let mut probe = Probe::responder(anybody());
    probe.feed("03 00 00 0B 06 80 00 01 12 34 00");
    assert!(matches!(probe.reason(), EndReason::Disconnected(_)));

    probe.run(Command::Close).unwrap();
    probe.link(Link::Ended);
    probe.link(Link::Down(Cause::Reset));
    probe.pass(60 * SECOND);

    assert_eq!(probe.events(), []);
    assert!(probe.is_done);
}

#[test]
fn both_ends_of_a_pair_close() {
    let mut pair = Pair::open(Config::default(), anybody());
    pair.initiator.send(b"last words").unwrap();

    pair.initiator.run(Command::Close).unwrap();
    pair.pump();

    assert_eq!(pair.initiator.events(), [closed(EndReason::Closed)]);
    assert_eq!(
        pair.responder.events(),
        [received(b"last words"), closed(EndReason::PeerClosed)]
    );
    assert!(pair.initiator.is_done && pair.responder.is_done);
}

#[test]
fn a_refused_initiator_learns_the_reason() {
    let policy = Policy::Selectors(Vec::from([Selector::from(1)]));
    let mut pair = Pair::new(
        Config::initiator(None, Some(Selector::from(2))),
        Config::responder(policy),
    );

    assert!(matches!(
        pair.initiator.reason(),
        EndReason::Refused(Disconnect {
            reason: DisconnectReason::ADDRESS_UNKNOWN,
            ..
        })
    ));
    assert_eq!(
        pair.responder.reason(),
        EndReason::Declined(DisconnectReason::ADDRESS_UNKNOWN)
    );
    assert!(pair.initiator.is_done && pair.responder.is_done);
}
