//! `farlink ltp`, over loopback.

use std::io::Read as _;
use std::net::UdpSocket;
use std::process::Output;
use std::time::Duration;

use farlink::ltp::{Body, Color, Data, Segment, SessionId};
use serde_json::json;

use super::*;

/// Engine 2, which receives for client 4 on a free port.
pub(super) const RECV: [&str; 8] = [
    "ltp",
    "recv",
    "--bind",
    "127.0.0.1:0",
    "--engine",
    "2",
    "--client",
    "4",
];

/// Starts to receive as engine 2 for client 4.
pub(super) fn receive(arguments: &[&str]) -> Server {
    Server::start(&[&RECV[..], &["--json"], arguments].concat())
}

/// Sends as engine 1 to engine 2 for client 4.
pub(super) fn send(file: &str, address: &str, arguments: &[&str]) -> Ran {
    send_input(b"", file, address, arguments)
}

fn send_input(input: &[u8], file: &str, address: &str, arguments: &[&str]) -> Ran {
    let to = format!("2={address}");
    let all = [
        "ltp", "send", file, "--engine", "1", "--to", &to, "--client", "4",
    ];
    farlink_on(input, &[&all, arguments].concat())
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// An empty folder.
pub(super) fn folder(name: &str) -> String {
    let path = scratch(name);
    let _ = fs::remove_dir_all(&path);
    path
}

pub(super) fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

pub(super) fn event<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let mut objects = objects.iter();
    objects
        .find(|object| object["event"] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

/// Somebody who never answers.
pub(super) fn silence() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(100)))
        .unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[test]
