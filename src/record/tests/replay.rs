//! Replays match, show the first difference, and find damage.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::fix_checksums::{fix_checksums, replace};
use super::toy::{
    DATAGRAMS, STREAM, Shared, Toy, ToyCommand, at, datagram_session, drain, recorder, send,
    short_session, udp,
};
use crate::record::{FORMAT, ReadError, RecordingEnd, ReplayError, VERSION, replay};
use crate::{Hop, Limits, Link, Machine as _, Path, Tag, Transmit};

#[test]
fn a_recording_replays_call_by_call() {
    let file = datagram_session();

    let outcome = replay::<Toy<Path>>(&file).unwrap();

    assert_eq!(outcome.difference, None);
    assert_eq!(outcome.damage, None);
    assert_eq!(outcome.end, RecordingEnd::Finished);
    // One cue, three datagrams and six commands; then nine polls with something, four idle, one done.
    assert_eq!(outcome.to_string(), "24 calls match");
}

#[test]
fn a_stream_replays_with_the_chunks_it_came_in() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.link(at(0), (), Link::Up);
    toy.receive(at(1), (), b"one chunk");
    toy.receive(at(2), (), &alloc::vec![7; 200_000]);
    drain(&mut toy, at(3));
    drain(&mut toy, at(5000));
    toy.command(at(5000), send((), &b"answer"[..])).unwrap();
    drain(&mut toy, at(5001));
    toy.link(at(6000), (), Link::Ended);
    toy.command(at(6000), ToyCommand::Close(())).unwrap();
    drain(&mut toy, at(6001));
    drop(toy);

    let outcome = replay::<Toy<()>>(&sink.octets()).unwrap();

    assert!(outcome.matches(), "{outcome}");
    assert_eq!(outcome.end, RecordingEnd::Finished);
}

#[test]
fn datagrams_on_buses_replay() {
    let sink = Shared::default();
    let mut toy = recorder::<Hop>(DATAGRAMS, &sink);
    for interface in [0, 3, 0] {
        toy.receive(at(1), Hop { interface, via: 5 }, b"frame");
    }
    drain(&mut toy, at(2000));
    drop(toy);

    let outcome = replay::<Toy<Hop>>(&sink.octets()).unwrap();

    assert_eq!(outcome.to_string(), "10 calls match");
}

#[test]
fn time_that_goes_backwards_is_replayed_as_it_was() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    toy.receive(at(u64::MAX), (), b"late");
    toy.receive(at(5), (), b"early");
    drain(&mut toy, at(1 << 63));
    drain(&mut toy, at(0));
    drop(toy);

    let outcome = replay::<Toy<()>>(&sink.octets()).unwrap();

    assert!(outcome.matches(), "{outcome}");
}

#[test]
fn polls_replay_with_the_limits_that_they_had() {
    let sink = Shared::default();
    let mut toy = recorder::<()>(STREAM, &sink);
    for octets in [100, 7, 7, 1 << 16] {
        for _ in 0..3 {
            toy.command(at(0), send((), &b"seven.."[..])).unwrap();
        }
        let mut tx = Transmit::new(Limits::stream(octets));
        let _ = toy.poll(at(0), &mut tx);
    }
    drop(toy);

    let outcome = replay::<Toy<()>>(&sink.octets()).unwrap();

    assert!(outcome.matches(), "{outcome}");
}

#[test]
fn more_addresses_than_the_table_holds_replay() {
    let sink = Shared::default();
    let mut toy = recorder::<Hop>(DATAGRAMS, &sink);
    for via in 0..20_000 {
        let interface = 0;
        toy.receive(at(via.into()), Hop { interface, via }, b"?");
        drain(&mut toy, at(via.into()));
    }
    drop(toy);

    let outcome = replay::<Toy<Hop>>(&sink.octets()).unwrap();

    assert!(outcome.matches(), "{outcome}");
}

#[test]
fn asks_and_refusals_are_compared() {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(DATAGRAMS, &sink);
    let path = udp("0.0.0.0:0", "0.0.0.0:0");
    toy.command(at(0), ToyCommand::Open(Tag(1), path)).unwrap();
    drain(&mut toy, at(0));
    toy.command(at(1), ToyCommand::Quit).unwrap();
    toy.command(at(2), ToyCommand::Quit).unwrap_err();
    drop(toy);
    let file = sink.octets();

    let other_ask = fix_checksums(replace(
        &file,
        b"{\"open\":{\"tag\":1",
        b"{\"open\":{\"tag\":2",
        0,
    ));
    let other_reason = fix_checksums(replace(&file, b"put away", b"broken..", 0));

    let asked = replay::<Toy<Path>>(&other_ask).unwrap().to_string();
    assert!(asked.contains("call 2 at 0.000000000s: poll"), "{asked}");
    assert!(asked.contains("\"tag\": 2"), "{asked}");
    let refused = replay::<Toy<Path>>(&other_reason).unwrap().to_string();
    let sides = "refused: the toy is broken.. | refused: the toy is put away";
    assert!(refused.contains(sides), "{refused}");
}

#[test]
fn a_flipped_bit_is_shown_with_its_time_the_call_and_both_sides() {
    let mut file = short_session();
    let place = file
        .windows(3)
        .rposition(|window| window == b"out")
        .unwrap();
    file[place + 1] ^= 0x04;

    let outcome = replay::<Toy<()>>(&file).unwrap();

    assert!(!outcome.matches());
    let shown = outcome.to_string();
    let expected = "the replay differs
call 6 at 0.000000003s: poll, after a command (call 3)
  recorded                               | replayed
  transmit to the peer: stream, 3 octets | transmit to the peer: stream, 3 octets
  0000  6f 71 74                         | 0000  6f 75 74
           ^^                            |          ^^
the file is damaged between octets ";
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn every_flipped_bit_is_found() {
    let file = short_session();

    let mut silent = Vec::new();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if replay::<Toy<()>>(&flipped).is_ok_and(|outcome| outcome.matches()) {
            silent.push(bit);
        }
    }

    assert!(silent.is_empty(), "{silent:?} of {}", file.len() * 8);
}

