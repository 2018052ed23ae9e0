//! `farlink decode` and `farlink replay` of LTP: digits, captures and recordings.

use std::fs;

use farlink::ltp::{Block, Command, Config, Engine, Peer, Red, Service};
use farlink::record::RecordAddr;
use farlink::{Hop, Instant, Limits, Machine as _, Output, Path, Seed, Tag, Transmit};
use serde_json::json;

use super::ethernet::{From, Tap};
use super::sink::Sink;
use super::{altered, farlink, farlink_on, is_documented, scratch, written};

/// Data of three octets, the report for it, and its acknowledgment: as ION sends them.
const RED: &str = "03 01 02 00 04 00 03 8b46 00 616263";
const RS: &str = "08 01 02 00 e936 8b46 03 00 01 00 03";
const RA: &str = "09 01 02 00 e936";

const LTP: [&str; 3] = ["decode", "--protocol", "ltp"];

#[test]
fn each_line_of_hex_digits_is_one_datagram() {
    let input = format!("{RED}\n\n{RS}\r\n  {RA}\n00000000\n");

    let ran = farlink_on(input.as_bytes(), &LTP).well();

    let expected = [
        "       0     13  1:2 red 0..3, client 4, CP 1478, end of red part and block: 616263",
        "      13     13  1:2 RS 13494 for CP 1478, all of 0..3",
        "      26      6  1:2 RA 13494",
        "      32      4  keep-alive",
    ];
    assert_eq!(ran.lines(), expected);
}

#[test]
fn raw_octets_are_a_frame_of_segments() {
    let octets = [9, 1, 2, 0, 7, 14, 1, 2, 0, 1];
    let file = written("frame.bin", &octets);

    let ran = farlink(&[&LTP[..], &[&file]].concat()).well();

    let expected = [
        "       0      5  1:2 RA 7",
        "       5      5  1:2 CR, no such client service (1)",
    ];
    assert_eq!(ran.lines(), expected);
}

/// ION and Wireshark users paste segments without saying what they are.
#[test]
fn octets_that_are_no_tpkt_are_read_as_segments_unasked() {
    for input in [
        format!("{RED}\n{RS}\n{RA}\n"),
        format!("{RS}\n{RA}\n"),
        format!("00000000: {}\n", RED.replace(' ', "")),
    ] {
        let asked = farlink_on(input.as_bytes(), &LTP).well();

        let unasked = farlink_on(input.as_bytes(), &["decode"]).well();

        assert_eq!(unasked.out, asked.out);
    }
    let file = written("unasked.bin", &octets(RED));
    let raw = farlink(&["decode", &file]).well();
    assert!(raw.out.contains("1:2 red 0..3"), "{}", raw.out);
    // A segment that is cut short is one all the same.
    farlink_on(b"03 01 02 00 04", &["decode"]).badly(1, "");
}

/// An engine drops such a datagram, and so must not be shown to have taken half of it.
#[test]
fn a_datagram_with_octets_behind_its_segment_is_malformed_as_a_whole() {
    for behind in ["dead", RA] {
        let datagram = format!("{RED} {behind}");
        let file = written("left_over.bin", &octets(&format!("{RED} dead")));

        let ran = farlink_on(datagram.as_bytes(), &["decode"]).badly(1, "");
        let raw = farlink(&["decode", &file]).badly(1, "");

        for out in [&ran.out, &raw.out] {
            assert_eq!(out.lines().count(), 1, "{out}");
            assert!(
                out.contains("malformed segment: segment at offset 13: "),
                "{out}"
            );
        }
    }
}

