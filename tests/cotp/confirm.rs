//! The CC as an initiator handles it.

use bytes::Bytes;
use farlink::Ask;

use crate::cotp_probe::*;

fn calling() -> Config {
    Config::initiator(selector(&[1, 0]), selector(&[1, 2]))
}

/// Makes an initiator that has received this answer.
fn answered(config: Config, answer: &str) -> Probe {
    let mut probe = Probe::up(config);
    probe.feed(answer);
    probe
}

#[test]
fn a_confirm_opens_the_connection() {
    let mut probe = answered(
        calling(),
        "03 00 00 18 11 D0 00 01 00 44 00 C0 01 0A C1 02 01 00 C2 02 01 02 68 69",
    );

    assert_eq!(
        probe.connected(),
        Connected {
            calling: selector(&[1, 0]),
            called: selector(&[1, 2]),
            tpdu_size: 1024,
            expedited: false,
            reference: 0x44,
            variable: hex("C0 01 0A C1 02 01 00 C2 02 01 02").into(),
            user_data: Bytes::from_static(b"hi"),
        }
    );
}

#[test]
fn selectors_absent_from_the_confirm_are_the_ones_requested() {
    let mut probe = answered(calling(), BARE_CC);

    let connected = probe.connected();
    assert_eq!(connected.calling, selector(&[1, 0]));
    assert_eq!(connected.called, selector(&[1, 2]));
}

#[test]
fn a_confirm_from_reference_0_is_accepted() {
    let mut probe = answered(bare(), "03 00 00 0B 06 D0 00 01 00 00 00");

    assert_eq!(probe.connected().reference, 0);
}

#[test]
fn a_confirm_of_another_class_fails() {
    for class in ["10", "20", "40", "F0"] {
        let mut probe = answered(bare(), &["03 00 00 0B 06 D0 00 01 56 78", class].join(" "));

        let class = u8::from_str_radix(class, 16).unwrap() >> 4;
        assert_eq!(
            probe.reason(),
            EndReason::ProtocolError(ProtocolError::SelectedClass(class))
        );
    }
}

#[test]
fn option_bits_of_a_confirm_are_tolerated() {
    let mut probe = answered(bare(), "03 00 00 0B 06 D0 00 01 56 78 02");

    probe.connected();
}

#[test]
fn another_called_selector_fails_unless_tolerated() {
    let cc = "03 00 00 0F 0A D0 00 01 56 78 00 C2 02 01 03";
    let mut probe = answered(calling(), cc);
    let mut lenient = answered(strictly(Strict::empty(), calling()), cc);

    assert_eq!(
        probe.reason(),
        EndReason::ProtocolError(ProtocolError::Selector {
            expected: Selector::from(0x0102),
            found: Selector::from(0x0103),
        })
    );
    assert_eq!(lenient.connected().called, selector(&[1, 3]));
    assert_eq!(lenient.machine.stats().tolerated, 1);
}

/// As hat-drivers, which has integers for selectors, widens `02` to `0002`.
#[test]
fn zeros_before_a_selector_are_tolerated_unless_strict() {
    let asking_for = |octets: &[u8]| Config::initiator(None, selector(octets));
    for (ours, theirs, tolerated) in [
        (&[2][..], "02 00 02", 1),
        (&[0, 0, 2], "02 00 02", 1),
        (&[], "02 00 00", 1),
        (&[2], "01 02", 0),
    ] {
        let cc = ["03 00 00 0F 0A D0 00 01 56 78 00 C2", theirs].join(" ");
        let cc = match ours {
            [2] if tolerated == 0 => String::from("03 00 00 0E 09 D0 00 01 56 78 00 C2 01 02"),
            _ => cc,
        };
        let mut probe = answered(asking_for(ours), &cc);
        let mut strict = answered(strictly(Strict::PADDING, asking_for(ours)), &cc);

        probe.connected();
        assert_eq!(probe.machine.stats().tolerated, tolerated);
        assert_eq!(
            matches!(strict.event(), Event::Failed(_)),
            tolerated == 1,
            "{theirs}"
        );
    }
}

#[test]
fn another_calling_selector_is_tolerated_unless_strict() {
    let cc = "03 00 00 0F 0A D0 00 01 56 78 00 C1 02 01 03";
    let mut probe = answered(calling(), cc);
    let mut strict = answered(strictly(Strict::CALLING, calling()), cc);

    assert_eq!(probe.connected().calling, selector(&[1, 3]));
    assert_eq!(probe.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::Selector {
            expected: Selector::from(0x0100),
            found: Selector::from(0x0103),
        })
    );
}

