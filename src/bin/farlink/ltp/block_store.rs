//! Reassembly of blocks, and their storage.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use farlink::kit::RangeSet;
use farlink::ltp::{Service, SessionId};
use tokio::time::Instant;

use super::part_file::{self, PartFile};

/// Sessions of blocks that are over, which are remembered so that late green segments are dropped.
const REMEMBERED: usize = 1024;
/// How often a block waits `max_wait` for a red part, and how long late green segments are expected.
const MAX_ROUND_TRIPS: u32 = 16;
/// The most incomplete blocks. Each takes memory for its state, and a page of the disk.
const MAX_BLOCKS: usize = 1 << 14;
/// Zeros that are written to a stream for missing octets.
const HOLE: [u8; 4096] = [0; 4096];
/// Missing octets of a block for which zeros are written to a stream, beside one for each that arrived.
const MAX_HOLES: u64 = 1 << 16;
/// How many of the longest blocks the red parts under way may take of the disk together.
const MAX_UNDER_WAY: u64 = 4;
/// The most files of incomplete blocks without a red part that one process stores.
const MAX_INCOMPLETE: u64 = 1 << 14;
/// Octets at the start of a block that tell it from another one of the same session.
const HEAD: usize = 64;
/// Octets of a file that are written, with `--durable`, before they are synchronised.
const SYNC_INTERVAL: u64 = 16 << 20;
/// The most red parts that are synchronised together.
const MAX_BATCH: usize = 256;

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
    /// Octets of the block before these.
    pub(super) offset: u64,
    pub(super) data: Bytes,
    /// Whether it ends the block.
    pub(super) is_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// Octets of a red part whose end was not told.
    RedRun,
    /// The last octets of the red part, or all of them.
    Red,
    Green,
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

/// Why a block was not stored. Nothing of it is kept.
#[derive(Debug)]
pub(super) enum StoreError {
    /// Its file could not be written, which was to have so many octets.
    File(PathBuf, u64, io::Error),
    /// Standard output could not be written, so that no other block can be either.
    Stdout(io::Error),
    /// It ends beyond the limit of one block.
    Limit { end: u64, limit: u64 },
    /// The red parts under way take more than they may.
    UnderWay { octets: u64, limit: u64 },
    /// It has green octets alone, of which some are missing, as too many that were stored before.
    Incomplete {
        unit: &'static str,
        value: u64,
        limit: u64,
    },
    /// Its missing octets are too many to write zeros for.
    Holes { missing: u64, arrived: u64 },
}

/// Incomplete blocks, and the storage of complete ones.
#[derive(Debug)]
pub(super) struct BlockStore {
    out: Output,
    /// The end of a block at most, and the octets of all incomplete blocks.
    limit: u64,
    /// How long an incomplete block waits for further octets.
    max_wait: Duration,
    /// Whether files are synchronised with the disk before their blocks count as stored.
    is_durable: bool,
    blocks: BTreeMap<SessionId, Block>,
    /// The incomplete blocks whose red part the engine has not told the end of, and all others.
    under_way: Queue,
    waiting: Queue,
    /// Sessions whose blocks are over.
    closed: VecDeque<Closed>,
    /// Incomplete blocks without a red part that were stored, and their octets.
    incomplete: (u64, u64),
    /// The file that was written last, so that few are open.
    open: Option<(SessionId, File)>,
    /// Red parts that are written, and do not count as stored until they are synchronised.
    uncommitted: Vec<SessionId>,
}

/// Incomplete blocks, beginning with the one that has waited longest, and the octets of all.
#[derive(Debug, Default)]
struct Queue {
    order: BTreeSet<(Instant, SessionId)>,
    octets: u64,
}

/// A session whose block is over.
#[derive(Debug)]
struct Closed {
    at: Instant,
    session: SessionId,
    /// The first octets of its block, if they came.
    head: Bytes,
}

#[derive(Debug)]
struct Block {
    client: u64,
    /// The first octets, once they came.
    head: Bytes,
    body: Body,
    have: RangeSet,
    /// Octets of the red part, once it came whole.
    red: Option<u64>,
    /// Octets that came as runs of a red part whose end was not told.
    in_runs: u64,
    is_ended: bool,
    last: Instant,
    /// Octets that were written and not synchronised.
    unsynced: u64,
}

/// The octets of an incomplete block.
#[derive(Debug)]
enum Body {
    Nowhere,
    Memory(BTreeMap<u64, Bytes>),
    File(PartFile),
}

