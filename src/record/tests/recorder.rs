//! What a recorder writes, on which interface, and what it omits.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::panic::AssertUnwindSafe;
use std::io::{self, Write};
use std::panic::catch_unwind;
use std::sync::Mutex;

use super::toy::{
    DATAGRAMS, STREAM, Shared, Toy, ToyCommand, at, drain, recorder, send, socket, tcp, udp,
};
use crate::record::{
    Capture, EntryKind, Files, Flush, Frame, Interface, RecordOptions, Recorder, Recording,
    RecordingEnd, replay,
};
use crate::{Cause, Hop, Link, Machine as _, Output, Path, Seed, Tag};

#[test]
fn every_call_is_in_the_recording_in_its_order() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.link(at(1), (), Link::Up);
    toy.receive(at(2), (), b"in");
    toy.command(at(3), send((), &b"out"[..])).unwrap();
    drain(&mut toy, at(4));
    drain(&mut toy, at(5));
    toy.command(at(6), ToyCommand::Quit).unwrap();
    toy.command(at(7), ToyCommand::Quit).unwrap_err();
    drain(&mut toy, at(2000));
    drop(toy);

    let expected = [
        r#"1 1 Link("{\"link\":\"up\",\"at\":null}")"#,
        r#"2 2 Receive { from: "null", octets: [105, 110] }"#,
        r#"3 3 Command("{\"command\":{\"Send\":{\"to\":null,\"payload\":\"hex:6f7574\"}}}")"#,
        r"3 3 Accepted",
        r#"4 4 Event("{\"event\":{\"Cue\":[null,\"up\"]}}")"#,
        r#"5 4 Event("{\"event\":{\"Got\":{\"from\":null,\"payload\":\"hex:696e\"}}}")"#,
        r#"6 4 Stream { to: "null", octets: [111, 117, 116] }"#,
        r"7 4 Idle(Some(0.000001002s))",
        r"8 5 Idle(Some(0.000001002s))",
        r#"9 6 Command("{\"command\":\"Quit\"}")"#,
        r"9 6 Accepted",
        r#"10 7 Command("{\"command\":\"Quit\"}")"#,
        r#"10 7 Refused("the toy is put away")"#,
        // The first octet is drawn from the seed.
        r#"11 2000 Stream { to: "null", octets: [31, 105, 110] }"#,
        r"12 2000 Done",
    ];
    assert_eq!(entries(&sink.octets()), expected);
}

#[test]
fn the_head_tells_version_kind_and_configuration() {
    let sink = Shared::default();
    drop(recorder::<Path>(DATAGRAMS, &sink));

    let file = sink.octets();
    let recording = Recording::open(&file).unwrap();

    let head = recording.head();
    assert_eq!(head.made_by, env!("CARGO_PKG_VERSION"));
    assert_eq!((head.kind.as_str(), head.part), ("toy", 0));
    let config: serde_json::Value = serde_json::from_str(&head.config()).unwrap();
    assert_eq!(config, serde_json::json!({"delay": 1000, "stream": false}));
    assert!(!head.redacted);
}

#[test]
fn what_was_flushed_survives_a_crash() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.receive(at(1), (), b"in");

    let crashed = sink.octets();

    assert_eq!(
        entries(&crashed),
        [r#"1 1 Receive { from: "null", octets: [105, 110] }"#]
    );
    drop(toy);
}

#[test]
fn gathered_blocks_go_out_whole_and_together() {
    let sink = Shared::default();
    let options = RecordOptions {
        flush: Flush::Gathered(2000),
        ..RecordOptions::default()
    };
    let mut toy = Recorder::<Toy<()>>::new(STREAM, Seed::from(7), sink.clone(), options).unwrap();

    assert!(
        sink.octets().is_empty(),
        "the head is shorter than the limit"
    );
    toy.receive(at(1), (), &[1; 3000]);
    let gathered = sink.octets();
    toy.receive(at(2), (), b"in");
    assert_eq!(sink.octets(), gathered);
    toy.flush();
    assert!(sink.octets().len() > gathered.len());
    drop(toy);

    assert_eq!(entries(&gathered).len(), 1);
    let outcome = replay::<Toy<()>>(&sink.octets()).unwrap();
    assert_eq!(outcome.to_string(), "2 calls match");
}

