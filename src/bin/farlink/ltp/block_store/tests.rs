//! Blocks in files.

use std::fs;
use std::path::Path;

use super::*;

const SESSION: SessionId = SessionId {
    originator: 1,
    number: 9,
};

fn store(name: &str, limit: u64) -> (BlockStore, PathBuf) {
    store_with(name, limit, false)
}

fn durable(name: &str) -> (BlockStore, PathBuf) {
    store_with(name, 100, true)
}

fn store_with(name: &str, limit: u64, is_durable: bool) -> (BlockStore, PathBuf) {
    let directory = std::env::temp_dir().join(format!("farlink-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    assert_eq!(part_file::check_directory(&directory).unwrap(), []);
    let out = Output::Directory(directory.clone());
    (
        BlockStore::new(out, limit, Duration::from_secs(4), is_durable),
        directory,
    )
}

fn red(data: &'static [u8]) -> Fragment {
    Fragment {
        color: Color::Red,
        ..green(0, data)
    }
}

fn green(offset: u64, data: &'static [u8]) -> Fragment {
    Fragment {
        session: SESSION,
        client: 4,
        color: Color::Green,
        offset,
        data: Bytes::from_static(data),
        is_last: false,
    }
}

fn last(fragment: Fragment) -> Fragment {
    Fragment {
        is_last: true,
        ..fragment
    }
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_block_is_a_file_when_it_is_complete() {
    let (mut store, directory) = store("whole", 100);
    let now = Instant::now();

    let end = last(green(3, b"defg"));
    assert!(store.insert(end, now).unwrap().is_none());
    let unfinished = format!(".client4-engine1-session9.{}.part", std::process::id());
    assert_eq!(files(&directory), [(unfinished, b"\0\0\0defg".to_vec())]);
    let block = store.insert(red(b"abc"), now).unwrap().unwrap();

    assert_eq!((block.red, block.green, block.is_ended), (3, 4, true));
    assert!(block.missing.is_empty());
    let name = String::from("client4-engine1-session9");
    assert_eq!(files(&directory), [(name, b"abcdefg".to_vec())]);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_second_block_of_one_session_never_replaces_the_first() {
    let (mut store, directory) = store("twice", 100);
    for data in [b"one", b"two"] {
        let whole = last(red(data));
        store.insert(whole, Instant::now()).unwrap().unwrap();
    }

    let name = String::from("client4-engine1-session9");
    let second = format!("{name}.2");
    let expected = [(name, b"one".to_vec()), (second, b"two".to_vec())];
    assert_eq!(files(&directory), expected);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_incomplete_block_waits_and_is_stored_as_incomplete() {
    let (mut store, directory) = store("holes", 100);
    let now = Instant::now();
    let later = now + Duration::from_secs(4);
    store.insert(red(b"ab"), now).unwrap();
    store.insert(green(6, b"gh"), now).unwrap();
    store.insert(green(7, b"hi"), now).unwrap();

    assert_eq!(store.due(now, 0), None);
    assert_eq!(store.due(later, 1), Some(SESSION));
    let block = store.store(SESSION).unwrap().unwrap();
    let late = store.insert(green(2, b"c"), later).unwrap();

    assert_eq!((block.red, block.green), (2, 3));
    assert!(block.missing.iter().eq([&(2..6)]) && !block.is_ended);
    assert!(late.is_none() && store.first().is_none());
    let name = String::from("client4-engine1-session9.incomplete");
    assert_eq!(files(&directory), [(name, b"ab\0\0\0\0ghi".to_vec())]);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_session_number_that_is_used_again_gets_its_green_octets() {
    let (mut store, directory) = store("again", 100);
    let now = Instant::now();
    store.insert(last(red(b"old")), now).unwrap().unwrap();

    assert!(store.insert(red(b"abc"), now).unwrap().is_none());
    let mixed = store.insert(last(green(3, b"de")), now).unwrap().unwrap();
    let late = store.insert(last(green(0, b"fg")), now).unwrap();
    let later = now + Duration::from_secs(65);
    let other = store.insert(last(green(0, b"fg")), later).unwrap().unwrap();

    assert_eq!((mixed.red, mixed.green), (3, 2));
    assert!(late.is_none(), "it may belong to the block before");
    assert_eq!((other.red, other.green), (0, 2));
    fs::remove_dir_all(directory).unwrap();
}

/// The sender decides how long the red part is repaired.
#[test]
fn green_segments_wait_for_the_red_part_of_a_session() {
    let (mut store, directory) = store("waits", 100);
    let now = Instant::now();
    store.insert(green(6, b"gh"), now).unwrap();

    let soon = now + Duration::from_secs(5);
    assert_eq!(store.due(soon, 1), None);
    assert_eq!(store.due(soon, 0), Some(SESSION));
    assert_eq!(store.due(now + Duration::from_secs(64), 1), Some(SESSION));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_block_whose_first_octet_is_green_has_no_red_part() {
    let (mut store, directory) = store("green", 100);
    let now = Instant::now();

    store.insert(green(3, b"def"), now).unwrap();
    assert!(!store.is_green(SESSION));
    store.insert(green(0, b"abc"), now).unwrap();
    assert!(store.is_green(SESSION));
    store.insert(red(b"abc"), now).unwrap();
    assert!(!store.is_green(SESSION));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_block_beyond_the_limit_is_refused_with_the_limit_and_its_end() {
    let (mut store, directory) = store("far", 100);
    store.insert(green(0, b"ab"), Instant::now()).unwrap();
    for (offset, end) in [(99, 101), (u64::MAX, u64::MAX)] {
        let session = SessionId {
            number: offset,
            ..SESSION
        };
        let far = Fragment {
            session,
            ..green(offset, b"ab")
        };

        let error = store.insert(far, Instant::now()).unwrap_err();

        let expected = format!("octets up to {end} exceed the limit of 100 (--limit)");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(store.first(), Some(SESSION), "the others go on");
    assert_eq!(files(&directory).len(), 1, "nothing is left of them");
    fs::remove_dir_all(directory).unwrap();
}

/// A header can name any offset.
#[cfg(unix)]
#[test]
fn a_hole_takes_no_room_on_the_disk() {
    use std::os::unix::fs::MetadataExt as _;

    let (mut store, directory) = store("sparse", 1 << 30);
    let end = (1 << 30) - 1;
    store.insert(green(end, b"x"), Instant::now()).unwrap();

    let block = store.store(SESSION).unwrap().unwrap();

    let file = fs::metadata(block.file.unwrap()).unwrap();
    assert_eq!((file.len(), block.green), (1 << 30, 1));
    assert!(file.blocks() * 512 <= 1 << 16, "{}", file.blocks());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_limit_of_all_blocks_counts_the_octets_that_arrived() {
    let (mut store, directory) = store("held", 9000);
    let now = Instant::now();
    for number in 1..=4 {
        assert_eq!(store.due(now, 1), None);
        let session = SessionId { number, ..SESSION };
        let far = Fragment {
            session,
            ..green(6000, &[7; 3000])
        };
        store.insert(far, now).unwrap();
    }

    let due = store.due(now, 1).unwrap();
    store.store(due).unwrap();

    assert_eq!(due.number, 1, "the one that has waited longest");
    assert_eq!(store.due(now, 1), None);
    drop(store);
    assert_eq!(
        files(&directory).len(),
        1,
        "a normal end leaves no unfinished files"
    );
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_block_whose_file_cannot_be_written_is_refused_and_the_others_go_on() {
    let (mut store, directory) = store("gone", 100);
    let now = Instant::now();
    store.insert(green(0, b"ab"), now).unwrap();
    let other = Fragment {
        session: SessionId {
            number: 10,
            ..SESSION
        },
        ..green(0, b"ab")
    };
    store.insert(other, now).unwrap();
    let (part, _) = files(&directory).pop().unwrap();
    fs::remove_file(directory.join(&part)).unwrap();

    let error = store.insert(green(2, b"cd"), now).unwrap_err();
    let late = store.insert(green(4, b"ef"), now).unwrap();

    assert!(error.to_string().contains(&part), "{error}");
    assert!(late.is_none());
    assert_eq!(store.first().map(|session| session.number), Some(10));
    fs::remove_dir_all(directory).unwrap();
}

/// The device can be written, and refuses to be synchronised.
#[cfg(target_os = "linux")]
#[test]
fn only_octets_that_are_acknowledged_wait_for_the_disk() {
    let (mut store, directory) = durable("unsynced");
    let now = Instant::now();
    let end = |store: &mut BlockStore, fragment: Fragment| {
        store.insert(green(0, b"ab"), now).unwrap();
        let (part, _) = files(&directory).pop().unwrap();
        store.open = None;
        fs::remove_file(directory.join(&part)).unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.join(&part)).unwrap();
        let is_stored = store.insert(fragment, now).is_ok()
            && store.commit().iter().all(|(_, stored)| stored.is_ok());
        store.closed.clear();
        for (name, _) in files(&directory) {
            fs::remove_file(directory.join(name)).unwrap();
        }
        is_stored
    };
    let mixed = || last(red(b"abc"));

    assert!(end(&mut store, last(green(2, b"c"))));
    assert!(!end(&mut store, mixed()));
    store.end_acknowledgments();
    assert!(end(&mut store, mixed()));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn files_of_a_process_that_was_killed_are_found_with_their_lengths() {
    let (mut store, directory) = store("killed", 100);
    store.insert(green(3, b"ab"), Instant::now()).unwrap();
    core::mem::forget(store);

    let left = part_file::check_directory(&directory).unwrap();

    let name = format!(".client4-engine1-session9.{}.part", std::process::id());
    assert_eq!(left, [(directory.join(name), 5)]);
    fs::remove_dir_all(directory).unwrap();
}

/// Its octets tell it from late segments of the block before.
#[test]
fn a_green_block_under_a_number_used_again_is_told_by_its_first_octets() {
    let (mut store, directory) = store("reused", 100);
    let now = Instant::now();
    store.insert(last(green(0, b"old")), now).unwrap().unwrap();

    let repeated = store.insert(last(green(0, b"old")), now).unwrap();
    let other = store.insert(last(green(0, b"new")), now).unwrap();
    let late = store.insert(green(2, b"w"), now).unwrap();

    assert!(repeated.is_none(), "it is the same segment");
    assert_eq!(other.unwrap().green, 3);
    assert!(late.is_none() && store.first().is_none());
    fs::remove_dir_all(directory).unwrap();
}

/// Anybody can send any number of them.
#[test]
fn incomplete_green_blocks_fill_no_more_of_the_disk_than_a_limit_allows() {
    let (mut store, directory) = store("flood", 1000);
    let now = Instant::now();
    let (mut stored, mut dropped) = (0, 0);
    for number in 1..=20 {
        let session = SessionId { number, ..SESSION };
        let part = Fragment {
            session,
            ..green(1, &[7; 500])
        };
        store.insert(part, now).unwrap();
        match store.store(session) {
            Ok(_) => stored += 1,
            Err(error) => {
                assert!(error.to_string().contains("4000 octets"), "{error}");
                dropped += 1;
            }
        }
    }

    assert_eq!((stored, dropped), (8, 12));
    assert_eq!(files(&directory).len(), 8);
    fs::remove_dir_all(directory).unwrap();
}

/// Many short blocks at a time are to cost about what one does.
#[test]
fn red_parts_that_come_together_are_stored_by_one_commit() {
    let (mut store, directory) = durable("batch");
    let now = Instant::now();
    let block = |number| Fragment {
        session: SessionId { number, ..SESSION },
        ..last(red(b"r"))
    };
    for number in 0..300 {
        assert!(store.insert(block(number), now).unwrap().is_none());
        assert_eq!(store.awaits_more(), number < 255, "{number}");
    }
    // Of mixed blocks the red part counts as stored before the block has its name.
    let mixed = |fragment| Fragment {
        session: block(1000).session,
        ..fragment
    };
    store.insert(mixed(red(b"mixed")), now).unwrap();
    // What is cancelled meanwhile is not stored.
    store.drop_block(block(7).session);
    assert!(
        files(&directory)
            .iter()
            .all(|(name, _)| name.starts_with('.'))
    );

    let stored = store.commit();

    let ended =
        |(_, outcome): &&(_, Result<Option<StoredBlock>, _>)| matches!(outcome, Ok(Some(_)));
    assert_eq!(
        (stored.len(), stored.iter().filter(ended).count()),
        (300, 299)
    );
    let names = files(&directory);
    let is_whole = |(name, octets): &&(String, Vec<u8>)| !name.starts_with('.') && octets == b"r";
    assert_eq!(
        (names.len(), names.iter().filter(is_whole).count()),
        (300, 299)
    );
    assert!(store.commit().is_empty() && !store.awaits_more());
    let end = store.insert(mixed(last(green(5, b"g"))), now);
    let end = end.unwrap().unwrap();
    assert_eq!((end.red, end.green), (5, 1));
    fs::remove_dir_all(directory).unwrap();
}

/// A file that is not on the disk is not acknowledged, and the others are.
#[cfg(unix)]
#[test]
fn a_red_part_that_cannot_be_synchronised_is_not_stored() {
    let (mut store, directory) = durable("denied");
    let now = Instant::now();
    let other = SessionId {
        number: 10,
        ..SESSION
    };
    store.insert(last(red(b"one")), now).unwrap();
    let two = Fragment {
        session: other,
        ..last(red(b"two"))
    };
    store.insert(two, now).unwrap();
    let (part, _) = files(&directory).remove(1);
    fs::remove_file(directory.join(part)).unwrap();

    let stored = store.commit();

    let is_stored: Vec<bool> = stored.iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(is_stored.iter().filter(|is_stored| **is_stored).count(), 1);
    assert_eq!((stored.len(), files(&directory).len()), (2, 1));
    assert!(store.first().is_none());
    fs::remove_dir_all(directory).unwrap();
}
