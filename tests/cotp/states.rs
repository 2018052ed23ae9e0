//! Each input in each state (ISO 8073 annex A). CR and CC have files of their own.

use bytes::Bytes;
use farlink::{Ask, Cause, Link, Tag};

use crate::cotp_probe::*;

const CR: &str = BARE_CR;
const CC: &str = BARE_CC;
const DR: &str = "03 00 00 0B 06 80 00 01 56 78 02";
const ER: &str = "03 00 00 09 04 70 00 01 02";
const DT: &str = ABC;
const ED: &str = "03 00 00 08 02 10 80 41";
const DC: &str = "03 00 00 0A 05 C0 00 01 56 78";
const AK: &str = "03 00 00 09 04 61 00 01 00";
const EA: &str = "03 00 00 09 04 20 00 01 00";
const RJ: &str = "03 00 00 09 04 50 00 01 00";
/// A TPDU with an unknown code.
const UD: &str = "03 00 00 07 02 40 80";
const BROKEN: &str = "03 00 00 04";

fn unexpected(tpdu: &'static str, awaited: &'static str) -> EndReason {
    EndReason::Unexpected { tpdu, awaited }
}

fn invalid_code() -> EndReason {
    EndReason::Malformed(farlink::wire::DecodeError {
        field: "TPDU code",
        offset: 1,
        fault: farlink::wire::Fault::Value(0x40),
    })
}

fn disconnect() -> Disconnect {
    Disconnect {
        reason: DisconnectReason::NOT_ATTACHED,
        information: Bytes::new(),
        user_data: Bytes::new(),
    }
}

/// Sends a DR or ER in every case in which one can be configured.
fn reporting(config: Config) -> Config {
    Config {
        compat: Compat {
            send_disconnect: SendDisconnect::all(),
            ..config.compat
        },
        ..config
    }
}

/// Passes a packet, and checks the end of the connection and the octets sent before it.
fn ends(mut probe: Probe, packet: &str, event: Event, answer: &str) {
    probe.sent.clear();

    probe.feed(packet);

    assert_eq!(probe.events(), [event], "after {packet}");
    assert_eq!(probe.sent(), answer, "after {packet}");
    assert_eq!(probe.asks(), [Ask::Finish(())], "after {packet}");
}

#[test]
fn awaiting_a_cc_any_other_tpdu_ends_the_connection() {
    for (packet, reason) in [
        (CR, unexpected("CR", "CC")),
        (DR, EndReason::Refused(disconnect())),
        (ER, EndReason::Rejected(RejectCause::TPDU_TYPE)),
        (DT, unexpected("DT", "CC")),
        (ED, unexpected("ED", "CC")),
        (DC, unexpected("DC", "CC")),
        (AK, unexpected("AK", "CC")),
        (EA, unexpected("EA", "CC")),
        (RJ, unexpected("RJ", "CC")),
        (UD, invalid_code()),
        (BROKEN, EndReason::Framing(TpktFault::TooShort(4))),
    ] {
        ends(Probe::up(reporting(bare())), packet, failed(reason), "");
    }
}

#[test]
fn an_er_answers_an_invalid_confirm_when_configured() {
    for (cc, er) in [
        (
            "03 00 00 0B 06 D0 00 02 56 78 00",
            "03 00 00 0F 0A 70 56 78 03 C1 04 06 D0 00 02",
        ),
        (
            "03 00 00 0B 06 D0 00 01 56 78 20",
            "03 00 00 12 0D 70 56 78 03 C1 07 06 D0 00 01 56 78 20",
        ),
        (
            "03 00 00 0E 09 D0 00 01 56 78 00 C0 01 06",
            "03 00 00 15 10 70 56 78 03 C1 0A 09 D0 00 01 56 78 00 C0 01 06",
        ),
    ] {
        let strict = || strictly(Strict::CONFIRM_REFERENCE | Strict::PARAMETERS, bare());
        let mut probe = Probe::up(reporting(strict()));
        let mut silent = Probe::up(strict());
        probe.sent.clear();
        silent.sent.clear();

        probe.feed(cc);
        silent.feed(cc);

        assert_eq!(probe.sent(), er);
        assert_eq!(silent.sent(), "");
    }
}