#[test]
fn the_call_at_which_a_machine_panics_is_recorded() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.command(at(1), ToyCommand::Break).unwrap();

    catch_unwind(AssertUnwindSafe(|| drain(&mut toy, at(2)))).unwrap_err();
    drop(toy);

    let entries = entries(&sink.octets());
    assert_eq!(entries.last().unwrap(), "2 2 NoReturn");
    let replayed = catch_unwind(|| replay::<Toy<()>>(&sink.octets()));
    assert!(replayed.is_err(), "the replay breaks at the same call");
}

#[test]
fn an_error_of_the_sink_is_kept_and_does_not_disturb_the_machine() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if octets.len() > self.0 {
                return Err(io::Error::other("no space left"));
            }
            self.0 -= octets.len();
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut toy =
        Recorder::<Toy<()>>::new(STREAM, Seed::from(7), Full(1500), RecordOptions::default())
            .unwrap();
    let mut bare = recorder::<()>(STREAM, &Shared::default());

    for time in 0..20 {
        toy.receive(at(time), (), b"in");
        bare.receive(at(time), (), b"in");
    }

    assert_eq!(drain(&mut toy, at(5000)), drain(&mut bare, at(5000)));
    assert!(!toy.is_recording());
    assert_eq!(toy.error().unwrap().to_string(), "no space left");
}

#[test]
fn parts_follow_each_other_and_replay_together() {
    let parts = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&parts);
    let rotate = move |part| -> io::Result<Option<Box<dyn Write + Send>>> {
        let sink = Shared::default();
        let mut given = given.lock().unwrap();
        assert_eq!(u32::try_from(given.len()).unwrap(), part);
        given.push(sink.clone());
        Ok(Some(sink.boxed()))
    };
    let mut toy = Recorder::<Toy<Path>>::rotating(DATAGRAMS, Seed::from(7), rotate, limited(3000));
    let toy = toy.as_mut().unwrap();
    let peer = udp("10.0.0.1:7", "10.0.0.2:7");
    for time in 0..50 {
        toy.receive(at(time * 100), peer, &[7; 100]);
        toy.command(at(time * 100), send(peer, alloc::vec![8; 5000]))
            .unwrap();
        drain(toy, at(time * 100));
    }
    toy.finish();

    let parts: Vec<Vec<u8>> = parts.lock().unwrap().iter().map(Shared::octets).collect();
    assert!(parts.len() > 10, "{}", parts.len());
    let all = replay::<Toy<Path>>(&parts.concat()).unwrap();
    assert!(all.matches(), "{all}");
    assert_eq!(all.end, RecordingEnd::Finished);

    let some = replay::<Toy<Path>>(&parts[..4].concat()).unwrap();
    assert!(some.matches(), "{some}");
    assert!(
        some.to_string()
            .ends_with("the next part of the recording is missing")
    );
    let late = replay::<Toy<Path>>(&parts[1]).unwrap_err();
    let expected = "the file begins with part 1 of a recording; a replay begins with part 0";
    assert_eq!(late.to_string(), expected);
    let gap = replay::<Toy<Path>>(&[&parts[0][..], &parts[2][..]].concat()).unwrap_err();
    let expected = "part 2 of a recording, where part 1 was expected";
    assert!(gap.to_string().starts_with(expected), "{gap}");
}

#[test]
fn without_a_next_part_the_recording_ends_at_its_limit() {
    let sink = Shared::default();
    let mut toy =
        Recorder::<Toy<()>>::new(STREAM, Seed::from(7), sink.clone(), limited(2000)).unwrap();
    for time in 0..100 {
        toy.receive(at(time), (), &[7; 100]);
    }
    assert!(!toy.is_recording());
    assert!(toy.error().is_none());
    drop(toy);

    let file = sink.octets();
    let outcome = replay::<Toy<()>>(&file).unwrap();

    assert!(file.len() < 2500, "{}", file.len());
    assert!(outcome.matches(), "{outcome}");
    assert_eq!(outcome.end, RecordingEnd::Limit);
}

#[test]
fn files_of_parts_are_numbered_after_the_first() {
    let files = Files::new("night/run.pcapng");

    assert_eq!(files.path(0).to_str(), Some("night/run.pcapng"));
    assert_eq!(files.path(12).to_str(), Some("night/run.12.pcapng"));
    assert_eq!(Files::new("run").path(1).to_str(), Some("run.1.pcapng"));
}

