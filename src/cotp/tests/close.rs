//! Closing: by this side, by the peer, in order and not.

use super::*;

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

    assert_eq!(probe.events(), [closed(Reason::Closed)]);
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
fn no_fin_while_the_carrier_is_full() {
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
fn a_dr_goes_ahead_of_the_close_when_configured() {
    let mut probe = Probe::responder(Config {
        farewell: SendDisconnect::CLOSE,
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
    assert_eq!(probe.events(), [failed(Reason::Closed)]);
    assert!(probe.is_done);

    probe.link(Link::Up);
    assert!(probe.is_done, "done is done");
}

#[test]
fn close_before_the_connection_is_open_says_that_it_failed() {
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

        assert_eq!(probe.events(), [failed(Reason::Closed)]);
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
        assert_eq!(end.reason, Reason::PeerClosed);
        assert_eq!(end.incomplete, incomplete, "after {octets}");
    }
}

#[test]
fn truncation_has_words_of_its_own() {
    let clean = End {
        reason: Reason::PeerClosed,
        incomplete: 0,
        unsent: 0,
    };
    let cut = End {
        incomplete: 8,
        unsent: 3,
        ..clean.clone()
    };

    let lost = End {
        unsent: 3,
        ..clean.clone()
    };
    let unanswered = End {
        reason: Reason::ClosedBeforeConfirm,
        incomplete: 4,
        unsent: 0,
    };

    assert_eq!(clean.to_string(), "closed by the peer");
    assert_eq!(
        cut.to_string(),
        "closed by the peer (8 octets of an unfinished message dropped, 3 octets not sent)"
    );
    assert_eq!(lost.to_string(), "closed by the peer (3 octets not sent)");
    assert_eq!(
        unanswered.to_string(),
        "closed before the connection was confirmed: wrong selector? \
         (4 octets of an unfinished message dropped)"
    );
}

#[test]
fn messages_ahead_of_the_end_are_delivered() {
    let mut probe = Probe::responder(anybody());
    probe.flood_undrained(&hex(ABC));

    probe.link(Link::Ended);

    assert_eq!(
        probe.events(),
        [received(b"abc"), closed(Reason::PeerClosed)]
    );
}

#[test]
fn messages_ahead_of_a_reset_are_delivered_even_when_they_were_held() {
    let mut probe = Probe::responder(Config {
        receive_queue: 1,
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
            closed(Reason::Link(Cause::Reset))
        ]
    );
}

#[test]
fn what_could_not_be_sent_is_counted() {
    let mut probe = slow();
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"a long message")))
        .unwrap();
    assert_eq!(probe.poll(), Output::Transmit);

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(
        probe.events(),
        [cut_off(Reason::Link(Cause::Reset), 11)],
        "3 of 14 octets are out"
    );
}

#[test]
fn accepted_messages_go_out_behind_the_fin_of_the_peer() {
    let mut probe = Probe::responder(anybody());
    probe
        .run_undrained(Command::Send(Bytes::from_static(b"abc")))
        .unwrap();

    probe.link(Link::Ended);

    assert_eq!(probe.sent(), ABC);
    assert_eq!(probe.events(), [cut_off(Reason::PeerClosed, 3)]);
    assert_eq!(probe.asks(), [Ask::Close(())]);
}

#[test]
fn a_stream_that_breaks_while_closing_says_what_was_lost() {
    let mut probe = Probe::responder(anybody());
    probe.link(Link::Full);
    probe.send(b"abc").unwrap();
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [cut_off(Reason::Link(Cause::Reset), 3)]);
    assert!(probe.is_done);
}

#[test]
fn a_stream_that_breaks_under_a_full_carrier_was_not_closed_in_order() {
    let mut probe = Probe::responder(anybody());
    probe.send(b"abc").unwrap();
    probe.link(Link::Full);
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [closed(Reason::Link(Cause::Reset))]);
}

#[test]
fn a_stream_that_breaks_behind_our_fin_is_closed() {
    let mut probe = Probe::responder(anybody());
    probe.run(Command::Close).unwrap();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [closed(Reason::Closed)]);
    assert!(probe.is_done);
}

#[test]
fn the_end_is_told_once() {
    let mut probe = Probe::responder(anybody());
    probe.feed("03 00 00 0B 06 80 00 01 12 34 00");
    assert!(matches!(probe.reason(), Reason::Disconnected(_)));

    probe.run(Command::Close).unwrap();
    probe.link(Link::Ended);
    probe.link(Link::Down(Cause::Reset));
    probe.pass(60 * SECOND);

    assert_eq!(probe.events(), []);
    assert!(probe.is_done);
}

#[test]
fn both_ends_of_a_pair_close_in_order() {
    let mut pair = Pair::open(Config::default(), anybody());
    pair.initiator.send(b"last words").unwrap();

    pair.initiator.run(Command::Close).unwrap();
    pair.pump();

    assert_eq!(pair.initiator.events(), [closed(Reason::Closed)]);
    assert_eq!(
        pair.responder.events(),
        [received(b"last words"), closed(Reason::PeerClosed)]
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
        Reason::Refused(Disconnect {
            reason: DisconnectReason::ADDRESS_UNKNOWN,
            ..
        })
    ));
    assert_eq!(
        pair.responder.reason(),
        Reason::Declined(DisconnectReason::ADDRESS_UNKNOWN)
    );
    assert!(pair.initiator.is_done && pair.responder.is_done);
}
