//! Recordings in memory.
#![allow(dead_code, reason = "every user needs another part of it")]

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use farlink::Seed;
use farlink::record::{RecordOptions, Recorded, Recorder};

/// A sink in memory, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Returns the octets written so far.
    pub(crate) fn octets(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// Makes a machine that is recorded in this sink.
    pub(crate) fn recorder<M>(&self, config: M::Config, seed: u64) -> Recorder<M>
    where
        M: Recorded<ConfigError: Debug>,
    {
        Recorder::new(
            config,
            Seed::from(seed),
            self.clone(),
            RecordOptions::default(),
        )
        .unwrap()
    }
}
