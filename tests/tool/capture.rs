//! `farlink decode` on captures.

use std::fs;

use serde_json::json;

use super::ethernet::{ACK, EPOCH, FIN, From, RST, SYN, Tap};
use super::{farlink, farlink_on, kept, peak_memory, scratch, tool, written};

const CR: [u8; 11] = [3, 0, 0, 11, 6, 0xE0, 0, 0, 0, 1, 0];
const CC: [u8; 11] = [3, 0, 0, 11, 6, 0xD0, 0, 1, 0, 2, 0];
/// Data of five octets.
const DT: [u8; 12] = [3, 0, 0, 12, 2, 0xF0, 0x80, b'h', b'e', b'l', b'l', b'o'];

/// A handshake, segments out of order and again, data across segments, and other traffic in between.
fn conversation(port: u16) -> Vec<u8> {
    let mut tap = Tap::new(port);
    tap.segment(From::Client, 99, SYN, b"");
    tap.segment(From::Server, 499, SYN | ACK, b"");
    tap.ping();
    tap.segment(From::Client, 100, ACK, &CR);
    tap.segment(From::Server, 500, ACK, &CC);
    tap.segment(From::Client, 115, ACK, &DT[4..]);
    tap.segment(From::Client, 111, ACK, &DT[..4]);
    tap.segment(From::Client, 111, ACK, &DT);
    tap.segment(From::Client, 123, FIN, b"");
    tap.file()
}

#[test]
fn streams_of_a_capture_are_put_in_order() {
    let ran = farlink_on(&conversation(102), &["decode", "--data"]);

    assert_eq!(ran.status, 0);
    let expected = [
        "  0.003000000s  10.0.0.1:50000 > 10.0.0.2:102  CR from 0x0001 to 0x0000, class 0",
        "  0.004000000s  10.0.0.2:102 > 10.0.0.1:50000  CC from 0x0002 to 0x0001, class 0",
        "  0.006000000s  10.0.0.1:50000 > 10.0.0.2:102  DT 5 octets, end of message: 68656c6c6f",
    ];
    assert_eq!(ran.lines(), expected);
    assert_eq!(
        ran.err,
        "farlink: skipped 1 packet: 1 neither UDP nor TCP\n"
    );
}

#[test]
fn packets_on_other_ports_are_counted_and_read_when_asked() {
    let file = written("port_4102.pcap", &conversation(4102));

    let ran = farlink(&["decode", &file]);
    let asked = farlink(&["decode", "--port", "102", "--port", "4102", &file]);

    assert_eq!((ran.status, ran.out.as_str()), (0, ""));
    let skipped = "farlink: skipped 9 packets: 8 on other ports, 1 neither UDP nor TCP\n";
    assert_eq!(ran.err, skipped);
    assert_eq!((asked.status, asked.lines().len()), (0, 3));
}

#[test]
fn the_fields_of_a_captured_pdu_are_those_of_the_manual() {
    let ran = farlink_on(&conversation(102), &["decode", "--json", "--data"]);

    let expected = json!({
        "time_ns": (u64::from(EPOCH) * 1000 + 6) * 1_000_000,
        "from": "10.0.0.1:50000",
        "to": "10.0.0.2:102",
        "protocol": "cotp",
        "offset": 11,
        "length": 12,
        "tpdu": "DT",
        "end": true,
        "number": 0,
        "octets": 5,
        "user_data": "68656c6c6f",
    });
    assert_eq!(ran.objects()[2], expected);
}

#[test]
fn recordings_are_captures_with_the_time_of_the_machine() {
    let ran = farlink(&["decode", &kept("minutes_away.responder")]).well();

    let lines = ran.lines();
    assert_eq!(lines.len(), 4);
    let first = "720.000000000s  192.0.2.2:102 > 192.0.2.1:49152  CR from ";
    assert!(lines[0].starts_with(first), "{}", lines[0]);
    assert!(lines[3].contains(" DT 4 octets, "), "{}", lines[3]);
}

#[test]
fn behind_a_gap_reading_goes_on_with_the_next_packet() {
    let mut tap = Tap::new(102);
    tap.segment(From::Client, 99, SYN, b"");
    tap.segment_cut(From::Client, 100, ACK, &DT, 8);
    tap.segment(From::Client, 112, ACK, b"the tail of something");
    tap.segment(From::Client, 133, ACK, &DT);
    let file = tap.file();

    let ran = farlink_on(&file, &["decode", "--data"]).well();
    let objects = farlink_on(&file, &["decode", "--json"]).well().objects();

    let way = "10.0.0.1:50000 > 10.0.0.2:102";
    let expected = [
        format!(
            "  0.001000000s  {way}  8 octets of a packet, the rest of which is not in the capture"
        ),
        format!("  0.001000000s  {way}  4 octets are not in the capture"),
        format!("  0.003000000s  {way}  DT 5 octets, end of message: 68656c6c6f"),
    ];
    assert_eq!(ran.lines(), expected);
    assert_eq!(objects[0]["unfinished"], 8);
    assert_eq!(objects[1]["gap"], 4);
    assert_eq!(objects[2]["offset"], 33);
}

#[test]
fn a_stream_met_half_way_is_read_from_the_next_packet() {
    let mut tap = Tap::new(102);
    tap.segment(From::Server, 4000, ACK, &DT[5..]);
    tap.segment(From::Server, 4007, ACK, &DT);

    let ran = farlink_on(&tap.file(), &["decode"]).well();

    assert_eq!(ran.lines().len(), 1);
    assert!(ran.lines()[0].contains(" DT 5 octets"), "{}", ran.out);
}

