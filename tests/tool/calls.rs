//! `farlink decode --calls` on recordings.

use std::fs;

use serde_json::json;

use super::{altered, farlink, farlink_on, kept, scratch, written};

#[test]
fn every_call_is_shown_with_its_number_and_the_pdus_in_it() {
    let ran = farlink(&["decode", "--calls", &kept("refused.responder")]).well();

    let lines = ran.lines();
    let expected = [
        r#"     1   0.000000000s  {"at":null,"link":"up"}"#,
        "     2   0.000000000s  idle until 10.000000000s",
        "     3   0.000250000s  received 22 octets from the peer",
    ];
    assert_eq!(lines[..3], expected);
    assert!(lines[3].contains("    < CR from "), "{}", lines[3]);
    assert!(lines[4].contains(r#"{"event":{"indication":{"called":"#));
    assert!(
        lines[6].contains(r#"{"command":{"refuse":"#),
        "{}",
        lines[6]
    );
    assert!(lines[7].ends_with("s  accepted"), "{}", lines[7]);
    assert!(lines.last().unwrap().ends_with("s  done"));
}

#[test]
fn the_fields_of_a_call_are_those_of_the_manual() {
    let ran = farlink(&["decode", "--calls", "--json", &kept("crowded.initiator")]).well();

    let objects = ran.objects();
    let link = json!({ "call": 1, "time_ns": 0, "act": "link", "link": "up", "at": null });
    assert_eq!(objects[0], link);
    let stream = json!({ "call": 2, "time_ns": 0, "act": "stream", "to": null, "octets": 22 });
    assert_eq!(objects[1], stream);
    let request = &objects[2];
    assert_eq!(request["call"], 2);
    assert_eq!(request["way"], "out");
    assert!(request["peer"].is_null());
    assert_eq!(request["tpdu"], "CR");
    let acts: Vec<&str> = objects
        .iter()
        .filter_map(|object| object["act"].as_str())
        .collect();
    for act in [
        "receive", "command", "accepted", "refused", "event", "ask", "idle", "done",
    ] {
        assert!(acts.contains(&act), "{act} in {acts:?}");
    }
    let refused = objects.iter().find(|object| object["act"] == "refused");
    let reason = "send queue is full: 1865 octets of a limit of 2000";
    assert_eq!(refused.unwrap()["reason"], reason);
}

#[test]
fn a_stream_that_ends_inside_a_packet_is_a_fault() {
    let ran = farlink(&["decode", "--calls", &kept("truncated.responder")]).badly(1, "");

    let told = "< packet at octet 22 of the stream: the last packet is cut short after 333 octets";
    assert!(ran.out.contains(told), "{}", ran.out);
}

#[test]
fn a_redacted_recording_shows_its_calls_without_octets() {
    let out = scratch("redacted_calls.pcapng");
    farlink(&["replay", "--redact", &out, &kept("messages.initiator")]).well();

    let ran = farlink(&["decode", "--calls", &out]).well();

    assert!(ran.lines()[1].ends_with("sent redacted octets to the peer"));
    assert!(!ran.out.contains(" CR from "), "{}", ran.out);
}

#[test]
fn a_damaged_recording_is_reported_behind_its_calls() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let file = altered(&file, b"\xfefirst", b"\xfeFirst");

    let ran = farlink_on(&file, &["decode", "--calls"]);

    let ran = ran.badly(1, "the file is damaged between octets ");
    assert!(ran.lines().last().unwrap().ends_with("s  done"));
}

#[test]
fn a_capture_has_no_calls() {
    let file = written("no_calls.pcap", &super::ethernet::Tap::new(102).file());

    farlink(&["decode", "--calls", &file]).badly(1, "but not a recording of farlink");
    farlink_on(b"03000007", &["decode", "--calls"]).badly(1, "neither a pcap nor a pcapng file");
}
