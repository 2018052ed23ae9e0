//! The files that are served, which are read as clients need their octets.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use farlink::adapters::tokio::dtp::{Error, Node, PayloadNeed};
use farlink::dtp::{PayloadDigest, PayloadIdentity};

use super::failure_of;
use crate::{Failure, input};

/// Octets that are read at a time.
const BLOCK: u64 = 1 << 16;

/// A file that is served.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) number: u8,
    pub(super) path: PathBuf,
    pub(super) octets: u64,
    content: Content,
    /// The file under the name, at the last look.
    seen: Option<FileState>,
}

/// By what a file is known to be another: its length, and its time of change.
type FileState = (u64, Option<SystemTime>);

#[derive(Debug)]
enum Content {
    /// Of what can be read once: standard input, a pipe.
    Memory(Bytes),
    /// With its time of change.
    File(File, Option<SystemTime>),
}

/// What became of a need.
#[derive(Debug)]
pub(super) enum Answer {
    Fed,
    /// The file is another, which clients are told.
    Changed,
    /// The file cannot be read, so its transfer ends.
    Unread(String),
}

impl Source {
    pub(super) fn open(number: u8, path: &Path) -> Result<Self, Failure> {
        let is_file = !input::is_stdin(path) && path.metadata().is_ok_and(|it| it.is_file());
        let opened = if is_file {
            File::open(path).and_then(|file| {
                let about = file.metadata()?;
                Ok((about.len(), Content::File(file, changed_at(&about))))
            })
        } else {
            read(path).map(|octets| (octets.len() as u64, Content::Memory(octets)))
        };
        let (octets, content) = opened
            .map_err(|error| Failure::Usage(format!("{}: {error}", input::display_name(path))))?;
        if octets > u32::MAX.into() {
            let limit = u32::MAX;
            let text = format!("{octets} octets exceed the limit of a payload, {limit}");
            return Err(Failure::file(path, text));
        }
        Ok(Self {
            number,
            path: path.into(),
            octets,
            content,
            seen: None,
        })
    }

    /// Serves it. A file is read for its CRC-32C.
    pub(super) fn serve(&self, node: &Node) -> Result<(), Failure> {
        match &self.content {
            Content::Memory(octets) => node.serve(self.number, octets.clone()).map_err(failure_of),
            Content::File(file, changed_at) => {
                let identity = identity(file, self.octets, *changed_at);
                let identity = identity.map_err(|error| Failure::file(&self.path, error))?;
                let served = node.serve_on_demand(self.number, self.octets, identity);
                served.map_err(failure_of)
            }
        }
    }

    /// Serves the file anew if it has changed since it was opened, but not since the last look: then it may be being
    /// written. Tells whether it did.
    pub(super) fn look(&mut self, node: &Node) -> Result<bool, Failure> {
        let seen = self.current();
        let is_settled = self.seen == seen;
        self.seen = seen;
        Ok(is_settled && self.renew(node)?)
    }

    /// Serves the file anew if it has changed. Tells whether it did.
    fn renew(&mut self, node: &Node) -> Result<bool, Failure> {
        let Content::File(_, changed_at) = self.content else {
            return Ok(false);
        };
        if self
            .current()
            .is_none_or(|it| it == (self.octets, changed_at))
        {
            return Ok(false);
        }
        let Ok(source) = Self::open(self.number, &self.path) else {
            return Ok(false);
        };
        *self = source;
        self.serve(node)?;
        Ok(true)
    }

    /// The file under the name: it may have been renamed, and another put in its place.
    fn current(&self) -> Option<FileState> {
        let about = self.path.metadata().ok().filter(Metadata::is_file)?;
        Some((about.len(), changed_at(&about)))
    }

    /// Answers a need. Where the file has changed, it is served anew.
    pub(super) fn answer(&mut self, node: &Node, need: PayloadNeed) -> Result<Answer, Failure> {
        if self.renew(node)? {
            return Ok(Answer::Changed);
        }
        let Content::File(file, _) = &self.content else {
            return Ok(Answer::Fed);
        };
        let (octets, answer) = match read_at(file, need) {
            Ok(octets) => (octets, Answer::Fed),
            Err(error) => (Bytes::new(), Answer::Unread(error.to_string())),
        };
        match node.feed(need.need, octets) {
            // Its transfer has ended in the meantime.
            Ok(()) | Err(Error::Refused(_)) => Ok(answer),
            Err(error) => Err(failure_of(error)),
        }
    }
}

fn changed_at(about: &Metadata) -> Option<SystemTime> {
    about.modified().ok()
}

/// Reads what has no size, up to one octet more than a payload has at most.
fn read(path: &Path) -> io::Result<Bytes> {
    let limit = u64::from(u32::MAX) + 1;
    let mut octets = Vec::new();
    if input::is_stdin(path) {
        io::stdin().take(limit).read_to_end(&mut octets)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut octets)?;
    }
    Ok(octets.into())
}

fn read_at(mut file: &File, need: PayloadNeed) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(need.offset.into()))?;
    // Bound: 65,536.
    let mut octets = vec![0; usize::try_from(need.len).unwrap_or(0)];
    file.read_exact(&mut octets)?;
    Ok(octets.into())
}

fn identity(
    mut file: &File,
    octets: u64,
    changed_at: Option<SystemTime>,
) -> io::Result<PayloadIdentity> {
    // Bound: checked before.
    let mut digest = PayloadDigest::new(u32::try_from(octets).unwrap_or(u32::MAX));
    file.seek(SeekFrom::Start(0))?;
    let (mut at, mut block) = (0, Vec::new());
    while at < octets {
        block.clear();
        let read = file.take(BLOCK.min(octets - at)).read_to_end(&mut block)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        digest.add(u32::try_from(at).unwrap_or(u32::MAX), &block);
        at += read as u64;
    }
    let since = changed_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let seconds = since.map_or(0, |it| it.as_secs() & u64::from(u32::MAX));
    Ok(PayloadIdentity {
        crc32c: Some(digest.crc32c()),
        // Bound: 32 bits.
        generation: u32::try_from(seconds).unwrap_or_default(),
    })
}
