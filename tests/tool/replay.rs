//! `farlink replay`.

use std::fs;

use bytes::Bytes;
use farlink::cotp::{Command, Config, Connection};
use farlink::record::{FORMAT, Files, RecordOptions, Recorder, VERSION};
use farlink::{Instant, Limits, Link, Machine as _, Output, Seed, Transmit};
use serde_json::json;

use super::{altered, farlink, farlink_on, kept, scratch, written};

#[test]
fn a_recording_that_matches_ends_well() {
    let path = kept("messages.initiator");
    let file = fs::read(&path).unwrap();

    let ran = farlink(&["replay", &path]).well();
    let piped = farlink_on(&file, &["replay", "-"]).well();
    let object = farlink(&["replay", "--json", &path]).well().objects();

    assert_eq!(ran.lines(), ["25 calls match"]);
    assert_eq!(piped.out, ran.out);
    let expected = json!({
        "verdict": "matches",
        "kind": "cotp",
        "made_by": VERSION,
        "version": VERSION,
        "calls": 25,
        "end": "finished",
        "difference": null,
        "damage": null,
    });
    assert_eq!(object, [expected]);
}

#[test]
fn the_first_difference_is_shown_with_time_call_and_both_sides() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    // The octets that were sent: those of the command before are in hex.
    let path = written(
        "differs.pcapng",
        &altered(&file, b"\xfefirst", b"\xfeFirst"),
    );

    let ran = farlink(&["replay", &path]).badly(1, "");
    let object = &farlink(&["replay", "--json", &path]).badly(1, "").objects()[0];

    let lines = ran.lines();
    let expected = [
        "the replay differs",
        "call 8 at 0.001500000s: poll, after a command (call 7)",
    ];
    assert_eq!(lines[..2], expected);
    let octets = "0000  03 00 00 0d 02 f0 80 fe";
    let sides = format!("  {octets} 46 69 72 73 74 | {octets} 66 69 72 73 74");
    assert!(lines.contains(&sides.as_str()), "{}", ran.out);
    assert!(lines.last().unwrap().contains("the file is damaged"));
    assert_eq!(object["verdict"], "differs");
    let difference = &object["difference"];
    assert_eq!(
        (&difference["call"], &difference["what"]),
        (&json!(8), &json!("poll"))
    );
    assert_eq!(difference["time_ns"], 1_500_000);
    assert_eq!(difference["after"], "a command (call 7)");
    assert_eq!(
        difference["recorded"][1],
        format!("{octets} 46 69 72 73 74")
    );
    assert_eq!(
        difference["replayed"][1],
        format!("{octets} 66 69 72 73 74")
    );
    assert!(object["damage"]["from"].as_u64() < object["damage"]["to"].as_u64());
}

#[test]
fn damage_is_reported_even_where_everything_matches() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written(
        "damaged.pcapng",
        &altered(&file, b"farlink 0", b"farlink 9"),
    );

    let ran = farlink(&["replay", &path]).badly(1, "");
    let object = &farlink(&["replay", "--json", &path]).objects()[0];

    assert_eq!(ran.lines()[0], "25 calls match");
    assert!(ran.lines()[1].starts_with("the file is damaged between octets "));
    assert_eq!(object["verdict"], "damaged");
}

#[test]
fn damage_that_stops_the_replay_is_reported_with_what_it_made_of_the_file() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written(
        "no_command.pcapng",
        &altered(&file, b"{\"command\":", b"{\"comnand\":"),
    );

    farlink(&["replay", &path]).badly(1, "the file is damaged between octets ");
    let object = &farlink(&["replay", "--json", &path]).objects()[0];

    assert_eq!(object["verdict"], "damaged");
    assert!(object["damage"]["from"].as_u64() < object["damage"]["to"].as_u64());
    assert!(object["error"].as_str().unwrap().contains("a command"));
}

#[test]
fn two_recordings_are_not_parts_of_one() {
    let path = kept("messages.initiator");

    farlink(&["replay", &path, &path]).badly(1, "another recording, behind the end of the first");
}

#[test]
fn the_version_that_made_a_recording_is_named_when_it_differs() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let ours = format!("\"farlink\":\"{VERSION}\"");
    let theirs = ours.replace(|digit: char| digit.is_ascii_digit(), "7");
    let older = altered(&file, ours.as_bytes(), theirs.as_bytes());
    let differs = altered(&older, b"\xfefirst", b"\xfeFirst");
    let format = format!("\"format\":{FORMAT}");
    let format = altered(&older, format.as_bytes(), b"\"format\":7");

    let ran = farlink_on(&differs, &["replay", "-"]).badly(1, "");
    let unread = farlink_on(&format, &["replay", "-"]);

    let made_by = "7.7.7";
    let last = ran.lines().last().copied().unwrap().to_owned();
    assert!(last.contains(&format!(
        "made by farlink {made_by}, this is farlink {VERSION}"
    )));
    unread.badly(
        1,
        &format!("a recording in format 7, made by farlink {made_by}"),
    );
}

