//! Deviations of deployed peers: tolerated and counted, or refused under a flag of [`Strict`].

use crate::cotp_probe::*;

/// A DR without its reason, as some peers send it.
const SHORT_DR: &str = "03 00 00 0A 05 80 00 01 56 78";
/// An ER without its cause.
const SHORT_ER: &str = "03 00 00 08 03 70 00 01";

#[test]
fn a_confirm_for_any_reference_opens_the_connection() {
    for reference in ["00 00", "00 02", "56 78", "FF FF"] {
        let mut probe = Probe::up(bare());

        probe.feed(&["03 00 00 0B 06 D0", reference, "56 78 00"].join(" "));

        assert_eq!(probe.connected().reference, 0x5678, "for {reference}");
        assert_eq!(probe.machine.stats().tolerated, 1);
    }
}

#[test]
fn a_confirm_for_another_reference_is_refused_when_strict() {
    let mut probe = Probe::up(strictly(Strict::CONFIRM_REFERENCE, bare()));

    probe.feed("03 00 00 0B 06 D0 00 02 56 78 00");

    assert_eq!(
        probe.events(),
        [failed(EndReason::ProtocolError(ProtocolError::Reference {
            expected: 1,
            found: 2
        }))]
    );
}

#[test]
fn reference_0_is_sent_when_configured() {
    let mut probe = Probe::up(Config {
        compat: Compat {
            reference: Some(0),
            ..bare().compat
        },
        ..bare()
    });

    assert_eq!(probe.sent(), "03 00 00 0B 06 E0 00 00 00 00 00");
}

#[test]
fn an_octet_behind_the_parameter_list_is_tolerated_unless_strict() {
    let cr = "03 00 00 10 0B E0 00 00 12 34 00 C0 01 0A 00 00";
    let long_request = "03 00 00 0F 0A E0 00 00 12 34 00 C0 01 0A 00";
    let with_octet = "03 00 00 0F 0A D0 00 01 56 78 00 C0 01 0A 00";
    let malformed = "malformed TPDU: parameter length at offset 11: needs 1 octets, 0 left";

    let mut list = Probe::up(anybody());
    list.feed(cr);
    assert_eq!(list.connected().tpdu_size, 1024, "a parameter of 0 octets");
    assert_eq!(list.machine.stats().tolerated, 0);
    for (config, tpdu) in [(anybody(), long_request), (Config::default(), with_octet)] {
        let mut lenient = Probe::up(config.clone());
        let mut strict = Probe::up(strictly(Strict::PARAMETERS, config));

        lenient.feed(tpdu);
        strict.feed(tpdu);

        assert_eq!(lenient.connected().tpdu_size, 1024);
        assert_eq!(lenient.machine.stats().tolerated, 1);
        assert_eq!(strict.reason().to_string(), malformed);
    }
}

/// Unless they begin a parameter that is read: part of a selector may be missing.
#[test]
fn octets_behind_the_parameter_list_are_tolerated_unless_strict() {
    for octets in ["FF FF FF", "00 05", "80 80 80 80", "0D 0A 0D"] {
        let len = 0x0A + hex(octets).len();
        let head = format!("03 00 00 {:02X} {:02X}", len + 4, len - 1);
        let cr = format!("{head} E0 00 00 12 34 00 C0 01 0A {octets}");
        let cc = format!("{head} D0 00 01 56 78 00 C0 01 0A {octets}");
        for (config, tpdu) in [(anybody(), cr), (Config::default(), cc)] {
            let mut lenient = Probe::up(config.clone());
            let mut strict = Probe::up(strictly(Strict::PARAMETERS, config));

            lenient.feed(&tpdu);
            strict.feed(&tpdu);

            assert_eq!(lenient.connected().tpdu_size, 1024, "{tpdu}");
            assert_eq!(lenient.machine.stats().tolerated, 1);
            assert!(matches!(strict.reason(), EndReason::Malformed(_)));
        }
    }
}

#[test]
fn a_malformed_dr_or_er_counts_as_one_without_a_reason_unless_strict() {
    let no_reason = Disconnect {
        reason: DisconnectReason::NOT_SPECIFIED,
        information: bytes::Bytes::new(),
        user_data: bytes::Bytes::new(),
    };
    let no_cause = EndReason::Rejected(RejectCause::NOT_SPECIFIED);
    for (tpdu, before, after) in [
        (
            SHORT_DR,
            EndReason::Refused(no_reason.clone()),
            EndReason::Disconnected(no_reason.clone()),
        ),
        (SHORT_ER, no_cause.clone(), no_cause.clone()),
        // A header longer than the TPDU.
        (
            "03 00 00 0B 09 80 00 01 56 78 80",
            EndReason::Refused(no_reason.clone()),
            EndReason::Disconnected(no_reason),
        ),
    ] {
        let mut awaiting_cc = Probe::up(bare());
        let mut open = Probe::initiator(bare());
        let mut strict = Probe::initiator(strictly(Strict::DISCONNECT, bare()));

        for probe in [&mut awaiting_cc, &mut open, &mut strict] {
            probe.feed(tpdu);
        }

        assert_eq!(awaiting_cc.events(), [failed(before)]);
        assert_eq!(open.events(), [closed(after)]);
        assert_eq!(open.machine.stats().tolerated, 1);
        assert!(matches!(strict.reason(), EndReason::Malformed(_)));
    }
}

#[test]
fn an_end_is_clean_when_either_side_closed_and_nothing_was_lost() {
    let by_dr = |reason| {
        EndReason::Disconnected(Disconnect {
            reason: DisconnectReason(reason),
            information: bytes::Bytes::new(),
            user_data: bytes::Bytes::new(),
        })
    };
    for reason in [
        EndReason::Closed,
        EndReason::HalfClosed(2 * SECOND),
        EndReason::Detached(farlink::Tag(1)),
        EndReason::PeerClosed,
        by_dr(0),
        by_dr(128),
    ] {
        let end = end_for(reason);

        assert!(end.is_clean(), "{end}");
        let (unsent, incomplete) = (1, 1);
        assert!(
            !ConnectionEnd {
                unsent,
                ..end.clone()
            }
            .is_clean(),
            "{end}"
        );
        assert!(!ConnectionEnd { incomplete, ..end }.is_clean());
    }
    for reason in [
        by_dr(1),
        by_dr(133),
        EndReason::Link(farlink::Cause::Reset),
        EndReason::Rejected(RejectCause::NOT_SPECIFIED),
        EndReason::Idle(SECOND),
        EndReason::ClosedBeforeConfirm,
    ] {
        let end = end_for(reason);

        assert!(!end.is_clean(), "{end}");
    }
}

/// As python-snap7 and plc4x close a connection.
#[test]
fn a_dr_with_a_normal_reason_is_a_clean_end_behind_the_last_message() {
    for dr in [
        "03 00 00 0C 06 80 00 01 00 01 00 00",
        "03 00 00 0B 06 80 00 01 00 01 80",
        "03 00 00 0B 06 80 00 00 00 01 00",
    ] {
        let mut probe = Probe::responder(anybody());

        probe.feed(&[ABC, dr].join(" "));

        let events = probe.events();
        assert_eq!(events[0], received(b"abc"));
        let Event::Closed(end) = &events[1] else {
            panic!("{events:?}");
        };
        assert!(end.is_clean(), "{end}");
    }
}