impl Closed {
    /// Whether a segment has other octets at the start of its block than the one that is over.
    fn is_followed_by(&self, fragment: &Fragment) -> bool {
        let len = self.head.len();
        let start = fragment.data.get(..len);
        fragment.offset == 0 && len > 0 && start.is_some_and(|start| start != self.head)
    }
}

impl Block {
    fn is_whole(&self) -> bool {
        self.is_ended && !self.is_under_way() && self.have.len() == self.have.end()
    }

    const fn part(&self) -> Option<&PartFile> {
        match &self.body {
            Body::File(part) => Some(part),
            Body::Nowhere | Body::Memory(_) => None,
        }
    }

    const fn has_red(&self) -> bool {
        self.red.is_some() || self.in_runs > 0
    }

    /// Whether the session goes on until the engine tells its end.
    const fn is_under_way(&self) -> bool {
        self.in_runs > 0 && self.red.is_none()
    }
}

impl BlockStore {
    pub(super) fn new(out: Output, limit: u64, max_wait: Duration, is_durable: bool) -> Self {
        Self {
            out,
            limit,
            max_wait,
            is_durable,
            blocks: BTreeMap::new(),
            under_way: Queue::default(),
            waiting: Queue::default(),
            closed: VecDeque::new(),
            incomplete: (0, 0),
            open: None,
            uncommitted: Vec::new(),
        }
    }

    /// Returns how blocks are to be received: into files as they come, and otherwise whole.
    pub(super) const fn service(&self) -> Service {
        match self.out {
            Output::Directory(_) => Service::Scattered,
            Output::Nowhere | Output::Stdout => Service::Whole,
        }
    }

    /// Synchronises no further files: of what is stored from here on, no acknowledgment tells. Returns the directory
    /// whose names are to be synchronised at the end.
    pub(super) fn end_acknowledgments(&mut self) -> Option<PathBuf> {
        let was_durable = core::mem::take(&mut self.is_durable);
        match &self.out {
            Output::Directory(directory) if was_durable => Some(directory.clone()),
            _ => None,
        }
    }

    /// Writes a fragment, and stores its block if that is complete. With `--durable`, a red part counts as stored once
    /// [`commit`](Self::commit) has returned its session.
    ///
    /// # Errors
    ///
    /// The block is dropped, and so are further green octets of its session.
    pub(super) fn insert(
        &mut self,
        fragment: Fragment,
        now: Instant,
    ) -> Result<Option<StoredBlock>, StoreError> {
        let session = fragment.session;
        if fragment.color == Color::Green && self.is_late(&fragment, now) {
            return Ok(None);
        }
        let mut block = match self.take(session) {
            Some(block) => block,
            None => self.begin(session, fragment.client, now)?,
        };
        let is_last = fragment.is_last;
        if fragment.offset == 0 && block.head.is_empty() {
            let len = fragment.data.len().min(HEAD);
            block.head = Bytes::copy_from_slice(fragment.data.get(..len).unwrap_or_default());
        }
        if let Err(error) = self.write(&mut block, fragment) {
            self.close(session, block.head);
            return Err(error);
        }
        block.last = now;
        block.is_ended |= is_last;
        if block.is_whole() && !self.is_uncommitted(session) {
            let syncs = self.is_durable && block.has_red();
            return self.finish(session, block, syncs).map(Some);
        }
        self.put_back(session, block);
        Ok(None)
    }

    fn put_back(&mut self, session: SessionId, block: Block) {
        let queue = self.queue(&block);
        queue.octets += block.have.len();
        queue.order.insert((block.last, session));
        self.blocks.insert(session, block);
    }

    /// Tells whether a red part awaits [`commit`](Self::commit).
    pub(super) fn is_uncommitted(&self, session: SessionId) -> bool {
        self.uncommitted.contains(&session)
    }

    /// Tells whether red parts await [`commit`](Self::commit), and others can be with them.
    pub(super) const fn awaits_more(&self) -> bool {
        let len = self.uncommitted.len();
        len > 0 && len < MAX_BATCH
    }

