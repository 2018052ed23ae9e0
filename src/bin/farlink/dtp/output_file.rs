//! The file of a payload, which has its name once it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::ltp::part_file::{sync_directory, write_at};

/// A file with `.part` behind its name until it is complete.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
    is_empty: bool,
}

impl OutputFile {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let Some(name) = path.file_name().filter(|_| path.as_os_str() != "-") else {
            return Err(Failure::file(
                path,
                "not a name of a file, which octets in any order need",
            ));
        };
        // A device would be replaced by the file.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(Failure::file(path, "exists and is not a file"));
        }
        let mut name = name.to_os_string();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part).map_err(|error| Failure::file(&part, error))?;
        Ok(Self {
            path: path.into(),
            part,
            file,
            is_empty: true,
        })
    }

    pub(super) fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Failure> {
        self.is_empty = false;
        let written = write_at(&mut self.file, offset.into(), octets);
        written.map_err(|error| Failure::Protocol(format!("{}: {error}", self.part.display())))
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let finished = self.file.sync_all();
        let finished = finished.and_then(|()| fs::rename(&self.part, &self.path));
        let finished = finished.and_then(|()| sync_parent(&self.path));
        finished.map_err(|error| Failure::Protocol(format!("{}: {error}", self.path.display())))
    }

    /// Keeps what has come, and returns where; without any, the file is removed.
    pub(super) fn keep(self) -> Option<PathBuf> {
        if self.is_empty {
            // There is nothing to lose, and no other way to tell.
            let _ = fs::remove_file(&self.part);
            return None;
        }
        Some(self.part)
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}
