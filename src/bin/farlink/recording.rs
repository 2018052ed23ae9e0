//! Recordings of what a command does.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use farlink::adapters::{
    self,
    cotp::{Maker, Speaker},
};
use farlink::cotp::Connection;
use farlink::ltp::{self, Engine};
use farlink::record::{Files, Options, Recorder};
use farlink::{Path as Way, Seed};

use crate::Failure;

/// Makes the engine of a node, recorded if that was asked for.
pub(crate) struct Studio(Mutex<Option<File>>);

impl Studio {
    /// Makes the file at once, before anything happens that could not be recorded.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self, Failure> {
        path.map(create)
            .transpose()
            .map(|file| Self(Mutex::new(file)))
    }

    /// Makes the engine.
    pub(crate) fn engine(
        &self,
        config: ltp::Config,
        seed: Seed,
    ) -> Result<adapters::ltp::Speaker, ltp::ConfigError> {
        let file = self.0.lock().map_or(None, |mut file| file.take());
        Ok(match file {
            Some(file) => Box::new(Recorder::<Engine<Way>>::new(config, seed, file, options())?),
            None => Box::new(Engine::<Way>::new(config, seed)?),
        })
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Records the first connection into `path`, and further ones into numbered files beside it.
pub(crate) fn maker(path: &Path) -> Result<Maker, Failure> {
    create(path)?;
    let files = Files::new(path);
    let count = Arc::new(AtomicU32::new(0));
    Ok(Maker::new(move |config, seed, _| {
        let path = files.path(count.fetch_add(1, Ordering::Relaxed));
        let speaker: Speaker = match File::create(&path) {
            Ok(file) => Box::new(Recorder::<Connection>::new(
                config,
                seed.clone(),
                file,
                options(),
            )?),
            Err(error) => {
                eprintln!("farlink: not recorded: {}: {error}", path.display());
                Box::new(Connection::new(config, seed)?)
            }
        };
        Ok(speaker)
    }))
}

fn options() -> Options {
    Options {
        epoch: epoch(),
        ..Options::default()
    }
}

/// Analysers show the time of day.
fn epoch() -> u64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |span| span.as_secs())
}