    /// Synchronises the red parts that were written since the last time, their files side by side and the names of all
    /// at once: what the disk does for one, it does for many. Returns each, and its block if that is complete.
    pub(super) fn commit(&mut self) -> Vec<(SessionId, Result<Option<StoredBlock>, StoreError>)> {
        let mut batch = Vec::new();
        for session in core::mem::take(&mut self.uncommitted) {
            // Of a session that was cancelled meanwhile no block is left.
            batch.extend(self.take(session).map(|block| (session, block)));
        }
        if batch.is_empty() {
            return Vec::new();
        }
        let synced = part_file::sync_all(batch.iter().filter_map(|(_, block)| block.part()));
        let mut stored = Vec::new();
        for ((session, mut block), outcome) in batch.into_iter().zip(synced) {
            let path = block.part().map(PartFile::path).map(PathBuf::from);
            let (path, end) = (path.unwrap_or_default(), block.have.end());
            block.unsynced = 0;
            let outcome = match outcome {
                Ok(()) if block.is_whole() => self.finish(session, block, false).map(Some),
                Ok(()) => {
                    self.put_back(session, block);
                    Ok(None)
                }
                Err(error) => {
                    self.close(session, block.head);
                    Err(StoreError::File(path.clone(), end, error))
                }
            };
            stored.push((session, (path, end), outcome));
        }
        let Output::Directory(directory) = &self.out else {
            return Vec::new();
        };
        if let Err(error) = part_file::sync_directory(directory) {
            for (_, (path, end), outcome) in &mut stored {
                let error = io::Error::new(error.kind(), error.to_string());
                *outcome = Err(StoreError::File(core::mem::take(path), *end, error));
            }
        }
        let outcomes = stored.into_iter();
        outcomes
            .map(|(session, _, outcome)| (session, outcome))
            .collect()
    }

    /// Tells whether a green segment belongs to a block that is over. An originator that starts again can use the
    /// number of that session once more: the first octets of its block are others then.
    fn is_late(&self, fragment: &Fragment, now: Instant) -> bool {
        let is_recent = |closed: Instant| {
            now.saturating_duration_since(closed) < self.max_wait * MAX_ROUND_TRIPS
        };
        let session = fragment.session;
        let last = self.closed.iter().rev().find(|one| one.session == session);
        !self.blocks.contains_key(&session)
            && last.is_some_and(|one| is_recent(one.at) && !one.is_followed_by(fragment))
    }

    const fn queue(&mut self, block: &Block) -> &mut Queue {
        if block.is_under_way() {
            &mut self.under_way
        } else {
            &mut self.waiting
        }
    }

    /// Drops the block under way that has waited longest, if those under way exceed a limit. Its session is to be
    /// refused.
    pub(super) fn drop_excess(&mut self) -> Option<(SessionId, StoreError)> {
        let (octets, limit) = (
            self.under_way.octets,
            self.limit.saturating_mul(MAX_UNDER_WAY),
        );
        let is_full = octets > limit || self.under_way.order.len() > MAX_BLOCKS;
        let (_, session) = self.under_way.order.first().filter(|_| is_full)?;
        let session = *session;
        self.drop_block(session);
        Some((session, StoreError::UnderWay { octets, limit }))
    }

    /// Returns the block that has waited longest, if it is to be stored incomplete: its red part has
    /// arrived, or no session is left, and its time is over; or a limit is exceeded.
    pub(super) fn due(&self, now: Instant, imports: usize) -> Option<SessionId> {
        let (last, session) = self.waiting.order.first()?;
        let waited = now.saturating_duration_since(*last);
        let is_red_there = imports == 0 || !self.awaits_red(*session);
        let is_over =
            is_red_there && waited >= self.max_wait || waited >= self.max_wait * MAX_ROUND_TRIPS;
        let is_full = self.waiting.octets > self.limit || self.waiting.order.len() > MAX_BLOCKS;
        (is_over || is_full).then_some(*session)
    }

    fn awaits_red(&self, session: SessionId) -> bool {
        let block = self.blocks.get(&session);
        block.is_some_and(|block| block.red.is_none())
    }

    /// Tells whether the block is incomplete and all green, as its first octet is.
    pub(super) fn is_green(&self, session: SessionId) -> bool {
        let block = self.blocks.get(&session);
        block.is_some_and(|block| !block.has_red() && block.have.run_from(0) > 0)
    }

    /// Tells whether octets of a red part are here whose end was not told.
    pub(super) fn is_under_way(&self, session: SessionId) -> bool {
        self.blocks.get(&session).is_some_and(Block::is_under_way)
    }

    /// Returns an incomplete block.
    pub(super) fn first(&self) -> Option<SessionId> {
        self.blocks.keys().next().copied()
    }

