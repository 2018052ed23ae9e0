//! Recordings of the stories: all of them replay, and those in `vectors` have equal calls.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use farlink::cotp::Connection;
use farlink::record::{Recording, RecordingEnd, replay};

use crate::{cotp, resets};

std::thread_local! {
    /// Whether this thread writes the recordings into the repository.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

#[test]
#[ignore = "writes the recordings into the repository"]
fn write_the_recordings() {
    fs::create_dir_all(folder()).unwrap();
    WRITES.set(true);
    for story in cotp::KEPT.iter().chain(resets::KEPT) {
        story();
    }
}

/// Checks that a recording replays to its end.
pub(crate) fn replays(file: &[u8]) {
    let outcome = replay::<Connection>(file).unwrap();
    assert!(outcome.matches(), "{outcome}");
    assert_eq!(outcome.end, RecordingEnd::Finished);
}

/// Checks that the recording with this name in `vectors` is equal, or writes it.
pub(crate) fn keep(name: &str, file: &[u8]) {
    replays(file);
    let path = folder().join(format!("{name}.pcapng"));
    if WRITES.get() {
        return fs::write(&path, file).unwrap();
    }
    let recordings = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        have_equal_calls(&recordings, file),
        "write it again: {name}"
    );
}

/// Compares the calls. The octets name the version that wrote them.
fn have_equal_calls(one: &[u8], other: &[u8]) -> bool {
    let [one, other] = [one, other].map(|file| Recording::open(file).unwrap());
    let (mut ones, mut others) = (one.calls().unwrap(), other.calls().unwrap());
    loop {
        let one = ones.next_entry().unwrap();
        if one != others.next_entry().unwrap() {
            return false;
        }
        if one.is_none() {
            return true;
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/recordings/stories")
}
