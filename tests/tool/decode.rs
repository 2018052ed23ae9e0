//! `farlink decode` on hex digits and raw octets.

use serde_json::json;

use super::{farlink, farlink_on, written};

const CR: &str = "03000016 11e00000123400 c1020100 c2020102 c0010a";
const DT: &str = "0300000702f080";

#[test]
fn hex_digits_are_read_as_one_stream() {
    let input = format!("{CR}\n{DT}{DT}\n");

    let ran = farlink_on(input.as_bytes(), &["decode"]).well();

    let expected = [
        "       0     22  CR from 0x1234 to 0x0000, class 0, calling 0100, called 0102, TPDU size 1024",
        "      22      7  DT 0 octets, end of message",
        "      29      7  DT 0 octets, end of message",
    ];
    assert_eq!(ran.lines(), expected);
}

#[test]
fn raw_octets_are_read_from_a_file() {
    let file = written("dt.bin", &[3, 0, 0, 9, 2, 0xF0, 0, b'a', b'b']);

    let ran = farlink(&["decode", "--data", &file]).well();

    let expected = ["       0      9  DT 2 octets, more follows: 6162"];
    assert_eq!(ran.lines(), expected);
}

/// Digits that begin like text would be read as hex.
#[test]
fn octets_are_taken_as_they_are_when_asked() {
    farlink_on(b"03", &["decode", "--raw"]).badly(1, "TPKT version at offset 0: 48 is not 3");
}

#[test]
fn the_fields_of_a_tpdu_are_those_of_the_manual() {
    let ran = farlink_on(CR.as_bytes(), &["decode", "--json", "--data"]).well();

    let expected = json!({
        "protocol": "cotp",
        "offset": 0,
        "length": 22,
        "tpdu": "CR",
        "source": 0x1234,
        "destination": 0,
        "class": 0,
        "credit": 0,
        "calling": "0100",
        "called": "0102",
        "tpdu_size": 1024,
        "preferred_size": null,
        "options": null,
        "alternatives": null,
        "variable": "c1020100c2020102c0010a",
        "user_data": "",
        "parameter_error": null,
    });
    assert_eq!(ran.objects(), [expected]);
}

#[test]
fn the_fields_of_data_and_of_refusals_are_those_of_the_manual() {
    let input = "0300000902f0006162 0300000b 06 80 1234 0000 03";

    let ran = farlink_on(input.as_bytes(), &["decode", "--json", "--data"]).well();

    let data = json!({
        "protocol": "cotp", "offset": 0, "length": 9, "tpdu": "DT",
        "end": false, "number": 0, "octets": 2, "user_data": "6162",
    });
    let refusal = json!({
        "protocol": "cotp", "offset": 9, "length": 11, "tpdu": "DR",
        "source": 0, "destination": 0x1234, "reason": 3, "information": "", "user_data": "",
    });
    assert_eq!(ran.objects(), [data, refusal]);
}

#[test]
fn a_malformed_tpdu_is_reported_with_field_and_offset_and_the_next_is_read() {
    let input = format!("0300000705f080{DT}");

    let ran = farlink_on(input.as_bytes(), &["decode"]);
    let objects = farlink_on(input.as_bytes(), &["decode", "--json"]);

    let told = ran.badly(1, "");
    assert!(told.out.contains("malformed TPDU: "), "{}", told.out);
    assert_eq!(
        told.lines()[1],
        "       7      7  DT 0 octets, end of message"
    );
    assert_eq!(objects.status, 1);
    let fault = &objects.objects()[0];
    assert_eq!((&fault["offset"], &fault["length"]), (&json!(0), &json!(7)));
    assert_eq!(fault["field_offset"], 0);
    assert!(fault["field"].is_string(), "{fault}");
    assert!(fault["error"].is_string(), "{fault}");
}

#[test]
fn a_variable_part_that_is_no_list_is_remarked_on() {
    let input = "03000013 0e e0 0000 0000 00 436f6f6b69653a20";

    let ran = farlink_on(input.as_bytes(), &["decode"]).well();

    assert!(
        ran.lines()[1].contains("not a parameter list"),
        "{:?}",
        ran.lines()
    );
}

#[test]
fn a_broken_stream_is_reported_with_the_octet_at_fault() {
    let input = format!("{DT}04000007");

    let ran = farlink_on(input.as_bytes(), &["decode"]);
    let objects = farlink_on(input.as_bytes(), &["decode", "--json"]);

    let ran = ran.badly(1, "packet at octet 7: TPKT version at offset 0: 4 is not 3");
    assert_eq!(ran.lines().len(), 1, "what came before is shown");
    let expected = json!({
        "protocol": "cotp",
        "offset": 7,
        "error": "TPKT version at offset 0: 4 is not 3",
    });
    assert_eq!(objects.badly(1, "").objects()[1], expected);
}

#[test]
fn a_packet_cut_short_is_reported() {
    let ran = farlink_on(b"03000007 02f0", &["decode"]);

    ran.badly(
        1,
        "packet at octet 0: the last packet is cut short after 6 octets",
    );
}

#[test]
fn text_that_is_not_hex_is_wrong_usage() {
    farlink_on(b"0300000x", &["decode"]).badly(
        2,
        "standard input: not hex: 'x' in `0300000x` is not a hex digit",
    );
}

/// Punctuation alone is skipped as that of an array is, and nothing is left.
#[test]
fn text_and_captures_without_anything_to_decode_are_no_success() {
    for text in ["{", "{}", "{ , }", "0x"] {
        let ran = farlink_on(text.as_bytes(), &["decode"]);
        ran.badly(2, "");
    }
    let mut empty = vec![0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0];
    for field in [0_u32, 0, 65_535, 101] {
        empty.extend(field.to_le_bytes());
    }
    farlink_on(&empty, &["decode"]).badly(1, "standard input: no packets in the capture");
}
