//! `farlink decode` on pasted text: dumps of other tools, C arrays, empty input.

use super::*;

/// The output for a CR in each form.
const CR: &str = "CR from 0x1234 to 0x0000, class 0, calling 0100, called 0102, TPDU size 1024";
/// An IP packet with that CR, as `tcpdump -x` prints it.
const PACKET: &str = "12:00:00.5 IP 192.0.2.1.1024 > 192.0.2.2.102: Flags [P.], length 22
\t0x0000:  4500 003e 0001 4000 4006 0000 c000 0201
\t0x0010:  c000 0202 0400 0066 0000 0001 0000 0001
\t0x0020:  5018 2000 0000 0000 0300 0016 11e0 0000
\t0x0030:  1234 00c1 0201 00c2 0201 02c0 010a
";

#[test]
fn a_dump_of_any_common_tool_is_decoded() {
    for (tool, text) in [
        (
            "xxd",
            "00000000: 0300 0016 11e0 0000 1234 00c1 0201 00c2  .........4......
00000010: 0201 02c0 010a                           ......
",
        ),
        (
            "hexdump -C",
            "00000000  03 00 00 16 11 e0 00 00  12 34 00 c1 02 01 00 c2  |.........4......|
00000010  02 01 02 c0 01 0a                                 |......|
00000016
",
        ),
        (
            "od -tx1",
            "0000000 03 00 00 16 11 e0 00 00 12 34 00 c1 02 01 00 c2
0000020 02 01 02 c0 01 0a
0000026
",
        ),
        (
            "C",
            "0x03,0x00,0x00,0x16,0x11,0xe0,0x0,0x0,0x12,0x34,0x00,0xc1,0x02,0x01,0x00,0xc2,
            0x02,0x01,0x02,0xc0,0x01,0x0a",
        ),
        ("base64", "AwAAFhHgAAASNADBAgEAwgIBAsABCg=="),
        (
            "base64 of URLs, in lines",
            "AwAAFhHgAAASNADB\nAgEAwgIBAsABCg",
        ),
        ("plain", "03000016 11e00000123400 c1020100 c2020102 c0010a"),
    ] {
        let ran = farlink_on(text.as_bytes(), &["decode"]).well();

        assert_eq!(ran.lines(), [format!("       0     22  {CR}")], "{tool}");
    }
}

#[test]
fn an_ip_packet_of_tcpdump_is_decoded_with_its_addresses() {
    let once = farlink_on(PACKET.as_bytes(), &["decode"]).well();
    let twice = farlink_on(PACKET.repeat(2).as_bytes(), &["decode"]);

    assert!(
        once.out.contains("192.0.2.1:1024 > 192.0.2.2:102"),
        "{once:?}"
    );
    assert!(once.out.contains(CR), "{once:?}");
    assert_eq!(twice.lines().len(), 1, "the second one is a retransmission");
}

#[test]
fn datagrams_of_ltp_are_dumps_of_their_own() {
    let dumps = "00000000: 0302 1900 0400 0178  .......x
00000000: 0302 1900 0400 0179  .......y
";

    let ran = farlink_on(dumps.as_bytes(), &["decode", "--protocol", "ltp"]);

    assert_eq!(ran.lines().len(), 2, "{ran:?}");
}

#[test]
fn a_dump_that_cannot_be_read_is_wrong_usage() {
    for (text, words) in [
        (
            "0000000 0003 1600\n0000004\n",
            "line 1: `0003` is not an octet of two hex digits; hexdump -C",
        ),
        (
            "00000000: 0300 0016\n00000010: 11e0\n",
            "line 2: offset 0x10 behind 0x4 octets",
        ),
    ] {
        farlink_on(text.as_bytes(), &["decode"]).badly(2, words);
    }
}

#[test]
fn words_are_no_base64() {
    farlink_on(b"word", &["decode"]).badly(2, "not hex");
}

#[test]
fn empty_input_is_wrong_usage() {
    for arguments in [
        &["decode"][..],
        &["decode", "--raw"],
        &["decode", "--calls"],
    ] {
        farlink_on(b"", arguments).badly(2, "standard input: no octets to decode");
    }
    farlink_on(b" \n\n", &["decode"]).badly(2, "no octets to decode");
    let empty = written("empty.pcap", b"");
    farlink(&["decode", &empty]).badly(2, "empty.pcap: no octets to decode");
}

#[test]
fn payloads_are_printed_on_request() {
    let message = b"0300000a02f080616263";
    let with = farlink_on(message, &["decode", "--json", "--data"]).well();
    let without = farlink_on(message, &["decode", "--json"]).well();

    assert_eq!(with.objects()[0]["user_data"], "616263");
    assert_eq!(without.objects()[0].get("user_data"), None);
    assert_eq!(without.objects()[0]["octets"], 3);
    let with = farlink_on(message, &["decode", "--data"]).well();
    let without = farlink_on(message, &["decode"]).well();
    assert!(
        with.out.ends_with("3 octets, end of message: 616263\n"),
        "{with:?}"
    );
    assert!(
        without.out.ends_with("3 octets, end of message\n"),
        "{without:?}"
    );
}

#[test]
fn payloads_in_the_calls_of_a_recording_are_counted() {
    let recording = kept("messages.initiator");
    let arguments = ["decode", "--calls", "--json", &recording];

    let ran = farlink(&arguments).well();

    assert!(!ran.out.contains("hex:"), "{}", ran.out);
    let objects = ran.objects();
    let sent = objects
        .iter()
        .find(|object| object["command"].get("send").is_some());
    assert!(sent.unwrap()["command"]["send"].is_u64(), "{sent:?}");
}