#[test]
fn awaiting_a_cc_the_end_of_the_stream_is_reported_with_its_likely_causes() {
    let mut probe = Probe::up(bare());

    probe.link(Link::Ended);

    let events = probe.events();
    assert_eq!(events, [failed(EndReason::ClosedBeforeConfirm)]);
    assert_eq!(
        EndReason::ClosedBeforeConfirm.to_string(),
        "closed by the peer before it confirmed the connection; likely causes: an unknown selector, a TPDU size or parameter order it does not take, no free connection"
    );
    assert_eq!(probe.asks(), [Ask::Close(())]);
    assert!(probe.is_done);
}

#[test]
fn awaiting_a_cc_the_cause_of_a_lost_stream_is_reported() {
    for (cause, reason) in [
        (Cause::Reset, EndReason::Link(Cause::Reset)),
        (Cause::TimedOut, EndReason::Link(Cause::TimedOut)),
        (Cause::Closed, EndReason::ClosedBeforeConfirm),
    ] {
        let mut probe = Probe::up(bare());

        probe.link(Link::Down(cause));

        assert_eq!(probe.events(), [failed(reason)]);
        assert_eq!(probe.asks(), []);
        assert!(probe.is_done);
    }
}

#[test]
fn a_stream_that_cannot_be_connected_is_reported_with_its_cause() {
    let mut probe = Probe::new(bare());

    probe.link(Link::Down(Cause::Refused));

    assert_eq!(probe.events(), [failed(EndReason::Link(Cause::Refused))]);
    assert!(probe.is_done);
}

#[test]
fn before_the_connection_is_open_commands_are_refused() {
    let waiting = || Probe::new(bare());
    let requesting = || Probe::up(bare());
    let listening = || Probe::up(asking());
    let deciding = || {
        let mut probe = listening();
        probe.feed(CR);
        probe.indication();
        probe
    };
    for make in [
        &waiting as &dyn Fn() -> Probe,
        &requesting,
        &listening,
        &deciding,
    ] {
        let mut probe = make();
        for command in [
            Command::Send(Bytes::from_static(b"a")),
            Command::SendExpedited(Bytes::from_static(b"a")),
            Command::Flush(Tag(1)),
            Command::Resume,
            Command::Detach(Tag(1)),
        ] {
            assert_eq!(probe.run(command), Err(Error::NotOpen));
        }
    }
    for make in [&waiting as &dyn Fn() -> Probe, &requesting, &listening] {
        let mut probe = make();
        let refusal = Refusal::from(DisconnectReason::CONGESTION);
        assert_eq!(
            probe.run(Command::Accept(Acceptance::default())),
            Err(Error::NoIndication)
        );
        assert_eq!(
            probe.run(Command::Refuse(refusal)),
            Err(Error::NoIndication)
        );
    }
}

#[test]
fn on_an_open_connection_commands_that_fit_no_state_are_refused() {
    let mut probe = Probe::responder(anybody());

    assert_eq!(
        probe.run(Command::Accept(Acceptance::default())),
        Err(Error::NoIndication)
    );
    assert_eq!(probe.run(Command::Resume), Err(Error::NotPaused));
}

#[test]
fn after_the_end_commands_are_refused_and_close_has_no_effect() {
    let mut closing = Probe::responder(anybody());
    closing.run(Command::Close).unwrap();
    let mut gone = Probe::responder(anybody());
    gone.link(Link::Down(Cause::Reset));

    for probe in [&mut closing, &mut gone] {
        for command in [
            Command::Accept(Acceptance::default()),
            Command::Refuse(Refusal::from(DisconnectReason::CONGESTION)),
            Command::Send(Bytes::from_static(b"a")),
            Command::SendExpedited(Bytes::from_static(b"a")),
            Command::Flush(Tag(1)),
            Command::Resume,
            Command::Detach(Tag(1)),
        ] {
            assert_eq!(probe.run(command), Err(Error::Closed));
        }
        assert_eq!(probe.run(Command::Close), Ok(()));
    }
}