#[test]
fn the_fields_of_a_segment_are_those_of_the_manual() {
    let report = "08 01 02 00 07 05 64 0a 02 00 05 14 46 dead";
    let cancel = "0c 01 02 10 01 02 aabb 02";
    let input = format!("{RED}\n04 01 02 00 04 0a 01 fe\n{report}\n{RA}\n{cancel}\n00000000");

    let ran = farlink_on(
        input.as_bytes(),
        &[&LTP[..], &["--json", "--data"]].concat(),
    )
    .well();

    let objects = ran.objects();
    let red = json!({
        "protocol": "ltp", "offset": 0, "length": 13, "segment": "red", "type": 3,
        "originator": 1, "session": 2, "header": [], "trailer": [], "client": 4,
        "from_octet": 0, "to_octet": 3, "checkpoint": 1478, "report": 0,
        "ends_red_part": true, "ends_block": true, "data": "616263",
    });
    let green = json!({
        "protocol": "ltp", "offset": 13, "length": 8, "segment": "green", "type": 4,
        "originator": 1, "session": 2, "header": [], "trailer": [], "client": 4,
        "from_octet": 10, "to_octet": 11, "checkpoint": null, "report": null,
        "ends_red_part": false, "ends_block": false, "data": "fe",
    });
    let report = json!({
        "protocol": "ltp", "offset": 21, "length": 13, "segment": "RS", "type": 8,
        "originator": 1, "session": 2, "header": [], "trailer": [], "report": 7,
        "checkpoint": 5, "lower": 10, "upper": 100, "claims": [[10, 15], [30, 100]], "behind": 2,
    });
    assert_eq!(objects[0], red);
    assert_eq!(objects[1], green);
    assert_eq!(objects[2], report, "its length is without what is behind");
    assert_eq!(
        (&objects[3]["segment"], &objects[3]["report"]),
        (&"RA".into(), &13494.into())
    );
    assert_eq!(objects[4]["segment"], "CS");
    assert_eq!(objects[4]["reason"], 2);
    assert_eq!(objects[4]["header"], json!([{ "tag": 1, "value": "aabb" }]));
    assert_eq!(objects[5]["segment"], "keep-alive");
    let help = farlink(&["decode", "--help"]).well().out;
    for object in &objects {
        for field in object.as_object().unwrap().keys() {
            assert!(is_documented(&help, field), "{field} in {help}");
        }
    }
}

#[test]
fn a_malformed_segment_is_reported_with_field_and_offset_and_the_next_is_read() {
    let input = format!("05 01 02 00\n03 01 02 00 04 00 03 8b46\n{RA}\n");

    let ran = farlink_on(input.as_bytes(), &LTP).badly(1, "");
    let objects = farlink_on(input.as_bytes(), &[&LTP[..], &["--json"]].concat()).objects();

    let lines = ran.lines();
    let told = "malformed segment: segment type at offset 0: value 5 (0x05) is not allowed";
    assert!(lines[0].ends_with(told), "{}", lines[0]);
    assert!(
        lines[1].contains("report serial number at offset 9"),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2], "      13      6  1:2 RA 13494");
    assert_eq!(objects[0]["field"], "segment type");
    assert_eq!(
        (&objects[1]["offset"], &objects[1]["field_offset"]),
        (&4.into(), &9.into())
    );
}

#[test]
fn hex_that_is_wrong_is_reported_with_the_number_of_its_line() {
    let input = format!("{RED}\n\n09 01 0x\n");

    farlink_on(input.as_bytes(), &LTP).badly(2, "not hex: line 3: 'x' in ");
}

fn octets(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|digit| *digit != b' ').collect();
    let pairs = digits.as_chunks::<2>().0.iter();
    let text = pairs.map(|pair| core::str::from_utf8(pair).unwrap());
    text.map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn capture(port: u16) -> Vec<u8> {
    let mut tap = Tap::new(port);
    tap.datagram(From::Client, &octets(RED));
    tap.datagram(From::Client, &octets(RED));
    tap.datagram(From::Server, &octets(RS));
    tap.datagram_cut(From::Client, &octets(RA), 3);
    tap.datagram(From::Client, &octets(RA));
    tap.file()
}

