//! Decoding and encoding of TPDUs.

use crate::cotp_probe::*;

fn connect() -> Connect<'static> {
    Connect {
        credit: 0,
        destination: 0,
        source: 0x1234,
        class_option: 0,
        variable: &[],
        user_data: &[],
    }
}

/// Decodes a TPDU and encodes it again.
fn both_ways(octets: &[u8], tpdu: Tpdu<'_>) {
    assert_eq!(Tpdu::decode(octets), Ok(tpdu));

    let mut out = Vec::new();
    tpdu.encode(&mut out);
    assert_eq!(out, octets);
    assert_eq!(tpdu.wire_len(), octets.len());
}

#[test]
fn cr_and_cc_are_decoded_and_encoded() {
    both_ways(
        &[6, 0xE0, 0, 0, 0x12, 0x34, 0],
        Tpdu::ConnectionRequest(connect()),
    );
    both_ways(
        &[9, 0xE5, 0, 7, 0x12, 0x34, 0x42, 0xC0, 1, 10, b'h', b'i'],
        Tpdu::ConnectionRequest(Connect {
            credit: 5,
            destination: 7,
            class_option: 0x42,
            variable: &[0xC0, 1, 10],
            user_data: b"hi",
            ..connect()
        }),
    );
    both_ways(
        &[6, 0xDF, 0xFF, 0xFE, 0x12, 0x34, 0],
        Tpdu::ConnectionConfirm(Connect {
            credit: 15,
            destination: 0xFFFE,
            ..connect()
        }),
    );
}

#[test]
fn dr_and_dc_are_decoded_and_encoded() {
    both_ways(
        &[6, 0x80, 0x12, 0x34, 0, 0, 3],
        Tpdu::DisconnectRequest(DisconnectRequest {
            destination: 0x1234,
            source: 0,
            reason: DisconnectReason::ADDRESS_UNKNOWN,
            variable: &[],
            user_data: &[],
        }),
    );
    both_ways(
        &[9, 0x80, 0, 1, 0, 2, 130, 0xE0, 1, b'a', b'b'],
        Tpdu::DisconnectRequest(DisconnectRequest {
            destination: 1,
            source: 2,
            reason: DisconnectReason::NEGOTIATION_FAILED,
            variable: &[0xE0, 1, b'a'],
            user_data: b"b",
        }),
    );
    both_ways(
        &[5, 0xC0, 0, 1, 0, 2],
        Tpdu::DisconnectConfirm(DisconnectConfirm {
            destination: 1,
            source: 2,
            variable: &[],
        }),
    );
}

#[test]
fn dt_and_ed_are_decoded_and_encoded() {
    let data = DataTpdu {
        is_last: true,
        number: 0,
        wants_acknowledgement: false,
        user_data: b"abc",
    };
    both_ways(b"\x02\xF0\x80abc", Tpdu::Data(data));
    both_ways(
        &[2, 0xF1, 0x7F],
        Tpdu::Data(DataTpdu {
            is_last: false,
            number: 127,
            wants_acknowledgement: true,
            user_data: &[],
        }),
    );
    both_ways(
        &[2, 0x1F, 0x81, b'A'],
        Tpdu::Expedited(Expedited {
            credit: 15,
            is_last: true,
            number: 1,
            user_data: b"A",
        }),
    );
}

#[test]
fn er_is_decoded_and_encoded() {
    let report = ErrorReport {
        destination: 0x1234,
        cause: RejectCause::PARAMETER_CODE,
        variable: &[0xC1, 3, 2, 0xF0, 0x80],
    };

    both_ways(
        &[9, 0x70, 0x12, 0x34, 1, 0xC1, 3, 2, 0xF0, 0x80],
        Tpdu::Error(report),
    );
    assert_eq!(report.invalid_tpdu(), Some(&[2, 0xF0, 0x80][..]));
    assert_eq!(
        ErrorReport {
            variable: &[],
            ..report
        }
        .invalid_tpdu(),
        None
    );
}

#[test]
fn tpdus_of_other_classes_are_kept_as_octets() {
    for (octets, name) in [
        (&[4, 0x61, 0, 1, 0][..], "AK"),
        (&[4, 0x5F, 0, 1, 0], "RJ"),
        (&[4, 0x20, 0, 1, 0], "EA"),
        (&[4, 0x10, 0, 1, 0x80, b'A'], "ED"),
    ] {
        let tpdu = Tpdu::OtherClass(OtherClass {
            code: octets[1],
            octets,
        });
        both_ways(octets, tpdu);
        assert_eq!(tpdu.name(), name);
    }
}

