//! What a redacted recording holds.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::toy::{STREAM, Shared, Toy, at, datagram_session, drain, recorder, send, tcp};
use crate::hex;
use crate::record::section_writer::LINK_RAW;
use crate::record::{Capture, Frame, Recording, RecordingEnd, ReplayError, redact, replay};
use crate::{Link, Machine as _, Path, Seed};

/// A session with secrets wherever payloads can be.
fn secret_session() -> Vec<u8> {
    let sink = Shared::default();
    let mut toy = recorder::<Path>(STREAM, &sink);
    let path = tcp("10.0.0.1:7", "10.0.0.2:50000");
    toy.link(at(0), path, Link::Up);
    toy.receive(at(1), path, b"SECRET-in");
    toy.command(at(2), send(path, &b"SECRET-out"[..])).unwrap();
    let large: Vec<u8> = b"SECRET-large"
        .iter()
        .copied()
        .cycle()
        .take(200_000)
        .collect();
    toy.command(at(3), send(path, large)).unwrap();
    drain(&mut toy, at(4));
    drop(toy);
    sink.octets()
}

fn holds(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|window| window == text)
}

#[test]
fn seed_and_payloads_are_removed_and_the_rest_is_kept() {
    let file = secret_session();
    let secrets = [
        b"SECRET".to_vec(),
        hex::encode(b"SECRET").as_bytes()[4..].to_vec(),
        hex::encode(&Seed::from(7).to_octets()).into_bytes(),
        b"$blob".to_vec(),
    ];
    assert!(secrets.iter().all(|secret| holds(&file, secret)));

    let redacted = redact(&file).unwrap();

    assert!(!secrets.iter().any(|secret| holds(&redacted, secret)));
    assert!(holds(&redacted, br#""payload":"hex:00000000000000000000""#));
    assert!(holds(&redacted, br#""payload":{"$cut":200000}"#));
    assert!(holds(&redacted, br#""delay":1000"#));
}

#[test]
fn the_digest_of_a_payload_is_removed_too() {
    let file = secret_session();
    let start = file
        .windows(5)
        .position(|window| window == b"$blob")
        .unwrap();
    let digest = core::str::from_utf8(&file[start + 8..start + 8 + 36]).unwrap();
    let digest = hex::decode(digest).unwrap();
    assert!(holds(&file, &digest), "in the record of the payload");

    let redacted = redact(&file).unwrap();

    assert!(!holds(&redacted, &digest));
}

#[test]
fn packets_are_truncated_after_their_headers_and_keep_their_length() {
    let redacted = redact(&datagram_session()).unwrap();

    let mut capture = Capture::open(&redacted).unwrap();
    let mut lengths = Vec::new();
    while let Some(packet) = capture.next_packet().unwrap() {
        if let Ok(frame) = Frame::read(packet.link_type, packet.octets) {
            assert_eq!(frame.payload, b"");
            let length = packet.length - packet.octets.len();
            if packet.link_type == LINK_RAW {
                assert_eq!(frame.missing, length);
            }
            lengths.push(length);
            // Tags end in zeros too.
            let checksum = packet.octets.len() - 2;
            assert_eq!(
                packet.octets[checksum..],
                [0, 0],
                "it would tell of the payload"
            );
        }
    }

    assert_eq!(lengths, [5, 5, 0, 6, 6, 1, 40, 40, 12, 5000]);
}

#[test]
fn a_replay_refuses_a_redacted_recording() {
    let redacted = redact(&datagram_session()).unwrap();

    let error = replay::<Toy<Path>>(&redacted).unwrap_err();

    assert_eq!(error, ReplayError::Redacted);
    assert_eq!(
        error.to_string(),
        "the recording is redacted: without seed and payloads it can be viewed and not replayed"
    );
}

#[test]
fn a_redacted_recording_can_be_viewed_and_its_checksums_match() {
    let file = secret_session();
    let redacted = redact(&file).unwrap();

    let protocols = |file: &[u8]| {
        let recording = Recording::open(file).unwrap();
        let mut calls = recording.calls().unwrap();
        let mut protocols = Vec::new();
        while let Some(entry) = calls.next_entry().unwrap() {
            let act = format!("{:?}", entry.kind);
            let kind = act.split([' ', '(']).next().unwrap().to_string();
            protocols.push((entry.number, entry.time, kind));
        }
        assert_eq!(calls.damage(), None);
        assert_eq!(calls.end(), RecordingEnd::Finished);
        protocols
    };

    assert!(Recording::open(&redacted).unwrap().head().redacted);
    assert_eq!(protocols(&redacted), protocols(&file));
}

#[test]
fn redacting_twice_changes_nothing_more() {
    let once = redact(&secret_session()).unwrap();

    assert_eq!(redact(&once).unwrap(), once);
}

#[test]
fn a_truncated_recording_is_redacted_up_to_its_end() {
    let file = datagram_session();

    for length in 0..file.len() {
        if let Ok(redacted) = redact(&file[..length]) {
            assert!(Recording::open(&redacted).unwrap().head().redacted);
        }
    }
}
