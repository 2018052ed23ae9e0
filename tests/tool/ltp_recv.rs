//! `farlink ltp recv` when disks are full, offsets are forged, and nobody listens to what it says.

use std::net::UdpSocket;

use farlink::ltp::{Body, Checkpoint, Color, Data, Mark, Reason, Segment, SessionId};
use serde_json::json;

use super::ltp::{RECV, files, folder, pattern, receive, send, silence};
use super::*;

/// A green segment of engine 7, session 100.
fn green(offset: u64, octets: &[u8], ends_block: bool) -> Vec<u8> {
    let session = SessionId {
        originator: 7,
        number: 100,
    };
    let data = Data {
        client: 4,
        offset,
        color: Color::Green { ends_block },
        octets,
    };
    let mut datagram = Vec::new();
    Segment::new(session, Body::Data(data)).encode(&mut datagram);
    datagram
}

fn datagram(octets: &[u8], to: &str) -> UdpSocket {
    let (socket, _) = silence();
    socket.send_to(octets, to).unwrap();
    socket
}

/// The offset in a header decides nothing about the room that is taken.
#[cfg(unix)]
#[test]
fn a_datagram_of_12_octets_takes_one_page_of_the_disk_wherever_it_says_to_be() {
    use std::os::unix::fs::MetadataExt as _;

    let out = folder("ltp_sparse");
    let mut node = receive(&["--retries", "0", "--out", &out]);

    let forged = green((1 << 30) - 1, b"x", false);
    assert!(forged.len() <= 12);
    datagram(&forged, &node.address);

    // The engine may give up first, and say so.
    let mut lines = node.lines.by_ref().map(|line| line.unwrap());
    let kept = lines.find(|line| line.contains("\"received\"")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["missing"], json!([[0, (1 << 30) - 1]]));
    let file = fs::metadata(kept["file"].as_str().unwrap()).unwrap();
    assert_eq!(file.len(), 1 << 30, "the octet is where it belongs");
    assert!(file.blocks() * 512 <= 1 << 16, "{}", file.blocks());
}

#[test]
fn a_block_beyond_the_limit_is_refused_with_the_name_of_the_limit() {
    let mut node = receive(&["--limit", "1000"]);

    // The octet at 1000 of engine 7, session 100.
    datagram(&[3, 7, 100, 0, 4, 0x87, 0x68, 1, 5, 0, b'x'], &node.address);

    node.next_event("peer");
    let failed = node.next_event("failed");
    assert_eq!(failed["cause"], "limit_exceeded");
    assert_eq!(failed["exceeded"], "session_octets");
    assert_eq!(
        (&failed["limit"], &failed["value"]),
        (&json!(1000), &json!(1001))
    );
}

#[test]
fn green_octets_beyond_the_limit_are_refused_with_the_limit() {
    let mut node = receive(&["--once", "--limit", "1000"]);

    datagram(&green(999, b"xy", false), &node.address);

    node.next_event("peer");
    let failed = node.next_event("failed");
    assert_eq!(
        (&failed["cause"], &failed["peer"], &failed["session"]),
        (&json!("limit_exceeded"), &json!(7), &json!(100))
    );
    assert_eq!(
        failed["reason"],
        "octets up to 1001 exceed the limit of 1000 (--limit)"
    );
    assert_eq!(failed["exceeded"], "session_octets");
    assert_eq!(
        (&failed["limit"], &failed["value"]),
        (&json!(1000), &json!(1001))
    );
    assert_eq!(node.process.wait().unwrap().code(), Some(1));
}