#[test]
fn additional_information_is_found_among_parameters() {
    let information = |variable| {
        DisconnectRequest {
            destination: 0,
            source: 0,
            reason: DisconnectReason::NOT_SPECIFIED,
            variable,
            user_data: &[],
        }
        .information()
    };

    assert_eq!(information(&[]), [0_u8; 0]);
    assert_eq!(information(&[0xE0, 2, b'h', b'i']), b"hi");
    assert_eq!(
        information(&[0x85, 1, 0, 0xE0, 1, b'a', 0xE0, 1, b'b']),
        b"b"
    );
    assert_eq!(information(&[0x85, 1, 0]), [0x85, 1, 0], "none there");
    assert_eq!(information(&[0xE0, 9, b'a']), [0xE0, 9, b'a'], "no list");
}

#[test]
fn an_error_has_the_field_and_its_offset() {
    for (octets, words) in [
        (
            &[][..],
            "length indicator at offset 0: needs 1 octets, 0 left",
        ),
        (
            &[0],
            "length indicator at offset 0: value 0 (0x00) is not allowed",
        ),
        (
            &[2, 0xF0],
            "length indicator at offset 0: needs 2 octets, 1 left",
        ),
        (
            &[255, 0xF0, 0x80],
            "length indicator at offset 0: value 255 (0xff) is not allowed",
        ),
        (
            &[1, 0xF0, 0x80],
            "length indicator at offset 0: value 1 (0x01) is not allowed",
        ),
        (
            &[3, 0xF0, 0, 0x80],
            "length indicator at offset 0: value 3 (0x03) is not allowed",
        ),
        (
            &[5, 0xE0, 0, 0, 0, 1],
            "length indicator at offset 0: value 5 (0x05) is not allowed",
        ),
        (
            &[5, 0x80, 0, 0, 0, 1],
            "length indicator at offset 0: value 5 (0x05) is not allowed",
        ),
        (
            &[3, 0x70, 0, 1],
            "length indicator at offset 0: value 3 (0x03) is not allowed",
        ),
        (
            &[2, 0x40, 0x80],
            "TPDU code at offset 1: value 64 (0x40) is not allowed",
        ),
        (
            &[2, 0xB0, 0x80],
            "TPDU code at offset 1: value 176 (0xb0) is not allowed",
        ),
        (
            &[2, 0x00, 0x80],
            "TPDU code at offset 1: value 0 (0x00) is not allowed",
        ),
        (
            &[2, 0xF2, 0x80],
            "TPDU code at offset 1: value 242 (0xf2) is not allowed",
        ),
        (
            &[2, 0x81, 0x80],
            "TPDU code at offset 1: value 129 (0x81) is not allowed",
        ),
        (
            &[5, 0xC0, 0, 1, 0, 2, 9, 9],
            "user data at offset 6: 2 octets follow where none are allowed",
        ),
        (
            &[7, 0x70, 0, 1, 2, 0xC1, 1, 2, 9],
            "user data at offset 8: 1 octets follow where none are allowed",
        ),
    ] {
        assert_eq!(Tpdu::decode(octets).unwrap_err().to_string(), words);
    }
}

#[test]
fn reasons_and_causes_have_a_text() {
    for (code, words) in [
        (0, "reason not specified (0)"),
        (1, "congestion at the selector (1)"),
        (2, "no session entity attached to the selector (2)"),
        (3, "selector unknown (3)"),
        (128, "normal disconnect by the session entity (128)"),
        (129, "congestion at connect time (129)"),
        (130, "connection negotiation failed (130)"),
        (131, "duplicate source reference (131)"),
        (132, "mismatched references (132)"),
        (133, "protocol error (133)"),
        (134, "reason unknown to ISO 8073 (134)"),
        (135, "reference overflow (135)"),
        (
            136,
            "connection request refused on this network connection (136)",
        ),
        (138, "header or parameter length invalid (138)"),
    ] {
        assert_eq!(DisconnectReason(code).to_string(), words);
    }
    for (code, words) in [
        (0, "cause not specified (0)"),
        (1, "invalid parameter code (1)"),
        (2, "invalid TPDU type (2)"),
        (3, "invalid parameter value (3)"),
        (4, "cause unknown to ISO 8073 (4)"),
    ] {
        assert_eq!(RejectCause(code).to_string(), words);
    }
}