#[test]
fn awaiting_a_cr_any_other_tpdu_ends_the_connection_without_an_answer() {
    for (packet, reason) in [
        (CC, unexpected("CC", "CR")),
        (DR, unexpected("DR", "CR")),
        (ER, unexpected("ER", "CR")),
        (DT, unexpected("DT", "CR")),
        (ED, unexpected("ED", "CR")),
        (DC, unexpected("DC", "CR")),
        (AK, unexpected("AK", "CR")),
        (EA, unexpected("EA", "CR")),
        (RJ, unexpected("RJ", "CR")),
        (UD, invalid_code()),
        (BROKEN, EndReason::Framing(TpktFault::TooShort(4))),
    ] {
        ends(Probe::up(reporting(anybody())), packet, failed(reason), "");
    }
}

#[test]
fn awaiting_a_cr_the_end_of_the_stream_is_reported() {
    let mut finished = Probe::up(anybody());
    let mut reset = Probe::up(anybody());

    finished.link(Link::Ended);
    reset.link(Link::Down(Cause::Reset));

    assert_eq!(finished.events(), [failed(EndReason::ClosedBeforeRequest)]);
    assert_eq!(finished.asks(), [Ask::Close(())]);
    assert_eq!(reset.events(), [failed(EndReason::Link(Cause::Reset))]);
    assert!(finished.is_done && reset.is_done);
}

#[test]
fn octets_wait_for_the_decision_of_the_application() {
    for (packet, reason) in [
        (CR, unexpected("CR", "DT")),
        (DR, EndReason::Disconnected(disconnect())),
        (ED, unexpected("ED", "DT")),
        (BROKEN, EndReason::Framing(TpktFault::TooShort(4))),
    ] {
        let mut probe = Probe::up(asking());
        probe.feed(CR);
        probe.indication();

        probe.feed(packet);
        assert_eq!(probe.events(), [], "{packet} waits");
        assert!(!probe.wants(), "a held stream is not wanted");
        probe.run(Command::Accept(Acceptance::default())).unwrap();

        let events = probe.events();
        assert!(matches!(&events[0], Event::Connected(_)));
        assert_eq!(events[1..], [closed(reason)]);
    }
}

#[test]
fn pipelined_data_is_delivered_after_accept() {
    let mut probe = Probe::up(asking());

    probe.feed(&[CR, ABC, "03 00 00 08 02"].join(" "));
    probe.indication();
    assert!(!probe.wants());
    probe.run(Command::Accept(Acceptance::default())).unwrap();

    let events = probe.events();
    assert!(matches!(&events[0], Event::Connected(_)));
    assert_eq!(events[1..], [received(b"abc")]);
    assert!(probe.wants());
    probe.feed("F0 80 7A");
    assert_eq!(probe.events(), [received(b"z")]);
}

#[test]
fn pipelined_data_is_delivered_at_once_where_every_request_is_accepted() {
    let mut probe = Probe::up(anybody());

    probe.feed(&[CR, ABC].join(" "));

    let events = probe.events();
    assert!(matches!(&events[0], Event::Connected(_)));
    assert_eq!(events[1..], [received(b"abc")]);
}

#[test]
fn pipelined_data_of_a_refused_request_are_dropped() {
    let mut probe = Probe::up(asking());
    probe.feed(&[CR, ABC].join(" "));
    probe.indication();

    probe
        .run(Command::Refuse(DisconnectReason::NOT_ATTACHED.into()))
        .unwrap();

    assert_eq!(
        probe.events(),
        [failed(EndReason::Declined(DisconnectReason::NOT_ATTACHED))]
    );
}

#[test]
fn a_peer_that_closes_before_the_decision_is_reported() {
    for (end, reason) in [
        (Link::Ended, EndReason::PeerClosed),
        (Link::Down(Cause::Reset), EndReason::Link(Cause::Reset)),
    ] {
        let mut probe = Probe::up(asking());
        probe.feed(CR);
        probe.indication();

        probe.link(end);

        assert_eq!(probe.events(), [failed(reason)]);
        assert_eq!(
            probe.run(Command::Accept(Acceptance::default())),
            Err(Error::Closed)
        );
    }
}