fn a_file_arrives_whole_and_both_recordings_replay() {
    let out = folder("ltp_whole");
    let data = pattern(300_000);
    let sent = written("ltp_whole.bin", &data);
    let (theirs, ours) = (scratch("ltp_recv.pcapng"), scratch("ltp_send.pcapng"));
    let mut node = receive(&["--out", &out, "--once", "--record", &theirs]);

    let ran = send(&sent, &node.address, &["--json", "--record", &ours]).well();

    let objects = ran.objects();
    let complete = event(&objects, "complete");
    assert_eq!(complete["octets"], 300_000);
    assert_eq!(event(&objects, "sending")["red"], 300_000);
    assert_eq!(node.next_event("peer")["engine"], 1);
    let received = node.next_event("received");
    assert_eq!(received["session"], complete["session"]);
    assert_eq!(
        (&received["from"], &received["client"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(
        (&received["red"], &received["green"]),
        (&json!(300_000), &json!(0))
    );
    assert!(node.process.wait().unwrap().success());
    let name = format!("client4-engine1-session{}", complete["session"]);
    assert_eq!(received["file"], format!("{out}/{name}"));
    assert!(files(&out) == [(name, data)], "the file, and nothing else");
    for recording in [theirs, ours] {
        farlink(&["replay", &recording]).well();
        let decoded = farlink(&["decode", &recording]).well();
        assert!(
            decoded.out.contains(", all of 0..300000"),
            "{}",
            decoded.out
        );
    }
}

#[test]
fn green_octets_belong_to_the_same_file() {
    let out = folder("ltp_green");
    let data = pattern(9000);
    let sent = written("ltp_green.bin", &data);
    for (green, once) in [("4000", "--once"), ("9000", "--once")] {
        let mut node = receive(&["--out", &out, once]);

        let ran = send(&sent, &node.address, &["--green", green]).well();

        assert!(
            ran.out.contains("of 9000 octets is complete"),
            "{}",
            ran.out
        );
        node.next_event("peer");
        let received = node.next_event("received");
        assert_eq!(received["green"].to_string(), green);
        assert_eq!(
            (&received["octets"], &received["missing"]),
            (&json!(9000), &json!([]))
        );
        assert!(node.process.wait().unwrap().success());
        let kept = received["file"].as_str().unwrap();
        assert!(fs::read(kept).unwrap() == data);
    }
}

#[test]
fn a_block_goes_from_standard_input_to_standard_output() {
    let data = pattern(100_000);
    let arguments = [
        "ltp", "recv", "--engine", "2", "--client", "4", "--once", "--out", "-", "--bind",
    ];
    // What is told goes to standard error, the address with it.
    let mut process = tool(&[&arguments[..], &["127.0.0.1:0"]].concat())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines();
    let line = told.next().unwrap().unwrap();
    let address = line.rsplit(' ').next().unwrap().to_owned();
    let mut stdout = process.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut octets = Vec::new();
        stdout.read_to_end(&mut octets).unwrap();
        octets
    });

    send_input(&data, "-", &address, &[]).well();

    assert!(process.wait().unwrap().success());
    assert!(reader.join().unwrap() == data);
    let rest: Vec<String> = told.map(|line| line.unwrap()).collect();
    assert!(
        rest.iter().any(|line| line.contains("100000 octets")),
        "{rest:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_receiver_goes_on_with_further_blocks_and_senders_from_anywhere() {
    let out = folder("ltp_many");
    let mut node = receive(&["--out", &out]);
    for number in 0..3_u8 {
        let sent = written(&format!("ltp_many_{number}.bin"), &[number; 10]);
        send(&sent, &node.address, &[]).well();
        // Each sender has another port.
        assert_eq!(node.next_event("peer")["engine"], 1);
        node.next_event("received");
    }

    interrupt(&node.process);

    assert!(node.process.wait().unwrap().success());
    let mut kept: Vec<Vec<u8>> = files(&out).into_iter().map(|(_, octets)| octets).collect();
    kept.sort();
    assert_eq!(kept, [[0; 10], [1; 10], [2; 10]]);
}

#[test]
fn unknown_engines_are_reported_and_rejected() {
    let file = written("ltp_unknown_peer.bin", &pattern(10));
    let mut node = receive(&["--peer", "9=127.0.0.1:9"]);

    let ran = send(&file, &node.address, &["--retries", "0"]);

    let words = "engine 2 does not answer, block 1:";
    let ran = ran.badly(1, words);
    assert!(
        ran.err.contains("retransmission limit exceeded"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("it claimed 0 of 10 red octets"),
        "{}",
        ran.err
    );
    let unknown = node.next_event("unknown_peer");
    assert_eq!(unknown["engine"], 1);
    assert!(
        unknown["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}

#[test]
fn a_named_peer_is_heard_from_its_address() {
    let (socket, sender) = silence();
    drop(socket);
    let file = written("ltp_named.bin", &pattern(10));
    let mut node = receive(&["--peer", &format!("1={sender}"), "--once"]);

    send(&file, &node.address, &["--bind", &sender]).well();

    assert_eq!(node.next_event("received")["octets"], 10);
    assert!(node.process.wait().unwrap().success());
}

/// What was acknowledged is nowhere else any more.
#[test]
fn every_block_that_was_acknowledged_is_kept_even_behind_the_last_one() {
    let out = folder("ltp_behind");
    let mut node = receive(&["--out", &out, "--once"]);
    let to = format!("2={}", node.address);
    let senders: Vec<Child> = (1..5)
        .map(|engine: u32| {
            let file = written(&format!("ltp_behind_{engine}.bin"), &pattern(40_000));
            let engine = engine.to_string();
            let arguments = [
                "ltp",
                "send",
                &file,
                "--engine",
                &engine,
                "--to",
                &to,
                "--client",
                "4",
                "--retries",
                "0",
                // A receiver may answer, and end before it gets the block.
                "--silence",
                "5",
            ];
            tool(&arguments).spawn().unwrap()
        })
        .collect();

    let succeeded = senders
        .into_iter()
        .map(|sender| sender.wait_with_output().unwrap().status.success())
        .filter(|is_well| *is_well)
        .count();

    assert!(node.process.wait().unwrap().success());
    let kept = files(&out);
    assert!(
        succeeded >= 1 && kept.len() >= succeeded,
        "{succeeded} and {}",
        kept.len()
    );
    assert!(kept.iter().all(|(_, octets)| *octets == pattern(40_000)));
}

/// A sender has nowhere to put a block, so it must not take one.
#[test]
fn two_senders_that_meet_do_not_acknowledge_each_other() {
    let (one, two) = (silence().1, silence().1);
    let file = written("ltp_meet.bin", &pattern(10));
    let arguments = |engine, here: &str, other, there: &str| {
        let to = format!("{other}={there}");
        let arguments = [
            "ltp",
            "send",
            &file,
            "--engine",
            engine,
            "--bind",
            here,
            "--to",
            &to,
            "--client",
            "4",
            "--retries",
            "0",
        ];
        tool(&arguments).spawn().unwrap()
    };
    let first = arguments("1", &one, "2", &two);

    let second = arguments("2", &two, "1", &one);

    for process in [first, second] {
        let Output { status, stderr, .. } = process.wait_with_output().unwrap();
        let told = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{told}");
        assert!(told.contains("does not answer"), "{told}");
    }
}

#[test]
fn a_service_that_nobody_has_is_reported_with_the_words_of_the_peer() {
    let file = written("ltp_service.bin", &pattern(10));
    let node = receive(&[]);
    let to = format!("2={}", node.address);
    let arguments = [
        "ltp", "send", &file, "--engine", "1", "--to", &to, "--client", "5",
    ];

    farlink(&arguments).badly(1, "engine 2 cancelled block 1:");
    let ran = farlink(&[&arguments[..], &["--json"]].concat());

    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let objects = ran.objects();
    let failed = event(&objects, "failed");
    assert_eq!(
        (&failed["by"], &failed["code"]),
        (&json!("remote"), &json!(1))
    );
    assert_eq!(failed["reason"], "no such client service");
}

#[test]
fn a_block_beyond_the_limit_of_the_receiver_is_refused_by_it() {
    let file = written("ltp_limit.bin", &pattern(20_000));
    for limit in ["10000", "1"] {
        let node = receive(&["--limit", limit]);

        send(&file, &node.address, &[]).badly(1, "engine 2 cancelled block 1:");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_sender_tells_the_peer() {
    let (socket, address) = silence();
    let file = written("ltp_interrupted.bin", &pattern(100));
    let to = format!("2={address}");
    let process = tool(&[
        "ltp", "send", &file, "--engine", "1", "--to", &to, "--client", "4",
    ])
    .spawn()
    .unwrap();
    let mut octets = [0; 2000];
    socket.recv_from(&mut octets).unwrap();

    interrupt(&process);

    let reason = loop {
        let (len, sender) = socket.recv_from(&mut octets).unwrap();
        let segment = Segment::decode(&octets[..len]).unwrap();
        if let Body::CancelBySender(reason) = segment.body {
            let mut answer = Vec::new();
            Segment::new(segment.session, Body::CancelAckToSender).encode(&mut answer);
            socket.send_to(&answer, sender).unwrap();
            break reason;
        }
    };
    assert_eq!(reason.0, 0, "the user");
    let Output { status, stderr, .. } = process.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1));
    let told = String::from_utf8(stderr).unwrap();
    assert!(told.contains("was cancelled by Ctrl-C"), "{told}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_receiver_that_was_to_take_a_block_has_failed() {
    let mut node = receive(&["--once"]);

    interrupt(&node.process);

    assert_eq!(node.process.wait().unwrap().code(), Some(1));
}

/// As containers and system managers do.
#[cfg(unix)]
#[test]
fn a_receiver_that_is_reported_to_end_keeps_what_was_acknowledged_and_ends_in_good_order() {
    let (file, out) = (written("ltp_term.bin", &pattern(10)), folder("ltp_term"));
    let mut node = receive(&["--out", &out]);
    send(&file, &node.address, &[]).well();

    signal(&node.process, "-TERM");

    assert_eq!(node.process.wait().unwrap().code(), Some(0));
    assert_eq!(files(&out).len(), 1);
}

#[test]
fn claims_are_reported_while_a_block_is_being_sent() {
    let file = written("ltp_claims.bin", &pattern(400_000));
    let node = receive(&[]);

    let options = ["--checkpoint", "10", "--rate", "4000000", "--json"];
    let objects = send(&file, &node.address, &options).well().objects();

    let told = |object: &Value, field: &str| object[field].as_u64().unwrap();
    let mut progress = objects.iter().filter(|one| one["event"] == "progress");
    assert!(
        progress.any(|one| told(one, "claimed") > 0 && told(one, "sent") < 400_000),
        "{objects:?}"
    );
}

#[test]
fn a_green_block_without_its_end_is_kept_as_incomplete() {
    let out = folder("ltp_unended");
    let mut node = receive(&["--once", "--retries", "0", "--silence", "1", "--out", &out]);
    let session = SessionId {
        originator: 1,
        number: 9,
    };
    let data = Data {
        client: 4,
        offset: 0,
        color: Color::Green { ends_block: false },
        octets: b"the end is",
    };
    let mut octets = Vec::new();
    Segment::new(session, Body::Data(data)).encode(&mut octets);
    let (socket, _) = silence();

    socket.send_to(&octets, &node.address).unwrap();

    node.next_event("peer");
    let kept = node.next_event("received");
    assert_eq!(
        (&kept["ended"], &kept["octets"]),
        (&json!(false), &json!(10))
    );
    assert_eq!(node.process.wait().unwrap().code(), Some(0));
    let name = String::from("client4-engine1-session9.incomplete");
    assert_eq!(files(&out), [(name, b"the end is".to_vec())]);
}

#[test]
fn the_span_is_as_the_options_say() {
    let (socket, address) = silence();
    let (file, recording) = (
        written("ltp_span.bin", &pattern(1000)),
        scratch("ltp_span.pcapng"),
    );
    let options = [
        "--segment",
        "200",
        "--rate",
        "80000",
        "--window",
        "5000",
        "--owlt",
        "0.25",
        "--retries",
        "0",
        "--record",
        &recording,
    ];

    send(&file, &address, &options).badly(1, "does not answer");

    let mut octets = [0; 2000];
    let lengths: Vec<usize> = (0..6)
        .map(|_| socket.recv_from(&mut octets).unwrap().0)
        .collect();
    assert!(lengths.iter().all(|len| *len <= 200), "{lengths:?}");
    assert!(lengths.contains(&200), "{lengths:?}");
    let calls = farlink(&["decode", "--calls", "--json", &recording]).well();
    let objects = calls.objects();
    let mut commands = objects.iter().filter(|object| object["act"] == "command");
    let peer = commands
        .find_map(|object| object["command"]["add_peer"].get(1))
        .unwrap();
    assert_eq!(
        (&peer["segment"], &peer["flow"]),
        (
            &json!(200),
            &json!({ "window": { "octets": 5000, "octets_per_second": 10_000 } })
        )
    );
    assert_eq!(peer["limits"]["checkpoint_retries"], 0);
    assert_eq!(peer["timers"]["owlt_out"], "0.25s");
}

#[test]
fn every_field_of_an_event_is_in_the_help() {
    let file = written("ltp_fields.bin", &pattern(3000));
    let mut node = receive(&["--once"]);
    let address = node.address.clone();

    let mut objects = send(&file, &address, &["--json", "--green", "1000"])
        .well()
        .objects();
    objects.push(node.next_event("peer"));
    objects.push(node.next_event("received"));

    let help = farlink(&["ltp", "--help"]).well().out;
    for object in objects {
        for field in object.as_object().unwrap().keys() {
            assert!(is_documented(&help, field), "{field} in {help}");
        }
    }
}

#[test]
fn invalid_arguments_are_wrong_usage() {
    let (_socket, address) = silence();
    let file = written("ltp_usage.bin", &pattern(10));
    let empty = written("ltp_empty.bin", b"");
    let huge = scratch("ltp_huge.bin");
    // Of such a file nothing is stored but its length.
    fs::File::create(&huge).unwrap().set_len(1 << 31).unwrap();

    send(&empty, &address, &[]).badly(2, "ltp_empty.bin: an empty block is not sent");
    send("-", &address, &[]).badly(2, "standard input: an empty block is not sent");
    send(&huge, &address, &[]).badly(
        2,
        "ltp_huge.bin: a block of 2147483648 octets exceeds the limit of 1073741824",
    );
    send("/nowhere/at/all", &address, &[]).badly(2, "/nowhere/at/all: ");
    send(&file, &address, &["--green", "11"])
        .badly(2, "a green part of 11 octets exceeds the block of 10");
    send(&file, &address, &["--segment", "95"])
        .badly(2, "segment length of 95 octets is below the minimum of 96");
    send(&file, &address, &["--rate", "7"]).badly(2, "--rate");
    send(&file, &address, &["--owlt=-1"]).badly(2, "--owlt");
    send(&file, "127.0.0.1:0", &[])
        .badly(2, "engine 2 at 127.0.0.1:0: nothing can be sent to port 0");
    send(&file, &address, &["--bind", "[::1]:0"]).badly(2, "no address of the family of --bind");
    farlink(&[
        "ltp", "send", &file, "--engine", "0", "--to", "2=::1", "--client", "4",
    ])
    .badly(2, "ID 0 is reserved");
    farlink(&[
        "ltp", "send", &file, "--engine", "1", "--to", "::1", "--client", "4",
    ])
    .badly(2, "as in 2=192.0.2.1:1113");
    farlink(&[
        "ltp", "recv", "--engine", "1", "--client", "4", "--bind", "nowhere",
    ])
    .badly(2, "`nowhere` is a name; an IP address is needed here");
    farlink(&[
        "ltp",
        "recv",
        "--engine",
        "1",
        "--client",
        "4",
        "--bind",
        "127.0.0.1:0",
        "--owlt",
        "1e10",
    ])
    .badly(
        2,
        "duration of 10000000000s exceeds the limit of 3162240000s",
    );
    fs::remove_file(huge).unwrap();
}

#[test]
fn an_address_that_another_node_has_is_a_failure() {
    let node = receive(&[]);

    farlink(&[
        "ltp",
        "recv",
        "--bind",
        &node.address,
        "--engine",
        "3",
        "--client",
        "4",
    ])
    .badly(1, "another node or program has the socket");
}

#[test]
fn a_folder_that_cannot_be_made_is_wrong_usage() {
    let file = written("ltp_no_folder", b"a file");

    farlink(&[
        "ltp",
        "recv",
        "--bind",
        "127.0.0.1:0",
        "--engine",
        "3",
        "--client",
        "4",
        "--out",
        &file,
    ])
    .badly(2, "ltp_no_folder: ");
}
