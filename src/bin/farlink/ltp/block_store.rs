//! Reassembly of blocks, and their storage.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use farlink::kit::RangeSet;
use farlink::ltp::SessionId;
use tokio::time::Instant;

/// Sessions of stored blocks that are remembered, so that late green segments are dropped.
const REMEMBERED: usize = 1024;
/// The most file names that are tried for one block.
const NAMES: u32 = 10_000;
/// Zeros that are written for missing octets.
const HOLE: [u8; 4096] = [0; 4096];

/// Where blocks are stored.
#[derive(Debug)]
pub(super) enum Output {
    /// Nowhere: blocks are only reported.
    Nowhere,
    /// On standard output, one after the other.
    Stdout,
    /// In files of this directory.
    Directory(PathBuf),
}

/// Octets of a block.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) session: SessionId,
    pub(super) client: u64,
    pub(super) color: Color,
    pub(super) data: Bytes,
    /// Whether it ends the block.
    pub(super) is_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// All of the red fragment.
    Red,
    /// Green octets at this offset.
    Green(u64),
}

/// A stored block.
#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) session: SessionId,
    pub(super) client: u64,
    /// Red and green octets that arrived.
    pub(super) red: u64,
    pub(super) green: u64,
    /// Octets that did not arrive, before the last that did.
    pub(super) missing: Vec<Range<u64>>,
    /// Whether the end of the block arrived.
    pub(super) is_ended: bool,
    pub(super) file: Option<PathBuf>,
}

/// Incomplete blocks, and the storage of complete ones.
#[derive(Debug)]
pub(super) struct BlockStore {
    out: Output,
    /// Octets of an incomplete block, and of all of them together.
    limit: u64,
    /// How long an incomplete block waits for further octets.
    max_wait: core::time::Duration,
    blocks: BTreeMap<SessionId, Block>,
    stored: VecDeque<SessionId>,
}

#[derive(Debug)]
struct Block {
    client: u64,
    fragments: BTreeMap<u64, Bytes>,
    have: RangeSet,
    red: Option<u64>,
    is_ended: bool,
    last: Instant,
}

impl Block {
    fn is_whole(&self) -> bool {
        self.is_ended && self.have.len() == self.have.end()
    }
}

impl BlockStore {
    pub(super) fn new(
        out: Output,
        limit: usize,
        max_wait: core::time::Duration,
    ) -> io::Result<Self> {
        if let Output::Directory(directory) = &out {
            fs::create_dir_all(directory)?;
            check_directory(directory)?;
        }
        Ok(Self {
            out,
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
            max_wait,
            blocks: BTreeMap::new(),
            stored: VecDeque::new(),
        })
    }

    /// Adds a fragment, and stores its block if that is complete.
    pub(super) fn insert(
        &mut self,
        fragment: Fragment,
        now: Instant,
    ) -> io::Result<Option<StoredBlock>> {
        let session = fragment.session;
        let len = fragment.data.len() as u64;
        let (offset, red) = match fragment.color {
            Color::Red => (0, Some(len)),
            // A forged offset would have zeros written without limit.
            Color::Green(offset)
                if offset.saturating_add(len) > self.limit || self.stored.contains(&session) =>
            {
                return Ok(None);
            }
            Color::Green(offset) => (offset, None),
        };
        let block = self.blocks.entry(session).or_insert_with(|| Block {
            client: fragment.client,
            fragments: BTreeMap::new(),
            have: RangeSet::new(),
            red: None,
            is_ended: false,
            last: now,
        });
        block.last = now;
        block.is_ended |= fragment.is_last;
        block.red = red.or(block.red);
        if block.have.insert(offset..offset + len) > 0 {
            block.fragments.insert(offset, fragment.data);
        }
        if block.is_whole() {
            return self.store(session);
        }
        Ok(None)
    }

    /// Returns the block that has waited longest, if it is to be stored incomplete: its red part has
    /// arrived, or no session is left, and its time is over; or the limit is exceeded.
    pub(super) fn due(&self, now: Instant, imports: usize) -> Option<SessionId> {
        let (session, block) = self.blocks.iter().min_by_key(|(_, block)| block.last)?;
        let waited = now.saturating_duration_since(block.last);
        let is_red_there = block.red.is_some() || imports == 0;
        let is_over = is_red_there && waited >= self.max_wait || waited >= self.max_wait * 16;
        (is_over || self.held() > self.limit).then_some(*session)
    }

    /// Tells whether the block is incomplete and all green, as its first octet is.
    pub(super) fn is_green(&self, session: SessionId) -> bool {
        let block = self.blocks.get(&session);
        block.is_some_and(|block| block.red.is_none() && block.have.run_from(0) > 0)
    }

    /// Returns an incomplete block.
    pub(super) fn first(&self) -> Option<SessionId> {
        self.blocks.keys().next().copied()
    }

    fn held(&self) -> u64 {
        self.blocks.values().map(|block| block.have.len()).sum()
    }

    /// Stores a block with the octets that have arrived.
    pub(super) fn store(&mut self, session: SessionId) -> io::Result<Option<StoredBlock>> {
        let Some(block) = self.blocks.remove(&session) else {
            return Ok(None);
        };
        if self.stored.len() >= REMEMBERED {
            self.stored.pop_front();
        }
        self.stored.push_back(session);
        let file = match &self.out {
            Output::Nowhere => None,
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                block.write(&mut stdout)?;
                stdout.flush()?;
                None
            }
            Output::Directory(directory) => Some(block.file(directory, session)?),
        };
        let red = block.red.unwrap_or_default();
        Ok(Some(StoredBlock {
            session,
            client: block.client,
            red,
            green: block.have.len().saturating_sub(red),
            missing: block.have.gaps(0..block.have.end()).collect(),
            is_ended: block.is_ended,
            file,
        }))
    }
}