#[test]
fn the_close_of_a_peer_behind_unread_octets_waits_for_the_decision() {
    let mut probe = Probe::up(asking());
    probe.feed(&[CR, ABC].join(" "));
    probe.indication();

    probe.link(Link::Ended);
    assert_eq!(probe.events(), []);
    probe.run(Command::Accept(Acceptance::default())).unwrap();

    let events = probe.events();
    assert_eq!(
        events[1..],
        [received(b"abc"), closed(EndReason::PeerClosed)]
    );
}

#[test]
fn a_stream_that_fails_before_the_decision_drops_unread_octets() {
    let mut probe = Probe::up(asking());
    probe.feed(&[CR, ABC].join(" "));
    probe.indication();

    probe.link(Link::Down(Cause::Reset));

    assert_eq!(probe.events(), [failed(EndReason::Link(Cause::Reset))]);
    assert!(probe.is_done);
}

#[test]
fn on_an_open_connection_any_tpdu_but_data_is_the_end() {
    let initiator = || Probe::initiator(bare());
    let responder = || Probe::responder(anybody());
    for make in [&initiator as &dyn Fn() -> Probe, &responder] {
        for (packet, reason) in [
            (CR, unexpected("CR", "DT")),
            (CC, unexpected("CC", "DT")),
            (DR, EndReason::Disconnected(disconnect())),
            (ER, EndReason::Rejected(RejectCause::TPDU_TYPE)),
            (ED, unexpected("ED", "DT")),
            (DC, unexpected("DC", "DT")),
            (AK, unexpected("AK", "DT")),
            (EA, unexpected("EA", "DT")),
            (RJ, unexpected("RJ", "DT")),
            (UD, invalid_code()),
            (BROKEN, EndReason::Framing(TpktFault::TooShort(4))),
        ] {
            ends(make(), packet, closed(reason), "");
        }
    }
}

#[test]
fn an_er_is_sent_before_the_close_when_configured() {
    for (packet, report) in [
        (CR, "03 00 00 0D 08 70 12 34 02 C1 02 06 E0"),
        (ED, "03 00 00 0D 08 70 12 34 02 C1 02 02 10"),
        (UD, "03 00 00 0D 08 70 12 34 02 C1 02 02 40"),
        (
            "03 00 00 08 03 F0 80 61",
            "03 00 00 0C 07 70 12 34 03 C1 01 03",
        ),
        (
            "03 00 00 08 02 F1 80 61",
            "03 00 00 0D 08 70 12 34 02 C1 02 02 F1",
        ),
        (
            "03 00 00 08 02 F0 81 61",
            "03 00 00 0E 09 70 12 34 03 C1 03 02 F0 81",
        ),
        // Never for a DR or an ER, nor for octets that are not a packet.
        (DR, ""),
        (ER, ""),
        ("03 00 00 08 03 70 00 01", ""),
        ("03 00 00 0A 04 70 00 01 02 77", ""),
        (BROKEN, ""),
    ] {
        let mut probe = Probe::responder(Config {
            compat: Compat {
                send_disconnect: SendDisconnect::PROTOCOL_ERROR,
                ..strictly(Strict::all(), anybody()).compat
            },
            ..strictly(Strict::all(), anybody())
        });

        probe.feed(packet);

        assert_eq!(probe.sent(), report, "after {packet}");
        assert_eq!(probe.asks(), [Ask::Finish(())]);
    }
}

#[test]
fn an_er_fits_the_negotiated_size() {
    let mut probe = Probe::responder(Config {
        tpdu_size: TpduSize::SMALLEST,
        compat: Compat {
            send_disconnect: SendDisconnect::PROTOCOL_ERROR,
            ..anybody().compat
        },
        ..anybody()
    });
    // A DC whose fault lies behind a header of 255 octets.
    let mut packet = hex("03 00 01 04 FE C0 00 01 56 78");
    packet.resize(0x104, 0);

    probe.feed_octets(&packet);

    assert_eq!(probe.sent.len(), 4 + 128);
    assert_eq!(probe.sent[4..11], [127, 0x70, 0x12, 0x34, 3, 0xC1, 121]);
}

