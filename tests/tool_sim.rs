//! `farlink sim`, as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use farlink::record::{Capture, FlowEventKind, Flows};
use serde_json::Value;

const COTP: [&str; 6] = [
    "cotp-hello",
    "cotp-refused",
    "cotp-silent",
    "cotp-far",
    "cotp-reset",
    "cotp-slow-reader",
];

const LTP: [&str; 9] = [
    "mars",
    "moon",
    "ltp-clean",
    "ltp-mixed",
    "ltp-lost-checkpoint",
    "ltp-lost-report",
    "ltp-lossy",
    "ltp-silent",
    "ltp-refused",
];

const DTP: [&str; 1] = ["pass"];

fn scenarios() -> impl Iterator<Item = &'static str> {
    COTP.into_iter().chain(LTP).chain(DTP)
}

fn sim(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farlink"));
    command.arg("sim").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn objects(name: &str) -> Vec<Value> {
    let output = sim(&[name, "--json"]);
    let text = text(&output);
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_list_names_every_scenario_in_lines_that_fit_a_page() {
    let output = sim(&["--list"]);

    assert_eq!(output.status.code(), Some(0));
    let list = text(&output);
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.iter().copied().eq(scenarios()), "{names:?}");
    assert!(list.lines().all(|line| line.len() < 85), "{list}");
}

#[test]
fn every_scenario_comes_out_as_it_should_with_any_seed() {
    let cotp = COTP.map(|name| (name, "CR calling"));
    let ltp = LTP.map(|name| (name, " EORP"));
    for (name, word) in cotp.into_iter().chain(ltp) {
        for seed in ["1", "2", "18446744073709551615"] {
            let output = sim(&[name, "--seed", seed]);

            let text = text(&output);
            assert_eq!(output.status.code(), Some(0), "{name} {seed}: {output:?}");
            assert!(text.contains("as it should be: "), "{text}");
            assert!(text.contains(word), "{text}");
        }
    }
}

#[test]
fn an_unknown_scenario_is_wrong_usage_and_the_known_ones_are_named() {
    let output = sim(&["cotp-bye"]);

    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    for name in scenarios() {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_name_with_a_typing_error_gets_a_suggestion_and_no_name_gets_the_list() {
    let stderr = |arguments: &[&str]| {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };

    assert!(stderr(&["mras"]).contains("'mars'"));
    assert!(stderr(&[]).contains("--list"));
}

#[test]
fn a_file_that_cannot_be_written_is_wrong_usage() {
    let output = sim(&["cotp-hello", "--svg", "no/such/folder/ladder.svg"]);

    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn equal_seeds_give_equal_output_to_the_octet() {
    let run = |seed: &str, turn: &str| {
        let (svg, pcap) = (
            file(&format!("{turn}.svg")),
            file(&format!("{turn}.pcapng")),
        );
        let (svg_name, pcap_name) = (svg.to_str().unwrap(), pcap.to_str().unwrap());
        let files = ["--svg", svg_name, "--pcap", pcap_name];
        let told = sim(&[&["cotp-slow-reader", "--seed", seed][..], &files].concat());
        let as_json = sim(&["cotp-slow-reader", "--seed", seed, "--json"]);
        let drawn = (fs::read(&svg).unwrap(), fs::read(&pcap).unwrap());
        (told.stdout, as_json.stdout, drawn)
    };

    let one = run("7", "one");
    let again = run("7", "again");
    let other = run("8", "other");

    assert!(one == again);
    assert!(one.0 != other.0 && one.1 != other.1 && one.2.1 != other.2.1);
}

#[test]
fn json_has_one_object_per_happening_and_the_outcome_last() {
    let objects = objects("cotp-hello");

    let kinds: Vec<&str> = objects
        .iter()
        .map(|object| object["event"].as_str().unwrap())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|other| **other == kind).count();
    assert_eq!(kinds[0], "scenario");
    // CR, CC, two messages each way, and the end of each direction.
    assert_eq!((count("packet"), count("traffic")), (8, 2));
    // Up and the end of the peer's direction, at both ends.
    assert_eq!(count("link"), 4);
    // At both ends: connected, two messages, the end.
    assert_eq!(count("told"), 8);
    let last = objects.last().unwrap();
    assert_eq!(
        (&last["event"], &last["ok"]),
        (&"outcome".into(), &true.into())
    );
}

#[test]
fn packets_carry_their_names_and_times() {
    let objects = objects("cotp-hello");

    let mut packets = objects.iter().filter(|object| object["event"] == "packet");
    let cr = packets.next().unwrap();
    assert_eq!(cr["label"], "CR calling 0100 called 0102");
    assert_eq!(
        (&cr["from"], &cr["to"]),
        (&"client".into(), &"server".into())
    );
    assert_eq!(
        (&cr["time_ns"], &cr["arrived_ns"], &cr["lost_ns"]),
        (&0.into(), &20_000_000.into(), &Value::Null)
    );
    assert!(packets.any(|packet| packet["label"] == "DT 2045+2045+910 end"));
}

#[test]
fn lost_packets_have_a_reason() {
    let objects = objects("cotp-reset");

    let lost = objects.iter().filter(|object| !object["lost_ns"].is_null());
    let reasons: Vec<&Value> = lost.map(|object| &object["reason"]).collect();
    assert_eq!(reasons, [&Value::from("cut off"); 2]);
}

#[test]
fn the_capture_holds_both_streams_whole() {
    let pcap = file("hello.pcapng");
    sim(&["cotp-hello", "--pcap", pcap.to_str().unwrap()]);
    let octets = fs::read(pcap).unwrap();

    let mut capture = Capture::open(&octets).unwrap();
    let mut flows = Flows::new();
    let (mut began, mut ended, mut received) = (0, 0, [0, 0]);
    while let Some(packet) = capture.next_packet().unwrap() {
        flows.packet(&packet, |arrival| match arrival.kind {
            FlowEventKind::Began => began += 1,
            FlowEventKind::Ended => ended += 1,
            FlowEventKind::Octets(octets) => {
                received[usize::from(arrival.path.local.port() == 102)] += octets.len();
            }
            other => assert_eq!(other, FlowEventKind::Began, "nothing else"),
        });
    }

    // CR or CC, 5 octets in one packet, 5000 in three.
    let expected = 22 + 5 + 7 + 5000 + 3 * 7;
    assert_eq!((began, ended, received), (2, 2, [expected, expected]));
}

#[test]
fn the_help_documents_every_field_of_the_json() {
    let help = text(&sim(&["--help"]));

    for object in objects("cotp-reset") {
        for field in object.as_object().unwrap().keys() {
            assert!(help.contains(&format!("`{field}`")), "{field} in {help}");
        }
    }
}

#[test]
fn the_drawing_is_titled_with_what_it_shows() {
    let svg = file("far.svg");
    sim(&["cotp-far", "--svg", svg.to_str().unwrap()]);

    let drawing = fs::read_to_string(svg).unwrap();
    assert!(drawing.contains("cotp-far: twelve minutes to Mars"));
}

#[test]
fn the_file_to_mars_is_drawn_with_windows_losses_and_repairs() {
    let svg = file("mars.svg");

    let output = sim(&["mars", "--svg", svg.to_str().unwrap()]);

    assert!(text(&output).contains("300000 octets are on Mars"));
    let drawing = fs::read_to_string(svg).unwrap();
    for part in [
        "class=\"contact\"",
        "(lost by chance)",
        "class=\"arrow again\"",
        " messages to mars, ",
        "received 300000 red octets",
        "CP 1998 EORP EOB, s1",
    ] {
        assert!(drawing.contains(part), "{part}");
    }
}

/// Octets of a report or of data are what makes a repair, whatever serial numbers it has.
#[test]
fn segments_are_named_and_repairs_are_known() {
    let objects = objects("ltp-mixed");

    let packets = || objects.iter().filter(|object| object["event"] == "packet");
    let labels: Vec<&str> = packets()
        .map(|packet| packet["label"].as_str().unwrap())
        .collect();
    assert!(labels[0].starts_with("red 0.."), "{labels:?}");
    assert!(labels[0].contains(", s1 is 1:"), "{labels:?}");
    assert!(labels.iter().any(|label| label.contains(" EORP, s1")));
    assert!(labels.iter().any(|label| label.contains("..9000 EOB, s1")));
    let again: Vec<&str> = packets()
        .filter(|packet| packet["repeated"] == true)
        .map(|packet| packet["label"].as_str().unwrap())
        .collect();
    assert!(again.iter().all(|label| label.starts_with("red ")));
    assert!(again.last().unwrap().contains(" for RS "), "{again:?}");
    let lost = packets().filter(|packet| !packet["lost_ns"].is_null());
    assert_eq!(lost.count(), 2, "one red, one green");
}

#[test]
fn the_capture_of_an_ltp_scenario_is_read_by_decode() {
    let pcap = file("lost.pcapng");
    sim(&["ltp-lost-checkpoint", "--pcap", pcap.to_str().unwrap()]);

    let mut command = Command::new(env!("CARGO_BIN_EXE_farlink"));
    let output = command.arg("decode").arg(pcap).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = text(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("192.0.2.1:1113 > 192.0.2.2:1113  1:"));
    assert!(
        lines.iter().all(|line| !line.contains("malformed")),
        "{text}"
    );
    assert!(lines.last().unwrap().contains(" RA "), "{text}");
}

/// Runs `farlink sim link --json` and returns its status and its object.
fn link(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = sim(&[&["link", "--json"], arguments].concat());
    let object = serde_json::from_str(&text(&output)).unwrap();
    (output.status.code(), object)
}

fn plan(name: &str, text: &str) -> String {
    let path = file(name);
    fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_link_without_losses_delivers_in_the_ideal_time_but_for_headers() {
    let options = ["--owlt", "1.5", "--rate", "800000", "--size", "1000000"];

    let (status, object) = link(&options);

    assert_eq!(status, Some(0));
    assert_eq!(object["ideal_ns"], 11 * SECOND + SECOND / 2);
    let time = |name: &str| object[name].as_u64().unwrap();
    assert!(time("delivered_ns") >= time("ideal_ns"), "{object}");
    assert!(
        time("delivered_ns") < time("ideal_ns") * 103 / 100,
        "{object}"
    );
    // The report takes a light time.
    assert!(time("complete_ns") >= time("delivered_ns") + 3 * SECOND / 2);
    assert_eq!(
        (&object["resent"], &object["reports"]),
        (&0.into(), &1.into())
    );
    assert_eq!(
        (&object["ok"], &object["reason"]),
        (&true.into(), &Value::Null)
    );
}

#[test]
fn losses_on_a_link_are_repaired_and_equal_seeds_repair_alike() {
    let options = [
        "--owlt", "0.2", "--rate", "1000000", "--loss", "0.1", "--seed", "7",
    ];

    let (status, object) = link(&options);

    assert_eq!(status, Some(0), "{object}");
    assert!(object["resent"].as_u64().unwrap() > 50_000, "{object}");
    assert!(
        object["reports_with_gaps"].as_u64().unwrap() > 0,
        "{object}"
    );
    assert_eq!(link(&options).1, object);
    let plain = sim(&[&["link"][..], &options].concat());
    let again = format!("octets sent again   {}", object["resent"]);
    assert!(text(&plain).contains(&again), "{}", text(&plain));
}

#[test]
fn a_block_that_is_longer_than_a_contact_goes_on_in_the_next() {
    let plan = plan(
        "link_plan",
        "a contact +10 +20 1 2 10000\na contact +10 +30 2 1 10000\n\
         a contact +1000 +1020 1 2 10000 # the second pass\na contact +1000 +1020 2 1 10000\n\
         a range +0 +2000 1 2 2\n",
    );
    let options = ["--contacts", &plan, "--size", "150000"];

    let (status, object) = link(&options);

    assert_eq!(status, Some(0), "{object}");
    // 100,000 octets in the first contact.
    assert_eq!(object["ideal_ns"], 1007 * SECOND);
    let time = |name: &str| object[name].as_u64().unwrap();
    assert!(time("delivered_ns") >= time("ideal_ns"), "{object}");
    assert!(time("complete_ns") < 1020 * SECOND, "{object}");
}

#[test]
fn a_block_that_is_not_delivered_is_a_failure_with_the_reason() {
    let (status, object) = link(&["--loss", "1", "--size", "1000"]);

    assert_eq!(status, Some(1));
    assert_eq!(object["ok"], false);
    let reason = object["reason"].as_str().unwrap();
    assert!(reason.contains("retransmission limit exceeded"), "{reason}");
    let short = plan(
        "short_plan",
        "a contact +0 +1 1 2 100\na contact +0 +1 2 1 100\n",
    );
    let (status, object) = link(&["--contacts", &short]);
    assert_eq!(status, Some(1), "{object}");
    assert_eq!(
        object["ideal_ns"],
        Value::Null,
        "the plan has no room for it"
    );
    let plain = sim(&["link", "--loss", "1", "--size", "1000"]);
    let told = String::from_utf8(plain.stderr).unwrap();
    assert!(told.starts_with("farlink: the block failed: "), "{told}");
}

/// Over a slow radio, without `--rate` at its sender.
#[test]
fn a_link_whose_rate_nobody_told_delivers_all_the_same_and_at_a_price() {
    let options = ["--rate", "8000000", "--queue", "65536", "--owlt", "0.02"];

    let (status, object) = link(&options);

    assert_eq!((status, &object["ok"]), (Some(0), &true.into()), "{object}");
    assert!(object["resent"].as_u64().unwrap() > 0, "{object}");
}

#[test]
fn a_link_that_cannot_be_is_wrong_usage() {
    for (options, expected) in [
        (&["--loss", "1.1"][..], "a number from 0 to 1"),
        (&["--size", "0"], "0 is not in 1..=1073741824"),
        (
            &["--green", "5", "--size", "4"],
            "a green part of 5 octets exceeds the block of 4",
        ),
        (
            &["--segment", "95"],
            "segment length of 95 octets is below the minimum of 96",
        ),
        (&["--contacts", "no such file"], "no such file: "),
    ] {
        let output = sim(&[&["link"], options].concat());

        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_link_is_drawn_and_captured() {
    let (svg, pcap) = (file("link.svg"), file("link.pcapng"));
    let (svg, pcap) = (svg.to_str().unwrap(), pcap.to_str().unwrap());

    let output = sim(&[
        "link", "--size", "3000", "--ladder", "--svg", svg, "--pcap", pcap,
    ]);

    assert!(text(&output).contains(" EORP"), "{}", text(&output));
    assert!(fs::read_to_string(svg).unwrap().contains("engine 2"));
    assert!(Capture::open(&fs::read(pcap).unwrap()).is_ok());
}