#[test]
fn selectors_that_were_not_requested_are_accepted() {
    let mut probe = answered(
        bare(),
        "03 00 00 13 0E D0 00 01 56 78 00 C1 02 00 01 C2 02 00 02",
    );

    let connected = probe.connected();
    assert_eq!(connected.calling, selector(&[0, 1]));
    assert_eq!(connected.called, selector(&[0, 2]));
}

#[test]
fn unknown_parameters_of_a_confirm_are_tolerated_and_kept_raw() {
    let mut probe = answered(bare(), "03 00 00 0F 0A D0 00 01 56 78 00 F2 02 00 01");

    assert_eq!(probe.connected().variable, hex("F2 02 00 01"));
}

#[test]
fn a_repeated_parameter_of_a_confirm_is_tolerated_unless_strict() {
    let cc = "03 00 00 11 0C D0 00 01 56 78 00 C0 01 0D C0 01 07";
    let mut probe = answered(calling(), cc);
    let mut strict = answered(strictly(Strict::REPEATED, calling()), cc);

    assert_eq!(probe.connected().tpdu_size, 128);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::Repeated)
    );
}

#[test]
fn credit_in_a_confirm_is_tolerated_unless_strict() {
    let cc = "03 00 00 0B 06 D5 00 01 56 78 00";
    let mut probe = answered(bare(), cc);
    let mut strict = answered(strictly(Strict::CREDIT, bare()), cc);

    probe.connected();
    assert_eq!(probe.machine.stats().tolerated, 1);
    assert_eq!(
        strict.reason(),
        EndReason::ProtocolError(ProtocolError::Credit(5))
    );
}

#[test]
fn a_confirm_with_a_broken_parameter_fails() {
    let mut probe = answered(bare(), "03 00 00 0F 0A D0 00 01 56 78 00 C1 0A 00 01");

    assert_eq!(
        probe.reason().to_string(),
        "malformed TPDU: parameter length at offset 8: needs 10 octets, 2 left"
    );
}

#[test]
fn a_negotiation_response_of_rdp_is_carried_raw() {
    let mut probe = answered(
        Config {
            after_handshake: AfterHandshake::Pause,
            ..proposing(Proposal {
                variable: Some(hex("01 00 08 00 03 00 00 00").into()),
                ..Proposal::default()
            })
        },
        "03 00 00 13 0E D0 00 01 12 34 00 02 1F 08 00 02 00 00 00",
    );

    assert_eq!(
        probe.sent(),
        "03 00 00 13 0E E0 00 00 00 01 00 01 00 08 00 03 00 00 00"
    );
    assert_eq!(probe.connected().variable, hex("02 1F 08 00 02 00 00 00"));
}

#[test]
fn a_dr_in_answer_is_a_refusal_with_reason_and_information() {
    let mut probe = answered(bare(), "03 00 00 11 0C 80 00 01 00 00 03 E0 04 62 75 73 79");

    assert_eq!(
        probe.events(),
        [failed(EndReason::Refused(Disconnect {
            reason: DisconnectReason::ADDRESS_UNKNOWN,
            information: Bytes::from_static(b"busy"),
            user_data: Bytes::new(),
        }))]
    );
    assert_eq!(
        probe.sent(),
        "03 00 00 0B 06 E0 00 00 00 01 00",
        "the CR alone"
    );
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}

#[test]
fn a_dr_ends_the_connection_whatever_its_reason_and_references() {
    for (dr, reason) in [
        ("03 00 00 0B 06 80 00 01 00 00 00", 0),
        ("03 00 00 0B 06 80 77 77 88 88 85", 133),
        ("03 00 00 0B 06 80 00 00 00 00 FF", 255),
    ] {
        let mut probe = answered(bare(), dr);

        assert!(matches!(
            probe.reason(),
            EndReason::Refused(Disconnect { reason: found, .. }) if found.0 == reason
        ));
    }
}

#[test]
fn user_data_of_a_dr_are_reported_beside_its_information() {
    let mut probe = answered(bare(), "03 00 00 10 09 80 00 01 00 00 01 E0 01 61 68 69");

    assert_eq!(
        probe.reason(),
        EndReason::Refused(Disconnect {
            reason: DisconnectReason::CONGESTION,
            information: Bytes::from_static(b"a"),
            user_data: Bytes::from_static(b"hi"),
        })
    );
}

#[test]
fn an_er_in_answer_is_a_refusal_with_its_cause() {
    let mut probe = answered(bare(), "03 00 00 0E 09 70 00 01 01 C1 03 02 F0 80");

    assert_eq!(
        probe.events(),
        [failed(EndReason::Rejected(RejectCause::PARAMETER_CODE))]
    );
    assert_eq!(probe.asks(), [Ask::Finish(())]);
}
