//! The file of a payload, which has its name once it is complete, and the session beside it with which another run goes
//! on.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use farlink::dtp::{PayloadDigest, Session};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::session::read_session;
use crate::ltp::part_file::{sync_directory, write_at};
use crate::{Failure, input};

/// How often the session is saved.
const INTERVAL: Duration = Duration::from_secs(1);
/// Octets that are read at a time.
const BLOCK: usize = 1 << 16;

/// The names of a payload's files.
#[derive(Debug, Clone)]
struct Names {
    /// The file once it is complete.
    whole: PathBuf,
    /// The file until then.
    part: PathBuf,
    session: PathBuf,
    /// The session file of libdtp.
    meta: PathBuf,
}

impl Names {
    fn new(path: &Path) -> Result<Self, Failure> {
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
        let beside = |suffix: &str| {
            let mut name = OsString::from(name);
            name.push(suffix);
            path.with_file_name(name)
        };
        Ok(Self {
            whole: path.into(),
            part: beside(".part"),
            session: beside(".session"),
            meta: beside(".meta"),
        })
    }
}

/// Refuses a recording into a file of the payload.
pub(super) fn check_record(out: &Path, record: Option<&PathBuf>) -> Result<(), Failure> {
    let Names {
        whole,
        part,
        session,
        meta,
    } = Names::new(out)?;
    let files = [&whole, &part, &session, &meta];
    input::check_files_differ([], files.into_iter().chain(record))
}

/// A transfer that an earlier run has left.
#[derive(Debug)]
pub(super) struct Unfinished {
    names: Names,
    pub(super) session: Session,
    /// The file of the session.
    pub(super) path: PathBuf,
    /// The file of the octets.
    data: PathBuf,
    file: File,
}

impl Unfinished {
    /// Looks for the session of this crate or of libdtp beside a file, and checks that its octets are there. Nothing is
    /// changed.
    pub(super) fn find(path: &Path) -> Result<Option<Self>, Failure> {
        let names = Names::new(path)?;
        // The file has its name where the run was ended between its last steps. libdtp has no other name.
        let (path, places) = if fs::exists(&names.session).unwrap_or(true) {
            (&names.session, [&names.part, &names.whole])
        } else if fs::exists(&names.meta).unwrap_or(true) {
            (&names.meta, [&names.whole, &names.part])
        } else {
            return Ok(None);
        };
        let session = read_session(path)?;
        let data = places.into_iter().find(|it| it.is_file());
        let data = data.unwrap_or(&names.part).clone();
        let opened = OpenOptions::new().read(true).write(true).open(&data);
        let file = opened.map_err(|error| {
            let of = path.display();
            Failure::file(
                &data,
                format!("the octets of the session {of} are not there: {error}"),
            )
        })?;
        let unfinished = Self {
            path: path.clone(),
            session,
            data,
            file,
            names,
        };
        unfinished.check()?;
        Ok(Some(unfinished))
    }

    /// Checks that the octets are those of the session, as far as it tells.
    fn check(&self) -> Result<(), Failure> {
        let refuse = |error: String| {
            let of = self.path.display();
            Failure::file(&self.data, format!("{error}, by the session {of}"))
        };
        let unread = |error: io::Error| refuse(format!("cannot be read: {error}"));
        let len = self.file.metadata().map_err(unread)?.len();
        let end = self.session.ranges().last().map_or(0, |it| it.end);
        if len < end {
            return Err(refuse(format!("{len} octets, where {end} have come")));
        }
        let Some(sum) = self.session.sum else {
            return Ok(());
        };
        let mut digest = PayloadDigest::new(self.session.size);
        for range in self.session.ranges() {
            digest_range(&self.file, range, &mut digest).map_err(unread)?;
        }
        let found = digest.crc32c();
        if found != sum {
            let text = format!("octets of the sum {found:#010x}, where {sum:#010x} have come");
            return Err(refuse(text));
        }
        Ok(())
    }

    /// Goes on with the file.
    pub(super) fn open(self) -> Result<OutputFile, Failure> {
        if self.data != self.names.part {
            let renamed = fs::rename(&self.data, &self.names.part);
            renamed.map_err(|error| Failure::file(&self.data, error))?;
        }
        Ok(OutputFile {
            is_empty: self.session.received.is_empty(),
            names: self.names,
            file: self.file,
            save: None,
            saved_at: Instant::now(),
        })
    }
}

fn digest_range(
    mut file: &File,
    range: core::ops::Range<u64>,
    digest: &mut PayloadDigest,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut at = range.start;
    let mut block = vec![0; BLOCK];
    while at < range.end {
        let len = usize::try_from(range.end - at).map_or(BLOCK, |left| left.min(BLOCK));
        let octets = block.get_mut(..len).unwrap_or_default();
        file.read_exact(octets)?;
        // Bound: payloads have at most 4 GiB - 1.
        digest.add(u32::try_from(at).unwrap_or(u32::MAX), octets);
        at += len as u64;
    }
    Ok(())
}