/// A limit of the length of files is met as a full disk is, in the middle of a block.
#[cfg(unix)]
#[test]
fn a_block_that_cannot_be_written_is_reported_by_name_and_the_receiver_serves_on() {
    for as_json in [true, false] {
        let out = folder("ltp_full");
        let tool = env!("CARGO_BIN_EXE_farlink");
        let json = if as_json { "--json" } else { "" };
        // Blocks of the shell's limit have 512 or 1024 octets.
        let script = format!(
            "trap '' XFSZ; ulimit -f 16; exec '{tool}' {} --out '{out}' {json}",
            RECV.join(" ")
        );
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = match serde_json::from_str::<Value>(&first) {
            Ok(object) => object["address"].as_str().unwrap().to_owned(),
            Err(_) => first.rsplit(' ').next().unwrap().to_owned(),
        };
        let long = written("ltp_full_long.bin", &pattern(100_000));
        let short = written("ltp_full_short.bin", &pattern(100));

        send(&long, &address, &[]).badly(1, "cancelled by the client service");
        send(&short, &address, &[]).well();

        let mut told = Vec::new();
        while told.len() < 10 {
            let line = lines.next().unwrap().unwrap();
            let is_received = line.contains("100 octets") || line.contains("\"received\"");
            told.push(line);
            if is_received {
                break;
            }
        }
        interrupt(&process);
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "what the help says");
        told.push(String::from_utf8(output.stderr).unwrap());
        let failed = told
            .iter()
            .find(|line| line.contains("File too large"))
            .unwrap_or_else(|| panic!("{told:?}"));
        if as_json {
            let failed: Value = serde_json::from_str(failed).unwrap();
            assert_eq!(
                (&failed["event"], &failed["cause"], &failed["peer"]),
                (&json!("failed"), &json!("not_stored"), &json!(1))
            );
            // The file system tells no limit. The shell's is of 8192 or 16,384 octets.
            let value = failed["value"].as_u64().unwrap();
            assert!((8192..100_001).contains(&value), "{failed}");
            assert_eq!(failed["limit"], Value::Null);
        } else {
            assert!(failed.contains("block 1:"), "{failed}");
            assert!(failed.contains("from engine 1 is refused: "), "{failed}");
        }
        let kept = files(&out);
        assert_eq!(kept.len(), 1, "nothing is left of the other");
        assert_eq!(kept[0].1, pattern(100));
    }
}

#[cfg(unix)]
#[test]
fn files_that_a_killed_receiver_left_are_reported_at_the_next_start() {
    let out = folder("ltp_left");
    let mut node = receive(&["--out", &out]);
    datagram(&green(5, b"end", false), &node.address);
    node.next_event("peer");
    while files(&out).is_empty() || files(&out)[0].1.len() < 8 {
        std::thread::yield_now();
    }

    node.process.kill().unwrap();
    node.process.wait().unwrap();

    let name = format!(".client4-engine7-session100.{}.part", node.process.id());
    let mut again = tool(&[&RECV[..], &["--json", "--out", &out]].concat())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(again.stdout.take().unwrap()).lines();
    let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    again.kill().unwrap();
    again.wait().unwrap();
    assert_eq!(
        told,
        json!({ "event": "unfinished", "file": format!("{out}/{name}"), "octets": 8 })
    );
}

/// As in `farlink ltp recv --json | head -1`.
#[test]
fn a_receiver_ends_when_nobody_reads_what_it_says() {
    let out = folder("ltp_unread");
    let file = written("ltp_unread.bin", &pattern(1000));
    let arguments = [&RECV[..], &["--json", "--out", &out]].concat();
    let mut process = tool(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let address = first["address"].as_str().unwrap().to_owned();
    drop(lines);

    send(&file, &address, &["--retries", "0"]);

    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("nobody reads standard output"), "{told}");
    for (name, octets) in files(&out) {
        assert!(octets == pattern(1000), "{name} is whole");
    }
}

#[test]
fn failures_of_a_command_with_json_are_objects() {
    let node = receive(&[]);
    let taken = [
        "ltp",
        "recv",
        "--bind",
        &node.address,
        "--engine",
        "3",
        "--client",
        "4",
        "--json",
    ];

    let ran = farlink(&taken);

    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let objects = ran.objects();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["event"], "error");
    let reason = objects[0]["reason"].as_str().unwrap();
    assert!(reason.contains("another node or program"), "{reason}");
    let ran = farlink(&[&RECV[..], &["--json", "--out", "/proc"]].concat());
    assert_eq!((ran.status, ran.err.as_str()), (2, ""));
    assert_eq!(ran.objects()[0]["event"], "error");
}