#[test]
fn an_unreadable_recording_is_reported_with_its_damage() {
    let file = short_session();
    let config = replace(&file, b"\"delay\"", b"\"dally\"", 0);
    let command = replace(&file, b"{\"command\":", b"{\"comnand\":", 0);

    for damaged in [config, command] {
        let error = replay::<Toy<()>>(&damaged).unwrap_err().to_string();

        assert!(error.contains("the file is damaged between"), "{error}");
    }
}

#[test]
fn a_broken_head_is_not_taken_for_that_of_a_foreign_capture() {
    let file = short_session();
    let no_json = replace(&file, b"\"kind\":", b"\"kind\"=", 0);
    let no_kind = replace(&file, b"\"kind\":", b"\"mind\":", 0);

    for broken in [no_json, no_kind] {
        let error = replay::<Toy<()>>(&broken).unwrap_err().to_string();

        assert!(error.starts_with("malformed at octet "), "{error}");
    }
}

#[test]
fn a_truncated_recording_replays_up_to_its_last_whole_block() {
    let file = datagram_session();
    let whole = replay::<Toy<Path>>(&file).unwrap();

    let mut calls = 0;
    for length in 0..file.len() {
        match replay::<Toy<Path>>(&file[..length]) {
            Ok(outcome) => {
                assert!(outcome.matches(), "{length}: {outcome}");
                assert!(matches!(outcome.end, RecordingEnd::Cut { at } if at <= length));
                assert!(outcome.calls >= calls, "{length}");
                calls = outcome.calls;
            }
            Err(error) => assert_eq!(calls, 0, "{length}: {error}"),
        }
    }

    assert_eq!(calls, whole.calls);
}

#[test]
fn a_matching_recording_of_an_older_version_is_reported_without_the_version() {
    let file = fix_checksums(older(&short_session()));

    let outcome = replay::<Toy<()>>(&file).unwrap();

    assert_eq!(outcome.to_string(), "9 calls match");
    assert_eq!(outcome.made_by, OLDER);
}

#[test]
fn a_difference_to_an_older_version_is_reported_with_the_version() {
    let file = older(&short_session());
    let differs = fix_checksums(replace(&file, b"out", b"own", 0));
    let unreadable = fix_checksums(replace(&file, b"\"delay\"", b"\"dally\"", 0));
    let versions = format!("made by farlink {OLDER}, this is farlink {VERSION}");

    let outcome = replay::<Toy<()>>(&differs).unwrap().to_string();
    let error = replay::<Toy<()>>(&unreadable).unwrap_err().to_string();

    assert!(outcome.contains("call 6"), "{outcome}");
    assert!(outcome.ends_with(&versions), "{outcome}");
    assert!(error.contains("missing field `delay`"), "{error}");
    assert!(error.ends_with(&versions), "{error}");
}

#[test]
fn another_format_is_refused_with_both_formats_and_both_versions() {
    let file = older(&short_session());
    let file = fix_checksums(replace(
        &file,
        format!("\"format\":{FORMAT}").as_bytes(),
        b"\"format\":9",
        0,
    ));

    let error = replay::<Toy<()>>(&file).unwrap_err().to_string();

    let expected = format!(
        "a recording in format 9, made by farlink {OLDER}; farlink {VERSION} reads format {FORMAT}"
    );
    assert_eq!(error, expected);
}

#[test]
fn a_recording_of_another_machine_is_refused() {
    let file = fix_checksums(replace(&short_session(), b"\"toy\"", b"\"top\"", 0));

    let error = replay::<Toy<()>>(&file).unwrap_err();

    assert_eq!(
        error.to_string(),
        "recording of `top`, where one of `toy` was expected"
    );
}

#[test]
fn an_unreadable_recording_of_an_older_version_is_reported_with_the_version() {
    let file = older(&short_session());
    let other = fix_checksums(replace(&file, b"\"toy\"", b"\"top\"", 0));
    let broken = &file[..file.len() - 30];
    let broken = [broken, &[0xFF; 30]].concat();
    let versions = format!("made by farlink {OLDER}, this is farlink {VERSION}");

    for file in [other, broken] {
        let error = replay::<Toy<()>>(&file).unwrap_err().to_string();

        assert!(error.ends_with(&versions), "{error}");
    }
}

#[test]
fn a_capture_is_not_taken_for_a_recording() {
    let read = |file: &[u8]| match replay::<Toy<()>>(file) {
        Err(ReplayError::Read { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    let file = short_session();
    // Section and interfaces without the head.
    let head = file.windows(8).position(|at| at == b"farlink\n").unwrap();

    let mut pcap = [0; 24];
    pcap[..4].copy_from_slice(&[0xd4, 0xc3, 0xb2, 0xa1]);

    assert_eq!(read(b"GIF89a"), ReadError::NotACapture);
    assert_eq!(read(&pcap), ReadError::NotARecording);
    assert_eq!(read(&file[..head - 12]), ReadError::NotARecording);
}

const OLDER: &str = "0.0.9";

/// Replaces the version in the head by an older one.
fn older(file: &[u8]) -> Vec<u8> {
    let mine = format!("\"farlink\":\"{VERSION}\"");
    let theirs = format!("\"farlink\":\"{OLDER}\"");
    replace(file, mine.as_bytes(), theirs.as_bytes(), 0)
}