#[test]
fn a_large_payload_is_written_once_and_named_by_its_digest() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    let payload: Vec<u8> = (0..300_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ 0x55)
        .collect();
    for _ in 0..3 {
        toy.command(at(0), send((), payload.clone())).unwrap();
    }
    drop(toy);

    let file = sink.octets();
    let outcome = replay::<Toy<()>>(&file).unwrap();

    assert!(outcome.matches(), "{outcome}");
    assert!(file.len() < 310_000, "{}", file.len());
    let entries = entries(&file);
    assert!(entries[0].contains(r#"\"payload\":{\"$blob\":\"hex:"#));
    assert!(packets(&file).iter().all(|packet| packet.len() < 1 << 18));
}

#[test]
fn a_payload_of_4_kib_stays_in_the_json() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.command(at(0), send((), alloc::vec![1; 4096])).unwrap();
    toy.command(at(0), send((), alloc::vec![1; 4097])).unwrap();
    drop(toy);

    let entries = entries(&sink.octets());

    assert!(entries[0].contains("hex:0101"));
    assert!(entries[2].contains("$blob"));
}

#[test]
fn a_stream_is_not_recorded_once_it_is_detached() {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(STREAM, &sink);
    let path = tcp("10.0.0.1:7", "10.0.0.2:50000");
    toy.link(at(0), path, Link::Up);
    toy.receive(at(1), path, b"public");
    toy.command(at(2), ToyCommand::Detach(path)).unwrap();
    drain(&mut toy, at(3));
    toy.receive(at(4), path, b"private");
    toy.link(at(5), path, Link::Up);
    toy.receive(at(6), path, b"another life");
    drop(toy);

    let file = sink.octets();
    let holds = |text: &[u8]| file.windows(text.len()).any(|window| window == text);

    assert!(holds(b"public") && holds(b"another life"));
    assert!(!holds(b"private"));
}

#[test]
fn the_interface_of_an_address_can_be_chosen() {
    let sink = Shared::default();
    let chosen = tcp("192.0.2.9:5000", "192.0.2.10:102");
    let mut toy =
        recorder::<()>(STREAM, &sink).with_interfaces(move |()| Interface::Network(chosen));
    toy.receive(at(0), (), b"in");
    drop(toy);

    let packets = packets(&sink.octets());
    assert_eq!(packets[0][12..20], [192, 0, 2, 10, 192, 0, 2, 9]);
    assert_eq!(packets[0][20..24], [0, 102, 0x13, 0x88]);
}

#[test]
fn link_cues_become_segments_of_tcp() {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(STREAM, &sink);
    let path = |port: u16| Path::tcp(([10, 0, 0, 1], 7).into(), ([10, 0, 0, 2], port).into());
    let listener = Path::socket(crate::Proto::Tcp, socket("10.0.0.1:7"));
    toy.link(at(0), listener, Link::Opened(Tag(0)));
    toy.link(at(0), path(1), Link::Up);
    toy.receive(at(0), path(1), b"abc");
    toy.link(at(0), path(1), Link::Ended);
    toy.link(at(0), path(1), Link::Down(Cause::Closed));
    toy.link(at(0), path(2), Link::Opened(Tag(1)));
    toy.link(at(0), path(2), Link::Down(Cause::Reset));
    toy.link(at(0), path(3), Link::Failed(Tag(2), Cause::Refused));
    toy.command(at(0), ToyCommand::Close(path(1))).unwrap();
    toy.command(at(0), ToyCommand::Abort(path(2))).unwrap();
    drain(&mut toy, at(0));
    drop(toy);

    let file = sink.octets();
    let ip = packets(&file)
        .into_iter()
        .filter(|packet| packet[0] == 0x45);
    let segments: Vec<String> = ip
        .map(|packet| {
            let direction = if packet[15] == 1 { "out" } else { "in" };
            let port = packet[21] + packet[23] - 7;
            let number = |at: usize| {
                let octets: [u8; 4] = packet[at..at + 4].try_into().unwrap();
                u32::from_be_bytes(octets) & 0xf_ffff
            };
            format!(
                "{port} {direction} {:02x} {} {}",
                packet[33],
                number(24),
                number(28)
            )
        })
        .collect();

    // SYN 02, FIN 01, RST 04, ACK 10, PSH 08.
    let expected = [
        "1 in 02 0 0",
        "1 out 12 0 1",
        "1 in 10 1 1", //
        "1 in 18 1 1", //
        "1 in 11 4 1",
        "1 out 10 1 5", //
        "2 out 02 0 0",
        "2 in 12 0 1",
        "2 out 10 1 1", //
        "2 in 14 1 1",  //
        "3 out 02 0 0",
        "3 in 14 0 1",  //
        "1 out 11 1 5", //
        "2 out 14 1 1",
    ];
    assert_eq!(segments, expected);
}

