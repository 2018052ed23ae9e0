//! `farlink dtp`, over loopback.

mod sessions;
mod sources;
mod vmem;

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::json;

use super::ltp::{event, pattern, silence};
use super::*;
use crate::loopback::here;

/// Two addresses that nobody has.
pub(crate) fn addresses() -> [String; 2] {
    let sockets = [here(), here()].map(|at| UdpSocket::bind(at).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().to_string())
}

/// Starts node 1 with these payloads, for a peer at the second address.
fn serve([local, remote]: &[String; 2], arguments: &[&str]) -> Server {
    let udp = format!("{local},{remote}");
    let all = ["dtp", "serve", "--node", "1", "--json", "--udp", &udp];
    Server::start(&[&all[..], arguments].concat())
}

fn get_arguments<'a>(udp: &'a str, out: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let all = [
        "dtp",
        "get",
        "1",
        "--node",
        "2",
        "--udp",
        udp,
        "--out",
        out,
        "--payload",
        "3",
    ];
    [&all[..], arguments].concat()
}

/// Gets payload 3 of node 1 as node 2.
fn get([remote, local]: &[String; 2], out: &str, arguments: &[&str]) -> Ran {
    let udp = format!("{local},{remote}");
    farlink(&get_arguments(&udp, out, arguments))
}

/// A file that is not there.
pub(crate) fn absent(name: &str) -> String {
    let path = scratch(name);
    let _ = fs::remove_file(&path);
    for suffix in [".part", ".session", ".meta"] {
        let _ = fs::remove_file(format!("{path}{suffix}"));
    }
    path
}

fn is_there(path: &str) -> bool {
    fs::exists(path).unwrap()
}

#[test]
fn a_file_arrives_whole_by_both_versions_of_csp() {
    for (version, len) in [
        ("1", 1),
        ("2", 0),
        ("2", 1),
        ("1", 50_000),
        ("2", 5_000_000),
    ] {
        let data = pattern(len);
        let sent = written("dtp_sent.bin", &data);
        let out = absent("dtp_got.bin");
        let at = addresses();
        let payload = format!("3={sent}");
        let mut node = serve(&at, &["--payload", &payload, "--csp", version]);
        assert_eq!(node.next_event("payload")["octets"], len);

        let fast = ["--csp", version, "--rate", "20000000", "--mtu", "1032"];
        let ran = get(&at, &out, &[&fast[..], &["--json"]].concat()).well();

        let objects = ran.objects();
        assert_eq!(event(&objects, "asking")["server"], 1);
        assert_eq!(event(&objects, "started")["octets"], len);
        let complete = event(&objects, "complete");
        assert_eq!(
            (&complete["octets"], &complete["file"]),
            (&json!(len), &json!(out))
        );
        assert!(fs::read(&out).unwrap() == data, "{version}, {len}");
        assert!(!is_there(&format!("{out}.part")));
        let request = node.next_event("serving");
        assert_eq!(
            (&request["client"], &request["payload"], &request["octets"]),
            (&json!(2), &json!(3), &json!(len))
        );
    }
}

#[test]
fn a_recorded_transfer_is_decoded_as_its_messages() {
    let sent = written("dtp_recorded.bin", &pattern(1000));
    let (out, record) = (absent("dtp_recorded_got.bin"), scratch("dtp_get.pcapng"));
    let at = addresses();
    let _node = serve(&at, &["--payload", &format!("3={sent}")]);

    get(&at, &out, &["--rate", "1000000", "--record", &record]).well();

    let packets = farlink(&["decode", "--json", &record]).well().objects();
    let messages: Vec<&Value> = packets.iter().map(|it| &it["dtp"]).collect();
    let find = |kind: &str| messages.iter().find(|it| it["message"] == kind).unwrap();
    let (request, response) = (find("request"), find("response"));
    assert_eq!(
        (&request["payload"], &request["rate"], &request["intervals"]),
        (&json!(3), &json!(1_000_000), &json!([[0, u32::MAX]]))
    );
    assert_eq!(
        (&response["octets"], &response["payload_octets"]),
        (&json!(1000), &json!(1000))
    );
    let data = messages.iter().filter(|it| it["message"] == "data");
    assert!(data.clone().all(|it| it["session"] == request["session"]));
    let offsets: Vec<&Value> = data.map(|it| &it["offset"]).collect();
    assert_eq!(offsets, [0, 200, 400, 600, 800]);
    let text = farlink(&["decode", &record]).well().out;
    assert!(
        text.contains(", DTP request of payload 3 at 1000000 octets per second"),
        "{text}"
    );
}

