//! Streams are reassembled from captured segments.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::toy::{STREAM, Shared, ToyCommand, at, drain, recorder, send, tcp};
use crate::record::{Capture, CapturedPacket, FlowEventKind, Flows, headers};
use crate::{Instant, Link, Machine as _, Path};

const FIN: u8 = 0x11;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

fn segment(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let numbers = headers::Segment {
        sequence,
        acknowledged: 0,
        flags,
    };
    let ends = tcp("10.0.0.2:5", "10.0.0.1:6");
    headers::tcp(&mut packet, ends.local, ends.remote, numbers, payload);
    packet.extend_from_slice(payload);
    packet
}

/// Returns what arrives from these packets, as text.
fn arrivals(packets: &[Vec<u8>]) -> Vec<String> {
    let mut flows = Flows::new();
    let mut said = Vec::new();
    for octets in packets {
        let packet = CapturedPacket {
            at: 0,
            time: Instant::ZERO,
            link_type: 101,
            direction: None,
            octets,
            length: octets.len(),
        };
        flows.packet(&packet, |arrival| said.push(say(&arrival.kind)));
    }
    flows.finish(Instant::ZERO, |arrival| said.push(say(&arrival.kind)));
    said
}

fn say(what: &FlowEventKind<'_>) -> String {
    match what {
        FlowEventKind::Octets(octets) => String::from_utf8_lossy(octets).into_owned(),
        other => format!("<{other:?}>"),
    }
}

#[test]
fn segments_in_order_arrive_as_they_come() {
    let packets = [
        segment(9, SYN, b""),
        segment(10, ACK, b"abc"),
        segment(13, ACK, b""),
        segment(13, FIN, b"de"),
    ];

    assert_eq!(arrivals(&packets), ["<Began>", "abc", "de", "<Ended>"]);
}

#[test]
fn repeated_octets_arrive_once() {
    let packets = [
        segment(9, SYN, b""),
        segment(9, SYN, b""),
        segment(10, ACK, b"abc"),
        segment(10, ACK, b"abc"),
        segment(11, ACK, b"bcd"),
        segment(12, ACK, b"x"),
        segment(13, FIN, b"de"),
        segment(13, FIN, b"de"),
        segment(15, FIN, b""),
    ];

    assert_eq!(arrivals(&packets), ["<Began>", "abc", "d", "e", "<Ended>"]);
}

#[test]
fn segments_out_of_order_wait_for_those_before_them() {
    let packets = [
        segment(9, SYN, b""),
        segment(16, FIN, b""),
        segment(13, ACK, b"def"),
        segment(13, ACK, b"d"),
        segment(12, ACK, b"cd"),
        segment(10, ACK, b"ab"),
    ];

    assert_eq!(arrivals(&packets), ["<Began>", "ab", "cd", "ef", "<Ended>"]);
}

#[test]
fn missing_octets_are_a_gap() {
    let packets = [
        segment(9, SYN, b""),
        segment(10, ACK, b"a"),
        segment(14, ACK, b"e"),
        segment(18, FIN, b""),
    ];

    let expected = ["<Began>", "a", "<Gap(3)>", "e", "<Gap(3)>", "<Ended>"];
    assert_eq!(arrivals(&packets), expected);
}

#[test]
fn a_gap_is_reported_when_too_much_waits_for_it() {
    let mut packets = alloc::vec![segment(9, SYN, b"")];
    let large = alloc::vec![b'x'; 60_000];
    for place in 0..20 {
        packets.push(segment(20 + place * 60_000, ACK, &large));
    }
    packets.push(segment(10, ACK, b"too late"));

    let said = arrivals(&packets);

    assert_eq!(said[1], "<Gap(10)>");
    let octets: usize = said[2..].iter().map(String::len).sum();
    assert_eq!(octets, 20 * 60_000);
}

#[test]
fn a_stream_without_its_beginning_begins_with_its_first_segment() {
    let packets = [
        segment(99, ACK, b""),
        segment(100, ACK, b"abc"),
        segment(103, ACK, b"de"),
    ];

    assert_eq!(arrivals(&packets), ["abc", "de"]);
}

#[test]
fn sequence_numbers_wrap() {
    let start = u32::MAX - 2;
    let packets = [
        segment(start, SYN, b""),
        segment(start.wrapping_add(5), ACK, b"ef"),
        segment(start + 1, ACK, b"abcd"),
        segment(start.wrapping_add(7), ACK, b"g"),
    ];

    assert_eq!(arrivals(&packets), ["<Began>", "abcd", "ef", "g"]);
}

#[test]
fn octets_that_were_not_captured_are_a_gap() {
    let mut cut = segment(10, ACK, b"abcdef");
    cut.truncate(cut.len() - 4);
    let packets = [segment(9, SYN, b""), cut, segment(16, ACK, b"g")];

    assert_eq!(arrivals(&packets), ["<Began>", "ab", "<Gap(4)>", "g"]);
}

#[test]
fn a_reset_ends_both_directions() {
    let packets = [
        segment(9, SYN, b""),
        segment(12, ACK, b"c"),
        segment(13, RST, b""),
        segment(9, SYN, b""),
        segment(10, ACK, b"again"),
    ];

    let expected = ["<Began>", "<Gap(2)>", "c", "<Reset>", "<Began>", "again"];
    assert_eq!(arrivals(&packets), expected);
}

#[test]
fn a_recorded_stream_is_read_as_a_capture() {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(STREAM, &sink);
    let path = tcp("10.0.0.1:102", "10.0.0.2:50000");
    toy.link(at(0), path, Link::Up);
    toy.receive(at(1), path, &alloc::vec![b'q'; 100_000]);
    toy.command(at(2), send(path, &b"answer"[..])).unwrap();
    drain(&mut toy, at(3));
    toy.link(at(4), path, Link::Ended);
    toy.command(at(4), ToyCommand::Close(path)).unwrap();
    drain(&mut toy, at(4));
    drop(toy);
    let file = sink.octets();

    let mut capture = Capture::open(&file).unwrap();
    let (mut flows, mut said) = (Flows::new(), Vec::new());
    while let Some(packet) = capture.next_packet().unwrap() {
        flows.packet(&packet, |arrival| {
            let way = if arrival.path == path { "in" } else { "out" };
            let what = match arrival.kind {
                FlowEventKind::Octets(octets) if octets.len() > 6 => octets.len().to_string(),
                what => say(&what),
            };
            said.push(format!("{way} {what}"));
        });
    }

    let expected = [
        "in <Began>",
        "out <Began>",
        "in 61440",
        "in 38560",
        "out answer",
        "in <Ended>",
        "out <Ended>",
    ];
    assert_eq!(said, expected);
    assert!(flows.skipped().link_type > 0, "the JSON interface");
}