#[test]
fn options_that_make_no_sense_are_refused_with_the_limit_and_the_value() {
    let with = |options: &[&str]| farlink(&[&RECV[..], options].concat());
    let file = written("ltp_options.bin", &pattern(10));

    with(&["--limit", "0"]).badly(2, "a limit of 0 octets is below the minimum of 1");
    with(&["--peer", "2=127.0.0.1:9"]).badly(2, "--peer 2: this engine has ID 2");
    send(&file, "127.0.0.1:9", &["--segment", "99999999999"]).badly(
        2,
        "a segment of 99999999999 octets exceeds 65507, the limit of a UDP datagram",
    );
    for duration in ["--owlt", "--silence"] {
        let limit = "s exceeds the limit of 3162240000s";
        with(&[duration, "1e19"]).badly(2, limit);
        send(&file, "127.0.0.1:9", &[duration, "1e300"]).badly(2, limit);
    }
    with(&["--out", "-", "--durable"]).badly(2, "--durable needs --out with a directory");
}

#[cfg(unix)]
#[test]
fn a_key_file_or_contact_plan_without_an_end_is_read_up_to_the_limit() {
    let file = written("ltp_endless.bin", &pattern(10));
    for option in ["--key-file", "--contacts"] {
        let ran = send(&file, "127.0.0.1:9", &[option, "/dev/zero"]);
        ran.badly(
            2,
            "/dev/zero: a text file of more than the limit of 16777216 octets",
        );
    }
}

/// With 1024 engines that have sessions, none is accepted that only asks whether this one is there.
#[test]
fn an_engine_that_finds_no_room_is_refused_and_that_is_printed_once() {
    let mut node = receive(&[]);
    let (socket, _) = silence();
    let address = node.address.clone();
    let say = |originator, body| {
        let session = SessionId {
            originator,
            number: 100,
        };
        let mut datagram = Vec::new();
        Segment::new(session, body).encode(&mut datagram);
        socket.send_to(&datagram, &address).unwrap();
    };
    let begin = Data {
        client: 4,
        offset: 0,
        color: Color::Red(None),
        octets: b"begin",
    };
    let whole = Data {
        color: Color::Red(Some(Checkpoint {
            serial: 7,
            report: 0,
            mark: Mark::Block,
        })),
        ..begin
    };
    let mut events = Vec::new();
    for turn in 0..32 {
        for engine in 64 * turn..64 * (turn + 1) {
            say(1_000_000 + engine, Body::Data(begin));
            say(2_000_000 + engine, Body::CancelBySender(Reason::USER));
        }
        // Once this is received, so is what was sent before.
        say(3_000_000 + turn, Body::Data(whole));
        let next = || -> Value {
            let line = node.lines.next().unwrap().unwrap();
            serde_json::from_str(&line).unwrap()
        };
        let before = core::iter::repeat_with(next);
        events.extend(before.take_while(|event| event["event"] != "received"));
    }

    let refused: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "peer_refused")
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["limit"], 1024);
}

#[test]
fn the_unspecified_ipv6_address_receives_from_both_families() {
    let file = written("ltp_dual.bin", &pattern(10_000));
    let receive = |options: &[&str]| {
        let all = [
            "ltp", "recv", "--bind", "[::]:0", "--engine", "2", "--client", "4", "--json",
        ];
        Server::start(&[&all[..], options].concat())
    };
    let mut node = receive(&[]);
    let (_, port) = node.address.rsplit_once(':').unwrap();
    let port = port.to_owned();
    for host in ["127.0.0.1", "[::1]"] {
        send(&file, &format!("{host}:{port}"), &[]).well();

        let peer = node.next_event("peer");
        let address = peer["address"].as_str().unwrap();
        assert!(address.starts_with(&format!("{host}:")), "{address}");
        assert_eq!(node.next_event("received")["octets"], 10_000);
    }
    let (socket, sender) = silence();
    drop(socket);
    let named = receive(&["--peer", &format!("1={sender}")]);
    let (_, port) = named.address.rsplit_once(':').unwrap();
    send(&file, &format!("127.0.0.1:{port}"), &["--bind", &sender]).well();
}
