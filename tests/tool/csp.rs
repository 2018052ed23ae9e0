//! `farlink csp`, over loopback and pseudo-terminals.

use core::time::Duration;

use serde_json::{Value, json};

use super::dtp::{absent, addresses};
use super::ltp::event;
use super::*;

/// Starts node 1 at the first address, for a peer at the second.
fn node([local, remote]: &[String; 2], arguments: &[&str]) -> Server {
    let udp = format!("{local},{remote}");
    let all = ["csp", "node", "--node", "1", "--json", "--udp", &udp];
    Server::start(&[&all[..], arguments].concat())
}

/// Asks as node 2 at the second address.
fn ask([remote, local]: &[String; 2], question: &str, arguments: &[&str]) -> Ran {
    let udp = format!("{local},{remote}");
    let all = ["csp", question, "--node", "2", "--udp", &udp];
    farlink(&[&all[..], arguments].concat())
}

#[test]
fn a_node_answers_for_the_services_that_it_is_given_alone() {
    for version in ["1", "2"] {
        let at = addresses();
        let services = ["--services", "ping,ident,uptime", "--name", "mars-1"];
        let _node = node(&at, &[&services[..], &["--csp", version]].concat());
        let ask = |question, arguments: &[&str]| {
            ask(
                &at,
                question,
                &[&["--csp", version, "--json"], arguments].concat(),
            )
        };

        let ran = ask("ident", &["1"]).well();
        let ident = &ran.objects()[0];
        assert_eq!(
            (&ident["event"], &ident["node"], &ident["hostname"]),
            (&json!("ident"), &json!(1), &json!("mars-1"))
        );
        let ran = ask("uptime", &["1"]).well();
        let uptime = &ran.objects()[0];
        assert_eq!(uptime["event"], "uptime");
        assert!(uptime["uptime"].as_u64().unwrap() < 60, "{uptime}");
        ask("ping", &["1", "--count", "1"]).well();
    }
    let at = addresses();
    let _node = node(&at, &["--services", "none"]);
    for question in ["ident", "uptime"] {
        let ran = ask(&at, question, &["1", "--timeout", "0.1"]);
        ran.badly(1, "node 1 does not answer within 0.1 s");
    }
    let silent = ["1", "--timeout", "0.1", "--count", "1"];
    ask(&at, "ping", &silent).badly(1, "node 1 does not answer within 0.1 s");
}

#[test]
fn a_scan_names_the_nodes_that_answer() {
    let at = addresses();
    let _node = node(&at, &[]);

    for (destinations, asked) in [("1", 1), ("0-20", 20), ("16383", 1)] {
        let scan = [destinations, "--timeout", "0.2", "--json"];
        let ran = ask(&at, "scan", &scan).well();
        let objects = ran.objects();
        assert!(
            objects.iter().any(|it| it["node"] == 1),
            "{destinations}: {objects:?}"
        );
        assert_eq!(event(&objects, "scanned")["asked"], asked);
    }
    let none = ask(&at, "scan", &["7-9", "--timeout", "0.1"]);
    assert_eq!(
        (none.status, none.lines()),
        (1, vec!["nodes that have answered: 0"])
    );
    ask(&at, "scan", &["9-7"]).badly(2, "an address, or the first and the last one, A-B");
    ask(&at, "scan", &["16384"]).badly(2, "address 16384 exceeds the limit of 16383");
}

#[test]
fn a_node_does_not_ask_itself() {
    let at = addresses();
    for question in ["ping", "ident", "uptime", "scan"] {
        ask(&at, question, &["2"]).badly(2, "2 is the address of this node, as --node says");
    }
    let alone = ask(&at, "scan", &["1-2", "--timeout", "0.1", "--json"]);
    assert_eq!(alone.status, 1);
    assert_eq!(event(&alone.objects(), "scanned")["answers"], 0);
}