#[test]
fn a_stream_that_ends_inside_a_packet_is_a_fault() {
    let mut tap = Tap::new(102);
    tap.segment(From::Client, 99, SYN, b"");
    tap.segment(From::Client, 100, ACK, &CR);
    tap.segment(From::Client, 111, FIN, &DT[..7]);

    let ran = farlink_on(&tap.file(), &["decode"]).badly(1, "");

    let told = "packet at octet 11 of the stream: the last packet is cut short after 7 octets";
    assert!(ran.lines()[1].ends_with(told), "{}", ran.out);
}

/// The rest of the datagram is unknown.
#[test]
fn a_stream_that_is_reset_inside_a_packet_is_no_fault() {
    let mut tap = Tap::new(102);
    tap.segment(From::Client, 99, SYN, b"");
    tap.segment(From::Client, 100, ACK, &CR[..7]);
    tap.segment(From::Server, 500, RST, b"");

    let ran = farlink_on(&tap.file(), &["decode"]).well();

    assert!(
        ran.lines()[0].contains("7 octets of a packet"),
        "{}",
        ran.out
    );
}

#[test]
fn octets_that_are_no_packets_are_a_fault_and_told_once() {
    let mut tap = Tap::new(102);
    tap.segment(From::Client, 99, SYN, b"");
    tap.segment(From::Client, 100, ACK, b"GET / HTTP/1.1\r\n");
    tap.segment(From::Client, 116, ACK, b"Host: example\r\n\r\n");

    let ran = farlink_on(&tap.file(), &["decode"]).badly(1, "");

    let told = "packet at octet 0 of the stream: TPKT version at offset 0: 71 is not 3";
    assert_eq!(ran.lines().len(), 1);
    assert!(ran.lines()[0].ends_with(told), "{}", ran.out);
}

#[test]
fn a_file_that_breaks_off_is_read_as_far_as_it_goes() {
    let mut file = conversation(102);
    file.truncate(file.len() - 3);
    let path = written("cut.pcap", &file);

    let ran = farlink(&["decode", &path]);

    let ran = ran.badly(
        1,
        "cut.pcap: the capture breaks off behind the packet at octet ",
    );
    assert_eq!(ran.lines().len(), 3);
}

#[test]
fn a_file_that_breaks_off_at_once_or_is_compressed_or_of_another_link_is_reported_as_that() {
    let file = conversation(102);
    let cut = written("cut_at_once.pcap", &file[..30]);
    let zipped = written("zipped.pcap.gz", &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0]);
    // The link type stands last in the head of the file.
    let mut other = file;
    other[20..24].copy_from_slice(&[0x0F, 0x27, 0, 0]);
    let other = written("other_link.pcap", &other);

    farlink(&["decode", &cut]).badly(1, "breaks off before its first packet");
    farlink(&["decode", &zipped]).badly(2, "zipped.pcap.gz: compressed with gzip");
    farlink(&["decode", &other]).badly(0, "of an unknown link type such as 9999");
}

#[test]
fn a_broken_file_is_reported_with_the_octet_at_fault() {
    let mut file = fs::read(kept("messages.initiator")).unwrap();
    // The length of the second block.
    let second = usize::from(file[4]);
    file[second + 4] = 1;
    let path = written("broken.pcapng", &file);

    let ran = farlink(&["decode", &path]);

    ran.badly(
        1,
        &format!("malformed at octet {second}: the length of a block"),
    );
}

#[test]
fn a_broken_file_is_drawn_as_far_as_it_goes() {
    let mut file = fs::read(kept("messages.initiator")).unwrap();
    let last = file.len() - 4;
    file[last] ^= 1;
    let (path, drawing) = (
        written("broken_end.pcapng", &file),
        scratch("broken_end.svg"),
    );

    farlink(&["decode", &path, "--ladder", &drawing])
        .badly(1, "broken_end.pcapng: malformed at octet ");

    assert!(fs::read_to_string(drawing).unwrap().contains("CR"));
}

#[test]
fn a_redacted_recording_shows_when_how_much_went_where() {
    let out = scratch("redacted_decode.pcapng");
    farlink(&["replay", "--redact", &out, &kept("messages.initiator")]).well();

    let ran = farlink(&["decode", &out]).well();

    let first = "  0.000000000s  192.0.2.1:49152 > 192.0.2.2:102  22 octets are not in the capture";
    assert_eq!(ran.lines()[0], first);
    assert_eq!(ran.lines().len(), 5);
}

/// Of 100 MB, in packets on other ports.
#[cfg(target_os = "linux")]
#[test]
fn a_capture_is_read_as_a_stream() {
    const LEN: usize = 60_000;
    let header: [u32; 6] = [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 101];
    let mut packet: Vec<u8> = [0, 0, 60_000, 60_000]
        .iter()
        .flat_map(|field: &u32| field.to_le_bytes())
        .collect();
    packet.extend([0x45, 0, 0xEA, 0x60, 0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend([0, 9, 0, 9, 0xEA, 0x4C, 0, 0]);
    packet.resize(16 + LEN, 0xFF);
    let mut file: Vec<u8> = header
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect();
    file.extend(packet.repeat(100_000_000 / LEN));
    let path = written("large.pcap", &file);

    let child = tool(&["decode", &path]).spawn().unwrap();
    let (output, peak) = peak_memory(child);

    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("skipped 1666 packets"), "{told}");
    assert!((1..50_000).contains(&peak), "{peak} kB");
    fs::remove_file(path).unwrap();
}
