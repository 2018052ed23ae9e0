//! The files of blocks: sparse while octets are missing, and named when they are complete.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

/// The most file names that are tried for one block.
const NAMES: u32 = 10_000;

/// The most files that are synchronised at a time.
const THREADS: usize = 32;

/// What unfinished files begin and end with.
const PREFIX: &str = ".client";
const SUFFIX: &str = ".part";

/// A file that is written piece by piece. It is removed when it is dropped without a name.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
}

impl PartFile {
    /// Creates a file for a block that is to be called `name`.
    pub(super) fn create(directory: &Path, name: &str) -> io::Result<(Self, File)> {
        let id = std::process::id();
        for number in 1..NAMES {
            let path = directory.join(format!(".{name}.{id}{}{SUFFIX}", suffix(number)));
            match create_new(&path) {
                Ok(file) => return Ok((Self { path }, file)),
                // A process of the same ID was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(too_many_names())
    }

    /// Opens the file again.
    pub(super) fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, with a number behind it if another block had the same session.
    pub(super) fn rename(self, directory: &Path, name: &str) -> io::Result<PathBuf> {
        for number in 1..NAMES {
            let path = directory.join(format!("{name}{}", suffix(number)));
            match fs::hard_link(&self.path, &path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // Some file systems have no links. No other process uses these names.
                Err(_) if path.exists() => {}
                Err(_) => return fs::rename(&self.path, &path).map(|()| path),
            }
        }
        Err(too_many_names())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It was renamed, or there is no way to tell of the failure.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes octets at this offset. What is skipped is a hole, which takes no room.
pub(crate) fn write_at(file: &mut File, offset: u64, octets: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(octets)
}

/// Synchronises files with the disk, several at a time, so that it can serve them together.
pub(super) fn sync_all<'part>(parts: impl Iterator<Item = &'part PartFile>) -> Vec<io::Result<()>> {
    let parts: Vec<&PartFile> = parts.collect();
    let share = parts.len().div_ceil(THREADS).max(1);
    let sync = |part: &&PartFile| part.open()?.sync_all();
    thread::scope(|scope| {
        let shares = parts.chunks(share);
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(sync).collect::<Vec<_>>()))
            .collect();
        let synced = threads.into_iter().map(ScopedJoinHandle::join);
        synced
            .flat_map(|share| share.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// Synchronises the names in a directory with the disk.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Checks that files can be made in a directory, before a block is acknowledged, and returns the files that
/// processes before have left there unfinished, with their lengths.
pub(super) fn check_directory(directory: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!(".farlink.{}{SUFFIX}", std::process::id()));
    create_new(&path)?;
    fs::remove_file(path)?;
    let mut left = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            // Another process may have finished it meanwhile.
            let file = entry.metadata().ok().filter(Metadata::is_file);
            left.extend(file.map(|file| (entry.path(), file.len())));
        }
    }
    left.sort();
    Ok(left)
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn suffix(number: u32) -> String {
    match number {
        1 => String::new(),
        number => format!(".{number}"),
    }
}

fn too_many_names() -> io::Error {
    let message = format!("{NAMES} files of that name");
    io::Error::new(ErrorKind::AlreadyExists, message)
}
