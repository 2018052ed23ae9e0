//! The recordings that are kept in `vectors`.

use std::fs;
use std::path::{Path, PathBuf};

use farlink::cotp::Connection;
use farlink::record::{Recorded, Recording, RecordingEnd, replay};

use crate::stories::STORIES;

#[test]
fn every_kept_recording_replays() {
    let files = recordings(&root().join("vectors"));
    assert!(files.len() >= 2 * STORIES.len(), "{} files", files.len());
    for path in files {
        let name = path.display();
        let file = fs::read(&path).unwrap();
        let recording = Recording::open(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let outcome = match recording.head().kind.as_str() {
            Connection::KIND => replay::<Connection>(&file),
            kind => panic!("{name}: no machine of kind {kind}"),
        };
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.matches(), "{name}: {outcome}");
        assert_eq!(outcome.end, RecordingEnd::Finished, "{name}");
        assert!(outcome.calls > 4, "{name}: {outcome}");
    }
}

#[test]
fn every_story_gives_the_same_recording_each_time() {
    for (name, tell) in STORIES {
        let [first, second] = [(); 2].map(|()| tell().files());

        assert!(first == second, "{name}");
    }
}

#[test]
#[ignore = "writes the recordings into the repository"]
fn write_the_recordings() {
    let folder = root().join("vectors/recordings");
    fs::create_dir_all(&folder).unwrap();
    for (name, tell) in STORIES {
        let [initiator, responder] = tell().files();
        fs::write(folder.join(format!("{name}.initiator.pcapng")), initiator).unwrap();
        fs::write(folder.join(format!("{name}.responder.pcapng")), responder).unwrap();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(recordings(&path));
        } else if path.extension().is_some_and(|name| name == "pcapng") {
            files.push(path);
        }
    }
    files.sort();
    files
}