#[test]
fn a_node_answers_pings_and_another_address_does_not() {
    let sent = written("dtp_pinged.bin", b"pinged");
    let at = addresses();
    let _node = serve(&at, &["--payload", &format!("3={sent}")]);
    let udp = format!("{},{}", at[1], at[0]);
    let all = ["csp", "ping", "--node", "2", "--udp", &udp, "--count", "1"];
    let ping = |arguments: &[&str]| farlink(&[&all[..], arguments].concat());

    let ran = ping(&["1", "--json"]).well();
    let answered = &ran.objects()[0];
    assert_eq!(
        (&answered["event"], &answered["node"]),
        (&json!("answered"), &json!(1))
    );
    ping(&["1", "--size", "256"]).well();
    ping(&["9", "--timeout", "0.1"]).badly(1, "node 9 does not answer within 0.1 s");
    ping(&["1", "--size", "257"]).badly(2, "257 is not in 0..=256");
    ping(&["16384"]).badly(2, "address 16384 exceeds the limit of 16383");
}

#[test]
fn an_unknown_payload_is_refused_and_leaves_no_file() {
    let sent = written("dtp_other.bin", b"other");
    let out = absent("dtp_unknown.bin");
    let at = addresses();
    let _node = serve(&at, &["--payload", &format!("4={sent}")]);

    get(&at, &out, &[]).badly(
        1,
        "all of payload 3 is missing: refused by the server: no such payload",
    );

    assert!(!is_there(&out) && !is_there(&format!("{out}.part")));
}

