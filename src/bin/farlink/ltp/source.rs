//! The files to send.

use core::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::DEFAULT_LIMIT;
use crate::{Failure, input};

/// A file to send as one block.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    pub(super) name: String,
    /// Its octets, if that is known before it is read.
    len: Option<u64>,
}

impl Source {
    /// Looks at a file, and reads nothing of it.
    ///
    /// # Errors
    ///
    /// The file cannot be sent.
    pub(super) fn open(path: &Path, green: u64) -> Result<Self, Failure> {
        let mut source = Self {
            path: path.into(),
            name: input::display_name(path),
            len: None,
        };
        if !input::is_stdin(path) {
            let file = std::fs::metadata(path).map_err(|error| source.fault(&error))?;
            if file.is_dir() {
                return Err(source.fault(&"a directory is not sent"));
            }
            // Pipes and devices have no length before their end.
            source.len = file.is_file().then_some(file.len());
        }
        if let Some(len) = source.len {
            source.check(len, green)?;
        }
        Ok(source)
    }

    /// Returns the most octets that it can have.
    pub(super) fn max_len(&self) -> u64 {
        self.len.unwrap_or(DEFAULT_LIMIT as u64)
    }

    /// Reads the file up to the limit.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or cannot be sent.
    pub(super) fn read(&self, green: u64) -> Result<Bytes, Failure> {
        // One more tells that a file is too long.
        let expected = usize::try_from(self.len.unwrap_or_default()).unwrap_or_default() + 1;
        let mut octets = Vec::with_capacity(expected);
        let limit = DEFAULT_LIMIT as u64 + 1;
        let read = if input::is_stdin(&self.path) {
            io::stdin().take(limit).read_to_end(&mut octets)
        } else {
            File::open(&self.path).and_then(|file| file.take(limit).read_to_end(&mut octets))
        };
        read.map_err(|error| self.fault(&error))?;
        self.check(octets.len() as u64, green)?;
        Ok(octets.into())
    }

    fn check(&self, len: u64, green: u64) -> Result<(), Failure> {
        let limit = DEFAULT_LIMIT as u64;
        if len == 0 {
            return Err(self.fault(&"an empty block is not sent"));
        }
        if len > limit && self.len.is_none() {
            return Err(self.fault(&format_args!(
                "a block of more than the limit of {limit} octets"
            )));
        }
        if len > limit {
            return Err(self.fault(&format_args!(
                "a block of {len} octets exceeds the limit of {limit}"
            )));
        }
        if green > len {
            return Err(self.fault(&format_args!(
                "a green part of {green} octets exceeds the block of {len}"
            )));
        }
        Ok(())
    }

    fn fault(&self, error: &dyn Display) -> Failure {
        Failure::Usage(format!("{}: {error}", self.name))
    }
}
