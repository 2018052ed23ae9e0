//! Where a recording goes: whole blocks, parts of a bounded size, and an error that is remembered.

use alloc::boxed::Box;
use alloc::vec::Vec;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::pcapng::Sealer;
use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The running checksum of a part. Every block that carries calls holds its value up to there, so that no
/// bit can flip unseen.
#[derive(Clone)]
pub(super) struct Seal {
    digest: Digest<'static, u32, Table<16>>,
    /// How much of what it is shown is in the sum.
    summed: usize,
}

impl Seal {
    /// Begins at octet `start` of what it will be shown.
    pub(super) fn new(start: usize) -> Self {
        Self {
            digest: CRC.digest(),
            summed: start,
        }
    }

    /// Returns the checksum from the beginning to the end of `so_far`, which has only grown since.
    pub(super) fn up_to(&mut self, so_far: &[u8]) -> u32 {
        self.digest
            .update(so_far.get(self.summed..).unwrap_or_default());
        self.summed = so_far.len();
        self.digest.clone().finalize()
    }

    /// Goes on with an empty buffer.
    fn rewind(&mut self) {
        self.summed = 0;
    }
}

/// When blocks go to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// Each block as soon as it is whole: a crash loses what was not yet in a block.
    #[default]
    EachBlock,
    /// Whole blocks, once that many octets have gathered: fewer writes, and a crash loses that much.
    Gathered(usize),
}

/// Gives the sinks of a recording one by one.
///
/// A closure will do, or [`Files`].
pub trait Rotate: Send {
    /// Gives the sink of part `part`, counted from 0, or `None` to end the recording there.
    ///
    /// # Errors
    ///
    /// The recording ends there and remembers the error.
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

/// Gives `sink` to a recording of one part.
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

/// Files side by side: `name.pcapng`, `name.1.pcapng`, `name.2.pcapng`..
///
/// An older file of the same name is replaced.
#[derive(Debug, Clone)]
pub struct Files {
    first: PathBuf,
}

impl Files {
    /// The first part is written to `first`.
    #[must_use]
    pub fn new(first: impl Into<PathBuf>) -> Self {
        Self {
            first: first.into(),
        }
    }

    /// Returns where part `part` is written.
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

/// Takes blocks and hands them on whole.
pub(super) struct Sink {
    rotate: Box<dyn Rotate>,
    flush: Flush,
    state: State,
    /// Whole blocks that have not gone out yet.
    buffer: Vec<u8>,
    seal: Seal,
    /// What `rotate` gave for the part after this one.
    upcoming: Option<io::Result<Box<dyn Write + Send>>>,
    part: u32,
    part_octets: u64,
}

enum State {
    Writing(Box<dyn Write + Send>),
    /// Ended in good order, or by a limit.
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
            seal: Seal::new(0),
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

    /// Takes one block, which `write` appends to the buffer. The seal that `write` gets returns the running
    /// checksum up to the end of what it is shown.
    pub(super) fn block(&mut self, write: impl FnOnce(&mut Vec<u8>, Sealer<'_>)) {
        if !self.is_writing() {
            return;
        }
        let before = self.buffer.len();
        let seal = &mut self.seal;
        write(&mut self.buffer, &mut |so_far| seal.up_to(so_far));
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
        self.seal.up_to(&self.buffer);
        self.seal.rewind();
        if let Err(error) = sink.write_all(&self.buffer).and_then(|()| sink.flush()) {
            self.state = State::Failed(error);
        }
        self.buffer.clear();
    }

    /// Writes what has gathered.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.drain();
        }
    }

    /// Asks for the next part; false when there is none.
    pub(super) fn prepare(&mut self) -> bool {
        match self.rotate.next(self.part.saturating_add(1)) {
            Ok(next) => self.upcoming = next.map(Ok),
            Err(error) => self.upcoming = Some(Err(error)),
        }
        matches!(self.upcoming, Some(Ok(_)))
    }

    /// Ends this part and goes on with what [`prepare`](Self::prepare) found.
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
        self.seal = Seal::new(0);
    }

    /// Ends the recording for good.
    pub(super) fn end(&mut self) {
        self.flush();
        if self.is_writing() {
            self.state = State::Ended;
        }
    }

    /// Gives up: a recording with a hole in it cannot be replayed.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.flush();
        self.state = State::Failed(error);
    }
}
