//! Blocks as they are put together, and where they are kept.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use farlink::kit::RangeSet;
use farlink::ltp::SessionId;
use tokio::time::Instant;

/// Sessions that are remembered once their block was kept, for green segments that come late.
const REMEMBERED: usize = 1024;
/// Names of files that are tried for one block.
const NAMES: u32 = 10_000;
/// Octets that are written at a time where a block has holes.
const HOLE: [u8; 4096] = [0; 4096];

/// Where blocks are kept.
#[derive(Debug)]
pub(super) enum Output {
    /// Nowhere: they are only told of.
    Nowhere,
    /// On standard output, one after the other.
    Stdout,
    /// In files of this folder.
    Folder(PathBuf),
}

/// A part of a block.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) session: SessionId,
    pub(super) client: u64,
    pub(super) color: Color,
    pub(super) data: Bytes,
    /// Whether the block ends with it.
    pub(super) is_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// All of the red part.
    Red,
    /// Some green octets, behind so many others.
    Green(u64),
}

/// A block that has been kept.
#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) session: SessionId,
    pub(super) client: u64,
    /// Octets that came, red and green.
    pub(super) red: u64,
    pub(super) green: u64,
    /// What is not there before the last octet that is.
    pub(super) missing: Vec<Range<u64>>,
    /// Whether the end of the block is there.
    pub(super) is_ended: bool,
    pub(super) file: Option<PathBuf>,
}

/// Blocks that wait for the rest of them.
#[derive(Debug)]
pub(super) struct BlockStore {
    out: Output,
    /// Octets that may wait, in one block and in all.
    limit: u64,
    /// How long a block waits for more.
    max_wait: core::time::Duration,
    blocks: BTreeMap<SessionId, Block>,
    kept: VecDeque<SessionId>,
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
        if let Output::Folder(folder) = &out {
            fs::create_dir_all(folder)?;
            try_folder(folder)?;
        }
        Ok(Self {
            out,
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
            max_wait,
            blocks: BTreeMap::new(),
            kept: VecDeque::new(),
        })
    }

    /// Takes a part of a block, and keeps the block if nothing is missing any more.
    pub(super) fn take(&mut self, part: Fragment, now: Instant) -> io::Result<Option<StoredBlock>> {
        let session = part.session;
        let len = part.data.len() as u64;
        let (offset, red) = match part.color {
            Color::Red => (0, Some(len)),
            // A forger would have us write zeros for ever.
            Color::Green(offset)
                if offset.saturating_add(len) > self.limit || self.kept.contains(&session) =>
            {
                return Ok(None);
            }
            Color::Green(offset) => (offset, None),
        };
        let block = self.blocks.entry(session).or_insert_with(|| Block {
            client: part.client,
            fragments: BTreeMap::new(),
            have: RangeSet::new(),
            red: None,
            is_ended: false,
            last: now,
        });
        block.last = now;
        block.is_ended |= part.is_last;
        block.red = red.or(block.red);
        if block.have.insert(offset..offset + len) > 0 {
            block.fragments.insert(offset, part.data);
        }
        if block.is_whole() {
            return self.keep(session);
        }
        Ok(None)
    }

    /// Returns the block that has waited longest, if it is time to keep it as it is: when its red part is
    /// there, or none is to come, and it has waited its time; or when too much waits.
    pub(super) fn due(&self, now: Instant, imports: usize) -> Option<SessionId> {
        let (session, block) = self.blocks.iter().min_by_key(|(_, block)| block.last)?;
        let waited = now.saturating_duration_since(block.last);
        let is_red_there = block.red.is_some() || imports == 0;
        let is_over = is_red_there && waited >= self.max_wait || waited >= self.max_wait * 16;
        (is_over || self.held() > self.limit).then_some(*session)
    }

    /// Tells whether a block waits that has no red part, as its first octet is green.
    pub(super) fn is_green(&self, session: SessionId) -> bool {
        let block = self.blocks.get(&session);
        block.is_some_and(|block| block.red.is_none() && block.have.run_from(0) > 0)
    }

    /// Returns any block that waits.
    pub(super) fn first(&self) -> Option<SessionId> {
        self.blocks.keys().next().copied()
    }

    fn held(&self) -> u64 {
        self.blocks.values().map(|block| block.have.len()).sum()
    }

    /// Keeps a block as far as it has come.
    pub(super) fn keep(&mut self, session: SessionId) -> io::Result<Option<StoredBlock>> {
        let Some(block) = self.blocks.remove(&session) else {
            return Ok(None);
        };
        if self.kept.len() >= REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back(session);
        let file = match &self.out {
            Output::Nowhere => None,
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                block.write(&mut stdout)?;
                stdout.flush()?;
                None
            }
            Output::Folder(folder) => Some(block.file(folder, session)?),
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
    /// Writes the octets, with zeros for what is missing.
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

    /// Writes a file that has its name only when everything is in it.
    fn file(&self, folder: &Path, session: SessionId) -> io::Result<PathBuf> {
        let SessionId { originator, number } = session;
        let rest = if self.is_whole() { "" } else { ".incomplete" };
        let name = format!(
            "client{}-engine{originator}-session{number}{rest}",
            self.client
        );
        let unfinished = folder.join(format!(".{name}.{}.part", std::process::id()));
        let written = self.write_file(&unfinished);
        let named = written.and_then(|()| give_name(&unfinished, folder, &name));
        // It was moved, or is of no use.
        let _ = fs::remove_file(&unfinished);
        named
    }

    fn write_file(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.write(&mut file)
    }
}