    /// Stores a block with the octets that have arrived.
    ///
    /// # Errors
    ///
    /// The block is dropped.
    pub(super) fn store(&mut self, session: SessionId) -> Result<Option<StoredBlock>, StoreError> {
        let Some(block) = self.take(session) else {
            return Ok(None);
        };
        let syncs = self.is_durable && block.has_red();
        self.finish(session, block, syncs).map(Some)
    }

    /// Drops a block, and its file.
    pub(super) fn drop_block(&mut self, session: SessionId) {
        let block = self.take(session);
        self.close(session, block.map(|block| block.head).unwrap_or_default());
    }

    /// Takes a block out of the incomplete ones.
    fn take(&mut self, session: SessionId) -> Option<Block> {
        let block = self.blocks.remove(&session)?;
        let queue = self.queue(&block);
        queue.order.remove(&(block.last, session));
        queue.octets -= block.have.len();
        Some(block)
    }

    fn begin(
        &mut self,
        session: SessionId,
        client: u64,
        now: Instant,
    ) -> Result<Block, StoreError> {
        let body = match &self.out {
            Output::Nowhere => Body::Nowhere,
            Output::Stdout => Body::Memory(BTreeMap::new()),
            Output::Directory(directory) => {
                match PartFile::create(directory, &name(session, client)) {
                    Ok((part, file)) => {
                        self.open = Some((session, file));
                        Body::File(part)
                    }
                    Err(error) => {
                        let error = StoreError::File(directory.clone(), 0, error);
                        self.close(session, Bytes::new());
                        return Err(error);
                    }
                }
            }
        };
        Ok(Block {
            client,
            head: Bytes::new(),
            body,
            have: RangeSet::new(),
            red: None,
            in_runs: 0,
            is_ended: false,
            last: now,
            unsynced: 0,
        })
    }