/// A file with `.part` behind its name until it is complete.
#[derive(Debug)]
pub(super) struct OutputFile {
    names: Names,
    file: File,
    is_empty: bool,
    /// The session that is being saved.
    save: Option<JoinHandle<io::Result<()>>>,
    saved_at: Instant,
}

/// What is left of a payload that is not complete.
#[derive(Debug)]
pub(super) struct PartialOutput {
    /// The file of what has come.
    pub(super) part: PathBuf,
    /// The file of the session, if it could be saved.
    pub(super) session: Option<PathBuf>,
}

impl OutputFile {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let names = Names::new(path)?;
        if fs::exists(&names.session).unwrap_or(true) {
            return Err(Failure::file(
                &names.session,
                "the session of a transfer that is not complete: --resume goes on with it, without the file it begins anew",
            ));
        }
        let file = File::create(&names.part).map_err(|error| Failure::file(&names.part, error))?;
        Ok(Self {
            names,
            file,
            is_empty: true,
            save: None,
            saved_at: Instant::now(),
        })
    }

    pub(super) fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Failure> {
        self.is_empty = false;
        let written = write_at(&mut self.file, offset.into(), octets);
        written
            .map_err(|error| Failure::Protocol(format!("{}: {error}", self.names.part.display())))
    }

    /// Saves the session if it is time, while the transfer goes on.
    pub(super) async fn save_regularly(
        &mut self,
        session: impl FnOnce() -> Option<Session>,
    ) -> Result<(), Failure> {
        if self.is_empty || self.save.as_ref().is_some_and(|it| !it.is_finished()) {
            return Ok(());
        }
        self.wait().await?;
        if self.saved_at.elapsed() >= INTERVAL
            && let Some(session) = session()
        {
            self.begin_save(session)?;
        }
        Ok(())
    }

    fn begin_save(&mut self, session: Session) -> Result<(), Failure> {
        let (names, file) = (self.names.clone(), self.file.try_clone());
        let file = file.map_err(|error| self.failure(&error))?;
        self.save = Some(spawn_blocking(move || save(&names, &file, &session)));
        Ok(())
    }

    /// Waits for the session that is being saved.
    async fn wait(&mut self) -> Result<(), Failure> {
        let Some(save) = self.save.take() else {
            return Ok(());
        };
        self.saved_at = Instant::now();
        let saved = save.await.map_err(io::Error::from).and_then(|saved| saved);
        saved.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let session = self.names.session.display();
        Failure::Protocol(format!("{session}: {error}"))
    }

    /// Gives the file its name, and removes the session.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        // The octets count, and no longer the session.
        let _ = self.wait().await;
        let names = &self.names;
        let finished = self.file.sync_all();
        let finished = finished.and_then(|()| fs::rename(&names.part, &names.whole));
        let finished = finished.and_then(|()| sync_parent(&names.whole));
        finished.map_err(|error| {
            let whole = names.whole.display();
            Failure::Protocol(format!("{whole}: {error}"))
        })?;
        for session in [&names.session, &names.meta] {
            // There may be none. One that is left goes on with the whole file, which it lacks nothing of.
            let _ = fs::remove_file(session);
        }
        Ok(())
    }

    /// Keeps what has come and the session; without anything, the files are removed.
    pub(super) async fn keep(mut self, session: Option<Session>) -> Option<PartialOutput> {
        // Another save follows.
        let _ = self.wait().await;
        let Names {
            part, session: at, ..
        } = &self.names;
        if self.is_empty {
            // There is nothing to lose, and no other way to tell.
            let _ = fs::remove_file(part);
            let _ = fs::remove_file(at);
            return None;
        }
        if let Some(session) = session {
            let saved = save(&self.names, &self.file, &session);
            if let Err(error) = saved {
                crate::output::failure(&format!("{}: {error}", at.display()));
            }
        }
        Some(PartialOutput {
            part: part.clone(),
            session: at.is_file().then(|| at.clone()),
        })
    }
}

/// Saves a session once the octets that it tells of are on the disk.
fn save(names: &Names, file: &File, session: &Session) -> io::Result<()> {
    file.sync_data()?;
    let mut temporary = names.session.clone().into_os_string();
    temporary.push(".tmp");
    let written = File::create(&temporary).and_then(|mut out| {
        out.write_all(&session.encode())?;
        out.sync_all()
    });
    let saved = written.and_then(|()| fs::rename(&temporary, &names.session));
    if saved.is_err() {
        // The session before it is still there.
        let _ = fs::remove_file(&temporary);
    }
    saved.and_then(|()| sync_parent(&names.session))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}