/// Fails if no file can be made: better now than for a block that was acknowledged.
fn try_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".farlink.{}.part", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(path)
}

/// Gives a file its name, or one with a number behind it: other blocks may have had the same session.
fn give_name(file: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 1..NAMES {
        let path = if number == 1 {
            folder.join(name)
        } else {
            folder.join(format!("{name}.{number}"))
        };
        match fs::hard_link(file, &path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Some file systems have no links. Nobody else gives these names.
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
        let folder = std::env::temp_dir().join(format!("farlink-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let out = Output::Folder(folder.clone());
        (
            BlockStore::new(out, limit, Duration::from_secs(4)).unwrap(),
            folder,
        )
    }

    fn part(color: Color, data: &'static [u8]) -> Fragment {
        Fragment {
            session: SESSION,
            client: 4,
            color,
            data: Bytes::from_static(data),
            is_last: false,
        }
    }

    fn last(part: Fragment) -> Fragment {
        Fragment {
            is_last: true,
            ..part
        }
    }

    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap();
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
    fn a_block_is_a_file_once_all_of_it_is_there() {
        let (mut store, folder) = store("whole", 100);
        let now = Instant::now();

        let green = last(part(Color::Green(3), b"defg"));
        assert!(store.take(green, now).unwrap().is_none());
        assert!(files(&folder).is_empty());
        let kept = store.take(part(Color::Red, b"abc"), now).unwrap().unwrap();

        assert_eq!((kept.red, kept.green, kept.is_ended), (3, 4, true));
        assert!(kept.missing.is_empty());
        let name = String::from("client4-engine1-session9");
        assert_eq!(files(&folder), [(name, b"abcdefg".to_vec())]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_second_block_of_one_session_never_replaces_the_first() {
        let (mut store, folder) = store("twice", 100);
        for data in [b"one", b"two"] {
            let whole = last(part(Color::Red, data));
            store.take(whole, Instant::now()).unwrap().unwrap();
        }

        let name = String::from("client4-engine1-session9");
        let second = format!("{name}.2");
        let expected = [(name, b"one".to_vec()), (second, b"two".to_vec())];
        assert_eq!(files(&folder), expected);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_block_with_holes_waits_its_time_and_is_called_incomplete() {
        let (mut store, folder) = store("holes", 100);
        let now = Instant::now();
        let later = now + Duration::from_secs(4);
        store.take(part(Color::Red, b"ab"), now).unwrap();
        store.take(part(Color::Green(6), b"gh"), now).unwrap();
        store.take(part(Color::Green(7), b"hi"), now).unwrap();

        assert_eq!(store.due(now, 0), None);
        assert_eq!(store.due(later, 1), Some(SESSION));
        let kept = store.keep(SESSION).unwrap().unwrap();
        let late = store.take(part(Color::Green(2), b"c"), later).unwrap();

        assert_eq!((kept.red, kept.green), (2, 3));
        assert!(kept.missing.iter().eq([&(2..6)]) && !kept.is_ended);
        assert!(late.is_none() && store.first().is_none());
        let name = String::from("client4-engine1-session9.incomplete");
        assert_eq!(files(&folder), [(name, b"ab\0\0\0\0ghi".to_vec())]);
        fs::remove_dir_all(folder).unwrap();
    }

    /// The red part may be repaired for as long as its sender likes.
    #[test]
    fn green_segments_wait_for_a_red_part_that_is_under_way() {
        let (mut store, folder) = store("waits", 100);
        let now = Instant::now();
        store.take(part(Color::Green(6), b"gh"), now).unwrap();

        let soon = now + Duration::from_secs(5);
        assert_eq!(store.due(soon, 1), None);
        assert_eq!(store.due(soon, 0), Some(SESSION));
        assert_eq!(store.due(now + Duration::from_secs(64), 1), Some(SESSION));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_block_whose_first_octet_is_green_has_no_red_part() {
        let (mut store, folder) = store("green", 100);
        let now = Instant::now();

        store.take(part(Color::Green(3), b"def"), now).unwrap();
        assert!(!store.is_green(SESSION));
        store.take(part(Color::Green(0), b"abc"), now).unwrap();
        assert!(store.is_green(SESSION));
        store.take(part(Color::Red, b"abc"), now).unwrap();
        assert!(!store.is_green(SESSION));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn green_segments_beyond_the_limit_are_dropped() {
        let (mut store, folder) = store("far", 100);
        for offset in [99, u64::MAX] {
            store
                .take(part(Color::Green(offset), b"ab"), Instant::now())
                .unwrap();
        }

        assert_eq!(store.first(), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