    fn write(&mut self, block: &mut Block, fragment: Fragment) -> Result<(), StoreError> {
        let Fragment {
            session,
            color,
            offset,
            data,
            ..
        } = fragment;
        let limit = self.limit;
        let end = offset.saturating_add(data.len() as u64);
        // Red octets are limited by the engine.
        if color == Color::Green && end > limit {
            return Err(StoreError::Limit { end, limit });
        }
        if color == Color::Red {
            block.red = Some(end);
        }
        let fresh = block.have.insert(offset..end);
        if color == Color::RedRun {
            block.in_runs += fresh;
        }
        // Of green octets no acknowledgment tells, and a flood of them is not to wait for the disk.
        let is_durable = self.is_durable && block.has_red();
        match &mut block.body {
            Body::Nowhere => {}
            Body::Memory(fragments) => {
                if fresh > 0 {
                    fragments.insert(offset, data);
                }
            }
            Body::File(part) => {
                block.unsynced += fresh;
                let syncs = is_durable && block.unsynced >= SYNC_INTERVAL;
                let act = |file: &mut File| {
                    if fresh > 0 {
                        part_file::write_at(file, offset, &data)?;
                    }
                    if syncs { file.sync_all() } else { Ok(()) }
                };
                let written = self.file(session, part).and_then(act);
                written.map_err(|error| StoreError::File(part.path().into(), end, error))?;
                if syncs {
                    block.unsynced = 0;
                }
                if is_durable && color == Color::Red {
                    self.uncommitted.push(session);
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, session: SessionId, part: &PartFile) -> io::Result<&mut File> {
        let open = self.open.take().filter(|(of, _)| *of == session);
        let file = open.map_or_else(|| part.open(), |(_, file)| Ok(file))?;
        Ok(&mut self.open.insert((session, file)).1)
    }

    /// Counts a block without a red part that is to be stored incomplete. Anybody can send any number of them, so there is
    /// a limit for all together.
    fn count_incomplete(&mut self, block: &Block) -> Result<(), StoreError> {
        if block.is_whole() || block.has_red() || !matches!(block.body, Body::File(_)) {
            return Ok(());
        }
        let limit = self.limit.saturating_mul(MAX_UNDER_WAY);
        let (count, octets) = self.incomplete;
        let (count, octets) = (count + 1, octets.saturating_add(block.have.len()));
        let counts = [("files", count, MAX_INCOMPLETE), ("octets", octets, limit)];
        if let Some((unit, value, limit)) = counts.into_iter().find(|(_, value, most)| value > most)
        {
            return Err(StoreError::Incomplete { unit, value, limit });
        }
        self.incomplete = (count, octets);
        Ok(())
    }

    /// Remembers that a block is over.
    fn close(&mut self, session: SessionId, head: Bytes) {
        if self.closed.len() >= REMEMBERED {
            self.closed.pop_front();
        }
        let at = Instant::now();
        self.closed.push_back(Closed { at, session, head });
        // The last octets are in the file before it gets its name.
        self.open.take_if(|(of, _)| *of == session);
    }

    /// Gives a block its name. With `syncs`, its file and its name are synchronised with the disk.
    fn finish(
        &mut self,
        session: SessionId,
        block: Block,
        syncs: bool,
    ) -> Result<StoredBlock, StoreError> {
        if let (Body::File(part), 1..) = (&block.body, block.unsynced)
            && syncs
        {
            let synced = self.file(session, part).and_then(|file| file.sync_all());
            if let Err(error) = synced {
                self.close(session, block.head);
                let end = block.have.end();
                return Err(StoreError::File(part.path().into(), end, error));
            }
        }
        self.close(session, block.head.clone());
        self.count_incomplete(&block)?;
        let red = block.red.unwrap_or(block.in_runs);
        let mut stored = StoredBlock {
            session,
            client: block.client,
            red,
            green: block.have.len().saturating_sub(red),
            missing: block.have.gaps(0..block.have.end()).collect(),
            is_ended: block.is_ended,
            file: None,
        };
        let rest = if block.is_whole() { "" } else { ".incomplete" };
        match (block.body, &self.out) {
            (Body::Memory(fragments), _) => {
                let (missing, arrived) = (block.have.end() - block.have.len(), block.have.len());
                if missing > arrived.saturating_add(MAX_HOLES) {
                    return Err(StoreError::Holes { missing, arrived });
                }
                write_all(&fragments).map_err(StoreError::Stdout)?;
            }
            (Body::File(part), Output::Directory(directory)) => {
                let name = format!("{}{rest}", name(session, block.client));
                let (path, end) = (part.path().to_path_buf(), block.have.end());
                let named = part.rename(directory, &name).and_then(|named| {
                    if syncs {
                        part_file::sync_directory(directory)?;
                    }
                    Ok(named)
                });
                stored.file = Some(named.map_err(|error| StoreError::File(path, end, error))?);
            }
            _ => {}
        }
        Ok(stored)
    }
}

fn name(session: SessionId, client: u64) -> String {
    let SessionId { originator, number } = session;
    format!("client{client}-engine{originator}-session{number}")
}

/// Writes fragments to standard output, with zeros for octets that are missing.
fn write_all(fragments: &BTreeMap<u64, Bytes>) -> io::Result<()> {
    let mut to = io::stdout().lock();
    let mut at = 0;
    for (offset, octets) in fragments {
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
    to.flush()
}

impl StoreError {
    /// Returns the name of the limit that was exceeded and its value, if there is one, and the value that is too much.
    pub(super) const fn exceeded(&self) -> (Option<(&'static str, u64)>, Option<u64>) {
        match *self {
            Self::File(_, octets, _) => (None, Some(octets)),
            Self::Stdout(_) => (None, None),
            Self::Limit { end, limit } => (Some(("session_octets", limit)), Some(end)),
            Self::UnderWay { octets, limit } => (Some(("octets_under_way", limit)), Some(octets)),
            Self::Incomplete { unit, value, limit } => (Some((unit, limit)), Some(value)),
            Self::Holes { missing, arrived } => {
                let limit = arrived.saturating_add(MAX_HOLES);
                (Some(("missing_octets", limit)), Some(missing))
            }
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, octets, error) => {
                write!(f, "{}, {octets} octets: {error}", path.display())
            }
            Self::Stdout(error) => write!(f, "standard output: {error}"),
            Self::Limit { end, limit } => {
                write!(
                    f,
                    "octets up to {end} exceed the limit of {limit} (--limit)"
                )
            }
            Self::UnderWay { octets, limit } => write!(
                f,
                "{octets} octets of incomplete blocks exceed the limit of {limit}, {MAX_UNDER_WAY} times --limit"
            ),
            Self::Incomplete { unit, value, limit } => write!(
                f,
                "green octets alone, some of them missing: {value} {unit} of such blocks exceed the limit of {limit} {unit}"
            ),
            Self::Holes { missing, arrived } => write!(
                f,
                "{missing} octets before the last one are missing and {arrived} arrived, too few to write it"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