#[test]
fn segments_of_a_capture_are_read_on_the_port_of_ltp_or_the_one_named_or_by_their_content() {
    let ran = farlink_on(&capture(1113), &["decode"]).well();
    let other = capture(4556);
    let skipped = farlink_on(&other, &["decode", "--port", "1113"]);
    let named = farlink_on(&other, &["decode", "--port", "4556"]).well();
    let by_content = farlink_on(&other, &["decode"]).well();

    let (there, back) = (
        "10.0.0.1:50000 > 10.0.0.2:1113",
        "10.0.0.2:1113 > 10.0.0.1:50000",
    );
    let red = "1:2 red 0..3, client 4, CP 1478, end of red part and block: 616263";
    let expected = [
        format!("  0.000000000s  {there}  {red}"),
        format!("  0.001000000s  {there}  {red}"),
        format!("  0.002000000s  {back}  1:2 RS 13494 for CP 1478, all of 0..3"),
        format!("  0.003000000s  {there}  3 octets are not in the capture"),
        format!("  0.004000000s  {there}  1:2 RA 13494"),
    ];
    assert_eq!(ran.lines(), expected);
    assert_eq!((skipped.status, skipped.out.as_str()), (0, ""));
    assert_eq!(
        skipped.err,
        "farlink: skipped 5 packets: 5 on other ports\n"
    );
    assert_eq!(named.lines().len(), 5);
    assert_eq!(by_content.out, named.out);
}

#[test]
fn datagrams_whose_first_is_no_segment_are_skipped_on_other_ports() {
    let mut tap = Tap::new(4556);
    tap.datagram(From::Client, b"a question");
    tap.datagram(From::Server, &octets(RA));

    let ran = farlink_on(&tap.file(), &["decode"]);

    let skipped = "farlink: skipped 2 packets: 2 on other ports\n";
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (0, "", skipped)
    );
}

#[test]
fn a_capture_is_drawn_with_what_was_sent_again() {
    let (file, drawing) = (written("ltp.pcap", &capture(1113)), scratch("ltp.svg"));

    farlink(&["decode", "--ladder", &drawing, &file]).well();

    let svg = fs::read_to_string(drawing).unwrap();
    assert!(svg.contains("10.0.0.2:1113"), "{svg}");
    assert!(
        svg.contains("red 0..3 CP 1478 EORP EOB, s1 is 1:2"),
        "{svg}"
    );
    assert!(svg.contains("RS 13494 for CP 1478: all of 3, s1"), "{svg}");
    assert!(svg.contains("3 octets not captured"), "{svg}");
    assert!(svg.contains("5 messages, 0 lost, 1 sent again"), "{svg}");
}

/// Sends a block from engine 1 at `near` to engine 2 at `far`, and returns what engine 1 recorded.
fn recorded<A: RecordAddr>(near: A, far: A) -> Vec<u8> {
    let sink = Sink::default();
    let now = Instant::from_nanos(3_000_000);
    let mut one = sink.recorder::<Engine<A>>(Config::engine(1), 1);
    let mut two = Engine::new(Config::engine(2), Seed::from(2)).unwrap();
    one.command(now, Command::AddPeer(2, Box::new(Peer::at(far))))
        .unwrap();
    two.add_peer(now, 1, Peer::at(near)).unwrap();
    two.open(now, 4, Service::Whole).unwrap();
    let block = Block {
        red: Red::Octets(4000),
        ..Block::red(Tag(1), 2, 4, b"secret".repeat(1000).into())
    };
    one.command(now, Command::Send(block)).unwrap();
    let mut tx = Transmit::new(Limits::default());
    for _ in 0..3 {
        loop {
            match one.poll(now, &mut tx) {
                Output::Transmit => tx
                    .datagrams()
                    .for_each(|octets| two.receive(now, near, octets)),
                Output::Event(_) | Output::Ask(_) | Output::Yield => {}
                Output::Idle(_) | Output::Done => break,
            }
        }
        loop {
            match two.poll(now, &mut tx) {
                Output::Transmit => tx
                    .datagrams()
                    .for_each(|octets| one.receive(now, far, octets)),
                Output::Event(_) | Output::Ask(_) | Output::Yield => {}
                Output::Idle(_) | Output::Done => break,
            }
        }
    }
    drop(one);
    sink.octets()
}