/// Returns the directions and flags of the TCP segments in a file.
fn handshake(file: &[u8], local_port: u16) -> Vec<(&'static str, u8)> {
    let [high, low] = local_port.to_be_bytes();
    let segments = packets(file);
    let segments = segments.iter().filter(|packet| packet[0] == 0x45);
    segments
        .map(|packet| {
            let is_out = packet[20..22] == [high, low];
            (if is_out { "out" } else { "in" }, packet[33])
        })
        .collect()
}

#[test]
fn the_end_without_the_port_of_the_protocol_is_the_client_of_a_stream_that_came_up() {
    let up = |local: &str, remote: &str| {
        let sink = Shared::default();
        let mut toy = recorder::<Path>(STREAM, &sink);
        let path = tcp(local, remote);
        toy.link(at(0), path, Link::Up);
        drop(toy);
        handshake(&sink.octets(), path.local.port())
    };

    let client = up("10.0.0.1:50000", "10.0.0.2:7");
    let server = up("10.0.0.1:7", "10.0.0.2:50000");
    let unknown = up("10.0.0.1:50000", "10.0.0.2:60000");

    // SYN 02, ACK 10.
    assert_eq!(client, [("out", 0x02), ("in", 0x12), ("out", 0x10)]);
    assert_eq!(server, [("in", 0x02), ("out", 0x12), ("in", 0x10)]);
    assert_eq!(unknown, server, "a stream that came up was accepted");
}

#[test]
fn yield_is_recorded_and_replayed() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.command(at(1), ToyCommand::Yield).unwrap();
    drain(&mut toy, at(2));
    drop(toy);

    let file = sink.octets();
    let shown = entries(&file);
    assert_eq!(shown[2..], ["2 2 Yield", "3 2 Idle(None)"]);
    assert_eq!(
        replay::<Toy<()>>(&file).unwrap().to_string(),
        "3 calls match"
    );
}

#[test]
fn any_number_of_idle_polls_needs_no_packet() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    let mut tx = crate::Transmit::new(crate::Limits::default());

    for time in 0..100_000 {
        assert_eq!(toy.poll(at(time), &mut tx), Output::Idle(None));
    }
    drop(toy);

    let file = sink.octets();
    assert!(file.len() < 400_000, "{}", file.len());
    let outcome = replay::<Toy<()>>(&file).unwrap();
    assert_eq!(outcome.to_string(), "100000 calls match");
}

fn limited(octets: u64) -> RecordOptions {
    RecordOptions {
        part_octets: Some(octets),
        ..RecordOptions::default()
    }
}

fn entries(file: &[u8]) -> Vec<String> {
    let mut calls = Recording::open(file).unwrap().calls().unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = calls.next_entry().unwrap() {
        let time = entry.time.as_nanos();
        let act = match entry.kind {
            EntryKind::Command(text) => format!("Command({text:?})"),
            other => format!("{other:?}"),
        };
        entries.push(format!("{} {time} {act}", entry.number));
    }
    entries
}

fn packets(file: &[u8]) -> Vec<Vec<u8>> {
    let mut capture = Capture::open(file).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        packets.push(packet.octets.to_vec());
    }
    packets
}

#[test]
fn datagrams_on_other_ports_have_tags_with_the_port_to_read_them_by() {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(DATAGRAMS, &sink);
    let known = udp("10.0.0.1:7", "10.0.0.2:5000");
    let others = [
        udp("10.0.0.1:4000", "10.0.0.2:5000"),
        udp("[2001:db8::1]:4000", "[2001:db8::2]:5000"),
    ];
    for path in [known, others[0], others[1]] {
        toy.receive(at(1), path, b"read me");
    }
    drop(toy);

    let file = sink.octets();
    let mut capture = Capture::open(&file).unwrap();
    let mut seen = Vec::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        if let Ok(frame) = Frame::read(packet.link_type, packet.octets) {
            assert_eq!(frame.payload, b"read me");
            seen.push((packet.link_type, Path::udp(frame.destination, frame.source)));
        }
    }
    assert_eq!(seen, [(101, known), (252, others[0]), (252, others[1])]);
    assert!(replay::<Toy<Path>>(&file).unwrap().matches());
}

#[test]
fn a_bus_cannot_have_the_link_type_of_tags() {
    let sink = Shared::default();
    let mut toy = recorder::<Hop>(DATAGRAMS, &sink).with_interfaces(|_| Interface::Bus {
        name: "odd".into(),
        link_type: 252,
    });

    toy.receive(
        at(1),
        Hop {
            interface: 0,
            via: 1,
        },
        b"frame",
    );

    assert!(toy.error().is_some());
}