#[test]
fn the_end_of_the_stream_ends_an_open_connection() {
    for (end, reason) in [
        (Link::Ended, EndReason::PeerClosed),
        (Link::Down(Cause::Closed), EndReason::PeerClosed),
        (Link::Down(Cause::Reset), EndReason::Link(Cause::Reset)),
    ] {
        let mut probe = Probe::responder(anybody());

        probe.link(end);

        assert_eq!(probe.events(), [closed(reason)]);
        assert!(probe.is_done);
    }
}

#[test]
fn while_closing_everything_is_discarded() {
    for packet in [
        CR, CC, DR, ER, DT, ED, DC, AK, EA, RJ, UD, BROKEN, "FF FF FF",
    ] {
        let mut probe = Probe::responder(anybody());
        probe.run(Command::Close).unwrap();
        assert_eq!(probe.asks(), [Ask::Finish(())]);
        let wait = probe.wait();

        probe.feed(packet);

        assert_eq!(
            (probe.sent(), probe.events(), probe.asks()),
            (String::new(), Vec::new(), Vec::new())
        );
        assert_eq!(probe.wait(), wait, "the wait goes on");
        assert_eq!(probe.machine.stats().discarded, hex(packet).len() as u64);
        assert!(probe.wants(), "or the end would not be seen");
    }
}

#[test]
fn a_dc_behind_our_dr_ends_the_wait() {
    for chunk in [1, 3, 100] {
        let mut probe = Probe::responder(Config {
            compat: Compat {
                send_disconnect: SendDisconnect::CLOSE,
                ..anybody().compat
            },
            ..anybody()
        });
        probe.feed("03 00 00");
        probe.run(Command::Close).unwrap();
        assert_eq!(probe.sent(), "03 00 00 0B 06 80 12 34 00 01 00");
        assert_eq!(probe.asks(), [Ask::Finish(())]);

        let rest = hex(&["0A 02 F0 80 61 62 63", DC].join(" "));
        rest.chunks(chunk)
            .for_each(|chunk| probe.feed_octets(chunk));

        assert_eq!(probe.events(), [closed(EndReason::Closed)]);
        assert_eq!(probe.asks(), [Ask::Close(())]);
        assert!(probe.is_done);
    }
}

#[test]
fn a_dc_behind_unread_octets_ends_the_wait_too() {
    let mut probe = Probe::up(Config {
        after_handshake: AfterHandshake::Pause,
        compat: Compat {
            send_disconnect: SendDisconnect::CLOSE,
            ..anybody().compat
        },
        ..anybody()
    });
    probe.feed(&[CR, "03 00 00 0A 02 F0"].join(" "));
    probe.connected();
    probe.run(Command::Close).unwrap();
    probe.asks();

    probe.feed(&["80 61 62 63", DC].join(" "));

    assert_eq!(probe.events(), [closed(EndReason::Closed)]);
    assert_eq!(probe.asks(), [Ask::Close(())]);
}

#[test]
fn octets_behind_a_framing_fault_are_no_dc() {
    let mut probe = Probe::responder(Config {
        compat: Compat {
            send_disconnect: SendDisconnect::CLOSE,
            ..anybody().compat
        },
        ..anybody()
    });
    probe.run(Command::Close).unwrap();
    probe.asks();

    probe.feed(&["07", DC].join(" "));
    probe.feed(DC);

    assert_eq!(probe.events(), []);
    assert_eq!(probe.asks(), []);
}

#[test]
fn octets_before_the_stream_is_up_are_an_overrun() {
    let mut probe = Probe::new(bare());
    assert!(!probe.wants());

    probe.flood(&hex(CC));

    assert_eq!(probe.events(), [failed(EndReason::Overrun)]);
    assert!(probe.is_done);
}

#[test]
fn a_confirm_and_data_in_one_read_are_reported_in_order() {
    let mut probe = Probe::up(bare());

    probe.feed(&[CC, ABC].join(" "));

    let events = probe.events();
    assert!(matches!(&events[0], Event::Connected(_)));
    assert_eq!(events[1..], [received(b"abc")]);
}