fn on_ip() -> Vec<u8> {
    let (near, far) = (([10, 0, 0, 1], 4001).into(), ([10, 0, 0, 2], 4002).into());
    recorded(Path::udp(far, near), Path::udp(near, far))
}

fn on_a_bus() -> Vec<u8> {
    let hop = |via| Hop { interface: 0, via };
    recorded(hop(1), hop(2))
}

#[test]
fn recordings_of_engines_are_replayed_whatever_their_peers_are_reached_by() {
    for (name, recording) in [("ip", on_ip()), ("bus", on_a_bus())] {
        let ran = farlink_on(&recording, &["replay", "-"]).well();
        let object = &farlink_on(&recording, &["replay", "--json", "-"])
            .well()
            .objects()[0];

        assert!(
            ran.lines()[0].ends_with(" calls match"),
            "{name}: {}",
            ran.out
        );
        assert_eq!(
            (&object["kind"], &object["end"]),
            (&"ltp".into(), &"finished".into())
        );
    }
}

#[test]
fn the_first_segment_that_differs_is_shown() {
    // The octets that left: those of the command are in hex.
    let recording = altered(&on_ip(), b"secretsecret", b"secretsEcret");

    let ran = farlink_on(&recording, &["replay", "-"]).badly(1, "");

    assert_eq!(ran.lines()[0], "the replay differs");
}

#[test]
fn a_recording_is_read_as_ltp_on_any_port() {
    let ran = farlink_on(&on_ip(), &["decode"]).well();

    let lines = ran.lines();
    let first = "  0.003000000s  10.0.0.1:4001 > 10.0.0.2:4002  1:";
    assert!(lines[0].starts_with(first), "{}", lines[0]);
    let data: Vec<&&str> = lines
        .iter()
        .filter(|line| line.contains(", client 4"))
        .collect();
    assert!(data[2].contains("..4000, client 4, CP "), "{}", ran.out);
    assert!(
        data[4].contains("..6000, client 4, end of block"),
        "{}",
        ran.out
    );
    let report = lines.iter().find(|line| line.contains(" all of 0..4000"));
    assert!(
        report.is_some_and(|line| line.contains("10.0.0.2:4002 > 10.0.0.1:4001  1:")),
        "{}",
        ran.out
    );
}

#[test]
fn the_calls_of_an_engine_are_shown_with_the_segments_in_them() {
    for recording in [on_ip(), on_a_bus()] {
        let ran = farlink_on(&recording, &["decode", "--calls"]).well();

        assert!(
            ran.out.contains(r#"{"command":{"add_peer":[2,{"#),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("  > 1:"), "{}", ran.out);
        assert!(ran.out.contains("  < 1:"), "{}", ran.out);
        assert!(ran.out.contains(r#"{"event":{"complete":{"#), "{}", ran.out);
    }
}

#[test]
fn a_redacted_recording_keeps_its_times_and_sizes_and_no_word_of_the_block() {
    let (path, out) = (
        written("whole_ltp.pcapng", &on_ip()),
        scratch("redacted_ltp.pcapng"),
    );

    farlink(&["replay", "--redact", &out, &path]).well();

    let copy = fs::read(&out).unwrap();
    for word in [&b"secret"[..], b"736563726574", b"\"seed\""] {
        assert!(!copy.windows(word.len()).any(|octets| octets == word));
    }
    farlink(&["replay", &out]).badly(1, "the recording is redacted");
    let decoded = farlink(&["decode", &out]).well();
    let whole = farlink(&["decode", &path]).well();
    assert_eq!(decoded.lines().len(), whole.lines().len());
    assert!(
        decoded
            .lines()
            .iter()
            .any(|line| line.ends_with("1400 octets are not in the capture")),
        "{}",
        decoded.out
    );
}
