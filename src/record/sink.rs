//! The sink of a recording: takes whole blocks, begins parts and keeps the first error.

use alloc::boxed::Box;
use alloc::vec::Vec;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::pcapng::ChecksumFn;
use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The running checksum of a part. Every block with calls contains its value up to there, so that every changed
/// bit is found.
#[derive(Clone)]
pub(super) struct Checksum {
    digest: Digest<'static, u32, Table<16>>,
    /// How many octets of the buffer are in the sum.
    summed: usize,
}

impl Checksum {
    /// Begins at octet `start` of the buffer.
    pub(super) fn new(start: usize) -> Self {
        Self {
            digest: CRC.digest(),
            summed: start,
        }
    }

    /// Returns the checksum from the beginning to the end of `so_far`, which has only grown since the last call.
    pub(super) fn up_to(&mut self, so_far: &[u8]) -> u32 {
        self.digest
            .update(so_far.get(self.summed..).unwrap_or_default());
        self.summed = so_far.len();
        self.digest.clone().finalize()
    }

    /// Continues with an empty buffer.
    fn rewind(&mut self) {
        self.summed = 0;
    }
}

/// When blocks are passed to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// Each block as soon as it is complete. A crash loses what was not yet in a block.
    #[default]
    EachBlock,
    /// Complete blocks, once they have this many octets. There are fewer writes, and a crash loses that much.
    Gathered(usize),
}

/// Opens the sink of each part of a recording.
///
/// A closure implements it, and so do [`Files`] and what [`single_part`] returns.
pub trait Rotate: Send {
    /// Returns the sink of part `part`, counted from 0, or `None` to end the recording.
    ///
    /// # Errors
    ///
    /// The recording ends with the error.
    fn next(&mut self, part: u32) -> io::Result<Option<Box<dyn Write + Send>>>;
}

impl<F> Rotate for F
where
    F: FnMut(u32) -> io::Result<Option<Box<dyn Write + Send>>> + Send,
{
    fn next(&mut self, part: u32) -> io::Result<Option<Box<dyn Write + Send>>> {
        self(part)
    }
}

/// Returns a [`Rotate`] for a recording of one part, in `sink`.
pub fn single_part(sink: impl Write + Send + 'static) -> impl Rotate {
    Once(Some(Box::new(sink)))
}

/// One sink, for a recording of one part.
pub(super) struct Once(pub(super) Option<Box<dyn Write + Send>>);

impl Rotate for Once {
    fn next(&mut self, _: u32) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(self.0.take())
    }
}

/// One file for each part: `name.pcapng`, `name.1.pcapng`, `name.2.pcapng` and so on.
///
/// An existing file of the same name is replaced.
#[derive(Debug, Clone)]
pub struct Files {
    first: PathBuf,
}

impl Files {
    /// Writes the first part to `first`.
    #[must_use]
    pub fn new(first: impl Into<PathBuf>) -> Self {
        Self {
            first: first.into(),
        }
    }

    /// Returns the path of part `part`.
    #[must_use]
    pub fn path(&self, part: u32) -> PathBuf {
        if part == 0 {
            return self.first.clone();
        }
        let extension = self.first.extension().unwrap_or("pcapng".as_ref());
        let mut numbered = std::ffi::OsString::from(alloc::format!("{part}."));
        numbered.push(extension);
        self.first.with_extension(numbered)
    }
}

impl Rotate for Files {
    fn next(&mut self, part: u32) -> io::Result<Option<Box<dyn Write + Send>>> {
        Ok(Some(Box::new(File::create(self.path(part))?)))
    }
}

/// Passes complete blocks to the sink of the current part.
pub(super) struct Sink {
    rotate: Box<dyn Rotate>,
    flush: Flush,
    state: State,
    /// Complete blocks that were not yet written.
    buffer: Vec<u8>,
    checksum: Checksum,
    /// The sink of the next part, once it was asked for.
    upcoming: Option<io::Result<Box<dyn Write + Send>>>,
    part: u32,
    part_octets: u64,
}

enum State {
    Writing(Box<dyn Write + Send>),
    /// Finished, or without a next part.
    Ended,
    Failed(io::Error),
}

impl Sink {
    pub(super) fn new(mut rotate: Box<dyn Rotate>, flush: Flush) -> Self {
        let state = match rotate.next(0) {
            Ok(Some(sink)) => State::Writing(sink),
            Ok(None) => State::Ended,
            Err(error) => State::Failed(error),
        };
        Self {
            rotate,
            flush,
            state,
            buffer: Vec::new(),
            checksum: Checksum::new(0),
            upcoming: None,
            part: 0,
            part_octets: 0,
        }
    }

    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(_))
    }

    pub(super) const fn part(&self) -> u32 {
        self.part
    }

    pub(super) const fn part_octets(&self) -> u64 {
        self.part_octets
    }

    pub(super) const fn error(&self) -> Option<&io::Error> {
        match &self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Takes one block, which `write` appends to the buffer. `write` is given a function that returns the
    /// checksum up to the end of its argument.
    pub(super) fn block(&mut self, write: impl FnOnce(&mut Vec<u8>, ChecksumFn<'_>)) {
        if !self.is_writing() {
            return;
        }
        let before = self.buffer.len();
        let checksum = &mut self.checksum;
        write(&mut self.buffer, &mut |so_far| checksum.up_to(so_far));
        let written = self.buffer.len() - before;
        self.part_octets += u64::try_from(written).unwrap_or(u64::MAX);
        let enough = match self.flush {
            Flush::EachBlock => 0,
            Flush::Gathered(octets) => octets,
        };
        if self.buffer.len() >= enough {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let State::Writing(sink) = &mut self.state else {
            return;
        };
        self.checksum.up_to(&self.buffer);
        self.checksum.rewind();
        if let Err(error) = sink.write_all(&self.buffer).and_then(|()| sink.flush()) {
            self.state = State::Failed(error);
        }
        self.buffer.clear();
    }

    /// Writes the blocks in the buffer.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.drain();
        }
    }

    /// Opens the next part. Returns false when there is none.
    pub(super) fn prepare(&mut self) -> bool {
        match self.rotate.next(self.part.saturating_add(1)) {
            Ok(next) => self.upcoming = next.map(Ok),
            Err(error) => self.upcoming = Some(Err(error)),
        }
        matches!(self.upcoming, Some(Ok(_)))
    }

    /// Ends this part and begins the one that [`prepare`](Self::prepare) opened.
    pub(super) fn switch(&mut self) {
        self.flush();
        if !self.is_writing() {
            return;
        }
        self.state = match self.upcoming.take() {
            Some(Ok(sink)) => State::Writing(sink),
            Some(Err(error)) => State::Failed(error),
            None => State::Ended,
        };
        self.part = self.part.saturating_add(1);
        self.part_octets = 0;
        self.checksum = Checksum::new(0);
    }

    /// Ends the recording.
    pub(super) fn end(&mut self) {
        self.flush();
        if self.is_writing() {
            self.state = State::Ended;
        }
    }

    /// Ends the recording with an error: a recording with a gap cannot be replayed.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.flush();
        self.state = State::Failed(error);
    }
}