#[cfg(unix)]
#[test]
fn a_question_that_is_interrupted_unanswered_has_failed() {
    for question in ["ping", "ident", "uptime"] {
        let [remote, local] = addresses();
        let udp = format!("{local},{remote}");
        let recording = absent(&format!("interrupted_{question}.pcapng"));
        let all = ["csp", question, "1", "--node", "2", "--udp", &udp];
        let rest = ["--timeout", "600", "--json", "--record", &recording];
        let process = tool(&[&all[..], &rest].concat()).spawn().unwrap();
        while !fs::exists(&recording).unwrap() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        interrupt(&process);
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{question}");
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(
            told.contains("interrupted before an answer came"),
            "{question}: {told}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_router_passes_packets_on_by_its_routes_and_prints_its_counters() {
    let ([near, to_near], [far, to_far]) = (addresses(), addresses());
    let (to_one, to_other) = (format!("{to_near},{near}"), format!("{to_far},{far}"));
    let all = ["csp", "node", "--node", "5", "--json", "--udp", &to_one];
    let rest = ["--udp", &to_other, "--route", "1 udp2, 2 UDP"];
    let mut router = Server::start(&[&all[..], &rest].concat());
    let _far = node(&[far, to_far], &[]);
    let at = [to_near, near];
    let once = ["--count", "1", "--timeout", "0.2"];
    let ping = |node| ask(&at, "ping", &[&[node][..], &once].concat());
    ping("1").well();
    ping("3").badly(1, "node 3 does not answer");

    interrupt(&router.process);
    let first = router.next_event("interface");
    let [received, dropped] = ["received", "dropped"].map(|it| &first["packets"][it]);
    assert_eq!((&first["name"], received), (&json!("UDP"), &json!(2)));
    assert_eq!(dropped, 1);
    let second = router.next_event("interface");
    let sent = &second["packets"]["sent"];
    assert_eq!((&second["name"], sent), (&json!("UDP2"), &json!(1)));
    let counters = &router.next_event("counters")["counters"];
    assert_eq!(counters["forwarded"], 2);
    assert_eq!(router.process.wait().unwrap().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_recorded_node_is_replayed_and_its_packets_are_decoded() {
    for version in ["1", "2"] {
        let at = addresses();
        let name = |end: &str| scratch(&format!("csp{version}_{end}.pcapng"));
        let (here, there) = (name("here"), name("there"));
        let csp = ["--csp", version, "--record"];
        let mut node = node(&at, &[&csp[..], &[&there]].concat());
        let ping = [&["1", "--count", "1"], &csp[..], &[&here]].concat();
        ask(&at, "ping", &ping).well();
        interrupt(&node.process);
        assert_eq!(node.process.wait().unwrap().code(), Some(0));

        for (file, ways) in [(here, ["out", "in"]), (there, ["in", "out"])] {
            let object = &farlink(&["replay", "--json", &file]).well().objects()[0];
            assert_eq!(
                (&object["kind"], &object["verdict"]),
                (&json!("csp"), &json!("matches"))
            );
            let packets = farlink(&["decode", "--json", &file]).well().objects();
            let [asked, answered] = &packets[..] else {
                panic!("{packets:?}");
            };
            assert_eq!([&asked["way"], &answered["way"]], ways);
            let ends = |it: &Value| json!([it["source"], it["destination"], it["crc32_is_right"]]);
            assert_eq!(
                [ends(asked), ends(answered)],
                [json!([2, 1, true]), json!([1, 2, true])]
            );
            assert_eq!(
                (&asked["destination_port"], &asked["data"]),
                (&json!(1), &answered["data"])
            );
            let calls = farlink(&["decode", "--calls", &file]).well();
            assert!(
                calls.out.contains(" to 1:1, CRC32, 10 octets"),
                "{}",
                calls.out
            );
        }
    }
}

#[test]
fn a_router_without_routes_passes_packets_on_by_all_other_interfaces() {
    let ([near, to_near], [far, to_far]) = (addresses(), addresses());
    let (to_one, to_other) = (format!("{to_near},{near}"), format!("{to_far},{far}"));
    let all = ["csp", "node", "--node", "5", "--json", "--udp", &to_one];
    let _router = Server::start(&[&all[..], &["--udp", &to_other]].concat());
    let _far = node(&[far, to_far], &["--services", "ping,ident"]);

    let ran = ask(&[to_near, near], "ident", &["1", "--json"]).well();

    assert_eq!(ran.objects()[0]["node"], 1);
}

#[test]
fn who_lacks_the_key_of_hmac_gets_no_answer() {
    let key = written("csp_key", b"interop-key\n");
    let other = written("csp_other_key", b"another\n");
    let at = addresses();
    let _node = node(&at, &["--services", "ping,uptime", "--hmac-key-file", &key]);
    for question in ["uptime", "ping"] {
        let once = if question == "ping" {
            &["1", "--timeout", "0.2", "--count", "1"][..]
        } else {
            &["1", "--timeout", "0.2"]
        };
        let with = |arguments: &[&str]| ask(&at, question, &[once, arguments].concat());

        with(&["--hmac-key-file", &key]).well();
        with(&["--hmac-key-file", &other]).badly(1, "does not answer");
        with(&[]).badly(1, "does not answer");
    }
    let empty = written("csp_empty_key", b"\n");
    let ran = ask(&at, "ping", &["1", "--hmac-key-file", &empty]);
    ran.badly(2, "csp_empty_key: no passphrase");
    let ran = ask(&at, "ping", &["1", "--hmac-key-file", "no such key"]);
    ran.badly(2, "no such key: ");
}

#[test]
fn interfaces_and_routes_that_cannot_be_are_refused() {
    let udp = "127.0.0.1:0,127.0.0.1:9";
    for (arguments, words) in [
        (
            &[][..],
            "<--udp <LOCAL,REMOTE>|--kiss <DEVICE@BAUD>|--zmq <HOST>|--can <BUS>>",
        ),
        (
            &["--kiss", "/dev/ttyS0"],
            "a device and its baud, DEVICE@BAUD",
        ),
        (
            &["--kiss", "/dev/ttyS0@fast"],
            "`fast` is not a number of baud",
        ),
        (&["--kiss", "/dev/ttyS0@0"], "`0` is not a number of baud"),
        (&["--kiss", "no such line@9600"], "no such line: "),
        (&["--can", "no-such-bus0"], "no-such-bus0: "),
        (
            &["--udp", udp, "--route", "1 CAN"],
            "--route: route \"1 CAN\": no interface has this name (of UDP)",
        ),
        (
            &["--udp", udp, "--route", "1"],
            "--route: route \"1\": the form is address[/bits] interface [via]",
        ),
        (
            &["--udp", udp, "--csp", "1", "--route", "32 UDP"],
            "is not within 0 to 31",
        ),
        (&["--udp", udp, "--services", "tea"], "invalid value 'tea'"),
        (
            &["--udp", udp, "--name", "twenty characters are"],
            "at most 19 printable",
        ),
    ] {
        let all = ["csp", "node", "--node", "1"];
        farlink(&[&all[..], arguments].concat()).badly(2, words);
    }
}

/// Two pseudo-terminals whose other ends are joined: what is written to one is read from the other.
#[cfg(target_os = "linux")]
fn serial_line() -> [String; 2] {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::File;
    use std::io::Read as _;

    let ends = [(); 2].map(|()| {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&end).unwrap();
        unlockpt(&end).unwrap();
        let name = ptsname(&end, Vec::new()).unwrap();
        (File::from(end), name.into_string().unwrap())
    });
    let [(one, one_name), (other, other_name)] = ends;
    for (from, to) in [(&one, &other), (&other, &one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            loop {
                // It fails as long as nobody has the other end open.
                match from.read(&mut octets) {
                    Ok(count) => to.write_all(&octets[..count]).unwrap(),
                    Err(_) => std::thread::park_timeout(std::time::Duration::from_millis(1)),
                }
            }
        });
    }
    [one_name, other_name]
}

#[cfg(target_os = "linux")]
#[test]
fn two_nodes_talk_over_a_serial_line() {
    let [one, other] = serial_line().map(|name| format!("{name}@115200"));
    let sent: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let file = written("kiss_sent.bin", &sent);
    let out = scratch("kiss_got.bin");
    let _ = fs::remove_file(&out);
    let all = ["dtp", "serve", "--node", "1", "--json", "--kiss", &one];
    let _server = Server::start(&[&all[..], &["--payload", &format!("3={file}")]].concat());
    let client = ["--node", "2", "--kiss", &other];

    let ping = ["csp", "ping", "1", "--count", "1"];
    farlink(&[&ping[..], &client].concat()).well();
    let get = ["dtp", "get", "1", "--payload", "3", "--out", &out];
    farlink(&[&get[..], &client].concat()).well();

    assert!(fs::read(&out).unwrap() == sent);
}