#[test]
fn a_server_that_is_not_there_is_told_of_and_how_long_it_is_tried() {
    let (_peer, remote) = silence();
    let [_, local] = addresses();
    let out = absent("dtp_silent.bin");

    let at = [remote.clone(), local];
    let ran = get(&at, &out, &["--attempts", "1"]);

    let silent = format!("nothing heard from node 1 at {remote} for 3 s, trying for 10 s");
    let ran = ran.badly(1, &silent);
    let failed =
        format!("all of payload 3 is missing: nothing was heard from node 1 at {remote} for 10 s");
    assert!(ran.err.contains(&failed), "{}", ran.err);
    assert!(!is_there(&out) && !is_there(&format!("{out}.part")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_port_that_no_program_has_is_told_of() {
    let at = addresses();
    let out = absent("dtp_closed.bin");

    get(&at, &out, &["--attempts", "1"]).badly(1, "; its host says that no program has the port");
}

#[cfg(unix)]
#[test]
fn an_interrupted_transfer_says_what_is_missing_and_keeps_what_has_come() {
    let data = pattern(1_000_000);
    let sent = written("dtp_long.bin", &data);
    let out = absent("dtp_interrupted.bin");
    let at = addresses();
    let mut node = serve(&at, &["--payload", &format!("3={sent}"), "--rate", "50000"]);
    node.next_event("payload");
    let udp = format!("{},{}", at[1], at[0]);
    let process = tool(&get_arguments(&udp, &out, &["--json"]))
        .spawn()
        .unwrap();
    let part = format!("{out}.part");
    while fs::metadata(&part).map_or(0, |file| file.len()) < 5000 {
        std::thread::park_timeout(Duration::from_millis(5));
    }

    interrupt(&process);
    let output = process.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let ran = Ran {
        status: 1,
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    let objects = ran.objects();
    let failed = event(&objects, "failed");
    assert_eq!(failed["cause"], "interrupted");
    assert_eq!(
        (&failed["octets"], &failed["file"]),
        (&json!(1_000_000), &json!(part))
    );
    let ranges = failed["missing"].as_array().unwrap();
    assert_eq!(failed["ranges"], ranges.len());
    let missing: u64 = ranges
        .iter()
        .map(|it| it[1].as_u64().unwrap() - it[0].as_u64().unwrap())
        .sum();
    assert_eq!(failed["received"].as_u64().unwrap() + missing, 1_000_000);
    let kept = fs::read(&part).unwrap();
    let first = usize::try_from(ranges[0][0].as_u64().unwrap()).unwrap();
    assert!(first > 0 && kept[..first] == data[..first]);
    assert!(!is_there(&out));
}

#[test]
fn bad_values_are_refused_with_the_value_and_the_limit() {
    let file = written("dtp_small.bin", b"small");
    let served = format!("3={file}");
    let udp = "127.0.0.1:0,127.0.0.1:9";
    for (arguments, words) in [
        (
            &["--udp", "127.0.0.1:9600"][..],
            "two addresses with a comma",
        ),
        (
            &["--udp", "here,127.0.0.1:9"],
            "`here` is a name; an IP address is needed here",
        ),
        (&["--udp", udp, "--csp", "3"], "version 1 or 2"),
        (
            &["--udp", udp, "--csp", "1", "--node", "31"],
            "address 31 exceeds the limit of 30",
        ),
        (
            &["--udp", udp, "--node", "16383"],
            "address 16383 exceeds the limit of 16382",
        ),
        (
            &["--udp", udp, "--payload", "256=x"],
            "payload `256` is not a number from 0 to 255",
        ),
        (
            &["--udp", udp, "--payload", "x"],
            "a payload and its file, N=FILE",
        ),
        (
            &["--udp", udp, "--payload", &served],
            "payload 3 is given twice",
        ),
        (
            &["--udp", udp, "--payload", "5=no such file"],
            "no such file: ",
        ),
        (&["--udp", udp, "--rate", "0"], "0 is not in 1..=4294967295"),
        (&["--udp", udp, "--mtu", "95"], "95 is not in 96..=64996"),
        (
            &["--udp", "127.0.0.1:0,[::1]:9"],
            "[::1]:9 has no IPv4 address",
        ),
    ] {
        let node = if arguments.contains(&"--node") {
            &[][..]
        } else {
            &["--node", "1"]
        };
        let all = [&["dtp", "serve", "--payload", &served], node, arguments].concat();
        farlink(&all).badly(2, words);
    }
    let out = absent("dtp_bad.bin");
    for (arguments, words) in [
        (&["--mtu", "8"][..], "8 is not in 9..=64996"),
        (&["--mtu", "64997"], "64997 is not in 9..=64996"),
        (
            &["--rate", "0"],
            "neither `max` nor octets per second from 1 to 4294967295",
        ),
        (&["--rate", "fast"], "neither `max` nor octets per second"),
        (&["--attempts", "0"], "0 is not in 1..=255"),
        (&["--max-rounds", "0"], "0 is not in 1..=4294967295"),
        (
            &["--range", "5"],
            "the first and the last octet, A-B, or A-",
        ),
        (&["--range", "5-4"], "octet 5 is behind the last one, 4"),
        (
            &["--range", "0-4294967296"],
            "octet `4294967296` is not a number from 0 to 4294967295",
        ),
        (&["--hmac-key-file", "no such file"], "no such file: "),
    ] {
        farlink(&get_arguments(udp, &out, arguments)).badly(2, words);
    }
    let folder = env!("CARGO_TARGET_TMPDIR");
    farlink(&get_arguments(udp, folder, &[])).badly(2, "exists and is not a file");
    farlink(&get_arguments(udp, "-", &[])).badly(2, "not a name of a file");
    assert!(!is_there(&format!("{out}.part")));
}