impl Block {
    /// Writes the octets, with zeros for those that are missing.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut at = 0;
        for (offset, octets) in &self.fragments {
            while at < *offset {
                let hole = usize::try_from(offset - at).unwrap_or(usize::MAX);
                let zeros = HOLE.get(..hole).unwrap_or(&HOLE);
                to.write_all(zeros)?;
                at += zeros.len() as u64;
            }
            // Green segments may overlap.
            let known = usize::try_from(at - offset).unwrap_or(usize::MAX);
            if let Some(fresh) = octets.get(known..) {
                to.write_all(fresh)?;
                at += fresh.len() as u64;
            }
        }
        Ok(())
    }

    /// Writes a file, which gets its name when it is complete.
    fn file(&self, directory: &Path, session: SessionId) -> io::Result<PathBuf> {
        let SessionId { originator, number } = session;
        let rest = if self.is_whole() { "" } else { ".incomplete" };
        let name = format!(
            "client{}-engine{originator}-session{number}{rest}",
            self.client
        );
        let unfinished = directory.join(format!(".{name}.{}.part", std::process::id()));
        let written = self.write_file(&unfinished);
        let named = written.and_then(|()| give_name(&unfinished, directory, &name));
        // It was linked, renamed, or is incomplete.
        let _ = fs::remove_file(&unfinished);
        named
    }

    fn write_file(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.write(&mut file)
    }
}

/// Checks that a file can be made, before a block is acknowledged.
fn check_directory(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".farlink.{}.part", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(path)
}

/// Gives a file its name, with a number behind it if another block had the same session.
fn give_name(file: &Path, directory: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 1..NAMES {
        let path = if number == 1 {
            directory.join(name)
        } else {
            directory.join(format!("{name}.{number}"))
        };
        match fs::hard_link(file, &path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Some file systems have no links. No other process uses these names.
            Err(_) if path.exists() => {}
            Err(_) => return fs::rename(file, &path).map(|()| path),
        }
    }
    Err(io::Error::new(
        ErrorKind::AlreadyExists,
        format!("{NAMES} files of that name"),
    ))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const SESSION: SessionId = SessionId {
        originator: 1,
        number: 9,
    };

    fn store(name: &str, limit: usize) -> (BlockStore, PathBuf) {
        let directory = std::env::temp_dir().join(format!("farlink-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let out = Output::Directory(directory.clone());
        (
            BlockStore::new(out, limit, Duration::from_secs(4)).unwrap(),
            directory,
        )
    }

    fn fragment(color: Color, data: &'static [u8]) -> Fragment {
        Fragment {
            session: SESSION,
            client: 4,
            color,
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

        let green = last(fragment(Color::Green(3), b"defg"));
        assert!(store.insert(green, now).unwrap().is_none());
        assert!(files(&directory).is_empty());
        let block = store
            .insert(fragment(Color::Red, b"abc"), now)
            .unwrap()
            .unwrap();

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
            let whole = last(fragment(Color::Red, data));
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
        store.insert(fragment(Color::Red, b"ab"), now).unwrap();
        store.insert(fragment(Color::Green(6), b"gh"), now).unwrap();
        store.insert(fragment(Color::Green(7), b"hi"), now).unwrap();

        assert_eq!(store.due(now, 0), None);
        assert_eq!(store.due(later, 1), Some(SESSION));
        let block = store.store(SESSION).unwrap().unwrap();
        let late = store
            .insert(fragment(Color::Green(2), b"c"), later)
            .unwrap();

        assert_eq!((block.red, block.green), (2, 3));
        assert!(block.missing.iter().eq([&(2..6)]) && !block.is_ended);
        assert!(late.is_none() && store.first().is_none());
        let name = String::from("client4-engine1-session9.incomplete");
        assert_eq!(files(&directory), [(name, b"ab\0\0\0\0ghi".to_vec())]);
        fs::remove_dir_all(directory).unwrap();
    }

    /// The sender decides how long the red part is repaired.
    #[test]
    fn green_segments_wait_for_the_red_part_of_a_session() {
        let (mut store, directory) = store("waits", 100);
        let now = Instant::now();
        store.insert(fragment(Color::Green(6), b"gh"), now).unwrap();

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

        store
            .insert(fragment(Color::Green(3), b"def"), now)
            .unwrap();
        assert!(!store.is_green(SESSION));
        store
            .insert(fragment(Color::Green(0), b"abc"), now)
            .unwrap();
        assert!(store.is_green(SESSION));
        store.insert(fragment(Color::Red, b"abc"), now).unwrap();
        assert!(!store.is_green(SESSION));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn green_segments_beyond_the_limit_are_dropped() {
        let (mut store, directory) = store("far", 100);
        for offset in [99, u64::MAX] {
            store
                .insert(fragment(Color::Green(offset), b"ab"), Instant::now())
                .unwrap();
        }

        assert_eq!(store.first(), None);
        fs::remove_dir_all(directory).unwrap();
    }
}