#[test]
fn a_machine_that_is_unknown_is_named() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written("kind.pcapng", &altered(&file, b"\"cotp\"", b"\"warp\""));

    let object = &farlink(&["replay", "--json", &path]).badly(1, "").objects()[0];

    farlink(&["replay", &path]).badly(1, "kind.pcapng: a recording of `warp`");
    assert_eq!(
        (&object["verdict"], &object["kind"]),
        (&json!("unreadable"), &json!("warp"))
    );
    assert!(object["error"].as_str().unwrap().contains("`warp`"));
}

#[test]
fn a_file_that_is_no_recording_is_reported() {
    let capture = super::ethernet::Tap::new(102).file();

    farlink_on(&capture, &["replay", "-"]).badly(1, "a capture, but not a recording of farlink");
    farlink_on(b"hello", &["replay", "-"]).badly(1, "neither a pcap nor a pcapng file");
}

#[test]
fn a_recording_that_breaks_off_is_replayed_as_far_as_it_goes() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written("breaks_off.pcapng", &file[..file.len() - 200]);

    let ran = farlink(&["replay", &path]).well();
    let object = &farlink(&["replay", "--json", &path]).well().objects()[0];

    assert!(ran.lines()[1].starts_with("the recording has no end mark"));
    assert_eq!(
        (&object["verdict"], &object["end"]),
        (&json!("matches"), &json!("cut"))
    );
}

#[test]
fn a_redacted_copy_can_be_viewed_and_not_replayed() {
    let path = kept("messages.initiator");
    let out = scratch("redacted.pcapng");

    let ran = farlink(&["replay", "--redact", &out, &path]).well();

    assert_eq!(
        ran.lines(),
        ["25 calls match"],
        "the recording itself was replayed"
    );
    let copy = fs::read(&out).unwrap();
    assert!(
        !copy.windows(5).any(|octets| octets == b"first"),
        "no payload"
    );
    assert!(
        !copy.windows(6).any(|octets| octets == b"\"seed\""),
        "no seed"
    );
    farlink(&["replay", &out]).badly(1, "redacted.pcapng: the recording is redacted");
    let object = &farlink(&["replay", "--json", &out]).badly(1, "").objects()[0];
    assert_eq!(object["verdict"], "redacted");
}

#[test]
fn a_redacted_copy_never_replaces_the_recording() {
    let file = fs::read(kept("messages.initiator")).unwrap();
    let path = written("precious.pcapng", &file);

    farlink(&["replay", "--redact", &path, &path]).badly(2, "is also the input");

    assert_eq!(fs::read(&path).unwrap(), file);
}

#[test]
fn the_parts_of_a_recording_are_replayed_in_order() {
    let files = Files::new(scratch("parts.pcapng"));
    let parts = record_in_parts(&files);
    let paths: Vec<String> = (0..parts)
        .map(|part| files.path(part).into_os_string().into_string().unwrap())
        .collect();
    let [first, second, ..] = paths.as_slice() else {
        panic!("{parts} parts");
    };
    let mut all = vec!["replay"];
    all.extend(paths.iter().map(String::as_str));

    let whole = farlink(&all).well();
    let beginning = farlink(&["replay", first]).well();

    assert_eq!(whole.lines().len(), 1, "{}", whole.out);
    assert_eq!(
        beginning.lines()[1],
        "the next part of the recording is missing"
    );
    farlink(&["replay", second]).badly(1, "the file begins with part 1 of a recording");
    farlink(&["replay", second, first]).badly(1, "part");
}

/// Records an initiator without a peer, and says how many parts that took.
fn record_in_parts(files: &Files) -> u32 {
    let options = RecordOptions {
        part_octets: Some(2000),
        ..RecordOptions::default()
    };
    let mut machine: Recorder<Connection> =
        Recorder::rotating(Config::default(), Seed::from(1), files.clone(), options).unwrap();
    let mut tx = Transmit::new(Limits::default());
    machine.link(Instant::ZERO, (), Link::Up);
    for second in 0..9 {
        let now = Instant::from_nanos(second * 1_000_000_000);
        let early = Command::Send(Bytes::from_static(b"too early"));
        machine.command(now, early).expect_err("nobody is there");
        while !matches!(machine.poll(now, &mut tx), Output::Idle(_)) {}
    }
    drop(machine);
    let mut parts = 0;
    while files.path(parts).exists() {
        parts += 1;
    }
    parts
}
