//! Recordings of what a command does.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use farlink::adapters::cotp::{Maker, Speaker};
use farlink::cotp::Connection;
use farlink::ltp::{self, Engine};
use farlink::record::{Files, Options, Recorder};
use farlink::{Path as Way, Seed};

use crate::Failure;

/// Makes the file for a recording, before anything happens that could not be recorded.
pub(crate) fn file(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Records a node into `file`.
pub(crate) fn node(
    config: ltp::Config,
    seed: Seed,
    file: File,
) -> Result<Recorder<Engine<Way>>, ltp::ConfigError> {
    Recorder::new(config, seed, file, options())
}

/// Records the first connection into `path`, and further ones into numbered files beside it.
pub(crate) fn maker(path: &Path) -> Result<Maker, Failure> {
    file(path)?;
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
