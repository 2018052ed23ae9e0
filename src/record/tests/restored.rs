//! Recordings of restored machines, and boxed machines.

use alloc::format;
use alloc::string::ToString as _;

use super::fix_checksums::replace;
use super::toy::{DATAGRAMS, Shared, Toy, ToySnapshot, at, drain, recorder, send, udp};
use crate::record::{
    EntryKind, RecordOptions, Recorder, Recording, ReplayError, redact, replay, single_part,
};
use crate::{AsMachine as _, BoxedMachine, Link, Machine as _, Path, Seed};

fn peer() -> Path {
    udp("10.0.0.1:7", "10.0.0.2:7000")
}

/// Records a toy that was restored with `length` octets left to send, over two parts.
fn restored_session(length: usize) -> alloc::vec::Vec<u8> {
    let sink = Shared::default();
    let parts = sink.clone();
    let options = RecordOptions {
        part_octets: Some(2000),
        ..RecordOptions::default()
    };
    let snapshot = ToySnapshot {
        to: peer(),
        payload: alloc::vec![0xa5; length].into(),
    };
    let mut toy = Recorder::<Toy<Path>>::restore(
        DATAGRAMS,
        Seed::from(7),
        snapshot,
        at(500),
        move |_| Ok(Some(parts.boxed())),
        options,
    )
    .unwrap();
    assert_eq!(drain(&mut toy, at(500)), [alloc::vec![0xa5; length]]);
    for now in 600..620 {
        toy.receive(at(now), peer(), b"hello");
        drain(&mut toy, at(now));
    }
    drop(toy);
    sink.octets()
}

#[test]
fn a_restored_machine_replays_from_its_snapshot() {
    for length in [10, 5000] {
        let file = restored_session(length);
        let recording = Recording::open(&file).unwrap();

        let outcome = replay::<Toy<Path>>(&file).unwrap();

        assert!(recording.head().restored);
        assert!(outcome.matches(), "{outcome}");
        let mut calls = recording.calls().unwrap();
        let first = calls.next_entry().unwrap().unwrap();
        assert_eq!((first.number, first.time), (1, at(500)));
        assert!(matches!(first.kind, EntryKind::Restore(_)), "{first:?}");
        assert!(Recording::open(&redact(&file).unwrap()).is_ok());
    }
}

#[test]
fn a_machine_that_was_not_restored_has_no_snapshot() {
    let sink = Shared::default();
    drop(recorder::<Path>(DATAGRAMS, &sink));
    let file = sink.octets();

    assert!(!Recording::open(&file).unwrap().head().restored);
    let hidden = replace(&restored_session(1), b"\"restored\"", b"\"reSTORED\"", 0);
    let error = replay::<Toy<Path>>(&hidden).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a snapshot behind the first call"),
        "{error}"
    );
}

#[test]
fn a_refused_snapshot_is_an_error_of_the_machine() {
    let snapshot = ToySnapshot {
        to: peer(),
        payload: bytes::Bytes::from_static(b"\0"),
    };
    let (sink, options) = (single_part(Shared::default()), RecordOptions::default());

    let refused =
        Recorder::<Toy<Path>>::restore(DATAGRAMS, Seed::from(7), snapshot, at(0), sink, options);

    assert_eq!(refused.unwrap_err().to_string(), "the toy is put away");
}

#[test]
fn a_recorded_snapshot_that_the_machine_refuses_cannot_be_replayed() {
    let file = restored_session(1);

    let refused = replace(&file, b"hex:a5", b"hex:00", 0);
    let error = replay::<Toy<Path>>(&refused).unwrap_err();

    assert!(
        matches!(&error, ReplayError::Unreadable { what, .. }
            if what == "the recorded snapshot: the toy is put away"),
        "{error}"
    );
}

#[test]
fn a_boxed_machine_lends_what_it_holds_whether_recorded_or_not() {
    let sink = Shared::default();
    let bare = Toy::<Path>::from(DATAGRAMS);
    let recorded = recorder::<Path>(DATAGRAMS, &sink);
    let toy: &Toy<Path> = recorded.as_machine();
    assert_eq!(toy.delay(), 1000);
    let mut boxed = [BoxedMachine::new(bare), BoxedMachine::new(recorded)];

    for toy in &mut boxed {
        toy.link(at(0), peer(), Link::Up);
        toy.command(at(1), send(peer(), &b"out"[..])).unwrap();
        assert_eq!(drain(toy, at(1)), [b"out"]);
        assert_eq!(toy.delay(), 1000);
    }

    assert_eq!(format!("{:?}", boxed[0]), format!("{:?}", boxed[1]));
    drop(boxed);
    assert!(replay::<Toy<Path>>(&sink.octets()).unwrap().matches());
}
