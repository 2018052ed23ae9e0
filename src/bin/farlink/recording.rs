//! Recordings of what a command does.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use farlink::adapters::cotp::{Maker, Speaker};
use farlink::cotp::Connection;
use farlink::record::{Files, Options, Recorder};

use crate::Failure;

/// Records the first connection into `path`, and further ones into numbered files beside it.
pub(crate) fn maker(path: &Path) -> Result<Maker, Failure> {
    let fault = |error| Failure::Usage(format!("{}: {error}", path.display()));
    File::create(path).map_err(fault)?;
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
